import { FrazilError, retry } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Catalog, StateChange } from '../iceberg/catalog/index.ts'
import { catalogRetry } from './lake-commit.ts'
import { changeRecord, emptyRecord, readRecord } from './state-record.ts'
import type { RecordChange, SourceRecord, StoredRecord } from './state-record.ts'

/** A catalog transaction that writes the state record along with what belongs to it. */
export interface RecordedCommit {
  /** Throws `unavailable` or `uncertain` when nobody knows the outcome; any other error means that nothing is visible. */
  commit(states: readonly StateChange[]): Promise<void>
  /** Called once, when it is known that it has landed: maybe long after {@link commit} failed. */
  landed?(): void | Promise<void>
  /** Called once, when it is known that it has not. `late`: the outcome was in doubt for a while. */
  failed?(late: boolean): void | Promise<void>
}

/** A commit whose outcome is not known. */
interface Doubt {
  readonly commit: RecordedCommit
  readonly change: RecordChange
}

/**
 * The state records of a source as they are in the lake. Their compare-and-set decides about every commit of the source, so it also tells the
 * outcome of one whose answer was lost: before anything else is written, the record is read, and a commit that had landed is taken
 * over with all that belongs to it. One user at a time.
 */
export class StateKeeper {
  readonly #parts: { readonly catalog: Catalog; readonly clock: Clock; readonly random: Random }
  #stored: StoredRecord
  #doubt: Doubt | null = null

  constructor(
    source: string,
    type: string,
    parts: { readonly catalog: Catalog; readonly clock: Clock; readonly random: Random },
  ) {
    this.#parts = parts
    this.#stored = { record: emptyRecord(source, type), version: undefined, tables: new Map() }
  }

  get record(): SourceRecord {
    return this.#stored.record
  }

  /** Reads the records. Returns whether the lake knows the source. */
  async recover(): Promise<boolean> {
    const stored = await readRecord(this.#parts.catalog, this.record.source)
    this.#stored = stored ?? { ...this.#stored, version: null }
    return stored !== null
  }

  /** Finds out what became of a commit in doubt, if there is one. Throws `unavailable` while the catalog does not answer. */
  async settle(): Promise<void> {
    await this.#resolve()
  }

  /**
   * Runs a commit that also writes the record, and adopts the record when it has landed. Nothing may be in doubt. Throws `fenced`
   * (code `taken-over`) when somebody else has written the record.
   */
  async land(record: SourceRecord, commit: RecordedCommit): Promise<void> {
    // Versions are asked for here, not right behind a commit: no answer would say nothing about that.
    let change: RecordChange | null = null
    try {
      change = await this.#asking((catalog) => changeRecord(catalog, this.#stored, record))
      await commit.commit(change.states)
    } catch (error) {
      if (change && isDoubtful(error)) {
        this.#doubt = { commit, change }
        if (await this.#resolve()) return
        if (error instanceof FrazilError && error.kind === 'unavailable') throw error
        throw new FrazilError('unavailable', 'commit-unknown', 'the catalog did not say whether a commit landed', {
          cause: error,
        })
      }
      await commit.failed?.(false)
      if (error instanceof FrazilError && error.code === 'state-changed') {
        throw new FrazilError('fenced', 'taken-over', 'another frazil process writes this lake now', { cause: error })
      }
      throw error
    }
    this.#stored = change.next
    await commit.landed?.()
  }

  /** Whether the commit in doubt has landed; false when there is none. */
  async #resolve(): Promise<boolean> {
    if (!this.#doubt) return false
    const { commit, change } = this.#doubt
    const [{ key, expected, value }] = change.states
    const stored = await this.#asking((catalog) => catalog.state(key))
    this.#doubt = null
    // The same text may have stood there before.
    if (!stored || stored.version === expected || stored.value !== value) {
      await commit.failed?.(true)
      return false
    }
    this.#stored = { ...change.next, version: stored.version }
    await commit.landed?.()
    return true
  }

  #asking<T>(ask: (catalog: Catalog) => Promise<T>): Promise<T> {
    const { clock, random, catalog } = this.#parts
    return retry(clock, random, catalogRetry, () => ask(catalog))
  }
}

function isDoubtful(error: unknown): boolean {
  return error instanceof FrazilError && (error.kind === 'unavailable' || error.kind === 'uncertain')
}
