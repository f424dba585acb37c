import { Buffer } from 'node:buffer'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, zstdDecompress } from 'node:zlib'
import type { Zlib } from 'node:zlib'
import { FrazilError } from '../../base/index.ts'
import type { Allowance } from '../../base/index.ts'

/** How much larger a body usually becomes when it is unpacked, at most; what becomes larger is unpacked once more. */
const usualRatio = 16
const leastUnpackedBytes = 64 << 10

/** Frames of zstd in one body: each costs some 80 µs, however little it has. */
const mostFrames = 1000

const unpackers = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  zstd: unpackFrames,
  br: unpackBrotli,
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

/** What node:zlib made of the beginning of an input. */
interface Unpacked {
  readonly buffer: Buffer
  /** How much of the input that was: node:zlib passes over what is behind the end, and says nothing of it. */
  readonly used: number
}

type Done = (error: Error | null, result: Buffer) => void

function unpackFirst(
  unpack: (options: { maxOutputLength: number; info: true }, done: Done) => void,
  most: number,
): Promise<Unpacked> {
  return new Promise((resolve, reject) => {
    unpack({ maxOutputLength: most, info: true }, (error, result) => {
      if (error) return reject(error)
      // With `info` it is this and no buffer, which the types do not say.
      const { buffer, engine } = result as unknown as { buffer: Buffer; engine: Zlib }
      resolve({ buffer, used: engine.bytesWritten })
    })
  })
}

async function unpackBrotli(body: Buffer, { maxOutputLength }: { maxOutputLength: number }): Promise<Buffer> {
  const { buffer, used } = await unpackFirst((options, done) => brotliDecompress(body, options, done), maxOutputLength)
  if (used !== body.length) throw new Error('something follows the end of it')
  return buffer
}

/** A body of zstd is one frame or several (RFC 8878, 3), some of which may be there to be skipped. */
async function unpackFrames(body: Buffer, { maxOutputLength }: { maxOutputLength: number }): Promise<Buffer> {
  const parts: Buffer[] = []
  let length = 0
  let at = 0
  while (parts.length < mostFrames) {
    // A frame that has nothing still wants room for a byte.
    const room = Math.max(1, maxOutputLength - length)
    const rest = body.subarray(at)
    const { buffer, used } = await unpackFirst((options, done) => zstdDecompress(rest, options, done), room)
    parts.push(buffer)
    length += buffer.length
    at += used
    if (length > maxOutputLength) throw Object.assign(new Error('it is too large'), { code: 'ERR_BUFFER_TOO_LARGE' })
    if (at === body.length) return parts.length === 1 ? buffer : Buffer.concat(parts, length)
  }
  throw new Error(`it has more than ${mostFrames} frames`)
}
