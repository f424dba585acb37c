import { AssertionError, FrazilError } from '../../base/index.ts'
import { ByteWriter, compileEncoder } from './encode.ts'
import type { AvroRecord, AvroValue, FieldNames } from './encode.ts'
import { sameEncoding } from './schema.ts'
import type { AvroType } from './schema.ts'

/** Reads a value of one type. */
export type AvroDecoder = (input: ByteReader) => AvroValue

/**
 * Fields (by id) that are kept as encoded bytes: with a type, in exactly that type's encoding, translated when the writer's
 * differs; with null, in whatever encoding the writer used.
 */
export type RawFields = ReadonlyMap<number, AvroType | null>

const noRaw: RawFields = new Map()
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Bounds-checked reading of Avro's binary encoding. */
export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  offset = 0

  constructor(bytes: Uint8Array) {
    // Never a Buffer, whose `slice` is a view and would keep the whole block in memory.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get remaining(): number {
    return this.#bytes.length - this.offset
  }

  /** A number while it is safe, a bigint beyond. */
  long(): number | bigint {
    const start = this.offset
    let value = 0
    let scale = 1
    for (let i = 0; i < 7; i++) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
      scale *= 128
    }
    this.offset = start
    return this.#bigLong()
  }

  #bigLong(): number | bigint {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte()
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) {
        if (value >= 1n << 64n) throw malformed('an integer has more than 64 bits')
        const decoded = BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n))
        const small = Number(decoded)
        return Number.isSafeInteger(small) ? small : decoded
      }
    }
    throw malformed('an integer has more than 64 bits')
  }

  /** A length, count or index. */
  count(): number {
    const value = this.long()
    if (typeof value !== 'number' || value < 0) throw malformed('a length is out of range')
    return value
  }

  /** An unsigned number as Protocol Buffers and Snappy write it. */
  size(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      if (scale > 2 ** 40) throw malformed('a length is out of range')
    }
  }

  byte(): number {
    if (this.offset >= this.#bytes.length) throw malformed('it ends too early')
    return this.#bytes[this.offset++]
  }

  float(): number {
    this.#skip(4)
    return this.#view.getFloat32(this.offset - 4, true)
  }

  double(): number {
    this.#skip(8)
    return this.#view.getFloat64(this.offset - 8, true)
  }

  /** A view, not a copy. */
  raw(length: number): Uint8Array {
    this.#skip(length)
    return this.#bytes.subarray(this.offset - length, this.offset)
  }

  text(): string {
    try {
      return utf8.decode(this.raw(this.count()))
    } catch (cause) {
      if (cause instanceof FrazilError) throw cause
      throw malformed('a text is not UTF-8')
    }
  }

  /** A copy of the bytes between `start` and here. */
  since(start: number): Uint8Array {
    return this.#bytes.slice(start, this.offset)
  }

  #skip(length: number): void {
    if (length > this.remaining) throw malformed('it ends too early')
    this.offset += length
  }
}

/** A decoder for values of `type`: records become objects by the names given for field ids, other fields are skipped. */
export function compileDecoder(type: AvroType, names: FieldNames, raw: RawFields = noRaw): AvroDecoder {
  switch (type.kind) {
    case 'null':
      return () => null
    case 'boolean':
      return (input) => input.byte() !== 0
    case 'int':
    case 'long':
    case 'enum':
      return (input) => input.long()
    case 'float':
      return (input) => input.float()
    case 'double':
      return (input) => input.double()
    case 'string':
      return (input) => input.text()
    case 'bytes':
      return (input) => input.raw(input.count()).slice()
    case 'fixed':
      return (input) => input.raw(type.size).slice()
    case 'array':
      return blocks(compileDecoder(type.items, names, raw))
    case 'map': {
      const value = compileDecoder(type.values, names, raw)
      return blocks((input) => [input.text(), value(input)])
    }
    case 'union': {
      const branches = type.branches.map((branch) => compileDecoder(branch, names, raw))
      return (input) => {
        const index = input.count()
        if (index >= branches.length) throw malformed('a union has no such branch')
        return branches[index](input)
      }
    }
    case 'record':
      return compileRecord(type.fields, names, raw)
    default:
      throw new AssertionError('unknown Avro type')
  }
}

type RecordFields = Extract<AvroType, { kind: 'record' }>['fields']

function compileRecord(fields: RecordFields, names: FieldNames, raw: RawFields): AvroDecoder {
  const steps = fields.map((field) => {
    const property = field.id === null ? null : (names.get(field.id) ?? null)
    const wanted = field.id === null ? undefined : raw.get(field.id)
    const decode = compileDecoder(field.type, names, raw)
    return { property, decode: wanted === undefined ? decode : keepEncoded(field.type, wanted, decode, names) }
  })
  return (input) => {
    const record: Record<string, AvroValue> = {}
    for (const { property, decode } of steps) {
      const value = decode(input)
      if (property !== null) record[property] = value
    }
    return record satisfies AvroRecord
  }
}

function keepEncoded(type: AvroType, wanted: AvroType | null, decode: AvroDecoder, names: FieldNames): AvroDecoder {
  if (wanted === null || sameEncoding(type, wanted)) {
    return (input) => {
      const start = input.offset
      decode(input)
      return input.since(start)
    }
  }
  const encode = compileEncoder(wanted, names)
  return (input) => {
    const out = new ByteWriter(64)
    encode(out, decode(input))
    return out.take()
  }
}

function blocks(item: AvroDecoder): AvroDecoder {
  return (input) => {
    const values: AvroValue[] = []
    for (;;) {
      const header = input.long()
      if (header === 0) return values
      if (typeof header !== 'number') throw malformed('an array is too long')
      if (header < 0) input.count() // a negative count is followed by the block's size in bytes
      const count = Math.abs(header)
      // Items may have no bytes at all (null), so the count has a bound of its own.
      if (count > maxItems) throw malformed('an array is too long')
      for (let i = 0; i < count; i++) values.push(item(input))
      if (values.length > maxItems) throw malformed('an array is too long')
    }
  }
}

const maxItems = 1 << 24

export function malformed(why: string): FrazilError {
  return new FrazilError('corrupt', 'bad-avro', `malformed Avro: ${why}`)
}
