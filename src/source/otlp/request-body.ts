import { promisify } from 'node:util'
import { gunzip, zstdDecompress } from 'node:zlib'
import { FrazilError } from '../../base/index.ts'
import { overloaded } from './table-writer.ts'

/** Largest body of a request, in bytes, as sent and unpacked. */
export const maxBodyBytes = 64 << 20
/** Most bytes of all bodies that are being received, unpacked, decoded and stored. */
const mostBytesUnderWay = 192 << 20
/** How much larger a body usually becomes when it is unpacked, at most; what becomes larger is unpacked once more. */
const usualRatio = 16
const leastUnpackedBytes = 64 << 10

const unpackers = { gzip: promisify(gunzip), zstd: promisify(zstdDecompress) } as const

/** Counts the bytes of requests under way: there is one for all ways that they come. */
export class BodyRoom {
  #used = 0

  take(bytes: number): Hold {
    const hold = new Hold((more) => this.#add(more))
    hold.grow(bytes)
    return hold
  }

  #add(bytes: number): void {
    if (bytes > 0 && this.#used + bytes > mostBytesUnderWay) throw overloaded()
    this.#used += bytes
  }
}

/** The bytes of one request. */
export class Hold {
  #bytes = 0
  readonly #add: (bytes: number) => void

  constructor(add: (bytes: number) => void) {
    this.#add = add
  }

  /** Throws `unavailable` (`overloaded`) when there is too much under way, and `request` for a body that is too large. */
  grow(bytes: number): void {
    if (bytes > maxBodyBytes) throw tooLarge()
    this.#add(bytes)
    this.#bytes += bytes
  }

  shrink(bytes: number): void {
    this.#add(-bytes)
    this.#bytes -= bytes
  }

  end(): void {
    this.shrink(this.#bytes)
  }
}

/** The body without its encoding. Throws `request` for one that we do not have, or that is damaged, or too large. */
export async function unpacked(body: Buffer, encoding: string, hold: Hold): Promise<Buffer> {
  const name = encoding.trim().toLowerCase()
  if (name === 'identity' || name === '') return body
  if (!Object.hasOwn(unpackers, name)) {
    throw new FrazilError('request', 'wrong-content-encoding', 'the body must be sent plain, or as gzip or zstd')
  }
  // The name is one of the keys.
  const unpack = unpackers[name as keyof typeof unpackers]
  let most = Math.min(maxBodyBytes, Math.max(leastUnpackedBytes, body.length * usualRatio))
  for (;;) {
    hold.grow(most)
    try {
      const plain = await unpack(body, { maxOutputLength: most })
      hold.shrink(most - plain.length)
      return plain
    } catch (cause) {
      hold.shrink(most)
      if ((cause as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') {
        throw new FrazilError('request', 'bad-encoding', 'the body is not what its encoding says', { cause })
      }
      if (most === maxBodyBytes) throw tooLarge()
      most = maxBodyBytes
    }
  }
}

export function tooLarge(): FrazilError {
  return new FrazilError('request', 'body-too-large', `a request has at most ${maxBodyBytes >> 20} MiB, also when it is unpacked`)
}
