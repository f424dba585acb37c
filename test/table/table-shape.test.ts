import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Field, SourceTable, TableKey, Type } from '../../src/data/index.ts'
import { identifierFieldIds, reshape } from '../../src/table/table-shape.ts'
import type { TableShape } from '../../src/table/table-shape.ts'
import { field } from './rows.ts'

const int: Type = { kind: 'int' }
const text: Type = { kind: 'string' }

function described(
  columns: readonly [id: number, field: Field][],
  key: TableKey = { kind: 'columns', columns: [0] },
): SourceTable {
  const columnIds = columns.map(([id]) => id)
  const fields = columns.map(([, one]) => one)
  return { id: '1', sourceName: 'public.t', namespace: 'shop', name: 't', fields, key, columnIds }
}

const first: TableShape = {
  source: described([
    [1, field('id', int, true)],
    [2, field('a', int)],
    [3, field('b', text)],
  ]),
  fields: [field('id', int, true, 1), field('a', int, false, 2), field('b', text, false, 3)],
  lastFieldId: 5,
}

const after = (...columns: [id: number, field: Field][]): (readonly [number, string, string, boolean])[] =>
  reshape(first, described(columns)).fields.map(({ id, name, type, required }) => [id, name, type.kind, required])

describe('a table that gets another shape', () => {
  it('keeps field ids over renames, swaps and widening, and never gives one twice', () => {
    const id: [number, Field] = [1, field('id', int, true)]
    assert.deepEqual(after(id, [2, field('b', int)], [3, field('a', text)]), [
      [1, 'id', 'int', true],
      [2, 'b', 'int', false],
      [3, 'a', 'string', false],
    ])
    assert.deepEqual(after([1, field('key', { kind: 'long' }, true)], [2, field('a', int)]), [
      [1, 'key', 'long', true],
      [2, 'a', 'int', false],
    ])
    // Dropped and added again: the same name is another column. Field id 5 was in use once.
    assert.deepEqual(after(id, [3, field('b', text)], [4, field('a', text, true)]), [
      [1, 'id', 'int', true],
      [3, 'b', 'string', false],
      [6, 'a', 'string', false],
    ])
  })

  it('keeps the value that older rows have, and takes one only for a new column', () => {
    const added = { ...field('c', int), initialDefault: '7' }
    const next = reshape(
      first,
      described([
        [1, field('id', int, true)],
        [9, added],
      ]),
    )
    assert.equal(next.fields[1].initialDefault, '7')
    const later = reshape(
      next,
      described([
        [1, field('id', int, true)],
        [9, field('c', { kind: 'long' })],
      ]),
    )
    assert.deepEqual(later.fields[1], { ...added, id: 6, type: { kind: 'long' } })
  })

  it('goes by names where the source knows no ids', () => {
    const { columnIds: _none, ...source } = first.source
    const next = described([
      [7, field('id', int, true)],
      [8, field('c', int)],
    ])
    const { fields } = reshape({ ...first, source }, next)
    assert.deepEqual(
      fields.map(({ id }) => id),
      [1, 6],
    )
  })

  it('promises only what holds for the rows that are there', () => {
    const fields: [number, Field][] = [
      [1, field('id', int)],
      [2, field('a', int, true)],
    ]
    const next = reshape(first, described(fields, { kind: 'columns', columns: [1] }))
    assert.deepEqual(
      next.fields.map(({ required }) => required),
      [false, false],
    )
    assert.deepEqual(identifierFieldIds(next), [])
    assert.deepEqual(identifierFieldIds(first), [1])
  })

  it('refuses types that rows in files cannot be read as', () => {
    for (const type of [{ kind: 'string' }, { kind: 'double' }, { kind: 'date' }] as const) {
      assert.throws(() => after([1, field('id', int, true)], [2, field('a', type)]), {
        kind: 'unsupported',
        code: 'schema-changed',
      })
    }
  })
})
