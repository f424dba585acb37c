export { decodeLz4Block, decodeLz4Frame } from './lz4.ts'
export { decodeSnappy } from './snappy.ts'
