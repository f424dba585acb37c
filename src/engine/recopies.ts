import { FrazilError, asError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import { fullName } from './mirrored-table.ts'

/** How often in a row a copy that the engine itself has asked for may fail. */
const maxAttempts = 10
/** Waits before another attempt; doubled each time. The first follows at once. */
const firstWaitMs = 100
const longestWaitMs = 60_000

export interface TableName {
  readonly namespace: string
  readonly name: string
}

export interface RecopiesParts {
  readonly clock: Clock
  /** Aborted when the pipeline ends: what is asked for stays asked for, and the next start goes on with it. */
  readonly ending: AbortSignal
  /** Names of tables that were asked to be copied again and are not yet: kept in the state record. */
  readonly again: Set<string>
  /** Has the source copy a table, see `Source.recopy`. */
  readonly recopy: (table: TableName) => Promise<void>
  /** Writes the names to the state record. */
  readonly remember: () => Promise<void>
  /** Tells why a table is not copied, for now or for good. */
  readonly tell: (id: string, error: FrazilError) => void
}

/** Tables that are to be copied again beside what the lake has of them: because somebody asks, or because they cannot go on otherwise. */
export class Recopies {
  readonly #parts: RecopiesParts
  /** Failures since the table was whole for the last time, by name. */
  readonly #attempts = new Map<string, number>()
  /** To be asked for when the former rows can be read: by the source's id. */
  readonly #due = new Map<string, TableName>()

  constructor(parts: RecopiesParts) {
    this.#parts = parts
  }

  /** Somebody asks. Resolves when the source will copy the table, or as soon as it can be reached; rejects with why it cannot. */
  async ask(id: string, table: TableName): Promise<void> {
    const { again, remember } = this.#parts
    const name = fullName(table)
    if (again.has(name)) return
    again.add(name)
    try {
      await this.#begin(table)
    } catch (error) {
      if (error instanceof FrazilError && error.kind === 'unavailable') {
        await remember()
        this.#attempts.set(name, 1)
        void this.#insist(id, table)
        return
      }
      again.delete(name)
      throw error
    }
  }

  /**
   * A table cannot go on, or its copy has failed: whether a copy is to help it. If so {@link start} has to follow; until then it is
   * remembered with the next lake commit.
   */
  want(id: string, table: TableName, helps: boolean): boolean {
    const { again } = this.#parts
    const name = fullName(table)
    const failures = again.has(name) ? (this.#attempts.get(name) ?? 0) + 1 : 0
    this.#attempts.set(name, failures)
    if (!helps || failures >= maxAttempts) {
      again.delete(name)
      this.#attempts.delete(name)
      return false
    }
    again.add(name)
    this.#due.set(id, { namespace: table.namespace, name: table.name })
    return true
  }

  /** Has the source copy a table that is wanted, as often as it takes. */
  start(id: string): void {
    const table = this.#due.get(id)
    this.#due.delete(id)
    if (table) void this.#insist(id, table)
  }

  async #insist(id: string, table: TableName): Promise<void> {
    const { clock, ending, again, tell } = this.#parts
    const name = fullName(table)
    for (let failures = this.#attempts.get(name) ?? 0; ; failures++) {
      if (failures > 0) await clock.sleep(Math.min(firstWaitMs * 2 ** (failures - 1), longestWaitMs), ending)
      if (ending.aborted) return
      try {
        return await this.#begin(table)
      } catch (thrown) {
        if (ending.aborted) return
        const error =
          thrown instanceof FrazilError ? thrown : new FrazilError('unavailable', 'resync-failed', asError(thrown).message)
        tell(id, error)
        if (error.kind === 'unavailable' && failures < maxAttempts) continue
        // It stays as it is, and `frazil resync` is left.
        again.delete(name)
        return
      }
    }
  }

  async #begin(table: TableName): Promise<void> {
    await this.#parts.recopy(table)
    await this.#parts.remember()
  }
}
