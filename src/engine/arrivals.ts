import { assert } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Position, Segment, SourceTable } from '../data/index.ts'
import { createTable } from '../iceberg/index.ts'
import type { IcebergTable } from '../iceberg/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import { locationSegment } from '../storage/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { ColdFile, KeyRun, Table, keyWords, replacedShape } from '../table/index.ts'
import type { ChangeLog, ChangeLogParts, FileWriter, LoggedChange, TableShape } from '../table/index.ts'
import { ArrivingTable } from './arriving-table.ts'
import type { Reached } from './arriving-table.ts'
import type { TableStatus } from './contract.ts'
import { fullName, shapeOf } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { OpenTransactions } from './open-transactions.ts'
import { TableCopy } from './table-copy.ts'
import { withSettings } from './table-settings.ts'
import type { TableSettings } from './table-settings.ts'

export interface ArrivalsParts {
  /** Name of the source. */
  readonly source: string
  readonly store: ObjectStore
  readonly clock: Clock
  readonly random: Random
  /** What tables and the logs of changes share. */
  readonly memory: ChangeLogParts
  readonly tables: TableSettings
  readonly emit: (event: EngineEvent) => void
  readonly openFile: (iceberg: IcebergTable, shape: TableShape, folder: string) => FileWriter
}

/** Rows of a copy between two events that tell of it. */
const toldRows = 65_536

/** The tables of one source that are on their way into the views. */
export class Arrivals {
  readonly #parts: ArrivalsParts
  /** By the source's id. */
  readonly #arriving = new Map<string, ArrivingTable>()
  /** What open transactions have changed in them. */
  readonly #open: OpenTransactions
  /** Names of tables that were asked to be copied again and are not yet. */
  readonly again = new Set<string>()

  constructor(parts: ArrivalsParts) {
    this.#parts = parts
    this.#open = new OpenTransactions(parts.memory)
  }

  get(id: string): ArrivingTable | undefined {
    return this.#arriving.get(id)
  }

  /** Whether rows of an initial copy are on their way to files. */
  get copying(): boolean {
    return [...this.#arriving.values()].some(({ copy }) => copy !== null)
  }

  /** Folders with files that no snapshot has. */
  get folders(): string[] {
    return [...this.#arriving.values()].map(({ folder }) => folder)
  }

  /** Logs of changes that are kept. */
  get logs(): ChangeLog[] {
    return [...this.#open.logs, ...[...this.#arriving.values()].map(({ held }) => held)]
  }

  /**
   * Starts the copy of a table, or starts it again. One that has a `former` table in the lake keeps its rows until the copy is
   * complete.
   */
  async begin(source: SourceTable, former: MirroredTable | null, estimatedRows: number | null): Promise<ArrivingTable> {
    const { store, clock, random, tables } = this.#parts
    const begun = this.#arriving.get(source.id)
    if (begun) await this.#giveUp(begun)
    const id = random.uuid().slice(0, 8)
    let iceberg: IcebergTable
    let shape: TableShape
    let folder: string
    let files: string
    if (former && former.iceberg.metadataLocation !== null) {
      folder = `${former.iceberg.location}/data/${id}`
      files = folder
      const before = former.table?.shape ?? shapeOf(former.source, former.iceberg)
      shape = sameFields(before.source, source) ? { ...before, source } : replacedShape(before, source)
      iceberg = withSettings(tables, former.iceberg, shape.fields)
    } else {
      folder = `${store.root}/${locationSegment(source.namespace)}/${locationSegment(source.name)}-${id}`
      files = `${folder}/data`
      const created = createTable(
        { store, clock, random },
        {
          namespace: source.namespace,
          name: source.name,
          location: folder,
          fields: source.fields,
          key: source.key.kind === 'columns' ? source.key.columns : [],
          properties: { 'frazil.source': this.#parts.source },
        },
      )
      iceberg = withSettings(tables, created, created.schema.fields)
      shape = shapeOf(source, iceberg)
    }
    const next: MirroredTable = {
      source,
      iceberg,
      table: null,
      health: 'copying',
      reason: null,
      floor: null,
      joined: false,
      committed: null,
    }
    const about = { estimatedRows, startedAt: clock.monotonic() }
    const copy = new TableCopy(source, about, () => this.#parts.openFile(iceberg, shape, files))
    const arriving = new ArrivingTable({ next, shape, folder, replaces: former !== null, copy }, this.#parts.memory)
    this.#arriving.set(source.id, arriving)
    return arriving
  }

  /** Takes rows [from, to) of a segment. */
  copyRows(id: string, segment: Segment, from: number, to: number): void {
    const copy = this.#arriving.get(id)?.copy
    if (!copy) return
    const before = copy.rows
    copy.add(segment, from, to)
    if (Math.floor(copy.rows / toldRows) > Math.floor(before / toldRows)) this.#tellCopying(copy, toldRows)
  }

  #tellCopying({ source }: TableCopy, rows: number): void {
    if (rows > 0) this.#parts.emit({ type: 'copying', source: this.#parts.source, table: fullName(source), rows })
  }

  /** The copy is complete: the table waits until the source has come to `floor`. */
  async end(id: string, floor: Position, rows: number, reached: Reached): Promise<void> {
    const arriving = this.#arriving.get(id)
    const copy = arriving?.copy
    if (!arriving || !copy) return
    const files = await copy.finish()
    assert(copy.rows === rows, `the copy of ${copy.source.sourceName} has all its rows`)
    const table = new Table(arriving.shape, this.#parts.memory)
    for (const { file, runPath } of files) {
      const run =
        runPath !== null && table.keySpec ? KeyRun.open(runPath, keyWords(table.keySpec), file.recordCount, false) : null
      table.adopt(new ColdFile(file, run, { since: 0 }))
    }
    arriving.next.table = table
    arriving.next.floor = floor
    arriving.copy = null
    arriving.copied(floor, reached)
    this.#tellCopying(copy, rows % toldRows)
    this.#parts.emit({ type: 'copied', source: this.#parts.source, table: fullName(copy.source), rows })
  }

  /** Copied tables that can enter when everything up to `position` has been kept. */
  due(position: Position, reached: Reached): ArrivingTable[] {
    return [...this.#arriving.values()].filter((arriving) => arriving.isDue(position, reached))
  }

  /**
   * The table has entered, with all that was kept. What transactions that are still open have changed goes to `open`; null when that
   * has it already.
   */
  entered(arriving: ArrivingTable, open: OpenTransactions | null): void {
    const { id } = arriving.next.source
    this.#arriving.delete(id)
    if (open) this.#open.move(id, open)
    else this.#open.forget(id)
    this.again.delete(fullName(arriving.next.source))
  }

  /** Gives up the copy of a table; its former rows stay, and whether it is to be copied {@link again} is the caller's to say. */
  async cancel(id: string): Promise<void> {
    const arriving = this.#arriving.get(id)
    if (!arriving) return
    this.#arriving.delete(id)
    this.#open.forget(id)
    await this.#giveUp(arriving)
  }

  /** What was copied so far is nobody's. */
  async #giveUp(arriving: ArrivingTable): Promise<void> {
    await arriving.copy?.abort()
    arriving.close()
    await deleteAll(this.#parts.store, arriving.folder)
  }

  /** Whether the copy of this table is to take the place of rows that the lake has. */
  isReplacing(id: string): boolean {
    return this.#arriving.get(id)?.replaces ?? false
  }

  // ---- what changes meanwhile ----------------------------------------------------------------------------------------------

  /** Keeps a change of an open source transaction, if its table is on the way. */
  change(id: string, change: LoggedChange): void {
    if (this.#arriving.has(id)) this.#open.add(change)
  }

  rollback(transaction: number, part: number | null, table: string | null): void {
    this.#open.rollback(transaction, part, table)
  }

  /** Forgets all open source transactions. */
  abort(): void {
    this.#open.abort()
  }

  /** Keeps what a transaction (null: the plain one) that ended at `position` has changed. Yields what has to be waited for. */
  *keep(transaction: number | null, position: Position, reached: Reached): Generator<Promise<void>, void> {
    const logs = this.#open.end(transaction)
    try {
      for (const log of logs) {
        const arriving = this.#arriving.get(log.table)
        if (arriving) yield* arriving.keep(log, position, reached)
      }
    } finally {
      for (const log of logs) log.clear()
    }
  }

  // ---- the end -------------------------------------------------------------------------------------------------------------

  /** Rows that a copy holds back for a fuller part go to a file worker now. */
  handOver(): void {
    for (const { copy } of this.#arriving.values()) copy?.handOver()
  }

  async stop(): Promise<void> {
    for (const { copy } of this.#arriving.values()) await copy?.abort()
  }

  close(): void {
    this.abort()
    for (const arriving of this.#arriving.values()) arriving.close()
    this.#arriving.clear()
  }

  /** How far the copy of a table is. */
  progressOf(name: string): TableStatus['copy'] {
    const arriving = [...this.#arriving.values()].find(({ next }) => fullName(next.source) === name)
    if (!arriving) return null
    const { rows, bytes, estimatedRows, startedAt } = arriving.progress
    const elapsed = this.#parts.clock.monotonic() - startedAt
    const left = estimatedRows === null || rows === 0 ? null : (elapsed * Math.max(0, estimatedRows - rows)) / rows
    return { rows, bytes, estimated: estimatedRows, leftMs: left === null ? null : Math.round(left) }
  }
}

/** Removes everything under a location that no table has. */
export async function deleteAll(store: ObjectStore, location: string): Promise<void> {
  const uris: string[] = []
  for await (const { uri } of store.list(`${location}/`)) uris.push(uri)
  await store.delete(uris)
}

function sameFields(a: SourceTable, b: SourceTable): boolean {
  return JSON.stringify([a.fields, a.key]) === JSON.stringify([b.fields, b.key])
}
