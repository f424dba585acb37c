import { Buffer } from 'node:buffer'
import type { Group } from './arbitrary.ts'
import type { AnyValue, Attribute, Exemplar, LogRecord, Metric, Span } from './encode.ts'

/** Rows as docs/otlp.md says that they become: column → value, as answers of queries have them. Written apart from what decodes them. */
export type ExpectedRow = Readonly<Record<string, unknown>>

function doubleText(number: number): string {
  return Object.is(number, -0) ? '-0' : String(number)
}

function json(value: AnyValue): string {
  if (value === null) return 'null'
  if ('string' in value) return JSON.stringify(value.string)
  if ('bool' in value) return String(value.bool)
  if ('int' in value) return String(value.int)
  if ('double' in value) return Number.isFinite(value.double) ? doubleText(value.double) : `"${value.double}"`
  if ('bytes' in value) return `"${Buffer.from(value.bytes).toString('base64')}"`
  if ('list' in value) return `[${value.list.map(json).join()}]`
  return `{${[...new Map(value.map)].map(([key, member]) => `${JSON.stringify(key)}:${json(member)}`).join()}}`
}

function canonical(value: AnyValue): string | null {
  if (value === null) return null
  if ('string' in value) return value.string
  if ('double' in value) return doubleText(value.double)
  if ('bytes' in value) return Buffer.from(value.bytes).toString('base64')
  return json(value)
}

/** Entries in the order of their keys: answers have them in any. */
function map(attributes: readonly Attribute[] = []): unknown {
  return sorted(new Map(attributes.map(([key, value]) => [key, canonical(value)])))
}

function sorted(entries: ReadonlyMap<string, unknown>): unknown {
  return [...entries].sort(([a], [b]) => (a < b ? -1 : 1))
}

function text(value: string | undefined): string | null {
  return value === undefined || value === '' ? null : value
}

function hex(id: Uint8Array | undefined, bytes: number): string | null {
  return id?.length === bytes && id.some((byte) => byte !== 0) ? Buffer.from(id).toString('hex') : null
}

/** Microseconds, and what they were. */
function times(name: string, nanos: bigint | undefined): Record<string, unknown> {
  const known = nanos === undefined || nanos === 0n ? null : nanos
  return { [name]: known === null ? null : known / 1000n, [`${name}_unix_nano`]: known }
}

function double(value: number | undefined): unknown {
  return value === undefined ? null : doubleText(value)
}

export function expectedRows<T>(groups: readonly Group<T>[], rows: (record: T) => ExpectedRow[]): ExpectedRow[] {
  return groups.flatMap(({ resource, scopes }) =>
    scopes.flatMap(({ scope, records }) =>
      records.flatMap(rows).map((row) => ({
        resource_attributes: map(resource.attributes),
        resource_schema_url: text(resource.url),
        resource_dropped_attributes_count: resource.dropped ?? 0,
        service_name: canonical(new Map(resource.attributes).get('service.name') ?? null),
        scope_name: text(scope.name),
        scope_version: text(scope.version),
        scope_attributes: map(scope.attributes),
        scope_dropped_attributes_count: scope.dropped ?? 0,
        scope_schema_url: text(scope.url),
        ...row,
      })),
    ),
  )
}

export function logRows(log: LogRecord): ExpectedRow[] {
  return [
    {
      ...times('time', log.time),
      ...times('observed_time', log.observed),
      time: times('time', log.time || log.observed)['time'],
      trace_id: hex(log.traceId, 16),
      span_id: hex(log.spanId, 8),
      flags: log.flags ?? 0,
      severity_number: log.severity ?? 0,
      severity_text: text(log.severityText),
      body: canonical(log.body ?? null),
      attributes: map(log.attributes),
      dropped_attributes_count: log.dropped ?? 0,
      event_name: text(log.event),
    },
  ]
}

export function spanRows(span: Span): ExpectedRow[] {
  const [attributes, events, links] = span.dropped ?? [0, 0, 0]
  return [
    {
      ...times('start_time', span.start),
      ...times('end_time', span.end),
      duration_ns: span.start === 0n || span.end === 0n ? null : span.end - span.start,
      trace_id: hex(span.traceId, 16),
      span_id: hex(span.spanId, 8),
      parent_span_id: hex(span.parent, 8),
      trace_state: text(span.state),
      flags: span.flags ?? 0,
      name: span.name,
      kind: span.kind ?? 0,
      status_code: span.status?.code ?? 0,
      status_message: text(span.status?.message),
      attributes: map(span.attributes),
      dropped_attributes_count: attributes,
      events: (span.events ?? []).map((event) => ({
        ...times('time', event.time),
        name: event.name,
        attributes: map(event.attributes),
        dropped: event.dropped,
      })),
      dropped_events: events,
      links: (span.links ?? []).map((link) => ({
        trace_id: hex(link.traceId, 16),
        span_id: hex(link.spanId, 8),
        trace_state: text(link.state),
        flags: link.flags,
        attributes: map(link.attributes),
        dropped: link.dropped,
      })),
      dropped_links: links,
    },
  ]
}

function exemplars(list: readonly Exemplar[] = []): unknown {
  return list.map(({ time, value, traceId, spanId, attributes }) => ({
    ...times('time', time),
    value_double: 'double' in value ? doubleText(value.double) : null,
    value_int: 'int' in value ? value.int : null,
    trace_id: hex(traceId, 16),
    span_id: hex(spanId, 8),
    filtered_attributes: map(attributes),
  }))
}

/** The rows of a metric; all belong to the table of its kind. */
export function metricRows({ name, description, unit, metadata, data }: Metric): ExpectedRow[] {
  const about = {
    metric_name: name,
    description: text(description),
    unit: text(unit),
    metric_metadata: map(metadata),
    ...(data.kind === 'gauge' || data.kind === 'sum' ? { type: data.kind } : {}),
    ...(data.kind === 'gauge'
      ? { temporality: null, is_monotonic: null }
      : data.kind === 'sum'
        ? { temporality: data.temporality, is_monotonic: data.monotonic }
        : data.kind === 'summary'
          ? {}
          : { temporality: data.temporality }),
  }
  return data.points.map((point) => {
    const isNone = point.flags === 1
    const common = {
      ...about,
      ...times('start_time', point.start),
      ...times('time', point.time),
      flags: point.flags ?? 0,
      attributes: map(point.attributes),
    }
    const value = (known: unknown): unknown => (isNone ? null : known)
    if ('quantiles' in point) {
      return {
        ...common,
        count: value(point.count),
        sum: value(doubleText(point.sum)),
        quantiles: point.quantiles.map(([quantile, at]) => ({ quantile: doubleText(quantile), value: doubleText(at) })),
      }
    }
    const withExemplars = { ...common, exemplars: exemplars(point.exemplars) }
    if ('count' in point) {
      const spread = {
        count: value(point.count),
        sum: value(double(point.sum)),
        min: value(double(point.min)),
        max: value(double(point.max)),
      }
      if ('buckets' in point) {
        const explicit_bounds = point.bounds.map(doubleText)
        return { ...withExemplars, ...spread, bucket_counts: point.buckets, explicit_bounds }
      }
      return {
        ...withExemplars,
        ...spread,
        scale: point.scale,
        zero_count: point.zeroCount,
        zero_threshold: doubleText(point.zeroThreshold),
        positive_offset: point.positive.offset,
        positive_bucket_counts: point.positive.counts,
        negative_offset: point.negative.offset,
        negative_bucket_counts: point.negative.counts,
      }
    }
    const number = 'value' in point ? point.value : undefined
    return {
      ...withExemplars,
      value_double: value(number && 'double' in number ? doubleText(number.double) : null),
      value_int: value(number && 'int' in number ? number.int : null),
    }
  })
}
