import { FrazilError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { TableRows } from '../table/index.ts'

/** Queries may run as long as this whatever is configured, and no longer than the longer of the two. */
const leastLongestMs = 14 * 60_000
/** How long a query that has run out of time may take to let go of its view. */
const endingMs = 60_000
/** Views at one time. */
const maxViews = 1000

/** The longest that a query may run where queries have `timeoutMs` unless they say otherwise: views are kept longer than that. */
export function longestQueryMs(timeoutMs: number): number {
  return Math.max(timeoutMs, leastLongestMs)
}

/** Read views that somebody uses, each with the rows that it pins. */
export class OpenViews {
  readonly #clock: Clock
  readonly #maxAgeMs: number
  readonly #views = new Map<number, { rows: readonly TableRows[]; expires: number }>()
  #next = 1

  /** @param queryTimeoutMs that queries have unless they say otherwise */
  constructor(clock: Clock, queryTimeoutMs = 0) {
    this.#clock = clock
    this.#maxAgeMs = longestQueryMs(queryTimeoutMs) + endingMs
  }

  /** Throws `unavailable` when there are too many for one more. */
  check(): void {
    if (this.dropOld() >= maxViews)
      throw new FrazilError('unavailable', 'too-many-views', 'too many queries hold views of this source')
  }

  /** Keeps the rows of a view until it is released. Returns its number. */
  add(rows: readonly TableRows[]): number {
    const id = this.#next++
    this.#views.set(id, { rows, expires: this.#clock.monotonic() + this.#maxAgeMs })
    return id
  }

  release(id: number): void {
    const view = this.#views.get(id)
    if (!view) return
    this.#views.delete(id)
    for (const rows of view.rows) rows.release()
  }

  /** Lets go of views that are too old; returns how many are left. They come in the order of their numbers, so the first young one ends it. */
  dropOld(): number {
    const now = this.#clock.monotonic()
    for (const [id, view] of this.#views) {
      if (view.expires >= now) break
      this.release(id)
    }
    return this.#views.size
  }

  releaseAll(): void {
    for (const id of this.#views.keys()) this.release(id)
  }
}
