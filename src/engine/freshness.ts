import type { Clock } from '../base/index.ts'
import type { SourceLag } from '../source/index.ts'
import type { SourceStatus } from './contract.ts'

/** How old what is visible is. */
export class Freshness {
  /** From a source commit to its being visible, the last one, in milliseconds. */
  latencyMs: number | null = null
  readonly #clock: Clock
  /** Time at the source up to which everything is visible. */
  #completeAt: number | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A commit of that time has become visible. */
  applied(timeMs: number): void {
    this.latencyMs = Math.max(0, this.#clock.now() - timeMs)
    this.#completeAt = timeMs
  }

  /** The source has nothing that is not visible. */
  complete(): void {
    this.#completeAt = this.#clock.now()
  }

  status(lag: SourceLag | null): Pick<SourceStatus, 'lagMs' | 'lagBytes' | 'log'> {
    return {
      lagMs: this.#lagMs(lag),
      lagBytes: lag?.visibleBytes ?? null,
      log: lag && {
        uncommitted: lag.committedBytes,
        retained: lag.retainedBytes,
        safe: lag.safeBytes,
        status: lag.retention,
        xminAge: lag.xminAge,
      },
    }
  }

  #lagMs(lag: SourceLag | null): number | null {
    const behind = lag !== null && (lag.stale || lag.visibleBytes > 0)
    if (!behind || this.#completeAt === null) return this.latencyMs
    return Math.max(this.latencyMs ?? 0, this.#clock.now() - this.#completeAt)
  }
}
