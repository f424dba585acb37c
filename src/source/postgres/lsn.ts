import { FrazilError } from '../../base/index.ts'

/**
 * A position in the write-ahead log, as a number of bytes. Exact below 2^53, which is 9 petabytes of log; more is refused
 * rather than rounded.
 */
export type Lsn = number

const lsnText = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i

/** Parses `X/Y`. Throws `request` when it is not one. */
export function parseLsn(text: string): Lsn {
  const match = lsnText.exec(text)
  if (!match) throw new FrazilError('request', 'bad-position', `'${clip(text)}' is not a WAL position such as 0/16B3740`)
  return lsnOf(Number.parseInt(match[1], 16), Number.parseInt(match[2], 16))
}

/** The text that Postgres prints for it. */
export function lsnToText(lsn: Lsn): string {
  const high = Math.floor(lsn / 4294967296)
  return `${high.toString(16).toUpperCase()}/${(lsn - high * 4294967296).toString(16).toUpperCase()}`
}

/** From its two 32-bit halves, given as any integers with these bits. */
export function lsnOf(high: number, low: number): Lsn {
  const lsn = (high >>> 0) * 4294967296 + (low >>> 0)
  if (lsn > Number.MAX_SAFE_INTEGER) throw new FrazilError('corrupt', 'position-too-large', 'a WAL position is beyond 2^53')
  return lsn
}

export function readLsn(bytes: Buffer, at: number): Lsn {
  return lsnOf(bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4))
}

export function writeLsn(bytes: Buffer, lsn: Lsn, at: number): void {
  const high = Math.floor(lsn / 4294967296)
  bytes.writeUInt32BE(high, at)
  bytes.writeUInt32BE(lsn - high * 4294967296, at + 4)
}

function clip(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}
