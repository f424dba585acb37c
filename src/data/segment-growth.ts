import type { SlabPool } from '../base/index.ts'
import { Segment, layoutOf, maxValueBytes, segmentCapacities, widthOf } from './segment.ts'
import type { Field } from './types.ts'

const firstGuessBytes = 32
const roomForChange = 1.25

export interface NextSegment {
  readonly id: number
  readonly baseCommit: number
  /** Bytes that each `var` column of the next row needs (in the order of {@link SegmentGrowth.variable}), where that is known. */
  readonly needed: ArrayLike<number>
  /** Whether one that holds little more than the next row is better than none. */
  readonly orSmall: boolean
  /** Takes a small one though the budget does not allow it. */
  readonly overBudget?: boolean
}

/**
 * Sizes of the segments that a table's rows are written to, one after another: small ones first, so that a quiet table costs
 * kilobytes and a busy one is not cut into pieces.
 */
export class SegmentGrowth {
  /** Places of `var` columns in `fields`. */
  readonly variable: readonly number[]
  /** Most bytes of one value with its length. */
  readonly largestHeap: number
  readonly #fields: readonly Field[]
  readonly #deletable: boolean
  readonly #pool: SlabPool
  readonly #fixedBytes: number
  /** Step in `segmentCapacities` of the next segment, before it is limited to what there is. */
  #step = 0
  /** Bytes a row that `var` columns took in the last segment. */
  readonly #usual: number[]

  constructor(fields: readonly Field[], deletable: boolean, pool: SlabPool) {
    this.variable = fields.flatMap((field, i) => (layoutOf(field.type) === 'var' ? [i] : []))
    this.largestHeap = Math.min(maxValueBytes + 4, pool.slabBytes)
    this.#fields = fields
    this.#deletable = deletable
    this.#pool = pool
    this.#fixedBytes = fields.reduce((sum, field) => sum + widthOf(field.type) + 0.125, deletable ? 4 : 0)
    this.#usual = this.variable.map(() => firstGuessBytes)
  }

  /** A segment is given up: the next one is larger if it filled up, smaller if the table hardly used it. */
  gaveUp(segment: Segment): void {
    const { rows } = segment
    if (rows > 0) this.variable.forEach((column, i) => (this.#usual[i] = segment.columns[column].ends[rows] / rows))
    if (!segment.sealed || rows === segment.capacity) this.#step++
    else if (rows < segment.capacity / 4) this.#step--
  }

  /** A new segment with one pin; `wait` when the pool has no room now, `too-large` when its budget can never hold the row. */
  next(options: NextSegment): Segment | 'wait' | 'too-large' {
    const { needed, orSmall, overBudget = false } = options
    const most = this.#most()
    let step = Math.min(Math.max(this.#step, 0), segmentCapacities.length - 1)
    while (step > 0 && this.#bytes(segmentCapacities[step], this.#usualHeap(segmentCapacities[step], needed)) > most) step--
    const usual = this.#create(step, this.#usualHeap(segmentCapacities[step], needed), options)
    if (usual) return usual
    const least = this.variable.map((_, i) => roundedUp(needed[i]))
    const small = orSmall || overBudget ? this.#create(0, least, options, overBudget) : null
    if (small) return small
    return this.#bytes(segmentCapacities[0], least) > this.#pool.budget / 2 ? 'too-large' : 'wait'
  }

  #create(step: number, heapBytes: readonly number[], { id, baseCommit }: NextSegment, overBudget = false): Segment | null {
    const capacity = segmentCapacities[step]
    const options = { id, fields: this.#fields, capacity, heapBytes, deletable: this.#deletable, baseCommit, overBudget }
    const segment = Segment.create(this.#pool, options)
    if (segment) this.#step = step
    return segment
  }

  /** Most bytes of one segment: small enough that a budget holds several of them. */
  #most(): number {
    return Math.min(16 << 20, Math.max(this.#pool.budget >> 4, 64 << 10))
  }

  /** Heaps for as many usual rows, but no more than a segment may have; never less than the row at hand needs. */
  #usualHeap(capacity: number, needed: ArrayLike<number>): number[] {
    const most = Math.min(this.largestHeap, this.#most() / Math.max(this.variable.length, 1))
    return this.#usual.map((usual, i) => roundedUp(Math.max(Math.min(usual * capacity * roomForChange, most), needed[i])))
  }

  #bytes(capacity: number, heaps: readonly number[]): number {
    return heaps.reduce((sum, heap) => sum + heap + 4 * capacity, this.#fixedBytes * capacity)
  }
}

/** Memory comes in powers of two, so that less would not be cheaper. The largest value and its length need no more than they are. */
function roundedUp(bytes: number): number {
  return bytes > maxValueBytes ? bytes : 2 ** Math.ceil(Math.log2(Math.max(bytes, 256)))
}
