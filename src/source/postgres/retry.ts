import type { Clock, FrazilError } from '../../base/index.ts'
import type { EventListener } from '../../observe/index.ts'

export interface RetryParts {
  readonly clock: Clock
  readonly observe?: EventListener
}

const firstRetryMs = 100
const longestRetryMs = 10_000

/** Waits longer after each failure, and gives up in the end. */
export class Retry {
  readonly #parts: RetryParts
  readonly #forMs: number
  #attempts = 0
  #since: number | null = null

  constructor(parts: RetryParts, forMs = 600_000) {
    this.#parts = parts
    this.#forMs = forMs
  }

  /** Throws `error` when it has lasted too long. */
  async after(error: FrazilError, signal: AbortSignal): Promise<void> {
    const now = this.#parts.clock.monotonic()
    this.#since ??= now
    if (now - this.#since >= this.#forMs) throw error
    const delayMs = Math.min(firstRetryMs * 2 ** Math.min(this.#attempts, 10), longestRetryMs)
    this.#attempts++
    const message = error.hint ? `${error.message}; ${error.hint}` : error.message
    this.#parts.observe?.({ type: 'retry', what: 'postgres', attempt: this.#attempts, delayMs, code: error.code, message })
    await this.#parts.clock.sleep(delayMs, signal)
  }
}
