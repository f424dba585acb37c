import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { FrazilError } from '../../base/index.ts'
import { decodeLz4Block, decodeSnappy, decompressZstd } from '../compression/index.ts'
import { codecNumber } from './codec.ts'
import { malformed } from './read-metadata.ts'

/** Decompresses one page to exactly `size` bytes. Throws `corrupt` when it does not, `unsupported` for other codecs. */
export function decompress(codec: number, bytes: Uint8Array, size: number): Uint8Array {
  if (size === 0 && codec !== codecNumber.none) return new Uint8Array(0)
  let out: Uint8Array
  switch (codec) {
    case codecNumber.none:
      out = bytes
      break
    case codecNumber.snappy:
      return decodeSnappy(bytes, size)
    case codecNumber.lz4Raw:
      return decodeLz4Block(bytes, size)
    case codecNumber.gzip:
    case codecNumber.brotli:
    case codecNumber.zstd: {
      try {
        out = codec === codecNumber.zstd ? decompressZstd(bytes, size) : inflate(codec, bytes, size)
      } catch (cause) {
        throw new FrazilError('corrupt', 'parquet-page', 'a page of the Parquet file does not decompress', { cause })
      }
      break
    }
    default:
      throw new FrazilError(
        'unsupported',
        'parquet-codec',
        `the Parquet file is compressed with codec ${codec}, which is not supported`,
      )
  }
  if (out.length !== size) throw malformed('a page does not have the size that it says')
  return out
}

function inflate(codec: number, bytes: Uint8Array, size: number): Uint8Array {
  // One output chunk, not quite filled: a full one makes zlib ask for another. No more is produced, whatever the input says.
  const options = { maxOutputLength: size, chunkSize: size + 64 }
  const out = codec === codecNumber.gzip ? gunzipSync(bytes, options) : brotliDecompressSync(bytes, options)
  // Small ones lie in memory that all of Node.js shares; a page is given back by hand.
  return out.buffer.byteLength === options.chunkSize ? out : new Uint8Array(out)
}
