/**
 * Writes OTLP requests as the protobuf files of OpenTelemetry have them (v1), field by field: a second opinion on how they are read.
 */

export type Attribute = readonly [key: string, value: AnyValue]
export type AnyValue =
  | null
  | { readonly string: string }
  | { readonly bool: boolean }
  | { readonly int: bigint }
  | { readonly double: number }
  | { readonly bytes: Uint8Array }
  | { readonly list: readonly AnyValue[] }
  | { readonly map: readonly Attribute[] }

export function varint(value: bigint | number): Buffer {
  let rest = BigInt.asUintN(64, BigInt(value))
  const bytes: number[] = []
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  return Buffer.from([...bytes, Number(rest)])
}

function tag(field: number, type: number): Buffer {
  return varint((field << 3) | type)
}

/** A field of text, bytes or a message. */
export function bytes(field: number, content: Uint8Array | string): Buffer {
  const buffer = Buffer.from(content)
  return Buffer.concat([tag(field, 2), varint(buffer.length), buffer])
}

export function number(field: number, value: bigint | number): Buffer {
  return Buffer.concat([tag(field, 0), varint(value)])
}

export function fixed64(field: number, value: bigint): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64LE(BigInt.asUintN(64, value))
  return Buffer.concat([tag(field, 1), out])
}

export function double(field: number, value: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeDoubleLE(value)
  return Buffer.concat([tag(field, 1), out])
}

export function fixed32(field: number, value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32LE(value >>> 0)
  return Buffer.concat([tag(field, 5), out])
}

export function message(...parts: readonly (Buffer | null)[]): Buffer {
  return Buffer.concat(parts.filter((part) => part !== null))
}

export function anyValue(value: AnyValue): Buffer {
  if (value === null) return Buffer.alloc(0)
  if ('string' in value) return bytes(1, value.string)
  if ('bool' in value) return number(2, value.bool ? 1 : 0)
  if ('int' in value) return number(3, value.int)
  if ('double' in value) return double(4, value.double)
  if ('bytes' in value) return bytes(7, value.bytes)
  if ('list' in value) return bytes(5, message(...value.list.map((item) => bytes(1, anyValue(item)))))
  return bytes(6, message(...value.map.map(([key, item]) => bytes(1, keyValue(key, item)))))
}

function keyValue(key: string, value: AnyValue): Buffer {
  return message(bytes(1, key), value === null ? null : bytes(2, anyValue(value)))
}

export function attributes(field: number, list: readonly Attribute[]): Buffer {
  return message(...list.map(([key, value]) => bytes(field, keyValue(key, value))))
}

export interface Resource {
  readonly attributes: readonly Attribute[]
  readonly dropped?: number
  readonly url?: string
}

export interface Scope {
  readonly name?: string
  readonly version?: string
  readonly attributes?: readonly Attribute[]
  readonly dropped?: number
  readonly url?: string
}

/** An Export…ServiceRequest: alike for logs, spans and metrics. */
export function request(
  groups: readonly { resource: Resource; scopes: readonly { scope: Scope; records: readonly Buffer[] }[] }[],
): Buffer {
  return message(
    ...groups.map(({ resource, scopes }) =>
      bytes(
        1,
        message(
          bytes(1, message(attributes(1, resource.attributes), resource.dropped ? number(2, resource.dropped) : null)),
          ...scopes.map(({ scope, records }) =>
            bytes(
              2,
              message(
                bytes(
                  1,
                  message(
                    scope.name ? bytes(1, scope.name) : null,
                    scope.version ? bytes(2, scope.version) : null,
                    attributes(3, scope.attributes ?? []),
                    scope.dropped ? number(4, scope.dropped) : null,
                  ),
                ),
                ...records.map((record) => bytes(2, record)),
                scope.url ? bytes(3, scope.url) : null,
              ),
            ),
          ),
          resource.url ? bytes(3, resource.url) : null,
        ),
      ),
    ),
  )
}

export interface LogRecord {
  readonly time?: bigint
  readonly observed?: bigint
  readonly severity?: number
  readonly severityText?: string
  readonly body?: AnyValue
  readonly attributes?: readonly Attribute[]
  readonly dropped?: number
  readonly flags?: number
  readonly traceId?: Uint8Array
  readonly spanId?: Uint8Array
  readonly event?: string
}

export function logRecord(log: LogRecord): Buffer {
  return message(
    log.time === undefined ? null : fixed64(1, log.time),
    log.severity === undefined ? null : number(2, log.severity),
    log.severityText === undefined ? null : bytes(3, log.severityText),
    log.body === undefined ? null : bytes(5, anyValue(log.body)),
    attributes(6, log.attributes ?? []),
    log.dropped === undefined ? null : number(7, log.dropped),
    log.flags === undefined ? null : fixed32(8, log.flags),
    log.traceId === undefined ? null : bytes(9, log.traceId),
    log.spanId === undefined ? null : bytes(10, log.spanId),
    log.observed === undefined ? null : fixed64(11, log.observed),
    log.event === undefined ? null : bytes(12, log.event),
  )
}

export interface SpanEvent {
  readonly time: bigint
  readonly name: string
  readonly attributes: readonly Attribute[]
  readonly dropped: number
}

export interface SpanLink {
  readonly traceId: Uint8Array
  readonly spanId: Uint8Array
  readonly state: string
  readonly attributes: readonly Attribute[]
  readonly dropped: number
  readonly flags: number
}

export interface Span {
  readonly traceId: Uint8Array
  readonly spanId: Uint8Array
  readonly parent?: Uint8Array
  readonly state?: string
  readonly flags?: number
  readonly name: string
  readonly kind?: number
  readonly start: bigint
  readonly end: bigint
  readonly attributes?: readonly Attribute[]
  readonly events?: readonly SpanEvent[]
  readonly links?: readonly SpanLink[]
  readonly status?: { readonly code: number; readonly message: string }
  /** Of attributes, events, links. */
  readonly dropped?: readonly [number, number, number]
}

export function span(of: Span): Buffer {
  const [attributesDropped, eventsDropped, linksDropped] = of.dropped ?? [0, 0, 0]
  return message(
    bytes(1, of.traceId),
    bytes(2, of.spanId),
    of.state === undefined ? null : bytes(3, of.state),
    of.parent ? bytes(4, of.parent) : null,
    bytes(5, of.name),
    of.kind === undefined ? null : number(6, of.kind),
    fixed64(7, of.start),
    fixed64(8, of.end),
    attributes(9, of.attributes ?? []),
    number(10, attributesDropped),
    ...(of.events ?? []).map((event) =>
      bytes(11, message(fixed64(1, event.time), bytes(2, event.name), attributes(3, event.attributes), number(4, event.dropped))),
    ),
    number(12, eventsDropped),
    ...(of.links ?? []).map((link) =>
      bytes(
        13,
        message(
          bytes(1, link.traceId),
          bytes(2, link.spanId),
          bytes(3, link.state),
          attributes(4, link.attributes),
          number(5, link.dropped),
          fixed32(6, link.flags),
        ),
      ),
    ),
    number(14, linksDropped),
    of.status ? bytes(15, message(bytes(2, of.status.message), number(3, of.status.code))) : null,
    of.flags === undefined ? null : fixed32(16, of.flags),
  )
}

export interface Exemplar {
  readonly time: bigint
  readonly value: { readonly int: bigint } | { readonly double: number }
  readonly traceId?: Uint8Array
  readonly spanId?: Uint8Array
  readonly attributes: readonly Attribute[]
}

function exemplar(field: number, { time, value, traceId, spanId, attributes: own }: Exemplar): Buffer {
  return bytes(
    field,
    message(
      fixed64(2, time),
      'int' in value ? fixed64(6, value.int) : double(3, value.double),
      spanId ? bytes(4, spanId) : null,
      traceId ? bytes(5, traceId) : null,
      attributes(7, own),
    ),
  )
}

interface Point {
  readonly start?: bigint
  readonly time: bigint
  readonly attributes?: readonly Attribute[]
  readonly flags?: number
  readonly exemplars?: readonly Exemplar[]
}

export interface NumberPoint extends Point {
  readonly value?: { readonly int: bigint } | { readonly double: number }
}

export interface HistogramPoint extends Point {
  readonly count: bigint
  readonly sum?: number
  readonly min?: number
  readonly max?: number
  readonly buckets: readonly bigint[]
  readonly bounds: readonly number[]
  /** Repeated numbers as one field, or a field each. */
  readonly packed?: boolean
}

export interface ExpHistogramPoint extends Point {
  readonly count: bigint
  readonly sum?: number
  readonly min?: number
  readonly max?: number
  readonly scale: number
  readonly zeroCount: bigint
  readonly zeroThreshold: number
  readonly positive: { readonly offset: number; readonly counts: readonly bigint[] }
  readonly negative: { readonly offset: number; readonly counts: readonly bigint[] }
}

export interface SummaryPoint extends Point {
  readonly count: bigint
  readonly sum: number
  readonly quantiles: readonly (readonly [quantile: number, value: number])[]
}

export type MetricData =
  | { readonly kind: 'gauge'; readonly points: readonly NumberPoint[] }
  | { readonly kind: 'sum'; readonly points: readonly NumberPoint[]; readonly temporality: number; readonly monotonic: boolean }
  | { readonly kind: 'histogram'; readonly points: readonly HistogramPoint[]; readonly temporality: number }
  | { readonly kind: 'exp-histogram'; readonly points: readonly ExpHistogramPoint[]; readonly temporality: number }
  | { readonly kind: 'summary'; readonly points: readonly SummaryPoint[] }

export interface Metric {
  readonly name: string
  readonly description?: string
  readonly unit?: string
  readonly metadata?: readonly Attribute[]
  readonly data: MetricData
}

function times({ start, time }: Point): Buffer {
  return message(start === undefined ? null : fixed64(2, start), fixed64(3, time))
}

function optionalDouble(field: number, value: number | undefined): Buffer | null {
  return value === undefined ? null : double(field, value)
}

function zigzag(value: number): number {
  return ((value << 1) ^ (value >> 31)) >>> 0
}

/** Repeated numbers of eight bytes. */
function eights(field: number, values: readonly Buffer[], packed: boolean): Buffer {
  if (packed) return bytes(field, message(...values.map((value) => value.subarray(1))))
  return message(...values)
}

function points(data: MetricData): Buffer[] {
  switch (data.kind) {
    case 'gauge':
    case 'sum':
      return data.points.map((point) =>
        message(
          times(point),
          point.value ? ('int' in point.value ? fixed64(6, point.value.int) : double(4, point.value.double)) : null,
          ...(point.exemplars ?? []).map((one) => exemplar(5, one)),
          attributes(7, point.attributes ?? []),
          number(8, point.flags ?? 0),
        ),
      )
    case 'histogram':
      return data.points.map((point) =>
        message(
          times(point),
          fixed64(4, point.count),
          optionalDouble(5, point.sum),
          eights(
            6,
            point.buckets.map((count) => fixed64(6, count)),
            point.packed ?? true,
          ),
          eights(
            7,
            point.bounds.map((bound) => double(7, bound)),
            point.packed ?? true,
          ),
          ...(point.exemplars ?? []).map((one) => exemplar(8, one)),
          attributes(9, point.attributes ?? []),
          number(10, point.flags ?? 0),
          optionalDouble(11, point.min),
          optionalDouble(12, point.max),
        ),
      )
    case 'exp-histogram':
      return data.points.map((point) => {
        const buckets = (field: number, { offset, counts }: { offset: number; counts: readonly bigint[] }): Buffer =>
          bytes(field, message(number(1, zigzag(offset)), bytes(2, message(...counts.map((count) => varint(count))))))
        return message(
          attributes(1, point.attributes ?? []),
          times(point),
          fixed64(4, point.count),
          optionalDouble(5, point.sum),
          number(6, zigzag(point.scale)),
          fixed64(7, point.zeroCount),
          buckets(8, point.positive),
          buckets(9, point.negative),
          number(10, point.flags ?? 0),
          ...(point.exemplars ?? []).map((one) => exemplar(11, one)),
          optionalDouble(12, point.min),
          optionalDouble(13, point.max),
          double(14, point.zeroThreshold),
        )
      })
    case 'summary':
      return data.points.map((point) =>
        message(
          times(point),
          fixed64(4, point.count),
          double(5, point.sum),
          ...point.quantiles.map(([quantile, value]) => bytes(6, message(double(1, quantile), double(2, value)))),
          attributes(7, point.attributes ?? []),
          number(8, point.flags ?? 0),
        ),
      )
  }
}

const dataFields = { gauge: 5, sum: 7, histogram: 9, 'exp-histogram': 10, summary: 11 } as const

export function metric({ name, description, unit, metadata, data }: Metric): Buffer {
  return message(
    bytes(1, name),
    description === undefined ? null : bytes(2, description),
    unit === undefined ? null : bytes(3, unit),
    bytes(
      dataFields[data.kind],
      message(
        ...points(data).map((point) => bytes(1, point)),
        'temporality' in data ? number(2, data.temporality) : null,
        'monotonic' in data ? number(3, data.monotonic ? 1 : 0) : null,
      ),
    ),
    attributes(12, metadata ?? []),
  )
}
