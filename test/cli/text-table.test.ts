import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { textTable } from '../../src/cli/text-table.ts'

const left = (name: string) => ({ name, align: 'left' as const })

suite('tables on a terminal', () => {
  test('wide characters take two columns', () => {
    assert.equal(
      textTable([left('a')], [['日本'], ['x']]),
      ['┌──────┐', '│ a    │', '├──────┤', '│ 日本 │', '│ x    │', '└──────┘', ''].join('\n'),
    )
  })

  test('the widest columns are cut to fit', () => {
    const table = textTable([left('id'), left('text')], [['1', 'abcdefghijklmnop']], 20)
    assert.match(table, /│ 1 {2}│ abcdefghij… │/)
    for (const line of table.split('\n')) assert(line.length <= 20)
  })

  test('every line is as wide as the others and fits, whatever the cells', () => {
    const cell = fc.string({ unit: fc.constantFrom('a', 'é', '\n', '\u001b', '\u202e', 'x') })
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell), { maxLength: 5 }), fc.integer({ min: 20, max: 60 }), (rows, width) => {
        const lines = textTable([left('one'), left('two')], rows, width)
          .trimEnd()
          .split('\n')
        assert.equal(lines.length, rows.length + 4)
        assert.equal(new Set(lines.map((line) => line.length)).size, 1)
        assert(lines[0].length <= width)
        assert(!lines.some((line) => line.includes('\u001b') || line.includes('\u202e')))
      }),
    )
  })
})
