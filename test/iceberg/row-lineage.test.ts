import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Status } from '../../src/iceberg/manifest.ts'
import { assignFirstRowIds, decodeManifestList, encodeManifestList, noSummaries } from '../../src/iceberg/manifest-list.ts'
import type { ManifestFile } from '../../src/iceberg/manifest-list.ts'
import { loadTable } from '../../src/iceberg/index.ts'
import { Lab } from './lab.ts'

function manifestFile(addedRows: number, existingRows: number, content = 0): ManifestFile {
  return {
    path: `memory://lake/${addedRows}-${existingRows}.avro`,
    length: 100,
    specId: 0,
    content,
    sequenceNumber: 4n,
    minSequenceNumber: 1n,
    addedSnapshotId: 9n,
    addedFiles: 1,
    existingFiles: 1,
    deletedFiles: 0,
    addedRows,
    existingRows,
    deletedRows: 0,
    partitions: noSummaries,
    keyMetadata: null,
    firstRowId: null,
  }
}

async function snapshotJson(lab: Lab): Promise<Record<string, number>> {
  const json = JSON.parse(await lab.metadataJson()) as { snapshots: Record<string, number>[]; 'next-row-id': number }
  return { ...json.snapshots[json.snapshots.length - 1], next: json['next-row-id'] }
}

/** Row id ranges of all live files, which must not overlap. */
async function ranges(lab: Lab): Promise<Map<string, [bigint, bigint]>> {
  const files = await lab.live()
  const found = files.map((file): [string, [bigint, bigint]] => {
    assert.ok(file.firstRowId !== null)
    return [file.path, [file.firstRowId, file.firstRowId + BigInt(file.recordCount)]]
  })
  const sorted = found.map(([, range]) => range).sort((a, b) => Number(a[0] - b[0]))
  for (let i = 1; i < sorted.length; i++) assert.ok(sorted[i][0] >= sorted[i - 1][1], 'ranges overlap')
  return new Map(found)
}

test('iceberg check 15: the example of the specification', () => {
  const listed = [manifestFile(100, 25), manifestFile(0, 100), manifestFile(7, 0, 1), manifestFile(125, 25)]
  const { files, next } = assignFirstRowIds(listed, 1000n)
  assert.deepEqual(
    files.map((file) => file.firstRowId),
    [1000n, 1125n, null, 1225n],
  )
  assert.equal(next, 1375n)
  assert.deepEqual(assignFirstRowIds(files, 5000n), { files, next: 5000n })
})

test('iceberg check 16: a snapshot that only deletes takes no row ids', async () => {
  const lab = new Lab()
  const file = lab.file(100)
  await lab.commit({ added: [file] })
  await lab.commit({ deletionVectors: [await lab.vector(file, [1])] })
  assert.partialDeepStrictEqual(await snapshotJson(lab), { 'first-row-id': 100, 'added-rows': 0, next: 100 })
})

test('iceberg check 17: ADDED entries inherit their first row id, others carry it', async () => {
  const lab = new Lab()
  const [a, b] = [lab.file(10), lab.file(20)]
  await lab.commit({ added: [a, b] })
  await lab.commit({ removed: [a.path] })
  const raw = await rawEntries(lab)
  assert.deepEqual(
    raw.map((entry) => [entry.status, entry.file.path === a.path, entry.file.firstRowId]),
    [
      [Status.deleted, true, 0],
      [Status.existing, false, 10],
    ],
  )
  await lab.commit({ added: [lab.file(1)] })
  const added = (await rawEntries(lab)).filter((entry) => entry.status === Status.added)
  assert.deepEqual(
    added.map((entry) => [entry.file.firstRowId, entry.sequenceNumber, entry.fileSequenceNumber]),
    [[null, null, null]],
  )
})

test('iceberg check 18: delete manifests and vectors have no row ids', async () => {
  const lab = new Lab()
  const file = lab.file(100)
  await lab.commit({ added: [file], deletionVectors: [await lab.vector(file, [1])] })
  const deletes = (await lab.manifests()).filter((manifest) => manifest.file.content === 1)
  assert.equal(deletes.length, 1)
  assert.equal(deletes[0].file.firstRowId, null)
  assert.equal(deletes[0].entries[0].file.firstRowId, null)
})

test('iceberg check 19: a retried commit is numbered from the refreshed table', async () => {
  const lab = new Lab()
  await lab.commit({ added: [lab.file(10)] })
  const update = { added: [lab.file(5)] }
  const lost = await lab.prepare(update)
  await lab.commit({ added: [lab.file(100)] })
  await assert.rejects(lab.swap(lost.commit), { kind: 'conflict' })
  lab.table = await loadTable(lab.parts, lab.pointer, lab.table)
  await lab.commit(update)
  assert.partialDeepStrictEqual(await snapshotJson(lab), {
    'first-row-id': 110,
    'added-rows': 5,
    next: 115,
    'sequence-number': 3,
  })
  assert.deepEqual((await ranges(lab)).get(update.added[0].path), [110n, 115n])
})

test('iceberg check 23: merging and rewriting manifests changes no row id', async () => {
  const lab = new Lab()
  const expected = new Map<string, [bigint, bigint]>()
  for (let i = 0; i < 100; i++) {
    const file = lab.file(10 + i)
    await lab.commit({ added: [file] })
    for (const [path, range] of await ranges(lab)) {
      if (!expected.has(path)) expected.set(path, range)
      assert.deepEqual(range, expected.get(path))
    }
    // What a commit hands on in memory is what a reader of the files sees.
    assert.deepEqual((await lab.table.files()).map(described), (await lab.live()).map(described))
    if (i % 7 === 3) {
      await lab.commit({ removed: [file.path] })
      expected.delete(file.path)
    }
  }
  assert.equal((await ranges(lab)).size, expected.size)
  assert.ok((await lab.manifests()).length < 40)
})

test('iceberg check 24: the first commit after an upgrade gives every file its row ids', async () => {
  const lab = new Lab()
  const rewrite = async (change: (json: Record<string, unknown>) => void) => {
    const json = JSON.parse((await lab.metadataJson()).replaceAll(/"([a-z-]*snapshot-id)":(\d+)/g, '"$1":"#$2"')) as Record<
      string,
      unknown
    >
    change(json)
    const next = `${lab.table.location}/metadata/00050-${lab.parts.random.uuid()}.metadata.json`
    await lab.store.put(next, Buffer.from(JSON.stringify(json).replaceAll(/"#(\d+)"/g, '$1')))
    lab.table = await loadTable(lab.parts, { ...lab.pointer, metadataLocation: next })
  }
  await lab.commit({})
  await rewrite((json) => {
    json['format-version'] = 2
    delete json['next-row-id']
  })
  const old = [lab.file(10), lab.file(20)]
  // The catalog still has the first file: only metadata matters here.
  for (const file of old) lab.table = (await lab.prepare({ added: [file] })).next
  assert.deepEqual(
    (await lab.live()).map((file) => file.firstRowId),
    [null, null],
  )
  await rewrite((json) => Object.assign(json, { 'format-version': 3, 'next-row-id': 0 }))
  lab.table = (await lab.prepare({ added: [lab.file(5)] })).next
  const after = await ranges(lab)
  assert.equal(after.size, 3)
  assert.partialDeepStrictEqual(await snapshotJson(lab), { 'first-row-id': 0, 'added-rows': 35, next: 35 })
  lab.table = (await lab.prepare({ removed: [old[0].path] })).next
  assert.deepEqual((await ranges(lab)).get(old[1].path), after.get(old[1].path))
})

test('manifest lists go in and out', async () => {
  const header = { formatVersion: 3, snapshotId: 2n ** 62n, parentSnapshotId: null, sequenceNumber: 4n, firstRowId: 9n } as const
  const files = [{ ...manifestFile(1, 2), firstRowId: 2n ** 60n }, manifestFile(3, 4, 1)]
  assert.deepEqual(decodeManifestList(await encodeManifestList(header, files)), files)
})

interface RawEntry {
  status: number
  sequenceNumber: number | null
  fileSequenceNumber: number | null
  file: { path: string; firstRowId: number | null }
}

/** Entries as they are stored, nothing inherited. */
async function rawEntries(lab: Lab): Promise<RawEntry[]> {
  const { ContainerReader, compileDecoder } = await import('../../src/format/avro/index.ts')
  const { entryNames } = await import('../../src/iceberg/manifest-schema.ts')
  const entries: RawEntry[] = []
  for (const { file } of await lab.manifests()) {
    const { values } = new ContainerReader((type) => compileDecoder(type, entryNames)).read(await lab.store.get(file.path))
    entries.push(...(values as unknown as RawEntry[]))
  }
  return entries
}

function described(file: { path: string; firstRowId: bigint | null; dataSequenceNumber: bigint; addedSnapshotId: bigint }) {
  return [file.path, file.firstRowId, file.dataSequenceNumber, file.addedSnapshotId]
}
