import type { Clock, SlabPool } from '../base/index.ts'
import type { CopiedPart, Position, SourceEvent, SourceTable } from '../data/index.ts'

/** What the lake remembers of a source: the last committed state record, or null for a source that the lake has never seen. */
export interface SourceState {
  /** Everything up to here is in the lake, for every table below (tables that lag behind have their own `floor`). */
  readonly position: Position | null
  /** What the source itself asked to be remembered (system identifier, timeline, slot), as JSON text; see {@link Source.memo}. */
  readonly memo: string | null
  /** The last that it asked to be remembered, also where the source begins anew: what it has at the server is its own. */
  readonly lastMemo?: string | null
  /** Tables that the lake has, complete and healthy, with the position from which each one's changes are wanted. */
  readonly tables: readonly { readonly table: SourceTable; readonly floor: Position }[]
  /** Ids of tables that were detached: not read any more. */
  readonly detached: readonly string[]
  /** Detached tables with what the lake has of each. */
  readonly left?: readonly LeftTable[]
  /** Iceberg names of tables to be copied again, healthy or detached; see {@link Source.recopy}. */
  readonly again?: readonly TableName[]
  /** Copies that were interrupted and can go on, see `CopyStart`. */
  readonly copies?: readonly InterruptedCopy[]
}

/** A detached table, with what the lake has of it; `pushed`: the name by which programs sent rows to it. */
export interface LeftTable extends TableName {
  readonly id: string
  readonly position: Position | null
  readonly pushed?: { readonly ingest: string }
}

/** A copy in parts that was interrupted: what its `table` event said, and the parts that are complete. */
export interface InterruptedCopy {
  readonly table: SourceTable
  readonly plan: string
  readonly parts: readonly (CopiedPart & { readonly rows: number })[]
}

/** What a table is called in the lake. */
export interface TableName {
  readonly namespace: string
  readonly name: string
}

/** Where a source puts the rows that it decodes: memory, and numbers for the segments in it. */
export interface SourceParts {
  readonly pool: SlabPool
  readonly clock: Clock
  /** A new number for a segment, unique in the process. */
  nextSegmentId(): number
  /**
   * Number of the last source commit that the engine has made visible. A new segment's `baseCommit` is this value; deletes of
   * its rows have larger numbers.
   */
  currentCommit(): number
  /** Whether rows of this table can be deleted (it has a key): its segments then carry `deletedAt`. */
  deletable(table: SourceTable): boolean
  /** What the configuration says of a table whose columns change; null: nothing. */
  onSchemaChange(table: SourceTable): 'evolve' | 'new-column' | 'detach' | null
}

/** What lies between the source and us, in bytes of its log. */
export interface SourceLag {
  /** Written at the source and not visible here yet. */
  readonly visibleBytes: number
  /** Written at the source and not in the lake yet. */
  readonly committedBytes: number
  /** What the source keeps for us. */
  readonly retainedBytes: number | null
  /** How much more it may write before it gives up on us; null: there is no limit. */
  readonly safeBytes: number | null
  /** In the source's own words whether it still keeps what we need; null when it does not say. */
  readonly retention: string | null
  /** Postgres: transactions since the oldest one whose catalogue rows must be kept for us. */
  readonly xminAge: number | null
  /** The source did not answer when it was asked last, so the figures are old. */
  readonly stale: boolean
}

/**
 * A source of changes. The same contract serves sources that are pulled (Postgres, Kafka) and pushed (HTTP, OTLP).
 *
 * - `open` is called once. Taking the next array from the iterator is the global backpressure: a source that is not asked
 *   stops reading (and keeps its connection alive meanwhile).
 * - Rows are decoded straight into segments of the pool. When the pool is exhausted the source waits for `pool.freed()` and
 *   stops reading; it never drops anything.
 * - A source pins each segment it writes by creating it, and unpins it when it starts another one. Whoever keeps a segment of
 *   an event pins it for itself before asking for the next array.
 * - Events of one transaction lie between two `commit`s. After a lost connection the source says `abort` and begins again
 *   behind the last `commit` it gave out; it never repeats a commit that it has given out in this `open`.
 * - Errors that concern one table are `failed` events. An error thrown by the iterator ends the source: a `FrazilError` whose
 *   kind says what to do. A source retries `unavailable` by itself, bounded by its settings, and reports it by `observe`.
 */
export interface Source {
  /** The name in the configuration. */
  readonly name: string
  open(state: SourceState | null): AsyncIterableIterator<readonly SourceEvent[]>
  /**
   * What should be kept in the state record beside the position, as JSON text; asked at each lake commit, which has everything up to
   * `position` (null: nothing).
   */
  memo(position: Position | null): string
  /** True when `a` is at or past `b`. */
  reached(a: Position, b: Position): boolean
  /** Throws `request` when `text` is not a position of this kind of source. */
  checkPosition(text: string): Position
  /** The position that a reader who wants everything that has happened until now should wait for; asks the source itself. */
  head(): Promise<Position>
  /** Rows up to `position` are durable in every healthy table: the source may forget them. Never decreases. */
  acknowledge(position: Position): void
  /**
   * Copies a table of the settings again, whatever became of it: it is announced by `table` (with another id if it was made anew at
   * the source). A healthy one goes on to be read meanwhile. Rejects with `request` when the source has no such table, and with
   * what is wrong with it.
   */
  recopy(table: TableName): Promise<void>
  /**
   * Somebody waits for `position`: if it has been written at the source, what is in its way there is moved. Returns at once. Not of a source
   * that gives out by itself all that it has.
   */
  reach?(position: Position): void
  /**
   * How far the source is ahead, as far as it is known; null before it was asked. Cheap: nothing is asked now. Not of a source that has no
   * log of its own.
   */
  lag?(visible: Position | null, committed: Position | null): SourceLag | null
  /** What keeps it from reading now, as a sentence, while it tries again; null: nothing. */
  readonly trouble?: string | null
  /** Stops reading: the iterator ends behind what it has given out. Acknowledgements still reach the source until {@link close}. */
  stop(): void
  /** Stops, and gives up connections when the source has heard the last acknowledgement. What the source created stays (slot, publication, group). */
  close(): Promise<void>
}

/** A source whose server may have more tables than its settings name. */
export interface ServerSource extends Source {
  /**
   * The table that an SQL name means at the server, as it would be read. Rejects with `request`: `unknown-table`, `table-refused` with the
   * sentence about what is wrong with it.
   */
  examine(name: string): Promise<SourceTable>
  /**
   * Reads that table from now on, beside those of the settings: it is announced by `table`, as one that is copied. One that is read already,
   * or was detached, stays as it is. Rejects as {@link examine} does. It is asked for again at every start.
   */
  include(name: string): Promise<void>
  /**
   * The name or pattern in the settings by which this table of the server is read, whether it was {@link include}d or not; null when there is
   * none. Patterns mean only what is there, and no partitions.
   */
  namedBy(name: string): Promise<string | null>
  /**
   * Reads a table no more that was {@link include}d and has, or had, the `ids` in the lake: at once it gives out nothing of it. Resolves when the
   * server does not send it any more either.
   */
  exclude(name: string, ids: readonly string[]): Promise<void>
}

/** Rows that a program sends. Plain data: it may travel to another thread. */
export interface PushRequest {
  /** The table: its namespace and name, or the name by which rows are sent to it. */
  readonly table: TableName | { readonly ingest: string }
  readonly operation: 'insert' | 'upsert' | 'delete'
  /**
   * In UTF-8. JSON as `lines`: one object a line; `array`: an array of objects; `row`: one object; `rows`: objects that end at `ends`, all
   * of whose refusals are told. `csv`: with a line of names. And `arrow`, an Arrow IPC stream, and `avro`, an object container file.
   */
  readonly form: 'lines' | 'array' | 'row' | 'rows' | 'csv' | 'arrow' | 'avro'
  /** Of `rows`. */
  readonly ends?: Uint32Array
  readonly body: Uint8Array
  /** Keeps the good rows of a request that has bad ones; else it is refused as a whole. */
  readonly partial: boolean
  /** The request is stored once however often it is sent; null: as often as it is sent. */
  readonly key: string | null
  /** The same for a program that numbers its requests one by one; not together with `key`. */
  readonly producer?: Producer | null
}

/** A program that sends rows, and the number that it gave to a request: each is one more than that of the request before. */
export interface Producer {
  readonly id: string
  readonly sequence: number
}

/** Why a row was refused; rows are counted from 1. Names of columns, never values. */
export interface RefusedRow {
  readonly row: number
  readonly code: string
  readonly column: string | null
  readonly message: string
}

/** What became of rows that were sent. What was stored is durable. */
export interface PushReceipt {
  /** Contains them; null when nothing was stored: all were refused, or some and the request wanted all or none. */
  readonly position: Position | null
  /** Rows stored. */
  readonly rows: number
  /** All rows refused, and why the first of them were. */
  readonly refused: number
  readonly refusals: readonly RefusedRow[]
  /** They were stored by an earlier request with the same key, or number; `rows` is 0 if it was not the producer's last one. */
  readonly replayed: boolean
}

/** A source of rows that nobody sends twice: what the lake does not have of a detached table is kept for people. */
export interface SentSource extends Source {
  /** The table takes no rows any more: it was detached. */
  closeTable(id: string): void
  /** What the lake has of a closed table; null: nothing. */
  leaveTable(id: string, committed: Position | null): void
  /** Resolves when rows of closed tables that the lake does not have are in files. */
  saveLeft(): Promise<void>
  /** Throws `unsupported` when rows cannot be those of a closed table as it is now. */
  checkAttachable?(table: SourceTable): void
  /** A closed table takes rows again, as it is now. Resolves with the folder of such files of it, if there is one. */
  attachTable(table: SourceTable): Promise<string | null>
  /** A closed table that the lake does not have joins again, empty. Resolves when it can be read. Without it, who sends rows makes tables. */
  makeAgain?(id: string): Promise<void>
}

/** A source that is given rows, and tables. */
export interface PushSource extends SentSource {
  /**
   * Resolves when the rows are durable, or refused. Rejects with `request` for what is wrong with all of it, and `unavailable`, code
   * `overloaded`: later there will be room.
   */
  push(request: PushRequest): Promise<PushReceipt>
  /** A new, empty table joins. The caller has made sure that its name is free. Resolves when it can be read. */
  addTable(table: SourceTable): Promise<void>
  /** The table has gone from the lake. */
  removeTable(id: string): void
}
