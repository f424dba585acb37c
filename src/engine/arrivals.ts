import { assert } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { CopyStart, Position, SourceEvent, SourceTable } from '../data/index.ts'
import { createTable } from '../iceberg/index.ts'
import type { DataFile, IcebergTable } from '../iceberg/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { InterruptedCopy } from '../source/index.ts'
import { locationSegment } from '../storage/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { ColdFile, KeyRun, Table, keyWords, shapeBeside } from '../table/index.ts'
import type { ChangeLog, ChangeLogParts, FileWriter, KeySpec, LoggedChange, TableShape } from '../table/index.ts'
import { ArrivingTable } from './arriving-table.ts'
import type { TableStatus } from './contract.ts'
import { CopyJournal } from './copy-journal.ts'
import type { CopyPlan, StagedPart } from './copy-journal.ts'
import type { Reached } from './early-transactions.ts'
import { fullName, shapeOf } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { OpenTransactions } from './open-transactions.ts'
import { TableCopy } from './table-copy.ts'
import type { CopiedFiles } from './table-copy.ts'
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
  /** Opens the key run of a data file, which is made anew where local disk does not have it. */
  readonly openRun: (iceberg: IcebergTable, shape: TableShape, file: DataFile) => Promise<KeyRun>
  readonly openFile: (iceberg: IcebergTable, shape: TableShape, folder: string) => FileWriter
}

interface Interrupted {
  readonly journal: CopyJournal
  readonly plan: CopyPlan
  readonly parts: readonly StagedPart[]
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
  /** By the source's id: copies that an earlier process has left. */
  readonly #interrupted = new Map<string, Interrupted>()
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
    const interrupted = [...this.#interrupted.values()].map(({ journal }) => journal.folder)
    return [...[...this.#arriving.values()].map(({ folder }) => folder), ...interrupted]
  }

  /** Whether there are copies that could go on after an interruption, from the position that the lake has now. */
  get canResume(): boolean {
    return [...this.#arriving.values()].some(({ journal }) => journal !== null)
  }

  /** Logs of changes that are kept. */
  get logs(): ChangeLog[] {
    return [...this.#open.logs, ...[...this.#arriving.values()].map(({ held }) => held)]
  }

  /**
   * Starts the copy of a table, or starts it again, or goes on with it. One that has a `former` table in the lake keeps its rows until
   * the copy is complete.
   */
  async begin(source: SourceTable, former: MirroredTable | null, start: CopyStart, reached: Reached): Promise<ArrivingTable> {
    const begun = this.#arriving.get(source.id)
    if (begun?.copy && start.resumes) {
      await begun.resume()
      return begun
    }
    if (begun) await this.#giveUp(begun)
    const interrupted = this.#interrupted.get(source.id) ?? null
    this.#interrupted.delete(source.id)
    if (interrupted && start.resumes) return this.#start(source, former, start, reached, interrupted)
    if (interrupted) await deleteAll(this.#parts.store, interrupted.journal.folder)
    return this.#start(source, former, start, reached, null)
  }

  #start(
    source: SourceTable,
    former: MirroredTable | null,
    start: CopyStart,
    reached: Reached,
    interrupted: Interrupted | null,
  ): ArrivingTable {
    const { store, clock } = this.#parts
    const { estimatedRows, plan } = start
    const { iceberg, shape, folder, files } = this.#layOut(source, former, interrupted)
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
    const journal =
      plan === undefined
        ? null
        : {
            journal: interrupted?.journal ?? new CopyJournal(store, folder),
            plan: { table: source, plan, tableUuid: iceberg.uuid, layout: layoutText(iceberg, shape) },
          }
    const copy = new TableCopy(
      source,
      { estimatedRows, startedAt: clock.monotonic() },
      () => this.#parts.openFile(iceberg, shape, files),
      journal && { journal: journal.journal, complete: interrupted?.parts ?? [] },
    )
    const arriving = new ArrivingTable(
      { next, shape, folder, replaces: former !== null, copy, journal },
      this.#parts.memory,
      reached,
    )
    this.#arriving.set(source.id, arriving)
    return arriving
  }

  /** The table that a copy is for, and where its files go. */
  #layOut(
    source: SourceTable,
    former: MirroredTable | null,
    interrupted: Interrupted | null,
  ): { readonly iceberg: IcebergTable; readonly shape: TableShape; readonly folder: string; readonly files: string } {
    const { store, clock, random, tables } = this.#parts
    const id = random.uuid().slice(0, 8)
    if (former && former.iceberg.metadataLocation !== null) {
      const folder = interrupted?.journal.folder ?? `${copiesBeside(former)}${id}`
      const before = former.table?.shape ?? shapeOf(former.source, former.iceberg)
      const shape = shapeBeside(before, former.iceberg.lastColumnId, source)
      return { iceberg: withSettings(tables, former.iceberg, shape.fields), shape, folder, files: folder }
    }
    const folder = interrupted?.journal.folder ?? `${copiesOf(store, source)}${id}`
    const created = createTable(
      { store, clock, random },
      {
        namespace: source.namespace,
        name: source.name,
        location: folder,
        fields: source.fields,
        key: source.key.kind === 'columns' ? source.key.columns : [],
        properties: { 'frazil.source': this.#parts.source },
        uuid: interrupted?.plan.tableUuid,
      },
    )
    const iceberg = withSettings(tables, created, created.schema.fields)
    return { iceberg, shape: shapeOf(source, iceberg), folder, files: `${folder}/data` }
  }

  /** Whether parts that were written earlier fit what the table would be now. */
  #isUsable(interrupted: Interrupted, former: MirroredTable | null): boolean {
    const { plan, journal } = interrupted
    const beside =
      former && former.iceberg.metadataLocation !== null ? copiesBeside(former) : copiesOf(this.#parts.store, plan.table)
    if (!journal.folder.startsWith(beside) || interrupted.parts.length === 0) return false
    const { iceberg, shape } = this.#layOut(plan.table, former, interrupted)
    return layoutText(iceberg, shape) === plan.layout
  }

  /**
   * Looks for copies in parts that an earlier process has left in `folders` and that can go on from `position`; the others' files are
   * deleted. The source decides what becomes of them.
   */
  async recover(
    folders: readonly string[],
    formerOf: (source: SourceTable) => MirroredTable | null,
    isInTime: (parts: readonly StagedPart[]) => boolean,
  ): Promise<readonly InterruptedCopy[]> {
    const { store } = this.#parts
    for (const folder of folders) {
      const journal = new CopyJournal(store, folder)
      const found = await journal.read()
      const interrupted = found && { journal, ...found }
      if (interrupted && this.#isUsable(interrupted, formerOf(found.plan.table)) && isInTime(found.parts)) {
        this.#interrupted.set(found.plan.table.id, interrupted)
      } else {
        await deleteAll(store, folder)
      }
    }
    const again = folders.length - this.#interrupted.size
    if (again > 0) {
      const what = again === 1 ? 'one interrupted copy of a table begins' : `${again} interrupted copies of tables begin`
      this.#parts.emit({ type: 'notice', level: 'info', message: `source ${this.#parts.source}: ${what} again`, hint: null })
    }
    return [...this.#interrupted.values()].map(({ plan, parts }) => ({ table: plan.table, plan: plan.plan, parts }))
  }

  /** Copies that were left by an earlier process and that the source did not go on with are given up. */
  async forgetInterrupted(): Promise<void> {
    for (const [id, { journal }] of this.#interrupted) {
      this.#interrupted.delete(id)
      await deleteAll(this.#parts.store, journal.folder)
    }
  }

  /** The snapshot was taken that rows of a table's copy come from. */
  tellFloor(id: string, floor: Position): void {
    this.#arriving.get(id)?.tellFloor(floor)
  }

  /** Takes rows [from, to) of a segment. */
  copyRows({ table, segment, from, to, part }: Extract<SourceEvent, { type: 'copy' }>): void {
    const copy = this.#arriving.get(table)?.copy
    if (!copy) return
    const before = copy.taken
    copy.add(segment, from, to, part)
    if (Math.floor(copy.taken / toldRows) > Math.floor(before / toldRows)) this.#tellCopying(copy, toldRows)
  }

  /** A part of a table's copy is complete. */
  endPart({ table, part, floor, memo, rows }: Extract<SourceEvent, { type: 'copied-part' }>): void {
    this.#arriving.get(table)?.copy?.complete({ part, floor, memo }, rows)
  }

  #tellCopying({ source }: TableCopy, rows: number): void {
    if (rows > 0) this.#parts.emit({ type: 'copying', source: this.#parts.source, table: fullName(source), rows })
  }

  /** The copy is complete: the table waits until the source has come to `floor`. */
  async end(id: string, floor: Position, rows: number, reached: Reached): Promise<void> {
    const arriving = this.#arriving.get(id)
    const copy = arriving?.copy
    if (!arriving || !copy) return
    const copied = await copy.finish()
    assert(copy.taken === rows, `the copy of ${copy.source.sourceName} has all its rows`)
    const moments = [...new Set([...copy.floors, floor])].sort((a, b) => (a === b ? 0 : reached(a, b) ? 1 : -1))
    const table = new Table(arriving.shape, this.#parts.memory)
    const momentOf = (files: CopiedFiles): number => moments.indexOf(files.floor ?? floor)
    for (const group of copied.toSorted((a, b) => momentOf(a) - momentOf(b))) {
      for (const { file, runPath } of group.files) {
        const run = await this.#runOf(arriving, table.keySpec, file, runPath)
        table.adopt(new ColdFile(file, run, { since: 0, moment: momentOf(group) }), group.floor === null && moments.length > 1)
      }
    }
    arriving.next.table = table
    arriving.next.floor = floor
    arriving.next.journal = arriving.journal?.journal ?? null
    arriving.copy = null
    arriving.copied(moments)
    this.#tellCopying(copy, rows % toldRows)
    this.#parts.emit({ type: 'copied', source: this.#parts.source, table: fullName(copy.source), rows: copy.rows })
  }

  #runOf(arriving: ArrivingTable, key: KeySpec | null, file: DataFile, runPath: string | null): Promise<KeyRun> | KeyRun | null {
    if (key === null) return null
    if (runPath !== null) return KeyRun.open(runPath, keyWords(key), file.recordCount, this.#parts.memory.pool)
    return this.#parts.openRun(arriving.next.iceberg, arriving.shape, file)
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
  *keep(transaction: number | null, position: Position): Generator<Promise<void>, void> {
    const logs = this.#open.end(transaction)
    try {
      for (const log of logs) {
        const arriving = this.#arriving.get(log.table)
        if (arriving) yield* arriving.keep(log, position)
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

  /** How far copies are, by the names of their tables. */
  progress(): ReadonlyMap<string, TableStatus['copy']> {
    return new Map([...this.#arriving.values()].map((arriving) => [fullName(arriving.next.source), this.#progressOf(arriving)]))
  }

  #progressOf(arriving: ArrivingTable): TableStatus['copy'] {
    const { rows, taken, bytes, estimatedRows, startedAt } = arriving.progress
    const elapsed = this.#parts.clock.monotonic() - startedAt
    const left = estimatedRows === null || taken === 0 ? null : (elapsed * Math.max(0, estimatedRows - rows)) / taken
    return { rows, bytes, estimated: estimatedRows, leftMs: left === null ? null : Math.round(left) }
  }
}

/** Text that changes with how files of a table are written. */
function layoutText(iceberg: IcebergTable, { fields }: TableShape): string {
  return JSON.stringify([fields, iceberg.layoutFor(fields)])
}

/** What the folders of a new table's copies begin with, and of those that take the place of a table. */
function copiesOf(store: ObjectStore, { namespace, name }: SourceTable): string {
  return `${store.root}/${locationSegment(namespace)}/${locationSegment(name)}-`
}

function copiesBeside({ iceberg }: MirroredTable): string {
  return `${iceberg.location}/data/`
}

/** Removes everything under a location that no table has. */
export async function deleteAll(store: ObjectStore, location: string): Promise<void> {
  const uris: string[] = []
  for await (const { uri } of store.list(`${location}/`)) uris.push(uri)
  await store.delete(uris)
}
