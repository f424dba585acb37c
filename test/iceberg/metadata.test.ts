import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { containsCommit, createTable, loadTable } from '../../src/iceberg/index.ts'
import { encodeJson, parseJson } from '../../src/format/json/index.ts'
import type { JsonValue } from '../../src/format/json/index.ts'
import { encodeMetadata, parseMetadata } from '../../src/iceberg/metadata.ts'
import { schemaFromJson, schemaToJson } from '../../src/iceberg/schema-json.ts'
import { Lab, fields } from './lab.ts'

/** Stores a changed copy of the current metadata, as another writer would. */
async function foreignHead(lab: Lab, change: (metadata: Record<string, JsonValue>) => void): Promise<void> {
  const json = parseJson(await lab.metadataJson()) as Record<string, JsonValue>
  change(json)
  const next = `${lab.table.location}/metadata/00099-${lab.parts.random.uuid()}.metadata.json`
  await lab.store.put(next, Buffer.from(encodeJson(json)))
  const { namespace, name, metadataLocation } = lab.pointer
  await lab.catalog.commit({ tables: [{ namespace, name, base: metadataLocation, next }], states: [] })
  lab.table = await loadTable(lab.parts, { namespace, name, metadataLocation: next })
}

describe('table metadata', () => {
  test('iceberg check 1: a new table', async () => {
    const lab = new Lab()
    await lab.commit({ properties: { a: 'b' } })
    const json = JSON.parse(await lab.metadataJson()) as Record<string, unknown>
    assert.partialDeepStrictEqual(json, {
      'format-version': 3,
      'next-row-id': 0,
      'last-sequence-number': 0,
      'last-partition-id': 999,
      'last-column-id': 2,
      'partition-specs': [{ 'spec-id': 0, fields: [] }],
      'sort-orders': [{ 'order-id': 0, fields: [] }],
      snapshots: [],
    })
    assert.equal((json.schemas as unknown[]).length, 1)
    assert.ok(!('current-snapshot-id' in json))
    assert.equal((json.properties as Record<string, string>).a, 'b')
    assert.match(lab.pointer.metadataLocation, /\/metadata\/00000-[0-9a-f-]{36}\.metadata\.json$/)
  })

  test('iceberg check 2: snapshot ids above 2^53 go in and out unquoted', async () => {
    const lab = new Lab()
    await lab.commit({ added: [lab.file(1)] })
    const id = lab.table.currentSnapshotId ?? 0n
    assert.ok(id > 2n ** 53n)
    assert.ok((await lab.metadataJson()).includes(`"snapshot-id":${id},`))
    assert.equal((await lab.load()).currentSnapshotId, id)
  })

  test('iceberg check 3: a current snapshot of -1 is none', async () => {
    const lab = new Lab()
    await lab.commit({})
    await foreignHead(lab, (json) => (json['current-snapshot-id'] = -1))
    assert.equal(lab.table.currentSnapshotId, null)
    await lab.commit({ added: [lab.file(1)] })
    assert.ok(!(await lab.metadataJson()).includes('-1,"'))
  })

  test('iceberg check 4: fields of version 1 never appear', async () => {
    const lab = new Lab()
    await lab.commit({})
    await foreignHead(lab, (json) => Object.assign(json, { schema: { type: 'struct', fields: [] }, 'partition-spec': [] }))
    await lab.commit({ added: [lab.file(1)] })
    const keys = Object.keys(JSON.parse(await lab.metadataJson()) as object)
    assert.ok(!keys.includes('schema') && !keys.includes('partition-spec'))
  })

  test('iceberg check 5: other versions are refused, unknown fields survive', async () => {
    const lab = new Lab()
    await lab.commit({ added: [lab.file(1)] })
    await foreignHead(lab, (json) => {
      json['new-thing'] = { deep: [1.5, 12345678901234567890n.toString()] }
      const [snapshot] = json.snapshots as unknown as Record<string, unknown>[]
      snapshot['new-in-snapshot'] = 7
      const [schema] = json.schemas as unknown as { fields: Record<string, unknown>[] }[]
      schema.fields[1]['initial-default'] = 'x'
    })
    await lab.commit({ added: [lab.file(1)] })
    const json = JSON.parse(await lab.metadataJson()) as Record<string, never>
    assert.deepEqual(json['new-thing'], { deep: [1.5, '12345678901234567890'] })
    assert.equal((json.snapshots as unknown as Record<string, unknown>[])[0]['new-in-snapshot'], 7)
    assert.equal((json.schemas as unknown as { fields: Record<string, unknown>[] }[])[0].fields[1]['initial-default'], 'x')

    for (const version of [0, 1, 4, 2 ** 40]) {
      assert.throws(() => parseMetadata(JSON.stringify({ ...json, 'format-version': version })), {
        kind: 'unsupported',
        code: 'format-version',
      })
    }
  })

  test('iceberg check 6: main is the current snapshot after every commit; its settings stay', async () => {
    const lab = new Lab()
    await lab.commit({ added: [lab.file(1)] })
    await foreignHead(lab, (json) =>
      Object.assign((json.refs as unknown as { main: object }).main, { 'min-snapshots-to-keep': 5 }),
    )
    for (let i = 0; i < 3; i++) {
      await lab.commit({ added: [lab.file(1)] })
      const { refs, currentSnapshotId } = await lab.metadata()
      assert.deepEqual(refs.main, { 'snapshot-id': currentSnapshotId, type: 'branch', 'min-snapshots-to-keep': 5 })
    }
  })

  test('iceberg check 7: time does not go back when the clock does', async () => {
    const lab = new Lab()
    await lab.commit({ added: [lab.file(1)] })
    const before = await lab.metadata()
    lab.clock.ms -= 10_000
    await lab.commit({ added: [lab.file(1)] })
    const after = await lab.metadata()
    assert.equal(after.lastUpdatedMs, before.lastUpdatedMs)
    assert.equal(after.snapshotLog[1].timestampMs, before.snapshotLog[0].timestampMs)
  })

  test('iceberg check 8: the metadata log has the previous file with its time, and a maximum', async () => {
    const lab = new Lab({ properties: { 'write.metadata.previous-versions-max': '3' } })
    const locations: string[] = []
    const dropped: string[] = []
    for (let i = 0; i < 6; i++) {
      lab.clock.ms += 1000
      const commit = await lab.commit({ added: [lab.file(1)] })
      locations.push(commit.metadataLocation)
      dropped.push(...commit.unreferenced)
    }
    const { metadataLog } = await lab.metadata()
    assert.deepEqual(
      metadataLog.map((entry) => entry.metadataFile),
      locations.slice(2, 5),
    )
    assert.deepEqual(dropped, locations.slice(0, 2))
    assert.equal(metadataLog[2].timestampMs, lab.clock.ms - 1000)
  })

  test('iceberg check 9: the snapshot log follows main and loses what is expired', async () => {
    const lab = new Lab()
    for (let i = 0; i < 5; i++) await lab.commit({ added: [lab.file(1)], retention: { maxSnapshots: 2, maxAgeMs: 1e9 } })
    await lab.commit({ properties: { x: 'y' } })
    const { snapshotLog, snapshots } = await lab.metadata()
    assert.equal(snapshots.length, 3)
    assert.deepEqual(
      snapshotLog.map((entry) => entry.snapshotId),
      snapshots.map((snapshot) => snapshot.id),
    )
  })

  test('iceberg check 10: expiry removes statistics, and spares what a ref names', async () => {
    const lab = new Lab()
    await lab.commit({ added: [lab.file(1)] })
    const tagged = lab.table.currentSnapshotId ?? 0n
    await lab.commit({ added: [lab.file(1)] })
    const plain = lab.table.currentSnapshotId ?? 0n
    const path = `${lab.table.location}/metadata/x.stats`
    await foreignHead(lab, (json) => {
      Object.assign(json.refs as object, { keep: { 'snapshot-id': tagged, type: 'tag' } })
      json.statistics = [
        { 'snapshot-id': tagged, 'statistics-path': 'kept' },
        { 'snapshot-id': plain, 'statistics-path': path },
      ]
    })
    const commit = await lab.commit({ added: [lab.file(1)], retention: { maxSnapshots: 0, maxAgeMs: 1e9 } })
    const { snapshots, statistics, refs } = await lab.metadata()
    assert.deepEqual(
      snapshots.map((snapshot) => snapshot.id),
      [tagged, lab.table.currentSnapshotId],
    )
    assert.deepEqual(
      statistics.map((each) => each['statistics-path']),
      ['kept'],
    )
    assert.ok('keep' in refs)
    assert.ok(commit.unreferenced.includes(path))
  })

  test('iceberg check 11: compressed metadata is written, and read under both names', async () => {
    const lab = new Lab({ properties: { 'write.metadata.compression-codec': 'gzip' } })
    await lab.commit({ added: [lab.file(1)] })
    assert.match(lab.pointer.metadataLocation, /\.gz\.metadata\.json$/)
    const files = await (await lab.load()).files()
    assert.equal(files.length, 1)
    const other = `${lab.table.location}/metadata/00007-x.metadata.json.gz`
    await lab.store.put(other, await lab.store.get(lab.pointer.metadataLocation))
    const table = await loadTable(lab.parts, { ...lab.pointer, metadataLocation: other })
    assert.equal(table.currentSnapshotId, lab.table.currentSnapshotId)
    await lab.store.put(other, gzipSync('{').subarray(0, 12))
    await assert.rejects(loadTable(lab.parts, { ...lab.pointer, metadataLocation: other }), { kind: 'corrupt' })
  })

  test('iceberg check 12: a table made anew under the same name stops the writer', async () => {
    const lab = new Lab()
    await lab.commit({ added: [lab.file(1)] })
    const old = lab.table
    await foreignHead(lab, (json) => (json['table-uuid'] = lab.parts.random.uuid()))
    await assert.rejects(loadTable(lab.parts, lab.pointer, old), { kind: 'corrupt', code: 'table-replaced' })
  })

  test('iceberg check 13: reserved properties are never stored', async () => {
    const lab = new Lab({ properties: { 'format-version': '3', 'current-schema': '{}' } })
    await lab.commit({ properties: { uuid: 'x', 'snapshot-count': '1', mine: 'y' } })
    const { properties } = await lab.metadata()
    for (const key of ['format-version', 'current-schema', 'uuid', 'snapshot-count']) assert.ok(!(key in properties), key)
    assert.equal(properties.mine, 'y')
    const definition = {
      namespace: 'a',
      name: 'b',
      location: 'memory://lake/a/b',
      fields,
      key: [],
      properties: { 'format-version': '2' },
    }
    assert.throws(() => createTable(lab.parts, definition), { kind: 'unsupported', code: 'format-version' })
  })

  test('iceberg check 14: a table that was upgraded keeps its old snapshots as they are', async () => {
    const lab = new Lab()
    await lab.commit({ added: [lab.file(10), lab.file(20)] })
    await foreignHead(lab, (json) => {
      json['format-version'] = 2
      delete json['next-row-id']
      const [snapshot] = json.snapshots as unknown as Record<string, unknown>[]
      delete snapshot['first-row-id']
      delete snapshot['added-rows']
    })
    const before = (await lab.metadata()).snapshots[0].json.text
    await lab.commit({ added: [lab.file(5)] })
    assert.ok(!(await lab.metadataJson()).includes('row-id'))
    await foreignHead(lab, (json) => Object.assign(json, { 'format-version': 3, 'next-row-id': 0 }))
    await lab.commit({ added: [lab.file(1)] })
    assert.equal((await lab.metadata()).snapshots[0].json.text, before)
  })

  test('every line of malformed metadata is refused', async () => {
    const lab = new Lab()
    await lab.commit({ added: [lab.file(1)] })
    const json = await lab.metadataJson()
    const whole = JSON.parse(json) as Record<string, unknown>
    assert.equal(encodeMetadata(parseMetadata(json)), json)
    for (const key of ['format-version', 'table-uuid', 'location', 'last-sequence-number', 'next-row-id', 'current-schema-id']) {
      const { [key]: _, ...rest } = whole
      assert.throws(() => parseMetadata(JSON.stringify(rest)), { kind: 'corrupt', code: 'bad-metadata' }, key)
    }
    assert.throws(() => parseMetadata(JSON.stringify({ ...whole, refs: { main: { 'snapshot-id': 1, type: 'branch' } } })), {
      kind: 'corrupt',
    })
    assert.throws(() => parseMetadata('[]'), { kind: 'corrupt' })
  })
})

describe('schemas', () => {
  test('every type goes through JSON', () => {
    const schema = {
      schemaId: 3,
      identifierFieldIds: [1],
      fields: [
        ...(
          [
            'boolean',
            'int',
            'long',
            'float',
            'double',
            'date',
            'time',
            'timestamp',
            'timestamptz',
            'string',
            'uuid',
            'binary',
          ] as const
        ).map((kind, i) => ({ id: i + 1, name: kind, required: i === 0, type: { kind } })),
        { id: 20, name: 'd', required: false, type: { kind: 'decimal', precision: 38, scale: 9 } as const, doc: 'a price' },
        { id: 21, name: 'f', required: false, type: { kind: 'fixed', length: 16 } as const },
        {
          id: 22,
          name: 'l',
          required: false,
          type: { kind: 'list', elementId: 23, elementRequired: true, element: { kind: 'int' } } as const,
        },
        {
          id: 24,
          name: 'm',
          required: false,
          type: {
            kind: 'map',
            keyId: 25,
            key: { kind: 'string' },
            valueId: 26,
            valueRequired: false,
            value: { kind: 'long' },
          } as const,
        },
        {
          id: 27,
          name: 's',
          required: false,
          type: { kind: 'struct', fields: [{ id: 28, name: 'x', required: true, type: { kind: 'int' } }] } as const,
        },
      ],
    }
    assert.deepEqual(schemaFromJson(schemaToJson(schema)), schema)
    const json = { type: 'struct', fields: [{ id: 1, name: 'd', required: false, type: 'decimal(9,2)' }] }
    assert.deepEqual(schemaFromJson(json).fields[0].type, { kind: 'decimal', precision: 9, scale: 2 })
  })

  test('a type we cannot represent names its column', () => {
    const json = { type: 'struct', fields: [{ id: 1, name: 'shape', required: false, type: 'geometry' }] }
    assert.throws(() => schemaFromJson(json), { kind: 'unsupported', code: 'unsupported-type', message: /"shape".*geometry/ })
  })
})

describe('uncertain commits', () => {
  test('a commit is found at the head, later in the log, and not when it never happened', async () => {
    const lab = new Lab()
    const first = await lab.commit({ added: [lab.file(1)] })
    assert.ok(await containsCommit(lab.parts, lab.pointer, first))
    const lost = await lab.prepare({ added: [lab.file(1)] })
    await lab.commit({ added: [lab.file(1)] })
    assert.ok(await containsCommit(lab.parts, lab.pointer, first))
    assert.ok(!(await containsCommit(lab.parts, lab.pointer, lost.commit)))
    await assert.rejects(lab.swap(lost.commit), { kind: 'conflict' })
  })

  test('a commit that left the metadata log is found by its snapshot', async () => {
    const lab = new Lab({ properties: { 'write.metadata.previous-versions-max': '1' } })
    const first = await lab.commit({ added: [lab.file(1)] })
    for (let i = 0; i < 3; i++) await lab.commit({ added: [lab.file(1)] })
    assert.ok(await containsCommit(lab.parts, lab.pointer, first))
  })
})
