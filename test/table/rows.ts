import assert from 'node:assert/strict'
import type { SlabPool } from '../../src/base/index.ts'
import { Segment, appendRow } from '../../src/data/index.ts'
import type { Field, Type, Value } from '../../src/data/index.ts'

let nextId = 1

export function field(name: string, type: Type, required = false, id = 0): Field {
  return { id, name, type, required }
}

/** A segment with these rows and room for `capacity`. */
export function segmentWith(
  pool: SlabPool,
  fields: readonly Field[],
  rows: readonly (readonly Value[])[],
  options: { capacity?: number; deletable?: boolean; baseCommit?: number; heapBytes?: number } = {},
): Segment {
  const { capacity = 63, deletable = true, baseCommit = 0, heapBytes = 4096 } = options
  const segment = Segment.create(pool, { id: nextId++, fields, capacity, heapBytes, deletable, baseCommit })
  assert.ok(segment, 'the pool has room')
  for (const row of rows) assert.ok(appendRow(segment, row), 'the segment has room')
  return segment
}

/** A row as text that is equal for equal rows. */
export function rowText(row: readonly Value[]): string {
  return JSON.stringify(row, (_key, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : Object.is(value, -0) ? '-0' : value,
  )
}
