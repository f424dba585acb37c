import { Worker } from 'node:worker_threads'
import { FrazilError, asError } from '../base/index.ts'
import type { QueryAnswer, QueryRequest, QueryViews, SqlEngine, ViewProvider } from './contract.ts'
import { receiveError, sendError } from './messages.ts'
import type { FromWorker, SentParameter, SentQuery, ToWorker, WorkerSettings } from './messages.ts'
import type { TableName } from './statement.ts'
import { TableNames } from './table-names.ts'
import type { FullName } from './table-names.ts'
import { ViewSender } from './view-transfer.ts'

export interface DuckDbOptions {
  /** Memory of DuckDB, apart from everything else; bytes. */
  readonly memoryBytes: number
  readonly threads: number
  /** Where DuckDB may spill; without one, a query beyond the memory fails. */
  readonly tempDirectory?: string
  /**
   * Folders that the files of views lie in. DuckDB itself then opens nothing outside them; without any, only the check of
   * statements keeps queries from naming files.
   */
  readonly fileDirectories?: readonly string[]
  /**
   * Queries that run at one time. Each holds one of the threads that the whole process has for files, names and compression
   * (four, unless UV_THREADPOOL_SIZE says otherwise), so keep well below. Default 2.
   */
  readonly concurrency?: number
  /** Queries that wait for their turn; past it `unavailable` `too-many-queries`. Default 64. */
  readonly maxWaiting?: number
  /** Largest body of an answer; past it `request` `result-too-large`. Default 64 MiB. */
  readonly maxResultBytes?: number
}

/**
 * SQL over read views by DuckDB in a worker thread. Starts with the first query; a worker that dies is replaced at the next.
 * `close` before the process ends: DuckDB aborts a process that ends inside a query.
 */
export function openDuckDb(options: DuckDbOptions, provider: ViewProvider): SqlEngine {
  return new DuckDbEngine(options, provider, startWorker)
}

export function startWorker(settings: WorkerSettings): Worker {
  const source = import.meta.url.endsWith('.ts')
  const file = source ? new URL('./worker.ts', import.meta.url) : new URL('./worker.js', import.meta.url)
  return new Worker(file, { workerData: settings, name: 'frazil-sql' })
}

interface Job {
  readonly id: number
  readonly query: SentQuery
  readonly mayRead: QueryRequest['mayRead']
  readonly done: PromiseWithResolvers<QueryAnswer>
  /** The worker that serves it, once its turn has come. */
  thread: Thread | null
  views: QueryViews | null
  stopped: boolean
}

interface Thread {
  readonly worker: Worker
  readonly sender: ViewSender
  readonly jobs: Map<number, Job>
  readonly ended: Promise<void>
}

export class DuckDbEngine implements SqlEngine {
  readonly #provider: ViewProvider
  readonly #settings: WorkerSettings
  readonly #start: (settings: WorkerSettings) => Worker
  readonly #maxWaiting: number
  readonly #maxResultBytes: number
  readonly #waiting: Job[] = []
  readonly #threads = new Set<Thread>()
  /** Takes new queries. */
  #thread: Thread | null = null
  #running = 0
  #lastId = 0
  #names: TableNames | null = null
  #closed: Promise<void> | null = null

  constructor(options: DuckDbOptions, provider: ViewProvider, start: (settings: WorkerSettings) => Worker) {
    this.#provider = provider
    this.#start = start
    this.#maxWaiting = options.maxWaiting ?? 64
    this.#maxResultBytes = options.maxResultBytes ?? 64 << 20
    this.#settings = {
      memoryBytes: options.memoryBytes,
      threads: options.threads,
      tempDirectory: options.tempDirectory ?? null,
      directories: options.fileDirectories ?? [],
      connections: options.concurrency ?? 2,
    }
  }

  async query(request: QueryRequest, signal?: AbortSignal): Promise<QueryAnswer> {
    if (this.#closed) throw closedError()
    if (signal?.aborted) throw cancelledError()
    if (this.#running >= this.#settings.connections && this.#waiting.length >= this.#maxWaiting) {
      throw new FrazilError('unavailable', 'too-many-queries', `${this.#maxWaiting} queries are waiting already`, {
        hint: 'try again in a moment, or send fewer queries at one time',
      })
    }
    const job: Job = {
      id: ++this.#lastId,
      query: {
        sql: request.sql,
        params: (request.params ?? []).map(sentParameter),
        format: request.format,
        numbersAsStrings: request.numbersAsStrings ?? false,
        maxResultBytes: this.#maxResultBytes,
      },
      mayRead: request.mayRead,
      done: Promise.withResolvers(),
      thread: null,
      views: null,
      stopped: false,
    }
    const timer = setTimeout(() => this.#stop(job, timeoutError(request.timeoutMs)), request.timeoutMs)
    const onAbort = (): void => this.#stop(job, cancelledError())
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#waiting.push(job)
    this.#next()
    try {
      return await job.done.promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    for (const job of this.#waiting.splice(0)) job.done.reject(closedError())
    for (const thread of this.#threads) {
      for (const job of thread.jobs.values()) this.#stop(job, closedError())
      thread.worker.ref()
      post(thread, { type: 'close' })
    }
    await Promise.all([...this.#threads].map((thread) => thread.ended))
  }

  #next(): void {
    while (this.#running < this.#settings.connections) {
      const job = this.#waiting.shift()
      if (!job) return
      this.#thread ??= this.#open()
      this.#running++
      job.thread = this.#thread
      job.thread.jobs.set(job.id, job)
      post(job.thread, { type: 'query', id: job.id, query: job.query })
    }
  }

  /** The caller gets the error now; the pins go back when the worker has let go of the query. */
  #stop(job: Job, error: FrazilError): void {
    if (job.stopped) return
    job.stopped = true
    job.done.reject(error)
    if (job.thread) return post(job.thread, { type: 'stop', id: job.id, error: sendError(error) })
    const index = this.#waiting.indexOf(job)
    if (index >= 0) this.#waiting.splice(index, 1)
  }

  #open(): Thread {
    const worker = this.#start(this.#settings)
    const ended = Promise.withResolvers<void>()
    const thread: Thread = { worker, sender: new ViewSender(), jobs: new Map(), ended: ended.promise }
    this.#threads.add(thread)
    let failure: Error | null = null
    // Only queries keep the process alive, by their timers.
    worker.unref()
    worker.on('message', (message: FromWorker) => this.#receive(thread, message))
    worker.on('error', (thrown) => (failure = asError(thrown)))
    worker.on('exit', () => {
      this.#threads.delete(thread)
      if (this.#thread === thread) this.#thread = null
      for (const job of thread.jobs.values()) {
        this.#end(job)
        job.done.reject(
          new FrazilError(
            'unavailable',
            'sql-engine',
            `the thread that runs queries has ended${failure ? `: ${failure.message}` : ''}`,
            {
              hint: 'send the query again: the next one starts a new thread',
              cause: failure ?? undefined,
            },
          ),
        )
      }
      ended.resolve()
      this.#next()
    })
    return thread
  }

  #receive(thread: Thread, message: FromWorker): void {
    const job = thread.jobs.get(message.id)
    if (!job) return
    switch (message.type) {
      case 'tables':
        void this.#answerTables(thread, job, message.tables)
        return
      case 'list':
        void this.#answerList(thread, job)
        return
      case 'answered': {
        const { columns, body, rowCount, files } = message
        const positions = job.views?.positions ?? {}
        this.#end(job)
        job.done.resolve({ columns, body, rowCount, files, positions })
        break
      }
      case 'failed':
        this.#end(job)
        job.done.reject(receiveError(message.error))
        if (message.broken && this.#thread === thread) {
          // It finishes what it can; the next query gets another one.
          this.#thread = null
          post(thread, { type: 'close' })
        }
        break
    }
    this.#next()
  }

  async #answerTables(thread: Thread, job: Job, wanted: readonly TableName[]): Promise<void> {
    try {
      const known = await this.#tableNames(job)
      const names = wanted.map((name) => known.find(name, job.mayRead))
      const distinct = new Map(names.map((name) => [JSON.stringify([name.namespace, name.name]), name]))
      if (!isRunning(thread, job)) return
      const views = await this.#provider.views([...distinct.values()])
      if (!isRunning(thread, job)) return views.release()
      job.views = views
      post(thread, { type: 'views', id: job.id, names, views: thread.sender.pack(views.tables) })
    } catch (thrown) {
      this.#refuse(thread, job, thrown)
    }
  }

  async #answerList(thread: Thread, job: Job): Promise<void> {
    try {
      const { all } = await this.#tableNames(job)
      if (isRunning(thread, job))
        post(thread, { type: 'list', id: job.id, names: all.map(({ namespace, name }) => ({ namespace, name })) })
    } catch (thrown) {
      this.#refuse(thread, job, thrown)
    }
  }

  /** The provider had no answer: its error, as it is, for the caller. */
  #refuse(thread: Thread, job: Job, thrown: unknown): void {
    job.done.reject(asError(thrown))
    if (isRunning(thread, job)) post(thread, { type: 'stop', id: job.id, error: sendError(thrown) })
  }

  async #tableNames({ mayRead }: Job): Promise<TableNames> {
    const all: readonly FullName[] = await this.#provider.names()
    if (mayRead) return new TableNames(all.filter(({ namespace, name }) => mayRead(namespace, name)))
    if (this.#names?.all !== all) this.#names = new TableNames(all)
    return this.#names
  }

  /** The worker has let go of the query. */
  #end(job: Job): void {
    job.thread?.jobs.delete(job.id)
    this.#running--
    const { views } = job
    job.views = null
    views?.release()
  }
}

/** Whether a job still wants its views: it was neither stopped, nor has its worker ended. */
function isRunning(thread: Thread, job: Job): boolean {
  return !job.stopped && thread.jobs.has(job.id)
}

function post(thread: Thread, message: ToWorker): void {
  thread.worker.postMessage(message)
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
