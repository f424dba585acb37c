import { assert } from '../base/index.ts'
import type { Position } from '../data/index.ts'
import { ChangeLog } from '../table/index.ts'
import type { ChangeLogParts, TableShape } from '../table/index.ts'
import type { MirroredTable } from './mirrored-table.ts'
import type { TableCopy } from './table-copy.ts'

/** Whether `a` is at or past `b`. */
export type Reached = (a: Position, b: Position) => boolean

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
  readonly progress: Pick<TableCopy, 'rows' | 'bytes' | 'estimatedRows' | 'startedAt'>
  /** What was committed up to here is in the copy. */
  floor: Position | null = null
  readonly #held: ChangeLog
  /** Parts of the log that belong to transactions before the copy's position was known. */
  #early: { readonly part: number; readonly position: Position }[] = []
  #nextPart = 1

  constructor(
    of: { next: MirroredTable; shape: TableShape; folder: string; replaces: boolean; copy: TableCopy },
    logs: ChangeLogParts,
  ) {
    this.next = of.next
    this.shape = of.shape
    this.folder = of.folder
    this.replaces = of.replaces
    this.copy = of.copy
    this.progress = of.copy
    this.#held = new ChangeLog(of.next.source.id, logs)
  }

  /** Keeps what a transaction that ended at `position` has changed. Yields what has to be waited for. */
  *keep(log: ChangeLog, position: Position, reached: Reached): Generator<Promise<void>, void> {
    if (this.floor !== null) {
      if (reached(this.floor, position)) log.clear()
      else yield* this.#held.take(log)
      return
    }
    const part = this.#nextPart++
    this.#early.push({ part, position })
    yield* this.#held.take(log, part)
  }

  /** The copy is complete. */
  copied(floor: Position, reached: Reached): void {
    assert(this.floor === null, 'a copy ends once')
    this.floor = floor
    for (const { part, position } of this.#early) if (reached(floor, position)) this.#held.drop(part)
    this.#early = []
  }

  /** Whether it can enter when everything up to `position` has been kept. */
  isDue(position: Position, reached: Reached): boolean {
    return this.next.table !== null && this.floor !== null && reached(position, this.floor)
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
