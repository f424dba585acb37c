import { FrazilError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Position } from '../data/index.ts'

/** Most callers that may wait for a position at one time. */
const maxWaiters = 10_000

interface Waiter {
  readonly position: Position
  readonly done: (error: FrazilError | null) => void
}

/** What is visible: the number of the last applied source commit, its position, and who waits for a later one. */
export class Visibility {
  /** Number of the last source commit whose rows are visible. */
  commit = 0
  /** Everything up to here is visible. Null before anything is known. */
  position: Position | null = null
  readonly #reached: (a: Position, b: Position) => boolean
  readonly #clock: Clock
  #waiters: Waiter[] = []

  constructor(reached: (a: Position, b: Position) => boolean, clock: Clock) {
    this.#reached = reached
    this.#clock = clock
  }

  /** A source commit (or, with the same number, mere progress) has become visible. */
  advance(commit: number, position: Position | null): void {
    this.commit = commit
    this.position = position
    if (position === null || this.#waiters.length === 0) return
    const waiters = this.#waiters
    this.#waiters = waiters.filter((waiter) => !this.#reached(position, waiter.position))
    for (const waiter of waiters) if (!this.#waiters.includes(waiter)) waiter.done(null)
  }

  has(position: Position): boolean {
    return this.position !== null && this.#reached(this.position, position)
  }

  async wait(position: Position, timeoutMs: number): Promise<void> {
    if (this.has(position)) return
    if (this.#waiters.length >= maxWaiters)
      throw new FrazilError('unavailable', 'too-many-waiters', 'too many requests wait for a position')
    const timeout = new AbortController()
    let waiter: Waiter | null = null
    const arrived = new Promise<void>((resolve, reject) => {
      waiter = { position, done: (error) => (error ? reject(error) : resolve()) }
      this.#waiters.push(waiter)
    })
    const late = this.#clock.sleep(timeoutMs, timeout.signal).then(() => {
      if (timeout.signal.aborted) return
      throw new FrazilError(
        'unavailable',
        'wait-timeout',
        `position ${position} was not reached within ${timeoutMs} ms; the source is at ${this.position ?? 'no position yet'}`,
      )
    })
    try {
      await Promise.race([arrived, late])
    } finally {
      timeout.abort()
      this.#waiters = this.#waiters.filter((other) => other !== waiter)
    }
  }

  /** Nothing will become visible any more. */
  end(error: FrazilError): void {
    for (const waiter of this.#waiters.splice(0)) waiter.done(error)
  }
}
