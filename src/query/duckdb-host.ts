import { Worker } from 'node:worker_threads'
import { FrazilError, asError, assert } from '../base/index.ts'
import type { QueryAnswer, QueryRequest, QueryViews } from './contract.ts'
import { receiveError, sendError } from './messages.ts'
import type { FromWorker, InstanceSettings, SentQuery, SentTables, ToWorker } from './messages.ts'
import type { TableName } from './statement.ts'
import type { FullName } from './table-names.ts'
import { ViewSender } from './view-transfer.ts'

/**
 * Queries that run at one time in a process. Each holds one of the threads that the whole process has for files, names and compression
 * (four, unless UV_THREADPOOL_SIZE says otherwise), so keep well below.
 */
const queriesAtOnce = 2

/** A query, from its arrival until the worker has let go of it. */
export interface Job {
  readonly query: SentQuery
  readonly mayRead: QueryRequest['mayRead']
  readonly done: PromiseWithResolvers<QueryAnswer>
  /** Where it runs, once its turn has come. */
  place: Place | null
  /** Whether the worker was told of it. */
  sent: boolean
  views: QueryViews | null
  stopped: boolean
}

interface Place {
  readonly id: number
  readonly thread: Thread
  readonly instance: Instance
  readonly member: Member
  readonly ended: PromiseWithResolvers<void>
}

/** An engine among those that share the thread. */
export interface Member {
  /** What it needs of DuckDB. */
  readonly settings: InstanceSettings
  /** A query's turn has come: {@link DuckDbHost.send} or {@link DuckDbHost.stop} it. */
  begin(job: Job): Promise<void>
  /** The worker asks for the views of these tables, or with null for the names of all. */
  asked(job: Job, wanted: readonly TableName[] | null): Promise<void>
}

interface Seat {
  readonly number: number
  readonly waiting: Job[]
  readonly running: Set<Job>
}

interface Thread {
  readonly worker: Worker
  readonly jobs: Map<number, Job>
  /** Open ones; those that are retired until their last query has ended. */
  readonly instances: Set<Instance>
  /** Takes new queries. */
  current: Instance | null
  readonly senders: Map<Member, ViewSender>
  /** How many wait for it to let go of something: they keep the process alive. */
  holds: number
  readonly ended: Promise<void>
}

/** An instance of DuckDB in the worker: for the engines that were open when it was. */
interface Instance {
  readonly number: number
  readonly members: ReadonlySet<Member>
  /** In whose folder it spills. */
  readonly spillsFor: Member | null
  running: number
  readonly ended: PromiseWithResolvers<void>
}

export function startWorker(): Worker {
  const source = import.meta.url.endsWith('.ts')
  return new Worker(source ? new URL('./worker.ts', import.meta.url) : new URL('./worker.js', import.meta.url), {
    name: 'frazil-sql',
  })
}

export interface DuckDbHostOptions {
  /** Default 2. */
  readonly queriesAtOnce?: number
  readonly start?: () => Worker
}

/**
 * DuckDB in one worker thread, for all engines that joined: one instance, with the memory and the threads that the largest of them asks
 * for. The thread starts with the first query, is replaced at the next one when it died, and ends with the last engine. An engine that
 * joins later gets another instance with its first query, because the folders that DuckDB may open cannot be changed; at most one older
 * instance still runs queries then.
 */
export class DuckDbHost {
  readonly #queriesAtOnce: number
  readonly #start: () => Worker
  /** Those whose turn was last are last. */
  readonly #seats = new Map<Member, Seat>()
  readonly #threads = new Set<Thread>()
  /** Takes new queries. */
  #thread: Thread | null = null
  #running = 0
  #lastNumber = 0

  constructor(options: DuckDbHostOptions = {}) {
    this.#queriesAtOnce = options.queriesAtOnce ?? queriesAtOnce
    this.#start = options.start ?? startWorker
  }

  join(member: Member): void {
    this.#seats.set(member, { number: ++this.#lastNumber, waiting: [], running: new Set() })
  }

  /** Ends the member's queries with `error`. Resolves when nothing reads its files any more. */
  async leave(member: Member, error: Error): Promise<void> {
    const seat = this.#seats.get(member)
    if (!seat) return
    this.#seats.delete(member)
    for (const job of seat.waiting.splice(0)) job.done.reject(error)
    const running = [...seat.running]
    for (const job of running) this.stop(job, error)
    const threads = [...this.#threads]
    if (this.#seats.size === 0) {
      for (const thread of threads) {
        hold(thread, 1)
        this.#replace(thread)
      }
      await Promise.all(threads.map((thread) => thread.ended))
      return
    }
    for (const thread of threads) hold(thread, 1)
    await Promise.all(running.map((job) => placeOf(job).ended.promise))
    for (const thread of threads) {
      thread.senders.delete(member)
      if (thread.current?.spillsFor === member) this.#retire(thread, thread.current)
      if (this.#threads.has(thread)) post(thread, { type: 'leave', member: seat.number })
    }
    const spilling = threads.flatMap((thread) => [...thread.instances].filter(({ spillsFor }) => spillsFor === member))
    // Queries of others may have more in its folder than they have read.
    await Promise.all(spilling.map((instance) => instance.ended.promise))
    for (const thread of threads) hold(thread, -1)
    this.#next()
  }

  /** Queries of the member that wait for their turn. */
  waiting(member: Member): number {
    return this.#seats.get(member)?.waiting.length ?? 0
  }

  add(member: Member, job: Job): void {
    this.#seats.get(member)?.waiting.push(job)
    this.#next()
  }

  /** Tells the worker of a query whose turn has come, with its views if it has them. */
  send(job: Job, names: readonly FullName[] | null): void {
    const { id, thread, instance, member } = placeOf(job)
    job.sent = true
    const read = names && this.#packed(job, names)
    post(thread, { type: 'query', id, member: this.#numberOf(member), instance: instance.number, query: job.query, read })
  }

  answerViews(job: Job, names: readonly FullName[]): void {
    const { id, thread, member } = placeOf(job)
    post(thread, { type: 'views', id, member: this.#numberOf(member), read: this.#packed(job, names) })
  }

  answerList(job: Job, names: readonly FullName[]): void {
    const { id, thread } = placeOf(job)
    post(thread, { type: 'list', id, names: names.map(({ namespace, name }) => ({ namespace, name })) })
  }

  /** To be posted at once: what a view is sent as builds on the member's message before. */
  #packed(job: Job, names: readonly FullName[]): SentTables {
    const { thread, member } = placeOf(job)
    let sender = thread.senders.get(member)
    if (!sender) {
      sender = new ViewSender()
      thread.senders.set(member, sender)
    }
    return { names, views: sender.pack(job.views?.tables ?? []) }
  }

  #numberOf(member: Member): number {
    const seat = this.#seats.get(member)
    assert(seat, 'queries of members only')
    return seat.number
  }

  /** The caller gets the error now; the pins go back when the worker has let go of the query. */
  stop(job: Job, error: Error): void {
    if (job.stopped) return
    job.stopped = true
    job.done.reject(error)
    if (job.place && job.sent) {
      post(job.place.thread, { type: 'stop', id: job.place.id, error: sendError(error) })
    } else if (job.place) {
      this.#end(job)
      this.#next()
    } else {
      for (const { waiting } of this.#seats.values()) {
        const index = waiting.indexOf(job)
        if (index >= 0) waiting.splice(index, 1)
      }
    }
  }

  /** Gives free places to those who wait, engine after engine. */
  #next(): void {
    while (this.#running < this.#queriesAtOnce) {
      const found = this.#turn()
      if (!found) return
      const { member, seat, thread, instance } = found
      const job = seat.waiting.shift()
      if (!job) return
      this.#seats.delete(member)
      this.#seats.set(member, seat)
      this.#running++
      instance.running++
      seat.running.add(job)
      job.place = { id: ++this.#lastNumber, thread, instance, member, ended: Promise.withResolvers() }
      thread.jobs.set(job.place.id, job)
      void member.begin(job)
    }
  }

  #turn(): { member: Member; seat: Seat; thread: Thread; instance: Instance } | null {
    const isLast = this.#queriesAtOnce - this.#running === 1
    for (const [member, seat] of this.#seats) {
      if (seat.waiting.length === 0) continue
      // The last place is not for one that has others, so that no engine's long queries keep those of all others waiting.
      if (isLast && seat.running.size > 0 && this.#seats.size > 1) continue
      this.#thread ??= this.#open()
      const instance = this.#instanceFor(this.#thread, member)
      if (instance) return { member, seat, thread: this.#thread, instance }
    }
    return null
  }

  /** Null while two others still have queries: then there would be three. */
  #instanceFor(thread: Thread, member: Member): Instance | null {
    const { current } = thread
    if (current?.members.has(member)) return current
    if ([...thread.instances].filter(({ running }) => running > 0).length > 1) return null
    if (current) this.#retire(thread, current)
    const members = [...this.#seats.keys()]
    const wanted = members.map(({ settings }) => settings)
    const spillsFor = members.find(({ settings }) => settings.tempDirectory !== null) ?? null
    const instance = {
      number: ++this.#lastNumber,
      members: new Set(members),
      spillsFor,
      running: 0,
      ended: Promise.withResolvers<void>(),
    }
    thread.instances.add(instance)
    thread.current = instance
    const settings: InstanceSettings = {
      memoryBytes: Math.max(...wanted.map(({ memoryBytes }) => memoryBytes)),
      threads: Math.max(...wanted.map(({ threads }) => threads)),
      tempDirectory: spillsFor && spillsFor.settings.tempDirectory,
      directories: wanted.every(({ directories }) => directories.length > 0)
        ? wanted.flatMap(({ directories }) => directories)
        : [],
    }
    post(thread, { type: 'open', instance: instance.number, settings })
    return instance
  }

  #retire(thread: Thread, instance: Instance): void {
    thread.current = null
    // Otherwise its last query does; one whose turn has come may not have been sent yet.
    if (instance.running === 0) endInstance(thread, instance)
  }

  #open(): Thread {
    const worker = this.#start()
    const ended = Promise.withResolvers<void>()
    const thread: Thread = {
      worker,
      jobs: new Map(),
      instances: new Set(),
      current: null,
      senders: new Map(),
      holds: 0,
      ended: ended.promise,
    }
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
        job.done.reject(deadError(failure))
      }
      for (const instance of thread.instances) endInstance(thread, instance)
      ended.resolve()
      this.#next()
    })
    return thread
  }

  /** The thread finishes what it can; the next query gets another one. */
  #replace(thread: Thread): void {
    if (this.#thread === thread) this.#thread = null
    post(thread, { type: 'close' })
  }

  #receive(thread: Thread, message: FromWorker): void {
    const job = thread.jobs.get(message.id)
    if (!job?.place) return
    switch (message.type) {
      case 'tables':
        void job.place.member.asked(job, message.tables)
        return
      case 'list':
        void job.place.member.asked(job, null)
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
        if (message.broken && this.#thread === thread) this.#replace(thread)
        break
    }
    this.#next()
  }

  /** The worker has let go of the query. */
  #end(job: Job): void {
    const { place, views } = job
    if (!place) return
    const { thread, instance, member } = place
    thread.jobs.delete(place.id)
    this.#seats.get(member)?.running.delete(job)
    this.#running--
    instance.running--
    if (instance.running === 0 && thread.current !== instance) endInstance(thread, instance)
    job.views = null
    views?.release()
    place.ended.resolve()
  }
}

/** Whether a query still wants its views: it was neither stopped, nor has its worker ended. */
export function isRunning(job: Job): boolean {
  return !job.stopped && job.place !== null && job.place.thread.jobs.has(job.place.id)
}

function placeOf(job: Job): Place {
  assert(job.place, 'the turn of the query has come')
  return job.place
}

function endInstance(thread: Thread, instance: Instance): void {
  thread.instances.delete(instance)
  post(thread, { type: 'retire', instance: instance.number })
  instance.ended.resolve()
}

function hold(thread: Thread, change: 1 | -1): void {
  thread.holds += change
  if (thread.holds > 0) thread.worker.ref()
  else thread.worker.unref()
}

function post(thread: Thread, message: ToWorker): void {
  thread.worker.postMessage(message)
}

function deadError(failure: Error | null): FrazilError {
  return new FrazilError(
    'unavailable',
    'sql-engine',
    `the thread that runs queries has ended${failure ? `: ${failure.message}` : ''}`,
    {
      hint: 'send the query again: the next one starts a new thread',
      cause: failure ?? undefined,
    },
  )
}
