import { assert } from '../base/index.ts'
import type { CopyJournal, CopyPlan } from './copy-journal.ts'
import type { Position } from '../data/index.ts'
import { ChangeLog } from '../table/index.ts'
import type { ChangeLogParts, TableShape } from '../table/index.ts'
import { EarlyTransactions } from './early-transactions.ts'
import type { Reached } from './early-transactions.ts'
import type { MirroredTable } from './mirrored-table.ts'
import type { TableCopy } from './table-copy.ts'

/**
 * A table on its way into the views: its copy, and what source transactions have changed in it since the copy began. When the copy is
 * complete and the source has come to its position, the changes that the copy does not have are applied and the table enters, in the
 * place of its former rows if it has any.
 */
export class ArrivingTable {
  /** What enters; its `table` is null until the copy is complete. */
  readonly next: MirroredTable
  readonly shape: TableShape
  /** Nothing but the copy's files is in here. */
  readonly folder: string
  /** Whether it takes the place of a table of the same name. */
  readonly replaces: boolean
  /** Null when it is complete. */
  copy: TableCopy | null
  /** How far it is, also when it is complete and the table waits for its turn. */
  readonly progress: Pick<TableCopy, 'rows' | 'taken' | 'bytes' | 'estimatedRows' | 'startedAt'>
  /** Of a copy in parts. */
  readonly journal: { readonly journal: CopyJournal; readonly plan: CopyPlan } | null
  /**
   * What was committed up to here is in the copy, in ascending order: one position, or several where the copy went on after
   * interruptions. Empty while it is not complete.
   */
  #moments: readonly Position[] = []
  readonly #held: ChangeLog
  /** Parts of the log that belong to transactions before the copy was complete. */
  readonly #early: EarlyTransactions

  constructor(
    of: Pick<ArrivingTable, 'next' | 'shape' | 'folder' | 'replaces' | 'journal'> & { copy: TableCopy },
    logs: ChangeLogParts,
    reached: Reached,
  ) {
    this.next = of.next
    this.shape = of.shape
    this.folder = of.folder
    this.replaces = of.replaces
    this.journal = of.journal
    this.copy = of.copy
    this.progress = of.copy
    this.#held = new ChangeLog(of.next.source.id, logs)
    this.#early = new EarlyTransactions(of.copy.floors, reached)
  }

  /** Has a later process know of a copy in parts. If that fails, an interruption has the whole copied again, no more. */
  async remember(): Promise<void> {
    await this.journal?.journal.begin(this.journal.plan).catch(() => undefined)
  }

  /** The copy goes on after an interruption, in a snapshot that is still to be taken. */
  async resume(): Promise<void> {
    this.#early.begin()
    await this.copy?.resume()
  }

  /** The snapshot has been taken that rows come from. */
  tellFloor(floor: Position): void {
    if (this.copy) this.#early.tell([...this.copy.floors, floor])
  }

  /** Keeps what a transaction that ended at `position` has changed. Yields what has to be waited for. */
  *keep(log: ChangeLog, position: Position): Generator<Promise<void>, void> {
    if (this.#moments.length > 0) {
      const before = this.#early.momentsBefore(this.#moments, position)
      if (before === 0) return log.clear()
      if (before === this.#moments.length) return yield* this.#held.take(log)
      // Parts from here on have numbers above 0.
      this.#held.outdate(-before, before)
      return yield* this.#held.take(log, -before)
    }
    const part = this.#early.add(position)
    if (part === null) return log.clear()
    yield* this.#held.take(log, part)
  }

  /** The copy is complete, and has what was committed up to the positions of `moments`, in ascending order. */
  copied(moments: readonly Position[]): void {
    assert(this.#moments.length === 0 && moments.length > 0, 'a copy ends once')
    this.#moments = moments
    for (const { from, to, before } of this.#early.settle(moments)) {
      if (before < moments.length) this.#held.settle(from, to, before)
    }
  }

  /** Whether it can enter when everything up to `position` has been kept. */
  isDue(position: Position, reached: Reached): boolean {
    const last = this.#moments.at(-1)
    return this.next.table !== null && last !== undefined && reached(position, last)
  }

  /** What has to be applied to the copied rows. */
  get held(): ChangeLog {
    return this.#held
  }

  /** Lets go of memory; files that are staged stay. */
  close(): void {
    this.#held.clear()
    this.next.table?.close()
    this.next.table = null
  }
}
