import { FrazilError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { TableRows } from '../table/index.ts'

/** Longest a view may keep its pins; longer than any query may run. */
const maxAgeMs = 15 * 60_000
/** Views at one time. */
const maxViews = 1000

/** Read views that somebody uses, each with the rows that it pins. */
export class OpenViews {
  readonly #clock: Clock
  readonly #views = new Map<number, { rows: readonly TableRows[]; expires: number }>()
  #next = 1

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Throws `unavailable` when there are too many for one more. */
  check(): void {
    if (this.dropOld() >= maxViews)
      throw new FrazilError('unavailable', 'too-many-views', 'too many queries hold views of this source')
  }

  /** Keeps the rows of a view until it is released. Returns its number. */
  add(rows: readonly TableRows[]): number {
    const id = this.#next++
    this.#views.set(id, { rows, expires: this.#clock.monotonic() + maxAgeMs })
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
