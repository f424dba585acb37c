import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { zstdCompressor } from '../compression/index.ts'

/** What files are written with: what node:zlib has. */
export type WriteCodec = 'none' | 'gzip' | 'brotli' | 'zstd'

/** Compresses one page; the result is in memory of its own, of its own size. */
export type Compress = (bytes: Uint8Array) => Uint8Array<ArrayBuffer>

/** Codecs by their numbers in the format. */
export const codecNumber = { none: 0, snappy: 1, gzip: 2, brotli: 4, zstd: 6, lz4Raw: 7 } as const

export function compressor(codec: WriteCodec, level?: number): Compress {
  switch (codec) {
    case 'none':
      return (bytes) => bytes.slice()
    case 'gzip':
      return (bytes) => exact(gzipSync(bytes, { level: level ?? 6 }))
    case 'brotli':
      return (bytes) => exact(brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: level ?? 4 } }))
    case 'zstd':
      return zstdCompressor(level ?? 1)
  }
}

/** zlib returns views into larger buffers, which would stay in memory for as long as the row group is open. */
function exact(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return bytes.buffer.byteLength > bytes.length + 1024 ? new Uint8Array(bytes) : bytes
}
