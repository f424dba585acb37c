/** Numbers, dates and times in the text that Postgres prints, without a string where the value is usual. */
import type { Buffer } from 'node:buffer'

const word = 4294967296
const zero = 48
const minus = 45
const point = 46
const colon = 58

/** Digits [from, to) as a number, up to fifteen of them; −1 when they are anything else. */
export function digits(bytes: Buffer, from: number, to: number): number {
  if (to <= from || to - from > 15) return -1
  let value = 0
  for (let i = from; i < to; i++) {
    const digit = bytes[i] - zero
    if (digit < 0 || digit > 9) return -1
    value = value * 10 + digit
  }
  return value
}

/** A whole number with at most fifteen digits; NaN when it is anything else. */
export function integer(bytes: Buffer, from: number, to: number): number {
  const negative = bytes[from] === minus && to > from
  const value = digits(bytes, negative ? from + 1 : from, to)
  return value < 0 ? Number.NaN : negative ? -value : value
}

/** A 64-bit number as two words; the last result of the functions that say so. */
export const words = { high: 0, low: 0 }

/**
 * value · factor + more as 64 bits into {@link words}: whole numbers, |value| < 2^44, 0 < factor ≤ 10^9, |more| < 2^31 · factor.
 * False when it does not fit.
 */
export function scaled(value: number, factor: number, more: number): boolean {
  const upper = Math.floor(value / 65536)
  const product = upper * factor
  const productHigh = Math.floor(product / 65536)
  const low = (product - productHigh * 65536) * 65536 + (value - upper * 65536) * factor + more
  const carry = Math.floor(low / word)
  words.high = productHigh + carry
  words.low = low - carry * word
  return words.high >= -0x80000000 && words.high <= 0x7fffffff
}

/** A signed 64-bit number into {@link words}; false when it is none. */
export function integer64(bytes: Buffer, from: number, to: number): boolean {
  const negative = bytes[from] === minus && to > from
  const start = negative ? from + 1 : from
  const split = Math.max(to - 9, start)
  if (to - start > 19) return false
  const upper = split > start ? digits(bytes, start, split) : 0
  const lower = digits(bytes, split, to)
  if (upper < 0 || lower < 0) return false
  return negative ? scaled(-upper, 1_000_000_000, -lower) : scaled(upper, 1_000_000_000, lower)
}

const exactPowers = Array.from({ length: 23 }, (_, i) => 10 ** i)

/** A float8; `null` when it is none. Up to fifteen digits are exact in doubles, all else goes through the parser of strings. */
export function float(bytes: Buffer, from: number, to: number): number | null {
  let at = from
  const negative = bytes[at] === minus
  if (negative) at++
  let value = 0
  let count = 0
  let fraction = -1
  for (; at < to; at++) {
    const byte = bytes[at]
    if (byte === point && fraction < 0 && count > 0) {
      fraction = 0
    } else {
      const digit = byte - zero
      if (digit < 0 || digit > 9) return floatText(bytes, from, to)
      value = value * 10 + digit
      count++
      if (fraction >= 0) fraction++
    }
  }
  if (count === 0 || count > 15 || fraction === 0) return floatText(bytes, from, to)
  if (fraction > 0) value /= exactPowers[fraction]
  return negative ? -value : value
}

function floatText(bytes: Buffer, from: number, to: number): number | null {
  if (to - from > 400) return null
  const text = bytes.toString('latin1', from, to)
  return /^-?(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|Infinity|NaN)$/.test(text) ? Number(text) : null
}

const bits = new DataView(new ArrayBuffer(8))

/** A float4 from its text: rounded once, not first to a double and then again. */
export function float4(bytes: Buffer, from: number, to: number): number | null {
  const value = float(bytes, from, to)
  if (value === null || !Number.isFinite(value)) return value
  const rounded = Math.fround(value)
  bits.setFloat64(0, value)
  // Only a double in the middle between two floats can have been rounded to the wrong side.
  if ((bits.getUint32(4) & 0x1fffffff) !== 0x10000000 || rounded === value) return rounded
  const beyond = compareDecimal(bytes.toString('latin1', from, to), value)
  if (beyond === 0) return rounded
  bits.setFloat64(0, value)
  // A double one step off the middle rounds to the side where the text is.
  const step = beyond > 0 === value > 0 ? 1n : -1n
  bits.setBigInt64(0, bits.getBigInt64(0) + step)
  return Math.fround(bits.getFloat64(0))
}

/** The sign of decimal text − double, exactly. */
function compareDecimal(text: string, value: number): number {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(text) ?? []
  let left = BigInt(`${sign}${whole}${fraction}`)
  let power = Number(exponent) - fraction.length
  // The double as mantissa · 2^shift.
  bits.setFloat64(0, value)
  const raw = bits.getBigUint64(0)
  const biased = Number((raw >> 52n) & 0x7ffn)
  let right = (raw & 0xfffffffffffffn) | (biased === 0 ? 0n : 1n << 52n)
  if (value < 0) right = -right
  const shift = Math.max(biased, 1) - 1075
  if (shift > 0) right <<= BigInt(shift)
  else left <<= BigInt(-shift)
  for (; power > 0; power--) left *= 10n
  for (; power < 0; power++) right *= 10n
  return left < right ? -1 : left > right ? 1 : 0
}

/** Days since 1970-01-01 of a day in the proleptic Gregorian calendar; year 0 is 1 BC. */
function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

/** Where {@link dayAt} and {@link timeAt} stopped. */
let next = 0

/** `YYYY-MM-DD` with four or more digits of the year; NaN when it is none. */
function dayAt(bytes: Buffer, from: number, to: number, bc: boolean): number {
  let dash = from
  while (dash < to && bytes[dash] !== minus) dash++
  const year = digits(bytes, from, dash)
  next = dash + 6
  if (next > to || year <= 0 || year > 9_999_999 || bytes[dash + 3] !== minus) return Number.NaN
  const month = digits(bytes, dash + 1, dash + 3)
  const day = digits(bytes, dash + 4, next)
  if (month < 1 || month > 12 || day < 1 || day > 31) return Number.NaN
  return daysOf(bc ? 1 - year : year, month, day)
}

/** Microseconds of `HH:MM:SS` with up to six more digits; NaN when it is none. */
function timeAt(bytes: Buffer, from: number, to: number): number {
  next = from + 8
  if (next > to || bytes[from + 2] !== colon || bytes[from + 5] !== colon) return Number.NaN
  const hours = digits(bytes, from, from + 2)
  const minutes = digits(bytes, from + 3, from + 5)
  const seconds = digits(bytes, from + 6, next)
  if (hours < 0 || hours > 24 || minutes < 0 || minutes > 59 || seconds < 0 || seconds > 59) return Number.NaN
  let micros = 0
  if (next < to && bytes[next] === point) {
    const start = ++next
    while (next < to && bytes[next] >= zero && bytes[next] < zero + 10) next++
    if (next === start || next - start > 6) return Number.NaN
    micros = digits(bytes, start, next) * exactPowers[6 - next + start]
  }
  return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros
}

function endsWithBc(bytes: Buffer, from: number, to: number): boolean {
  return to - from > 3 && bytes[to - 3] === 32 && bytes[to - 2] === 66 && bytes[to - 1] === 67
}

/** `infinity` is 1, `-infinity` −1, all else 0. */
export function infinity(bytes: Buffer, from: number, to: number): number {
  if (to - from !== 8 && to - from !== 9) return 0
  const text = bytes.toString('latin1', from, to)
  return text === 'infinity' ? 1 : text === '-infinity' ? -1 : 0
}

/** Days since 1970-01-01; NaN when it is no date. */
export function date(bytes: Buffer, from: number, to: number): number {
  const bc = endsWithBc(bytes, from, to)
  const end = bc ? to - 3 : to
  const days = dayAt(bytes, from, end, bc)
  return next === end ? days : Number.NaN
}

/** Microseconds since midnight; NaN when it is no time. */
export function time(bytes: Buffer, from: number, to: number): number {
  const micros = timeAt(bytes, from, to)
  return next === to ? micros : Number.NaN
}

/** What {@link timestamp} found. */
export const moment = { fine: 0, outOfRange: 1, malformed: 2 } as const

/** Microseconds since 1970 into {@link words}, with or without a zone. */
export function timestamp(bytes: Buffer, from: number, to: number): number {
  const bc = endsWithBc(bytes, from, to)
  const end = bc ? to - 3 : to
  const days = dayAt(bytes, from, end, bc)
  if (next >= end || bytes[next] !== 32) return moment.malformed
  const micros = timeAt(bytes, next + 1, end)
  const west = next < end ? zoneAt(bytes, next, end) : 0
  if (next !== end || Number.isNaN(days + micros + west)) return moment.malformed
  const whole = Math.floor(micros / 1_000_000)
  return scaled(days * 86_400 + whole + west, 1_000_000, micros - whole * 1_000_000) ? moment.fine : moment.outOfRange
}

/** Seconds west of Greenwich of `+05`, `-03:30`, `+00:19:32`; NaN when it is no zone. */
function zoneAt(bytes: Buffer, from: number, to: number): number {
  next = to
  if ((bytes[from] !== 43 && bytes[from] !== minus) || to - from > 9) return Number.NaN
  let seconds = 0
  for (let at = from + 1, unit = 3600; at < to; at += 3, unit /= 60) {
    const part = digits(bytes, at, Math.min(at + 2, to))
    if (part < 0 || (at + 2 < to && bytes[at + 2] !== colon)) return Number.NaN
    seconds += part * unit
  }
  return bytes[from] === minus ? seconds : -seconds
}
