import { AssertionError, FrazilError, SlabPool, asError, assert } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { Change, Position, SourceEvent, SourceTable } from '../data/index.ts'
import { encodeJson } from '../format/json/index.ts'
import { createTable, loadTable, schemaToJson } from '../iceberg/index.ts'
import type { Catalog, StateChange } from '../iceberg/catalog/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { TableView } from '../query/index.ts'
import type { Source, SourceParts, SourceState } from '../source/index.ts'
import { localPath, locationSegment } from '../storage/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { ColdFile, KeyRun, Table, keySpecOf, keyWords } from '../table/index.ts'
import type { FilePool, FileWriter, TableCommit, TableRows } from '../table/index.ts'
import type { TableStatus } from './contract.ts'
import { FileReaper } from './file-reaper.ts'
import { commitToLake } from './lake-commit.ts'
import { readKeyedRow } from './lookup.ts'
import { fullName } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import type {
  LookupAnswer,
  PipelineHandle,
  PipelineListener,
  PipelineOptions,
  PipelineStatus,
  PipelineViews,
} from './pipeline-contract.ts'
import { recoverTable, runPathOf } from './recovery.ts'
import { emptyRecord, parseRecord, sourceStateKey } from './state-record.ts'
import type { DetachedTable, SourceRecord } from './state-record.ts'
import { TableCopy } from './table-copy.ts'
import { Visibility } from './visibility.ts'

/** Share of `memory` that the slab pool may hand out; the rest is for what lies outside it (runs, bitmaps, messages). */
const poolShare = 0.75
/** A commit is due at the latest when hot rows fill this share of the pool. */
const commitShare = 1 / 3
/** A position without changes is written to the lake at most this often. */
const idlePositionMs = 10_000
/** Snapshots kept on main, whatever their age. */
const maxSnapshots = 600
/** Longest a view may keep its pins. */
const maxViewAgeMs = 15 * 60_000
/** Views at one time. */
const maxViews = 1000

export interface PipelineParts {
  readonly clock: Clock
  readonly random: Random
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly files: FilePool
  readonly openSource: (parts: SourceParts) => Source
  readonly listener: PipelineListener
}

/**
 * One source with its tables: takes the source's events, keeps the hot state, answers views and look-ups, and commits to the
 * lake. It runs in one thread and owns everything in it; the main thread or a worker, it does not know.
 *
 * Two activities take turns at every `await`: the intake (events → tables, each source commit applied as a whole) and the
 * commit loop (freeze → files → catalog → acknowledge). What must not see a half-applied commit waits for `#settled()`.
 */
export class Pipeline implements PipelineHandle {
  readonly name: string
  readonly #options: PipelineOptions
  readonly #parts: PipelineParts
  readonly #pool: SlabPool
  readonly #source: Source
  readonly #visible: Visibility
  readonly #reaper: FileReaper
  /** By the source's table id. */
  readonly #tables = new Map<string, MirroredTable>()
  readonly #detached = new Map<string, DetachedTable>()
  /** Tables that the open source transaction has changed. */
  readonly #touched = new Set<MirroredTable>()
  /** Copied tables that wait for the position from which they are whole. */
  readonly #joining = new Set<MirroredTable>()
  #record: SourceRecord
  #recordVersion: number | null = null
  #recordTurn: Promise<void> = Promise.resolve()
  #nextSegment = 1
  #state: PipelineStatus['source']['state'] = 'starting'
  #reason: string | null = null
  #lagMs: number | null = null
  /** Set while a long transaction is being applied: resolves when the tables are whole again. */
  #applying: Promise<void> | null = null
  #views = new Map<number, { rows: readonly TableRows[]; expires: number }>()
  #nextView = 1
  #closing = false
  #failure: Error | null = null
  #intake: Promise<void> = Promise.resolve()
  #commits: Promise<void> = Promise.resolve()
  /** Wakes the commit loop before its time. */
  #wake: (() => void) | null = null
  #commitWanted = false
  #flushWaiters: { resolve: (position: Position | null) => void; reject: (error: Error) => void }[] = []
  #staging: Promise<void> | null = null
  #lastCommitAt = 0

  private constructor(options: PipelineOptions, parts: PipelineParts) {
    this.name = options.name
    this.#options = options
    this.#parts = parts
    this.#record = emptyRecord(options.name, options.source.type)
    this.#pool = new SlabPool({ budget: Math.floor(options.memory * poolShare) })
    this.#pool.onPressure = () => this.#onPressure()
    this.#reaper = new FileReaper(parts.store, parts.clock)
    this.#source = parts.openSource({
      pool: this.#pool,
      clock: parts.clock,
      nextSegmentId: () => this.#nextSegment++,
      currentCommit: () => this.#visible.commit,
      deletable: (table) => table.key.kind !== 'none',
    })
    this.#visible = new Visibility((a, b) => this.#source.reached(a, b), parts.clock)
  }

  /** Reads the lake's state of the source, brings its tables back, and starts. Resolves when the source is being read. */
  static async start(options: PipelineOptions, parts: PipelineParts): Promise<Pipeline> {
    const pipeline = new Pipeline(options, parts)
    try {
      await pipeline.#recover()
    } catch (error) {
      await pipeline.#source.close().catch(() => undefined)
      throw error
    }
    pipeline.#intake = pipeline.#takeIn().catch((error: unknown) => pipeline.#fail(asError(error)))
    pipeline.#commits = pipeline.#commitLoop().catch((error: unknown) => pipeline.#fail(asError(error)))
    return pipeline
  }

  // ---- start -------------------------------------------------------------------------------------------------------------

  async #recover(): Promise<void> {
    const { catalog, store, clock, random } = this.#parts
    const stored = await catalog.state(sourceStateKey(this.name))
    if (stored) {
      this.#record = parseRecord(stored.value)
      this.#recordVersion = stored.version
    }
    for (const location of this.#record.copying) await deleteAll(store, location)
    for (const entry of this.#record.detached) this.#detached.set(entry.id, entry)
    for (const { table: source, floor } of this.#record.tables) {
      const pointer = await catalog.load(source)
      if (!pointer) {
        throw new FrazilError('config', 'table-missing', `the table ${fullName(source)} is gone from the catalog`, {
          table: fullName(source),
          hint: 'Register it again from its newest metadata file, or drop the source with frazil drop and start anew.',
        })
      }
      const iceberg = await loadTable({ store, clock, random }, pointer)
      this.#checkPosition(source, iceberg)
      const table = await recoverTable(
        { store, files: this.#parts.files, pool: this.#pool, warehouse: this.#options.warehouse, local: this.#options.local },
        source,
        iceberg,
      )
      this.#tables.set(source.id, {
        source,
        iceberg,
        table,
        copy: null,
        health: 'streaming',
        reason: null,
        floor,
        joined: true,
        committed: this.#record.position,
      })
    }
    for (const entry of this.#detached.values()) await this.#openDetached(entry)
    if (this.#record.position !== null) this.#visible.advance(0, this.#record.position)
  }

  /** A rollback by another tool leaves the property ahead of the snapshot that is current. */
  #checkPosition(source: SourceTable, iceberg: MirroredTable['iceberg']): void {
    const property = iceberg.properties[`frazil.position.${this.name}`]
    const summary = iceberg.summary?.['frazil.positions']
    if (property === undefined || summary === undefined) return
    const to = (JSON.parse(property) as { to?: unknown }).to
    const own = (JSON.parse(summary) as Record<string, { to?: unknown }>)[this.name]?.to
    if (own !== undefined && own !== to) {
      throw new FrazilError('config', 'rolled-back', `the table ${fullName(source)} was rolled back by another program`, {
        table: fullName(source),
        hint: 'Restore its newest snapshot, or drop the source with frazil drop and copy it anew.',
      })
    }
  }

  /** A detached table stays readable as of its last lake commit. */
  async #openDetached(entry: DetachedTable): Promise<void> {
    const { catalog, store, clock, random } = this.#parts
    const pointer = await catalog.load(entry)
    if (!pointer) return
    const iceberg = await loadTable({ store, clock, random }, pointer)
    const source: SourceTable = {
      id: entry.id,
      sourceName: entry.name,
      namespace: entry.namespace,
      name: entry.name,
      fields: iceberg.schema.fields,
      key: { kind: 'none' },
    }
    const table = await recoverTable(
      { store, files: this.#parts.files, pool: this.#pool, warehouse: this.#options.warehouse, local: this.#options.local },
      source,
      iceberg,
    )
    this.#tables.set(entry.id, {
      source,
      iceberg,
      table,
      copy: null,
      health: 'detached',
      reason: entry.reason,
      floor: null,
      joined: true,
      committed: entry.position,
    })
  }

  // ---- intake ------------------------------------------------------------------------------------------------------------

  async #takeIn(): Promise<void> {
    const state: SourceState | null =
      this.#recordVersion === null
        ? null
        : {
            position: this.#record.position,
            memo: this.#record.memo,
            tables: this.#record.tables,
            detached: this.#record.detached.map(({ id }) => id),
          }
    for await (const events of this.#source.open(state)) {
      let commits = 0
      let rows = 0
      for (const event of events) {
        if (event.type === 'commit') {
          rows += await this.#applyCommit(event.position, event.timeMs)
          commits++
        } else if (isChange(event)) {
          this.#change(event)
        } else {
          await this.#take(event)
        }
      }
      if (commits > 0) {
        this.#emit({ type: 'applied', source: this.name, commits, rows, bytes: 0, lagMs: this.#lagMs })
        if (this.#pool.used >= this.#commitBytes) this.#wantCommit()
      }
    }
    if (!this.#closing) throw new FrazilError('unavailable', 'source-ended', `the source ${this.name} has ended`)
  }

  get #commitBytes(): number {
    return Math.min(this.#options.commit.bytes, this.#pool.budget * commitShare)
  }

  async #take(event: Exclude<SourceEvent, Change | { type: 'commit' }>): Promise<void> {
    switch (event.type) {
      case 'abort':
        for (const { table } of this.#touched) table?.abort()
        this.#touched.clear()
        return
      case 'progress':
        this.#advance(this.#visible.commit, event.position)
        return
      case 'table':
        await this.#newTable(event.table)
        return
      case 'copy':
        this.#copyRows(event)
        return
      case 'copied':
        await this.#copied(event.table, event.floor, event.rows)
        return
      case 'failed':
        await this.#detach(event.table, event.error)
        return
      case 'streaming':
        this.#setState('streaming', null)
        return
      case 'assigned':
      case 'revoked':
      case 'lost':
        return
    }
  }

  #change(change: Change): void {
    const mirrored = this.#tables.get(change.table)
    if (!mirrored || mirrored.health === 'detached' || mirrored.health === 'stopped') return
    if (!mirrored.table) throw new AssertionError(`changes of ${mirrored.source.sourceName} came before its copy was complete`)
    mirrored.table.change(change)
    this.#touched.add(mirrored)
  }

  /** Applies the open transaction to every table that it touched, then makes it visible at once. Returns its rows. */
  async #applyCommit(position: Position, timeMs: number): Promise<number> {
    const number = this.#visible.commit + 1
    let finished: (() => void) | null = null
    let rows = 0
    try {
      for (const mirrored of this.#touched) {
        const { table } = mirrored
        if (!table) continue
        try {
          for (const applied of table.apply(number)) {
            rows += applied
            if (applied < yieldRows) continue
            // A long transaction: give queries and timers a turn, but let nobody see the tables meanwhile.
            if (!finished) this.#applying = new Promise((resolve) => (finished = resolve))
            await new Promise((resolve) => setImmediate(resolve))
          }
        } catch (error) {
          if (!(error instanceof FrazilError)) throw error
          await this.#detach(mirrored.source.id, error)
        }
      }
    } finally {
      this.#touched.clear()
      if (finished) {
        this.#applying = null
        ;(finished as () => void)()
      }
    }
    this.#lagMs = Math.max(0, this.#parts.clock.now() - timeMs)
    this.#advance(number, position)
    return rows
  }

  #advance(commit: number, position: Position): void {
    for (const mirrored of this.#joining) {
      if (!mirrored.table || mirrored.floor === null || !this.#source.reached(position, mirrored.floor)) continue
      this.#joining.delete(mirrored)
      mirrored.joined = true
      this.#setHealth(mirrored, 'streaming', null)
      this.#wantCommit()
    }
    this.#visible.advance(commit, position)
  }

  // ---- initial copy ------------------------------------------------------------------------------------------------------

  async #newTable(source: SourceTable): Promise<void> {
    const known = this.#tables.get(source.id)
    if (known && known.health !== 'copying') return
    await known?.copy?.abort()
    const { store, clock, random } = this.#parts
    const location = `${store.root}/${locationSegment(source.namespace)}/${locationSegment(source.name)}-${random.uuid().slice(0, 8)}`
    const iceberg = createTable(
      { store, clock, random },
      {
        namespace: source.namespace,
        name: source.name,
        location,
        fields: source.fields,
        key: source.key.kind === 'columns' ? source.key.columns : [],
        properties: { 'frazil.source': this.name },
      },
    )
    const copy = new TableCopy(source, iceberg, () => this.#openFile(iceberg, source))
    this.#tables.set(source.id, {
      source,
      iceberg,
      table: null,
      copy,
      health: 'copying',
      reason: null,
      floor: null,
      joined: false,
      committed: null,
    })
    await this.#writeState({ copying: [...this.#record.copying, location] })
    this.#setState('copying', null)
    this.#emit({ type: 'table', source: this.name, table: fullName(source), health: 'copying', reason: null })
  }

  #copyRows(event: Extract<SourceEvent, { type: 'copy' }>): void {
    const copy = this.#tables.get(event.table)?.copy
    if (!copy) return
    copy.add(event.segment, event.from, event.to)
    this.#emit({ type: 'copying', source: this.name, table: fullName(copy.source), rows: event.to - event.from })
  }

  async #copied(id: string, floor: Position, rows: number): Promise<void> {
    const mirrored = this.#tables.get(id)
    const copy = mirrored?.copy
    if (!mirrored || !copy) return
    const files = await copy.finish()
    assert(copy.rows === rows, `the copy of ${copy.source.sourceName} has all its rows`)
    const table = new Table(mirrored.source, mirrored.iceberg.schema.fields, this.#pool)
    for (const { file, runPath } of files) {
      const run =
        runPath !== null && table.keySpec ? KeyRun.open(runPath, keyWords(table.keySpec), file.recordCount, false) : null
      table.adopt(new ColdFile(file, run, { frozenAt: 0 }))
    }
    mirrored.table = table
    mirrored.copy = null
    mirrored.floor = floor
    this.#joining.add(mirrored)
    this.#emit({ type: 'copied', source: this.name, table: fullName(copy.source), rows })
    if (this.#visible.position !== null) this.#advance(this.#visible.commit, this.#visible.position)
  }

  #openFile(iceberg: MirroredTable['iceberg'], source: SourceTable): { writer: FileWriter; runPath: string | null } {
    const uri = `${iceberg.location}/data/${this.#parts.random.uuid()}.parquet`
    const key = keySpecOf(iceberg.schema.fields, source.key)
    const runPath = key ? runPathOf(this.#options.local, iceberg.uuid, uri) : null
    const writer = this.#parts.files.open({
      warehouse: this.#options.warehouse,
      uri,
      fields: iceberg.schema.fields,
      schemaJson: encodeJson(schemaToJson(iceberg.schema)),
      key,
      runPath,
    })
    return { writer, runPath }
  }

  // ---- flush and commit ----------------------------------------------------------------------------------------------------

  /** Waits until no transaction is half applied. What follows in the same turn sees whole commits. */
  async #settled(): Promise<void> {
    while (this.#applying) await this.#applying
  }

  #wantCommit(): void {
    this.#commitWanted = true
    this.#wake?.()
  }

  async #commitLoop(): Promise<void> {
    const { clock } = this.#parts
    while (!this.#closing && !this.#failure) {
      if (!this.#commitWanted && this.#flushWaiters.length === 0) {
        const timer = new AbortController()
        const woken = new Promise<void>((resolve) => (this.#wake = resolve))
        await Promise.race([clock.sleep(this.#options.commit.every, timer.signal), woken])
        timer.abort()
        this.#wake = null
      }
      if (this.#closing) break
      this.#commitWanted = false
      await this.#commitNow()
      this.#dropOldViews()
      await this.#reaper.reap()
    }
  }

  /** One lake commit of what is visible, and the answers to those who asked for it. */
  async #commitNow(): Promise<void> {
    const waiters = this.#flushWaiters.splice(0)
    try {
      await this.#turn(async () => {
        await this.#settled()
        await this.#commit(waiters.length > 0 || this.#closing)
      })
      for (const waiter of waiters) waiter.resolve(this.#record.position)
    } catch (error) {
      for (const waiter of waiters) waiter.reject(asError(error))
      throw error
    }
  }

  async #commit(demanded: boolean): Promise<void> {
    const { clock } = this.#parts
    const { commit, position } = this.#visible
    if (position === null) return
    const started = clock.monotonic()
    const joined = [...this.#tables.values()].filter(
      (mirrored) => mirrored.joined && mirrored.table && mirrored.health === 'streaming',
    )
    const fresh = joined.filter((mirrored) => mirrored.iceberg.metadataLocation === null)
    const dirty = joined.filter((mirrored) => mirrored.table?.dirty)
    const detachedChanged = this.#detached.size !== this.#record.detached.length
    if (dirty.length === 0 && fresh.length === 0 && !detachedChanged) {
      const moved = this.#record.position === null || position !== this.#record.position
      if (!moved || (!demanded && clock.monotonic() - this.#lastCommitAt < idlePositionMs)) return
    }
    await Promise.all(dirty.map((mirrored) => this.#freeze(mirrored, commit)))
    for (const { source } of fresh) await this.#parts.catalog.createNamespace(source.namespace)
    const entries: { mirrored: MirroredTable; plan: TableCommit; iceberg: MirroredTable['iceberg'] }[] = []
    for (const mirrored of new Set([...dirty, ...fresh])) {
      // A table may have been detached while its rows were being written.
      if (mirrored.health !== 'streaming' || !mirrored.table) continue
      const plan = mirrored.table.plan(commit)
      const empty = plan.added.length === 0 && plan.removed.length === 0 && plan.vectors.length === 0
      if (empty && mirrored.iceberg.metadataLocation !== null) {
        this.#settle(mirrored, plan)
        continue
      }
      entries.push({ mirrored, plan, iceberg: mirrored.iceberg })
    }
    const record: SourceRecord = {
      ...this.#record,
      position,
      memo: this.#source.memo(),
      tables: joined
        .filter(({ health }) => health === 'streaming')
        .map(({ source, floor }) => ({ table: source, floor: floor ?? position })),
      detached: [...this.#detached.values()],
      copying: [...this.#tables.values()]
        .filter((mirrored) => !mirrored.joined || mirrored.health === 'copying')
        .map(({ iceberg }) => iceberg.location),
    }
    const result = await this.#landing(record, (states) =>
      commitToLake(this.#parts, {
        source: this.name,
        epoch: this.#options.epoch,
        entries,
        from: this.#record.position,
        to: position,
        timeMs: clock.now(),
        retention: { maxSnapshots, maxAgeMs: this.#options.snapshotAgeMs },
        states,
      }),
    )
    let files = 0
    let rows = 0
    let deletes = 0
    for (const [i, { mirrored, plan }] of entries.entries()) {
      mirrored.iceberg = result.tables[i]
      mirrored.committed = position
      files += plan.added.length
      rows += plan.added.reduce((sum, file) => sum + file.recordCount, 0)
      deletes += plan.vectors.reduce((sum, vector) => sum + vector.cardinality, 0)
      this.#settle(mirrored, plan)
    }
    this.#reaper.later(result.unreferenced)
    this.#source.acknowledge(position)
    this.#lastCommitAt = clock.monotonic()
    this.#emit({
      type: 'committed',
      source: this.name,
      position,
      tables: entries.length,
      files,
      rows,
      deletes,
      objects: result.objects + files,
      ms: clock.monotonic() - started,
    })
  }

  #settle(mirrored: MirroredTable, plan: TableCommit): void {
    if (!mirrored.table) return
    const runs = mirrored.table.settled(plan)
    this.#reaper.later(plan.abandoned)
    this.#reaper.local(runs)
  }

  /** Runs a commit whose states are the record; the catalog adds the fence. Adopts the record when it has landed. One at a time. */
  async #landing<T>(record: SourceRecord, commit: (states: readonly StateChange[]) => Promise<T>): Promise<T> {
    const own: StateChange = { key: sourceStateKey(this.name), expected: this.#recordVersion, value: JSON.stringify(record) }
    try {
      const result = await commit([own])
      const stored = await this.#parts.catalog.state(own.key)
      this.#record = record
      this.#recordVersion = stored?.version ?? null
      return result
    } catch (error) {
      if (error instanceof FrazilError && error.kind === 'conflict' && error.code === 'state-changed') {
        throw new FrazilError('fenced', 'taken-over', 'another frazil process has taken over this lake', { cause: error })
      }
      throw error
    }
  }

  /** Changes the state record outside a lake commit. */
  async #writeState(change: Partial<SourceRecord>): Promise<void> {
    await this.#turn(async () => {
      await this.#landing({ ...this.#record, ...change }, (states) => this.#parts.catalog.commit({ tables: [], states }))
    })
  }

  /** Whatever writes the state record takes turns. */
  async #turn(work: () => Promise<void>): Promise<void> {
    const run = this.#recordTurn.then(work)
    this.#recordTurn = run.catch(() => undefined)
    await run
  }

  /** Writes a table's hot rows up to source commit `commit` to a staged file. */
  async #freeze(mirrored: MirroredTable, commit: number): Promise<void> {
    const { table, iceberg, source } = mirrored
    const frozen = table?.freeze(commit)
    if (!table || !frozen) return
    const { clock } = this.#parts
    const started = clock.monotonic()
    const { writer, runPath } = this.#openFile(iceberg, source)
    const parts = frozen.frozen.parts.map(({ segment, from, to }) => ({ segment: segment.share(), from, to }))
    let file
    try {
      await writer.append(parts, frozen.frozen.commit)
      file = await writer.finish()
    } catch (error) {
      await writer.abort().catch(() => undefined)
      throw error
    }
    if (mirrored.table !== table) return
    table.written(frozen.range, { file, runPath })
    if (!file) return
    this.#emit({
      type: 'staged',
      source: this.name,
      table: fullName(source),
      rows: file.recordCount,
      bytes: file.fileSize,
      ms: clock.monotonic() - started,
    })
  }

  /** The pool has refused an allocation: make room by staging whatever is applied. */
  #onPressure(): void {
    for (const { copy } of this.#tables.values()) copy?.handOver()
    if (this.#staging || this.#closing) return
    this.#emit({ type: 'pressure', action: 'staging', used: this.#pool.used })
    this.#staging = (async () => {
      // Not in the middle of the allocation that asked.
      await Promise.resolve()
      await this.#settled()
      const { commit } = this.#visible
      await Promise.all([...this.#tables.values()].map((mirrored) => this.#freeze(mirrored, commit)))
    })()
      .catch((error: unknown) => this.#fail(asError(error)))
      .finally(() => {
        this.#staging = null
      })
  }

  // ---- tables that cannot go on --------------------------------------------------------------------------------------------

  /** Ends a table with a reason: the others go on, unless the user wants everything to stop. */
  async #detach(id: string, error: FrazilError): Promise<void> {
    const mirrored = this.#tables.get(id)
    const name = mirrored ? fullName(mirrored.source) : id
    this.#emit({
      type: 'error',
      kind: error.kind,
      code: error.code,
      message: error.message,
      hint: error.hint ?? null,
      source: this.name,
      table: name,
    })
    if (this.#options.onError === 'stop') throw error
    if (!mirrored || mirrored.health === 'detached') return
    const reason = error.hint ? `${error.message} ${error.hint}` : error.message
    this.#setHealth(mirrored, 'detached', reason)
    await mirrored.copy?.abort()
    mirrored.copy = null
    const entry: DetachedTable = {
      id,
      namespace: mirrored.source.namespace,
      name: mirrored.source.name,
      position: mirrored.committed,
      reason,
    }
    this.#detached.set(id, entry)
    // Rows that no lake commit has are given up: what stays is the table as of its last one.
    mirrored.table?.close()
    mirrored.table = null
    mirrored.joined = false
    this.#joining.delete(mirrored)
    this.#touched.delete(mirrored)
    this.#tables.delete(id)
    if (mirrored.iceberg.metadataLocation === null) this.#tables.set(id, mirrored)
    else await this.#openDetached(entry)
    this.#wantCommit()
  }

  // ---- views and look-ups --------------------------------------------------------------------------------------------------

  async names(): Promise<{ namespace: string; name: string }[]> {
    return [...this.#tables.values()].map(({ source }) => ({ namespace: source.namespace, name: source.name }))
  }

  #find(namespace: string, name: string): MirroredTable & { table: Table } {
    for (const mirrored of this.#tables.values()) {
      if (mirrored.source.namespace !== namespace || mirrored.source.name !== name) continue
      if (mirrored.joined && mirrored.table) return { ...mirrored, table: mirrored.table }
      const why = mirrored.health === 'detached' ? `has no rows in the lake: ${mirrored.reason ?? ''}` : 'is still being copied'
      throw new FrazilError('unavailable', 'table-not-ready', `the table ${namespace}.${name} ${why}`, {
        table: `${namespace}.${name}`,
      })
    }
    throw new FrazilError('request', 'unknown-table', `there is no table ${namespace}.${name}`)
  }

  async views(names: readonly { namespace: string; name: string }[]): Promise<PipelineViews> {
    this.#check()
    await this.#settled()
    if (this.#views.size >= maxViews)
      throw new FrazilError('unavailable', 'too-many-views', 'too many queries hold views of this source')
    const found = names.map(({ namespace, name }) => this.#find(namespace, name))
    const { commit, position } = this.#visible
    const rows = found.map(({ table }) => table.view(commit))
    const tables = found.map(({ source, iceberg, health, reason }, i): TableView => {
      const { hot, files } = rows[i]
      return {
        namespace: source.namespace,
        name: source.name,
        fields: iceberg.schema.fields,
        commit,
        hot: hot.map(({ segment, from, to }) => ({ segment: segment.share(), from, to })),
        files: files.map((file) => ({ ...file, path: localPath(file.path) })),
        ...(health === 'detached' ? { detached: reason ?? '' } : {}),
      }
    })
    const id = this.#nextView++
    this.#views.set(id, { rows, expires: this.#parts.clock.monotonic() + maxViewAgeMs })
    return { id, tables, position }
  }

  release(id: number): void {
    const view = this.#views.get(id)
    if (!view) return
    this.#views.delete(id)
    for (const rows of view.rows) rows.release()
  }

  #dropOldViews(): void {
    const now = this.#parts.clock.monotonic()
    for (const [id, view] of this.#views) if (view.expires < now) this.release(id)
  }

  async keyColumns(namespace: string, name: string): Promise<string[]> {
    const { source } = this.#find(namespace, name)
    return source.key.kind === 'columns' ? source.key.columns.map((i) => source.fields[i].name) : []
  }

  async lookup(namespace: string, name: string, key: Readonly<Record<string, unknown>>): Promise<LookupAnswer> {
    this.#check()
    await this.#settled()
    const { table } = this.#find(namespace, name)
    return readKeyedRow(table, key, this.#parts.store)
  }

  head(): Promise<Position> {
    this.#check()
    return this.#source.head()
  }

  async wait(position: Position, timeoutMs: number): Promise<void> {
    this.#check()
    await this.#visible.wait(this.#source.checkPosition(position), timeoutMs)
  }

  flush(): Promise<Position | null> {
    this.#check()
    return new Promise((resolve, reject) => {
      this.#flushWaiters.push({ resolve, reject })
      this.#wake?.()
    })
  }

  async status(): Promise<PipelineStatus> {
    const tables: TableStatus[] = []
    const reasons: string[] = []
    for (const mirrored of this.#tables.values()) {
      const { source, table, health, reason, copy } = mirrored
      const files = table?.files ?? []
      const committed = files.filter((file) => file.committed)
      tables.push({
        database: source.namespace,
        table: source.name,
        source: this.name,
        health,
        reason,
        visible: mirrored.joined && health === 'streaming' ? this.#visible.position : mirrored.committed,
        committed: mirrored.joined && health === 'streaming' ? this.#record.position : mirrored.committed,
        hotRows: table?.hotRows ?? 0,
        stagedRows: files.filter((file) => !file.committed).reduce((sum, file) => sum + file.rows - file.deleted, 0),
        coldRows: committed.reduce((sum, file) => sum + file.rows - file.deleted, 0),
        dataFiles: files.length,
        deletedRows: files.reduce((sum, file) => sum + file.deleted, 0),
        copy: copy ? { rows: copy.rows, estimated: null } : null,
      })
      if (health === 'copying') reasons.push(`the table ${fullName(source)} is being copied`)
    }
    if (this.#state !== 'streaming')
      reasons.push(`the source ${this.name} is ${this.#state}${this.#reason ? `: ${this.#reason}` : ''}`)
    return {
      source: {
        name: this.name,
        type: this.#options.source.type,
        state: this.#state,
        reason: this.#reason,
        position: this.#visible.position,
        committed: this.#record.position,
        lagMs: this.#lagMs,
      },
      tables,
      reasons,
      memoryUsed: this.#pool.used,
    }
  }

  // ---- end -----------------------------------------------------------------------------------------------------------------

  /** Stops reading, commits what is applied, and lets go of everything. */
  async close(): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    await this.#source.close().catch(() => undefined)
    this.#wake?.()
    await this.#intake
    await this.#commits
    await this.#staging
    try {
      if (!this.#failure) {
        for (const { table, copy } of this.#tables.values()) {
          table?.abort()
          await copy?.abort()
        }
        await this.#commitNow()
      }
    } finally {
      this.#release(new FrazilError('unavailable', 'closed', 'the engine is closing'))
    }
  }

  #fail(error: Error): void {
    if (this.#failure) return
    this.#failure = error
    if (this.#closing) return
    this.#setState('failed', error.message)
    this.#wake?.()
    void this.#source.close().catch(() => undefined)
    this.#visible.end(new FrazilError('unavailable', 'source-failed', `the source ${this.name} has stopped: ${error.message}`))
    for (const waiter of this.#flushWaiters.splice(0)) waiter.reject(error)
    this.#parts.listener.stopped(error)
  }

  #release(error: FrazilError): void {
    this.#setState('stopped', null)
    this.#visible.end(error)
    for (const waiter of this.#flushWaiters.splice(0)) waiter.reject(error)
    for (const id of [...this.#views.keys()]) this.release(id)
    for (const { table } of this.#tables.values()) table?.close()
    this.#tables.clear()
    this.#parts.files.close()
  }

  #check(): void {
    if (this.#closing) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
    if (this.#failure) {
      throw new FrazilError('unavailable', 'source-failed', `the source ${this.name} has stopped: ${this.#failure.message}`)
    }
  }

  #setState(state: PipelineStatus['source']['state'], reason: string | null): void {
    if (this.#state === state && this.#reason === reason) return
    this.#state = state
    this.#reason = reason
    this.#emit({ type: 'source', source: this.name, state, reason })
  }

  #setHealth(mirrored: MirroredTable, health: MirroredTable['health'], reason: string | null): void {
    mirrored.health = health
    mirrored.reason = reason
    this.#emit({ type: 'table', source: this.name, table: fullName(mirrored.source), health, reason })
  }

  #emit(event: EngineEvent): void {
    this.#parts.listener.event(event)
  }
}

function isChange(event: SourceEvent): event is Change {
  const { type } = event
  return type === 'insert' || type === 'upsert' || type === 'update' || type === 'delete' || type === 'truncate'
}

/** Rows after which a long transaction lets other work have a turn. */
const yieldRows = 16_384

async function deleteAll(store: ObjectStore, prefix: string): Promise<void> {
  const uris: string[] = []
  for await (const { uri } of store.list(`${prefix}/`)) uris.push(uri)
  await store.delete(uris)
}
