import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { logRequest, metricRequest, traceRequest } from '../../support/otlp/arbitrary.ts'
import type { Group } from '../../support/otlp/arbitrary.ts'
import { logRecord, metric, request, span } from '../../support/otlp/encode.ts'
import { expectedRows, logRows, metricRows, spanRows } from '../../support/otlp/expected.ts'
import type { ExpectedRow } from '../../support/otlp/expected.ts'
import { logJson, metricJson, requestJson, spanJson } from '../../support/otlp/json.ts'
import { OtlpLake } from '../../support/otlp/lake.ts'
import { inOrder, storedRows } from '../../support/otlp/stored.ts'
import type { Signal } from '../../support/otlp/lake.ts'

const metricTables = {
  gauge: 'otel_metrics_number',
  sum: 'otel_metrics_number',
  histogram: 'otel_metrics_histogram',
  'exp-histogram': 'otel_metrics_exp_histogram',
  summary: 'otel_metrics_summary',
} as const

function encoded<T>(groups: readonly Group<T>[], record: (one: T) => Buffer): Buffer {
  return request(
    groups.map(({ resource, scopes }) => ({
      resource,
      scopes: scopes.map(({ scope, records }) => ({ scope, records: records.map(record) })),
    })),
  )
}

suite('what programs export is what queries read', { timeout: 240_000 }, () => {
  /** Sends requests, and compares the rows of the tables as they are hot and as they are in files. */
  async function check(
    signal: Signal,
    requests: readonly Buffer[],
    expected: ReadonlyMap<string, readonly ExpectedRow[]>,
  ): Promise<void> {
    await using lake = await OtlpLake.open()
    await lake.store(signal, ...requests)
    for (const where of ['hot', 'cold']) {
      for (const [table, rows] of expected) {
        assert.deepEqual(await storedRows(lake, table), inOrder(rows), `${where} ${table}`)
      }
      await lake.engine.flush()
    }
  }

  /** Requests of a seed that a failure names. */
  async function sampled<T>(arbitrary: fc.Arbitrary<T>, check: (requests: T[]) => Promise<void>): Promise<void> {
    const seed = Math.floor(Math.random() * 2 ** 31)
    try {
      await check(fc.sample(arbitrary, { numRuns: 50, seed }))
    } catch (error) {
      throw new Error(`with seed ${seed}`, { cause: error })
    }
  }

  /** Every other request as JSON. */
  function mixed<T>(
    signal: Signal,
    requests: readonly (readonly Group<T>[])[],
    encode: (one: T) => Buffer,
    json: (one: T) => unknown,
  ): Buffer[] {
    return requests.map((groups, i) => (i % 2 === 0 ? encoded(groups, encode) : requestJson(signal, groups, json)))
  }

  test('logs', () =>
    sampled(logRequest, (requests) =>
      check(
        'logs',
        mixed('logs', requests, logRecord, logJson),
        new Map([['otel_logs', requests.flatMap((groups) => expectedRows(groups, logRows))]]),
      ),
    ))

  test('spans', () =>
    sampled(traceRequest, (requests) =>
      check(
        'traces',
        mixed('traces', requests, span, spanJson),
        new Map([['otel_traces', requests.flatMap((groups) => expectedRows(groups, spanRows))]]),
      ),
    ))

  test('metrics', () =>
    sampled(metricRequest, (requests) =>
      check(
        'metrics',
        mixed('metrics', requests, metric, metricJson),
        new Map(
          [...new Set(Object.values(metricTables))].map((table) => [
            table,
            requests.flatMap((groups) =>
              expectedRows(groups, (one) => (metricTables[one.data.kind] === table ? metricRows(one) : [])),
            ),
          ]),
        ),
      ),
    ))
})
