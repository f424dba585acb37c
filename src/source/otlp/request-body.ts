import { Allowance, FrazilError } from '../../base/index.ts'
import { unpackBody } from '../../format/compression/index.ts'

/** Largest body of a request, in bytes, as sent and unpacked. */
export const maxBodyBytes = 64 << 20
/** Most bytes of all bodies that are being received, unpacked, decoded and stored; and of those of one connection: one body, packed. */
const mostBytesUnderWay = 192 << 20
const mostBytesOfConnection = 2 * maxBodyBytes

/** Counts the bytes of bodies under way, as they come: there is one for all ways that they come. */
export function bodyRoom(): Allowance {
  return new Allowance(mostBytesUnderWay)
}

/** What a request on `connection` holds of `room`. */
export function roomFor(connection: object, room: Allowance): Allowance {
  return room.of(connection, mostBytesOfConnection).part()
}

/** The body without its encoding. Throws `request` for one that we do not have, or that is damaged, or too large. */
export async function unpacked(body: Buffer, encoding: string, held: Allowance): Promise<Buffer> {
  return unpackBody(body, encoding, { known: ['gzip', 'zstd'], mostBytes: maxBodyBytes, held })
}

export function tooLarge(): FrazilError {
  return new FrazilError('request', 'body-too-large', `a request has at most ${maxBodyBytes >> 20} MiB, also when it is unpacked`)
}
