/** Types that become the text Postgres prints (DateStyle ISO, IntervalStyle postgres), from their binary forms. */
import { Buffer } from 'node:buffer'

const two = (n: number): string => String(n).padStart(2, '0')

/** Seconds with up to six digits after the point, trailing zeros dropped. */
function seconds(whole: number, micros: number): string {
  return micros === 0 ? two(whole) : `${two(whole)}.${String(micros).padStart(6, '0').replace(/0+$/, '')}`
}

/** `timetz`: int64 microseconds, int32 seconds west of Greenwich. Null when malformed. */
export function timetzText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from !== 12) return null
  const micros = Number(bytes.readBigInt64BE(from))
  if (micros < 0 || micros > 86_400_000_000) return null
  const west = bytes.readInt32BE(from + 8)
  const total = Math.floor(micros / 1_000_000)
  const time = `${two(Math.floor(total / 3600))}:${two(Math.floor(total / 60) % 60)}:${seconds(total % 60, micros % 1_000_000)}`
  const offset = Math.abs(west)
  let zone = `${west <= 0 ? '+' : '-'}${two(Math.floor(offset / 3600))}`
  if (offset % 3600 !== 0) zone += `:${two(Math.floor(offset / 60) % 60)}`
  if (offset % 60 !== 0) zone += `:${two(offset % 60)}`
  return time + zone
}

/** `interval`: int64 microseconds, int32 days, int32 months. Null when malformed. */
export function intervalText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from !== 16) return null
  const micros = bytes.readBigInt64BE(from)
  const days = bytes.readInt32BE(from + 8)
  const months = bytes.readInt32BE(from + 12)
  if (micros === 2n ** 63n - 1n && days === 2147483647 && months === 2147483647) return 'infinity'
  if (micros === -(2n ** 63n) && days === -2147483648 && months === -2147483648) return '-infinity'
  let text = ''
  let negativeBefore = false
  const part = (value: number, unit: string): void => {
    if (value === 0) return
    text += `${text === '' ? '' : ' '}${negativeBefore && value > 0 ? '+' : ''}${value} ${unit}${value === 1 ? '' : 's'}`
    negativeBefore = value < 0
  }
  part(Math.trunc(months / 12), 'year')
  part(months % 12, 'mon')
  part(days, 'day')
  if (text === '' || micros !== 0n) {
    const size = micros < 0n ? -micros : micros
    const sign = micros < 0n ? '-' : negativeBefore ? '+' : ''
    const whole = size / 1_000_000n
    const time = `${two(Number(whole / 3600n))}:${two(Number((whole / 60n) % 60n))}:${seconds(Number(whole % 60n), Number(size % 1_000_000n))}`
    text += `${text === '' ? '' : ' '}${sign}${time}`
  }
  return text
}

/** `inet` and `cidr`: family (2 or 3), bits, whether cidr, length, address. Null when malformed. */
export function inetText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from < 4) return null
  const family = bytes[from]
  const bits = bytes[from + 1]
  const cidr = bytes[from + 2] === 1
  const length = bytes[from + 3]
  if (length !== (family === 2 ? 4 : 16) || to - from !== 4 + length || bits > length * 8) return null
  const address = family === 2 ? bytes.subarray(from + 4, to).join('.') : ipv6Text(bytes, from + 4)
  return cidr || bits !== length * 8 ? `${address}/${bits}` : address
}

function ipv6Text(bytes: Buffer, from: number): string {
  const words: number[] = []
  for (let i = 0; i < 8; i++) words.push(bytes.readUInt16BE(from + 2 * i))
  let base = -1
  let length = 1 // a single zero is not shortened
  for (let i = 0; i < 8; i++) {
    let end = i
    while (end < 8 && words[end] === 0) end++
    if (end - i > length) {
      base = i
      length = end - i
    }
    if (end > i) i = end
  }
  const embedded = base === 0 && (length === 6 || (length === 5 && words[5] === 0xffff))
  let text = ''
  for (let i = 0; i < 8; i++) {
    if (base !== -1 && i >= base && i < base + length) {
      if (i === base) text += ':'
      continue
    }
    if (i !== 0) text += ':'
    if (i === 6 && embedded) return text + bytes.subarray(from + 12, from + 16).join('.')
    text += words[i].toString(16)
  }
  return base !== -1 && base + length === 8 ? `${text}:` : text
}

/** `macaddr` and `macaddr8`. Null when malformed. */
export function macText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from !== 6 && to - from !== 8) return null
  return Array.from(bytes.subarray(from, to), (byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** `"char"`: one byte, which may be no character at all. Null when malformed. */
export function charText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from !== 1) return null
  const byte = bytes[from]
  if (byte === 0) return ''
  return byte < 0x80 ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`
}

/** `bit` and `varbit`: int32 count of bits, then the bits. */
export function bitText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from < 4) return null
  const count = bytes.readInt32BE(from)
  if (count < 0 || to - from !== 4 + Math.ceil(count / 8)) return null
  let text = ''
  for (let at = from + 4; at < to; at++) text += bytes[at].toString(2).padStart(8, '0')
  return text.slice(0, count)
}

/** `pg_lsn`: two words in hexadecimal. */
export function lsnText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from !== 8) return null
  return `${bytes.readUInt32BE(from).toString(16)}/${bytes.readUInt32BE(from + 4).toString(16)}`.toUpperCase()
}

/** `tid`: uint32 block, uint16 line. */
export function tidText(bytes: Buffer, from: number, to: number): string | null {
  return to - from === 6 ? `(${bytes.readUInt32BE(from)},${bytes.readUInt16BE(from + 4)})` : null
}

/** `int2vector` and `oidvector`: as arrays, of which they have all the fields. */
export function vectorText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from < 12) return null
  const dimensions = bytes.readInt32BE(from)
  if (dimensions === 0) return to - from === 12 ? '' : null
  if (dimensions !== 1 || to - from < 20) return null
  const numbers: number[] = []
  let at = from + 20
  while (at + 4 <= to) {
    const size = bytes.readInt32BE(at)
    if ((size !== 2 && size !== 4) || at + 4 + size > to) return null
    numbers.push(size === 2 ? bytes.readInt16BE(at + 4) : bytes.readUInt32BE(at + 4))
    at += 4 + size
  }
  return at === to && numbers.length === bytes.readInt32BE(from + 12) ? numbers.join(' ') : null
}

/** `pg_snapshot` and `txid_snapshot`: int32 count, then xmin, xmax and so many transactions between, 8 bytes each. */
export function snapshotText(bytes: Buffer, from: number, to: number): string | null {
  if (to - from < 20) return null
  const count = bytes.readInt32BE(from)
  if (to - from !== 20 + 8 * count) return null
  const ids: bigint[] = []
  for (let i = 0; i < count; i++) ids.push(bytes.readBigInt64BE(from + 20 + 8 * i))
  return `${bytes.readBigInt64BE(from + 4)}:${bytes.readBigInt64BE(from + 12)}:${ids.join(',')}`
}
