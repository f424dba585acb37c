import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Field, Type } from '../../src/data/index.ts'
import { columnAs, fileColumns } from '../../src/query/file-schema.ts'
import type { SchemaElement } from '../../src/query/file-schema.ts'

function element(name: string, fieldId: number | null, children = 0, repeated = false): SchemaElement {
  return { name, type: null, children, fieldId, repeated }
}

const field = (id: number, name: string, type: Type = { kind: 'int' }): Field => ({ id, name, type, required: false })
const struct = (...fields: Field[]): Type => ({ kind: 'struct', fields })

test('columns of a file without the groups between: lists have one child, maps two', () => {
  const columns = fileColumns([
    element('table', null, 3),
    element('id', 1),
    element('l', 2, 1),
    element('list', null, 1, true),
    element('element', 3, 2),
    element('a', 4),
    element('b', 5),
    element('m', 6, 1),
    element('key_value', null, 2, true),
    element('key', 7),
    element('value', 8),
  ])
  assert.deepEqual(
    columns.map(({ name, children }) => [name, children.map((child) => child.name)]),
    [
      ['id', []],
      ['l', ['element']],
      ['m', ['key', 'value']],
    ],
  )
  assert.deepEqual(
    columns[1].children[0].children.map(({ fieldId }) => fieldId),
    [4, 5],
  )
})

test('a struct is cast by name where names agree, and taken apart by field id where they do not', () => {
  const [column] = fileColumns([element('table', null, 1), element('s', 1, 2), element('a', 2), element('b_x20b', 3)])
  const same = fileColumns([element('table', null, 1), element('s', 1, 2), element('a', 2), element('b', 3)])[0]
  assert.equal(columnAs('s', same, struct(field(2, 'a'), field(3, 'b'))), 'CAST(s AS STRUCT("a" INTEGER, "b" INTEGER))')
  assert.equal(
    columnAs('s', column, struct(field(2, 'a'), field(3, 'b b'))),
    'CASE WHEN s IS NOT NULL THEN struct_pack("a" := CAST(struct_extract_at(s, 1) AS INTEGER), "b b" := CAST(struct_extract_at(s, 2) AS INTEGER)) END',
  )
  // Dropped and added again under the same name: another id, and no value in this file.
  assert.equal(
    columnAs('s', same, struct(field(2, 'a'), field(9, 'b'))),
    'CASE WHEN s IS NOT NULL THEN struct_pack("a" := CAST(struct_extract_at(s, 1) AS INTEGER), "b" := CAST(NULL AS INTEGER)) END',
  )
  // Swapped names.
  assert.equal(
    columnAs('s', same, struct(field(3, 'a'), field(2, 'b'))),
    'CASE WHEN s IS NOT NULL THEN struct_pack("a" := CAST(struct_extract_at(s, 2) AS INTEGER), "b" := CAST(struct_extract_at(s, 1) AS INTEGER)) END',
  )
})

test('inside lists and maps too', () => {
  const [list] = fileColumns([
    element('table', null, 1),
    element('l', 1, 1),
    element('list', null, 1, true),
    element('element', 2, 1),
    element('a_x20', 3),
  ])
  assert.equal(
    columnAs('l', list, { kind: 'list', elementId: 2, element: struct(field(3, 'a ')), elementRequired: false }),
    'list_transform(l, lambda x0: CASE WHEN x0 IS NOT NULL THEN struct_pack("a " := CAST(struct_extract_at(x0, 1) AS INTEGER)) END)',
  )
  const [map] = fileColumns([
    element('table', null, 1),
    element('m', 1, 1),
    element('key_value', null, 2, true),
    element('key', 2),
    element('value', 3, 1),
    element('old', 4),
  ])
  const type: Type = {
    kind: 'map',
    keyId: 2,
    key: { kind: 'string' },
    valueId: 3,
    value: struct(field(4, 'new')),
    valueRequired: false,
  }
  assert.match(
    columnAs('m', map, type),
    /^map_from_entries\(list_transform\(map_entries\(m\), lambda x0: struct_pack\(key := CAST\(x0\.key AS VARCHAR\)/,
  )
})
