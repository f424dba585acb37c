import type { Field, Position, Value } from '../data/index.ts'
import type { QueryAnswer, ResultFormat } from '../query/index.ts'
import type { PushReceipt, PushRequest } from '../source/index.ts'

export type TableHealth = 'copying' | 'streaming' | 'stopped' | 'detached'

/** One row of `frazil tables` and of `GET /tables`. */
export interface TableStatus {
  readonly database: string
  readonly table: string
  readonly source: string
  readonly health: TableHealth
  /** Why it is stopped or detached, as one sentence. */
  readonly reason: string | null
  /** Position up to which its rows are visible / in the lake; null before the first. */
  readonly visible: Position | null
  readonly committed: Position | null
  readonly hotRows: number
  readonly stagedRows: number
  readonly coldRows: number
  readonly dataFiles: number
  /** Rows of data files marked deleted, committed or not. */
  readonly deletedRows: number
  /**
   * While its rows are copied: how many so far, bytes of data files made of them, about how many there will be and how much longer it
   * will take, as far as that is known. A table that is copied again shows the rows that it had until then.
   */
  readonly copy: {
    readonly rows: number
    readonly bytes: number
    readonly estimated: number | null
    readonly leftMs: number | null
  } | null
}

export interface SourceStatus {
  readonly name: string
  readonly type: string
  readonly state: 'starting' | 'copying' | 'streaming' | 'retrying' | 'failed' | 'stopped'
  readonly reason: string | null
  readonly position: Position | null
  readonly committed: Position | null
  /**
   * How old what is visible is, in milliseconds: while everything that the source has written is visible, how long the last commit
   * took to be; otherwise the time since the last one. Null before the first.
   */
  readonly lagMs: number | null
  /** Bytes of log that the source has written and that are not visible yet, when it was asked last; null before. */
  readonly lagBytes: number | null
  /** The source's log; null before the source was asked. */
  readonly log: SourceLogStatus | null
}

/** What a source keeps for us, as it was when it was asked last (every 10 seconds). Sizes in bytes. */
export interface SourceLogStatus {
  /** Written at the source and not in the lake yet. */
  readonly uncommitted: number
  /** What the source keeps for us. */
  readonly retained: number | null
  /** How much more it may write before it gives up on us; null: there is no limit. */
  readonly safe: number | null
  /** Postgres: `wal_status` of the slot (`reserved`, `extended`, `unreserved`, `lost`). */
  readonly status: string | null
  /** Postgres: age of the slot's `catalog_xmin`, in transactions. */
  readonly xminAge: number | null
}

export interface EngineStatus {
  readonly sources: readonly SourceStatus[]
  readonly tables: readonly TableStatus[]
  /** Hot memory in use and allowed, in bytes. */
  readonly memory: { readonly used: number; readonly budget: number }
  readonly ready: boolean
  /** Why not, one sentence each. */
  readonly reasons: readonly string[]
}

export interface EngineQuery {
  readonly params?: readonly unknown[]
  readonly format?: ResultFormat
  readonly numbersAsStrings?: boolean
  /** Wait until these positions are visible before reading; `now` asks each source for its head. */
  readonly wait?: Readonly<Record<string, Position>> | 'now'
  readonly waitTimeoutMs?: number
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Only these tables are there for the query; absent: all. */
  readonly mayRead?: (namespace: string, name: string) => boolean
}

/** A table that programs want to send rows to. */
export interface NewTable {
  readonly namespace: string
  readonly name: string
  /** By this name rows are sent to it; no two tables have the same. */
  readonly ingest: string
  /** Columns; their ids are 0. */
  readonly fields: readonly Field[]
  /** Positions of the key columns; empty: rows are only appended. */
  readonly key: readonly number[]
  /** Whether rows with other columns give it these; else they are refused. */
  readonly evolves: boolean
}

/** A table of a source's server that is to be read beside those of the configuration. */
export interface TableToAdd {
  /** What it is to be called in the lake: what the source's settings make of its name. */
  readonly namespace: string
  readonly name: string
  /** An SQL name: `public.orders`, `public."Odd Name"`. */
  readonly sourceName: string
}

/** A table that was asked for; `copying`: it is not readable yet, which takes longer than a request. */
export interface AddedTable {
  readonly state: 'streaming' | 'copying'
}

/** The table that the first rows for it make, with the columns that they have. */
export interface TableFromRows {
  readonly namespace: string
  readonly name: string
  /** By this name rows are sent to it. */
  readonly ingest: string
  /** Names of key columns; none: rows are only appended. */
  readonly key: readonly string[]
}

/** What a table looks like. */
export interface TableDescription {
  /** The name by which rows are sent to it, or what its source calls it. */
  readonly ingest: string
  readonly fields: readonly Field[]
  /** Names of the key columns, in order. */
  readonly key: readonly string[]
  /** Of a table that programs send rows to: whether rows with other columns give it these. */
  readonly evolves: boolean
}

/**
 * When an answer to rows that were sent is due: `stored` durably in the spool, `visible` to queries, `committed` to the lake. Each
 * contains the ones before it.
 */
export type Durability = 'stored' | 'visible' | 'committed'

/** What became of rows that were sent. */
export interface PushAnswer extends PushReceipt {
  /** How far they are: less than was asked for when that took too long. Null when nothing was stored. */
  readonly reached: Durability | null
}

/** Parquet files for a table that programs send rows to. */
export interface UploadRequest {
  readonly namespace: string
  readonly name: string
  /** `upload`: copies of the files become data files as they are. `insert`: their rows are written anew. */
  readonly operation: 'upload' | 'insert'
  /** Absolute paths, in folders that the configuration allows. Where keys are the same rows of later files count. */
  readonly files: readonly string[]
  /** The same request is done once however often it is sent; null: as often as it is sent. */
  readonly key: string | null
}

/** What became of uploaded files: the lake has them. */
export interface UploadReceipt {
  readonly position: Position | null
  readonly rows: number
  /** An earlier request with the same key has done it. */
  readonly replayed: boolean
}

/** A row that is to be stored, and who is told what became of it: one of the functions is called, once, and throws nothing. */
export interface RowToStore {
  /** One JSON object in UTF-8, at most 1 MiB. Nobody looks at it after the call. */
  readonly body: Uint8Array
  stored(receipt: PushReceipt): void
  failed(error: Error): void
}

/** A running engine. The daemon, the command line and the library all talk to this. */
export interface Engine {
  status(): Promise<EngineStatus>
  /** The answer with its body in the format asked for (`json` unless given). */
  execute(sql: string, options?: EngineQuery): Promise<QueryAnswer>
  /**
   * The row with this key, hot or cold, or null. `key` maps key columns to values as text or JSON scalars. The row comes as
   * values in column order; `fields` says what they are.
   */
  lookup(
    database: string,
    table: string,
    key: Readonly<Record<string, unknown>>,
  ): Promise<{
    readonly fields: readonly Field[]
    readonly row: readonly Value[] | null
  }>
  /** Names of a table's key columns, in order. */
  keyColumns(database: string, table: string): Promise<readonly string[]>
  /**
   * Copies a table again, beside its rows, which stay readable until all are swapped in one commit: a healthy one goes on to be
   * mirrored meanwhile, a detached one is healthy again afterwards. Resolves when the copy has begun or waits for its turn. A detached table
   * that programs send rows to takes them again, as the lake has it now (`streaming`); rejects with `conflict` where it cannot.
   */
  resync(database: string, table: string): Promise<'copying' | 'streaming'>
  /**
   * Rewrites a table's data files that have deleted rows, and merges its small ones. Resolves after the commit; without writes meanwhile
   * the table has no deletion vector then.
   */
  optimize(database: string, table: string): Promise<void>
  describe(database: string, table: string): Promise<TableDescription>
  /** The table to which rows that are sent to `ingest` go, or null. Rejects with `unavailable` while the source of such rows does not answer. */
  ingestTable(ingest: string): Promise<{ readonly namespace: string; readonly name: string } | null>
  /** Makes an empty table that programs send rows to; resolves when it is in the lake, also when it was there already just like this. */
  createTable(table: NewTable): Promise<void>
  /**
   * Has a table of the database at `uri` read from now on, also after restarts; resolves when it is readable or that takes long. The database
   * is that of one configured source which the configuration opens for it; what else `uri` says is not used. Rejects with `request`:
   * `from-postgres-not-allowed`, `unknown-table`, `table-refused`, `too-many-tables`, and `conflict`: `table-exists`, `table-detached`.
   */
  addFromPostgres(table: TableToAdd, uri: string): Promise<AddedTable>
  /** Removes a table that programs send rows to, or have added from a source's server, with its rows. */
  dropTable(database: string, table: string): Promise<void>
  /**
   * Stores rows; resolves as soon as `durability` is reached, or when it takes too long (see `reached`). With `create` a table that is not
   * there is made with the columns that the rows have, if they are not refused.
   */
  push(request: PushRequest, durability: Durability, create?: TableFromRows): Promise<PushAnswer>
  /**
   * {@link push} of one row that is to be `stored`, for who has so many that a promise for each counts: `row` is told later what became of
   * it. Throws what is wrong with all rows.
   */
  pushRow(table: PushRequest['table'], operation: PushRequest['operation'], row: RowToStore): void
  /**
   * Takes Parquet files into a table, all or none; resolves when the lake has them. Rejects with `request`: `file-not-allowed`,
   * `file-missing`, `file-refused`.
   */
  upload(request: UploadRequest): Promise<UploadReceipt>
  /** Commits everything applied so far to the lake; resolves when it is in Iceberg, with the position. */
  flush(): Promise<Readonly<Record<string, Position>>>
  /** Prometheus text. */
  metrics(): Promise<string>
  /** Resolves when the engine has stopped by itself, with the reason (fenced, a failed source under `on-error: stop`). */
  readonly stopped: Promise<Error | null>
  /** Stops reading, commits what is applied, gives up the lease. */
  close(): Promise<void>
}
