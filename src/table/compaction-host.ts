import { MessageChannel, Worker } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { FrazilError, asError, errorFromMessage, errorToMessage } from '../base/index.ts'
import type { CompactionAnswer, CompactionJob, CompactionRequest, CompactionResult } from './compaction-messages.ts'

/** The thread ends when nobody has asked for anything for so long. */
const idleMs = 30_000

interface Job {
  readonly owner: MessagePort
  readonly request: CompactionRequest
}

/**
 * The thread that rewrites data files, one job at a time for the whole process: each owner has one job, and they take turns. It is started
 * for a job and ended when there was none for a while.
 */
export class CompactionThread {
  #worker: Worker | null = null
  #queue: Job[] = []
  #running: MessagePort | null = null
  /** Waited for by the owner of the running job, who has gone. */
  #runningEnded: PromiseWithResolvers<void> | null = null
  #idle: NodeJS.Timeout | null = null
  #isClosed = false
  readonly #startWorker: () => Worker

  constructor(start: () => Worker = startThread) {
    this.#startWorker = start
  }

  /**
   * A port to the thread, to be given to one {@link Compactions} (which may live in another thread). `ended` resolves when that was
   * closed and nothing of its job is under way any more.
   */
  connect(): { readonly port: MessagePort; readonly ended: Promise<void> } {
    const { port1, port2 } = new MessageChannel()
    const ended = Promise.withResolvers<void>()
    port2.on('message', (request: CompactionRequest) => {
      if (request.op === 'compact') this.#queue.push({ owner: port2, request })
      else this.#cancel(port2)
      this.#next()
    })
    port2.on('close', () => {
      this.#cancel(port2)
      if (this.#running === port2) this.#runningEnded = ended
      else ended.resolve()
    })
    port2.unref()
    return { port: port1, ended: ended.promise }
  }

  /** Gives up what `owner` has asked for. */
  #cancel(owner: MessagePort): void {
    if (this.#running === owner) this.#worker?.postMessage({ op: 'cancel' } satisfies CompactionRequest)
    const waiting = this.#queue.filter((job) => job.owner === owner)
    this.#queue = this.#queue.filter((job) => job.owner !== owner)
    for (const _job of waiting) owner.postMessage({ ok: false, error: errorToMessage(closed()) } satisfies CompactionAnswer)
  }

  #next(): void {
    if (this.#running || this.#isClosed) return
    if (this.#idle) clearTimeout(this.#idle)
    const job = this.#queue.shift()
    if (!job) {
      this.#idle = setTimeout(() => this.#end(), idleMs).unref()
      return
    }
    this.#running = job.owner
    this.#worker ??= this.#start()
    this.#worker.postMessage(job.request)
  }

  #start(): Worker {
    const worker = this.#startWorker()
    worker.unref()
    worker.on('message', (answer: CompactionAnswer) => this.#answer(answer))
    let cause: Error | undefined
    worker.on('error', (error) => (cause = asError(error)))
    // A thread that dies takes its job with it, and nothing else: the next one gets another.
    worker.on('exit', () => {
      if (this.#worker !== worker) return
      this.#worker = null
      const died = new FrazilError(
        'unavailable',
        'compaction-thread',
        `the compaction thread ended${cause ? `: ${cause.message}` : ''}`,
        {
          hint: 'What it was writing is given up; the rewrite is tried again later.',
          cause,
        },
      )
      this.#answer({ ok: false, error: errorToMessage(died) })
    })
    return worker
  }

  #answer(answer: CompactionAnswer): void {
    this.#running?.postMessage(answer)
    this.#running = null
    this.#runningEnded?.resolve()
    this.#runningEnded = null
    this.#next()
  }

  #end(): void {
    const worker = this.#worker
    this.#worker = null
    void worker?.terminate()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#idle) clearTimeout(this.#idle)
    const worker = this.#worker
    this.#worker = null
    await worker?.terminate()
    this.#running = null
    this.#runningEnded?.resolve()
  }
}

/** Starts the thread, which answers {@link CompactionRequest}s. */
export function startThread(): Worker {
  const entry = new URL(`./compaction-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
  return new Worker(entry, { name: 'frazil-compaction' })
}

/** One owner's access to the compaction thread. */
export class Compactions {
  readonly #port: MessagePort
  #waiting: { resolve(result: CompactionResult): void; reject(error: Error): void } | null = null
  #isClosed = false

  constructor(port: MessagePort) {
    this.#port = port
    port.on('message', (answer: CompactionAnswer) => {
      const waiting = this.#waiting
      this.#waiting = null
      port.unref()
      if (answer.ok) waiting?.resolve(answer)
      else waiting?.reject(errorFromMessage(answer.error))
    })
    port.on('close', () => this.#end())
    port.unref()
  }

  /** Writes files anew, one job at a time. When it rejects there are no outputs. */
  compact(job: CompactionJob): Promise<CompactionResult> {
    if (this.#isClosed) return Promise.reject(closed())
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#port.ref()
      this.#port.postMessage({ op: 'compact', job } satisfies CompactionRequest)
    })
  }

  /** Ends the job that is running, which then rejects. */
  cancel(): void {
    if (this.#waiting) this.#port.postMessage({ op: 'cancel' } satisfies CompactionRequest)
  }

  close(): void {
    this.#port.close()
    this.#end()
  }

  #end(): void {
    this.#isClosed = true
    this.#waiting?.reject(closed())
    this.#waiting = null
  }
}

function closed(): FrazilError {
  return new FrazilError('unavailable', 'closed', 'the engine is closing')
}
