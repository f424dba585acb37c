import type { Client } from 'pg'

const batch = 1000

/** A connection that inserts 1,000 rows a transaction until it is stopped, at `perSecond` or as fast as it can. */
export class Load {
  rows = 0
  readonly #client: Client
  readonly #insert: (from: number, to: number) => string
  #stopped = false
  #done: Promise<void> = Promise.resolve()

  /** `insert` is the statement for the rows with ids from…to. */
  constructor(client: Client, insert: (from: number, to: number) => string) {
    this.#client = client
    this.#insert = insert
  }

  run(firstId: number, perSecond: number): void {
    this.#done = this.#run(firstId, perSecond)
    this.#done.catch(() => {}) // told by `stop`
  }

  async #run(firstId: number, perSecond: number): Promise<void> {
    const start = performance.now()
    while (!this.#stopped) {
      const early = start + (this.rows / perSecond) * 1000 - performance.now()
      if (early > 1) await new Promise((resolve) => setTimeout(resolve, early))
      const from = firstId + this.rows
      await this.#client.query(this.#insert(from, from + batch - 1))
      this.rows += batch
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#done
  }
}
