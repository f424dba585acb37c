import duckdb from '@duckdb/node-bindings'
import type { Vector } from '@duckdb/node-bindings'
import { ByteSink } from './byte-sink.ts'

/** Bits of a column, the first in the lowest place: validity, and booleans. */
export class Bits {
  readonly #sink: ByteSink
  #count = 0

  constructor(max: number) {
    this.#sink = new ByteSink(max)
  }

  get bytes(): Uint8Array {
    return this.#sink.bytes.subarray(0, this.#sink.length)
  }

  push(bit: boolean): void {
    if ((this.#count & 7) === 0) this.#sink.byte(0)
    if (bit) this.#sink.bytes[this.#count >> 3] |= 1 << (this.#count & 7)
    this.#count++
  }

  pushOnes(count: number): void {
    for (let i = 0; i < count; i++) this.push(true)
  }

  clear(): void {
    this.#sink.length = 0
    this.#count = 0
  }
}

/** Which values of a column are there, over the vectors of many chunks. */
export class Validity {
  readonly #bits: Bits
  /** Of the vector that was loaded last; null: all of its values are there. */
  #loaded: Uint8Array | null = null
  length = 0
  nulls = 0

  constructor(max: number) {
    this.#bits = new Bits(max)
  }

  load(vector: Vector, count: number): void {
    const valid = duckdb.vector_get_validity(vector, ((count + 63) >> 6) << 3)
    this.#loaded = valid !== null && valid.length > 0 ? valid : null
  }

  /** Whether all rows of the loaded vector have a value, as far as can be known at once. */
  get isFull(): boolean {
    return this.#loaded === null
  }

  isNull(row: number): boolean {
    return this.#loaded !== null && (this.#loaded[row >> 3] & (1 << (row & 7))) === 0
  }

  append(from: number, to: number): void {
    // Bits are kept from the first null on.
    if (this.#loaded === null) {
      if (this.nulls > 0) this.#bits.pushOnes(to - from)
      this.length += to - from
      return
    }
    for (let row = from; row < to; row++) {
      const isNull = this.isNull(row)
      if (isNull && this.nulls++ === 0) this.#bits.pushOnes(this.length)
      if (this.nulls > 0) this.#bits.push(!isNull)
      this.length++
    }
  }

  /** The buffer of a batch: empty when nothing is null. */
  get bytes(): Uint8Array {
    return this.#bits.bytes
  }

  clear(): void {
    this.#bits.clear()
    this.length = 0
    this.nulls = 0
  }
}

/** Ends of texts and lists in the bytes or values behind them, as Arrow's offsets of 32 bits. */
export class Offsets {
  readonly #sink: ByteSink
  #last = 0

  constructor(max: number) {
    this.#sink = new ByteSink(max)
    this.#write(0)
  }

  push(size: number): void {
    this.#write(this.#last + size)
  }

  get bytes(): Uint8Array {
    return this.#sink.bytes.subarray(0, this.#sink.length)
  }

  clear(): void {
    this.#sink.length = 0
    this.#write(0)
  }

  #write(end: number): void {
    this.#last = end
    const sink = this.#sink
    sink.reserve(4)
    const { bytes, length } = sink
    bytes[length] = end
    bytes[length + 1] = end >>> 8
    bytes[length + 2] = end >>> 16
    bytes[length + 3] = end >>> 24
    sink.length = length + 4
  }
}
