import { SegmentGrowth } from '../../data/index.ts'
import type { Column, Field, Segment } from '../../data/index.ts'
import { ArrowRows } from '../../format/arrow/index.ts'
import { JsonRowDecoder, outcomes } from '../../format/json/index.ts'
import type { RowProblem } from '../../format/json/index.ts'
import { addRows } from '../push/index.ts'
import type { Rows } from '../push/index.ts'
import type { SourceParts } from '../source.ts'

/** What {@link Lane.append} returns beside places. */
export const laneOutcomes = { refused: outcomes.refused, wait: -3, tooLarge: -4 } as const

/** Decodes rows into columns; see `JsonRowDecoder`. */
export interface RowDecoder {
  readonly problem: RowProblem
  readonly target: number
  readonly needed: number
  bind(columns: readonly Column[]): void
  decode(bytes: Uint8Array, from: number, end: number, row: number): number
}

/** Decodes rows (or keys) of one table into one segment after another. */
export class Lane {
  readonly #json: JsonRowDecoder
  #decoder: RowDecoder
  readonly fields: readonly Field[]
  readonly #ignored: readonly string[]
  readonly #parts: SourceParts
  readonly #growth: SegmentGrowth
  readonly #needed: number[]
  #segment: Segment | null = null
  /** The bound columns belong to this segment. */
  #isOversized = false
  /** Memory taken since it was last set to 0. */
  taken = 0
  /** Rows of the last {@link appendLines}. */
  added = 0

  /** @param ignored names that may be given and are not looked at */
  constructor(fields: readonly Field[], ignored: readonly string[], deletable: boolean, parts: SourceParts) {
    this.#json = new JsonRowDecoder(fields, ignored)
    this.#decoder = this.#json
    this.fields = fields
    this.#ignored = ignored
    this.#parts = parts
    this.#growth = new SegmentGrowth(fields, deletable, parts.pool)
    this.#needed = this.#growth.variable.map(() => 0)
  }

  /** See {@link JsonRowDecoder.skipsOpen}. */
  set skipsOpen(skips: boolean) {
    this.#json.skipsOpen = skips
  }

  /** Rows come as Arrow from now on, or as JSON again (null). Returns how many. Throws `request` for what are no rows of the table. */
  useArrow(body: Uint8Array | null): number {
    const options = { ignored: this.#ignored, skipsOpen: this.#json.skipsOpen }
    const arrow = body && new ArrowRows(body, this.fields, options)
    this.#decoder = arrow ?? this.#json
    if (this.#segment) this.#decoder.bind(this.#segment.columns)
    return arrow?.rows ?? 0
  }

  /** After `refused`. */
  get problem(): RowProblem {
    return this.#decoder.problem
  }

  /** Decodes the object at or behind `at` and adds it to `rows`. Returns the place behind it, or one of {@link laneOutcomes}. */
  append(bytes: Uint8Array, at: number, end: number, rows: Rows[]): number {
    for (;;) {
      const segment = this.#segment
      if (!segment || segment.sealed || segment.rows === segment.capacity) {
        const refused = this.#next()
        if (refused !== 0) return refused
        continue
      }
      const after = this.#decoder.decode(bytes, at, end, segment.rows)
      if (after >= 0) {
        if (this.#isOversized) {
          this.#needed.fill(0)
          this.#isOversized = false
        }
        addRows(rows, segment, segment.rows++, 1)
        return after
      }
      if (after !== outcomes.full) return after
      this.#needed[this.#growth.variable.indexOf(this.#decoder.target)] = this.#decoder.needed
      this.#isOversized = true
      const refused = this.#next()
      if (refused !== 0) return refused
    }
  }

  /**
   * Decodes lines with an object each, from the one at `at` on, and adds them to `rows`, until one is not taken at the first attempt, for
   * whatever reason ({@link append} it to know which); at most `most`, none longer than `longest`. Returns where that one is.
   */
  appendLines(bytes: Uint8Array, at: number, most: number, longest: number, rows: Rows[]): number {
    this.added = 0
    for (;;) {
      const segment = this.#segment
      if (!segment || segment.sealed || segment.rows === segment.capacity) {
        if (this.added === most || at === bytes.length || this.#next() !== 0) return at
        continue
      }
      const room = Math.min(segment.capacity - segment.rows, most - this.added)
      at = this.#json.decodeLines(bytes, at, bytes.length, segment.rows, room, longest)
      const { count } = this.#json
      if (count > 0) {
        addRows(rows, segment, segment.rows, count)
        segment.rows += count
        this.added += count
      }
      if (count < room || this.added === most) return at
    }
  }

  #next(): number {
    this.release()
    const segment = this.#growth.next({
      id: this.#parts.nextSegmentId(),
      baseCommit: this.#parts.currentCommit(),
      needed: this.#needed,
      orSmall: this.#isOversized,
    })
    if (segment === 'wait') return laneOutcomes.wait
    if (segment === 'too-large') return laneOutcomes.tooLarge
    this.#segment = segment
    this.taken += segment.bytes
    segment.onSealed = () => {
      if (this.#segment === segment) this.release()
    }
    this.#decoder.bind(segment.columns)
    return 0
  }

  /** Gives up the segment; whoever has rows of it has pinned it. */
  release(): void {
    const segment = this.#segment
    if (!segment) return
    this.#segment = null
    segment.onSealed = null
    this.#growth.gaveUp(segment)
    segment.seal()
    segment.unpin()
  }
}
