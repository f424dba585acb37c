import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../src/base/index.ts'

/** A clock that moves only when told to. Waking sleepers run until they wait again before time goes on. */
export class ManualClock implements Clock {
  #wall = Date.UTC(2026, 0, 1)
  #elapsed = 0
  readonly #sleepers = new Set<{ readonly at: number; readonly wake: () => void }>()

  now(): number {
    return this.#wall + this.#elapsed
  }

  monotonic(): number {
    return this.#elapsed
  }

  /** How many are asleep. */
  get sleeping(): number {
    return this.#sleepers.size
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const wake = (): void => {
        this.#sleepers.delete(sleeper)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const sleeper = { at: this.#elapsed + ms, wake }
      this.#sleepers.add(sleeper)
      signal?.addEventListener('abort', wake, { once: true })
    })
  }

  /** Sets the wall clock forward or back, as an administrator or NTP does; no time passes. */
  step(ms: number): void {
    this.#wall += ms
  }

  /** Lets time pass, waking sleepers in order. */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsed + ms
    for (;;) {
      await setImmediate()
      const next = [...this.#sleepers].sort((a, b) => a.at - b.at)[0]
      if (next === undefined || next.at > end) break
      this.#elapsed = Math.max(this.#elapsed, next.at)
      next.wake()
    }
    this.#elapsed = end
  }
}
