import { isUtf8 } from 'node:buffer'
import type { Type } from '../../data/index.ts'
import { limbs, numericTextBound, readDecimal, writeNumericText } from './numeric.ts'
import { refusal } from './refusals.ts'

/**
 * How a Postgres type's binary form becomes the stored bytes of an Iceberg type (`src/data/values.ts`). `kind` picks the code
 * that the decoder generator writes inline; `store` is the plain version: the reference, the elements of arrays, and the
 * types that are not worth inline code.
 */
export interface Codec {
  readonly kind: CodecKind
  readonly type: Type
  /** What has to be equal for two codecs to read and write the same. */
  readonly signature: string
  /** Most bytes that `store` writes for the value in bytes [from, to). */
  bound(bytes: Buffer, from: number, to: number): number
  /** Writes the stored bytes of the value in bytes [from, to) at `at`; returns where they end, or a refusal. */
  store(bytes: Buffer, from: number, to: number, out: Uint8Array, at: number): number
  /** Digits after the point; decimals only. */
  readonly scale?: number
}

type CodecKind =
  | 'bool'
  | 'int2'
  | 'int4'
  | 'int8'
  | 'oid'
  | 'float4'
  | 'float8'
  | 'decimal'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'uuid'
  | 'bytes'
  | 'jsonb'
  | 'stored'

const word = 4294967296

/** Microseconds from 1970 to 2000, as two words. */
export const epochHigh = 0x00035d01
export const epochLow = 0x3b37e000
/** Days from 1970 to 2000. */
export const epochDays = 10957
/** 24 hours in microseconds, as two words. */
export const dayHigh = 20
export const dayLow = 500654080

function put32(out: Uint8Array, at: number, value: number): number {
  out[at] = value
  out[at + 1] = value >>> 8
  out[at + 2] = value >>> 16
  out[at + 3] = value >>> 24
  return at + 4
}

function put64(out: Uint8Array, at: number, high: number, low: number): number {
  return put32(out, put32(out, at, low), high)
}

type Store = Codec['store']

function fixed(kind: CodecKind, type: Type, wire: number, stored: number, store: Store): Codec {
  return {
    kind,
    type,
    signature: kind,
    bound: () => stored,
    store: (bytes, from, to, out, at) => (to - from === wire ? store(bytes, from, to, out, at) : refusal.malformed),
  }
}

function swap8(bytes: Buffer, from: number, _to: number, out: Uint8Array, at: number): number {
  return put64(out, at, bytes.readInt32BE(from), bytes.readInt32BE(from + 4))
}

const bool = fixed('bool', { kind: 'boolean' }, 1, 1, (bytes, from, _to, out, at) => {
  if (bytes[from] > 1) return refusal.malformed
  out[at] = bytes[from]
  return at + 1
})
const int2 = fixed('int2', { kind: 'int' }, 2, 4, (bytes, from, _to, out, at) => put32(out, at, bytes.readInt16BE(from)))
const int4 = fixed('int4', { kind: 'int' }, 4, 4, (bytes, from, _to, out, at) => put32(out, at, bytes.readInt32BE(from)))
const int8 = fixed('int8', { kind: 'long' }, 8, 8, swap8)
const oid = fixed('oid', { kind: 'long' }, 4, 8, (bytes, from, _to, out, at) => put64(out, at, 0, bytes.readInt32BE(from)))
const float4 = fixed('float4', { kind: 'float' }, 4, 4, (bytes, from, _to, out, at) => put32(out, at, bytes.readInt32BE(from)))
const float8 = fixed('float8', { kind: 'double' }, 8, 8, swap8)

const date = fixed('date', { kind: 'date' }, 4, 4, (bytes, from, _to, out, at) => {
  const days = bytes.readInt32BE(from)
  if (days === 2147483647 || days === -2147483648) return refusal.infinite
  return days > 2147483647 - epochDays ? refusal.outOfRange : put32(out, at, days + epochDays)
})

const time = fixed('time', { kind: 'time' }, 8, 8, (bytes, from, _to, out, at) => {
  const high = bytes.readInt32BE(from)
  const low = bytes.readInt32BE(from + 4)
  if (high === dayHigh && low === dayLow) return refusal.endOfDay
  if (high < 0 || high > dayHigh || (high === dayHigh && low >>> 0 > dayLow)) return refusal.malformed
  return put64(out, at, high, low)
})

function storeTimestamp(bytes: Buffer, from: number, _to: number, out: Uint8Array, at: number): number {
  const high = bytes.readInt32BE(from)
  const low = bytes.readUInt32BE(from + 4)
  if ((high === 0x7fffffff && low === 0xffffffff) || (high === -0x80000000 && low === 0)) return refusal.infinite
  const lowSum = low + epochLow
  const highSum = high + epochHigh + (lowSum >= word ? 1 : 0)
  return highSum > 0x7fffffff ? refusal.outOfRange : put64(out, at, highSum, lowSum)
}
const timestamp = fixed('timestamp', { kind: 'timestamp' }, 8, 8, storeTimestamp)
const timestamptz: Codec = { ...fixed('timestamp', { kind: 'timestamptz' }, 8, 8, storeTimestamp), signature: 'timestamptz' }

const uuid = fixed('uuid', { kind: 'uuid' }, 16, 16, (bytes, from, to, out, at) => copy(bytes, from, to, out, at))

function copy(bytes: Buffer, from: number, to: number, out: Uint8Array, at: number): number {
  out.set(bytes.subarray(from, to), at)
  return at + to - from
}

const length = (_bytes: Buffer, from: number, to: number): number => to - from
const text: Codec = { kind: 'bytes', type: { kind: 'string' }, signature: 'text', bound: length, store: copy }
const bytea: Codec = { kind: 'bytes', type: { kind: 'binary' }, signature: 'bytea', bound: length, store: copy }

/** For databases whose encoding says nothing (SQL_ASCII): text is checked value by value. */
const checkedText: Codec = {
  ...text,
  kind: 'stored',
  signature: 'checked-text',
  store: (bytes, from, to, out, at) => (isUtf8(bytes.subarray(from, to)) ? copy(bytes, from, to, out, at) : refusal.notUtf8),
}

const jsonb: Codec = {
  kind: 'jsonb',
  type: { kind: 'string' },
  signature: 'jsonb',
  bound: length,
  store: (bytes, from, to, out, at) => (to > from && bytes[from] === 1 ? copy(bytes, from + 1, to, out, at) : refusal.malformed),
}

const numericText: Codec = {
  kind: 'stored',
  type: { kind: 'string' },
  signature: 'numeric-text',
  bound: numericTextBound,
  store: writeNumericText,
}

/** A type that is rare enough to become a JavaScript string on its way; `most` bounds the text. */
export function printed(
  signature: string,
  most: number,
  print: (bytes: Buffer, from: number, to: number) => string | null,
): Codec {
  return {
    kind: 'stored',
    type: { kind: 'string' },
    signature,
    bound: () => most,
    store(bytes, from, to, out, at) {
      const written = print(bytes, from, to)
      if (written === null) return refusal.malformed
      for (let i = 0; i < written.length; i++) out[at + i] = written.charCodeAt(i) // ASCII, all of them
      return at + written.length
    },
  }
}

/** `numeric(p, s)` that fits a decimal. */
export function decimalCodec(precision: number, scale: number): Codec {
  const words = precision <= 9 ? 1 : precision <= 18 ? 2 : 4
  return {
    kind: 'decimal',
    type: { kind: 'decimal', precision, scale },
    signature: `decimal(${precision},${scale})`,
    scale,
    bound: () => words * 4,
    store(bytes, from, to, out, at) {
      const refused = readDecimal(bytes, from, to, scale, words * 32)
      if (refused !== 0) return refused
      for (let i = 0; i < words; i++) at = put32(out, at, limbs[i])
      return at
    },
  }
}

/** A one-dimensional array as a list cell; lower bounds other than 1 are dropped. */
export function arrayCodec(element: Codec, elementOid: number): Codec {
  return {
    kind: 'stored',
    type: { kind: 'list', elementId: 0, element: element.type, elementRequired: false },
    signature: `array(${element.signature})`,
    bound(bytes, from, to) {
      let most = 4
      for (let at = from + 20; at + 4 <= to;) {
        const size = bytes.readInt32BE(at)
        at += 4
        most += 4
        if (size < 0) continue
        most += element.bound(bytes, at, Math.min(at + size, to))
        at += size
      }
      return most
    },
    store(bytes, from, to, out, at) {
      if (to - from < 12) return refusal.malformed
      const dimensions = bytes.readInt32BE(from)
      if (dimensions === 0) return put32(out, at, 0)
      if (dimensions > 1) return refusal.multiDimensional
      if (dimensions < 0 || bytes.readUInt32BE(from + 8) !== elementOid || to - from < 20) return refusal.malformed
      const count = bytes.readInt32BE(from + 12)
      if (count < 0 || count > (to - from - 20) / 4) return refusal.malformed
      at = put32(out, at, count)
      let next = from + 20
      for (let i = 0; i < count; i++) {
        if (next + 4 > to) return refusal.malformed
        const size = bytes.readInt32BE(next)
        next += 4
        if (size < 0) {
          at = put32(out, at, -1)
          continue
        }
        if (size > to - next) return refusal.malformed
        const end = element.store(bytes, next, next + size, out, at + 4)
        if (end < 0) return end
        put32(out, at, end - at - 4)
        at = end
        next += size
      }
      return next === to ? at : refusal.malformed
    },
  }
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
  checkedText,
  bytea,
  jsonb,
  numericText,
} as const
