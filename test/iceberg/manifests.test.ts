import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ContainerReader, compileDecoder, compileEncoder, resolveSchema, writeContainer } from '../../src/format/avro/index.ts'
import type { AvroRecord } from '../../src/format/avro/index.ts'
import { encodeJson, parseJson } from '../../src/format/json/index.ts'
import type { JsonValue } from '../../src/format/json/index.ts'
import { decodeManifest, Status } from '../../src/iceberg/manifest.ts'
import { decodeManifestList } from '../../src/iceberg/manifest-list.ts'
import { entryNames, manifestEntrySchema, manifestFileSchema, manifestNames } from '../../src/iceberg/manifest-schema.ts'
import { loadTable } from '../../src/iceberg/index.ts'
import { Lab } from './lab.ts'

/** name → field id of every field of a schema, nested ones included. */
function fieldIds(schema: JsonValue, found = new Map<string, JsonValue>()): Map<string, JsonValue> {
  if (Array.isArray(schema)) {
    for (const each of schema as JsonValue[]) fieldIds(each, found)
  } else if (typeof schema === 'object' && schema !== null) {
    const object = schema as Record<string, JsonValue>
    if (typeof object.name === 'string' && 'field-id' in object) found.set(object.name, object['field-id'])
    for (const value of Object.values(object)) fieldIds(value, found)
  }
  return found
}

async function listPath(lab: Lab): Promise<string> {
  const { snapshots } = await lab.metadata()
  return snapshots[snapshots.length - 1].manifestList
}

test('iceberg check 26: every field has the id of the specification', async () => {
  const lab = new Lab()
  const file = lab.file(9)
  await lab.commit({ added: [file], deletionVectors: [await lab.vector(file, [1])] })
  const list = new ContainerReader((type) => compileDecoder(type, manifestNames)).read(await lab.store.get(await listPath(lab)))
  assert.deepEqual(Object.fromEntries(fieldIds(list.header.schema)), {
    manifest_path: 500,
    manifest_length: 501,
    partition_spec_id: 502,
    content: 517,
    sequence_number: 515,
    min_sequence_number: 516,
    added_snapshot_id: 503,
    added_files_count: 504,
    existing_files_count: 505,
    deleted_files_count: 506,
    added_rows_count: 512,
    existing_rows_count: 513,
    deleted_rows_count: 514,
    partitions: 507,
    contains_null: 509,
    contains_nan: 518,
    lower_bound: 510,
    upper_bound: 511,
    key_metadata: 519,
    first_row_id: 520,
  })
  const [{ file: manifest }] = await lab.manifests()
  const { header } = new ContainerReader((type) => compileDecoder(type, entryNames)).read(await lab.store.get(manifest.path))
  const ids = fieldIds(header.schema)
  ids.delete('key') // ten fields have these two names
  ids.delete('value')
  assert.deepEqual(Object.fromEntries(ids), {
    status: 0,
    snapshot_id: 1,
    sequence_number: 3,
    file_sequence_number: 4,
    data_file: 2,
    content: 134,
    file_path: 100,
    file_format: 101,
    partition: 102,
    record_count: 103,
    file_size_in_bytes: 104,
    column_sizes: 108,
    value_counts: 109,
    null_value_counts: 110,
    nan_value_counts: 137,
    lower_bounds: 125,
    upper_bounds: 128,
    key_metadata: 131,
    split_offsets: 132,
    equality_ids: 135,
    sort_order_id: 140,
    first_row_id: 142,
    referenced_data_file: 143,
    content_offset: 144,
    content_size_in_bytes: 145,
  })
  for (const id of ['"element-id":133', '"element-id":136', '"field-id":117', '"field-id":130', '"name":"r102"']) {
    assert.ok(encodeJson(header.schema).includes(id), id)
  }
})

test('iceberg check 27: key-value metadata are texts, the partition spec is a bare array', async () => {
  const lab = new Lab()
  const file = lab.file(9)
  await lab.commit({ added: [file], deletionVectors: [await lab.vector(file, [1])] })
  const list = new ContainerReader((type) => compileDecoder(type, manifestNames)).read(await lab.store.get(await listPath(lab)))
    .header.metadata
  assert.equal(list.get('snapshot-id'), String(lab.table.currentSnapshotId))
  assert.equal(list.get('parent-snapshot-id'), 'null')
  assert.equal(list.get('sequence-number'), '1')
  assert.equal(list.get('first-row-id'), '0')
  assert.equal(list.get('format-version'), '3')
  for (const { file: manifest } of await lab.manifests()) {
    const { metadata } = new ContainerReader((type) => compileDecoder(type, entryNames)).read(
      await lab.store.get(manifest.path),
    ).header
    assert.equal(metadata.get('partition-spec'), '[]')
    assert.equal(metadata.get('partition-spec-id'), '0')
    assert.equal(metadata.get('schema-id'), '0')
    assert.equal(metadata.get('format-version'), '3')
    assert.equal(metadata.get('content'), manifest.content === 0 ? 'data' : 'deletes')
    assert.partialDeepStrictEqual(JSON.parse(metadata.get('schema') ?? ''), { type: 'struct', 'schema-id': 0 })
  }
})

test('iceberg check 28: a list with the names of older writers is read by its ids', async () => {
  const lab = new Lab()
  await lab.commit({ added: [lab.file(9)] })
  const bytes = await lab.store.get(await listPath(lab))
  const { values } = new ContainerReader((type) => compileDecoder(type, manifestNames)).read(bytes)
  const old = parseJson(
    encodeJson(manifestFileSchema(3))
      .replace('added_files_count', 'added_data_files_count')
      .replace('existing_files_count', 'existing_data_files_count'),
  )
  const encode = compileEncoder(resolveSchema(old), manifestNames)
  const rewritten = await writeContainer({ schema: old, metadata: {}, encode, values })
  assert.deepEqual(decodeManifestList(rewritten), decodeManifestList(bytes))
})

test('iceberg check 29: EXISTING and DELETED entries carry their sequence numbers, ADDED ones inherit', async () => {
  const lab = new Lab()
  const [a, b] = [lab.file(1), lab.file(2)]
  await lab.commit({ added: [a, b] })
  await lab.commit({ added: [lab.file(3)] })
  await lab.commit({ removed: [a.path] })
  const found = new Map<number, unknown>()
  for (const { file } of await lab.manifests()) {
    const { values } = new ContainerReader((type) => compileDecoder(type, entryNames)).read(await lab.store.get(file.path))
    for (const entry of values as AvroRecord[]) found.set(Number(entry.status), [entry.sequenceNumber, entry.fileSequenceNumber])
  }
  assert.deepEqual(found.get(Status.added), [null, null])
  assert.deepEqual(found.get(Status.existing), [1, 1])
  assert.deepEqual(found.get(Status.deleted), [1, 1])
  const removed = (await lab.manifests()).flatMap(({ entries }) => entries).find((entry) => entry.status === Status.deleted)
  assert.equal(removed?.snapshotId, lab.table.currentSnapshotId)
})

test('iceberg check 30: min_sequence_number is that of live entries', async () => {
  const lab = new Lab()
  const [a, b] = [lab.file(1), lab.file(2)]
  await lab.commit({ added: [a] })
  await lab.commit({ added: [b] })
  await lab.commit({ removed: [a.path, b.path] })
  assert.deepEqual(
    (await lab.manifests()).map(({ file }) => [file.sequenceNumber, file.minSequenceNumber]),
    [[3n, 3n]],
  )
  await lab.commit({ added: [lab.file(1), a] })
  await lab.commit({ removed: [a.path] })
  assert.deepEqual(
    (await lab.manifests()).map(({ file }) => [file.sequenceNumber, file.minSequenceNumber]),
    [[5n, 4n]],
  )
})

test('iceberg check 31: counts in the list are those of the entries', async () => {
  const lab = new Lab()
  const files = Array.from({ length: 10 }, (_, i) => lab.file(10 + i))
  await lab.commit({ added: files })
  await lab.commit({ deletionVectors: await Promise.all(files.slice(0, 5).map((file) => lab.vector(file, [1, 2]))) })
  await lab.commit({ removed: [files[0].path, files[9].path], added: [lab.file(7)] })
  await checkCounts(lab)
})

async function checkCounts(lab: Lab): Promise<void> {
  for (const { file, entries } of await lab.manifests()) {
    const of = (status: number) => entries.filter((entry) => entry.status === status)
    const rows = (status: number) => of(status).reduce((sum, entry) => sum + entry.file.recordCount, 0)
    assert.deepEqual(
      [file.addedFiles, file.existingFiles, file.deletedFiles],
      [1, 0, 2].map((status) => of(status).length),
    )
    assert.deepEqual([file.addedRows, file.existingRows, file.deletedRows], [1, 0, 2].map(rows))
  }
}

test('iceberg check 33: data and deletes are in manifests of their own', async () => {
  const lab = new Lab()
  const files = [lab.file(10), lab.file(10)]
  await lab.commit({ added: files, deletionVectors: [await lab.vector(files[0], [1])] })
  await lab.commit({ added: [lab.file(3)], removed: [files[0].path], deletionVectors: [await lab.vector(files[1], [1])] })
  for (const { file, entries } of await lab.manifests()) {
    for (const entry of entries) assert.equal(entry.file.content, file.content)
  }
})

test('iceberg check 34: DELETED entries of older snapshots disappear when their manifest is rewritten', async () => {
  const lab = new Lab()
  const files = [lab.file(1), lab.file(2), lab.file(3)]
  await lab.commit({ added: files })
  await lab.commit({ removed: [files[0].path] })
  await lab.commit({ removed: [files[1].path] })
  const entries = (await lab.manifests()).flatMap((manifest) => manifest.entries)
  assert.deepEqual(
    entries.map((entry) => [entry.file.path, entry.status]),
    [
      [files[1].path, Status.deleted],
      [files[2].path, Status.existing],
    ],
  )
  await lab.commit({ removed: [files[2].path] })
  await lab.commit({ added: [lab.file(1)] })
  assert.equal((await lab.manifests()).length, 1)
})

test('iceberg check 37: sizes are those of the stored objects', async () => {
  const lab = new Lab()
  const file = lab.file(100)
  await lab.commit({ added: [file], deletionVectors: [await lab.vector(file, [1, 50])] })
  for (const { file: manifest, entries } of await lab.manifests()) {
    assert.equal(manifest.length, (await lab.store.head(manifest.path))?.size)
    for (const entry of entries) {
      if (entry.file.content === 1) assert.equal(entry.file.fileSize, (await lab.store.head(entry.file.path))?.size)
    }
  }
})

test('entries of a partitioned table of another writer keep their partition when they are rewritten', async () => {
  const lab = new Lab()
  await lab.commit({ added: [lab.file(10), lab.file(20)] })
  // The same table, as if it were partitioned by identity(v).
  const partition = {
    type: 'record',
    name: 'r102',
    fields: [{ name: 'v', type: ['null', 'string'], default: null, 'field-id': 1000 }],
  }
  const [{ file, entries }] = await lab.manifests()
  const schema = manifestEntrySchema(3, partition)
  const values = entries.map((entry, i): AvroRecord => {
    const {
      columnSizes: _c,
      valueCounts: _v,
      nullValueCounts: _n,
      nanValueCounts: _a,
      lowerBounds: _l,
      upperBounds: _u,
      ...rest
    } = entry.file
    return { status: 1, snapshotId: entry.snapshotId, file: { ...rest, firstRowId: null, partition: { v: `p${i}` } } }
  })
  const spec = { 'spec-id': 0, fields: [{ name: 'v', transform: 'identity', 'source-id': 2, 'field-id': 1000 }] }
  const bytes = await writeContainer({ schema, metadata: {}, encode: compileEncoder(resolveSchema(schema), entryNames), values })
  const path = `${lab.table.location}/metadata/foreign.avro`
  await lab.store.put(path, bytes)
  const listSchema = manifestFileSchema(3)
  const list = `${lab.table.location}/metadata/foreign-list.avro`
  const row = { ...file, path, length: bytes.length, partitions: null }
  const encode = compileEncoder(resolveSchema(listSchema), manifestNames)
  await lab.store.put(list, await writeContainer({ schema: listSchema, metadata: {}, encode, values: [row] }))
  const json = (await lab.metadataJson())
    .replace(await listPath(lab), list)
    .replace('"partition-specs":[{"spec-id":0,"fields":[]}]', `"partition-specs":${JSON.stringify([spec])}`)
  const metadataLocation = `${lab.table.location}/metadata/00009-foreign.metadata.json`
  await lab.store.put(metadataLocation, Buffer.from(json))
  const table = await loadTable(lab.parts, { ...lab.pointer, metadataLocation })
  const update = { removed: [], summary: {}, properties: {}, retention: { maxSnapshots: 9, maxAgeMs: 1e9 } }
  await assert.rejects(table.prepare({ ...update, added: [lab.file(1)], deletionVectors: [] }), {
    kind: 'unsupported',
    code: 'partitioned',
  })

  // A vector takes the partition of its data file.
  const [target] = await table.files()
  const marked = await table.prepare({ ...update, added: [], deletionVectors: [await lab.vector(target, [3])] })
  lab.table = (
    await marked.next.prepare({
      ...update,
      added: [],
      removed: [values[1].file as never as { path: string }].map((each) => each.path),
      deletionVectors: [],
    })
  ).next
  const found = new Map<string, unknown>()
  for (const manifest of await lab.manifests()) {
    const read = new ContainerReader((type) => compileDecoder(type, new Map([...entryNames, [1000, 'v']]))).read(
      await lab.store.get(manifest.file.path),
    )
    assert.deepEqual(JSON.parse(read.header.metadata.get('partition-spec') ?? ''), spec.fields)
    for (const entry of read.values as unknown as { file: { path: string; partition: unknown } }[])
      found.set(entry.file.path, entry.file.partition)
  }
  const vector = (await lab.table.files())[0].deletionVector
  assert.deepEqual(found.get(target.path), { v: 'p0' })
  assert.deepEqual(found.get(vector?.path ?? ''), { v: 'p0' })
  assert.deepEqual([...found.values()].filter((each) => JSON.stringify(each) === '{"v":"p1"}').length, 1)
})

test('a malformed manifest is refused', async () => {
  const lab = new Lab()
  await lab.commit({ added: [lab.file(1)] })
  const [{ file }] = await lab.manifests()
  const bytes = await lab.store.get(file.path)
  for (const at of [0, 10, bytes.length - 40]) {
    const changed = bytes.slice()
    changed[at] ^= 0xff
    assert.throws(() => decodeManifest(changed, file), { kind: 'corrupt' })
  }
  assert.throws(() => decodeManifest(bytes.subarray(0, bytes.length - 20), file), { kind: 'corrupt' })
})
