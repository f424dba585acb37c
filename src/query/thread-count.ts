/** Rows of data files from which on a query gets all threads: with fewer there is next to nothing that two could share. */
const manyRows = 131_072

/**
 * How many threads the DuckDB instance has: all while a query over many rows runs, else only the one that a query is called on.
 *
 * Where DuckDB's own threads have taken the last part of a query, the one that called it does not sleep but asks for more work until
 * they are done (`PendingQueryResult::ExecuteInternal`, DuckDB 1.5). Hot rows are such a part, and come from the thread that runs
 * JavaScript, which needs the processor that it is kept from.
 */
export class ThreadCount {
  readonly #most: number
  readonly #set: (threads: number) => Promise<void>
  /** Null while they are changed. */
  #now: number | null = 1
  /** Running queries over many rows. */
  #large = 0
  #changing: Promise<void> = Promise.resolve()

  /** DuckDB has one thread now; `set` gives it so many in all. */
  constructor(most: number, set: (threads: number) => Promise<void>) {
    this.#most = most
    this.#set = set
  }

  /** Whether a query over so many rows of data files gets all threads. */
  isLarge(rows: number): boolean {
    return this.#most > 1 && rows >= manyRows
  }

  /** To be asked before a query is planned, and told when it has ended, by {@link end}. */
  async begin(isLarge: boolean): Promise<void> {
    if (isLarge) this.#large++
    if (this.#now === this.#wanted) return
    this.#changing = this.#changing.catch(() => undefined).then(() => this.#change())
    await this.#changing
  }

  end(isLarge: boolean): void {
    if (isLarge) this.#large--
  }

  get #wanted(): number {
    return this.#large > 0 ? this.#most : 1
  }

  async #change(): Promise<void> {
    const wanted = this.#wanted
    if (this.#now === wanted) return
    const before = this.#now
    this.#now = null
    try {
      await this.#set(wanted)
      this.#now = wanted
    } finally {
      this.#now ??= before
    }
  }
}
