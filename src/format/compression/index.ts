export { unpackBody } from './content-encoding.ts'
export { decodeLz4Block, decodeLz4Frame } from './lz4.ts'
export { decodeSnappy } from './snappy.ts'
export { decompressZstd, zstdCompressor } from './zstd.ts'
