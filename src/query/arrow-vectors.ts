import duckdb from '@duckdb/node-bindings'
import type { Vector } from '@duckdb/node-bindings'
import { FrazilError } from '../base/index.ts'
import type { ArrowNode } from '../format/arrow/index.ts'
import { Bits, Offsets, Validity } from './arrow-buffers.ts'
import { ByteSink } from './byte-sink.ts'
import type { CellWriter } from './cell-writer.ts'

/** The parts of a record batch, column by column. */
export interface BatchParts {
  readonly nodes: ArrowNode[]
  readonly buffers: Uint8Array[]
}

/**
 * Collects the values of a column, or of a member of nested ones, for a record batch. `load` takes the next vector, `append` adds rows
 * of it; what is taken from DuckDB's memory is copied. Buffers beyond `max` bytes throw `request` `result-too-large`.
 */
export abstract class ArrowVector {
  readonly validity: Validity
  protected readonly max: number

  constructor(max: number) {
    this.max = max
    this.validity = new Validity(max)
  }

  load(vector: Vector, count: number): void {
    this.validity.load(vector, count)
  }

  abstract append(from: number, to: number): void

  /** Bytes that are collected. */
  abstract get bytes(): number

  /** Adds what was collected; it is valid until {@link clear}. */
  give(parts: BatchParts): void {
    parts.nodes.push({ length: this.validity.length, nulls: this.validity.nulls })
    parts.buffers.push(this.validity.bytes)
  }

  clear(): void {
    this.validity.clear()
  }
}

function written(sink: ByteSink): Uint8Array {
  return sink.bytes.subarray(0, sink.length)
}

function dataOf(vector: Vector, bytes: number): Uint8Array {
  return bytes === 0 ? new Uint8Array(0) : duckdb.vector_get_data(vector, bytes)
}

/** Null and nothing else. */
export class NullVector extends ArrowVector {
  #length = 0

  override load(): void {}

  append(from: number, to: number): void {
    this.#length += to - from
  }

  get bytes(): number {
    return 0
  }

  override give({ nodes }: BatchParts): void {
    nodes.push({ length: this.#length, nulls: this.#length })
  }

  override clear(): void {
    this.#length = 0
  }
}

/** Values of a fixed width: one buffer. */
abstract class FixedVector extends ArrowVector {
  protected readonly sink: ByteSink

  constructor(max: number) {
    super(max)
    this.sink = new ByteSink(max)
  }

  get bytes(): number {
    return this.sink.length
  }

  override give(parts: BatchParts): void {
    super.give(parts)
    parts.buffers.push(written(this.sink))
  }

  override clear(): void {
    super.clear()
    this.sink.length = 0
  }
}

/** Values that DuckDB and Arrow keep in the same bytes. */
export class PlainVector extends FixedVector {
  readonly #width: number
  #data: Uint8Array = new Uint8Array(0)

  constructor(width: number, max: number) {
    super(max)
    this.#width = width
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#data = dataOf(vector, count * this.#width)
  }

  append(from: number, to: number): void {
    const width = this.#width
    const start = this.sink.length
    this.sink.append(this.#data.subarray(from * width, to * width))
    this.validity.append(from, to)
    if (this.validity.isFull) return
    // What is in the place of a null is no value, but may have been one of another row.
    for (let row = from; row < to; row++) {
      if (!this.validity.isNull(row)) continue
      const at = start + (row - from) * width
      this.sink.bytes.fill(0, at, at + width)
    }
  }
}

/** Writes one value of DuckDB, at `at` of `from`, as the bytes that Arrow has at `to` of `into`. */
type Rewrite = (from: DataView, at: number, into: DataView, to: number) => void

/** Values of a fixed width that Arrow keeps in other bytes. */
export class RewrittenVector extends FixedVector {
  readonly #width: number
  readonly #outWidth: number
  readonly #rewrite: Rewrite
  #view: DataView = new DataView(new ArrayBuffer(0))

  constructor(width: number, outWidth: number, rewrite: Rewrite, max: number) {
    super(max)
    this.#width = width
    this.#outWidth = outWidth
    this.#rewrite = rewrite
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    const data = dataOf(vector, count * this.#width)
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  append(from: number, to: number): void {
    const { sink } = this
    const outWidth = this.#outWidth
    sink.reserve((to - from) * outWidth)
    const into = new DataView(sink.bytes.buffer)
    for (let row = from; row < to; row++) {
      if (this.validity.isNull(row)) sink.bytes.fill(0, sink.length, sink.length + outWidth)
      else this.#rewrite(this.#view, row * this.#width, into, sink.length)
      sink.length += outWidth
    }
    this.validity.append(from, to)
  }
}

/** A decimal of fewer bytes as one of sixteen. */
export const widened: Readonly<Record<2 | 4 | 8, Rewrite>> = {
  2: (from, at, into, to) => writeWide(into, to, BigInt(from.getInt16(at, true))),
  4: (from, at, into, to) => writeWide(into, to, BigInt(from.getInt32(at, true))),
  8: (from, at, into, to) => writeWide(into, to, from.getBigInt64(at, true)),
}

function writeWide(into: DataView, to: number, value: bigint): void {
  into.setBigInt64(to, value, true)
  into.setBigInt64(to + 8, value < 0n ? -1n : 0n, true)
}

const pastDecimal = 10n ** 38n

/** An integer of 128 bits as a decimal of 38 digits. Throws `request` for one that has more. */
export function hugeRewrite(signed: boolean): Rewrite {
  return (from, at, into, to) => {
    const low = from.getBigUint64(at, true)
    const high = signed ? from.getBigInt64(at + 8, true) : from.getBigUint64(at + 8, true)
    const value = (high << 64n) | low
    if (value >= pastDecimal || value <= -pastDecimal) {
      throw new FrazilError(
        'request',
        'result-type',
        'an integer of the result has more than 38 digits, which Arrow has no type for',
        {
          hint: 'cast it to VARCHAR or DOUBLE',
        },
      )
    }
    into.setBigUint64(to, low, true)
    into.setBigUint64(to + 8, BigInt.asUintN(64, high), true)
  }
}

/** DuckDB keeps an UUID as a number that sorts like its text: from its last byte on, the first bit upside down. */
export const uuidRewrite: Rewrite = (from, at, into, to) => {
  into.setBigUint64(to, from.getBigUint64(at + 8, true) ^ (1n << 63n))
  into.setBigUint64(to + 8, from.getBigUint64(at, true))
}

export class BooleanVector extends ArrowVector {
  readonly #bits: Bits
  #data: Uint8Array = new Uint8Array(0)

  constructor(max: number) {
    super(max)
    this.#bits = new Bits(max)
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#data = dataOf(vector, count)
  }

  append(from: number, to: number): void {
    for (let row = from; row < to; row++) this.#bits.push(this.#data[row] !== 0 && !this.validity.isNull(row))
    this.validity.append(from, to)
  }

  get bytes(): number {
    return this.#bits.bytes.length
  }

  override give(parts: BatchParts): void {
    super.give(parts)
    parts.buffers.push(this.#bits.bytes)
  }

  override clear(): void {
    super.clear()
    this.#bits.clear()
  }
}

/** Values that are written one behind the other: texts and bytes. */
abstract class VariableVector extends ArrowVector {
  readonly #offsets: Offsets
  readonly #sink: ByteSink

  constructor(max: number) {
    super(max)
    this.#offsets = new Offsets(max)
    this.#sink = new ByteSink(max)
  }

  append(from: number, to: number): void {
    for (let row = from; row < to; row++) {
      const start = this.#sink.length
      if (!this.validity.isNull(row)) this.write(row, this.#sink)
      this.#offsets.push(this.#sink.length - start)
    }
    this.validity.append(from, to)
  }

  protected abstract write(row: number, sink: ByteSink): void

  get bytes(): number {
    return this.#sink.length + this.#offsets.bytes.length
  }

  override give(parts: BatchParts): void {
    super.give(parts)
    parts.buffers.push(this.#offsets.bytes, written(this.#sink))
  }

  override clear(): void {
    super.clear()
    this.#offsets.clear()
    this.#sink.length = 0
  }
}

/** What Arrow has no type for, as the text that it is in CSV; and VARCHAR and BLOB, whose bytes are written as they are. */
export class TextVector extends VariableVector {
  readonly #writer: Pick<CellWriter, 'load' | 'plain'>

  constructor(writer: Pick<CellWriter, 'load' | 'plain'>, max: number) {
    super(max)
    this.#writer = writer
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#writer.load(vector, count)
  }

  protected write(row: number, sink: ByteSink): void {
    this.#writer.plain(row, sink)
  }
}

/** Lists, and maps as lists of their entries. */
export class ListVector extends ArrowVector {
  readonly #element: ArrowVector
  readonly #offsets: Offsets
  #view: DataView = new DataView(new ArrayBuffer(0))

  constructor(element: ArrowVector, max: number) {
    super(max)
    this.#element = element
    this.#offsets = new Offsets(max)
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    const data = dataOf(vector, count * 16)
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
    this.#element.load(duckdb.list_vector_get_child(vector), duckdb.list_vector_get_size(vector))
  }

  append(from: number, to: number): void {
    // Lists that lie together are added together.
    let start = 0
    let end = 0
    for (let row = from; row < to; row++) {
      if (this.validity.isNull(row)) {
        this.#offsets.push(0)
        continue
      }
      const first = Number(this.#view.getBigUint64(row * 16, true))
      const size = Number(this.#view.getBigUint64(row * 16 + 8, true))
      this.#offsets.push(size)
      if (size === 0) continue
      if (first !== end) {
        this.#element.append(start, end)
        start = first
      }
      end = first + size
    }
    this.#element.append(start, end)
    this.validity.append(from, to)
  }

  get bytes(): number {
    return this.#offsets.bytes.length + this.#element.bytes
  }

  override give(parts: BatchParts): void {
    super.give(parts)
    parts.buffers.push(this.#offsets.bytes)
    this.#element.give(parts)
  }

  override clear(): void {
    super.clear()
    this.#offsets.clear()
    this.#element.clear()
  }
}

/** Lists of one size. */
export class ArrayVector extends ArrowVector {
  readonly #element: ArrowVector
  readonly #size: number

  constructor(element: ArrowVector, size: number, max: number) {
    super(max)
    this.#element = element
    this.#size = size
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#element.load(duckdb.array_vector_get_child(vector), count * this.#size)
  }

  append(from: number, to: number): void {
    this.#element.append(from * this.#size, to * this.#size)
    this.validity.append(from, to)
  }

  get bytes(): number {
    return this.#element.bytes
  }

  override give(parts: BatchParts): void {
    super.give(parts)
    this.#element.give(parts)
  }

  override clear(): void {
    super.clear()
    this.#element.clear()
  }
}

export class StructVector extends ArrowVector {
  readonly #members: readonly ArrowVector[]

  constructor(members: readonly ArrowVector[], max: number) {
    super(max)
    this.#members = members
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#members.forEach((member, i) => member.load(duckdb.struct_vector_get_child(vector, i), count))
  }

  append(from: number, to: number): void {
    for (const member of this.#members) member.append(from, to)
    this.validity.append(from, to)
  }

  get bytes(): number {
    return this.#members.reduce((sum, member) => sum + member.bytes, 0)
  }

  override give(parts: BatchParts): void {
    super.give(parts)
    for (const member of this.#members) member.give(parts)
  }

  override clear(): void {
    super.clear()
    for (const member of this.#members) member.clear()
  }
}
