import { join } from 'node:path'
import { FrazilError, SlabPool, asError } from '../base/index.ts'
import { isChange } from '../data/index.ts'
import type { Change, Position, SourceEvent, SourceTable } from '../data/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { TableView } from '../query/index.ts'
import type { Source, SourceState } from '../source/index.ts'
import { localPath, locationSegment } from '../storage/index.ts'
import { SpillSpace } from '../table/index.ts'
import type { Table } from '../table/index.ts'
import { Committer } from './committer.ts'
import { Compactor } from './compactor.ts'
import { Freshness } from './freshness.ts'
import { FileReaper } from './file-reaper.ts'
import { LakeFollower } from './lake-follower.ts'
import { readKeyedRow } from './lookup.ts'
import { Mirror } from './mirror.ts'
import { fullName, nameTakenError } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import type {
  LookupAnswer,
  PipelineHandle,
  PipelineOptions,
  PipelineParts,
  PipelineStatus,
  PipelineViews,
} from './pipeline-contract.ts'
import { OpenViews } from './open-views.ts'
import { pipelineStatus } from './pipeline-status.ts'
import { Recopies } from './recopies.ts'
import { Room } from './room.ts'
import { SchemaPolicy } from './schema-policy.ts'
import { SourceCommits } from './source-commits.ts'
import { sourceState } from './state-record.ts'
import { Visibility } from './visibility.ts'
import { TableDesk } from './table-desk.ts'
import { Uploads } from './uploads.ts'
import { markedLake, markedRandom } from './writer-mark.ts'
import { noTable, noWork } from './table-work.ts'
import type { Sick, Work } from './table-work.ts'

/** Shares of `memory` that the slab pool may hand out, and that filters of key runs may take before they take of that; the rest: messages. */
const [poolShare, filterShare] = [0.75, 0.125]
/** A commit is due at the latest when hot rows fill this share of the pool. */
const commitShare = 1 / 3

/**
 * One source with its tables: takes the source's events, applies each source commit as a whole, answers views and look-ups, and
 * has a committer bring what is visible into the lake. It runs in one thread and owns everything in it; whether that is the main
 * thread or a worker, it does not know.
 *
 * Intake and committer take turns at every `await`; whoever must not see a half-applied source commit: {@link SourceCommits}.
 */
export class Pipeline implements PipelineHandle {
  readonly name: string
  readonly #options: PipelineOptions
  readonly #parts: PipelineParts
  readonly #pool: SlabPool
  readonly #spill: SpillSpace
  readonly #source: Source
  readonly #visible: Visibility
  readonly #changes: SourceCommits
  readonly #mirror: Mirror
  readonly #committer: Committer
  readonly #compactor: Compactor
  readonly #room: Room
  readonly desk: TableDesk
  #nextSegment = 1
  #state: PipelineStatus['source']['state'] = 'starting'
  readonly #freshness: Freshness
  readonly #schemaPolicy: SchemaPolicy
  readonly #recopies: Recopies
  readonly #views: OpenViews
  #closing: Promise<void> | null = null
  #failure: Error | null = null
  #started = false
  /** Aborted when the pipeline ends, to cut short what it waits for. */
  readonly #ending = new AbortController()
  #intake: Promise<void> = Promise.resolve()
  #commits: Promise<void> = Promise.resolve()
  #compacting: Promise<void> = Promise.resolve()

  private constructor(options: PipelineOptions, given: PipelineParts) {
    this.name = options.name
    this.#options = options
    this.#schemaPolicy = new SchemaPolicy(options.source.type === 'http' ? {} : options.tables)
    const mark = { lake: markedLake(options.lakeId), epoch: options.epoch }
    const parts = { ...given, random: markedRandom(given.random, mark), tables: options.tables }
    this.#parts = parts
    const { clock } = parts
    const emit = (event: EngineEvent): void => this.#emit(event)
    this.#freshness = new Freshness(clock)
    this.#views = new OpenViews(clock, options.queryTimeout)
    this.#pool = new SlabPool({ budget: Math.floor(options.memory * poolShare), beside: options.memory * filterShare })
    this.#pool.onPressure = () => this.#room.press()
    this.#source = parts.openSource({
      pool: this.#pool,
      clock,
      nextSegmentId: () => this.#nextSegment++,
      currentCommit: () => this.#visible.commit,
      deletable: (table) => table.key.kind !== 'none',
      onSchemaChange: (table) => options.tables[fullName(table)]?.onSchemaChange ?? null,
    })
    this.#visible = new Visibility((a, b) => this.#source.reached(a, b), clock)
    this.#changes = new SourceCommits({
      visible: this.#visible,
      clock,
      ending: this.#ending.signal,
      fail: (error) => this.#fail(error),
    })
    const { warehouse, local } = options
    this.#spill = new SpillSpace(join(local, 'spill', locationSegment(options.name)))
    this.#mirror = new Mirror({
      ...parts,
      source: options.name,
      warehouse,
      local,
      emit,
      memory: {
        pool: this.#pool,
        space: this.#spill,
        nextSegmentId: () => this.#nextSegment++,
        room: () => this.#room.wait(),
      },
    })
    const reaper = new FileReaper(options.name, { ...parts, emit })
    const applying = (): Promise<void> | null => this.#changes.underWay
    const done = (): void => undefined
    const alone = (work: Work): Promise<number> => this.#changes.apply(null, done, (number) => work(number, noTable))
    const follower = new LakeFollower({
      ...parts,
      source: options.name,
      warehouse,
      local,
      mirror: this.#mirror,
      hands: () => this.#committer,
      alone,
      detach: (id, error) => this.#detach(id, error),
      emit,
    })
    const common = { ...parts, mirror: this.#mirror, reaper, follower, applying, emit }
    this.#committer = new Committer(
      {
        source: options.name,
        sourceType: options.source.type,
        mark,
        everyMs: options.commit.every,
        history: options.history,
      },
      { ...common, source: this.#source, visible: this.#visible, pool: this.#pool },
    )
    this.#recopies = new Recopies({
      clock,
      ending: this.#ending.signal,
      again: this.#mirror.arrivals.again,
      recopy: (table) => this.#source.recopy(table),
      remember: () => this.#committer.rememberAgain(),
      tell: (id, error) => void this.#tellError(id, error),
    })
    const shared = { ...common, committer: this.#committer }
    this.#compactor = new Compactor({ source: options.name, warehouse, local, ...options.compaction }, shared)
    const uploads = new Uploads({ ...shared, warehouse, local, folders: options.uploads, alone })
    this.desk = new TableDesk({ ...shared, uploads, source: this.#source, visible: this.#visible, ending: this.#ending.signal })
    this.#room = new Room({
      source: options.name,
      memory: options.memory,
      clock,
      pool: this.#pool,
      mirror: this.#mirror,
      committer: this.#committer,
      ending: this.#ending.signal,
      applying: () => this.#changes.underWay !== null,
      dropOldViews: () => this.#views.dropOld(),
      emit,
      fail: (error) => this.#fail(asError(error)),
    })
  }

  /** Reads the lake's state of the source and brings its tables back. Resolves when the source has given its first events. */
  static async start(options: PipelineOptions, parts: PipelineParts): Promise<Pipeline> {
    const pipeline = new Pipeline(options, parts)
    let state: SourceState | null
    try {
      state = await pipeline.#recover()
    } catch (error) {
      pipeline.#mirror.close()
      await pipeline.#source.close().catch(() => undefined)
      throw error
    }
    const begun = Promise.withResolvers<void>()
    pipeline.#intake = pipeline.#takeIn(state, begun.resolve).catch((error: unknown) => {
      begun.reject(error)
      pipeline.#fail(asError(error))
    })
    pipeline.#commits = pipeline.#committer.run().catch((error: unknown) => pipeline.#fail(asError(error)))
    pipeline.#compacting = pipeline.#compactor.run().catch((error: unknown) => pipeline.#fail(asError(error)))
    try {
      await begun.promise
    } catch (error) {
      await pipeline.close()
      throw error
    }
    pipeline.#started = true
    // What failed in between nobody has been told yet.
    if (pipeline.#failure) parts.listener.stopped(pipeline.#failure)
    return pipeline
  }

  async #recover(): Promise<SourceState | null> {
    if (!(await this.#committer.recover())) return null
    const { record } = this.#committer
    const again = new Set(record.again)
    await this.#mirror.recover(record, (source, error) => {
      this.#tellError(fullName(source), error)
      if (this.#options.onError === 'stop' && !again.has(fullName(source))) throw error
      return this.desk.pushedName(source)
    })
    if (record.position !== null) this.#visible.advance(0, record.position)
    for (const name of again) this.#mirror.arrivals.again.add(name)
    const { detached } = this.#mirror
    const gone = new Set(detached.map(({ id }) => id))
    const tables = record.tables.filter(({ table }) => !gone.has(table.id))
    return sourceState({ ...record, tables, detached }, await this.#mirror.recoverCopies(record, this.#reached))
  }

  // ---- intake --------------------------------------------------------------------------------------------------------------

  async #takeIn(state: SourceState | null, begun: () => void): Promise<void> {
    const commitBytes = Math.min(this.#options.commit.bytes, this.#pool.budget * commitShare)
    for await (const events of this.#source.open(state)) {
      begun()
      let commits = 0
      let rows = 0
      this.#mirror.foresee(events)
      for (const event of events) {
        if (isChange(event)) {
          this.#mirror.change(event)
        } else if (event.type === 'table' && !event.copying) {
          await this.#reshape(event)
        } else if (event.type === 'commit') {
          rows += await this.#apply(event)
          commits++
        } else {
          await this.#take(event)
        }
      }
      if (commits === 0) continue
      this.#emit({ type: 'applied', source: this.name, commits, rows, bytes: 0, lagMs: this.#freshness.latencyMs })
      // What a commit is writing is in the pool until it is written.
      if (this.#pool.used >= commitBytes && !this.#committer.busy) this.#committer.want()
    }
    if (!this.#closing) throw new FrazilError('unavailable', 'source-ended', `the source ${this.name} has ended`)
  }

  async #reshape(event: SourceEvent & { type: 'table' }): Promise<void> {
    const { id } = event.table
    const refusal = this.#schemaPolicy.refusal(this.#mirror.tables, event.table)
    if (!refusal) return this.#mirror.change(event)
    this.#condemn(id, refusal)
    // A copy that was asked for would go on without this shape; it is asked for again.
    await this.#mirror.arrivals.cancel(id)
    await this.#reopen(id)
  }

  async #take(event: Exclude<SourceEvent, Change | { type: 'commit' }>): Promise<void> {
    switch (event.type) {
      case 'abort':
        this.#mirror.abort()
        return
      case 'rollback':
        this.#mirror.rollback(event.transaction, event.part, event.table)
        return
      case 'progress':
        this.#freshness.complete()
        await this.#reach(event.position)
        return
      case 'table': {
        if (await this.#mirror.nameTaken(event.table)) {
          this.#condemn(event.table.id, nameTakenError(event.table))
          this.#committer.want()
          return
        }
        const arriving = await this.#mirror.beginCopy(event.table, event.copying ?? { estimatedRows: null }, this.#reached)
        if (arriving === null) return
        if (this.#state === 'starting') this.#setState('copying')
        await this.#committer.rememberCopy(arriving.folder)
        await arriving.remember()
        return
      }
      case 'copying-from':
        this.#mirror.arrivals.tellFloor(event.table, event.floor)
        return
      case 'copy':
        this.#mirror.arrivals.copyRows(event)
        return
      case 'copied-part':
        this.#mirror.arrivals.endPart(event)
        return
      case 'copied':
        await this.#mirror.arrivals.end(event.table, event.floor, event.rows, this.#reached)
        if (this.#visible.position !== null) await this.#reach(this.#visible.position)
        return
      case 'failed': {
        const copy = event.copying ? this.#mirror.arrivals.get(event.table) : undefined
        await this.#mirror.arrivals.cancel(event.table)
        if (copy?.replaces) this.#spare(copy.next.source, event.error)
        else this.#condemn(event.table, event.error, event.copying)
        await this.#reopen(event.table)
        return
      }
      case 'streaming':
        await this.#mirror.arrivals.forgetInterrupted()
        this.#setState('streaming')
        return
      default:
        // Sources with several scopes do not exist yet.
        return
    }
  }

  /** Applies a transaction to every table that it touched, then makes it visible at once. Returns its rows. */
  #apply(commit: SourceEvent & { type: 'commit' }): Promise<number> {
    return this.#change(
      commit.position,
      () => this.#freshness.applied(commit.timeMs),
      (number, sick) => this.#mirror.apply(number, commit, this.#committer, sick),
    )
  }

  /** Nothing has happened up to `position`, but copied tables may enter the views there. */
  async #reach(position: Position): Promise<void> {
    if (this.#mirror.arrivals.due(position, this.#reached).length === 0) this.#visible.advance(this.#visible.commit, position)
    else await this.#change(position, () => undefined, noWork)
  }

  readonly #reached = (a: Position, b: Position): boolean => this.#source.reached(a, b)

  /** Does work on the tables and lets those in that are due at `position`; then makes all of it visible at once. */
  async #change(position: Position, done: () => void, work: Work): Promise<number> {
    let rows = 0
    const sick: string[] = []
    const change = async (): Promise<void> => {
      rows = await this.#changes.apply(position, done, (number) => this.#steps(position, number, condemn, work))
    }
    const condemn = (id: string, error: FrazilError): void => {
      this.#condemn(id, error)
      sick.push(id)
    }
    // What is being committed may be what goes.
    if (this.#mirror.arrivals.due(position, this.#reached).some(({ replaces }) => replaces))
      await this.#committer.exclusively(change)
    else await change()
    for (const id of sick) {
      await this.#mirror.arrivals.cancel(id)
      await this.#reopen(id)
    }
    return rows
  }

  *#steps(position: Position, number: number, sick: Sick, work: Work): Generator<Promise<void> | null, number> {
    let rows = yield* work(number, sick)
    if (this.#mirror.arrivals.due(position, this.#reached).length > 0) {
      const at = { position, holds: work === noWork }
      rows += yield* this.#mirror.enter(number, at, this.#reached, this.#committer, sick)
      if (!this.#mirror.arrivals.copying) this.#committer.want() // Others come into the lake together, at the next interval.
    }
    return rows
  }

  #tellError(id: string, { kind, code, message, hint }: FrazilError): MirroredTable | undefined {
    const table = [...this.#mirror.tables].find(({ source }) => source.id === id)
    const name = table ? fullName(table.source) : id
    this.#emit({ type: 'error', kind, code, message, hint: hint ?? null, source: this.name, table: name })
    return table
  }

  /** Ends a table with a reason: the others go on, unless the user wants everything to stop (then it throws). */
  #condemn(id: string, error: FrazilError, copying = false): void {
    const table = this.#tellError(id, error)
    // A table that was left out from the start has nothing to end.
    if (!table) return this.desk.leftOut(id)
    const { source } = table
    const asked = !copying && this.#mirror.arrivals.again.has(fullName(source))
    const helps = asked || this.#schemaPolicy.outgrew(source, error) || (copying && error.kind === 'unavailable')
    if (!this.#recopies.want(id, source, helps) && this.#options.onError === 'stop') throw error
    this.#mirror.condemn(id, error, this.desk.pushedName(source))
    this.desk.closed(id)
  }

  /** Within the committer's turn, which {@link #reopen} waits for. */
  #detach(id: string, error: FrazilError): void {
    this.#condemn(id, error)
    this.#reopen(id).catch((cause: unknown) => this.#fail(asError(cause)))
  }

  /** The copy of a table has failed that the lake has already: what it has of it stays. */
  #spare(source: SourceTable, error: FrazilError): void {
    this.#tellError(source.id, error)
    // Its columns have changed meanwhile, and the next copy has them; or the server could not be reached for too long.
    this.#recopies.want(source.id, source, this.#schemaPolicy.outgrew(source, error) || error.kind === 'unavailable')
  }

  /** Not while a commit is on the way: it may still bring rows of the table into the lake. */
  async #reopen(id: string): Promise<void> {
    await this.#committer.exclusively(() => this.#mirror.reopen(id))
    this.desk.left(id)
    this.#committer.want()
    this.#recopies.start(id)
  }

  // ---- views and look-ups --------------------------------------------------------------------------------------------------

  async names(): Promise<{ namespace: string; name: string; sourceName: string }[]> {
    // It has none any more, and nobody is to believe that there are none.
    if (this.#closing) this.#check()
    return [...this.#mirror.tables].map(({ source: { namespace, name, sourceName } }) => ({ namespace, name, sourceName }))
  }

  async views(names: readonly { namespace: string; name: string }[]): Promise<PipelineViews> {
    while (this.#changes.underWay && !this.#mirror.holds) await this.#changes.underWay
    this.#check()
    this.#views.check()
    const found = names.map(({ namespace, name }) => this.#mirror.find(namespace, name))
    const { commit, position } = this.#visible
    const rows = found.map(({ table }) => table.view(commit))
    const tables = found.map(({ source, table, health, reason }, i): TableView => ({
      namespace: source.namespace,
      name: source.name,
      fields: table.readShape.fields,
      commit,
      hot: rows[i].hot.map(({ segment, from, to }) => ({ segment: segment.share(), from, to })),
      files: rows[i].files.map((file) => ({ ...file, path: localPath(file.path) })),
      ...(health === 'detached' ? { detached: reason ?? '' } : {}),
    }))
    return { id: this.#views.add(rows), tables, position }
  }

  release(id: number): void {
    this.#views.release(id)
  }

  async keyColumns(namespace: string, name: string): Promise<string[]> {
    return [...(await this.desk.describe(namespace, name)).key]
  }

  async lookup(namespace: string, name: string, key: Readonly<Record<string, unknown>>): Promise<LookupAnswer> {
    const find = (): Table => this.#mirror.find(namespace, name).table
    while (this.#changes.underWay && !(this.#mirror.holds && find().canFind)) await this.#changes.underWay
    this.#check()
    return readKeyedRow(find(), key, this.#parts.store)
  }

  async head(): Promise<Position> {
    this.#check()
    return this.#source.head()
  }

  async wait(position: Position, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    this.#check()
    const wanted = this.#source.checkPosition(position)
    if (!this.#visible.has(wanted)) this.#source.reach?.(wanted)
    await this.#visible.wait(wanted, timeoutMs, signal)
  }

  async resync(namespace: string, name: string): Promise<void> {
    this.#check()
    if (this.desk.isSent) return this.desk.attach(namespace, name)
    const known = [...this.#mirror.tables].find(({ source }) => source.namespace === namespace && source.name === name)
    if (!known) throw new FrazilError('request', 'unknown-table', `there is no table ${namespace}.${name}`)
    await this.#committer.exclusively(() => this.#mirror.reopen(known.source.id))
    await this.#mirror.checkReadable(known.source.id)
    await this.#recopies.ask(known.source.id, { namespace, name })
  }

  async optimize(namespace: string, name: string): Promise<void> {
    this.#check()
    await this.#compactor.optimize(namespace, name)
  }

  async flush(): Promise<Position | null> {
    this.#check()
    return this.#committer.flush()
  }

  async status(): Promise<PipelineStatus> {
    const committed = this.#committer.record.position
    return pipelineStatus(
      {
        name: this.name,
        type: this.#options.source.type,
        state: this.#state,
        reason: this.#failure?.message ?? this.#source.trouble ?? this.#committer.trouble,
        position: this.#visible.position,
        committed,
        ...this.#freshness.status(this.#source.lag?.(this.#visible.position, committed) ?? null),
      },
      this.#mirror.status(this.#visible.position, committed),
      this.#pool.used + this.#pool.held,
    )
  }

  // ---- end -----------------------------------------------------------------------------------------------------------------

  /** Stops reading, commits what is applied, and lets go of everything. */
  close(): Promise<void> {
    this.#ending.abort()
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    // Whoever asked first sees `#closing` set when this goes on.
    await Promise.resolve()
    try {
      this.#source.stop()
      this.#committer.end()
      this.#compactor.end()
      await this.#parts.uploader.close()
      await this.#intake
      await this.#commits
      await this.#compacting
      await this.#mirror.stop()
      if (!this.#failure) await this.#committer.finish()
    } finally {
      // Only now: the last commit is acknowledged as well.
      await this.#source.close().catch(() => undefined)
      const error = new FrazilError('unavailable', 'closed', 'the engine is closing')
      this.#committer.fail(error)
      this.#visible.end(error)
      // What it writes is pinned until it is written.
      await this.#room.rest()
      this.#views.releaseAll()
      this.#mirror.close()
      this.#spill.close()
      this.#parts.files.close()
      this.#parts.compactions.close()
      await this.#parts.catalog.close()
      this.#setState('stopped')
    }
  }

  #fail(error: Error): void {
    if (this.#failure) return
    this.#failure = error
    this.#ending.abort()
    this.#committer.fail(error)
    this.#compactor.end()
    this.#visible.end(new FrazilError('unavailable', 'source-failed', `the source ${this.name} has stopped: ${error.message}`))
    if (this.#closing) return
    this.#setState('failed')
    this.#source.close().catch(() => undefined)
    if (this.#started) this.#parts.listener.stopped(error)
  }

  #check(): void {
    if (this.#closing) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
    if (!this.#failure) return
    throw new FrazilError('unavailable', 'source-failed', `the source ${this.name} has stopped: ${this.#failure.message}`)
  }

  #setState(state: PipelineStatus['source']['state']): void {
    if (this.#state === state) return
    this.#state = state
    this.#emit({ type: 'source', source: this.name, state, reason: this.#failure?.message ?? null })
  }

  #emit(event: EngineEvent): void {
    this.#parts.listener.event(event)
  }
}
