import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AssertionError } from '../../src/base/index.ts'
import { readPuffin } from '../../src/format/puffin/index.ts'
import { compileEncoder, resolveSchema, writeContainer } from '../../src/format/avro/index.ts'
import { loadTable, readDeletionVector } from '../../src/iceberg/index.ts'
import { Status } from '../../src/iceberg/manifest.ts'
import { entryNames, manifestEntrySchema, emptyPartition } from '../../src/iceberg/manifest-schema.ts'
import { decodeManifestList, encodeManifestList, noSummaries } from '../../src/iceberg/manifest-list.ts'
import { Lab } from './lab.ts'

async function vectors(lab: Lab): Promise<{ path: string; status: number; bits: number; dataFile: string | null }[]> {
  const entries = (await lab.manifests()).filter(({ file }) => file.content === 1).flatMap((manifest) => manifest.entries)
  return entries.map(({ status, file }) => ({
    path: file.path,
    status,
    bits: file.recordCount,
    dataFile: file.referencedDataFile,
  }))
}

test('iceberg check 50: a vector is where the footer of its Puffin file says', async () => {
  const lab = new Lab()
  const file = lab.file(1000)
  await lab.commit({ added: [file], deletionVectors: [await lab.vector(file, [1, 5, 999])] })
  const [{ deletionVector: vector }] = await lab.live()
  assert.ok(vector !== null)
  const { blobs } = readPuffin(await lab.store.get(vector.path))
  assert.equal(blobs.length, 1)
  assert.deepEqual([blobs[0].offset, blobs[0].length], [vector.contentOffset, vector.contentSize])
  assert.deepEqual(blobs[0].properties, { 'referenced-data-file': file.path, cardinality: '3' })
  assert.equal(vector.cardinality, 3)
  const bits = await readDeletionVector(lab.store, vector, 1000)
  assert.deepEqual([bits[0], bits[124]], [0b100010, 0b10000000])
  await assert.rejects(readDeletionVector(lab.store, { ...vector, cardinality: 2 }, 1000), { kind: 'corrupt' })
})

test('iceberg check 52: a second delete leaves one live vector and one DELETED entry', async () => {
  const lab = new Lab()
  const file = lab.file(1000)
  await lab.commit({ added: [file] })
  const first = await lab.vector(file, [1, 2], null)
  await lab.commit({ deletionVectors: [first] })
  const second = await lab.vector(file, [1, 2, 3], first.path)
  await lab.commit({ deletionVectors: [second] })
  assert.deepEqual(await vectors(lab), [
    { path: first.path, status: Status.deleted, bits: 2, dataFile: file.path },
    { path: second.path, status: Status.added, bits: 3, dataFile: file.path },
  ])
  assert.deepEqual(
    (await lab.live()).map((each) => each.deletionVector?.path),
    [second.path],
  )
})

test('a vector that was planned on another one is a conflict', async () => {
  const lab = new Lab()
  const file = lab.file(1000)
  await lab.commit({ added: [file] })
  const [mine, theirs] = [await lab.vector(file, [1, 2], null), await lab.vector(file, [7], null)]
  await lab.commit({ deletionVectors: [theirs] })
  const conflict = { kind: 'conflict', code: 'deletion-vector-changed' }
  await assert.rejects(lab.prepare({ deletionVectors: [mine] }), conflict)
  // Without the path of the old one at least a vector with fewer deletes is.
  await lab.commit({ deletionVectors: [await lab.vector(file, [7, 8, 9], theirs.path)] })
  await assert.rejects(lab.prepare({ deletionVectors: [await lab.vector(file, [1])] }), conflict)
})

test('a data file that is gone is a conflict', async () => {
  const lab = new Lab()
  const [a, b] = [lab.file(10), lab.file(10)]
  await lab.commit({ added: [a, b] })
  const vector = await lab.vector(a, [1])
  await lab.commit({ removed: [a.path] })
  await assert.rejects(lab.prepare({ deletionVectors: [vector] }), { kind: 'conflict', code: 'data-file-gone' })
  await assert.rejects(lab.prepare({ removed: [a.path] }), { kind: 'conflict', code: 'data-file-gone' })
})

test('iceberg check 54: a removed data file takes its vector along', async () => {
  const lab = new Lab()
  const [a, b] = [lab.file(10), lab.file(10)]
  const old = [await lab.vector(a, [1]), await lab.vector(b, [2])]
  await lab.commit({ added: [a, b], deletionVectors: old })
  await lab.commit({ removed: [a.path], added: [lab.file(9)], rewrite: true })
  assert.deepEqual(
    (await vectors(lab)).map(({ path, status }) => [path, status]),
    [
      [old[0].path, Status.deleted],
      [old[1].path, Status.existing],
    ],
  )
  assert.equal(lab.table.summary?.operation, 'replace')
})

test('iceberg check 56: a vector goes in with its data file', async () => {
  const lab = new Lab()
  const file = lab.file(10)
  await lab.commit({ added: [file], deletionVectors: [await lab.vector(file, [0])] })
  const [live] = await lab.live()
  assert.equal(live.deletionVector?.cardinality, 1)
  assert.equal(lab.table.summary?.operation, 'overwrite')
})

test('iceberg check 57: no empty vector and no full one', async () => {
  const lab = new Lab()
  const file = lab.file(3)
  await lab.commit({ added: [file] })
  await assert.rejects(lab.prepare({ deletionVectors: [await lab.vector(file, [])] }), AssertionError)
  await assert.rejects(lab.prepare({ deletionVectors: [await lab.vector(file, [0, 1, 2])] }), AssertionError)
})

test('iceberg check 58: version 2 gets no vectors, version 3 no position-delete files', async () => {
  const lab = new Lab()
  const file = lab.file(10)
  await lab.commit({ added: [file] })
  const metadataLocation = `${lab.table.location}/metadata/00009-v2.metadata.json`
  await lab.store.put(
    metadataLocation,
    Buffer.from((await lab.metadataJson()).replace('"format-version":3', '"format-version":2')),
  )
  lab.table = await loadTable(lab.parts, { ...lab.pointer, metadataLocation })
  const vector = await lab.vector(file, [1])
  await assert.rejects(lab.prepare({ deletionVectors: [vector] }), { kind: 'unsupported', code: 'format-version' })
})

for (const [what, content] of [
  ['position-delete files', 1],
  ['equality deletes', 2],
] as const) {
  test(`iceberg check 58: a table with ${what} of another writer is refused with a sentence`, async () => {
    const lab = new Lab()
    const data = lab.file(10)
    await lab.commit({ added: [data] })
    const snapshotId = lab.table.currentSnapshotId ?? 0n
    const schema = manifestEntrySchema(3, emptyPartition)
    const file = {
      content,
      path: `${lab.table.location}/data/deletes.parquet`,
      format: 'PARQUET',
      partition: {},
      recordCount: 1,
      fileSize: 500,
      equalityIds: content === 2 ? [1] : null,
    }
    const encode = compileEncoder(resolveSchema(schema), entryNames)
    const bytes = await writeContainer({ schema, metadata: {}, encode, values: [{ status: 1, snapshotId, file }] })
    const path = `${lab.table.location}/metadata/deletes.avro`
    await lab.store.put(path, bytes)
    const { snapshots } = await lab.metadata()
    const files = decodeManifestList(await lab.store.get(snapshots[0].manifestList))
    const deletes = { ...files[0], path, length: bytes.length, content: 1, partitions: noSummaries, firstRowId: null }
    const header = { formatVersion: 3, snapshotId, parentSnapshotId: null, sequenceNumber: 1n, firstRowId: 0n } as const
    await lab.store.put(snapshots[0].manifestList, await encodeManifestList(header, [...files, deletes]))
    lab.table = await lab.load()
    const refused = { kind: 'unsupported', code: 'delete-files', message: new RegExp(what) }
    await assert.rejects(lab.table.files(), refused)
    await assert.rejects(lab.prepare({ deletionVectors: [await lab.vector(data, [1])] }), refused)
    // Appending changes nothing about them.
    await lab.commit({ added: [lab.file(1)] })
    assert.equal((await lab.manifests()).filter((manifest) => manifest.file.content === 1).length, 1)
  })
}
