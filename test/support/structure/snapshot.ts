import assert from 'node:assert/strict'
import { Content, Status } from '../../../src/iceberg/manifest.ts'
import type { ManifestEntry } from '../../../src/iceberg/manifest.ts'
import type { ManifestFile } from '../../../src/iceberg/manifest-list.ts'
import { partitionSpec } from '../../../src/iceberg/metadata.ts'
import type { Snapshot, TableMetadata } from '../../../src/iceberg/metadata.ts'
import { member, unique } from './metadata.ts'

/** A manifest of a list, with its entries as a reader sees them. */
export interface ReadManifest {
  readonly file: ManifestFile
  readonly entries: readonly ManifestEntry[]
}

/** What a snapshot refers to. */
export interface SnapshotFiles {
  /** By path. */
  readonly data: ReadonlyMap<string, ManifestEntry>
  /** Deletion vectors by the path of their data file. */
  readonly vectors: ReadonlyMap<string, ManifestEntry>
}

/** Counts, numbers and ranges of one snapshot by recounting its manifests. Returns its live files. */
export function checkSnapshot(metadata: TableMetadata, snapshot: Snapshot, manifests: readonly ReadManifest[]): SnapshotFiles {
  unique(
    manifests.map(({ file }) => file.path),
    'manifests in a list',
  )
  for (const manifest of manifests) checkManifest(metadata, snapshot, manifest)
  const data = new Map<string, ManifestEntry>()
  const vectors = new Map<string, ManifestEntry>()
  for (const { file, entries } of manifests) {
    for (const entry of entries.filter(({ status }) => status !== Status.deleted)) {
      if (file.content === Content.data) {
        assert.ok(!data.has(entry.file.path), `${entry.file.path} is live once`)
        data.set(entry.file.path, entry)
        continue
      }
      const target = entry.file.referencedDataFile
      assert.ok(target !== null && entry.file.format === 'PUFFIN', `${entry.file.path} is a deletion vector of one file`)
      assert.ok(!vectors.has(target), `${target} has one deletion vector`)
      vectors.set(target, entry)
    }
  }
  unique(
    [...vectors.values()].map(({ file }) => `${file.path}:${file.contentOffset}`),
    'places of vectors',
  )
  for (const [target, vector] of vectors) checkVector(manifests, vector, data.get(target))
  if (metadata.formatVersion === 3) checkRowIds(snapshot, [...data.values()])
  checkTotals(snapshot, { data, vectors })
  return { data, vectors }
}

function checkManifest(metadata: TableMetadata, snapshot: Snapshot, { file, entries }: ReadManifest): void {
  const what = (text: string): string => `${file.path}: ${text}`
  partitionSpec(metadata, file.specId)
  const of = (status: Status): ManifestEntry[] => entries.filter((entry) => entry.status === status)
  const rows = (some: readonly ManifestEntry[]): number => some.reduce((sum, entry) => sum + entry.file.recordCount, 0)
  const [existing, added, deleted] = [of(Status.existing), of(Status.added), of(Status.deleted)]
  assert.deepEqual(
    [file.addedFiles, file.existingFiles, file.deletedFiles],
    [added.length, existing.length, deleted.length],
    what('its numbers of files'),
  )
  assert.deepEqual(
    [file.addedRows, file.existingRows, file.deletedRows],
    [rows(added), rows(existing), rows(deleted)],
    what('rows'),
  )

  assert.ok(file.sequenceNumber <= snapshot.sequenceNumber, what('not newer than the snapshot'))
  if (file.addedSnapshotId === snapshot.id)
    assert.equal(file.sequenceNumber, snapshot.sequenceNumber, what('as new as its snapshot'))
  let lowest = file.sequenceNumber
  for (const { sequenceNumber } of [...existing, ...added]) if (sequenceNumber < lowest) lowest = sequenceNumber
  assert.equal(file.minSequenceNumber, lowest, what('its lowest sequence number'))
  const isData = file.content === Content.data
  assert.equal(file.firstRowId !== null, isData && metadata.formatVersion === 3, what('data manifests have a first row id'))
  for (const entry of entries) checkEntry(file, entry)
}

function checkEntry(
  manifest: ManifestFile,
  { status, snapshotId, sequenceNumber, fileSequenceNumber, file }: ManifestEntry,
): void {
  const what = (text: string): string => `${file.path} in ${manifest.path}: ${text}`
  assert.equal(file.content === 0, manifest.content === Content.data, what('data with data, deletes with deletes'))
  assert.notEqual(file.content, 2, what('no equality deletes'))
  assert.ok(sequenceNumber <= manifest.sequenceNumber && fileSequenceNumber <= manifest.sequenceNumber, what('not newer'))
  assert.ok(sequenceNumber <= fileSequenceNumber, what('its data are not newer than the file'))
  if (status === Status.added) {
    assert.equal(fileSequenceNumber, manifest.sequenceNumber, what('as new as the manifest that added it'))
  }
  if (status !== Status.existing) assert.equal(snapshotId, manifest.addedSnapshotId, what('its snapshot'))
  assert.ok(file.recordCount > 0 && file.fileSize > 0, what('has rows and bytes'))
  const offsets = file.splitOffsets ?? []
  for (const [i, offset] of offsets.entries()) {
    assert.ok(offset > (i === 0 ? 0 : offsets[i - 1]) && offset < file.fileSize, what('split offsets grow within the file'))
  }
}

function checkVector(manifests: readonly ReadManifest[], vector: ManifestEntry, target: ManifestEntry | undefined): void {
  const { path, recordCount, fileSize, contentOffset, contentSize, partition } = vector.file
  assert.ok(target, `${path}: its data file is live`)
  assert.ok(vector.sequenceNumber >= target.sequenceNumber, `${path}: not older than its data file`)
  // Spark leaves such files; our names begin with a UUID.
  const isOurs = /\/[0-9a-f]{8}-[^/]*-deletes\.puffin$/.test(path)
  const most = target.file.recordCount
  assert.ok(isOurs ? recordCount < most : recordCount <= most, `${path}: a file without live rows is removed`)
  assert.ok(contentOffset !== null && contentSize !== null && contentOffset + contentSize <= fileSize, `${path}: within its file`)
  assert.deepEqual(Buffer.from(partition), Buffer.from(target.file.partition), `${path}: the partition of its data file`)
  const specOf = (entry: ManifestEntry): number | undefined =>
    manifests.find(({ entries }) => entries.includes(entry))?.file.specId
  assert.equal(specOf(vector), specOf(target), `${path}: the spec of its data file`)
}

function checkRowIds(snapshot: Snapshot, data: readonly ManifestEntry[]): void {
  const first = member(snapshot, 'first-row-id')
  const added = member(snapshot, 'added-rows')
  if (first === null || added === null) return
  const ranges = data.map(({ file }) => {
    assert.ok(file.firstRowId !== null, `${file.path}: its first row id`)
    return { from: file.firstRowId, to: file.firstRowId + BigInt(file.recordCount), path: file.path }
  })
  ranges.sort((a, b) => (a.from < b.from ? -1 : 1))
  for (const [i, { from, to, path }] of ranges.entries()) {
    assert.ok(to <= first + added, `${path}: its row ids are given by snapshot ${snapshot.id} or before`)
    if (i > 0) assert.ok(from >= ranges[i - 1].to, `${path}: its row ids are its own`)
  }
}

/** Files, rows and bytes. A vector counts with its own bytes, not those of the Puffin file around it. */
function figures({ data, vectors }: SnapshotFiles): Record<string, number> {
  const sum = (entries: Iterable<ManifestEntry>, of: (entry: ManifestEntry) => number): number =>
    [...entries].reduce((total, entry) => total + of(entry), 0)
  const rows = ({ file }: ManifestEntry): number => file.recordCount
  const bytes = ({ file }: ManifestEntry): number => file.contentSize ?? file.fileSize
  return {
    'data-files': data.size,
    'delete-files': vectors.size,
    records: sum(data.values(), rows),
    'position-deletes': sum(vectors.values(), rows),
    'files-size': sum(data.values(), bytes) + sum(vectors.values(), bytes),
  }
}

function checkTotals(snapshot: Snapshot, files: SnapshotFiles): void {
  for (const [name, value] of Object.entries(figures(files))) {
    assert.equal(snapshot.summary[`total-${name}`], String(value), `snapshot ${snapshot.id}: total-${name}`)
  }
}

/** What a snapshot says that it has added and removed is the difference to its parent. */
export function checkChanges(snapshot: Snapshot, parent: SnapshotFiles | null, files: SnapshotFiles): void {
  const none: SnapshotFiles = { data: new Map(), vectors: new Map() }
  const added = figures(without(files, parent ?? none))
  const removed = figures(without(parent ?? none, files))
  const said = (name: string): number => Number(snapshot.summary[name] ?? 0)
  const pairs: [string, number][] = [
    ['added-data-files', added['data-files']],
    ['deleted-data-files', removed['data-files']],
    ['added-delete-files', added['delete-files']],
    ['removed-delete-files', removed['delete-files']],
    ['added-dvs', added['delete-files']],
    ['removed-dvs', removed['delete-files']],
    ['added-records', added.records],
    ['deleted-records', removed.records],
    ['added-position-deletes', added['position-deletes']],
    ['removed-position-deletes', removed['position-deletes']],
    ['added-files-size', added['files-size']],
    ['removed-files-size', removed['files-size']],
  ]
  for (const [name, value] of pairs) assert.equal(said(name), value, `snapshot ${snapshot.id}: ${name}`)
  const { operation } = snapshot.summary
  assert.ok(['append', 'delete', 'overwrite', 'replace'].includes(operation), `snapshot ${snapshot.id}: its operation`)
  if (operation === 'append') assert.equal(removed['data-files'] + added['delete-files'], 0, 'an append only adds')
  if (operation === 'delete') assert.equal(added['data-files'], 0, 'a delete adds no rows')
  if (operation !== 'replace') return
  const rows = (some: SnapshotFiles): number => figures(some).records - figures(some)['position-deletes']
  assert.equal(rows(files), rows(parent ?? none), `snapshot ${snapshot.id}: a replacement keeps the number of rows`)
}

function without(files: SnapshotFiles, others: SnapshotFiles): SnapshotFiles {
  const place = (entry?: ManifestEntry): string => `${entry?.file.path}:${entry?.file.contentOffset}`
  return {
    data: new Map([...files.data].filter(([path]) => !others.data.has(path))),
    vectors: new Map([...files.vectors].filter(([target, entry]) => place(others.vectors.get(target)) !== place(entry))),
  }
}
