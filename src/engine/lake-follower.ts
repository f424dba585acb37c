import { FrazilError } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import { loadTable, readDeletionVector, succession } from '../iceberg/index.ts'
import type { IcebergTable, LiveDataFile } from '../iceberg/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { ColdFile } from '../table/index.ts'
import type { FilePool, ForeignChange, ForeignRows, KeyRun, Table } from '../table/index.ts'
import type { Mirror } from './mirror.ts'
import { fullName } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { isForeignFault, isTableFault } from './policy.ts'
import { changedColumns, checkWithin, missingTable, openRuns, rolledBack } from './recovery.ts'
import { withSettings } from './table-settings.ts'
import type { TableSettings } from './table-settings.ts'
import type { Hands, Work } from './table-work.ts'

/** How often the catalog is asked whether others have changed tables in which nothing happens here. */
const lookEveryMs = 10_000
/** How often in a row a table is read anew that changes while it is read. */
const maxAttempts = 10

export interface LakeFollowerParts {
  /** Name of the source. */
  readonly source: string
  readonly warehouse: string
  readonly local: string
  readonly tables: TableSettings
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly clock: Clock
  readonly random: Random
  readonly files: FilePool
  readonly mirror: Mirror
  readonly hands: () => Hands
  /** Does work on the tables as a source commit of its own, at the position that is visible. */
  readonly alone: (work: Work) => Promise<unknown>
  /** Ends a table with a reason. Throws when that is to end everything. */
  readonly detach: (id: string, error: FrazilError) => void
  readonly emit: (event: EngineEvent) => void
}

/**
 * Sees when another program has committed to a table of ours and takes over what it did: files that were rewritten, rows that were
 * added or deleted, settings. What cannot be taken over ends the table with a sentence. All within the committer's turn.
 */
export class LakeFollower {
  readonly #parts: LakeFollowerParts
  #lookedAt: number

  constructor(parts: LakeFollowerParts) {
    this.#parts = parts
    this.#lookedAt = parts.clock.monotonic()
  }

  /** Follows all tables that others have changed. Only from time to time, unless it is `demanded`. */
  async look(demanded: boolean): Promise<void> {
    const { catalog, clock, mirror } = this.#parts
    if (!demanded && clock.monotonic() - this.#lookedAt < lookEveryMs) return
    const stored = mirror.live.filter(({ iceberg }) => iceberg.metadataLocation !== null)
    if (stored.length > 0) {
      const heads = new Map((await catalog.list()).map((pointer) => [fullName(pointer), pointer.metadataLocation]))
      for (const mirrored of stored) {
        if (heads.get(fullName(mirrored.iceberg)) !== mirrored.iceberg.metadataLocation) await this.follow(mirrored)
      }
    }
    this.#lookedAt = clock.monotonic()
  }

  /**
   * Takes over what others have done to a table since `base`, the state that its files are of. Throws `conflict` when only a new start
   * from the lake helps, `unavailable` when it changes all the time.
   */
  async follow(mirrored: MirroredTable, base = mirrored.iceberg): Promise<void> {
    const { catalog, detach } = this.#parts
    for (let attempt = 1; attempt <= maxAttempts; attempt++) {
      const { table } = mirrored
      if (!table || mirrored.health !== 'streaming') return
      const pointer = await catalog.load(base)
      try {
        if (!pointer) throw missingTable(base)
        const next = await loadTable(this.#parts, pointer, base)
        if (await this.#takeOver(mirrored, table, base, next)) return
      } catch (error) {
        if (!isTableFault(error) && !isForeignFault(error)) throw error
        // What was to be read may have gone with yet another commit.
        const now = await catalog.load(base)
        if (now?.metadataLocation !== pointer?.metadataLocation) continue
        detach(mirrored.source.id, error)
        return
      }
    }
    throw new FrazilError('unavailable', 'table-changing', `the table ${fullName(base)} is changed by others all the time`)
  }

  /** False when the table has another key by now, or has ended. */
  async #takeOver(mirrored: MirroredTable, table: Table, base: IcebergTable, stored: IcebergTable): Promise<boolean> {
    const { tables, mirror, hands, alone, emit, source, store } = this.#parts
    // A column that came and went has left its id in data files: the next one of ours must not get it.
    if (columnsOf(stored) !== columnsOf(base) || stored.lastColumnId !== base.lastColumnId) throw changedColumns(stored)
    // Throws where nothing can be written.
    await store.head(stored.location)
    // Files may have been written by a configured layout that no commit has brought into the lake yet.
    const next = withSettings(tables, stored, table.fields)
    const { isContinued, keepsLayouts } = await succession(this.#parts, base, next)
    if (!isContinued) throw rolledBack(next)
    // Files on their way may be of a layout whose number means another one now.
    if (!keepsLayouts) throw new FrazilError('conflict', 'layout-changed', 'the layout of a table was changed by another program')
    // Throws where files cannot be written by it.
    next.layoutFor(table.fields)
    const { tag } = table
    const { change, foreign } = await this.#difference(table, base, next)
    const { gone, vectors, came } = change
    let isIn = false
    try {
      if (gone.size + vectors.size + came.length === 0) {
        isIn = mirror.rebase(mirrored, next)
      } else {
        await alone(function* (commit) {
          if (mirrored.table !== table || table.tag !== tag) return 0
          isIn = true
          table.foreign = foreign
          return yield* mirror.follow(commit, mirrored, change, next, hands())
        })
      }
    } finally {
      if (!isIn) for (const { file } of came) file.run?.close()
    }
    if (isIn) emit({ type: 'followed', source, table: fullName(next), gone: gone.size, came: came.length })
    return isIn
  }

  /** What has happened to the committed files of a table, and what that means for its rows. Key runs are open. */
  async #difference(
    table: Table,
    base: IcebergTable,
    next: IcebergTable,
  ): Promise<{ change: ForeignChange; foreign: ForeignRows }> {
    const { store } = this.#parts
    const live = await next.files()
    const committed = new Map(table.files.filter((file) => file.committed).map((file) => [file.file.path, file]))
    const known = await vectorsOf(base)
    const vectors = new Map<string, { bits: Uint8Array; cardinality: number }>()
    const arrived: LiveDataFile[] = []
    for (const file of live) {
      if (!committed.has(file.path)) arrived.push(file)
      else if (known?.get(file.path) !== placeOfVector(file)) {
        vectors.set(
          file.path,
          (await readVector(store, file)) ?? { bits: new Uint8Array((file.recordCount + 7) >> 3), cardinality: 0 },
        )
      }
    }
    const paths = new Set(live.map(({ path }) => path))
    const lost = [...committed.values()].filter(({ file }) => !paths.has(file.path))
    await checkWithin(store, arrived)
    const operations = new Map(next.history().map(({ id, summary }) => [id, summary.operation]))
    const deletes = await Promise.all(arrived.map((file) => readVector(store, file)))
    const runs: (KeyRun | null)[] = table.keySpec
      ? await openRuns(this.#parts, table, next.uuid, arrived)
      : arrived.map(() => null)
    const came = arrived.map((file, i) => ({
      file: new ColdFile(file, runs[i], { vector: deletes[i] }),
      rewritten: operations.get(file.addedSnapshotId) === 'replace',
    }))
    const rowsLost = lost.reduce((sum, file) => sum + file.rows - file.committedDeleted, 0)
    const rowsKept = came.reduce((sum, { file, rewritten }) => sum + (rewritten ? file.rows - file.deleted : 0), 0)
    const hasNewDeletes = [...vectors].some(([path, { cardinality }]) => cardinality !== committed.get(path)?.committedDeleted)
    return {
      change: { gone: new Set(lost.map(({ file }) => file.path)), vectors, came },
      foreign: {
        added: table.foreign.added || came.some(({ rewritten }) => !rewritten),
        deleted: table.foreign.deleted || hasNewDeletes || rowsLost !== rowsKept,
      },
    }
  }
}

/** Text that changes with the columns of a table; comments and identifier fields are nothing to us. */
function columnsOf({ schema }: IcebergTable): string {
  return JSON.stringify(schema.fields, (key, value: unknown) => (key === 'doc' ? undefined : value))
}

/** Where the vectors of a table's files are; null when that cannot be read any more. */
async function vectorsOf(table: IcebergTable): Promise<ReadonlyMap<string, string> | null> {
  try {
    return new Map((await table.files()).map((file) => [file.path, placeOfVector(file)]))
  } catch (error) {
    if (error instanceof FrazilError && error.code === 'object-missing') return null
    throw error
  }
}

function placeOfVector({ deletionVector }: LiveDataFile): string {
  return deletionVector ? `${deletionVector.contentOffset}@${deletionVector.path}` : ''
}

async function readVector(store: ObjectStore, file: LiveDataFile): Promise<{ bits: Uint8Array; cardinality: number } | null> {
  const vector = file.deletionVector
  return vector && { bits: await readDeletionVector(store, vector, file.recordCount), cardinality: vector.cardinality }
}
