import assert from 'node:assert/strict'
import type { Random, SlabPool } from '../../src/base/index.ts'
import { Segment, appendRow } from '../../src/data/index.ts'
import type { Field, Type, Value } from '../../src/data/index.ts'
import { resultType } from '../../src/iceberg/index.ts'
import type { FileLayout, SortKey } from '../../src/iceberg/index.ts'

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

export const noLayout: FileLayout = { specId: 0, partition: [], sortOrderId: 0, sort: [], columns: null }

/** Partitions and sort orders by any columns, as often as not none. */
export function anyLayout(fields: readonly Field[], random: Random): FileLayout {
  const columns = fields.flatMap(({ type }, column) => (resultType({ kind: 'identity' }, type) === null ? [] : [column]))
  const some = <T>(make: (column: number) => T): T[] =>
    Array.from({ length: [0, 0, 1, 2][random.below(4)] }, () => make(columns[random.below(columns.length)]))
  const transformOf = (column: number) => {
    const fitting = [
      { kind: 'identity' },
      { kind: 'bucket', buckets: 3 },
      { kind: 'truncate', width: 2 },
      { kind: 'void' },
    ] as const
    const candidates = fitting.filter((transform) => resultType(transform, fields[column].type) !== null)
    return candidates[random.below(candidates.length)]
  }
  return {
    columns: null,
    specId: 1,
    partition: some((column) => ({ column, transform: transformOf(column) })),
    sortOrderId: 1,
    sort: some((column) => ({
      column,
      transform: transformOf(column),
      descending: random.below(2) === 0,
      nullsFirst: random.below(2) === 0,
    })),
  }
}

/** The order of two transformed values of one type, without the tricks of the code that is tested. */
function compareValues(a: Value, b: Value): number {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b)
  if (typeof a === 'number' && typeof b === 'number') {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
    if (a === 0 && b === 0) return Number(Object.is(b, -0)) - Number(Object.is(a, -0))
    return a - b
  }
  return (a ?? 0) < (b ?? 0) ? -1 : Number((a ?? 0) > (b ?? 0))
}

/** How two values compare by a sort field. */
export function compareAs({ descending, nullsFirst }: Pick<SortKey, 'descending' | 'nullsFirst'>, a: Value, b: Value): number {
  if (a === null || b === null) return (Number(b === null) - Number(a === null)) * (nullsFirst ? 1 : -1)
  return compareValues(a, b) * (descending ? -1 : 1)
}
