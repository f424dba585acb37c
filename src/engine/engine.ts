import { join } from 'node:path'
import { FrazilError, asError, systemClock, systemRandom } from '../base/index.ts'
import type { Position } from '../data/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import { EventBus, Metrics } from '../observe/index.ts'
import type { PushReceipt, PushRequest } from '../source/index.ts'
import { isNamespaceOfSql, openDuckDb } from '../query/index.ts'
import type { QueryAnswer, SqlEngine } from '../query/index.ts'
import { LocalStore } from '../storage/index.ts'
import type { Config } from './config.ts'
import type {
  AddedTable,
  Durability,
  Engine,
  EngineQuery,
  EngineStatus,
  NewTable,
  PushAnswer,
  RowToStore,
  TableDescription,
  TableFromRows,
  TableToAdd,
  UploadReceipt,
  UploadRequest,
} from './contract.ts'
import { sourceOfAdded } from './added-tables.ts'
import { pipelineAt, tellOfLeftTables } from './from-postgres.ts'
import { catalogPath, lakeIdentity, makeFolder } from './lake.ts'
import { acquireLease, lossOf } from './lease.ts'
import type { Lease } from './lease.ts'
import { otlpTableSettings } from './otlp-config.ts'
import type { LookupAnswer, PipelineHandle, PipelineListener, PipelineOptions, PipelineSource } from './pipeline-contract.ts'
import { WorkerPipeline } from './pipeline-host.ts'
import { absent } from './pipeline-status.ts'
import { startPipeline } from './pipeline-parts.ts'
import { readAnew, reactionTo } from './policy.ts'
import { claimLocal } from './recovery.ts'
import { RowGroups } from './row-groups.ts'
import { longestQueryMs } from './open-views.ts'
import { pipelineSource, pushSource } from './sources.ts'
import { ProcessThreads, processSql } from './process-threads.ts'
import { sourceStateKey } from './state-record.ts'
import { TableOwners } from './table-owners.ts'
import { TablesFromRows } from './tables-from-rows.ts'

/** How long `wait` waits unless told otherwise. */
const defaultWaitMs = 30_000
/** Waits before a source that was unavailable is read again; doubled each time, without end. */
const firstRestartMs = 1_000
const longestRestartMs = 60_000
/** Drafts of files that were not touched for so long were left by a process that died. */
const unfinishedMs = 3_600_000
/** Share of `memory` that the first table for rows from programs takes beside the other sources. */
const pushMemoryShare = 1 / 8
const leastPushMemory = 16e6

export interface EngineOptions {
  /** Displaces a live process that holds the lake. */
  readonly takeOver?: boolean
  /** Gets everything that happens; a new one unless given. */
  readonly events?: EventBus
  /** Collects the process's own metrics too (memory, event loop); for one engine of a process. */
  readonly processMetrics?: boolean
}

/**
 * Opens a lake and mirrors its sources into it. Resolves when every source is connected and its tables are being read; the
 * initial copies go on behind it ({@link Engine.status}).
 *
 * Throws `config` for everything a person has to change first: a lake that another process holds, a server that refuses.
 */
export async function openEngine(config: Config, options: EngineOptions = {}): Promise<Engine> {
  const engine = new RunningEngine(config, options)
  try {
    await engine.start()
  } catch (error) {
    await engine.close().catch(() => undefined)
    throw error
  }
  return engine
}

class RunningEngine implements Engine {
  readonly stopped: Promise<Error | null>
  readonly #config: Config
  readonly #options: EngineOptions
  readonly #events: EventBus
  readonly #metrics: Metrics
  #catalog: Catalog | null = null
  #lease: Lease | null = null
  #threads: ProcessThreads | null = null
  #sql: SqlEngine | null = null
  readonly #pipelines = new Map<string, PipelineHandle>()
  #start: (name: string, source: PipelineSource, memory: number) => Promise<void> = async () => undefined
  /** The pipeline for rows that programs send, while it is being started. */
  #pushStarting: Promise<void> | null = null
  readonly #rowGroups = new RowGroups(async (request) => this.#pushed().desk.push(request))
  readonly #tablesFromRows = new TablesFromRows((table) => this.createTable(table))
  readonly #stopping = new AbortController()
  readonly #owners = new TableOwners(this.#pipelines)
  #closing: Promise<void> | null = null
  #stop: (reason: Error | null) => void = () => undefined

  constructor(config: Config, options: EngineOptions) {
    this.#config = config
    this.#options = options
    this.#events = options.events ?? new EventBus()
    this.#metrics = new Metrics(this.#events, { process: options.processMetrics ?? false })
    this.stopped = new Promise((resolve) => (this.#stop = resolve))
  }

  async start(): Promise<void> {
    const { warehouse, local } = this.#config
    // Refuses a location that readers could not open, before anything is made.
    const store = new LocalStore(warehouse)
    await makeFolder(warehouse)
    const catalog = await SqliteCatalog.open(catalogPath(warehouse))
    this.#catalog = catalog
    this.#lease = await acquireLease({
      catalog,
      clock: systemClock,
      takeOver: this.#options.takeOver ?? false,
    })
    const { epoch, fence } = this.#lease
    this.#events.emit({ type: 'lease', state: 'acquired', holder: `pid ${process.pid}` })
    this.#lease.lost.then(
      (error) => this.#fail(error),
      () => undefined,
    )
    await store.removeUnfinished(unfinishedMs)
    const lakeId = await lakeIdentity(catalog, systemRandom)
    await makeFolder(local)
    claimLocal(local, lakeId)
    const threads = new ProcessThreads((error) => this.#tellError(null, error))
    this.#threads = threads
    this.#sql = openDuckDb(
      {
        memoryBytes: this.#config.query.memory,
        threads: this.#config.query.threads,
        tempDirectory: join(local, 'spill'),
        fileDirectories: [warehouse],
      },
      this.#owners,
      processSql,
    )
    const sources: Record<string, PipelineSource> = Object.fromEntries(
      Object.entries(this.#config.sources).map(([name, source]) => [name, pipelineSource(source, this.#config.auth.tokens)]),
    )
    await tellOfLeftTables(catalog, this.#config, this.#events)
    const isPushed = Object.keys(sources).length === 0 || (await catalog.state(sourceStateKey(pushSource))) !== null
    if (isPushed) sources[pushSource] = { type: 'http' }
    const memory = Math.floor(this.#config.memory / Object.keys(sources).length)
    this.#start = (name, source, memory) =>
      this.#startPipeline(
        {
          name,
          source,
          warehouse,
          catalogPath: catalogPath(warehouse),
          local,
          lakeId,
          epoch,
          fence,
          memory,
          commit: this.#config.commit,
          queryTimeout: this.#config.query.timeout,
          history: this.#config.history,
          compaction: this.#config.compaction,
          uploads: this.#config.http.upload,
          withAdded: this.#config.http.fromPostgres.includes(name),
          onError: this.#config.onError,
          tables: source.type === 'otlp' ? otlpTableSettings(name, this.#config.tables) : this.#config.tables,
        },
        threads,
      )
    const started = await Promise.allSettled(Object.entries(sources).map(([name, source]) => this.#start(name, source, memory)))
    for (const result of started) if (result.status === 'rejected') throw result.reason
  }

  async #startPipeline(options: PipelineOptions, threads: ProcessThreads): Promise<void> {
    const listener: PipelineListener = {
      event: (event) => {
        if (event.type === 'table') this.#owners.changed()
        this.#events.emit(event)
      },
      stopped: (error) => {
        void this.#sourceStopped(options, threads, error)
      },
    }
    const ports = threads.connect()
    const pipeline =
      this.#config.pipelines === 'worker'
        ? await WorkerPipeline.start(options, ports, listener)
        : await startPipeline(options, ports, listener)
    if (this.#closing) {
      await pipeline.close()
      throw new FrazilError('unavailable', 'closed', 'the engine is closing')
    }
    this.#pipelines.set(options.name, pipeline)
    this.#owners.changed()
  }

  /** A pipeline has ended by itself. Never throws. */
  async #sourceStopped(options: PipelineOptions, threads: ProcessThreads, error: Error): Promise<void> {
    const told = await this.#causeOf(error)
    let failure = told
    this.#tellError(options.name, failure)
    for (let attempt = 1; reactionTo(failure) === 'restart' && !this.#closing; attempt++) {
      const delayMs = Math.min(firstRestartMs * 2 ** (attempt - 1), longestRestartMs)
      const code = failure instanceof FrazilError ? failure.code : 'bug'
      this.#events.emit({ type: 'retry', what: 'source', source: options.name, attempt, delayMs, code, message: failure.message })
      await systemClock.sleep(delayMs, this.#stopping.signal)
      if (this.#closing) return
      try {
        // What failed may fail its end as well, every time: it has let go of everything nevertheless.
        await this.#pipelines
          .get(options.name)
          ?.close()
          .catch(() => undefined)
        await this.#startPipeline(options, threads)
        return
      } catch (again) {
        failure = await this.#causeOf(asError(again))
      }
    }
    if (this.#closing) return
    if (failure !== told) this.#tellError(options.name, failure)
    const alone = this.#pipelines.size === 1
    if (reactionTo(failure) === 'stop' || alone || this.#config.onError === 'stop') this.#fail(failure)
  }

  /** That the lake was taken over, if it was: the next owner moves the slot and removes local files, and nothing else is wrong. */
  async #causeOf(error: Error): Promise<Error> {
    if (!this.#catalog || !this.#lease) return error
    return (await lossOf(this.#catalog, this.#lease.fence).catch(() => null)) ?? error
  }

  #tellError(source: string | null, error: Error): void {
    const known = error instanceof FrazilError ? error : null
    this.#events.emit({
      type: 'error',
      kind: known?.kind ?? 'bug',
      code: known?.code ?? 'bug',
      message: known ? error.message : (error.stack ?? error.message),
      hint: known?.hint ?? null,
      source,
      table: known?.table ?? null,
    })
  }

  #fail(error: Error): void {
    if (this.#closing) return
    if (this.#lease && error instanceof FrazilError && error.kind === 'fenced') {
      this.#events.emit({ type: 'lease', state: 'lost', holder: `pid ${process.pid}` })
    }
    this.#stop(error)
  }

  // ---- queries -------------------------------------------------------------------------------------------------------------

  async execute(sql: string, options: EngineQuery = {}): Promise<QueryAnswer> {
    if (!this.#sql || this.#closing) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
    const { timeout } = this.#config.query
    const started = systemClock.monotonic()
    const owners = this.#owners.all()
    try {
      await this.#wait(options)
      const answer = await readAnew(
        this.#sql,
        () => this.flush(),
        (engine) =>
          engine.query(
            {
              sql,
              params: options.params,
              format: options.format ?? 'json',
              numbersAsStrings: options.numbersAsStrings,
              // What it reads is not kept for longer.
              timeoutMs: Math.min(options.timeoutMs ?? timeout, longestQueryMs(timeout)),
              mayRead: options.mayRead,
            },
            options.signal,
          ),
      )
      this.#events.emit({
        type: 'query',
        ms: systemClock.monotonic() - started,
        rows: answer.rowCount,
        bytes: answer.body.length,
        files: answer.files,
        code: null,
      })
      return answer
    } catch (thrown) {
      const error = await this.#owners.known(thrown, owners)
      const code = error instanceof FrazilError ? error.code : 'bug'
      this.#events.emit({ type: 'query', ms: systemClock.monotonic() - started, rows: 0, bytes: 0, files: null, code })
      throw error
    }
  }

  async #wait({ wait, waitTimeoutMs, signal }: EngineQuery): Promise<void> {
    if (wait === undefined) return
    const timeout = waitTimeoutMs ?? defaultWaitMs
    if (wait === 'now') {
      await Promise.all(
        [...this.#pipelines.values()].map(async (pipeline) => pipeline.wait(await pipeline.head(), timeout, signal)),
      )
      return
    }
    await Promise.all(
      Object.entries(wait).map(([name, position]) => {
        const pipeline = this.#pipelines.get(name)
        if (!pipeline) throw new FrazilError('request', 'unknown-source', `there is no source ${name} to wait for`)
        return pipeline.wait(position, timeout, signal)
      }),
    )
  }

  async lookup(database: string, table: string, key: Readonly<Record<string, unknown>>): Promise<LookupAnswer> {
    return readAnew(
      await this.#owners.of(database, table),
      () => this.flush(),
      (owner) => owner.lookup(database, table, key),
    )
  }

  async keyColumns(database: string, table: string): Promise<readonly string[]> {
    return (await this.#owners.of(database, table)).keyColumns(database, table)
  }

  async resync(database: string, table: string): Promise<'copying' | 'streaming'> {
    const owner = await this.#owners.of(database, table).catch((error: unknown) => {
      // One of OpenTelemetry whose name another table had.
      const pipeline = this.#config.sources[database]?.type === 'otlp' ? this.#pipelines.get(database) : undefined
      if (pipeline) return pipeline
      throw error
    })
    await owner.resync(database, table)
    this.#owners.changed()
    return this.#typeOf(owner.name) === 'postgres' ? 'copying' : 'streaming'
  }

  async optimize(database: string, table: string): Promise<void> {
    await (await this.#owners.of(database, table)).optimize(database, table)
  }

  // ---- rows from programs ------------------------------------------------------------------------------------------------

  async describe(database: string, table: string): Promise<TableDescription> {
    return (await this.#owners.of(database, table)).desk.describe(database, table)
  }

  async ingestTable(ingest: string): Promise<{ readonly namespace: string; readonly name: string } | null> {
    return this.#owners.sentTo(ingest)
  }

  async createTable(table: NewTable): Promise<void> {
    const { namespace } = table
    const { names } = await this.#owners.all()
    const pushed = this.#pipelines.get(pushSource)
    const own = pushed ? await pushed.names() : []
    const isForeign = (one: { readonly namespace: string; readonly name: string }): boolean =>
      one.namespace === namespace && !own.some((mine) => mine.namespace === namespace && mine.name === one.name)
    if (isNamespaceOfSql(namespace)) {
      throw new FrazilError(
        'conflict',
        'namespace-taken',
        `the database ${namespace} is one of SQL itself: no query could name the table`,
        {
          hint: 'Make the table in another database.',
        },
      )
    }
    if (Object.hasOwn(this.#config.sources, namespace) || names.some(isForeign)) {
      throw new FrazilError('conflict', 'namespace-taken', `the database ${namespace} belongs to another source`, {
        hint: 'Make the table in another database.',
      })
    }
    await (await this.#pushPipeline()).desk.create(table)
    this.#owners.changed()
  }

  async addFromPostgres(table: TableToAdd, uri: string): Promise<AddedTable> {
    return pipelineAt(this.#config, this.#pipelines, uri).desk.add(table)
  }

  async dropTable(database: string, table: string): Promise<void> {
    await (await this.#ownerOfRemembered(database, table)).desk.drop(database, table)
    this.#owners.changed()
  }

  /** The pipeline of a table; or that to which it was added, though it was gone at the source before it came into the lake. */
  async #ownerOfRemembered(database: string, table: string): Promise<PipelineHandle> {
    try {
      return await this.#owners.of(database, table)
    } catch (error) {
      const source = this.#catalog && (await sourceOfAdded(this.#catalog, `${database}.${table}`))
      const pipeline = source === null ? undefined : this.#pipelines.get(source)
      if (pipeline) return pipeline
      throw error
    }
  }

  async push(request: PushRequest, durability: Durability, create?: TableFromRows): Promise<PushAnswer> {
    const receipt = await (create
      ? this.#tablesFromRows.push(request, create, () => this.#store(request, durability))
      : this.#store(request, durability))
    const { position } = receipt
    if (position === null) return { ...receipt, reached: null }
    if (durability === 'stored') return { ...receipt, reached: 'stored' }
    const pipeline = this.#pushed()
    try {
      await pipeline.wait(position, defaultWaitMs)
    } catch (error) {
      return { ...receipt, reached: lateness(error, 'stored') }
    }
    if (durability === 'visible') return { ...receipt, reached: 'visible' }
    const late = new AbortController()
    const timeout = systemClock.sleep(defaultWaitMs, late.signal).then((): Durability => 'visible')
    const committed = pipeline.flush().then(
      (): Durability => 'committed',
      (error: unknown) => lateness(error, 'visible'),
    )
    try {
      return { ...receipt, reached: await Promise.race([committed, timeout]) }
    } finally {
      late.abort()
    }
  }

  pushRow(table: PushRequest['table'], operation: PushRequest['operation'], row: RowToStore): void {
    // Says what is wrong before any row waits.
    this.#pushed()
    this.#rowGroups.add(table, operation, row)
  }

  async upload(request: UploadRequest): Promise<UploadReceipt> {
    return (await this.#owners.of(request.namespace, request.name)).desk.upload(request)
  }

  async #store(request: PushRequest, durability: Durability): Promise<PushReceipt> {
    const pipeline = this.#pushed()
    const isGrouped = durability === 'stored' && RowGroups.takes(request)
    return isGrouped ? this.#rowGroups.push(request) : pipeline.desk.push(request)
  }

  /** The pipeline for rows that programs send, where there is one. */
  #pushed(): PipelineHandle {
    const pipeline = this.#pipelines.get(pushSource)
    if (pipeline) return pipeline
    if (this.#closing) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
    throw new FrazilError('request', 'unknown-table', 'there is no table yet that takes rows', {
      hint: 'Make one: POST /tables/{name}.',
    })
  }

  /** The pipeline for rows that programs send. A lake that never had any gets one now, with memory of its own until the next start. */
  async #pushPipeline(): Promise<PipelineHandle> {
    if (!this.#pipelines.has(pushSource)) {
      const memory = Math.max(leastPushMemory, Math.floor(this.#config.memory * pushMemoryShare))
      this.#pushStarting ??= this.#start(pushSource, { type: 'http' }, memory).finally(() => (this.#pushStarting = null))
      await this.#pushStarting
    }
    const pipeline = this.#pipelines.get(pushSource)
    if (!pipeline) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
    return pipeline
  }

  // ---- operation -----------------------------------------------------------------------------------------------------------

  async status(): Promise<EngineStatus> {
    const statuses = await Promise.all(
      [...this.#pipelines.values()].map((pipeline) =>
        pipeline.status().catch((error: unknown) => absent(pipeline.name, this.#typeOf(pipeline.name), asError(error))),
      ),
    )
    const reasons = statuses.flatMap((status) => status.reasons)
    const { maxLag, maxLagBytes } = this.#config.ready
    for (const { source } of statuses) {
      const { name, lagMs, lagBytes } = source
      if (maxLag !== null && lagMs !== null && lagMs > maxLag) reasons.push(`the source ${name} lags by ${lagMs} ms`)
      if (maxLagBytes !== null && lagBytes !== null && lagBytes > maxLagBytes) {
        reasons.push(`the source ${name} lags by ${lagBytes} bytes of log`)
      }
    }
    return {
      sources: statuses.map((status) => status.source),
      tables: statuses.flatMap((status) => status.tables),
      memory: { used: statuses.reduce((sum, status) => sum + status.memoryUsed, 0), budget: this.#config.memory },
      ready: reasons.length === 0,
      reasons,
    }
  }

  #typeOf(source: string): PipelineSource['type'] {
    return this.#config.sources[source]?.type ?? 'http'
  }

  async flush(): Promise<Readonly<Record<string, Position>>> {
    const positions: Record<string, Position> = {}
    await Promise.all(
      [...this.#pipelines.values()].map(async (pipeline) => {
        const position = await pipeline.flush()
        if (position !== null) positions[pipeline.name] = position
      }),
    )
    return positions
  }

  async metrics(): Promise<string> {
    return this.#metrics.text(await this.status())
  }

  close(): Promise<void> {
    this.#stopping.abort()
    this.#owners.close()
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    let failure: Error | null = null
    const step = async (work: () => Promise<unknown> | undefined): Promise<void> => {
      try {
        await work()
      } catch (error) {
        failure ??= asError(error)
      }
    }
    await step(() => this.#sql?.close())
    await Promise.all([...this.#pipelines.values()].map((pipeline) => step(() => pipeline.close())))
    await step(() => this.#threads?.close())
    if (this.#lease) {
      await step(() => this.#lease?.release())
      this.#events.emit({ type: 'lease', state: 'released', holder: `pid ${process.pid}` })
    }
    await step(() => this.#catalog?.close())
    this.#metrics.close()
    this.#stop(null)
    if (failure) throw failure as Error
  }
}

/** The rows are stored: whatever keeps them from getting further is no failure of the request. */
function lateness(error: unknown, reached: Durability): Durability {
  if (error instanceof FrazilError && error.kind === 'unavailable') return reached
  throw error
}
