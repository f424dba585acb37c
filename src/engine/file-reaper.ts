import { rmSync } from 'node:fs'
import type { Clock } from '../base/index.ts'
import type { ObjectStore } from '../storage/index.ts'

/** How long a reader may go on with a snapshot that it has opened: files outlive their last snapshot by this. */
export const readersGraceMs = 15 * 60_000

/**
 * Deletes files that nothing references any more, when no reader can be using them. The list is in memory: files that are due
 * after the end of the process stay behind as orphans.
 */
export class FileReaper {
  readonly #store: ObjectStore
  readonly #clock: Clock
  #due: { at: number; uris: readonly string[] }[] = []

  constructor(store: ObjectStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** Objects to delete when the readers' grace is over. */
  later(uris: readonly string[]): void {
    if (uris.length > 0) this.#due.push({ at: this.#clock.monotonic() + readersGraceMs, uris })
  }

  /** Local files that only this process reads. */
  local(paths: readonly string[]): void {
    for (const path of paths) rmSync(path, { force: true })
  }

  /** Deletes what is due. A store that does not answer is asked again the next time. */
  async reap(): Promise<void> {
    const now = this.#clock.monotonic()
    while (this.#due.length > 0 && this.#due[0].at <= now) {
      try {
        await this.#store.delete(this.#due[0].uris)
      } catch {
        return
      }
      this.#due.shift()
    }
  }
}
