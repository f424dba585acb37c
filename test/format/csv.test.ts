import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError } from '../../src/base/index.ts'
import type { Field } from '../../src/data/index.ts'
import { csvToJsonLines } from '../../src/format/csv/index.ts'

const fields: Field[] = [
  { id: 1, name: 'text', type: { kind: 'string' }, required: false },
  { id: 2, name: 'n', type: { kind: 'long' }, required: false },
]

function parse(csv: string): unknown[] {
  const lines = csvToJsonLines(Buffer.from(csv), fields).lines.toString()
  return lines === ''
    ? []
    : lines
        .trimEnd()
        .split('\n')
        .map((line): unknown => JSON.parse(line))
}

suite('CSV', () => {
  test('what was written comes back, whatever the texts have in them', () => {
    const cell = fc.option(fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r', ' ', 'é', '\\'), maxLength: 6 }))
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, fc.integer())), fc.constantFrom('\n', '\r\n'), fc.boolean(), (rows, end, isEnded) => {
        const lines = rows.map(([text, n]) => `${text === null ? '' : `"${text.replaceAll('"', '""')}"`},${n}`)
        const csv = ['text,n', ...lines].join(end) + (isEnded ? end : '')
        assert.deepEqual(
          parse(csv),
          rows.map(([text, n]) => ({ text, n })),
        )
      }),
    )
  })

  test('any text is rows or an error with a code', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', '1', ',', '"', '\n', '\r'), maxLength: 30 }), (csv) => {
        try {
          const { lines, ragged } = csvToJsonLines(Buffer.from(csv), fields)
          const rows = lines.toString().split('\n').slice(0, -1)
          for (const [i, row] of rows.entries()) {
            if (ragged.has(i + 1)) assert.throws(() => JSON.parse(row) as unknown)
            else assert.equal(typeof JSON.parse(row), 'object')
          }
        } catch (error) {
          assert(error instanceof FrazilError && error.code === 'bad-csv')
        }
      }),
      { numRuns: 500 },
    )
  })
})
