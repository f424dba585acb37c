import type { Field, StructType, Type } from '../../data/index.ts'

/** What a request carries: the last part of its path, and which of the three services it is for. */
export type Signal = (typeof signals)[number]

export const signals = ['logs', 'traces', 'metrics'] as const

/** The tables, in the order of {@link tableIndex}. */
export const tableNames = [
  'otel_logs',
  'otel_traces',
  'otel_metrics_number',
  'otel_metrics_histogram',
  'otel_metrics_exp_histogram',
  'otel_metrics_summary',
] as const

export type TableName = (typeof tableNames)[number]

/** Places of tables in {@link tableNames}. */
export const tableIndex = { logs: 0, traces: 1, number: 2, histogram: 3, expHistogram: 4, summary: 5 } as const

/** The column of time that a table is partitioned by the days of, and ordered by within a service. */
const timeColumns: Readonly<Record<TableName, string>> = {
  otel_logs: 'time',
  otel_traces: 'start_time',
  otel_metrics_number: 'time',
  otel_metrics_histogram: 'time',
  otel_metrics_exp_histogram: 'time',
  otel_metrics_summary: 'time',
}

/** An attribute that has a column of its own beside its place among the attributes. */
export interface Promotion {
  readonly attribute: string
  readonly column: string
  readonly type: PromotedType
  readonly of: 'resource' | Signal
}

export type PromotedType = 'string' | 'int' | 'long' | 'double' | 'boolean'

const boolean: Type = { kind: 'boolean' }
const int: Type = { kind: 'int' }
const long: Type = { kind: 'long' }
const double: Type = { kind: 'double' }
const text: Type = { kind: 'string' }
const time: Type = { kind: 'timestamptz' }
const attributeMap: Type = { kind: 'map', keyId: 0, key: text, valueId: 0, value: text, valueRequired: false }

function optional(name: string, type: Type): Field {
  return { id: 0, name, type, required: false }
}

function needed(name: string, type: Type): Field {
  return { id: 0, name, type, required: true }
}

function list(element: Type, elementRequired = true): Type {
  return { kind: 'list', elementId: 0, element, elementRequired }
}

function times(...names: readonly string[]): Field[] {
  return names.flatMap((name) => [optional(name, time), optional(`${name}_unix_nano`, long)])
}

const common: readonly Field[] = [
  needed('resource_attributes', attributeMap),
  optional('resource_schema_url', text),
  needed('resource_dropped_attributes_count', int),
  optional('service_name', text),
  optional('scope_name', text),
  optional('scope_version', text),
  needed('scope_attributes', attributeMap),
  needed('scope_dropped_attributes_count', int),
  optional('scope_schema_url', text),
]

/** Columns that all records of a scope have the same values in, as have those of promoted attributes of resources. */
export const sharedColumns = common.map(({ name }) => name)

export const eventType: StructType = {
  kind: 'struct',
  fields: [...times('time'), needed('name', text), needed('attributes', attributeMap), needed('dropped', int)],
}

export const linkType: StructType = {
  kind: 'struct',
  fields: [
    optional('trace_id', text),
    optional('span_id', text),
    optional('trace_state', text),
    needed('flags', int),
    needed('attributes', attributeMap),
    needed('dropped', int),
  ],
}

export const exemplarType: StructType = {
  kind: 'struct',
  fields: [
    ...times('time'),
    optional('value_double', double),
    optional('value_int', long),
    optional('trace_id', text),
    optional('span_id', text),
    needed('filtered_attributes', attributeMap),
  ],
}

export const quantileType: StructType = { kind: 'struct', fields: [needed('quantile', double), needed('value', double)] }

const metric: readonly Field[] = [
  needed('metric_name', text),
  optional('description', text),
  optional('unit', text),
  needed('metric_metadata', attributeMap),
]

const point: readonly Field[] = [...times('start_time', 'time'), needed('flags', int), needed('attributes', attributeMap)]

const exemplars: readonly Field[] = [needed('exemplars', list(exemplarType))]
const spread: readonly Field[] = [
  optional('count', long),
  optional('sum', double),
  optional('min', double),
  optional('max', double),
]

/** The columns of each table, without those of promoted attributes. */
const columns: Readonly<Record<TableName, readonly Field[]>> = {
  otel_logs: [
    ...times('time', 'observed_time'),
    optional('trace_id', text),
    optional('span_id', text),
    needed('flags', int),
    needed('severity_number', int),
    optional('severity_text', text),
    optional('body', text),
    needed('attributes', attributeMap),
    needed('dropped_attributes_count', int),
    optional('event_name', text),
  ],
  otel_traces: [
    ...times('start_time', 'end_time'),
    optional('duration_ns', long),
    optional('trace_id', text),
    optional('span_id', text),
    optional('parent_span_id', text),
    optional('trace_state', text),
    needed('flags', int),
    needed('name', text),
    needed('kind', int),
    needed('status_code', int),
    optional('status_message', text),
    needed('attributes', attributeMap),
    needed('dropped_attributes_count', int),
    needed('events', list(eventType)),
    needed('dropped_events', int),
    needed('links', list(linkType)),
    needed('dropped_links', int),
  ],
  otel_metrics_number: [
    ...metric,
    needed('type', text),
    optional('temporality', int),
    optional('is_monotonic', boolean),
    ...point,
    optional('value_double', double),
    optional('value_int', long),
    ...exemplars,
  ],
  otel_metrics_histogram: [
    ...metric,
    optional('temporality', int),
    ...point,
    ...spread,
    needed('bucket_counts', list(long)),
    needed('explicit_bounds', list(double)),
    ...exemplars,
  ],
  otel_metrics_exp_histogram: [
    ...metric,
    optional('temporality', int),
    ...point,
    ...spread,
    needed('scale', int),
    needed('zero_count', long),
    needed('zero_threshold', double),
    needed('positive_offset', int),
    needed('positive_bucket_counts', list(long)),
    needed('negative_offset', int),
    needed('negative_bucket_counts', list(long)),
    ...exemplars,
  ],
  otel_metrics_summary: [
    ...metric,
    ...point,
    optional('count', long),
    optional('sum', double),
    needed('quantiles', list(quantileType)),
  ],
}

const signalOf: Readonly<Record<TableName, Signal>> = {
  otel_logs: 'logs',
  otel_traces: 'traces',
  otel_metrics_number: 'metrics',
  otel_metrics_histogram: 'metrics',
  otel_metrics_exp_histogram: 'metrics',
  otel_metrics_summary: 'metrics',
}

/** All columns of a table. */
export function fieldsOf(table: TableName, promotions: readonly Promotion[]): Field[] {
  const own = promotions.filter(({ of }) => of === 'resource' || of === signalOf[table])
  return [...common, ...columns[table], ...own.map(({ column, type }) => optional(column, { kind: type }))]
}

/** Each table: the column of its time, and the names of its columns without those of promoted attributes, in lower case. */
export const otlpTables = tableNames.map((table) => ({
  table,
  time: timeColumns[table],
  columns: new Set(fieldsOf(table, []).map(({ name }) => name.toLowerCase())),
}))
