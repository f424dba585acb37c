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
  readonly #waiters = new Set<Waiter>()

  constructor(reached: (a: Position, b: Position) => boolean, clock: Clock) {
    this.#reached = reached
    this.#clock = clock
  }

  /** A source commit (or, with the same number, mere progress) has become visible. */
  advance(commit: number, position: Position | null): void {
    this.commit = commit
    this.position = position
    if (position === null || this.#waiters.size === 0) return
    for (const waiter of this.#waiters) {
      if (!this.#reached(position, waiter.position)) continue
      this.#waiters.delete(waiter)
      waiter.done(null)
    }
  }

  has(position: Position): boolean {
    return this.position !== null && this.#reached(this.position, position)
  }

  /** Rejects with `unavailable` `wait-timeout`, and with `request` `query-cancelled` once `signal` is aborted. */
  async wait(position: Position, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    if (this.has(position)) return
    if (signal?.aborted) throw cancelledError()
    if (this.#waiters.size >= maxWaiters)
      throw new FrazilError('unavailable', 'too-many-waiters', 'too many requests wait for a position')
    const timeout = new AbortController()
    const arrived = Promise.withResolvers<void>()
    const waiter: Waiter = { position, done: (error) => (error ? arrived.reject(error) : arrived.resolve()) }
    this.#waiters.add(waiter)
    const onAbort = (): void => waiter.done(cancelledError())
    signal?.addEventListener('abort', onAbort, { once: true })
    const late = this.#clock.sleep(timeoutMs, timeout.signal).then(() => {
      if (timeout.signal.aborted) return
      throw new FrazilError(
        'unavailable',
        'wait-timeout',
        `position ${position} was not reached within ${timeoutMs} ms; the source is at ${this.position ?? 'no position yet'}`,
      )
    })
    try {
      await Promise.race([arrived.promise, late])
    } finally {
      timeout.abort()
      signal?.removeEventListener('abort', onAbort)
      this.#waiters.delete(waiter)
    }
  }

  /** Nothing will become visible any more. */
  end(error: FrazilError): void {
    for (const waiter of this.#waiters) waiter.done(error)
    this.#waiters.clear()
  }
}

function cancelledError(): FrazilError {
  return new FrazilError('request', 'query-cancelled', 'the query was cancelled while it waited')
}
