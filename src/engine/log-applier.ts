import type { ChangeLog, SlicedWork, Table, TableWork } from '../table/index.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { isTableFault, refuseGoneFile } from './policy.ts'
import { rebuildRun } from './recovery.ts'
import type { RecoveryParts } from './recovery.ts'
import type { Hands, Sick } from './table-work.ts'

/** Rows after which a long transaction lets other work have a turn. */
const yieldRows = 16_384
/** Share of the pool that a table's rows may fill, while a long transaction is applied, before they are written to a file. */
const stageShare = 1 / 4

/**
 * Has tables apply what was kept for them, in steps of a few milliseconds, and does what they need done meanwhile. A long source commit is
 * written to files beside, when readers do not see it.
 */
export class LogApplier {
  readonly #parts: RecoveryParts
  /** Readers of all tables see what was before the source commit that is being applied. */
  held = false
  /** Rows of the source commit that is being applied are on their way to files. */
  #staging: Promise<void> | null = null
  #sinceYield = 0

  constructor(parts: RecoveryParts) {
    this.#parts = parts
  }

  /**
   * Applies a log as source commit `commit`, and empties it. Yields what has to be waited for, if anything. A table whose changes do not fit
   * is given to `sick`, which condemns it or throws. Returns the rows.
   */
  *apply(
    mirrored: MirroredTable,
    commit: number,
    log: ChangeLog,
    hands: Hands,
    sick: Sick,
  ): Generator<Promise<void> | null, number> {
    const { table } = mirrored
    if (!table) return 0
    const work = this.workOf(mirrored, table, hands)
    let rows = 0
    try {
      for (const applied of table.apply(commit, log, work)) {
        if (typeof applied === 'number') {
          rows += applied
          this.#sinceYield += applied
          if (this.#sinceYield < yieldRows) continue
        }
        this.#sinceYield = 0
        yield typeof applied === 'number' ? this.#stageBeside(mirrored, table, commit, hands) : applied
      }
      mirrored.source = table.shape.source
    } catch (error) {
      if (!isTableFault(error)) throw error
      sick(log.table, error)
    }
    return rows
  }

  /** Changes a table as source commit `commit`, as `steps` do it; readers see what was before it meanwhile. */
  *applyHeld(commit: number, table: Table, steps: SlicedWork): Generator<Promise<void> | null, void> {
    table.hold(commit - 1)
    this.held = true
    try {
      for (const step of steps) yield typeof step === 'number' ? null : step
    } finally {
      table.unhold()
      this.held = false
    }
  }

  /** What the table may need done while it changes. */
  workOf(mirrored: MirroredTable, table: Table, hands: Hands): TableWork {
    const { files, warehouse } = this.#parts
    return {
      stage: (at) => hands.stageOne(mirrored, at),
      readCells: ({ path: uri, fileSize }, wanted, mostBytes) =>
        hands.insist(() => files.readCells({ warehouse, uri, fileSize, wanted, mostBytes })).catch(refuseGoneFile),
      rebuildRun: (file) => hands.insist(() => rebuildRun(this.#parts, mirrored.iceberg.uuid, table.shape, file)),
    }
  }

  /** Returns what has to be waited for: the files do not keep up. */
  #stageBeside(mirrored: MirroredTable, table: Table, commit: number, hands: Hands): Promise<void> | null {
    const { budget } = this.#parts.memory.pool
    if (!this.held || table.activeBytes < budget * stageShare) return null
    if (this.#staging) return table.activeBytes < budget * 2 * stageShare ? null : this.#staging
    // An error that time does not heal comes again with the next lake commit.
    this.#staging = hands
      .stageOne(mirrored, commit)
      .catch(() => undefined)
      .finally(() => {
        this.#staging = null
      })
    return null
  }
}
