import type { Clock } from '../../../src/base/index.ts'

const sliceMs = 250

/** The real time, at another speed. */
export class SpedClock implements Clock {
  #speed: number
  #real = performance.now()
  #elapsed = 0
  readonly #start = Date.now()

  constructor(speed = 1) {
    this.#speed = speed
  }

  /** From now on. */
  set speed(speed: number) {
    this.#elapsed = this.monotonic()
    this.#real = performance.now()
    this.#speed = speed
  }

  now(): number {
    return Math.floor(this.#start + this.monotonic())
  }

  monotonic(): number {
    return this.#elapsed + (performance.now() - this.#real) * this.#speed
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const end = this.monotonic() + ms
    for (;;) {
      const left = (end - this.monotonic()) / this.#speed
      if (left <= 0 || signal?.aborted) return
      // In slices: the speed may change meanwhile.
      await slept(Math.min(left, sliceMs), signal)
    }
  }
}

function slept(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}
