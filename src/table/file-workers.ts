import { MessageChannel, Worker } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { FrazilError, asError } from '../base/index.ts'

/** A thread that ends sooner than this after its start is not replaced before; milliseconds. */
const leastLifeMs = 1_000

/** One owner's ports to the threads, to be given to one {@link FilePool} (which may live in another thread). */
export interface FilePorts {
  readonly lanes: readonly MessagePort[]
  /** Brings a port to each thread that takes the place of one that died. */
  readonly replacements: MessagePort
}

/** Host → file worker: serve an owner. */
export interface NewOwner {
  readonly owner: number
  readonly port: MessagePort
}

/** File worker → host: the owner's port was closed, and nothing of what it asked for is under way any more. */
export interface OwnerEnded {
  readonly owner: number
}

interface Owner {
  /** Threads that have a port of it. */
  readonly threads: Set<Worker>
  readonly replacements: MessagePort
  /** Whether its pool was closed. */
  isClosed: boolean
  readonly ended: PromiseWithResolvers<void>
}

export function startFileThread(): Worker {
  const entry = new URL(`./file-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
  return new Worker(entry, { name: 'frazil-file' })
}

/**
 * The threads that write data files, one set for all pipelines of the process. One that dies takes with it what it was writing, whose
 * owners are told, and is replaced for all of them.
 */
export class FileWorkers {
  readonly #threads: (Worker | null)[]
  readonly #owners = new Map<number, Owner>()
  readonly #start: () => Worker
  /** Told when a thread has died. */
  readonly onDeath = new Set<(error: FrazilError) => void>()
  #lastOwner = 0
  #isClosed = false

  constructor(threads: number, start = startFileThread) {
    this.#start = start
    this.#threads = Array.from({ length: threads }, () => null)
    for (let i = 0; i < threads; i++) this.#open(i)
  }

  /** `ended` resolves when the pool of these ports was closed and the threads have let go of its files. */
  connect(): FilePorts & { readonly ended: Promise<void> } {
    const number = this.#lastOwner++
    const { port1, port2 } = new MessageChannel()
    const owner: Owner = { threads: new Set(), replacements: port2, isClosed: false, ended: Promise.withResolvers() }
    this.#owners.set(number, owner)
    port2.on('close', () => {
      owner.isClosed = true
      this.#endOwner(number, owner)
    })
    port2.unref()
    // Pools take the first of equally idle threads: each has another one first.
    const threads = this.#threads.map((_, i, all) => all[(i + number) % all.length])
    const lanes = threads.flatMap((thread) => (thread ? [this.#lane(thread, number, owner)] : []))
    return { lanes, replacements: port1, ended: owner.ended.promise }
  }

  #lane(thread: Worker, number: number, owner: Owner): MessagePort {
    const { port1, port2 } = new MessageChannel()
    owner.threads.add(thread)
    thread.postMessage({ owner: number, port: port2 } satisfies NewOwner, [port2])
    return port1
  }

  #open(index: number): void {
    const thread = this.#start()
    const started = performance.now()
    this.#threads[index] = thread
    for (const [number, owner] of this.#owners) {
      if (owner.isClosed) continue
      const port = this.#lane(thread, number, owner)
      owner.replacements.postMessage(port, [port])
    }
    thread.on('message', ({ owner }: OwnerEnded) => this.#left(thread, owner))
    let failure: Error | null = null
    thread.on('error', (thrown) => (failure = asError(thrown)))
    thread.on('exit', () => {
      this.#threads[index] = null
      for (const number of this.#owners.keys()) this.#left(thread, number)
      if (this.#isClosed) return
      for (const tell of this.onDeath) tell(diedError(failure))
      const early = leastLifeMs - (performance.now() - started)
      if (early <= 0) this.#open(index)
      else setTimeout(() => this.#isClosed || this.#open(index), early).unref()
    })
  }

  /** A thread has nothing of an owner any more. */
  #left(thread: Worker, number: number): void {
    const owner = this.#owners.get(number)
    if (owner?.threads.delete(thread)) this.#endOwner(number, owner)
  }

  #endOwner(number: number, owner: Owner): void {
    if (!owner.isClosed || owner.threads.size > 0) return
    this.#owners.delete(number)
    owner.ended.resolve()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#threads.flatMap((thread) => (thread ? [thread.terminate()] : [])))
  }
}

/** @param cause what the thread said, where that is known */
export function diedError(cause: Error | null): FrazilError {
  const message = `a thread that writes data files has ended${cause ? `: ${cause.message}` : ''}`
  return new FrazilError('unavailable', 'file-thread', message, {
    hint: 'Another one takes its place; what it was writing is written again.',
    cause: cause ?? undefined,
  })
}
