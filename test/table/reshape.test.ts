import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { FrazilError, SlabPool, seededRandom } from '../../src/base/index.ts'
import { assignFieldIds } from '../../src/data/index.ts'
import type { SourceTable } from '../../src/data/index.ts'
import type { DataFile } from '../../src/iceberg/index.ts'
import { parseMetadata } from '../../src/iceberg/metadata.ts'
import { schemaToJson } from '../../src/iceberg/schema-json.ts'
import { evolveSchema } from '../../src/iceberg/schema-update.ts'
import { ChangeLog, ColdFile, KeyRun, SpillSpace, Table, identifierFieldIds, shapeBeside } from '../../src/table/index.ts'
import type { TableShape, TableWork } from '../../src/table/index.ts'
import { KeyRunBuilder } from '../../src/table/key-run-builder.ts'
import { reshape } from '../../src/table/table-shape.ts'
import { field } from './rows.ts'

function dataFile(path: string): DataFile {
  return { path, recordCount: 1, fileSize: 1, metrics: [], splitOffsets: [] }
}

test('a table whose key runs cannot all be built anew keeps none of them open', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'frazil-reshape-'))
  const pool = new SlabPool({ budget: 16 << 20 })
  const shared = {
    pool,
    space: new SpillSpace(join(folder, 'spill')),
    nextSegmentId: () => 1,
    room: () => assert.fail('there is memory enough'),
  }
  try {
    const fields = [field('id', { kind: 'int' }, true, 1), field('other', { kind: 'int' }, true, 2)]
    const source: SourceTable = {
      id: '1',
      sourceName: 'public.t',
      namespace: 's',
      name: 't',
      fields,
      key: { kind: 'columns', columns: [0] },
      columnIds: [1, 2],
    }
    const table = new Table({ source, fields, lastFieldId: 2 }, shared)
    for (const name of ['sound', 'broken', 'unread']) table.adopt(new ColdFile(dataFile(name), null, { since: 0 }))
    const path = join(folder, 'run')
    const builder = new KeyRunBuilder(path, 2)
    builder.reserve(1)
    builder.write()
    const broken = new FrazilError('corrupt', 'object-missing', 'broken does not exist')
    let opened: KeyRun | null = null
    const work: TableWork = {
      stage: () => Promise.resolve(),
      readCells: () => assert.fail('no value is read'),
      rebuildRun: async ({ path: name }) => {
        if (name === 'broken') throw broken
        // It is done when the other one has failed long ago.
        await new Promise((resolve) => setImmediate(resolve))
        const run = KeyRun.open(path, 2, 1)
        opened ??= run
        return run
      },
    }
    const log = new ChangeLog('1', shared)
    log.add({ type: 'table', table: { ...source, key: { kind: 'columns', columns: [1] } } })
    await assert.rejects(
      (async () => {
        for (const step of table.apply(1, log, work)) if (typeof step !== 'number') await step
      })(),
      broken,
    )
    table.close()
    assert.ok(opened)
    // A file that is closed cannot be read.
    assert.throws(() => (opened as KeyRun).find(new Int32Array(2), 0, () => true))
  } finally {
    shared.space.close()
    rmSync(folder, { recursive: true })
  }
})

test('a table that is copied beside its rows, while columns come and go, never gives the id of one to another', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seededRandom(seed)
    const history = someColumns(random)
    const [first] = history
    const { fields: start, last } = assignFieldIds(first.fields)
    let lake = parseMetadata(newMetadata(schemaToJson({ schemaId: 0, fields: start, identifierFieldIds: [1] }), last))
    const commit = (shape: TableShape): void => {
      const { fields, lastFieldId: lastColumnId } = shape
      const base = lake.currentSchemaId
      lake = evolveSchema(lake, { fields, identifierFieldIds: identifierFieldIds(shape), lastColumnId, base })
    }
    // The catalogue may be ahead of the stream when the copy begins, and the lake is behind.
    let former: TableShape = { source: first, fields: start, lastFieldId: last }
    let copy: TableShape | null = null
    const begins = random.below(history.length)
    const seen = begins + random.below(history.length - begins)
    for (const [at, source] of history.entries()) {
      former = reshape(former, source)
      if (at === begins) copy = shapeBeside(former, lake.lastColumnId, history[seen])
      else if (copy && at > seen) copy = reshape(copy, source)
      if (random.below(3) === 0) commit(former)
    }
    assert.ok(copy)
    commit(copy)
    commit(reshape(copy, first))
    const types = new Map<unknown, string>()
    for (const { fields } of lake.schemas as unknown as { fields: { id: number; type: string }[] }[]) {
      for (const { id, type } of fields) {
        assert.equal(types.get(id) ?? type, type, `seed ${seed}: field ${id}`)
        types.set(id, type)
      }
    }
  }
})

function newMetadata(schema: unknown, lastColumnId: number): string {
  return JSON.stringify({
    'format-version': 3,
    'table-uuid': '6bd7ff6c-5a4e-4a6e-9f8b-0a5f1f7b7f3e',
    location: 'memory://t',
    'last-sequence-number': 0,
    'last-updated-ms': 0,
    'last-column-id': lastColumnId,
    'current-schema-id': 0,
    schemas: [schema],
    'default-spec-id': 0,
    'partition-specs': [{ 'spec-id': 0, fields: [] }],
    'last-partition-id': 999,
    'default-sort-order-id': 0,
    'sort-orders': [{ 'order-id': 0, fields: [] }],
    'next-row-id': 0,
  })
}

/** What becomes of a table whose columns come, go and come again under the same names with other types. */
function someColumns(random: ReturnType<typeof seededRandom>): SourceTable[] {
  const types = [{ kind: 'int' }, { kind: 'string' }, { kind: 'date' }] as const
  let columns = [{ id: 1, field: field('id', { kind: 'int' }, true) }]
  const history: SourceTable[] = []
  for (let next = 2; next < 12; next++) {
    const name = `c${random.below(3)}`
    const others = columns.filter((one) => one.field.name !== name)
    columns =
      others.length < columns.length ? others : [...columns, { id: next, field: field(name, types[random.below(3)], false) }]
    history.push({
      id: '1',
      sourceName: 'public.t',
      namespace: 's',
      name: 't',
      fields: columns.map((one) => one.field),
      key: { kind: 'columns', columns: [0] },
      columnIds: columns.map(({ id }) => id),
    })
  }
  return history
}
