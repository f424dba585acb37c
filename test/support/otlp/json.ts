import { Buffer } from 'node:buffer'
import type { Group } from './arbitrary.ts'
import type { AnyValue, Attribute, Exemplar, LogRecord, Metric, Span } from './encode.ts'

/** Requests as OTLP/HTTP has them in JSON: hex ids, 64-bit numbers as text, lowerCamelCase. */

function anyJson(value: AnyValue): unknown {
  if (value === null) return {}
  if ('string' in value) return { stringValue: value.string }
  if ('bool' in value) return { boolValue: value.bool }
  if ('int' in value) return { intValue: String(value.int) }
  if ('double' in value) return { doubleValue: double(value.double) }
  if ('bytes' in value) return { bytesValue: Buffer.from(value.bytes).toString('base64') }
  if ('list' in value) return { arrayValue: { values: value.list.map(anyJson) } }
  return { kvlistValue: { values: pairs(value.map) } }
}

function pairs(attributes: readonly Attribute[] = []): unknown[] {
  return attributes.map(([key, value]) => ({ key, value: value === null ? undefined : anyJson(value) }))
}

function double(value: number | undefined): unknown {
  if (value === undefined || Number.isFinite(value)) return Object.is(value, -0) ? '-0' : value
  return String(value)
}

function hex(bytes: Uint8Array | undefined): string | undefined {
  return bytes && Buffer.from(bytes).toString('hex').toUpperCase()
}

function long(value: bigint | undefined): string | undefined {
  return value === undefined ? undefined : String(value)
}

export function logJson(log: LogRecord): unknown {
  return {
    timeUnixNano: long(log.time),
    observedTimeUnixNano: long(log.observed),
    severityNumber: log.severity,
    severityText: log.severityText,
    body: log.body === undefined ? undefined : anyJson(log.body),
    attributes: pairs(log.attributes),
    droppedAttributesCount: log.dropped,
    flags: log.flags,
    traceId: hex(log.traceId),
    spanId: hex(log.spanId),
    eventName: log.event,
    of_no_interest: { stringValue: 1 },
  }
}

export function spanJson(span: Span): unknown {
  const [droppedAttributesCount, droppedEventsCount, droppedLinksCount] = span.dropped ?? []
  return {
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    traceState: span.state,
    parentSpanId: hex(span.parent),
    flags: span.flags,
    name: span.name,
    kind: span.kind,
    startTimeUnixNano: long(span.start),
    endTimeUnixNano: long(span.end),
    attributes: pairs(span.attributes),
    droppedAttributesCount,
    events: span.events?.map((event) => ({
      timeUnixNano: long(event.time),
      name: event.name,
      attributes: pairs(event.attributes),
      droppedAttributesCount: event.dropped,
    })),
    droppedEventsCount,
    links: span.links?.map((link) => ({
      traceId: hex(link.traceId),
      spanId: hex(link.spanId),
      traceState: link.state,
      attributes: pairs(link.attributes),
      droppedAttributesCount: link.dropped,
      flags: link.flags,
    })),
    droppedLinksCount,
    status: span.status,
  }
}

function exemplarJson({ time, value, traceId, spanId, attributes }: Exemplar): unknown {
  return {
    timeUnixNano: long(time),
    ...('int' in value ? { asInt: long(value.int) } : { asDouble: double(value.double) }),
    traceId: hex(traceId),
    spanId: hex(spanId),
    filteredAttributes: pairs(attributes),
  }
}

export function metricJson({ name, description, unit, metadata, data }: Metric): unknown {
  const dataPoints = data.points.map((point) => {
    const about = {
      startTimeUnixNano: long(point.start),
      timeUnixNano: long(point.time),
      attributes: pairs(point.attributes),
      flags: point.flags,
      exemplars: point.exemplars?.map(exemplarJson),
    }
    if ('quantiles' in point) {
      const quantileValues = point.quantiles.map(([quantile, value]) => ({ quantile: double(quantile), value: double(value) }))
      return { ...about, exemplars: undefined, count: long(point.count), sum: double(point.sum), quantileValues }
    }
    if (!('count' in point)) {
      const value = 'value' in point ? point.value : undefined
      if (!value) return about
      return { ...about, ...('int' in value ? { asInt: long(value.int) } : { asDouble: double(value.double) }) }
    }
    const spread = { count: long(point.count), sum: double(point.sum), min: double(point.min), max: double(point.max) }
    if ('buckets' in point) {
      return { ...about, ...spread, bucketCounts: point.buckets.map(String), explicitBounds: point.bounds.map(double) }
    }
    const buckets = ({ offset, counts }: typeof point.positive): unknown => ({ offset, bucketCounts: counts.map(String) })
    return {
      ...about,
      ...spread,
      scale: point.scale,
      zeroCount: long(point.zeroCount),
      zeroThreshold: double(point.zeroThreshold),
      positive: buckets(point.positive),
      negative: buckets(point.negative),
    }
  })
  const field = data.kind === 'exp-histogram' ? 'exponentialHistogram' : data.kind
  return {
    name,
    description,
    unit,
    metadata: pairs(metadata),
    [field]: {
      dataPoints,
      aggregationTemporality: 'temporality' in data ? data.temporality : undefined,
      isMonotonic: 'monotonic' in data ? data.monotonic : undefined,
    },
  }
}

const names = {
  logs: ['resourceLogs', 'scopeLogs', 'logRecords'],
  traces: ['resourceSpans', 'scopeSpans', 'spans'],
  metrics: ['resourceMetrics', 'scopeMetrics', 'metrics'],
} as const

export function requestJson<T>(signal: keyof typeof names, groups: readonly Group<T>[], record: (one: T) => unknown): Buffer {
  const [resources, scopes, records] = names[signal]
  return Buffer.from(
    JSON.stringify({
      [resources]: groups.map((group) => ({
        resource: { attributes: pairs(group.resource.attributes), droppedAttributesCount: group.resource.dropped },
        [scopes]: group.scopes.map(({ scope, records: list }) => ({
          scope: {
            name: scope.name,
            version: scope.version,
            attributes: pairs(scope.attributes),
            droppedAttributesCount: scope.dropped,
          },
          [records]: list.map(record),
          schemaUrl: scope.url,
        })),
        schemaUrl: group.resource.url,
      })),
    }),
  )
}
