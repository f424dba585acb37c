import type { Buffer } from 'node:buffer'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, zstdDecompress } from 'node:zlib'
import { FrazilError } from '../../base/index.ts'
import type { Allowance } from '../../base/index.ts'

/** How much larger a body usually becomes when it is unpacked, at most; what becomes larger is unpacked once more. */
const usualRatio = 16
const leastUnpackedBytes = 64 << 10

const unpackers = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  zstd: promisify(zstdDecompress),
  br: promisify(brotliDecompress),
} as const

export type ContentEncoding = keyof typeof unpackers

/**
 * A body without its Content-Encoding (RFC 9110, 8.4), at most `mostBytes` long; what it becomes is counted in `held`. Throws `request`
 * for an encoding that is not in `known`, and for a body that is damaged or too large; `unavailable` (`overloaded`) when there is no room
 * for it now.
 */
export async function unpackBody(
  body: Buffer,
  encoding: string,
  { known, mostBytes, held }: { known: readonly ContentEncoding[]; mostBytes: number; held: Allowance },
): Promise<Buffer> {
  const wanted = encoding.trim().toLowerCase()
  if (wanted === 'identity' || wanted === '') return body
  const name = known.find((one) => one === wanted)
  if (name === undefined) {
    const names = `${known.slice(0, -1).join(', ')} or ${known[known.length - 1]}`
    throw new FrazilError('request', 'wrong-content-encoding', `the body must be sent plain, or as ${names}`)
  }
  let most = Math.min(mostBytes, Math.max(leastUnpackedBytes, body.length * usualRatio))
  for (;;) {
    held.grow(most)
    try {
      const plain = await unpackers[name](body, { maxOutputLength: most })
      held.shrink(most - plain.length)
      return plain
    } catch (cause) {
      held.shrink(most)
      if ((cause as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') {
        throw new FrazilError('request', 'bad-encoding', 'the body is not what its Content-Encoding says', { cause })
      }
      if (most === mostBytes) {
        throw new FrazilError('request', 'body-too-large', `the body has more than ${mostBytes >> 20} MiB when it is unpacked`)
      }
      most = mostBytes
    }
  }
}
