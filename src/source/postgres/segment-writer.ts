import { Buffer } from 'node:buffer'
import { SegmentGrowth } from '../../data/index.ts'
import type { Field, Segment, SourceTable } from '../../data/index.ts'
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

/** Writes the rows (or keys) of one table into one segment after another. */
export class SegmentWriter {
  readonly fields: readonly Field[]
  readonly #decoder: TupleDecoder
  readonly #parts: SourceParts
  readonly #retired: RetiredSegments
  readonly #growth: SegmentGrowth
  readonly #empty: readonly number[]
  #segment: Segment | null = null
  /** Bytes that the row at hand needs, where that is known because it did not fit. */
  readonly #needed: number[]
  #oversized = false

  /** `table` is null for keys, which cannot be deleted; `empty` are places of optional fields that the decoder has no values for. */
  constructor(
    fields: readonly Field[],
    table: SourceTable | null,
    decoder: TupleDecoder,
    parts: SourceParts,
    retired: RetiredSegments,
    empty: readonly number[] = [],
  ) {
    this.#empty = empty
    this.fields = fields
    this.#decoder = decoder
    this.#parts = parts
    this.#retired = retired
    this.#growth = new SegmentGrowth(fields, table !== null && parts.deletable(table), parts.pool)
    this.#needed = this.#growth.variable.map(() => 0)
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
      this.#needed[this.#growth.variable.indexOf(outcome.target)] = outcome.needed
      this.#oversized = true
      if (outcome.needed > this.#growth.largestHeap) return refusal.tooLarge
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

  /** Gives up the segment. */
  release(): void {
    const segment = this.#segment
    if (!segment) return
    this.#growth.gaveUp(segment)
    // Nobody waits for more rows in it.
    segment.seal()
    this.#retired.add(segment)
    this.#segment = null
  }

  /** A new segment. Returns 0, or `wait`, or `tooLarge` when the budget can never hold it. */
  #next(): number {
    this.release()
    const segment = this.#growth.next({
      id: this.#parts.nextSegmentId(),
      baseCommit: this.#parts.currentCommit(),
      needed: this.#needed,
      // A row that needs much by itself may fit alone. Otherwise wait for the usual size: small segments cost everybody behind more.
      orSmall: this.#oversized,
    })
    if (segment === 'wait') return refusal.wait
    if (segment === 'too-large') return refusal.tooLarge
    for (const place of this.#empty) {
      segment.columns[place].data.fill(0)
      segment.columns[place].ends.fill(0)
    }
    this.#segment = segment
    this.#decoder.bind(segment.columns)
    return 0
  }
}
