import { FrazilError, asError, longestTimerMs } from '../base/index.ts'
import type { QueryAnswer, QueryRequest, SqlEngine, ViewProvider } from './contract.ts'
import { DuckDbHost, isRunning } from './duckdb-host.ts'
import type { Job, Member } from './duckdb-host.ts'
import type { InstanceSettings, SentParameter } from './messages.ts'
import type { TableName } from './statement.ts'
import { TableNames } from './table-names.ts'
import type { FullName } from './table-names.ts'

export interface DuckDbOptions {
  /** Memory of DuckDB, apart from everything else; bytes. Of engines that share a host, the most that one of them says. */
  readonly memoryBytes: number
  /** The same. */
  readonly threads: number
  /** Where DuckDB may spill; without one, a query beyond the memory fails. Engines that share a host spill into one of theirs. */
  readonly tempDirectory?: string
  /**
   * Folders that the files of views lie in. DuckDB itself then opens nothing outside them; without any, only the check of
   * statements keeps queries from naming files.
   */
  readonly fileDirectories?: readonly string[]
  /** Queries that wait for their turn; past it `unavailable` `too-many-queries`. Default 64. */
  readonly maxWaiting?: number
  /** Largest body of an answer; past it `request` `result-too-large`. Default 64 MiB. */
  readonly maxResultBytes?: number
}

/**
 * SQL over read views by DuckDB in a worker thread, which is that of `host`: its own unless given. Starts with the first query; a worker
 * that dies is replaced at the next. `close` before the process ends: DuckDB aborts a process that ends inside a query.
 */
export function openDuckDb(options: DuckDbOptions, provider: ViewProvider, host = new DuckDbHost()): SqlEngine {
  return new DuckDbEngine(options, provider, host)
}

/** Statements whose tables are kept in mind, and the longest of them, in UTF-16 units. */
const maxKnown = 512
const maxKnownLength = 10_000

/** What of SQL is an engine's own: its tables, its queries, their time-outs. */
class DuckDbEngine implements SqlEngine, Member {
  readonly settings: InstanceSettings
  readonly #provider: ViewProvider
  readonly #host: DuckDbHost
  readonly #maxWaiting: number
  readonly #maxResultBytes: number
  #names: TableNames | null = null
  /** By statement; the ones used last are last. */
  readonly #known = new Map<string, readonly TableName[]>()
  #closed: Promise<void> | null = null

  constructor(options: DuckDbOptions, provider: ViewProvider, host: DuckDbHost) {
    this.#provider = provider
    this.#host = host
    this.#maxWaiting = options.maxWaiting ?? 64
    this.#maxResultBytes = options.maxResultBytes ?? 64 << 20
    this.settings = {
      memoryBytes: options.memoryBytes,
      threads: options.threads,
      tempDirectory: options.tempDirectory ?? null,
      directories: options.fileDirectories ?? [],
    }
    host.join(this)
  }

  async query(request: QueryRequest, signal?: AbortSignal): Promise<QueryAnswer> {
    if (this.#closed) throw closedError()
    if (signal?.aborted) throw cancelledError()
    if (this.#host.waiting(this) >= this.#maxWaiting) {
      throw new FrazilError('unavailable', 'too-many-queries', `${this.#maxWaiting} queries are waiting already`, {
        hint: 'try again in a moment, or send fewer queries at one time',
      })
    }
    const job: Job = {
      query: {
        sql: request.sql,
        params: (request.params ?? []).map(sentParameter),
        format: request.format,
        numbersAsStrings: request.numbersAsStrings ?? false,
        maxResultBytes: this.#maxResultBytes,
      },
      mayRead: request.mayRead,
      done: Promise.withResolvers(),
      place: null,
      sent: false,
      views: null,
      stopped: false,
    }
    const stop = (): void => this.#host.stop(job, timeoutError(request.timeoutMs))
    const timer = setTimeout(stop, Math.min(request.timeoutMs, longestTimerMs))
    const onAbort = (): void => this.#host.stop(job, cancelledError())
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#host.add(this, job)
    try {
      return await job.done.promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#host.leave(this, closedError())
    return this.#closed
  }

  /** Sends a query, with views when its statement came before: asking for its tables costs as much as many a query. */
  async begin(job: Job): Promise<void> {
    const tables = this.#tablesOf(job.query.sql)
    let names: readonly FullName[] | null = null
    try {
      names = tables && (await this.#read(job, tables))
    } catch (thrown) {
      this.#host.stop(job, asError(thrown))
    }
    if (isRunning(job)) this.#host.send(job, names)
  }

  async asked(job: Job, wanted: readonly TableName[] | null): Promise<void> {
    try {
      if (wanted === null) {
        const { all } = await this.#tableNames(job)
        if (isRunning(job)) this.#host.answerList(job, all)
        return
      }
      this.#remember(job.query.sql, wanted)
      const names = await this.#read(job, wanted)
      if (names && isRunning(job)) this.#host.answerViews(job, names)
    } catch (thrown) {
      // The provider had no answer: its error, as it is, for the caller.
      this.#host.stop(job, asError(thrown))
    }
  }

  /** The tables that a statement reads, if it was sent lately. */
  #tablesOf(sql: string): readonly TableName[] | null {
    const tables = this.#known.get(sql)
    if (!tables) return null
    this.#known.delete(sql)
    this.#known.set(sql, tables)
    return tables
  }

  #remember(sql: string, tables: readonly TableName[]): void {
    if (sql.length > maxKnownLength) return
    this.#known.set(sql, tables)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= maxKnown) break
      this.#known.delete(oldest)
    }
  }

  /** Gives a query the views of tables. Returns what the lake calls those; null when the query has ended meanwhile. */
  async #read(job: Job, wanted: readonly TableName[]): Promise<readonly FullName[] | null> {
    const known = await this.#tableNames(job)
    const names = wanted.map((name) => known.find(name, job.mayRead))
    const distinct = new Map(names.map((name) => [JSON.stringify([name.namespace, name.name]), name]))
    if (!isRunning(job)) return null
    const views = await this.#provider.views([...distinct.values()])
    if (!isRunning(job)) {
      views.release()
      return null
    }
    job.views = views
    return names
  }

  async #tableNames({ mayRead }: Job): Promise<TableNames> {
    const all: readonly FullName[] = await this.#provider.names()
    if (mayRead) return new TableNames(all.filter(({ namespace, name }) => mayRead(namespace, name)))
    if (this.#names?.all !== all) this.#names = new TableNames(all)
    return this.#names
  }
}

function sentParameter(value: unknown, index: number): SentParameter {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'bigint') return value
  throw new FrazilError('request', 'parameters', `parameter ${index + 1} is not a number, text, true, false or null`)
}

function timeoutError(ms: number): FrazilError {
  return new FrazilError('unavailable', 'query-timeout', `the query took longer than ${ms} ms`, {
    hint: 'make it read less, or raise query.timeout',
  })
}

function cancelledError(): FrazilError {
  return new FrazilError('request', 'query-cancelled', 'the query was cancelled')
}

function closedError(): FrazilError {
  return new FrazilError('unavailable', 'closed', 'the query engine is closed')
}
