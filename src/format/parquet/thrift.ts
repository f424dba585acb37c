import { FrazilError } from '../../base/index.ts'

/** Element and field types of Thrift's compact protocol. */
export const wire = {
  true: 1,
  false: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  map: 11,
  struct: 12,
} as const

const toUtf8 = new TextEncoder()

/** Writes Thrift's compact protocol into one growing buffer (specification: Thrift "Compact protocol encoding"). */
export class ThriftWriter {
  #bytes: Uint8Array<ArrayBuffer>
  #length = 0
  /** Last field id of each open struct: ids are written as differences. */
  readonly #outer: number[] = []
  #last = 0

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity)
  }

  /** What was written so far, in memory of its own. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length)
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + bytes))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }

  #byte(value: number): void {
    this.#room(1)
    this.#bytes[this.#length++] = value
  }

  #varint(value: number): void {
    this.#room(10)
    while (value >= 128) {
      this.#bytes[this.#length++] = (value % 128) | 128
      value = Math.floor(value / 128)
    }
    this.#bytes[this.#length++] = value
  }

  #header(id: number, type: number): void {
    const step = id - this.#last
    if (step > 0 && step < 16) this.#byte((step << 4) | type)
    else {
      this.#byte(type)
      this.integer(id)
    }
    this.#last = id
  }

  /** A bare integer (list element), zigzag; |value| below 2^52. */
  integer(value: number): void {
    this.#varint(value >= 0 ? value * 2 : -value * 2 - 1)
  }

  /** A bare boolean (list element). */
  flag(value: boolean): void {
    this.#byte(value ? wire.true : wire.false)
  }

  /** Bare bytes or text (list element). */
  bytes(value: Uint8Array | string): void {
    const bytes = typeof value === 'string' ? toUtf8.encode(value) : value
    this.#varint(bytes.length)
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
  }

  boolField(id: number, value: boolean): void {
    this.#header(id, value ? wire.true : wire.false)
  }

  byteField(id: number, value: number): void {
    this.#header(id, wire.byte)
    this.#byte(value & 255)
  }

  i16Field(id: number, value: number): void {
    this.#header(id, wire.i16)
    this.integer(value)
  }

  i32Field(id: number, value: number): void {
    this.#header(id, wire.i32)
    this.integer(value)
  }

  i64Field(id: number, value: number): void {
    this.#header(id, wire.i64)
    this.integer(value)
  }

  bytesField(id: number, value: Uint8Array | string): void {
    this.#header(id, wire.binary)
    this.bytes(value)
  }

  /** Opens a list; its elements follow, bare (structs between {@link beginElement} and {@link end}). */
  listField(id: number, elementType: number, count: number): void {
    this.#header(id, wire.list)
    if (count < 15) this.#byte((count << 4) | elementType)
    else {
      this.#byte(0xf0 | elementType)
      this.#varint(count)
    }
  }

  beginField(id: number): void {
    this.#header(id, wire.struct)
    this.beginElement()
  }

  beginElement(): void {
    this.#outer.push(this.#last)
    this.#last = 0
  }

  /** Ends a struct; the outermost one too. */
  end(): void {
    this.#byte(0)
    this.#last = this.#outer.pop() ?? 0
  }
}

export type ThriftValue = boolean | number | Uint8Array | readonly ThriftValue[] | ThriftStruct
/** A struct as read: values by field id. i64 values beyond 2^53 lose digits; {@link ThriftStruct} users check the ones they need. */
export type ThriftStruct = ReadonlyMap<number, ThriftValue>

const maxDepth = 32

/** Reads Thrift's compact protocol from untrusted bytes: throws `corrupt`, never reads beyond the end. */
export class ThriftReader {
  readonly #bytes: Uint8Array
  position: number

  constructor(bytes: Uint8Array, position = 0) {
    this.#bytes = bytes
    this.position = position
  }

  struct(depth = 0): ThriftStruct {
    if (depth > maxDepth) throw malformed('structs are nested too deeply')
    const fields = new Map<number, ThriftValue>()
    let id = 0
    for (;;) {
      const header = this.#byte()
      const type = header & 15
      if (type === 0) return fields
      id = header >> 4 === 0 ? this.#zigzag() : id + (header >> 4)
      fields.set(id, type === wire.true ? true : type === wire.false ? false : this.#value(type, depth))
    }
  }

  #byte(): number {
    if (this.position >= this.#bytes.length) throw malformed('it ends within a value')
    return this.#bytes[this.position++]
  }

  #varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      const byte = this.#byte()
      value += (byte & 127) * scale
      if (byte < 128) return value
      scale *= 128
    }
    throw malformed('a number is too long')
  }

  #zigzag(): number {
    const value = this.#varint()
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  #value(type: number, depth: number): ThriftValue {
    switch (type) {
      case wire.true:
      case wire.false:
        return this.#byte() === wire.true
      case wire.byte:
        return (this.#byte() << 24) >> 24
      case wire.i16:
      case wire.i32:
      case wire.i64:
        return this.#zigzag()
      case wire.double:
        return this.#skip(8)
      case wire.binary:
        return this.#skip(this.#varint())
      case wire.list:
      case wire.set: {
        const header = this.#byte()
        const count = header >> 4 === 15 ? this.#varint() : header >> 4
        if (count > this.#bytes.length - this.position) throw malformed('a list is longer than its bytes')
        const items: ThriftValue[] = []
        for (let i = 0; i < count; i++) items.push(this.#element(header & 15, depth))
        return items
      }
      case wire.map: {
        const count = this.#varint()
        if (count > this.#bytes.length - this.position) throw malformed('a map is longer than its bytes')
        const types = count === 0 ? 0 : this.#byte()
        const items: ThriftValue[] = []
        for (let i = 0; i < count; i++) items.push(this.#element(types >> 4, depth), this.#element(types & 15, depth))
        return items
      }
      case wire.struct:
        return this.struct(depth + 1)
      default:
        throw malformed('a value has no known type')
    }
  }

  #element(type: number, depth: number): ThriftValue {
    if (depth > maxDepth) throw malformed('lists are nested too deeply')
    return this.#value(type, depth + 1)
  }

  #skip(length: number): Uint8Array {
    if (length > this.#bytes.length - this.position) throw malformed('it ends within a value')
    this.position += length
    return this.#bytes.subarray(this.position - length, this.position)
  }
}

function malformed(what: string): FrazilError {
  return new FrazilError('corrupt', 'parquet-metadata', `the Parquet metadata is malformed: ${what}`)
}
