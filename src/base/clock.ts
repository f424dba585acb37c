/** Time as a part that is passed in, so that a whole engine can run under a simulated one. */
export interface Clock {
  /** Milliseconds since the Unix epoch, UTC. */
  now(): number
  /** Milliseconds since an arbitrary start, never going backwards. */
  monotonic(): number
  /** Resolves after `ms` milliseconds, or at once when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** A timer of Node that is to wait for longer ends at once. */
export const longestTimerMs = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      let left = ms
      let timer: NodeJS.Timeout
      const wait = (): void => {
        const step = Math.min(left, longestTimerMs)
        left -= step
        timer = setTimeout(left > 0 ? wait : done, step)
      }
      wait()
      signal?.addEventListener('abort', done, { once: true })
    })
  },
}
