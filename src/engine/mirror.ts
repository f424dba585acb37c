import { FrazilError, assert } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { CopyStart, Position, SourceEvent, SourceTable } from '../data/index.ts'
import { encodeJson } from '../format/json/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import { schemaToJson } from '../iceberg/index.ts'
import type { IcebergTable } from '../iceberg/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { InterruptedCopy } from '../source/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { Table, isPartial, keySpecOf, keyTag } from '../table/index.ts'
import type {
  ChangeLog,
  ChangeLogParts,
  FilePool,
  ForeignChange,
  FileWriter,
  LoggedChange,
  SlicedWork,
  TableShape,
} from '../table/index.ts'
import { Arrivals } from './arrivals.ts'
import type { ArrivingTable } from './arriving-table.ts'
import type { TableStatus } from './contract.ts'
import { loadNamed, openDetached, reopenPushed } from './detached-tables.ts'
import type { Reached } from './early-transactions.ts'
import { LogApplier } from './log-applier.ts'
import { fullName, isLive, shapeOf, statusOf } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { OpenTransactions } from './open-transactions.ts'
import { isForeignFault, isTableFault } from './policy.ts'
import { checkColumns, checkNotRolledBack, checkWithin, missingTable, openRun, recoverTable, runPathOf } from './recovery.ts'
import type { DetachedTable, PushedName, SourceRecord } from './state-record.ts'
import { laidOutAs, withSettings } from './table-settings.ts'
import type { TableSettings } from './table-settings.ts'
import type { Hands, Sick } from './table-work.ts'

export interface MirrorParts {
  /** Name of the source. */
  readonly source: string
  readonly warehouse: string
  readonly local: string
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly files: FilePool
  readonly clock: Clock
  readonly random: Random
  /** What tables and the logs of open transactions share. */
  readonly memory: ChangeLogParts
  readonly tables: TableSettings
  readonly emit: (event: EngineEvent) => void
}

/** Readers do not wait for a transaction with more rows: they see what was before it. Fewer take some 20 ms. */
const longRows = 65_536
/** Share of the pool in logs below which nothing is spilled. */
const spillShare = 1 / 8

/** The tables of one source: how they come, take changes, are read, and go. It knows nothing of commits to the lake. */
export class Mirror {
  readonly #parts: MirrorParts
  /** By the source's table id. */
  readonly #tables = new Map<string, MirroredTable>()
  readonly #detached = new Map<string, DetachedTable>()
  readonly #open: OpenTransactions
  /** Tables that were told of changes to come. */
  readonly #foreseeing = new Set<Table>()
  readonly #applier: LogApplier
  /** Tables that are being copied; one that is copied again is in `#tables` as well. */
  readonly arrivals: Arrivals

  constructor(parts: MirrorParts) {
    this.#parts = parts
    this.#open = new OpenTransactions(parts.memory)
    this.#applier = new LogApplier(parts)
    this.arrivals = new Arrivals({
      ...parts,
      openFile: (iceberg, shape, folder) => this.openFile(iceberg, shape, { folder, atOnce: false }),
      openRun: (iceberg, shape, file) => openRun(parts, iceberg.uuid, shape, file),
    })
  }

  get tables(): Iterable<MirroredTable> {
    return this.#tables.values()
  }

  get detached(): readonly DetachedTable[] {
    return [...this.#detached.values()]
  }

  /** Tables that are in the views and take changes. */
  get live(): (MirroredTable & { table: Table })[] {
    return [...this.#tables.values()].filter(isLive)
  }

  // ---- coming --------------------------------------------------------------------------------------------------------------

  /**
   * Brings the tables of the source's state record back from the lake. Of those that others have changed so that they cannot go on
   * `refused` is told, which says what has to be remembered of them, or throws: they are detached.
   */
  async recover(record: SourceRecord, refused: (table: SourceTable, error: FrazilError) => PushedName | null): Promise<void> {
    for (const entry of record.detached) this.#detached.set(entry.id, entry)
    for (const { table: source, floor } of record.tables) {
      let iceberg: IcebergTable | null = null
      try {
        iceberg = await loadNamed(this.#parts, source)
        if (!iceberg) {
          throw new FrazilError('config', 'table-missing', `the table ${fullName(source)} is gone from the catalog`, {
            table: fullName(source),
            hint: 'Register it again from its newest metadata file, or drop the source with frazil drop and start anew.',
          })
        }
        checkNotRolledBack(this.#parts.source, iceberg)
        this.#tables.set(source.id, await this.#recovered(source, iceberg, floor, record.position))
      } catch (error) {
        // A lake that was moved is not where its catalog says: no table is to be given up for that.
        if (!isForeignFault(error) || (error.kind !== 'unsupported' && !iceberg)) throw error
        this.#remember(source, record.position, error, refused(source, error))
      }
    }
    for (const entry of this.detached) await this.#openDetached(entry)
  }

  async #recovered(
    source: SourceTable,
    iceberg: IcebergTable,
    floor: Position,
    committed: Position | null,
  ): Promise<MirroredTable> {
    const { store, tables } = this.#parts
    const { fields } = iceberg.schema
    checkColumns(source, iceberg)
    // These throw where nothing can be written.
    await store.head(iceberg.location)
    const laidOut = withSettings(tables, iceberg, fields)
    laidOut.layoutFor(fields)
    await checkWithin(store, await iceberg.files())
    const table = await recoverTable(this.#parts, source, iceberg)
    return { source, iceberg: laidOut, table, health: 'streaming', reason: null, floor, joined: true, committed }
  }

  /** Keeps that a table is detached. Returns why, as it is told. */
  #remember(source: SourceTable, position: Position | null, error: FrazilError, pushed: PushedName | null): string {
    const { id, namespace, name } = source
    const reason = error.hint ? `${error.message}; ${error.hint}` : error.message
    this.#detached.set(id, { id, namespace, name, position, reason, ...(pushed ? { pushed } : {}) })
    return reason
  }

  /**
   * Whether a new table's name belongs to another one in the lake: a table that was dropped and made again, another source's.
   * It is then remembered as one that is not read.
   */
  async nameTaken(source: SourceTable): Promise<boolean> {
    if (this.#tables.has(source.id) || this.arrivals.get(source.id)) return false
    if (this.arrivals.again.has(fullName(source)) && this.#formerOf(source)) return false
    if (!(await this.#parts.catalog.load(source))) return false
    const { id, namespace, name } = source
    this.#detached.set(id, {
      id,
      namespace,
      name,
      position: null,
      reason: `the name ${fullName(source)} belongs to another table`,
    })
    return true
  }

  /**
   * Starts the copy of a table, starts it again, or goes on with it. A table that was asked to be copied again keeps its rows until the
   * copy is complete. Null when the table is here and nobody has asked.
   */
  async beginCopy(source: SourceTable, start: CopyStart, reached: Reached): Promise<ArrivingTable | null> {
    const begun = this.arrivals.get(source.id)
    const known = begun?.replaces === false ? null : this.#formerOf(source)
    // It was refused in its first copy, and has been made anew at the source.
    const isGone = known !== null && known.source.id !== source.id && known.iceberg.metadataLocation === null
    if (isGone) this.remove(known.source.id)
    const former = isGone ? null : known
    if (!begun && (former ? !this.arrivals.again.has(fullName(source)) : this.#tables.has(source.id))) return null
    const arriving = await this.arrivals.begin(source, former, start, reached)
    if (!former && arriving !== begun) {
      this.#tables.set(source.id, arriving.next)
      this.#setHealth(arriving.next, 'copying', null)
    }
    return arriving
  }

  /** Looks for copies that an earlier process has left and that can go on from the lake's position; see {@link Arrivals.recover}. */
  async recoverCopies({ position, copying }: SourceRecord, reached: Reached): Promise<readonly InterruptedCopy[]> {
    return this.arrivals.recover(
      copying,
      (source) => this.#formerOf(source),
      (parts) => position === null || parts.every(({ floor }) => reached(floor, position)),
    )
  }

  /** The table of the same name that is in the lake, healthy or not. */
  #formerOf(source: SourceTable): MirroredTable | null {
    const name = fullName(source)
    return [...this.#tables.values()].find((other) => other.health !== 'copying' && fullName(other.source) === name) ?? null
  }

  /**
   * Lets copied tables into the views whose floor `position` has reached: applies what has changed since as source commit `commit`.
   * Works like {@link apply}. With `holds` nothing else was changed by this source commit, so that readers need not wait. Not while a
   * lake commit is under way if one takes the place of former rows.
   */
  *enter(
    commit: number,
    at: { readonly position: Position; readonly holds: boolean },
    reached: Reached,
    hands: Hands,
    sick: Sick,
  ): Generator<Promise<void> | null, number> {
    const entering = this.arrivals.due(at.position, reached)
    let rows = 0
    this.#applier.held = at.holds
    const whole = new Set(entering)
    for (const arriving of entering) {
      // The former rows' table has marked in its segments what died since; segments that are read back are new.
      const fail: Sick = (id, error) => {
        whole.delete(arriving)
        sick(id, error)
      }
      if (arriving.replaces) {
        try {
          yield hands.insist(() => arriving.held.spill()).then(() => undefined)
        } catch (error) {
          if (!isTableFault(error)) throw error
          fail(arriving.next.source.id, error)
          continue
        }
      }
      rows += yield* this.#applier.apply(arriving.next, commit, arriving.held, hands, fail)
    }
    this.#applier.held = false
    for (const arriving of whole) if (this.arrivals.get(arriving.next.source.id) === arriving) this.#place(arriving, commit)
    return rows
  }

  /** In one step: no reader sees less than the former rows or more than the new ones. */
  #place(arriving: ArrivingTable, commit: number): void {
    const { next } = arriving
    const { source, table } = next
    // Changes of a healthy former table with this id were kept twice.
    const isKept = this.#tables.get(source.id)?.health === 'streaming'
    this.arrivals.entered(arriving, isKept ? null : this.#open)
    if (!table) return
    this.#moveAside(source)
    // Also where nothing of it ever came into the lake.
    this.#detached.delete(source.id)
    const former = arriving.replaces ? this.#formerOf(source) : null
    if (former) {
      if (former.iceberg.metadataLocation !== null) {
        next.iceberg = laidOutAs(this.#parts.tables, former.iceberg, table)
        next.copiedTo = arriving.folder
        next.committed = former.committed
        table.replace(former.table, shapeOf(source, former.iceberg), commit)
      }
      if (former.table) this.#foreseeing.delete(former.table)
      former.table?.close()
      former.table = null
      this.#tables.delete(former.source.id)
      this.#detached.delete(former.source.id)
    }
    this.#tables.set(source.id, next)
    next.joined = true
    this.#setHealth(next, 'streaming', null)
  }

  /** Tables of the source may have taken each other's names: what the lake has under another name stays, as a table that is not there any more. */
  #moveAside(entering: SourceTable): void {
    const other = this.#tables.get(entering.id)
    if (other?.health !== 'detached' || fullName(other.source) === fullName(entering)) return
    const id = `${entering.id}, once ${fullName(other.source)}`
    const entry = this.#detached.get(entering.id)
    if (entry) this.#detached.set(id, { ...entry, id })
    other.source = { ...other.source, id }
    this.#tables.set(id, other)
  }

  /** Folders with files that are in no snapshot, when a lake commit has these tables. */
  unfinished(committed: ReadonlySet<MirroredTable>): string[] {
    const joined = [...this.#tables.values()].filter((mirrored) => mirrored.joined && !committed.has(mirrored))
    const fresh = joined.filter(({ iceberg }) => iceberg.metadataLocation === null).map(({ iceberg }) => iceberg.location)
    return [...this.arrivals.folders, ...fresh, ...joined.flatMap(({ copiedTo }) => copiedTo ?? [])]
  }

  /** Takes rows for new data files of a table: with one `append` or with several. */
  openFile(
    iceberg: IcebergTable,
    { source, fields }: TableShape,
    { folder = `${iceberg.location}/data`, atOnce }: { readonly folder?: string; readonly atOnce: boolean },
  ): FileWriter {
    const uri = `${folder}/${this.#parts.random.uuid()}.parquet`
    const key = keySpecOf(fields, source.key)
    const runPath = key ? runPathOf(this.#parts.local, iceberg.uuid, uri, keyTag(key, fields)) : null
    return this.#parts.files.open({
      warehouse: this.#parts.warehouse,
      uri,
      fields,
      schemaJson: encodeJson(schemaToJson({ ...iceberg.schema, fields })),
      key,
      runPath,
      layout: iceberg.layoutFor(fields),
      atOnce,
    })
  }

  // ---- changes -------------------------------------------------------------------------------------------------------------

  /** Keeps a change of an open source transaction. */
  change(change: LoggedChange): void {
    const id = change.type === 'table' ? change.table.id : change.table
    this.arrivals.change(id, change)
    const mirrored = this.#tables.get(id)
    if (mirrored?.health === 'streaming') this.#open.add(change)
  }

  /** Tells the tables of changes that come next, so that they can read ahead for several transactions at once. */
  foresee(events: readonly SourceEvent[]): void {
    for (const table of this.#foreseeing) table.foresee([])
    this.#foreseeing.clear()
    const changes = events.filter(isPartial).filter(({ streamed }) => !streamed)
    // A table may have another shape after an event that says so.
    if (changes.length === 0 || events.some(({ type }) => type === 'table')) return
    for (const [id, ofTable] of Map.groupBy(changes, ({ table }) => table)) {
      const table = this.#tables.get(id)?.table
      if (!table) continue
      table.foresee(ofTable)
      this.#foreseeing.add(table)
    }
  }

  /** Forgets a streamed transaction, or a part of it, or what it changed in one table. */
  rollback(transaction: number, part: number | null, table: string | null): void {
    this.#open.rollback(transaction, part, table)
    this.arrivals.rollback(transaction, part, table)
  }

  /** Whether readers of all tables see what was before the source commit that is being applied. */
  get holds(): boolean {
    return this.#applier.held
  }

  /** Bytes of the pool that open transactions take, and what is kept for tables that are being copied. */
  get pending(): number {
    return this.#logs.reduce((sum, log) => sum + log.memory, 0)
  }

  get #logs(): ChangeLog[] {
    return [...this.#open.logs, ...this.arrivals.logs]
  }

  /** Writes such changes to disk, the largest logs first, until they take little memory. Resolves with the bytes freed. */
  async spill(): Promise<number> {
    let left = this.pending
    let freed = 0
    for (const log of this.#logs.sort((a, b) => b.memory - a.memory)) {
      if (freed > 0 && left < this.#parts.memory.pool.budget * spillShare) break
      left -= log.memory
      freed += await log.spill()
    }
    return freed
  }

  /** Forgets all open source transactions. */
  abort(): void {
    this.#open.abort()
    this.arrivals.abort()
  }

  /**
   * Applies a transaction (null: the plain one) to every table that it touched; for those that are being copied it is kept. Yields
   * after each few milliseconds of work, with what has to be waited for if anything. A table whose changes do not fit is given to
   * `sick`, which condemns it or throws. Returns the rows.
   */
  *apply(
    commit: number,
    { position, transaction }: { readonly position: Position; readonly transaction?: number },
    hands: Hands,
    sick: Sick,
  ): Generator<Promise<void> | null, number> {
    let rows = 0
    const logs = this.#open.end(transaction ?? null)
    if (logs.some(isLong)) this.#hold(logs, commit - 1)
    try {
      for (const log of logs) {
        const mirrored = this.#tables.get(log.table)
        if (mirrored) rows += yield* this.#applier.apply(mirrored, commit, log, hands, sick)
      }
      yield* this.arrivals.keep(transaction ?? null, position)
    } finally {
      for (const log of logs) log.clear()
      for (const { table } of this.#tables.values()) table?.unhold()
      this.#applier.held = false
    }
    return rows
  }

  /** Takes over as source commit `commit` what others have done to a table in the lake, which is `iceberg` now. Works like {@link apply}. */
  *follow(
    commit: number,
    mirrored: MirroredTable,
    change: ForeignChange,
    iceberg: IcebergTable,
    hands: Hands,
  ): Generator<Promise<void> | null, number> {
    const { table } = mirrored
    assert(table, 'a table that is live')
    yield* this.changeHeld(commit, table, table.follow(commit, change, this.#applier.workOf(mirrored, table, hands)))
    this.rebase(mirrored, iceberg)
    return 0
  }

  /** Changes a table as source commit `commit`, as `steps` do it; readers see what was before it meanwhile. */
  changeHeld(commit: number, table: Table, steps: SlicedWork): Generator<Promise<void> | null, void> {
    return this.#applier.applyHeld(commit, table, steps)
  }

  /** The lake has a table with the same files in another state. False when it has ended meanwhile. */
  rebase(mirrored: MirroredTable, iceberg: IcebergTable): boolean {
    if (!mirrored.table) return false
    mirrored.iceberg = withSettings(this.#parts.tables, iceberg, mirrored.table.fields)
    return true
  }

  #hold(logs: readonly ChangeLog[], commit: number): void {
    for (const log of logs) this.#tables.get(log.table)?.table?.hold(commit)
    this.#applier.held = true
  }

  // ---- going ---------------------------------------------------------------------------------------------------------------

  /**
   * Ends a table with a reason, at once: it takes no changes and no commit has it any more. Rows that are in no lake commit are
   * given up. {@link reopen} has to follow.
   */
  condemn(id: string, error: FrazilError, pushed: PushedName | null = null): void {
    const mirrored = this.#tables.get(id)
    if (!mirrored || mirrored.health === 'detached') return
    const { source, table } = mirrored
    const reason = this.#remember(source, mirrored.committed, error, pushed)
    this.#open.forget(id)
    mirrored.joined = false
    mirrored.table = null
    this.#setHealth(mirrored, 'detached', reason)
    table?.close()
  }

  /** Makes a condemned table readable again as of its last lake commit, where it can be. Not while one is under way. */
  async reopen(id: string): Promise<void> {
    const mirrored = this.#tables.get(id)
    const entry = this.#detached.get(id)
    if (!mirrored || !entry || mirrored.table || mirrored.iceberg.metadataLocation === null) return
    const latest = { ...entry, position: mirrored.committed }
    this.#detached.set(id, latest)
    await this.#openDetached(latest)
  }

  /**
   * Has a detached table that programs sent rows to go on, with the rows that the lake has of it now. Null when the lake has none. Throws what
   * is wrong with it, as `check` does, and leaves it as it was then. Not while a lake commit is under way.
   */
  async attach(
    entry: DetachedTable,
    applying: () => Promise<void> | null,
    check: (table: SourceTable) => void,
  ): Promise<SourceTable | null> {
    const { tables, source } = this.#parts
    const opened = await reopenPushed(this.#parts, source, entry, check)
    if (!opened) return null
    // No `await` between here and the end: the next source commit may begin in any gap.
    for (let busy = applying(); busy; busy = applying()) await busy
    opened.iceberg = withSettings(tables, opened.iceberg, opened.iceberg.schema.fields)
    this.remove(entry.id)
    this.#tables.set(opened.source.id, opened)
    this.#setHealth(opened, 'streaming', null)
    return opened.source
  }

  /** Throws what keeps a table's rows from being read: then nothing can take their place either. */
  async checkReadable(id: string): Promise<void> {
    const mirrored = this.#tables.get(id)
    if (!mirrored || mirrored.table || mirrored.iceberg.metadataLocation === null) return
    const iceberg = await loadNamed(this.#parts, mirrored.source)
    if (!iceberg) throw missingTable(mirrored.source)
    await iceberg.files()
  }

  async #openDetached(entry: DetachedTable): Promise<void> {
    const opened = await openDetached(this.#parts, entry)
    if (opened) this.#tables.set(entry.id, opened)
  }

  /** A table is gone from the lake. Not while a lake commit is under way or a source commit is half applied. */
  remove(id: string): void {
    const mirrored = this.#tables.get(id)
    this.#tables.delete(id)
    this.#detached.delete(id)
    this.#open.forget(id)
    const table = mirrored?.table
    if (!mirrored || !table) return
    mirrored.joined = false
    mirrored.table = null
    this.#foreseeing.delete(table)
    table.close()
  }

  /** Gives up what is not finished: open transaction and copies. */
  async stop(): Promise<void> {
    this.abort()
    await this.arrivals.stop()
  }

  /** Lets go of all memory and files. */
  close(): void {
    this.abort()
    this.arrivals.close()
    for (const { table } of this.#tables.values()) table?.close()
    this.#tables.clear()
  }

  // ---- reading -------------------------------------------------------------------------------------------------------------

  /** A table that can be read, by its Iceberg name. Throws `request` for unknown ones, `unavailable` for one still being copied. */
  find(namespace: string, name: string): MirroredTable & { table: Table } {
    for (const mirrored of this.#tables.values()) {
      const { source, table } = mirrored
      if (source.namespace !== namespace || source.name !== name) continue
      if (mirrored.joined && table) return { ...mirrored, table }
      const why = mirrored.health === 'detached' ? `has no rows in the lake: ${mirrored.reason ?? ''}` : 'is still being copied'
      throw new FrazilError('unavailable', 'table-not-ready', `the table ${namespace}.${name} ${why}`, {
        table: `${namespace}.${name}`,
      })
    }
    throw new FrazilError('request', 'unknown-table', `there is no table ${namespace}.${name}`)
  }

  status(visible: Position | null, committed: Position | null): TableStatus[] {
    const copies = this.arrivals.progress()
    return [...this.#tables.values()].map((mirrored) => ({
      ...statusOf(mirrored, isLive(mirrored) ? { visible, committed } : null),
      source: this.#parts.source,
      copy: copies.get(fullName(mirrored.source)) ?? null,
    }))
  }

  #setHealth(mirrored: MirroredTable, health: MirroredTable['health'], reason: string | null): void {
    mirrored.health = health
    mirrored.reason = reason
    this.#parts.emit({ type: 'table', source: this.#parts.source, table: fullName(mirrored.source), health, reason })
  }
}

/** Whether applying takes so long that readers do not wait for it. A new shape waits for files. */
function isLong(log: ChangeLog): boolean {
  return log.rows > longRows || log.hasShape
}
