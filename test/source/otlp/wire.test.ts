import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { SlabPool, systemClock } from '../../../src/base/index.ts'
import { readRow } from '../../../src/data/index.ts'
import type { Field, Type, Value } from '../../../src/data/index.ts'
import { RequestDecoder, tablesOf } from '../../../src/source/otlp/request-decoder.ts'
import { fieldsOf, tableNames } from '../../../src/source/otlp/tables.ts'
import type { Signal } from '../../../src/source/otlp/tables.ts'
import { letGo } from '../../../src/source/push/index.ts'
import { logRequest, metricRequest, traceRequest } from '../../support/otlp/arbitrary.ts'
import type { Group } from '../../support/otlp/arbitrary.ts'
import { logRecord, metric, request, span } from '../../support/otlp/encode.ts'
import type { LogRecord, Metric, Span } from '../../support/otlp/encode.ts'
import { expectedRows, logRows, metricRows, spanRows } from '../../support/otlp/expected.ts'
import type { ExpectedRow } from '../../support/otlp/expected.ts'
import { luck, scrambled } from '../../support/otlp/scramble.ts'

const metricTables = {
  gauge: 'otel_metrics_number',
  sum: 'otel_metrics_number',
  histogram: 'otel_metrics_histogram',
  'exp-histogram': 'otel_metrics_exp_histogram',
  summary: 'otel_metrics_summary',
} as const

/** A request, and the rows of each table that it has to become. */
interface Case {
  readonly body: Buffer
  readonly expected: ReadonlyMap<string, readonly ExpectedRow[]>
}

function encoded<T>(groups: readonly Group<T>[], record: (one: T) => Buffer): Buffer {
  return request(
    groups.map(({ resource, scopes }) => ({
      resource,
      scopes: scopes.map(({ scope, records }) => ({ scope, records: records.map(record) })),
    })),
  )
}

/** Records repeated, so that segments end within a scope. */
function longer<T>(groups: readonly Group<T>[], times: number): Group<T>[] {
  return groups.map(({ resource, scopes }) => ({
    resource,
    scopes: scopes.map(({ scope, records }) => ({ scope, records: Array.from({ length: times }, () => records).flat() })),
  }))
}

function caseOf<T>(
  groups: readonly Group<T>[],
  record: (one: T) => Buffer,
  rows: (one: T) => ExpectedRow[],
  tableOf: (one: T) => string,
): Case {
  const tables = new Set(groups.flatMap(({ scopes }) => scopes.flatMap(({ records }) => records.map(tableOf))))
  const expected = [...tables].map((table): [string, ExpectedRow[]] => [
    table,
    expectedRows(groups, (one: T) => (tableOf(one) === table ? rows(one) : [])),
  ])
  return { body: encoded(groups, record), expected: new Map(expected.filter(([, own]) => own.length > 0)) }
}

const times = fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.integer({ min: 2, max: 30 }))
const cases: Readonly<Record<Signal, fc.Arbitrary<Case>>> = {
  logs: fc
    .tuple(logRequest, times)
    .map(([groups, n]) => caseOf<LogRecord>(longer(groups, n), logRecord, logRows, () => 'otel_logs')),
  traces: fc
    .tuple(traceRequest, times)
    .map(([groups, n]) => caseOf<Span>(longer(groups, n), span, spanRows, () => 'otel_traces')),
  metrics: fc
    .tuple(metricRequest, times)
    .map(([groups, n]) => caseOf<Metric>(longer(groups, n), metric, metricRows, ({ data }) => metricTables[data.kind])),
}

/** A stored value as `expectedRows` has it. */
function plain(type: Type, value: Value): unknown {
  if (value === null) return null
  if (type.kind === 'double') return Object.is(value, -0) ? '-0' : String(value)
  if (!Array.isArray(value)) return value
  const items: readonly Value[] = value
  if (type.kind === 'list') return items.map((item) => plain(type.element, item))
  if (type.kind === 'struct') return Object.fromEntries(type.fields.map((field, i) => [field.name, plain(field.type, items[i])]))
  return (items as readonly (readonly [string, string | null])[]).toSorted(([a], [b]) => (a < b ? -1 : 1))
}

function jsonOf(row: Readonly<Record<string, unknown>>, fields: readonly Field[]): unknown {
  const inOrder = fields.map(({ name }) => [name, row[name]])
  return JSON.parse(JSON.stringify(inOrder, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)))
}

suite('OTLP, bytes to rows', { timeout: 240_000 }, () => {
  for (const signal of ['logs', 'traces', 'metrics'] as const) {
    test(`${signal}: fields in any order, said twice or unknown; scopes and segments end anywhere`, () => {
      const pool = new SlabPool({ budget: 256 << 20 })
      let segments = 0
      const tables = new Map(tablesOf[signal].map((place) => [place, fieldsOf(tableNames[place], [])]))
      const open = (): RequestDecoder =>
        new RequestDecoder(signal, tables, [], {
          onSchemaChange: () => 'evolve',
          pool,
          clock: systemClock,
          nextSegmentId: () => ++segments,
          currentCommit: () => 0,
          deletable: () => false,
        })
      fc.assert(
        fc.property(fc.array(fc.tuple(cases[signal], luck), { minLength: 1, maxLength: 3 }), (requests) => {
          const decoder = open()
          for (const [{ body, expected }, how] of requests) {
            const decoded = decoder.decode(scrambled(body, how))
            assert.equal(decoded.refused, 0)
            const tableNamesFound = decoded.rows.map(({ table }) => tableNames[table])
            assert.deepEqual(new Set(tableNamesFound), new Set(expected.keys()))
            for (const { table, rows } of decoded.rows) {
              const fields = tables.get(table) ?? []
              const found = rows.flatMap(({ segment, from, to }) =>
                Array.from({ length: to - from }, (_, i) => {
                  const row = readRow(segment.share(), from + i)
                  return jsonOf(Object.fromEntries(fields.map(({ name, type }, k) => [name, plain(type, row[k])])), fields)
                }),
              )
              assert.deepEqual(
                found,
                (expected.get(tableNames[table]) ?? []).map((row) => jsonOf(row, fields)),
              )
              letGo(rows)
            }
          }
          decoder.release()
          assert.equal(pool.used, 0)
        }),
        { numRuns: 40 },
      )
    })
  }
})
