import type { Field, Position, Value } from '../data/index.ts'
import type { QueryAnswer, ResultFormat } from '../query/index.ts'

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
  /** Rows copied so far and the estimated total while copying. */
  readonly copy: { readonly rows: number; readonly estimated: number | null } | null
}

export interface SourceStatus {
  readonly name: string
  readonly type: string
  readonly state: 'starting' | 'copying' | 'streaming' | 'retrying' | 'failed' | 'stopped'
  readonly reason: string | null
  readonly position: Position | null
  readonly committed: Position | null
  /** Milliseconds between a source commit and its becoming visible, last one; null before the first. */
  readonly lagMs: number | null
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
  /** Commits everything applied so far to the lake; resolves when it is in Iceberg, with the position. */
  flush(): Promise<Readonly<Record<string, Position>>>
  /** Prometheus text. */
  metrics(): Promise<string>
  /** Resolves when the engine has stopped by itself, with the reason (fenced, a failed source under `on-error: stop`). */
  readonly stopped: Promise<Error | null>
  /** Stops reading, commits what is applied, gives up the lease. */
  close(): Promise<void>
}
