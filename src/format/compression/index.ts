export { decodeLz4Block } from './lz4.ts'
export { decodeSnappy } from './snappy.ts'
