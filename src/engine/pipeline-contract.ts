import type { TokenRule } from '../access/index.ts'
import type { Clock, Random } from '../base/index.ts'
import type { MessagePort } from 'node:worker_threads'
import type { TableSettings } from './table-settings.ts'
import type { Field, Position, Value } from '../data/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { Catalog, StateChange } from '../iceberg/catalog/index.ts'
import type { TableView } from '../query/index.ts'
import type { ColumnSetting, OutOfRange, PushReceipt, PushRequest, Source, SourceParts } from '../source/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type { Compactions, FilePool, FilePorts, Uploader } from '../table/index.ts'
import type { OtlpSourceConfig } from './otlp-config.ts'
import type {
  AddedTable,
  NewTable,
  SourceStatus,
  TableDescription,
  TableStatus,
  TableToAdd,
  UploadReceipt,
  UploadRequest,
} from './contract.ts'

/** A source's settings with its secrets revealed: they travel to the pipeline's thread and nowhere else. */
export type PipelineSource = PostgresPipelineSource | OtlpPipelineSource | { readonly type: 'http' }

/** With the tokens that it asks for; none: it asks for none. */
export type OtlpPipelineSource = OtlpSourceConfig & { readonly tokens: readonly TokenRule[] }

export interface PostgresPipelineSource {
  readonly type: 'postgres'
  readonly url: string
  readonly tables: readonly string[]
  readonly into: string | null
  readonly slot: string
  readonly publication: string
  readonly backlog: 'sql' | 'stream'
  readonly failover: boolean
  readonly copy: { readonly connections: number; readonly part: number }
  readonly findTables: number
  readonly outOfRange: OutOfRange
  readonly columns: Readonly<Record<string, ColumnSetting>>
}

/** How data files are rewritten. */
export interface CompactionSettings {
  /** Whether files are rewritten without being asked for. */
  readonly automatic: boolean
  /** Bytes that data files should have. */
  readonly targetBytes: number
  /** Bytes read and written in a second at most. */
  readonly bytesPerSecond: number
  /** Milliseconds without a change after which a table rests. */
  readonly restMs: number
}

/** What a pipeline needs of other threads. Ports travel to the thread that the pipeline lives in. */
export interface PipelinePorts {
  readonly files: FilePorts
  readonly compaction: MessagePort
}

/** Everything a pipeline is started with; plain data, because the pipeline may live in another thread. */
export interface HistoryOptions {
  /** Longest age of Iceberg snapshots, in milliseconds. */
  readonly snapshots: number
  /** Numbers of older ones that tags keep. */
  readonly hourly: number
  readonly daily: number
}

export interface PipelineOptions {
  readonly name: string
  readonly source: PipelineSource
  readonly warehouse: string
  /** Path of the sqlite catalog. */
  readonly catalogPath: string
  readonly local: string
  readonly lakeId: string
  /** Writer number of this process; greater than that of every process before. */
  readonly epoch: number
  /** Put into every commit: fails when another process has taken over. */
  readonly fence: StateChange
  /** Bytes for hot rows, their index and queues. */
  readonly memory: number
  readonly commit: { readonly every: number; readonly bytes: number }
  /** How long queries may run unless they say otherwise, in milliseconds: what they read is kept longer. */
  readonly queryTimeout?: number
  readonly history: HistoryOptions
  readonly compaction: CompactionSettings
  /** Folders from which programs may have files taken. */
  readonly uploads: readonly string[]
  /** Whether tables that programs have added to the source are read. */
  readonly withAdded: boolean
  readonly onError: 'detach' | 'stop'
  /** Settings by `namespace.table`. */
  readonly tables: TableSettings
}

export interface PipelineViews {
  /** Names the pins; given back by `release`. */
  readonly id: number
  readonly tables: readonly TableView[]
  readonly position: Position | null
}

export interface LookupAnswer {
  readonly fields: readonly Field[]
  readonly row: readonly Value[] | null
}

export interface PipelineStatus {
  readonly source: SourceStatus
  readonly tables: readonly TableStatus[]
  /** Why the source is not ready, one sentence each. */
  readonly reasons: readonly string[]
  readonly memoryUsed: number
}

/** What programs ask of a pipeline's tables beyond reading them; see `TableDesk`. */
export interface TableDeskHandle {
  describe(namespace: string, name: string): Promise<TableDescription>
  push(request: PushRequest): Promise<PushReceipt>
  add(table: TableToAdd): Promise<AddedTable>
  create(table: NewTable): Promise<void>
  drop(namespace: string, name: string): Promise<void>
  upload(request: UploadRequest): Promise<UploadReceipt>
}

/** What the engine asks of a pipeline, inline or in a worker: arguments and answers are plain data. */
export interface PipelineHandle {
  readonly name: string
  readonly desk: TableDeskHandle
  status(): Promise<PipelineStatus>
  /** Tables that can be read, and what they are called at the source. */
  names(): Promise<readonly { readonly namespace: string; readonly name: string; readonly sourceName: string }[]>
  /** Pinned views of tables at one position; unknown tables are a `request` error. */
  views(tables: readonly { readonly namespace: string; readonly name: string }[]): Promise<PipelineViews>
  release(id: number): void
  keyColumns(namespace: string, name: string): Promise<readonly string[]>
  lookup(namespace: string, name: string, key: Readonly<Record<string, unknown>>): Promise<LookupAnswer>
  /** The position that contains everything that has happened at the source until now. */
  head(): Promise<Position>
  /**
   * Resolves when `position` is visible; `request` for text that is no position, code `wait-timeout` after `timeoutMs`, `query-cancelled`
   * when `signal` is aborted.
   */
  wait(position: Position, timeoutMs: number, signal?: AbortSignal): Promise<void>
  /** Has a table copied again; resolves when that has begun or waits for its turn. `request` when there is no such table. */
  resync(namespace: string, name: string): Promise<void>
  /** Rewrites a table's files that have deletes, and its small ones; resolves after the commit. `request` when there is no such table. */
  optimize(namespace: string, name: string): Promise<void>
  /** Commits what is applied; resolves with the position that is in the lake. */
  flush(): Promise<Position | null>
  close(): Promise<void>
}

/** How a pipeline reports by itself. */
export interface PipelineListener {
  event(event: EngineEvent): void
  /** The pipeline has ended without being asked to. */
  stopped(error: Error): void
}

/** What a pipeline is made of. */
export interface PipelineParts {
  readonly clock: Clock
  readonly random: Random
  readonly store: ObjectStore
  /** Commits carry the fence: they fail with kind `fenced` when another process has taken over. */
  readonly catalog: Catalog
  readonly files: FilePool
  readonly compactions: Compactions
  readonly uploader: Uploader
  readonly openSource: (parts: SourceParts) => Source
  readonly listener: PipelineListener
}
