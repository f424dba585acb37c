import type { Field, Position, SharedPart } from '../data/index.ts'

/** A cold or staged data file as a read view sees it. */
export interface ViewFile {
  /** Local path of the file (remote ones are read through the cache). */
  readonly path: string
  readonly rows: number
  /** Bit `position & 7` of byte `position >> 3` is set where the row is deleted; null when none is. Never changes. */
  readonly deleted: Uint8Array | null
  /** Column metrics as `packStats` makes them; absent or null: nothing is known. Never changes. */
  readonly stats?: Uint8Array | null
}

/** One table at one exact source commit. Immutable and pinned until it is released. */
export interface TableView {
  readonly namespace: string
  readonly name: string
  readonly fields: readonly Field[]
  /** Hot rows are visible when alive at this commit (`isAlive`). */
  readonly commit: number
  readonly hot: readonly SharedPart[]
  readonly files: readonly ViewFile[]
  /** Set when the table is detached: the answer is as of then, and says so. */
  readonly detached?: string
}

/** What a query reads: some tables, all of one source at one position. */
export interface QueryViews {
  readonly tables: readonly TableView[]
  readonly positions: Readonly<Record<string, Position>>
  /** Gives the pins back; called exactly once, also after errors. */
  release(): void
}

export type ResultFormat = 'json' | 'ndjson' | 'csv' | 'arrow'

export interface QueryRequest {
  readonly sql: string
  readonly params?: readonly unknown[]
  readonly format: ResultFormat
  /** Write int64 and decimal as JSON strings, for clients that would round them. */
  readonly numbersAsStrings?: boolean
  readonly timeoutMs: number
  /** Only these tables are there for the query: others are refused by name alone (`forbidden`), and never named. Absent: all. */
  readonly mayRead?: (namespace: string, name: string) => boolean
}

export interface QueryAnswer {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  /**
   * json: UTF-8 text of the array of rows, `[[…],…]`. ndjson: one object a line. csv: with a header line. arrow: an IPC stream.
   */
  readonly body: Uint8Array
  readonly rowCount: number
  /** Data files that were read, and those that were left out because none of their rows could count. */
  readonly files: { readonly read: number; readonly skipped: number }
  readonly positions: Readonly<Record<string, Position>>
}

/** Where tables come from: asked once a query, after it was parsed. Unknown names give a `request` error that lists near ones. */
export interface ViewProvider {
  /** All tables, for name resolution and `information_schema`-like listings. */
  names(): Promise<readonly { readonly namespace: string; readonly name: string }[]>
  views(tables: readonly { readonly namespace: string; readonly name: string }[]): Promise<QueryViews>
}

/** SQL over read views. One implementation: DuckDB in its own worker thread. */
export interface SqlEngine {
  query(request: QueryRequest, signal?: AbortSignal): Promise<QueryAnswer>
  close(): Promise<void>
}
