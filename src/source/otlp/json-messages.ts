import type { Signal } from './tables.ts'

/** How a field of JSON is written in protobuf. `id` is `bytes` as hex. */
export type FieldKind =
  | 'string'
  | 'bytes'
  | 'id'
  | 'bool'
  | 'int32'
  | 'enum'
  | 'uint32'
  | 'sint32'
  | 'fixed32'
  | 'int64'
  | 'uint64'
  | 'fixed64'
  | 'sfixed64'
  | 'double'

export interface JsonField {
  readonly number: number
  readonly kind: FieldKind | JsonMessage
  readonly repeated: boolean
}

/** Fields by the names that JSON has for them: lowerCamelCase (specification: "JSON Protobuf Encoding"). */
export type JsonMessage = ReadonlyMap<string, JsonField>

type Given = readonly [number: number, kind: FieldKind | JsonMessage, repeated?: 'repeated']

function message(fields: Readonly<Record<string, Given>>): JsonMessage {
  return new Map(
    Object.entries(fields).map(([name, [number, kind, repeated]]) => [name, { number, kind, repeated: repeated !== undefined }]),
  )
}

/** AnyValue and the two lists in it have each other as parts. */
const anyFields = new Map<string, JsonField>()
const anyValue: JsonMessage = anyFields
const keyValue = message({ key: [1, 'string'], value: [2, anyValue] })
for (const [name, field] of message({
  stringValue: [1, 'string'],
  boolValue: [2, 'bool'],
  intValue: [3, 'int64'],
  doubleValue: [4, 'double'],
  arrayValue: [5, message({ values: [1, anyValue, 'repeated'] })],
  kvlistValue: [6, message({ values: [1, keyValue, 'repeated'] })],
  bytesValue: [7, 'bytes'],
})) {
  anyFields.set(name, field)
}

const resource = message({ attributes: [1, keyValue, 'repeated'], droppedAttributesCount: [2, 'uint32'] })
const scope = message({
  name: [1, 'string'],
  version: [2, 'string'],
  attributes: [3, keyValue, 'repeated'],
  droppedAttributesCount: [4, 'uint32'],
})

const logRecord = message({
  timeUnixNano: [1, 'fixed64'],
  observedTimeUnixNano: [11, 'fixed64'],
  severityNumber: [2, 'enum'],
  severityText: [3, 'string'],
  body: [5, anyValue],
  attributes: [6, keyValue, 'repeated'],
  droppedAttributesCount: [7, 'uint32'],
  flags: [8, 'fixed32'],
  traceId: [9, 'id'],
  spanId: [10, 'id'],
  eventName: [12, 'string'],
})

const span = message({
  traceId: [1, 'id'],
  spanId: [2, 'id'],
  traceState: [3, 'string'],
  parentSpanId: [4, 'id'],
  flags: [16, 'fixed32'],
  name: [5, 'string'],
  kind: [6, 'enum'],
  startTimeUnixNano: [7, 'fixed64'],
  endTimeUnixNano: [8, 'fixed64'],
  attributes: [9, keyValue, 'repeated'],
  droppedAttributesCount: [10, 'uint32'],
  events: [
    11,
    message({
      timeUnixNano: [1, 'fixed64'],
      name: [2, 'string'],
      attributes: [3, keyValue, 'repeated'],
      droppedAttributesCount: [4, 'uint32'],
    }),
    'repeated',
  ],
  droppedEventsCount: [12, 'uint32'],
  links: [
    13,
    message({
      traceId: [1, 'id'],
      spanId: [2, 'id'],
      traceState: [3, 'string'],
      attributes: [4, keyValue, 'repeated'],
      droppedAttributesCount: [5, 'uint32'],
      flags: [6, 'fixed32'],
    }),
    'repeated',
  ],
  droppedLinksCount: [14, 'uint32'],
  status: [15, message({ message: [2, 'string'], code: [3, 'enum'] })],
})

const exemplar = message({
  filteredAttributes: [7, keyValue, 'repeated'],
  timeUnixNano: [2, 'fixed64'],
  asDouble: [3, 'double'],
  asInt: [6, 'sfixed64'],
  spanId: [4, 'id'],
  traceId: [5, 'id'],
})
const numberPoint = message({
  attributes: [7, keyValue, 'repeated'],
  startTimeUnixNano: [2, 'fixed64'],
  timeUnixNano: [3, 'fixed64'],
  asDouble: [4, 'double'],
  asInt: [6, 'sfixed64'],
  exemplars: [5, exemplar, 'repeated'],
  flags: [8, 'uint32'],
})
const histogramPoint = message({
  attributes: [9, keyValue, 'repeated'],
  startTimeUnixNano: [2, 'fixed64'],
  timeUnixNano: [3, 'fixed64'],
  count: [4, 'fixed64'],
  sum: [5, 'double'],
  bucketCounts: [6, 'fixed64', 'repeated'],
  explicitBounds: [7, 'double', 'repeated'],
  exemplars: [8, exemplar, 'repeated'],
  flags: [10, 'uint32'],
  min: [11, 'double'],
  max: [12, 'double'],
})
const buckets = message({ offset: [1, 'sint32'], bucketCounts: [2, 'uint64', 'repeated'] })
const expHistogramPoint = message({
  attributes: [1, keyValue, 'repeated'],
  startTimeUnixNano: [2, 'fixed64'],
  timeUnixNano: [3, 'fixed64'],
  count: [4, 'fixed64'],
  sum: [5, 'double'],
  scale: [6, 'sint32'],
  zeroCount: [7, 'fixed64'],
  positive: [8, buckets],
  negative: [9, buckets],
  flags: [10, 'uint32'],
  exemplars: [11, exemplar, 'repeated'],
  min: [12, 'double'],
  max: [13, 'double'],
  zeroThreshold: [14, 'double'],
})
const summaryPoint = message({
  attributes: [7, keyValue, 'repeated'],
  startTimeUnixNano: [2, 'fixed64'],
  timeUnixNano: [3, 'fixed64'],
  count: [4, 'fixed64'],
  sum: [5, 'double'],
  quantileValues: [6, message({ quantile: [1, 'double'], value: [2, 'double'] }), 'repeated'],
  flags: [8, 'uint32'],
})
const metric = message({
  name: [1, 'string'],
  description: [2, 'string'],
  unit: [3, 'string'],
  gauge: [5, message({ dataPoints: [1, numberPoint, 'repeated'] })],
  sum: [7, message({ dataPoints: [1, numberPoint, 'repeated'], aggregationTemporality: [2, 'enum'], isMonotonic: [3, 'bool'] })],
  histogram: [9, message({ dataPoints: [1, histogramPoint, 'repeated'], aggregationTemporality: [2, 'enum'] })],
  exponentialHistogram: [10, message({ dataPoints: [1, expHistogramPoint, 'repeated'], aggregationTemporality: [2, 'enum'] })],
  summary: [11, message({ dataPoints: [1, summaryPoint, 'repeated'] })],
  metadata: [12, keyValue, 'repeated'],
})

function request(resources: string, scopes: string, records: string, record: JsonMessage): JsonMessage {
  const ofScope = message({ scope: [1, scope], [records]: [2, record, 'repeated'], schemaUrl: [3, 'string'] })
  const ofResource = message({ resource: [1, resource], [scopes]: [2, ofScope, 'repeated'], schemaUrl: [3, 'string'] })
  return message({ [resources]: [1, ofResource, 'repeated'] })
}

/** Export…ServiceRequest. */
export const jsonRequests: Readonly<Record<Signal, JsonMessage>> = {
  logs: request('resourceLogs', 'scopeLogs', 'logRecords', logRecord),
  traces: request('resourceSpans', 'scopeSpans', 'spans', span),
  metrics: request('resourceMetrics', 'scopeMetrics', 'metrics', metric),
}
