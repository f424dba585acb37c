import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { columnOf } from '../../src/data/index.ts'
import type { Value } from '../../src/data/index.ts'
import type { SortKey } from '../../src/iceberg/index.ts'
import { LiveRows } from '../../src/table/live-rows.ts'
import { rowSort } from '../../src/table/row-sort.ts'
import { anyPrimitive, valueOf } from '../data/any-field.ts'
import { compareAs, field } from './rows.ts'

/** Different rows, few; and which of them come, many. */
const table = fc.array(anyPrimitive, { minLength: 1, maxLength: 3 }).chain((types) =>
  fc.record({
    fields: fc.constant(types.map((type, i) => field(`c${i}`, type, false, i + 1))),
    kinds: fc.array(fc.tuple(...types.map((type) => fc.option(valueOf(type), { freq: 5 }))), { minLength: 2, maxLength: 60 }),
    keys: fc.uniqueArray(fc.nat(types.length - 1), { minLength: 1 }).chain((columns) =>
      fc.tuple(
        ...columns.map((column): fc.Arbitrary<SortKey> =>
          fc.record({
            column: fc.constant(column),
            transform: fc.constant({ kind: 'identity' }),
            descending: fc.boolean(),
            nullsFirst: fc.boolean(),
          }),
        ),
      ),
    ),
    picks: fc.array(fc.nat(1000), { minLength: 10, maxLength: 60 }),
    count: fc.constantFrom(100, 511, 512, 1500),
  }),
)

describe('rows in a sort order', () => {
  it('are as comparing them puts them, few or many; equal ones stay as they are', { timeout: 240_000 }, () => {
    fc.assert(
      fc.property(table, ({ fields, kinds, keys, picks, count }) => {
        const rows = Array.from({ length: count }, (_, i) => kinds[(picks[i % picks.length] + i * i) % kinds.length])
        const half = Math.floor(count / 3)
        const parts = [rows.slice(0, half), rows.slice(half)].map((part) => ({
          segment: {
            id: 0,
            capacity: part.length,
            columns: fields.map((each, i) =>
              columnOf(
                each,
                part.map((row) => row[i]),
              ),
            ),
            deletedAt: null,
            baseCommit: 0,
          },
          rows: Int32Array.from(part.keys()),
        }))
        // Some rows are of another group.
        const some = Uint32Array.from(rows.keys()).filter((row) => row % 7 !== 3)
        const compare = (a: readonly Value[], b: readonly Value[]): number => {
          for (const key of keys) {
            const order = compareAs(key, a[key.column], b[key.column])
            if (order !== 0) return order
          }
          return 0
        }
        const expected = Array.from(some).toSorted((a, b) => compare(rows[a], rows[b]) || a - b)
        rowSort(new LiveRows(parts), keys)(some)
        assert.deepEqual(Array.from(some), expected)
      }),
      { numRuns: 150 },
    )
  })
})
