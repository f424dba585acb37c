export { deserializeBitmap, serializeBitmap } from './roaring.ts'
