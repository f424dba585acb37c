import { promisify } from 'node:util'
import { brotliDecompress, gunzip, zstdDecompress } from 'node:zlib'
import { FrazilError } from '../base/index.ts'
import { skipSpace, skipValue } from '../format/json/index.ts'

/** Largest body of a request with rows, in bytes, as sent and unpacked. */
export const maxIngestBytes = 64 << 20

const unpackers = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  zstd: promisify(zstdDecompress),
  br: promisify(brotliDecompress),
} as const

/** The body without its Content-Encoding. Throws `request`: an encoding that we do not have, damaged, or too large. */
export async function unpacked(body: Buffer, encoding: string | undefined): Promise<Buffer> {
  const name = (encoding ?? 'identity').trim().toLowerCase()
  if (name === 'identity') return body
  if (!Object.hasOwn(unpackers, name)) {
    throw new FrazilError('request', 'wrong-content-encoding', 'the body must be sent plain, or as gzip, zstd or br')
  }
  try {
    // The name is one of the keys.
    return await unpackers[name as keyof typeof unpackers](body, { maxOutputLength: maxIngestBytes })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new FrazilError('request', 'body-too-large', `the body has more than ${maxIngestBytes >> 20} MiB when it is unpacked`)
    }
    throw new FrazilError('request', 'bad-encoding', `the body is not what its Content-Encoding says`, { cause })
  }
}

/** One row as Moonlink's clients send it. */
export interface Envelope {
  readonly operation: string
  readonly mode: string | null
  /** The row, as it is in the body. */
  readonly data: Buffer
}

/**
 * `{"operation": …, "request_mode": …, "data": {…}}` taken apart; the row stays as bytes, so that its numbers keep their digits.
 * Throws `request`.
 */
export function parseEnvelope(body: Buffer): Envelope {
  const end = body.length
  let operation: string | null = null
  let mode: string | null = null
  let data: Buffer | null = null
  let at = skipSpace(body, 0, end)
  if (at >= end || body[at] !== 0x7b) throw malformed()
  at = skipSpace(body, at + 1, end)
  while (at < end && body[at] !== 0x7d) {
    const nameEnd = body[at] === 0x22 ? skipValue(body, at, end) : -1
    if (nameEnd < 0) throw malformed()
    const name = body.toString('latin1', at + 1, nameEnd - 1)
    at = skipSpace(body, nameEnd, end)
    if (body[at] !== 0x3a) throw malformed()
    at = skipSpace(body, at + 1, end)
    const after = skipValue(body, at, end)
    if (after === -2) throw new FrazilError('request', 'too-deep', 'the body is nested too deeply')
    if (after < 0) throw malformed()
    if (name === 'data') data = body.subarray(at, after)
    else if (name === 'operation') operation = textAt(body, at, after)
    else if (name === 'request_mode') mode = textAt(body, at, after)
    else throw new FrazilError('request', 'bad-body', 'the body can have operation, request_mode and data', { hint })
    at = skipSpace(body, after, end)
    if (body[at] === 0x2c) {
      at = skipSpace(body, at + 1, end)
      if (body[at] !== 0x22) throw malformed()
    } else if (body[at] !== 0x7d) throw malformed()
  }
  if (at >= end || skipSpace(body, at + 1, end) !== end) throw malformed()
  if (operation === null || data === null) {
    throw new FrazilError('request', 'bad-body', 'the body needs operation and data', { hint })
  }
  return { operation, mode, data }
}

const hint = 'Send {"operation": "insert", "data": {…}}; or several rows as a JSON array, or as application/x-ndjson.'

function textAt(body: Buffer, from: number, to: number): string {
  return body[from] === 0x22 ? body.toString('utf8', from + 1, to - 1) : ''
}

function malformed(): FrazilError {
  return new FrazilError('request', 'bad-json', 'the body is not JSON')
}
