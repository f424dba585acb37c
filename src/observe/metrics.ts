import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import type { EngineEvent, EventBus } from './events.ts'

/** What is read once a scrape: the state that events do not carry. An engine's status has this shape. */
export interface MetricsState {
  readonly sources: readonly {
    readonly name: string
    readonly state: string
    readonly lagMs: number | null
    readonly lagBytes: number | null
    readonly log: {
      readonly uncommitted: number
      readonly retained: number | null
      readonly safe: number | null
      readonly status: string | null
      readonly xminAge: number | null
    } | null
  }[]
  readonly tables: readonly {
    readonly database: string
    readonly table: string
    readonly health: string
    readonly hotRows: number
    readonly stagedRows: number
    readonly coldRows: number
    readonly dataFiles: number
    readonly deletedRows: number
  }[]
  /** Bytes of the hot memory pool in use, and the budget. */
  readonly memory: { readonly used: number; readonly budget: number }
}

type MetricType = 'counter' | 'gauge' | 'histogram'

/** Every metric of ours: `docs/metrics.md` is generated from this. */
export const metricTable = {
  frazil_rows_applied_total: ['counter', 'Changed rows that became visible.', ['source']],
  frazil_rows_copied_total: ['counter', 'Rows read by initial copies.', ['source']],
  frazil_source_commits_total: ['counter', 'Source commits that became visible.', ['source']],
  frazil_source_bytes_total: ['counter', 'Bytes decoded from the source.', ['source']],
  frazil_source_lag_seconds: [
    'gauge',
    'How old what is visible is: latency of the last commit, or the time since it while more waits.',
    ['source'],
  ],
  frazil_source_lag_bytes: [
    'gauge',
    'Log written at the source that is not visible yet; asked every 10 seconds, as the next ones.',
    ['source'],
  ],
  frazil_source_uncommitted_bytes: ['gauge', 'Log written at the source that is not in the lake yet.', ['source']],
  frazil_slot_retained_bytes: ['gauge', 'Log that the Postgres server keeps for the slot.', ['source']],
  frazil_slot_safe_bytes: [
    'gauge',
    'Log that may still be written before the slot can be lost; absent without a limit.',
    ['source'],
  ],
  frazil_slot_status: [
    'gauge',
    '1 for the `wal_status` of the slot: reserved, extended, unreserved, lost.',
    ['source', 'status'],
  ],
  frazil_slot_xmin_age: ['gauge', 'Transactions since the oldest whose catalogue rows the slot keeps.', ['source']],
  frazil_source_state: ['gauge', '1 for the state that the source is in.', ['source', 'state']],
  frazil_values_replaced_total: [
    'counter',
    'Values that Iceberg cannot hold and that became others (`out-of-range`).',
    ['source'],
  ],
  frazil_otlp_requests_total: [
    'counter',
    'Requests by OTLP, by what became of them: `stored`, `later` (to come again), `denied` (no token for it), `refused`.',
    ['source', 'transport', 'signal', 'outcome'],
  ],
  frazil_otlp_bytes_total: ['counter', 'Bytes of their bodies, as sent.', ['source', 'transport', 'signal']],
  frazil_otlp_records_total: [
    'counter',
    'Log records, spans and data points that were stored.',
    ['source', 'transport', 'signal'],
  ],
  frazil_otlp_rejected_records_total: [
    'counter',
    'Those that could not be kept of requests that were stored.',
    ['source', 'transport', 'signal'],
  ],
  frazil_lake_commits_total: ['counter', 'Commits to Iceberg.', ['source']],
  frazil_lake_commit_seconds: ['histogram', 'Duration of a commit to Iceberg.', ['source']],
  frazil_foreign_commits_total: [
    'counter',
    'Times that changes of a table by another program were taken over.',
    ['source', 'table'],
  ],
  frazil_orphans_removed_total: ['counter', 'Files removed that nothing referred to, left by processes that ended.', ['source']],
  frazil_lake_objects_total: ['counter', 'Objects written for commits, data files and metadata.', ['source']],
  frazil_files_compacted_total: ['counter', 'Data files that were rewritten.', ['source']],
  frazil_compaction_read_bytes_total: ['counter', 'Bytes of data files that were rewritten.', ['source']],
  frazil_compaction_written_bytes_total: ['counter', 'Bytes of the data files that took their place.', ['source']],
  frazil_deletes_committed_total: ['counter', 'Rows of data files that commits marked deleted.', ['source']],
  frazil_files_written_total: ['counter', 'Data files written.', ['source']],
  frazil_file_rows_total: ['counter', 'Rows in data files written.', ['source']],
  frazil_file_bytes_total: ['counter', 'Bytes of data files written.', ['source']],
  frazil_table_hot_rows: ['gauge', 'Rows only in memory.', ['database', 'table']],
  frazil_table_staged_rows: ['gauge', 'Rows in data files that are in no snapshot yet.', ['database', 'table']],
  frazil_table_cold_rows: ['gauge', 'Rows in data files of the current snapshot.', ['database', 'table']],
  frazil_table_files: ['gauge', 'Data files of the current snapshot.', ['database', 'table']],
  frazil_table_deleted_rows: ['gauge', 'Rows of data files marked deleted.', ['database', 'table']],
  frazil_tables: ['gauge', 'Tables in each state of health.', ['health']],
  frazil_memory_used_bytes: ['gauge', 'Hot memory in use.', []],
  frazil_memory_budget_bytes: ['gauge', 'Hot memory allowed (`memory` in the configuration).', []],
  frazil_memory_pressure_total: ['counter', 'Times that the memory budget made the engine act.', ['action']],
  frazil_queries_total: ['counter', 'Queries, by `ok` or the error code.', ['outcome']],
  frazil_query_files_total: [
    'counter',
    'Data files of queried tables: `read`, or `skipped` because no row of theirs could count.',
    ['outcome'],
  ],
  frazil_query_seconds: ['histogram', 'Duration of queries that were answered.', []],
  frazil_errors_total: ['counter', 'Errors that were not simply answered to a caller.', ['kind', 'code']],
  frazil_retries_total: ['counter', 'Attempts that had to be repeated.', ['what']],
} as const satisfies Record<string, readonly [MetricType, string, readonly string[]]>

type MetricName = keyof typeof metricTable

const secondsBuckets = [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60]

/** Counts events; gauges are read from the state when somebody asks. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #counters = new Map<MetricName, Counter>()
  readonly #gauges = new Map<MetricName, Gauge>()
  readonly #histograms = new Map<MetricName, Histogram>()
  readonly #stop: () => void

  /** `process` adds the process's own metrics (memory, event loop); one engine of a process should. */
  constructor(events: EventBus, options: { process: boolean }) {
    for (const [name, [type, help, labels]] of Object.entries(metricTable) as [MetricName, (typeof metricTable)[MetricName]][]) {
      const settings = { name, help, labelNames: [...labels], registers: [this.#registry] }
      if (type === 'counter') this.#counters.set(name, new Counter(settings))
      else if (type === 'gauge') this.#gauges.set(name, new Gauge(settings))
      else this.#histograms.set(name, new Histogram({ ...settings, buckets: secondsBuckets }))
    }
    if (options.process) collectDefaultMetrics({ register: this.#registry })
    this.#stop = events.on((event) => this.#count(event))
  }

  /** Prometheus text. */
  async text(state: MetricsState): Promise<string> {
    for (const gauge of this.#gauges.values()) gauge.reset()
    for (const source of state.sources) {
      this.#set('frazil_source_state', 1, { source: source.name, state: source.state })
      if (source.lagMs !== null) this.#set('frazil_source_lag_seconds', source.lagMs / 1000, { source: source.name })
      const { name, lagBytes, log } = source
      const figures: readonly (readonly [MetricName, number | null | undefined])[] = [
        ['frazil_source_lag_bytes', lagBytes],
        ['frazil_source_uncommitted_bytes', log?.uncommitted],
        ['frazil_slot_retained_bytes', log?.retained],
        ['frazil_slot_safe_bytes', log?.safe],
        ['frazil_slot_xmin_age', log?.xminAge],
      ]
      for (const [metric, value] of figures) if (value !== null && value !== undefined) this.#set(metric, value, { source: name })
      if (log?.status) this.#set('frazil_slot_status', 1, { source: name, status: log.status })
    }
    for (const { database, table, ...counts } of state.tables) {
      this.#set('frazil_table_hot_rows', counts.hotRows, { database, table })
      this.#set('frazil_table_staged_rows', counts.stagedRows, { database, table })
      this.#set('frazil_table_cold_rows', counts.coldRows, { database, table })
      this.#set('frazil_table_files', counts.dataFiles, { database, table })
      this.#set('frazil_table_deleted_rows', counts.deletedRows, { database, table })
      this.#gauges.get('frazil_tables')?.inc({ health: counts.health })
    }
    this.#set('frazil_memory_used_bytes', state.memory.used, {})
    this.#set('frazil_memory_budget_bytes', state.memory.budget, {})
    return this.#registry.metrics()
  }

  /** Stops counting. */
  close(): void {
    this.#stop()
    this.#registry.clear()
  }

  #set(name: MetricName, value: number, labels: Record<string, string>): void {
    this.#gauges.get(name)?.set(labels, value)
  }

  #add(name: MetricName, value: number, labels: Record<string, string>): void {
    this.#counters.get(name)?.inc(labels, value)
  }

  #count(event: EngineEvent): void {
    switch (event.type) {
      case 'applied':
        this.#add('frazil_rows_applied_total', event.rows, { source: event.source })
        this.#add('frazil_source_commits_total', event.commits, { source: event.source })
        this.#add('frazil_source_bytes_total', event.bytes, { source: event.source })
        return
      case 'copying':
        return this.#add('frazil_rows_copied_total', event.rows, { source: event.source })
      case 'staged':
        this.#add('frazil_files_written_total', 1, { source: event.source })
        this.#add('frazil_file_rows_total', event.rows, { source: event.source })
        this.#add('frazil_file_bytes_total', event.bytes, { source: event.source })
        return
      case 'compacted':
        this.#add('frazil_files_compacted_total', event.filesIn, { source: event.source })
        this.#add('frazil_compaction_read_bytes_total', event.bytesIn, { source: event.source })
        this.#add('frazil_compaction_written_bytes_total', event.bytesOut, { source: event.source })
        return
      case 'committed':
        this.#add('frazil_lake_commits_total', 1, { source: event.source })
        this.#add('frazil_lake_objects_total', event.objects, { source: event.source })
        this.#add('frazil_deletes_committed_total', event.deletes, { source: event.source })
        this.#histograms.get('frazil_lake_commit_seconds')?.observe({ source: event.source }, event.ms / 1000)
        return
      case 'swept':
        this.#add('frazil_orphans_removed_total', event.files, { source: event.source })
        return
      case 'followed':
        return this.#add('frazil_foreign_commits_total', 1, { source: event.source, table: event.table })
      case 'query':
        this.#add('frazil_queries_total', 1, { outcome: event.code ?? 'ok' })
        this.#add('frazil_query_files_total', event.files?.read ?? 0, { outcome: 'read' })
        this.#add('frazil_query_files_total', event.files?.skipped ?? 0, { outcome: 'skipped' })
        if (event.code === null) this.#histograms.get('frazil_query_seconds')?.observe(event.ms / 1000)
        return
      case 'replaced':
        return this.#add('frazil_values_replaced_total', event.values, { source: event.source })
      case 'received': {
        const { source, transport, signal, outcome } = event
        this.#add('frazil_otlp_requests_total', event.requests, { source, transport, signal, outcome })
        this.#add('frazil_otlp_bytes_total', event.bytes, { source, transport, signal })
        this.#add('frazil_otlp_records_total', event.records, { source, transport, signal })
        this.#add('frazil_otlp_rejected_records_total', event.rejected, { source, transport, signal })
        return
      }
      case 'retry':
        return this.#add('frazil_retries_total', 1, { what: event.what })
      case 'error':
        return this.#add('frazil_errors_total', 1, { kind: event.kind, code: event.code })
      case 'pressure':
        return this.#add('frazil_memory_pressure_total', 1, { action: event.action })
      case 'source':
      case 'table':
      case 'copied':
      case 'lease':
      case 'notice':
        return
    }
  }
}
