import type pg from 'pg'
import { Workload, connect, runTransaction } from './workload.ts'
import type { WorkloadOptions } from './workload.ts'

/** A writer that goes on until it is stopped: through pauses, and through a server that goes away and comes back. */
export class BackgroundLoad {
  transactions = 0
  readonly #url: string
  readonly #workload: Workload
  #client: pg.Client | null = null
  #stopping = false
  #done: Promise<void> = Promise.resolve()

  constructor(url: string, options: WorkloadOptions) {
    this.#url = url
    this.#workload = new Workload(options)
  }

  /** Begins, or goes on after {@link stop}. */
  start(): void {
    this.#stopping = false
    this.#done = this.#run()
    this.#done.catch(() => {}) // told by `stop`
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      try {
        this.#client ??= await connect(this.#url)
        await runTransaction(this.#client, this.#workload.next())
        this.transactions++
      } catch (error) {
        if (!isConnectionLost(error)) throw error
        // Whether the last one was committed does not matter: what Postgres has is what counts.
        await this.#client?.end().catch(() => {})
        this.#client = null
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  /** Resolves when nothing is open any more; throws what went wrong. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#done
  }

  async end(): Promise<void> {
    await this.stop().catch(() => {})
    await this.#client?.end().catch(() => {})
  }
}

function isConnectionLost(error: unknown): boolean {
  // Also when a statement's error wraps it. 57P01…3: the server shuts down, crashed, or does not accept yet.
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as Error & { code?: string }
    if (code !== undefined && /^(?:ECONN|EPIPE|57P0[1-3]$|08)/.test(code)) return true
    if (/Connection terminated|connection error|not queryable/i.test(cause.message)) return true
  }
  return false
}
