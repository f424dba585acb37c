import assert from 'node:assert/strict'
import { after, afterEach, describe, it } from 'node:test'
import duckdb from '@duckdb/node-bindings'
import { putBytes } from '../../src/data/index.ts'
import type { Segment } from '../../src/data/index.ts'
import { ByteSink } from '../../src/query/byte-sink.ts'
import { cellWriter } from '../../src/query/cells.ts'
import { logicalType } from '../../src/query/duck-types.ts'
import { assumeStringLayout, fillColumn } from '../../src/query/vectors.ts'
import { Lake, columns } from './lake.ts'

const texts = ['', 'é', 'twelve bytes', 'thirteen byte', null, 'x'.repeat(300), '', 'a'.repeat(256), null]

describe('hot text as DuckDB strings', () => {
  const lake = new Lake()
  after(() => lake.remove())
  afterEach(() => assumeStringLayout(null))

  for (const [way, known] of [
    ['by structs of our own', null],
    ["by DuckDB's call for each value", false],
  ] as const) {
    it(`is copied ${way}: rows in a row, rows apart, nested`, () => {
      const fields = columns({
        s: { kind: 'string' },
        l: { kind: 'list', elementId: 0, element: { kind: 'string' }, elementRequired: false },
      })
      const rows = texts.map((text, i) => [text, i % 2 === 0 ? texts : null])
      const segment = lake.segment(fields, rows)
      assumeStringLayout(known)
      assert.deepEqual(read(segment, 0, [0, 1, 2, 3, 4, 5, 6, 7, 8]), texts)
      assert.deepEqual(read(segment, 0, [1, 8]), ['é', null])
      assert.deepEqual(read(segment, 0, [0, 4, 6]), ['', null, ''])
      assert.deepEqual(read(segment, 0, [2, 5]), [texts[2], texts[5]])
      assert.deepEqual(read(segment, 1, [0, 1, 2]), [texts, null, texts])
    })

    it(`is refused when it is not UTF-8, ${way}`, () => {
      const fields = columns({ s: { kind: 'string' } })
      const segment = lake.segment(fields, [['good'], ['a long good text'], ['room for the bad one']])
      putBytes(segment.columns[0], 1, Uint8Array.of(0xc3, 0x28, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65, 65))
      assumeStringLayout(known)
      assert.throws(() => read(segment, 0, [0, 1]), { code: 'invalid-utf8' })
      putBytes(segment.columns[0], 1, Uint8Array.of(0xff))
      assert.throws(() => read(segment, 0, [0, 1]), { code: 'invalid-utf8' })
    })
  }
})

function read(segment: Segment, column: number, rows: readonly number[]): unknown[] {
  const type = logicalType(segment.columns[column].field.type)
  const chunk = duckdb.create_data_chunk([type])
  duckdb.data_chunk_set_size(chunk, rows.length)
  const vector = duckdb.data_chunk_get_vector(chunk, 0)
  const dense = rows[rows.length - 1] - rows[0] === rows.length - 1
  fillColumn(vector, segment.columns[column], segment.columns[column].field.type, {
    rows: Int32Array.from(rows),
    count: rows.length,
    dense,
  })
  const writer = cellWriter(type, { numbersAsStrings: false })
  writer.load(vector, rows.length)
  return rows.map((_, i) => {
    const sink = new ByteSink(1 << 20)
    if (writer.isNull(i)) return null
    writer.json(i, sink)
    return JSON.parse(Buffer.from(sink.finish()).toString())
  })
}
