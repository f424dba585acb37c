import type { Clock } from './clock.ts'
import { FrazilError, assert } from './errors.ts'
import type { Random } from './random.ts'

export interface RetryOptions {
  /** Calls in all, the first included; at least 1. */
  readonly attempts: number
  /** Longest wait before the second call; doubled for each further one. */
  readonly minMs: number
  /** No wait is longer than this. */
  readonly maxMs: number
  /** Ends the waiting: the last error is thrown at once. */
  readonly signal?: AbortSignal
  /** Which errors are worth another call. Default: those of kind `unavailable`. */
  readonly retriable?: (error: unknown) => boolean
}

/**
 * Calls `fn` until it succeeds, at most `attempts` times, and throws its last error. Waits between half and the whole of a
 * doubling bound, so that processes which failed together do not come back together.
 */
export async function retry<T>(
  clock: Clock,
  random: Random,
  options: RetryOptions,
  fn: (attempt: number) => T | Promise<T>,
): Promise<T> {
  assert(options.attempts >= 1, 'retry makes at least one attempt')
  const retriable = options.retriable ?? isUnavailable
  for (let attempt = 1; ; attempt++) {
    try {
      return await fn(attempt)
    } catch (error) {
      if (attempt >= options.attempts || options.signal?.aborted || !retriable(error)) throw error
      const bound = Math.min(options.maxMs, options.minMs * 2 ** (attempt - 1))
      await clock.sleep(bound / 2 + (bound / 2) * random.next(), options.signal)
      if (options.signal?.aborted) throw error
    }
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof FrazilError && error.kind === 'unavailable'
}
