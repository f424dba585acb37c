import { isUtf8 } from 'node:buffer'
import type { Type } from '../../../data/index.ts'
import { refusal } from '../refusals.ts'

/** How bytes that Postgres sends become the stored bytes of an Iceberg type (`src/data/values.ts`). */
export interface Form {
  /** Most bytes that `store` writes for the value in bytes [from, to). */
  bound(bytes: Buffer, from: number, to: number): number
  /** Writes the stored bytes of the value in bytes [from, to) at `at`; returns where they end, or a refusal. */
  store(bytes: Buffer, from: number, to: number, out: Uint8Array, at: number): number
}

/**
 * A Postgres type as it is read. The same value gives the same stored bytes in both forms. `kind` picks the code that the decoder
 * generator writes inline for the binary form; the forms are the plain version: the reference, what nested types are made of, and
 * all there is for types that are not worth inline code.
 */
export interface Codec {
  readonly kind: CodecKind
  readonly type: Type
  /** What has to be equal for two codecs to read and write the same. */
  readonly signature: string
  readonly binary: Form
  readonly text: Form
  /**
   * The column is its text, and its binary form is not read: a copy casts it, a stream that has it is asked for text. `binary` is
   * then the text too.
   */
  readonly textOnly: boolean
  /** Digits after the point; decimals only. */
  readonly scale?: number
}

export type CodecKind =
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
  | 'versioned'
  | 'stored'

export function put32(out: Uint8Array, at: number, value: number): number {
  out[at] = value
  out[at + 1] = value >>> 8
  out[at + 2] = value >>> 16
  out[at + 3] = value >>> 24
  return at + 4
}

export function put64(out: Uint8Array, at: number, high: number, low: number): number {
  return put32(out, put32(out, at, low), high)
}

export function copyBytes(bytes: Buffer, from: number, to: number, out: Uint8Array, at: number): number {
  out.set(bytes.subarray(from, to), at)
  return at + to - from
}

/** The bytes as they are. */
export const sameBytes: Form = { bound: (_bytes, from, to) => to - from, store: copyBytes }

/** A form whose values all take `stored` bytes, from bytes that are `wire` long (any length when null). */
export function fixedForm(wire: number | null, stored: number, store: Form['store']): Form {
  return {
    bound: () => stored,
    store:
      wire === null
        ? store
        : (bytes, from, to, out, at) => (to - from === wire ? store(bytes, from, to, out, at) : refusal.malformed),
  }
}

/** The codec with its text checked value by value: for databases whose encoding says nothing (SQL_ASCII). */
export function utf8Checked(codec: Codec): Codec {
  const checked = (form: Form): Form => ({
    bound: (bytes, from, to) => form.bound(bytes, from, to),
    store(bytes, from, to, out, at) {
      const end = form.store(bytes, from, to, out, at)
      return end < 0 || isUtf8(out.subarray(at, end)) ? end : refusal.notUtf8
    },
  })
  return {
    ...codec,
    kind: 'stored',
    signature: `checked-${codec.signature}`,
    binary: checked(codec.binary),
    text: checked(codec.text),
  }
}

/** Writes a value as an item of a nested cell: its length, −1 for none, and its bytes. Returns where it ends, or a refusal. */
export function storeItem(form: Form, bytes: Buffer, from: number, to: number, out: Uint8Array, at: number): number {
  const end = form.store(bytes, from, to, out, at + 4)
  if (end === refusal.asNull) return put32(out, at, -1)
  if (end < 0) return end
  put32(out, at, end - at - 4)
  return end
}
