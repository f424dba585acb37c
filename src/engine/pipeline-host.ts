import { Worker } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { FrazilError, errorFromMessage, errorToMessage } from '../base/index.ts'
import type { ErrorMessage } from '../base/index.ts'
import type { Position } from '../data/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { PushReceipt } from '../source/index.ts'
import type { AddedTable, TableDescription, UploadReceipt } from './contract.ts'
import type {
  LookupAnswer,
  PipelineHandle,
  PipelineListener,
  PipelineOptions,
  PipelinePorts,
  PipelineStatus,
  PipelineViews,
  TableDeskHandle,
} from './pipeline-contract.ts'

/** Methods that are asked by message and answered. `release` and the rest of the protocol have messages of their own. */
type Method = 'status' | 'names' | 'views' | 'keyColumns' | 'lookup' | 'head' | 'wait' | 'resync' | 'optimize' | 'flush' | 'close'

/** Methods of its table desk. */
type DeskMethod = keyof TableDeskHandle

type ToThread =
  | { readonly op: 'call'; readonly id: number; readonly method: Method; readonly args: readonly unknown[] }
  | { readonly op: 'desk'; readonly id: number; readonly method: DeskMethod; readonly args: readonly unknown[] }
  | { readonly op: 'release'; readonly view: number }
  /** Nobody waits for a call any more: one of `wait` ends. */
  | { readonly op: 'cancel'; readonly id: number }

type FromThread =
  | { readonly op: 'started'; readonly error: ErrorMessage | null }
  | { readonly op: 'event'; readonly event: EngineEvent }
  | { readonly op: 'stopped'; readonly error: ErrorMessage }
  | { readonly op: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly op: 'refusal'; readonly id: number; readonly error: ErrorMessage }

/** Answers a host's messages with a pipeline of this thread. */
export function servePipeline(port: MessagePort, pipeline: PipelineHandle): void {
  const waits = new Map<number, AbortController>()
  port.on('message', (message: ToThread) => {
    if (message.op === 'release') {
      pipeline.release(message.view)
      return
    }
    const { id } = message
    if (message.op === 'cancel') {
      waits.get(id)?.abort()
      return
    }
    const args = [...message.args]
    if (message.method === 'wait') {
      const wait = new AbortController()
      waits.set(id, wait)
      args.push(wait.signal)
    }
    const target = message.op === 'desk' ? pipeline.desk : pipeline
    // The host's methods below send exactly the arguments of the method that they name.
    const call = (message.op === 'desk' ? pipeline.desk[message.method] : pipeline[message.method]) as (
      ...args: unknown[]
    ) => Promise<unknown>
    Promise.resolve()
      .then(() => call.apply(target, args))
      .finally(() => waits.delete(id))
      .then(
        (value) => port.postMessage({ op: 'answer', id, value } satisfies FromThread),
        (error: unknown) => port.postMessage({ op: 'refusal', id, error: errorToMessage(error) } satisfies FromThread),
      )
  })
}

/** A pipeline in a worker thread of its own; the same contract as one in this thread. */
export class WorkerPipeline implements PipelineHandle {
  readonly name: string
  readonly desk: TableDeskHandle = {
    describe: (namespace, name) => this.#send('desk', 'describe', namespace, name) as Promise<TableDescription>,
    push: (request) => this.#send('desk', 'push', request) as Promise<PushReceipt>,
    add: (table) => this.#send('desk', 'add', table) as Promise<AddedTable>,
    create: (table) => this.#send('desk', 'create', table) as Promise<void>,
    drop: (namespace, name) => this.#send('desk', 'drop', namespace, name) as Promise<void>,
    upload: (request) => this.#send('desk', 'upload', request) as Promise<UploadReceipt>,
  }
  readonly #worker: Worker
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>()
  #nextCall = 1
  #dead: Error | null = null
  #closed = false
  #closing: Promise<void> | null = null

  private constructor(name: string, worker: Worker) {
    this.name = name
    this.#worker = worker
  }

  static async start(options: PipelineOptions, ports: PipelinePorts, listener: PipelineListener): Promise<WorkerPipeline> {
    const entry = new URL(`./pipeline-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
    const worker = new Worker(entry, {
      name: `frazil-${options.name}`,
      workerData: { options, ports },
      transferList: [...ports.files.lanes, ports.files.replacements, ports.compaction],
    })
    const pipeline = new WorkerPipeline(options.name, worker)
    await new Promise<void>((resolve, reject) => {
      const die = (error: Error): void => {
        reject(error)
        pipeline.#die(error, listener)
      }
      worker.on('message', (message: FromThread) => {
        switch (message.op) {
          case 'started':
            if (message.error) {
              pipeline.#closed = true
              reject(errorFromMessage(message.error))
              void worker.terminate()
            } else resolve()
            return
          case 'event':
            listener.event(message.event)
            return
          case 'stopped':
            listener.stopped(errorFromMessage(message.error))
            return
          case 'answer':
            pipeline.#take(message.id)?.resolve(message.value)
            return
          case 'refusal':
            pipeline.#take(message.id)?.reject(errorFromMessage(message.error))
        }
      })
      worker.on('error', (error) => die(error instanceof Error ? error : new Error(String(error))))
      worker.on('exit', (code) => die(new Error(`the thread of source ${options.name} ended with code ${code}`)))
    })
    return pipeline
  }

  #take(id: number): { resolve: (value: unknown) => void; reject: (error: Error) => void } | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    return waiting
  }

  #die(error: Error, listener: PipelineListener): void {
    if (this.#dead) return
    this.#dead = error
    for (const waiting of this.#waiting.values()) waiting.reject(new FrazilError('unavailable', 'source-failed', error.message))
    this.#waiting.clear()
    if (!this.#closed) listener.stopped(error)
  }

  #call(method: Method, ...args: readonly unknown[]): Promise<unknown> {
    return this.#send('call', method, ...args)
  }

  #send(op: 'call' | 'desk', method: Method | DeskMethod, ...args: readonly unknown[]): Promise<unknown> {
    if (this.#dead) return Promise.reject(new FrazilError('unavailable', 'source-failed', `the source ${this.name} has stopped`))
    const id = this.#nextCall++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      // The callers above name methods of what they ask.
      this.#worker.postMessage({ op, id, method, args })
    })
  }

  // Each answer has the type of the same method in the thread.

  status(): Promise<PipelineStatus> {
    return this.#call('status') as Promise<PipelineStatus>
  }

  names(): Promise<readonly { readonly namespace: string; readonly name: string; readonly sourceName: string }[]> {
    return this.#call('names') as ReturnType<PipelineHandle['names']>
  }

  views(tables: readonly { readonly namespace: string; readonly name: string }[]): Promise<PipelineViews> {
    return this.#call('views', tables) as Promise<PipelineViews>
  }

  release(view: number): void {
    if (!this.#dead) this.#worker.postMessage({ op: 'release', view } satisfies ToThread)
  }

  keyColumns(namespace: string, name: string): Promise<readonly string[]> {
    return this.#call('keyColumns', namespace, name) as Promise<readonly string[]>
  }

  lookup(namespace: string, name: string, key: Readonly<Record<string, unknown>>): Promise<LookupAnswer> {
    return this.#call('lookup', namespace, name, key) as Promise<LookupAnswer>
  }

  head(): Promise<Position> {
    return this.#call('head') as Promise<Position>
  }

  async wait(position: Position, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const id = this.#nextCall
    const waited = this.#call('wait', position, timeoutMs)
    const cancel = (): void => {
      if (!this.#dead) this.#worker.postMessage({ op: 'cancel', id } satisfies ToThread)
    }
    if (signal?.aborted) cancel()
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      await waited
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  resync(namespace: string, name: string): Promise<void> {
    return this.#call('resync', namespace, name) as Promise<void>
  }

  optimize(namespace: string, name: string): Promise<void> {
    return this.#call('optimize', namespace, name) as Promise<void>
  }

  flush(): Promise<Position | null> {
    return this.#call('flush') as Promise<Position | null>
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#closed = true
    try {
      if (!this.#dead) await this.#call('close')
    } finally {
      await this.#worker.terminate()
    }
  }
}
