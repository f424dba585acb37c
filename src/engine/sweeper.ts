import { FrazilError, asError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import { mayDeleteFiles } from '../iceberg/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type { FileReaper } from './file-reaper.ts'
import { fullName } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { findOrphans } from './orphans.ts'
import type { WriterMark } from './writer-mark.ts'

/** Orphans come from processes that have ended: they are looked for at the start, once they are old enough, and then seldom. */
const sweepEveryMs = 24 * 3_600_000
const secondSweepMs = 2 * 3_600_000

export interface SweeperParts {
  /** Name of the source. */
  readonly source: string
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly clock: Clock
  readonly mark: WriterMark
  readonly reaper: FileReaper
  /** Those of now. */
  readonly tables: () => readonly MirroredTable[]
  readonly ending: AbortSignal
  readonly emit: (event: EngineEvent) => void
}

/** Removes orphans of a source's tables from time to time, one table after the other, beside everything else. */
export class Sweeper {
  readonly #parts: SweeperParts
  #dueAt = -Infinity
  #sweeps = 0
  #sweeping: Promise<void> | null = null

  constructor(parts: SweeperParts) {
    this.#parts = parts
  }

  /** Begins if it is time. Returns at once. */
  begin(): void {
    const now = this.#parts.clock.monotonic()
    if (this.#sweeping || now < this.#dueAt) return
    this.#dueAt = now + (this.#sweeps++ === 0 ? secondSweepMs : sweepEveryMs)
    this.#sweeping = this.#sweep().finally(() => (this.#sweeping = null))
  }

  /** Waits for what was begun. */
  async end(): Promise<void> {
    await this.#sweeping
  }

  /** Never throws: what could not be removed is found the next time. */
  async #sweep(): Promise<void> {
    const { source, tables, store, reaper, ending, emit } = this.#parts
    for (const { source: table, iceberg } of tables()) {
      if (ending.aborted) return
      if (iceberg.metadataLocation === null || !mayDeleteFiles(iceberg.properties)) continue
      try {
        const orphans = await findOrphans({ ...this.#parts, waiting: () => reaper.waiting }, table, iceberg.location)
        if (orphans.length === 0 || ending.aborted) continue
        await store.delete(orphans.map(({ uri }) => uri))
        const bytes = orphans.reduce((sum, { size }) => sum + size, 0)
        emit({ type: 'swept', source, table: fullName(table), files: orphans.length, bytes })
      } catch (thrown) {
        if (ending.aborted) return
        const error = asError(thrown)
        const { kind, code, hint } = error instanceof FrazilError ? error : { kind: 'bug', code: 'bug', hint: null }
        const message = `files that nothing refers to were not removed: ${error.message}`
        emit({ type: 'error', kind, code, message, hint: hint ?? null, source, table: fullName(table) })
      }
    }
  }
}
