import { Buffer } from 'node:buffer'
import { Segment, layoutOf, maxValueBytes, segmentCapacities, widthOf } from '../../data/index.ts'
import type { Field, SourceTable } from '../../data/index.ts'
import type { SourceParts } from '../source.ts'
import type { TupleDecoder } from './decoder.ts'
import { refusal } from './refusals.ts'

/**
 * Pins of segments that are full. They are kept until whoever got the last event about them has asked for more, as the
 * contract of sources says.
 */
export class RetiredSegments {
  #full: Segment[] = []
  #handedOut: Segment[] = []

  add(segment: Segment): void {
    this.#full.push(segment)
  }

  /** All events about the segments added so far are being handed out. */
  handOut(): void {
    for (const segment of this.#full) this.#handedOut.push(segment)
    this.#full = []
  }

  /** Whoever got them asks for more. */
  release(): void {
    const segments = this.#handedOut
    this.#handedOut = []
    for (const segment of segments) segment.unpin()
  }

  releaseAll(): void {
    this.handOut()
    this.release()
  }
}

const firstGuessBytes = 32
const roomForChange = 1.25

/** Most bytes of one segment: small enough that a budget holds several of them. */
function segmentBudget(parts: SourceParts): number {
  return Math.min(16 << 20, Math.max(parts.pool.budget >> 4, 64 << 10))
}

/**
 * Writes the rows (or keys) of one table: one segment after another, small ones first, so that a quiet table costs kilobytes
 * and a busy one is not cut into pieces.
 */
export class SegmentWriter {
  readonly fields: readonly Field[]
  readonly #decoder: TupleDecoder
  readonly #parts: SourceParts
  readonly #retired: RetiredSegments
  readonly #deletable: boolean
  /** Places of `var` columns in `fields`. */
  readonly #variable: readonly number[]
  readonly #fixedBytes: number
  readonly #largestHeap: number
  #segment: Segment | null = null
  /** Step in `segmentCapacities` of the next segment, before it is limited to what there is. */
  #step = 0
  /** Bytes a row that `var` columns took in the last segment. */
  readonly #usual: number[]
  /** Bytes that the row at hand needs, where that is known because it did not fit. */
  readonly #needed: number[]
  #oversized = false

  /** `table` is null for keys, which cannot be deleted. */
  constructor(
    fields: readonly Field[],
    table: SourceTable | null,
    decoder: TupleDecoder,
    parts: SourceParts,
    retired: RetiredSegments,
  ) {
    this.fields = fields
    this.#decoder = decoder
    this.#parts = parts
    this.#retired = retired
    this.#deletable = table !== null && parts.deletable(table)
    this.#variable = fields.flatMap((field, i) => (layoutOf(field.type) === 'var' ? [i] : []))
    this.#fixedBytes = fields.reduce((sum, field) => sum + widthOf(field.type) + 0.125, this.#deletable ? 4 : 0)
    this.#largestHeap = Math.min(maxValueBytes + 4, parts.pool.slabBytes)
    this.#usual = this.#variable.map(() => firstGuessBytes)
    this.#needed = this.#variable.map(() => 0)
  }

  /** The segment that the last decoded row is in. */
  get segment(): Segment {
    if (this.#segment === null) throw new Error('no row was decoded')
    return this.#segment
  }

  /** Where {@link refusal} details are. */
  get outcome(): TupleDecoder['outcome'] {
    return this.#decoder.outcome
  }

  /**
   * Decodes a tuple as the next row, in a new segment if need be, but does not count it: that is {@link accept}. Returns where
   * it ends, or a refusal; `wait` when the pool has no room.
   */
  decode(bytes: Buffer, from: number, to: number, oldRow: number, oldKey: number): number {
    for (;;) {
      const segment = this.#segment
      if (segment === null || segment.sealed || segment.rows === segment.capacity) {
        const refused = this.#next()
        if (refused !== 0) return refused
        continue
      }
      const end = this.#decoder.decode(bytes, from, to, segment.rows, oldRow, oldKey)
      if (end !== refusal.full) return end
      const { outcome } = this.#decoder
      this.#needed[this.#variable.indexOf(outcome.target)] = outcome.needed
      this.#oversized = true
      if (outcome.needed > this.#largestHeap) return refusal.tooLarge
      const refused = this.#next()
      if (refused !== 0) return refused
    }
  }

  /** Counts the row that was decoded last; returns its number in the segment. */
  accept(): number {
    if (this.#oversized) {
      this.#needed.fill(0)
      this.#oversized = false
    }
    return this.segment.rows++
  }

  /** Gives up a segment that the table does not want more rows in, so that a quiet table does not hold its memory. */
  releaseSealed(): void {
    if (this.#segment?.sealed) this.release()
  }

  /** Gives up the segment; the next one is larger if this one filled up, smaller if the table hardly used it. */
  release(): void {
    const segment = this.#segment
    if (!segment) return
    const { rows } = segment
    if (rows > 0) this.#variable.forEach((column, i) => (this.#usual[i] = segment.columns[column].ends[rows] / rows))
    if (!segment.sealed) this.#step++
    else if (rows < segment.capacity / 4) this.#step--
    this.#retired.add(segment)
    this.#segment = null
  }

  /** A new segment. Returns 0, or `wait`, or `tooLarge` when the budget can never hold it. */
  #next(): number {
    this.release()
    const most = segmentBudget(this.#parts)
    let step = Math.min(Math.max(this.#step, 0), segmentCapacities.length - 1)
    while (step > 0 && this.#bytes(segmentCapacities[step], this.#usualHeap(segmentCapacities[step])) > most) step--
    if (this.#create(step, this.#usualHeap(segmentCapacities[step]))) return 0
    // A row that needs much by itself may fit alone. Otherwise wait for the usual size: small segments cost everybody behind more.
    const least = this.#needed.map((needed) => roundedUp(needed))
    if (this.#oversized && this.#create(0, least)) return 0
    return this.#bytes(segmentCapacities[0], least) > this.#parts.pool.budget / 2 ? refusal.tooLarge : refusal.wait
  }

  #create(step: number, heapBytes: readonly number[]): boolean {
    const segment = Segment.create(this.#parts.pool, {
      id: this.#parts.nextSegmentId(),
      fields: this.fields,
      capacity: segmentCapacities[step],
      heapBytes,
      deletable: this.#deletable,
      baseCommit: this.#parts.currentCommit(),
    })
    if (!segment) return false
    this.#segment = segment
    this.#step = step
    this.#decoder.bind(segment.columns)
    return true
  }

  /** Heaps for as many usual rows, but no more than a segment may have; never less than the row at hand needs. */
  #usualHeap(capacity: number): number[] {
    const most = Math.min(this.#largestHeap, segmentBudget(this.#parts) / Math.max(this.#variable.length, 1))
    return this.#usual.map((usual, i) => roundedUp(Math.max(Math.min(usual * capacity * roomForChange, most), this.#needed[i])))
  }

  #bytes(capacity: number, heaps: readonly number[]): number {
    return heaps.reduce((sum, heap) => sum + heap + 4 * capacity, this.#fixedBytes * capacity)
  }
}

/** Memory comes in powers of two, so that less would not be cheaper. The largest value and its length need no more than they are. */
function roundedUp(bytes: number): number {
  return bytes > maxValueBytes ? bytes : 2 ** Math.ceil(Math.log2(Math.max(bytes, 256)))
}
