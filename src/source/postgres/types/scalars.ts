import { Buffer } from 'node:buffer'
import type { Type } from '../../../data/index.ts'
import { refusal } from '../refusals.ts'
import { copyBytes, fixedForm, put32, put64, sameBytes } from './codec.ts'
import type { Codec, CodecKind, Form } from './codec.ts'
import { limbs, numericTextBound, readDecimal, readDecimalText, writeNumericText } from './numeric.ts'
import { date as dateOf, float, float4 as float4Of, infinity, integer, integer64, moment } from './text-numbers.ts'
import { time as timeOf, timestamp as timestampOf, words } from './text-numbers.ts'

const word = 4294967296

/** Microseconds from 1970 to 2000, as two words. */
export const epochHigh = 0x00035d01
export const epochLow = 0x3b37e000
/** Days from 1970 to 2000. */
export const epochDays = 10957
/** 24 hours in microseconds, as two words. */
export const dayHigh = 20
export const dayLow = 500654080
const dayMicros = 86_400_000_000

type Store = Form['store']

/** A type whose values all have `wire` bytes in binary form and `stored` bytes stored. */
function fixed(kind: CodecKind, type: Type, wire: number, stored: number, binary: Store, text: Store): Codec {
  return {
    kind,
    type,
    signature: kind,
    binary: fixedForm(wire, stored, binary),
    text: fixedForm(null, stored, text),
    textOnly: false,
  }
}

function swap8(bytes: Buffer, from: number, _to: number, out: Uint8Array, at: number): number {
  return put64(out, at, bytes.readInt32BE(from), bytes.readInt32BE(from + 4))
}

/** Stores whole numbers between two bounds. */
function integerText(low: number, high: number): Store {
  return (bytes, from, to, out, at) => {
    const value = integer(bytes, from, to)
    return value >= low && value <= high ? put32(out, at, value) : refusal.malformed
  }
}

const bool = fixed(
  'bool',
  { kind: 'boolean' },
  1,
  1,
  (bytes, from, _to, out, at) => {
    if (bytes[from] > 1) return refusal.malformed
    out[at] = bytes[from]
    return at + 1
  },
  (bytes, from, to, out, at) => {
    const isTrue = bytes[from] === 116
    if (to - from !== 1 || (!isTrue && bytes[from] !== 102)) return refusal.malformed
    out[at] = isTrue ? 1 : 0
    return at + 1
  },
)
const int2 = fixed(
  'int2',
  { kind: 'int' },
  2,
  4,
  (bytes, from, _to, out, at) => put32(out, at, bytes.readInt16BE(from)),
  integerText(-32768, 32767),
)
const int4 = fixed(
  'int4',
  { kind: 'int' },
  4,
  4,
  (bytes, from, _to, out, at) => put32(out, at, bytes.readInt32BE(from)),
  integerText(-0x80000000, 0x7fffffff),
)
const int8 = fixed('int8', { kind: 'long' }, 8, 8, swap8, (bytes, from, to, out, at) =>
  integer64(bytes, from, to) ? put64(out, at, words.high, words.low) : refusal.malformed,
)
const oid = fixed(
  'oid',
  { kind: 'long' },
  4,
  8,
  (bytes, from, _to, out, at) => put64(out, at, 0, bytes.readInt32BE(from)),
  (bytes, from, to, out, at) => {
    const value = integer(bytes, from, to)
    return value >= 0 && value < word ? put64(out, at, 0, value) : refusal.malformed
  },
)

const floats = new Float64Array(1)
const floatWords = new Int32Array(floats.buffer)
const singles = new Float32Array(1)
const singleWords = new Int32Array(singles.buffer)

/** A float as Iceberg stores it. */
export function putFloat(out: Uint8Array, at: number, value: number): number {
  singles[0] = value
  return put32(out, at, singleWords[0])
}

const float4 = fixed(
  'float4',
  { kind: 'float' },
  4,
  4,
  (bytes, from, _to, out, at) => put32(out, at, bytes.readInt32BE(from)),
  (bytes, from, to, out, at) => {
    const value = float4Of(bytes, from, to)
    return value === null ? refusal.malformed : putFloat(out, at, value)
  },
)
const float8 = fixed('float8', { kind: 'double' }, 8, 8, swap8, (bytes, from, to, out, at) => {
  const value = float(bytes, from, to)
  if (value === null) return refusal.malformed
  floats[0] = value
  return put64(out, at, floatWords[1], floatWords[0])
})

const date = fixed(
  'date',
  { kind: 'date' },
  4,
  4,
  (bytes, from, _to, out, at) => {
    const days = bytes.readInt32BE(from)
    if (days === 2147483647 || days === -2147483648) return refusal.infinite
    return days > 2147483647 - epochDays ? refusal.outOfRange : put32(out, at, days + epochDays)
  },
  (bytes, from, to, out, at) => {
    if (infinity(bytes, from, to) !== 0) return refusal.infinite
    const days = dateOf(bytes, from, to)
    if (Number.isNaN(days)) return refusal.malformed
    return days > 2147483647 ? refusal.outOfRange : put32(out, at, days)
  },
)

const time = fixed(
  'time',
  { kind: 'time' },
  8,
  8,
  (bytes, from, _to, out, at) => {
    const high = bytes.readInt32BE(from)
    const low = bytes.readInt32BE(from + 4)
    if (high === dayHigh && low === dayLow) return refusal.endOfDay
    if (high < 0 || high > dayHigh || (high === dayHigh && low >>> 0 > dayLow)) return refusal.malformed
    return put64(out, at, high, low)
  },
  (bytes, from, to, out, at) => {
    const micros = timeOf(bytes, from, to)
    if (micros === dayMicros) return refusal.endOfDay
    return micros < dayMicros ? put64(out, at, Math.floor(micros / word), micros % word) : refusal.malformed
  },
)

function storeTimestamp(bytes: Buffer, from: number, _to: number, out: Uint8Array, at: number): number {
  const high = bytes.readInt32BE(from)
  const low = bytes.readUInt32BE(from + 4)
  if ((high === 0x7fffffff && low === 0xffffffff) || (high === -0x80000000 && low === 0)) return refusal.infinite
  const lowSum = low + epochLow
  const highSum = high + epochHigh + (lowSum >= word ? 1 : 0)
  return highSum > 0x7fffffff ? refusal.outOfRange : put64(out, at, highSum, lowSum)
}

function storeTimestampText(bytes: Buffer, from: number, to: number, out: Uint8Array, at: number): number {
  if (infinity(bytes, from, to) !== 0) return refusal.infinite
  const found = timestampOf(bytes, from, to)
  if (found === moment.outOfRange) return refusal.outOfRange
  return found === moment.fine ? put64(out, at, words.high, words.low) : refusal.malformed
}

const timestamp = fixed('timestamp', { kind: 'timestamp' }, 8, 8, storeTimestamp, storeTimestampText)
const timestamptz: Codec = { ...timestamp, type: { kind: 'timestamptz' }, signature: 'timestamptz' }

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48
  const letter = byte | 32
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}

/** Bytes [from, to) of hexadecimal digits; returns where the result ends, or a refusal. */
export function storeHex(bytes: Buffer, from: number, to: number, out: Uint8Array, at: number): number {
  if ((to - from) % 2 !== 0) return refusal.malformed
  for (let i = from; i < to; i += 2) {
    const high = hexDigit(bytes[i])
    const low = hexDigit(bytes[i + 1])
    if (high < 0 || low < 0) return refusal.malformed
    out[at++] = (high << 4) | low
  }
  return at
}

const uuidParts = [0, 8, 9, 13, 14, 18, 19, 23, 24, 36]
const uuid = fixed('uuid', { kind: 'uuid' }, 16, 16, copyBytes, (bytes, from, to, out, at) => {
  if (to - from !== 36) return refusal.malformed
  for (let i = 0; i < uuidParts.length && at >= 0; i += 2) {
    at = storeHex(bytes, from + uuidParts[i], from + uuidParts[i + 1], out, at)
  }
  return at
})

const text: Codec = {
  kind: 'bytes',
  type: { kind: 'string' },
  signature: 'text',
  binary: sameBytes,
  text: sameBytes,
  textOnly: false,
}

/** The text that Postgres prints, whatever the type. */
const printedText: Codec = { ...text, signature: 'printed', textOnly: true }

const backslash = 92

/** `bytea` in hex, or in the escape format that an older setting may choose. */
const byteaText: Form = {
  bound: (_bytes, from, to) => to - from,
  store(bytes, from, to, out, at) {
    if (bytes[from] === backslash && bytes[from + 1] === 120 && to - from >= 2) return storeHex(bytes, from + 2, to, out, at)
    for (let i = from; i < to; i++) {
      if (bytes[i] !== backslash) {
        out[at++] = bytes[i]
      } else if (bytes[i + 1] === backslash && i + 1 < to) {
        out[at++] = backslash
        i++
      } else {
        const octal = i + 3 < to ? Number.parseInt(bytes.toString('latin1', i + 1, i + 4), 8) : Number.NaN
        if (!(octal >= 0 && octal <= 255)) return refusal.malformed
        out[at++] = octal
        i += 3
      }
    }
    return at
  },
}
const bytea: Codec = {
  kind: 'bytes',
  type: { kind: 'binary' },
  signature: 'bytea',
  binary: sameBytes,
  text: byteaText,
  textOnly: false,
}

/** Text behind a version number: jsonb, jsonpath, ltree and its patterns. */
const versioned: Codec = {
  kind: 'versioned',
  type: { kind: 'string' },
  signature: 'versioned',
  binary: {
    bound: (_bytes, from, to) => to - from,
    store: (bytes, from, to, out, at) =>
      to > from && bytes[from] === 1 ? copyBytes(bytes, from + 1, to, out, at) : refusal.malformed,
  },
  text: sameBytes,
  textOnly: false,
}

const numericText: Codec = {
  kind: 'stored',
  type: { kind: 'string' },
  signature: 'numeric-text',
  binary: { bound: numericTextBound, store: writeNumericText },
  text: sameBytes,
  textOnly: false,
}

/** A `numeric(p, s)` that fits a decimal. */
export function decimalCodec(precision: number, scale: number): Codec {
  const count = precision <= 9 ? 1 : precision <= 18 ? 2 : 4
  const putLimbs = (refused: number, out: Uint8Array, at: number): number => {
    if (refused !== 0) return refused
    for (let i = 0; i < count; i++) at = put32(out, at, limbs[i])
    return at
  }
  return {
    kind: 'decimal',
    type: { kind: 'decimal', precision, scale },
    signature: `decimal(${precision},${scale})`,
    scale,
    binary: fixedForm(null, count * 4, (bytes, from, to, out, at) =>
      putLimbs(readDecimal(bytes, from, to, scale, count * 32), out, at),
    ),
    text: fixedForm(null, count * 4, (bytes, from, to, out, at) =>
      putLimbs(readDecimalText(bytes, from, to, scale, count * 32), out, at),
    ),
    textOnly: false,
  }
}

/** `xid8`: unsigned 64 bits. */
const xid8: Codec = {
  kind: 'stored',
  type: { kind: 'decimal', precision: 20, scale: 0 },
  signature: 'xid8',
  binary: fixedForm(8, 16, (bytes, from, to, out, at) => put64(out, swap8(bytes, from, to, out, at), 0, 0)),
  text: decimalCodec(20, 0).text,
  textOnly: false,
}

/**
 * `money`: whole minor units, `scale` of whose digits stand after the point. As text it has a currency's signs, which differ from
 * locale to locale; the digits are always all there.
 */
export function moneyCodec(scale: number): Codec {
  const digits = Buffer.alloc(24)
  return {
    kind: 'stored',
    type: { kind: 'decimal', precision: 19, scale },
    signature: `money(${scale})`,
    binary: fixedForm(8, 16, (bytes, from, to, out, at) => {
      const sign = bytes.readInt32BE(from) >> 31
      return put64(out, swap8(bytes, from, to, out, at), sign, sign)
    }),
    text: fixedForm(null, 16, (bytes, from, to, out, at) => {
      let length = 1
      let negative = false
      for (let i = from; i < to; i++) {
        if (bytes[i] === 45 || bytes[i] === 40) negative = true
        if (bytes[i] < 48 || bytes[i] > 57) continue
        if (length === digits.length) return refusal.malformed
        digits[length++] = bytes[i]
      }
      digits[0] = negative ? 45 : 48
      if (length === 1 || !integer64(digits, skipZeros(digits, negative, length), length)) return refusal.malformed
      const { high, low } = words
      return put64(out, put64(out, at, high, low), high >> 31, high >> 31)
    }),
    textOnly: false,
  }
}

/** Leading zeros would make a number look longer than it is. */
function skipZeros(digits: Buffer, negative: boolean, length: number): number {
  let start = 1
  while (start < length - 1 && digits[start] === 48) start++
  if (negative) digits[start - 1] = 45
  return negative ? start - 1 : start
}

export const codecs = {
  bool,
  int2,
  int4,
  int8,
  oid,
  float4,
  float8,
  date,
  time,
  timestamp,
  timestamptz,
  uuid,
  text,
  printedText,
  bytea,
  versioned,
  numericText,
  xid8,
} as const
