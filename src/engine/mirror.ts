import { AssertionError, FrazilError, assert } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Position, Segment, SourceEvent, SourceTable } from '../data/index.ts'
import { encodeJson } from '../format/json/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import { createTable, loadTable, schemaToJson } from '../iceberg/index.ts'
import type { DataFile, IcebergTable } from '../iceberg/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import { locationSegment } from '../storage/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { ColdFile, KeyRun, Table, isPartial, keySpecOf, keyTag, keyWords } from '../table/index.ts'
import type { ChangeLog, ChangeLogParts, FilePool, FileWriter, LoggedChange, TableShape, TableWork } from '../table/index.ts'
import type { TableStatus } from './contract.ts'
import { fullName } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { OpenTransactions } from './open-transactions.ts'
import { recoverTable, runPathOf } from './recovery.ts'
import type { DetachedTable, SourceRecord } from './state-record.ts'
import { TableCopy } from './table-copy.ts'

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
  readonly emit: (event: EngineEvent) => void
}

/** What tables need done in the middle of a source commit. */
interface Hands {
  /** Writes a table's rows in memory to staged files. */
  stageOne(mirrored: MirroredTable, commit: number): Promise<void>
  /** Does something as often as it takes. */
  insist<T>(work: () => Promise<T>): Promise<T>
}

/** Rows after which a long transaction lets other work have a turn. */
const yieldRows = 16_384
/** Readers do not wait for a transaction with more rows: they see what was before it. Fewer take some 20 ms. */
const longRows = 65_536
/** Share of the pool that a table's rows may fill, while a long transaction is applied, before they are written to a file. */
const stageShare = 1 / 4
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
  #held = false
  /** Rows of the source commit that is being applied are on their way to files. */
  #staging: Promise<void> | null = null
  /** Copied tables that wait for the position from which they are whole. */
  readonly #joining = new Set<MirroredTable>()

  constructor(parts: MirrorParts) {
    this.#parts = parts
    this.#open = new OpenTransactions(parts.memory)
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

  /** Whether rows of an initial copy are on their way to files. */
  get copying(): boolean {
    return [...this.#tables.values()].some(({ copy }) => copy !== null)
  }

  // ---- coming --------------------------------------------------------------------------------------------------------------

  /** Brings the tables of the source's state record back from the lake. */
  async recover(record: SourceRecord): Promise<void> {
    for (const entry of record.detached) this.#detached.set(entry.id, entry)
    for (const { table: source, floor } of record.tables) {
      const iceberg = await this.#load(source)
      if (!iceberg) {
        throw new FrazilError('config', 'table-missing', `the table ${fullName(source)} is gone from the catalog`, {
          table: fullName(source),
          hint: 'Register it again from its newest metadata file, or drop the source with frazil drop and start anew.',
        })
      }
      checkNotRolledBack(this.#parts.source, source, iceberg)
      const table = await recoverTable(this.#parts, source, iceberg)
      this.#tables.set(source.id, {
        source,
        iceberg,
        table,
        copy: null,
        health: 'streaming',
        reason: null,
        floor,
        joined: true,
        committed: record.position,
      })
    }
    for (const entry of record.detached) await this.#openDetached(entry)
  }

  async #load(name: { readonly namespace: string; readonly name: string }): Promise<IcebergTable | null> {
    const { store, catalog, clock, random } = this.#parts
    const pointer = await catalog.load(name)
    return pointer && loadTable({ store, clock, random }, pointer)
  }

  /**
   * Whether a new table's name belongs to another one in the lake: a table that was dropped and made again, another source's.
   * It is then remembered as one that is not read.
   */
  async nameTaken(source: SourceTable): Promise<boolean> {
    if (this.#tables.has(source.id) || !(await this.#parts.catalog.load(source))) return false
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

  /** Starts the initial copy of a table. Returns the location of its files, or null when the table is here already. */
  async beginCopy(source: SourceTable): Promise<string | null> {
    const known = this.#tables.get(source.id)
    if (known && known.health !== 'copying') return null
    const { store, clock, random } = this.#parts
    if (known) {
      // It begins again: what it wrote so far is nobody's.
      await known.copy?.abort()
      await deleteAll(store, known.iceberg.location)
    }
    const folder = `${locationSegment(source.namespace)}/${locationSegment(source.name)}-${random.uuid().slice(0, 8)}`
    const iceberg = createTable(
      { store, clock, random },
      {
        namespace: source.namespace,
        name: source.name,
        location: `${store.root}/${folder}`,
        fields: source.fields,
        key: source.key.kind === 'columns' ? source.key.columns : [],
        properties: { 'frazil.source': this.#parts.source },
      },
    )
    const mirrored: MirroredTable = {
      source,
      iceberg,
      table: null,
      copy: new TableCopy(source, iceberg, () => this.openFile(iceberg, shapeOf(source, iceberg))),
      health: 'copying',
      reason: null,
      floor: null,
      joined: false,
      committed: null,
    }
    this.#tables.set(source.id, mirrored)
    this.#setHealth(mirrored, 'copying', null)
    return iceberg.location
  }

  copyRows(id: string, segment: Segment, from: number, to: number): void {
    const copy = this.#tables.get(id)?.copy
    if (!copy) return
    copy.add(segment, from, to)
    this.#parts.emit({ type: 'copying', source: this.#parts.source, table: fullName(copy.source), rows: to - from })
  }

  /** The initial copy is complete: the table waits for `floor`, see {@link join}. */
  async endCopy(id: string, floor: Position, rows: number): Promise<void> {
    const mirrored = this.#tables.get(id)
    const copy = mirrored?.copy
    if (!mirrored || !copy) return
    const files = await copy.finish()
    assert(copy.rows === rows, `the copy of ${copy.source.sourceName} has all its rows`)
    const table = new Table(shapeOf(mirrored.source, mirrored.iceberg), this.#parts.memory)
    for (const { file, runPath } of files) {
      const run =
        runPath !== null && table.keySpec ? KeyRun.open(runPath, keyWords(table.keySpec), file.recordCount, false) : null
      table.adopt(new ColdFile(file, run, { since: 0 }))
    }
    mirrored.table = table
    mirrored.copy = null
    mirrored.floor = floor
    this.#joining.add(mirrored)
    this.#parts.emit({ type: 'copied', source: this.#parts.source, table: fullName(copy.source), rows })
  }

  /** Lets copied tables into the views whose floor `position` has reached. Returns whether there were any. */
  join(position: Position, reached: (a: Position, b: Position) => boolean): boolean {
    let joined = false
    for (const mirrored of this.#joining) {
      if (mirrored.floor === null || !reached(position, mirrored.floor)) continue
      this.#joining.delete(mirrored)
      mirrored.joined = true
      joined = true
      this.#setHealth(mirrored, 'streaming', null)
    }
    return joined
  }

  /** Rows that a copy holds back for a fuller part go to a file worker now. */
  handOverCopies(): void {
    for (const { copy } of this.#tables.values()) copy?.handOver()
  }

  /** A new data file of a table and, for keyed tables, where its key run goes. */
  openFile(iceberg: IcebergTable, { source, fields }: TableShape): { writer: FileWriter; runPath: string | null } {
    const uri = `${iceberg.location}/data/${this.#parts.random.uuid()}.parquet`
    const key = keySpecOf(fields, source.key)
    const runPath = key ? runPathOf(this.#parts.local, iceberg.uuid, uri, keyTag(key, fields)) : null
    const writer = this.#parts.files.open({
      warehouse: this.#parts.warehouse,
      uri,
      fields,
      schemaJson: encodeJson(schemaToJson({ ...iceberg.schema, fields })),
      key,
      runPath,
    })
    return { writer, runPath }
  }

  // ---- changes -------------------------------------------------------------------------------------------------------------

  /** Whether the table is here and past its copy: a description of it tells of another shape then, not of a table to copy. */
  isCopied(id: string): boolean {
    const mirrored = this.#tables.get(id)
    return mirrored !== undefined && (mirrored.table !== null || mirrored.health === 'detached')
  }

  /** Keeps a change of an open source transaction. */
  change(change: LoggedChange): void {
    const mirrored = this.#tables.get(change.type === 'table' ? change.table.id : change.table)
    if (!mirrored || mirrored.health === 'detached') return
    if (!mirrored.table) throw new AssertionError(`changes of ${mirrored.source.sourceName} came before its copy was complete`)
    this.#open.add(change)
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
  }

  /** Whether readers of all tables see what was before the source commit that is being applied. */
  get holds(): boolean {
    return this.#held
  }

  /** Bytes of the pool that open transactions take. */
  get pending(): number {
    return this.#open.logs.reduce((sum, log) => sum + log.memory, 0)
  }

  /** Writes changes of open transactions to disk, the largest logs first, until they take little memory. Resolves with the bytes freed. */
  async spill(): Promise<number> {
    let left = this.pending
    let freed = 0
    for (const log of this.#open.logs.sort((a, b) => b.memory - a.memory)) {
      if (freed > 0 && left < this.#parts.memory.pool.budget * spillShare) break
      left -= log.memory
      freed += await log.spill()
    }
    return freed
  }

  /** Forgets all open source transactions. */
  abort(): void {
    this.#open.abort()
  }

  /**
   * Applies a transaction (null: the plain one) to every table that it touched. Yields after each few milliseconds of work, with
   * what has to be waited for if anything. A table whose changes do not fit is given to `sick`, which condemns it or throws.
   * Returns the rows.
   */
  *apply(
    commit: number,
    transaction: number | null,
    hands: Hands,
    sick: (id: string, error: FrazilError) => void,
  ): Generator<Promise<void> | null, number> {
    let rows = 0
    let sinceYield = 0
    const logs = this.#open.end(transaction)
    if (logs.some(isLong)) this.#hold(logs, commit - 1)
    try {
      for (const log of logs) {
        const mirrored = this.#tables.get(log.table)
        const table = mirrored?.table
        if (!mirrored || !table) continue
        const work: TableWork = {
          stage: (at) => hands.stageOne(mirrored, at),
          readCells: ({ path: uri, fileSize }, wanted, mostBytes) =>
            hands.insist(() =>
              this.#parts.files.readCells({ warehouse: this.#parts.warehouse, uri, fileSize, wanted, mostBytes }),
            ),
          rebuildRun: (file) => hands.insist(() => this.#rebuildRun(mirrored.iceberg, table.shape, file)),
        }
        try {
          for (const applied of table.apply(commit, log, work)) {
            if (typeof applied === 'number') {
              rows += applied
              sinceYield += applied
              if (sinceYield < yieldRows) continue
            }
            sinceYield = 0
            yield typeof applied === 'number' ? this.#stageBeside(mirrored, table, commit, hands) : applied
          }
          mirrored.source = table.shape.source
        } catch (error) {
          // Cut short by the end of the pipeline: that is not the table's fault.
          if (!(error instanceof FrazilError) || error.code === 'closed') throw error
          sick(log.table, error)
        }
      }
    } finally {
      for (const log of logs) log.clear()
      for (const { table } of this.#tables.values()) table?.unhold()
      this.#held = false
    }
    return rows
  }

  #hold(logs: readonly ChangeLog[], commit: number): void {
    for (const log of logs) this.#tables.get(log.table)?.table?.hold(commit)
    this.#held = true
  }

  /**
   * Has rows of a long source commit written while more of it is applied. Returns what has to be waited for: the files do not keep up.
   */
  #stageBeside(mirrored: MirroredTable, table: Table, commit: number, hands: Hands): Promise<void> | null {
    const { budget } = this.#parts.memory.pool
    if (!this.#held || table.activeBytes < budget * stageShare) return null
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

  async #rebuildRun(iceberg: IcebergTable, { source, fields }: TableShape, file: DataFile): Promise<KeyRun> {
    const key = keySpecOf(fields, source.key)
    assert(key, 'only keyed tables have key runs')
    const { warehouse, local, files } = this.#parts
    const runPath = runPathOf(local, iceberg.uuid, file.path, keyTag(key, fields))
    await files.rebuildRun({ warehouse, uri: file.path, fileSize: file.fileSize, fields, key, runPath })
    return KeyRun.open(runPath, keyWords(key), file.recordCount, false)
  }

  // ---- going ---------------------------------------------------------------------------------------------------------------

  /**
   * Ends a table with a reason, at once: it takes no changes and no commit has it any more. Rows that are in no lake commit are
   * given up. {@link reopen} has to follow.
   */
  condemn(id: string, error: FrazilError): void {
    const mirrored = this.#tables.get(id)
    if (!mirrored || mirrored.health === 'detached') return
    const { source, copy, table } = mirrored
    const reason = error.hint ? `${error.message} ${error.hint}` : error.message
    this.#detached.set(id, { id, namespace: source.namespace, name: source.name, position: mirrored.committed, reason })
    this.#joining.delete(mirrored)
    this.#open.forget(id)
    mirrored.joined = false
    mirrored.table = null
    mirrored.copy = null
    this.#setHealth(mirrored, 'detached', reason)
    table?.close()
    copy?.abort().catch(() => undefined)
  }

  /** Makes a condemned table readable again as of its last lake commit. Not while one is under way. */
  async reopen(id: string): Promise<void> {
    const mirrored = this.#tables.get(id)
    const entry = this.#detached.get(id)
    if (!mirrored || !entry || mirrored.table || mirrored.iceberg.metadataLocation === null) return
    const latest = { ...entry, position: mirrored.committed }
    this.#detached.set(id, latest)
    await this.#openDetached(latest)
  }

  async #openDetached(entry: DetachedTable): Promise<void> {
    // Never had a row in the lake: what has its name there is another table.
    if (entry.position === null) return
    const iceberg = await this.#load(entry)
    if (!iceberg) return
    const { fields } = iceberg.schema
    const source: SourceTable = {
      id: entry.id,
      sourceName: entry.name,
      namespace: entry.namespace,
      name: entry.name,
      fields,
      key: { kind: 'none' },
    }
    this.#tables.set(entry.id, {
      source,
      iceberg,
      table: await recoverTable(this.#parts, source, iceberg),
      copy: null,
      health: 'detached',
      reason: entry.reason,
      floor: null,
      joined: true,
      committed: entry.position,
    })
  }

  /** Gives up what is not finished: open transaction and copies. */
  async stop(): Promise<void> {
    this.abort()
    for (const { copy } of this.#tables.values()) await copy?.abort()
  }

  /** Lets go of all memory and files. */
  close(): void {
    this.#open.abort()
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
    return [...this.#tables.values()].map((mirrored) => {
      const { source, table, health, reason, copy } = mirrored
      const files = table?.files ?? []
      const live = (committed: boolean): number =>
        files.filter((file) => file.committed === committed).reduce((sum, file) => sum + file.rows - file.deleted, 0)
      const current = isLive(mirrored)
      return {
        database: source.namespace,
        table: source.name,
        source: this.#parts.source,
        health,
        reason,
        visible: current ? visible : mirrored.committed,
        committed: current && mirrored.iceberg.metadataLocation !== null ? committed : mirrored.committed,
        hotRows: table?.hotRows ?? 0,
        stagedRows: live(false),
        coldRows: live(true),
        dataFiles: files.length,
        deletedRows: files.reduce((sum, file) => sum + file.deleted, 0),
        copy: copy ? { rows: copy.rows, estimated: null } : null,
      }
    })
  }

  #setHealth(mirrored: MirroredTable, health: MirroredTable['health'], reason: string | null): void {
    mirrored.health = health
    mirrored.reason = reason
    this.#parts.emit({ type: 'table', source: this.#parts.source, table: fullName(mirrored.source), health, reason })
  }
}

/** Removes everything under a location that no table has. */
export async function deleteAll(store: ObjectStore, location: string): Promise<void> {
  const uris: string[] = []
  for await (const { uri } of store.list(`${location}/`)) uris.push(uri)
  await store.delete(uris)
}

function shapeOf(source: SourceTable, iceberg: IcebergTable): TableShape {
  return { source, fields: iceberg.schema.fields, lastFieldId: iceberg.lastColumnId }
}

function isLive(mirrored: MirroredTable): mirrored is MirroredTable & { table: Table } {
  return mirrored.joined && mirrored.table !== null && mirrored.health === 'streaming'
}

/** A rollback by another program leaves the position property ahead of the snapshot that is current. */
function checkNotRolledBack(name: string, source: SourceTable, iceberg: IcebergTable): void {
  const property = iceberg.properties[`frazil.position.${name}`]
  const summary = iceberg.summary?.['frazil.positions']
  if (property === undefined || summary === undefined) return
  // Both are ours: written in the same commit.
  const { to } = JSON.parse(property) as { to?: string }
  const own = (JSON.parse(summary) as Record<string, { to?: string } | undefined>)[name]?.to
  if (own === undefined || own === to) return
  throw new FrazilError('config', 'rolled-back', `the table ${fullName(source)} was rolled back by another program`, {
    table: fullName(source),
    hint: 'Make its newest snapshot current again, or drop the source with frazil drop and copy it anew.',
  })
}

/** Whether applying takes so long that readers do not wait for it. A new shape waits for files. */
function isLong(log: ChangeLog): boolean {
  return log.rows > longRows || log.hasShape
}
