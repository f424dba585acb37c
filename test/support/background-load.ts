import type pg from 'pg'
import { Workload, connect, isConnectionLost, runTransaction } from './workload.ts'
import type { WorkloadOptions } from './workload.ts'

export interface BackgroundLoadOptions extends WorkloadOptions {
  /** After each transaction. Without, there is the more load the slower what it is for becomes. */
  readonly pauseMs?: number
}

/** A statement that waits for longer waits for something that never comes. */
const answerWithinMs = 60_000

/** A writer that goes on until it is stopped: through pauses, and through a server that goes away and comes back. */
export class BackgroundLoad {
  transactions = 0
  readonly #url: string
  readonly #workload: Workload
  readonly #pauseMs: number
  #client: pg.Client | null = null
  #stopping = false
  #done: Promise<void> = Promise.resolve()

  constructor(url: string, options: BackgroundLoadOptions) {
    this.#url = url
    this.#pauseMs = options.pauseMs ?? 0
    this.#workload = new Workload(options)
  }

  /** Begins, or goes on: with so many transactions, or until {@link stop}. */
  start(transactions = Number.POSITIVE_INFINITY): void {
    this.#stopping = false
    this.#done = this.#run(this.transactions + transactions)
    this.#done.catch(() => {}) // told by `finished`
  }

  async #run(until: number): Promise<void> {
    while (!this.#stopping && this.transactions < until) {
      try {
        this.#client ??= await connect(this.#url, answerWithinMs)
        await runTransaction(this.#client, this.#workload.next())
        this.transactions++
        if (this.#pauseMs > 0) await pause(this.#pauseMs)
      } catch (error) {
        if (!isConnectionLost(error)) throw error
        // Whether the last one was committed does not matter: what Postgres has is what counts.
        await this.#client?.end().catch(() => {})
        this.#client = null
        await pause(50)
      }
    }
  }

  /** Resolves when nothing is open any more; throws what went wrong. */
  finished(): Promise<void> {
    return this.#done
  }

  stop(): Promise<void> {
    this.#stopping = true
    return this.#done
  }

  async end(): Promise<void> {
    await this.stop().catch(() => {})
    await this.#client?.end().catch(() => {})
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
