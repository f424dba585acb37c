import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Field } from '../../src/data/index.ts'
import { loadTable } from '../../src/iceberg/index.ts'
import type { SchemaUpdate } from '../../src/iceberg/index.ts'
import { Lab } from './lab.ts'

interface Metadata {
  'last-column-id': number
  'current-schema-id': number
  schemas: { 'schema-id': number; 'identifier-field-ids'?: number[]; fields: Record<string, unknown>[] }[]
  snapshots: { 'schema-id': number }[]
}

describe('schema evolution', () => {
  const id: Field = { id: 1, name: 'id', type: { kind: 'long' }, required: true }
  const v: Field = { id: 2, name: 'v', type: { kind: 'string' }, required: false }
  const metadata = async (lab: Lab): Promise<Metadata> => JSON.parse(await lab.metadataJson()) as Metadata
  const update = (lab: Lab, fields: readonly Field[]): SchemaUpdate => ({
    fields,
    identifierFieldIds: [1],
    lastColumnId: 0,
    base: lab.table.schema.schemaId,
  })

  test('add, rename, drop, widen: one more schema each, in the commit of the rows; ids are never given again', async () => {
    const lab = new Lab()
    await lab.commit({ added: [lab.file(3)] })
    const n: Field = { id: 3, name: 'n', type: { kind: 'int' }, required: false, initialDefault: '5', writeDefault: '5' }
    await lab.commit({ added: [lab.file(1)], schema: update(lab, [id, v, n]) })
    let json = await metadata(lab)
    assert.equal(json['last-column-id'], 3)
    assert.equal(json['current-schema-id'], 1)
    assert.deepEqual(json.schemas[1].fields[2], {
      id: 3,
      name: 'n',
      required: false,
      type: 'int',
      'initial-default': 5,
      'write-default': 5,
    })
    assert.deepEqual(
      json.snapshots.map((snapshot) => snapshot['schema-id']),
      [0, 1],
    )
    await lab.commit({ schema: update(lab, [id, { ...v, name: 'text' }, { ...n, type: { kind: 'long' } }]) })
    await lab.commit({ schema: update(lab, [id, { ...v, name: 'text' }]) })
    json = await metadata(lab)
    assert.equal(json['last-column-id'], 3)
    assert.equal(json['current-schema-id'], 3)
    assert.equal(json.snapshots.length, 2, 'columns alone make no snapshot')
    assert.deepEqual(json.schemas.at(-1)?.['identifier-field-ids'], [1])
    // A column that has gone may come again, as it was.
    const again = [id, { ...v, name: 'text' }, { ...n, type: { kind: 'long' } as const }]
    await lab.commit({ schema: update(lab, again) })
    assert.equal((await metadata(lab))['current-schema-id'], 2)
    assert.equal(lab.table.lastColumnId, 3)
    const { namespace, name, metadataLocation } = lab.pointer
    const loaded = await loadTable(lab.parts, { namespace, name, metadataLocation })
    assert.deepEqual(loaded.schema.fields, again)
  })

  test('a shape that the table has had before is not written twice', async () => {
    const lab = new Lab()
    await lab.commit({ schema: update(lab, [id, { ...v, name: 'w' }]) })
    await lab.commit({ schema: update(lab, [id, v]) })
    const json = await metadata(lab)
    assert.equal(json.schemas.length, 2)
    assert.equal(json['current-schema-id'], 0)
  })

  test('the id of a column that came and went between two commits is not used again', async () => {
    const lab = new Lab()
    await lab.commit({ schema: { ...update(lab, [id, { ...v, name: 'w' }]), lastColumnId: 3 } })
    assert.equal(lab.table.lastColumnId, 3)
    // Also when the columns are what they were before.
    await lab.commit({ schema: { ...update(lab, [id, v]), lastColumnId: 4 } })
    assert.equal((await metadata(lab))['last-column-id'], 4)
    const n: Field = { id: 4, name: 'n', type: { kind: 'int' }, required: false }
    await assert.rejects(lab.commit({ schema: update(lab, [id, v, n]) }), /a new field has a new id/)
  })

  test('defaults of other writers survive', async () => {
    const lab = new Lab()
    const odd: Field = { ...v, initialDefault: '"\\u00e9"', writeDefault: 'null' }
    await lab.commit({ schema: update(lab, [id, { ...odd, name: 'x' }]) })
    assert.equal(lab.table.schema.fields[1].initialDefault, '"\\u00e9"')
    const { namespace, name, metadataLocation } = lab.pointer
    const loaded = await loadTable(lab.parts, { namespace, name, metadataLocation })
    assert.equal(loaded.schema.fields[1].initialDefault, '"é"')
  })

  test('columns that somebody else changed meanwhile are a conflict', async () => {
    const lab = new Lab()
    await lab.commit({})
    const stale = { ...update(lab, [id, v]), base: 7 }
    await assert.rejects(lab.commit({ schema: stale }), { kind: 'conflict', code: 'schema-conflict' })
  })
})
