export type { ObjectInfo, ObjectStore, ObjectWriter, PutOptions } from './store.ts'
