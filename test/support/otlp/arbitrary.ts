import * as fc from 'fast-check'
import type { AnyValue, Attribute, Exemplar, LogRecord, Metric, Resource, Scope, Span } from './encode.ts'

/** Text as it may come: empty, long, of all planes. */
export const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.string({ unit: 'grapheme-ascii', minLength: 60, maxLength: 120 }),
)

const signed = fc.oneof(
  fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
  fc.bigInt(-300n, 300n),
  fc.constantFrom(2n ** 31n, -(2n ** 31n), 2n ** 32n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)),
)
const double = fc.double()
const count = fc.oneof(fc.bigInt(0n, 2n ** 63n - 1n), fc.bigInt(0n, 5n))
const small = fc.integer({ min: 0, max: 2 ** 31 - 1 })
/** Days are partitions: only few of them. */
const time = fc.oneof(
  { weight: 8, arbitrary: fc.bigInt(0n, 86_400_000_000_000n).map((nanos) => 1_790_000_000_000_000_000n + nanos) },
  { weight: 1, arbitrary: fc.constantFrom(0n, 1n, 999n, 1000n, 2n ** 32n, 2n ** 63n - 1n) },
)
const traceId = fc.uint8Array({ minLength: 16, maxLength: 16 })
const spanId = fc.uint8Array({ minLength: 8, maxLength: 8 })
/** As programs should not send them. */
const oddId = fc.oneof(fc.constant(new Uint8Array(0)), fc.constant(new Uint8Array(16)), fc.uint8Array({ maxLength: 20 }))

const { value: anyValue } = fc.letrec<{ value: AnyValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    text.map((string) => ({ string })),
    signed.map((int) => ({ int })),
    double.map((number) => ({ double: number })),
    fc.boolean().map((bool) => ({ bool })),
    fc.uint8Array({ maxLength: 10 }).map((bytes) => ({ bytes })),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }).map((list) => ({ list })),
    fc.array(fc.tuple(key(), tie('value')), { maxLength: 3 }).map((map) => ({ map })),
  ),
}))

/** Some keys come again and again: within one record, too. */
function key(): fc.Arbitrary<string> {
  return fc.oneof(fc.constantFrom('service.name', 'http.status', 'host', 'ratio', 'ok', ''), text)
}

const attributes = fc.oneof(
  fc.array(fc.tuple(key(), anyValue), { maxLength: 5 }),
  fc.array(fc.tuple(key(), anyValue), { minLength: 20, maxLength: 40 }),
) satisfies fc.Arbitrary<readonly Attribute[]>

const resource: fc.Arbitrary<Resource> = fc.record({ attributes, dropped: small, url: text }, { requiredKeys: ['attributes'] })
const scope: fc.Arbitrary<Scope> = fc.record(
  { name: text, version: text, attributes, dropped: small, url: text },
  { requiredKeys: [] },
)

export interface Group<T> {
  readonly resource: Resource
  readonly scopes: readonly { readonly scope: Scope; readonly records: readonly T[] }[]
}

function groups<T>(record: fc.Arbitrary<T>): fc.Arbitrary<readonly Group<T>[]> {
  const scopes = fc.array(fc.record({ scope, records: fc.array(record, { maxLength: 4 }) }), { maxLength: 3 })
  return fc.array(fc.record({ resource, scopes }), { maxLength: 3 })
}

const log: fc.Arbitrary<LogRecord> = fc.record(
  {
    time,
    observed: time,
    severity: fc.integer({ min: 0, max: 24 }),
    severityText: text,
    body: anyValue,
    attributes,
    dropped: small,
    flags: small,
    traceId: fc.oneof(traceId, oddId),
    spanId: fc.oneof(spanId, oddId),
    event: text,
  },
  { requiredKeys: [] },
)

const span: fc.Arbitrary<Span> = fc.record(
  {
    traceId: fc.oneof(traceId, oddId),
    spanId: fc.oneof(spanId, oddId),
    parent: fc.oneof(spanId, oddId),
    state: text,
    flags: small,
    name: text,
    kind: fc.integer({ min: 0, max: 5 }),
    start: time,
    end: time,
    attributes,
    events: fc.array(fc.record({ time, name: text, attributes, dropped: small }), { maxLength: 3 }),
    links: fc.array(fc.record({ traceId, spanId, state: text, attributes, dropped: small, flags: small }), { maxLength: 3 }),
    status: fc.record({ code: fc.integer({ min: 0, max: 2 }), message: text }),
    dropped: fc.tuple(small, small, small),
  },
  { requiredKeys: ['traceId', 'spanId', 'name', 'start', 'end'] },
)

const value = fc.oneof(
  signed.map((int) => ({ int })),
  double.map((number) => ({ double: number })),
)
const exemplars: fc.Arbitrary<Exemplar[]> = fc.array(
  fc.record({ time, value, traceId, spanId, attributes }, { requiredKeys: ['time', 'value', 'attributes'] }),
  { maxLength: 2 },
)
const point = { start: time, time, attributes, flags: fc.constantFrom(0, 1), exemplars }
const spread = { count, sum: double, min: double, max: double }
const temporality = fc.integer({ min: 0, max: 2 })
const numberPoint = fc.record({ ...point, value }, { requiredKeys: ['time'] })
const histogramPoint = fc.record(
  {
    ...point,
    ...spread,
    buckets: fc.array(count, { maxLength: 4 }),
    bounds: fc.array(double, { maxLength: 3 }),
    packed: fc.boolean(),
  },
  { requiredKeys: ['time', 'count', 'buckets', 'bounds'] },
)
const int32 = fc.integer()
const buckets = fc.record({ offset: int32, counts: fc.array(count, { maxLength: 4 }) })
const expHistogramPoint = fc.record(
  { ...point, ...spread, scale: int32, zeroCount: count, zeroThreshold: double, positive: buckets, negative: buckets },
  { requiredKeys: ['time', 'count', 'scale', 'zeroCount', 'zeroThreshold', 'positive', 'negative'] },
)
const { start, attributes: own, flags } = point
const summaryPoint = fc.record(
  { start, time, attributes: own, flags, count, sum: double, quantiles: fc.array(fc.tuple(double, double), { maxLength: 3 }) },
  { requiredKeys: ['time', 'count', 'sum', 'quantiles'] },
)

function points<T>(one: fc.Arbitrary<T>): fc.Arbitrary<T[]> {
  return fc.array(one, { maxLength: 3 })
}

const metric: fc.Arbitrary<Metric> = fc.record(
  {
    name: text,
    description: text,
    unit: text,
    metadata: attributes,
    data: fc.oneof(
      fc.record({ kind: fc.constant('gauge' as const), points: points(numberPoint) }),
      fc.record({ kind: fc.constant('sum' as const), points: points(numberPoint), temporality, monotonic: fc.boolean() }),
      fc.record({ kind: fc.constant('histogram' as const), points: points(histogramPoint), temporality }),
      fc.record({ kind: fc.constant('exp-histogram' as const), points: points(expHistogramPoint), temporality }),
      fc.record({ kind: fc.constant('summary' as const), points: points(summaryPoint) }),
    ),
  },
  { requiredKeys: ['name', 'data'] },
)

export const logRequest = groups(log)
export const traceRequest = groups(span)
export const metricRequest = groups(metric)
