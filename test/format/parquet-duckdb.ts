import assert from 'node:assert/strict'
import {
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimeValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBUUIDValue,
} from '@duckdb/node-api'
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api'
import type { Value } from '../../src/data/index.ts'

/** What a query gives, as our values. */
export async function duckRows(connection: DuckDBConnection, sql: string): Promise<Value[][]> {
  const result = await connection.runAndReadAll(sql)
  return result.getRows().map((row) => row.map(toValue))
}

function toValue(value: DuckDBValue): Value {
  if (value === null || typeof value !== 'object') return value
  if (value instanceof DuckDBDecimalValue) return value.value
  if (value instanceof DuckDBDateValue) return value.days
  if (value instanceof DuckDBTimeValue || value instanceof DuckDBTimestampValue || value instanceof DuckDBTimestampTZValue)
    return value.micros
  if (value instanceof DuckDBBlobValue) return new Uint8Array(value.bytes)
  if (value instanceof DuckDBUUIDValue) return new Uint8Array(Buffer.from(value.toString().replaceAll('-', ''), 'hex'))
  if (value instanceof DuckDBListValue) return value.items.map(toValue)
  if (value instanceof DuckDBMapValue) return value.entries.map((entry) => [toValue(entry.key), toValue(entry.value)])
  if (value instanceof DuckDBStructValue) return Object.values(value.entries).map(toValue)
  throw new Error(`an unexpected DuckDB value: ${value.constructor.name}`)
}

/** Compares row by row, so that a difference is shown short. NaN equals NaN, −0 differs from 0. */
export function sameRows(actual: readonly Value[][], expected: readonly Value[][]): void {
  for (let i = 0; i < Math.min(actual.length, expected.length); i++)
    for (let column = 0; column < expected[i].length; column++)
      assert.deepEqual(actual[i][column], expected[i][column], `row ${i}, column ${column}`)
  assert.equal(actual.length, expected.length)
}
