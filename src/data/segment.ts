import { assert } from '../base/index.ts'
import type { Block, SlabPool } from '../base/index.ts'
import type { Field, Type } from './types.ts'

/**
 * How a column lies in memory. Everything is little-endian.
 * - `bool`: one byte a row, 0 or 1.
 * - `i32`: int, date, decimal with precision ≤ 9.
 * - `i64`: long, time, timestamp, timestamptz, decimal with precision ≤ 18; as two int32, low then high.
 * - `f32`, `f64`: IEEE 754.
 * - `i128`: wider decimals, two's complement, 16 bytes.
 * - `fixed`: uuid (16, text order) and fixed[n], raw bytes.
 * - `var`: string (UTF-8), binary, and nested cells (see `nested.ts`).
 */
export type Layout = 'bool' | 'i32' | 'i64' | 'f32' | 'f64' | 'i128' | 'fixed' | 'var'

export function layoutOf(type: Type): Layout {
  switch (type.kind) {
    case 'boolean':
      return 'bool'
    case 'int':
    case 'date':
      return 'i32'
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return 'i64'
    case 'float':
      return 'f32'
    case 'double':
      return 'f64'
    case 'decimal':
      return type.precision <= 9 ? 'i32' : type.precision <= 18 ? 'i64' : 'i128'
    case 'uuid':
    case 'fixed':
      return 'fixed'
    default:
      return 'var'
  }
}

/** Bytes a row in `data`; 0 for `var`. */
export function widthOf(type: Type): number {
  switch (layoutOf(type)) {
    case 'bool':
      return 1
    case 'i32':
    case 'f32':
      return 4
    case 'i64':
    case 'f64':
      return 8
    case 'i128':
      return 16
    case 'fixed':
      return type.kind === 'fixed' ? type.length : 16
    case 'var':
      return 0
  }
}

/**
 * One column of a segment: typed arrays over shared memory, plain enough to travel in a message.
 *
 * Rows without a value hold zeros in `data` (fixed layouts) or nothing in `heap` (`var`).
 */
export interface Column {
  readonly field: Field
  readonly layout: Layout
  /** Bytes a row in `data`; 0 for `var`. */
  readonly width: number
  /** Bit `row & 7` of byte `row >> 3` is set where the row has a value. Null for required fields: every row has one. */
  readonly valid: Uint8Array | null
  /** Fixed layouts: capacity × width bytes. Empty for `var`. */
  readonly data: Uint8Array
  /** `data` as 32-bit words where the width allows it (i32, i64, f32, f64, i128), else empty. */
  readonly words: Int32Array
  /** `var`: row's bytes lie in `heap` from `ends[row]` to `ends[row + 1]`, length prefix included. `ends[0]` is 0. */
  readonly ends: Int32Array
  /**
   * `var`: for each row with a value, its length as uint32 and then its bytes, one after another. This is Parquet's PLAIN
   * encoding, so that a page of a segment without dead rows is one copy.
   */
  readonly heap: Uint8Array
}

/** What another thread needs of a segment; made by {@link Segment.share}. Everything in it is shared memory or constant. */
export interface SharedSegment {
  readonly id: number
  readonly capacity: number
  readonly columns: readonly Column[]
  /** See {@link Segment.deletedAt}. */
  readonly deletedAt: Uint32Array | null
  readonly baseCommit: number
}

/** Capacities are powers of two less one, so that `ends` fits its block exactly and a row reference packs into 16 bits. */
export const segmentCapacities = [63, 255, 1023, 4095, 16383, 65535] as const
export const maxSegmentRows = 65535

/** Largest value of one row in one column, in bytes, that a segment can hold: half of the smallest default slab. */
export const maxValueBytes = 16 << 20

export interface SegmentOptions {
  id: number
  fields: readonly Field[]
  capacity: number
  /** Bytes to have for each `var` column's heap; at least what the largest expected row needs. */
  heapBytes: number | readonly number[]
  /** Whether rows can be deleted: append-only tables carry no `deletedAt`. */
  deletable: boolean
  /** Number of the source commit before the first that can delete rows here; `deletedAt` counts from it. */
  baseCommit: number
  /** For the little that cannot wait for memory: it is counted all the same. */
  overBudget?: boolean
}

/**
 * A block of rows in columns: append-only, filled by one source, read by everybody. Rows become visible only by the lengths
 * that readers were told; the writer may be beyond. Its memory comes from a pool and goes back when the last pin is released.
 */
export class Segment {
  readonly id: number
  readonly capacity: number
  readonly columns: readonly Column[]
  /**
   * One cell a row, written once: 0 while the row lives, else the number of the source commit that deleted or replaced it,
   * less `baseCommit`. Null for append-only tables.
   */
  readonly deletedAt: Uint32Array | null
  readonly baseCommit: number
  /** Rows written so far. Only the writer sets it. */
  rows = 0
  /** True once the table wants the writer to start another segment; see {@link seal}. */
  sealed = false
  /** Set by the writer, to let go of its pin as soon as no event of its own is still on the way. */
  onSealed: (() => void) | null = null
  readonly #pool: SlabPool
  readonly #blocks: Block[]
  #pins = 1

  private constructor(
    options: SegmentOptions,
    pool: SlabPool,
    blocks: Block[],
    columns: Column[],
    deletedAt: Uint32Array | null,
  ) {
    this.id = options.id
    this.capacity = options.capacity
    this.baseCommit = options.baseCommit
    this.columns = columns
    this.deletedAt = deletedAt
    this.#pool = pool
    this.#blocks = blocks
  }

  /** A new segment with one pin (the writer's), or null when the pool has no room now. */
  static create(pool: SlabPool, options: SegmentOptions): Segment | null {
    const blocks: Block[] = []
    const take = (bytes: number): Uint8Array<SharedArrayBuffer> | null => {
      const block = pool.allocate(Math.max(bytes, 1), options)
      if (!block) return null
      blocks.push(block)
      return block.bytes
    }
    const giveUp = (): null => {
      for (const block of blocks) pool.free(block, false)
      return null
    }
    const { capacity } = options
    const columns: Column[] = []
    let variable = 0
    for (const field of options.fields) {
      const layout = layoutOf(field.type)
      const width = widthOf(field.type)
      let valid: Uint8Array | null = null
      if (!field.required) {
        const bytes = take((capacity + 8) >> 3)
        if (!bytes) return giveUp()
        valid = bytes.fill(0)
      }
      let data: Uint8Array<SharedArrayBuffer> = nothing
      let words = noWords
      let ends = noWords
      let heap: Uint8Array<SharedArrayBuffer> = nothing
      if (layout === 'var') {
        const endBytes = take((capacity + 1) * 4)
        const heapBytes = typeof options.heapBytes === 'number' ? options.heapBytes : options.heapBytes[variable]
        variable++
        const heapBlock = take(heapBytes)
        if (!endBytes || !heapBlock) return giveUp()
        ends = new Int32Array(endBytes.buffer, endBytes.byteOffset, capacity + 1)
        ends[0] = 0
        heap = heapBlock
      } else {
        const bytes = take(capacity * width)
        if (!bytes) return giveUp()
        data = bytes
        if (width % 4 === 0 && layout !== 'fixed') words = new Int32Array(bytes.buffer, bytes.byteOffset, (capacity * width) >> 2)
      }
      columns.push({ field, layout, width, valid, data, words, ends, heap })
    }
    let deletedAt: Uint32Array | null = null
    if (options.deletable) {
      const bytes = take(capacity * 4)
      if (!bytes) return giveUp()
      bytes.fill(0)
      deletedAt = new Uint32Array(bytes.buffer, bytes.byteOffset, capacity)
    }
    return new Segment(options, pool, blocks, columns, deletedAt)
  }

  /** Bytes of pool memory held. */
  get bytes(): number {
    return this.#blocks.reduce((sum, block) => sum + 2 ** block.order, 0)
  }

  /** Keeps the memory until the matching {@link unpin}. */
  pin(): void {
    assert(this.#pins > 0, 'a released segment is not used again')
    this.#pins++
  }

  unpin(): void {
    assert(this.#pins > 0, 'pins are released once')
    if (--this.#pins === 0) for (const block of this.#blocks) this.#pool.free(block)
  }

  /** Asks the writer to write no further rows here, so that the memory can go when the rows have. */
  seal(): void {
    if (this.sealed) return
    this.sealed = true
    this.onSealed?.()
  }

  /** The part that other threads may read. The caller holds a pin for as long as they do. */
  share(): SharedSegment {
    return { id: this.id, capacity: this.capacity, columns: this.columns, deletedAt: this.deletedAt, baseCommit: this.baseCommit }
  }
}

const nothing = new Uint8Array(new SharedArrayBuffer(0))
const noWords = new Int32Array(new SharedArrayBuffer(0))

/** Consecutive rows of a segment: `from` inclusive, `to` exclusive. */
export interface SegmentPart {
  readonly segment: Segment
  readonly from: number
  readonly to: number
}

/** The same, for another thread. */
export interface SharedPart {
  readonly segment: SharedSegment
  readonly from: number
  readonly to: number
}

/** Whether `row` has a value in `column`. */
export function isPresent(column: Column, row: number): boolean {
  return column.valid === null || (column.valid[row >> 3] & (1 << (row & 7))) !== 0
}

/** Whether `row` is alive at source commit `commit` (append-only segments: always). */
export function isAlive(segment: SharedSegment | Segment, row: number, commit: number): boolean {
  if (segment.deletedAt === null) return true
  const at = segment.deletedAt[row]
  return at === 0 || segment.baseCommit + at > commit
}
