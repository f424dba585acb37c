import { AssertionError, assert } from '../../base/index.ts'
import type { AvroType } from './schema.ts'

/**
 * A value in Avro: int and long → number, or bigint beyond 2^53; bytes and fixed → Uint8Array; record → object by the names
 * given for field ids (fields without an id or name: Avro's); map → array of [key, value].
 */
export type AvroValue = null | boolean | number | bigint | string | Uint8Array | readonly AvroValue[] | AvroRecord

export interface AvroRecord {
  readonly [name: string]: AvroValue
}

/** Property names by Iceberg field id: how records are read and written whatever the names in a schema are. */
export type FieldNames = ReadonlyMap<number, string>

/** Writes a value of one type. */
export type AvroEncoder = (out: ByteWriter, value: AvroValue) => void

/** A growing buffer of Avro's binary encoding. */
export class ByteWriter {
  #bytes: Uint8Array
  #view: DataView
  length = 0

  constructor(capacity = 1024) {
    this.#bytes = new Uint8Array(capacity)
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** A copy of what was written since the last `take`; the writer is empty afterwards. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.length)
    this.length = 0
    return taken
  }

  long(value: number | bigint): void {
    if (typeof value === 'bigint') return this.#bigLong(value)
    assert(Number.isSafeInteger(value), 'an Avro long is an integer')
    this.#room(10)
    // Zigzag: the lowest bit is the sign. Arithmetic, because bit operators end at 32 bits.
    let rest = value < 0 ? -2 * value - 1 : 2 * value
    if (!Number.isSafeInteger(rest)) return this.#bigLong(BigInt(value))
    while (rest > 0x7f) {
      this.#bytes[this.length++] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    this.#bytes[this.length++] = rest
  }

  #bigLong(value: bigint): void {
    this.#room(10)
    let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
    while (rest > 0x7fn) {
      this.#bytes[this.length++] = Number(rest & 0x7fn) | 0x80
      rest >>= 7n
    }
    this.#bytes[this.length++] = Number(rest)
  }

  byte(value: number): void {
    this.#room(1)
    this.#bytes[this.length++] = value
  }

  float(value: number): void {
    this.#room(4)
    this.#view.setFloat32(this.length, value, true)
    this.length += 4
  }

  double(value: number): void {
    this.#room(8)
    this.#view.setFloat64(this.length, value, true)
    this.length += 8
  }

  /** Bytes without a length. */
  raw(value: Uint8Array): void {
    this.#room(value.length)
    this.#bytes.set(value, this.length)
    this.length += value.length
  }

  /** Bytes after their length. */
  bytes(value: Uint8Array): void {
    this.long(value.length)
    this.raw(value)
  }

  text(value: string): void {
    this.bytes(Buffer.from(value))
  }

  #room(count: number): void {
    if (this.length + count <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count))
    grown.set(this.#bytes.subarray(0, this.length))
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}

const noRaw: ReadonlySet<number> = new Set()

/**
 * An encoder for values of `type`. Fields whose id is in `raw` are given as bytes that are already encoded.
 */
export function compileEncoder(type: AvroType, names: FieldNames, raw: ReadonlySet<number> = noRaw): AvroEncoder {
  switch (type.kind) {
    case 'null':
      return () => {}
    case 'boolean':
      return (out, value) => out.byte(value === true ? 1 : 0)
    case 'int':
    case 'long':
    case 'enum':
      return (out, value) => out.long(integer(value))
    case 'float':
      return (out, value) => out.float(Number(value))
    case 'double':
      return (out, value) => out.double(Number(value))
    case 'string':
      return (out, value) => {
        assert(typeof value === 'string', 'an Avro string is text')
        out.text(value)
      }
    case 'bytes':
      return (out, value) => out.bytes(binary(value))
    case 'fixed':
      return (out, value) => {
        const bytes = binary(value)
        assert(bytes.length === type.size, 'an Avro fixed has its size')
        out.raw(bytes)
      }
    case 'array': {
      const item = compileEncoder(type.items, names, raw)
      return (out, value) => {
        assert(Array.isArray(value), 'an Avro array is an array')
        if (value.length > 0) {
          out.long(value.length)
          for (const each of value) item(out, each)
        }
        out.byte(0)
      }
    }
    case 'map': {
      const item = compileEncoder(type.values, names, raw)
      return (out, value) => {
        assert(Array.isArray(value), 'an Avro map is an array of pairs')
        if (value.length > 0) {
          out.long(value.length)
          for (const [key, each] of value) {
            out.text(String(key))
            item(out, each)
          }
        }
        out.byte(0)
      }
    }
    case 'union':
      return compileUnion(type.branches, names, raw)
    case 'record': {
      const fields = type.fields.map((field) => ({
        property: (field.id === null ? undefined : names.get(field.id)) ?? field.name,
        encode:
          field.id !== null && raw.has(field.id)
            ? (out: ByteWriter, value: AvroValue) => out.raw(binary(value))
            : compileEncoder(field.type, names, raw),
      }))
      return (out, value) => {
        const record = asRecord(value)
        for (const { property, encode } of fields) encode(out, record[property] ?? null)
      }
    }
    default:
      throw new AssertionError('unknown Avro type')
  }
}

function compileUnion(branches: readonly AvroType[], names: FieldNames, raw: ReadonlySet<number>): AvroEncoder {
  const nullAt = branches.findIndex((branch) => branch.kind === 'null')
  const valueAt = branches.findIndex((branch) => branch.kind !== 'null')
  assert(branches.length === 2 && nullAt >= 0 && valueAt >= 0, 'only optional unions are written')
  const encode = compileEncoder(branches[valueAt], names, raw)
  return (out, value) => {
    if (value === null) return out.long(nullAt)
    out.long(valueAt)
    encode(out, value)
  }
}

function integer(value: AvroValue): number | bigint {
  assert(typeof value === 'number' || typeof value === 'bigint', 'an Avro integer is a number')
  return value
}

function binary(value: AvroValue): Uint8Array {
  assert(value instanceof Uint8Array, 'Avro bytes are bytes')
  return value
}

function asRecord(value: AvroValue): AvroRecord {
  assert(typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array), 'a record')
  return value as AvroRecord
}
