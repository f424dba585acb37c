import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import * as fc from 'fast-check'
import { seededRandom } from '../../src/base/index.ts'
import { columnOf, readRow } from '../../src/data/index.ts'
import type { Field, SharedSegment, Value } from '../../src/data/index.ts'
import { LiveRows } from '../../src/table/live-rows.ts'
import { orderRows } from '../../src/table/row-order.ts'
import { RowSorter } from '../../src/table/row-sorter.ts'
import { anyPrimitive, valueOf } from '../data/any-field.ts'
import { anyLayout, field, rowText } from './rows.ts'

const parent = mkdtempSync(join(tmpdir(), 'frazil-sorter-'))
after(() => rmSync(parent, { recursive: true }))
const folder = join(parent, 'pieces')

/** A segment whose memory nobody else has. */
function ownSegment(fields: readonly Field[], rows: readonly (readonly Value[])[]): SharedSegment {
  const columns = fields.map((each, i) =>
    columnOf(
      each,
      rows.map((row) => row[i]),
    ),
  )
  return { id: 0, capacity: rows.length, columns, deletedAt: null, baseCommit: 0 }
}

const table = fc.array(anyPrimitive, { minLength: 1, maxLength: 4 }).chain((types) => {
  const fields = types.map((type, i) => field(`c${i}`, type, false, i + 1))
  const row = fc.tuple(...fields.map(({ type }) => fc.option(valueOf(type), { freq: 5 })))
  return fc.record({
    fields: fc.constant(fields),
    batches: fc.array(fc.array(row, { minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 8 }),
  })
})

describe('sorting rows that do not fit into memory', () => {
  it('gives the order that sorting all of them at one time gives, and says where each row went', async () => {
    const property = fc.asyncProperty(
      table,
      fc.integer(),
      fc.integer({ min: 1, max: 60 }),
      async ({ fields, batches }, seed, limit) => {
        const random = seededRandom(seed)
        const layout = { ...anyLayout(fields, random), partition: [] }
        if (layout.sort.length === 0) return
        const selected = batches.map((rows) => Int32Array.from(rows.keys()).filter(() => random.below(4) > 0))
        const rows = batches.flatMap((batch, i) => Array.from(selected[i], (row) => batch[row]))
        const all = batches.map((batch, i) => ({ segment: ownSegment(fields, batch), rows: selected[i] }))
        const { order } = orderRows(new LiveRows(all), layout)
        let spent = 0
        const sorter = new RowSorter({
          fields,
          keys: layout.sort,
          folder,
          rows: rows.length,
          spend: async (bytes) => void (spent += bytes),
          limits: { rows: limit, bytes: 1e9 },
        })
        for (const [i, batch] of batches.entries())
          if (selected[i].length > 0) await sorter.add(ownSegment(fields, batch), selected[i])
        const sorted: string[] = []
        for await (const segment of sorter.sorted()) {
          for (let row = 0; row < segment.capacity; row++) sorted.push(rowText(readRow(segment, row)))
        }
        sorter.close()
        assert.deepEqual(
          sorted,
          Array.from(order, (number) => rowText(rows[number])),
        )
        assert.deepEqual(
          Array.from(order, (number) => sorter.placement[number]),
          Array.from(order.keys()),
        )
        if (rows.length >= limit) assert.ok(spent > 0, 'what waits on disk is paid for')
      },
    )
    await fc.assert(property, { numRuns: 150 })
  })
})
