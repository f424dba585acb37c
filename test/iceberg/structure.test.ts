import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { encodeDeletionVector, writePuffin } from '../../src/format/puffin/index.ts'
import type { DataFile, TableUpdate } from '../../src/iceberg/index.ts'
import { decodeManifest, encodeManifest } from '../../src/iceberg/manifest.ts'
import type { ManifestEntry } from '../../src/iceberg/manifest.ts'
import { decodeManifestList, encodeManifestList } from '../../src/iceberg/manifest-list.ts'
import type { ManifestFile } from '../../src/iceberg/manifest-list.ts'
import { currentSchemaJson, partitionSpec } from '../../src/iceberg/metadata.ts'
import type { Snapshot, TableMetadata } from '../../src/iceberg/metadata.ts'
import { StructureChecker } from '../support/structure/table.ts'
import { Lab } from './lab.ts'
import { ParquetFiles } from './parquet.ts'

/** The structural checker on which other tests rely: it finds nothing in what we write, and every kind of fault. */

let parquet: ParquetFiles

before(async () => (parquet = await ParquetFiles.open()))
after(() => parquet.close())

/** A table with three data files of eight rows, vectors on two of them, a replaced vector and a removed file in its history. */
class Scene {
  readonly lab = new Lab()
  files: readonly DataFile[] = []

  static async create(): Promise<Scene> {
    const scene = new Scene()
    const { lab } = scene
    const write = (): Promise<DataFile> =>
      parquet.write(lab, `SELECT range AS id, 'v' || range AS v FROM range(8)`, { id: 1, v: 2 })
    const files = [await write(), await write(), await write(), await write()]
    const step = async (update: Parameters<Lab['commit']>[0]): Promise<void> => {
      lab.clock.ms += 1000
      await lab.commit(update)
    }
    await step({ added: files.slice(0, 2), deletionVectors: [await lab.vector(files[0], [1])] })
    await step({ added: files.slice(2), deletionVectors: [await lab.vector(files[0], [1, 2]), await lab.vector(files[1], [7])] })
    await step({ removed: [files[2].path] })
    scene.files = files.slice(0, 2)
    return scene
  }

  async fails(why: RegExp): Promise<void> {
    await assert.rejects(this.check(), (error: unknown) => error instanceof Error && why.test(error.message))
  }

  async check(): Promise<void> {
    await new StructureChecker(this.lab.store).check(this.lab.pointer.metadataLocation, { mayRemain: () => false })
  }

  async editMetadata(edit: (json: string) => string): Promise<void> {
    const before = await this.lab.metadataJson()
    const edited = edit(before)
    assert.notEqual(edited, before, 'the edit does something')
    await this.lab.store.put(this.lab.pointer.metadataLocation, Buffer.from(edited))
  }

  async editMetadataOf(edit: (metadata: TableMetadata) => Record<string, unknown>): Promise<void> {
    const metadata = await this.lab.metadata()
    const changed = edit(metadata)
    await this.editMetadata((json) => {
      for (const [name, value] of Object.entries(changed)) {
        const start = json.indexOf(`"${name}":`)
        assert.ok(start > 0, name)
        // Only numbers are replaced in this way.
        const from = start + name.length + 3
        const to = from + (/^-?\d+/.exec(json.slice(from))?.[0].length ?? assert.fail('a number'))
        json = json.slice(0, from) + String(value) + json.slice(to)
      }
      return json
    })
  }

  async #head(): Promise<{ metadata: TableMetadata; snapshot: Snapshot }> {
    const metadata = await this.lab.metadata()
    const snapshot = metadata.snapshots.find(({ id }) => id === metadata.currentSnapshotId) ?? assert.fail('a snapshot')
    return { metadata, snapshot }
  }

  /** Rewrites the head's manifest list in place. */
  async editList(edit: (files: ManifestFile[]) => ManifestFile[]): Promise<void> {
    const { snapshot, metadata } = await this.#head()
    const files = decodeManifestList(await this.lab.store.get(snapshot.manifestList))
    const { formatVersion } = metadata
    const { id: snapshotId, parentId: parentSnapshotId, sequenceNumber } = snapshot
    const header = { formatVersion, snapshotId, parentSnapshotId, sequenceNumber, firstRowId: 0n }
    await this.lab.store.put(snapshot.manifestList, await encodeManifestList(header, edit(files)))
  }

  /** Rewrites one manifest of the head under a new name, with a row in the list that fits unless `row` says otherwise. */
  async editManifest(
    content: number,
    edit: (entries: readonly ManifestEntry[]) => ManifestEntry[],
    row: (file: ManifestFile) => Partial<ManifestFile> = () => ({}),
  ): Promise<void> {
    const { snapshot, metadata } = await this.#head()
    const list = decodeManifestList(await this.lab.store.get(snapshot.manifestList))
    const file = list.find((each) => each.content === content && each.existingFiles + each.addedFiles > 0) ?? assert.fail('one')
    const { entries, partitionType } = decodeManifest(await this.lab.store.get(file.path), file)
    const { formatVersion } = metadata
    const schema = currentSchemaJson(metadata)
    const spec = partitionSpec(metadata, file.specId)
    const bytes = await encodeManifest(
      { formatVersion, content, specId: file.specId, schema, spec, partitionType },
      edit(entries),
    )
    const path = file.path.replace('.avro', '-edited.avro')
    await this.lab.store.put(path, bytes)
    const next = { ...file, path, length: bytes.length }
    await this.editList((files) => files.map((each) => (each.path === file.path ? { ...next, ...row(next) } : each)))
  }

  /** Like {@link editManifest} for one file's entry. */
  editEntry(content: number, edit: (entry: ManifestEntry) => ManifestEntry): Promise<void> {
    return this.editManifest(content, (entries) => {
      const at = entries.findIndex(({ status }) => status !== 2)
      return entries.map((entry, i) => (i === at ? edit(entry) : entry))
    })
  }
}

const inFile = (entry: ManifestEntry, file: Partial<ManifestEntry['file']>): ManifestEntry => ({
  ...entry,
  file: { ...entry.file, ...file },
})

test('a table that we wrote has no fault', async () => {
  const scene = await Scene.create()
  await scene.check()
})

const faults: Record<string, { why: RegExp; make: (scene: Scene) => Promise<unknown> }> = {
  'a missing data file': { why: /exists with the size/, make: ({ lab, files }) => lab.store.delete([files[0].path]) },
  'a data file of another size': {
    why: /exists with the size/,
    make: ({ lab, files }) => lab.store.put(files[0].path, new Uint8Array(9)),
  },
  'a data file with other rows': {
    why: /its rows/,
    make: async ({ lab, files }) => {
      const { path, fileSize } = files[0]
      const fewer = await parquet.write(lab, `SELECT range AS id, 'v' || range AS v FROM range(7)`, { id: 1, v: 2 })
      const bytes = await lab.store.get(fewer.path)
      assert.ok(bytes.length <= fileSize)
      await lab.store.delete([fewer.path])
      await lab.store.put(path, Buffer.concat([new Uint8Array(fileSize - bytes.length), bytes]))
    },
  },
  'a missing manifest': {
    why: /exists with the length/,
    make: async ({ lab }) => lab.store.delete([(await lab.manifests())[0].file.path]),
  },
  'a missing metadata file in the log': {
    why: /metadata\.json exists/,
    make: async ({ lab }) => lab.store.delete([(await lab.metadata()).metadataLog[0].metadataFile]),
  },
  'something that nothing refers to': {
    why: /nothing refers to these/,
    make: ({ lab }) => lab.store.put(`${lab.table.location}/data/left.parquet`, new Uint8Array(1)),
  },
  'a wrong manifest length': { why: /length/, make: (scene) => scene.editList(first((file) => ({ length: file.length + 1 }))) },
  'a wrong number of files': { why: /numbers of files/, make: (scene) => scene.editList(first(() => ({ deletedFiles: 5 }))) },
  'a wrong number of rows': {
    why: /rows/,
    make: (scene) => scene.editList(first((file) => ({ existingRows: file.existingRows + 1 }))),
  },
  'a wrong lowest sequence number': {
    why: /lowest sequence number/,
    make: (scene) => scene.editList(first((file) => ({ minSequenceNumber: file.minSequenceNumber - 1n }))),
  },
  'a manifest listed twice': { why: /unique/, make: (scene) => scene.editList((files) => [...files, files[0]]) },
  'a manifest from the future': {
    why: /not newer than the snapshot/,
    make: (scene) => scene.editList(first(() => ({ sequenceNumber: 99n }))),
  },
  'a data file that is live twice': {
    why: /is live once/,
    make: (scene) => scene.editManifest(0, (entries) => entries.map((entry) => inFile(entry, { path: scene.files[0].path }))),
  },
  'overlapping row ids': {
    why: /its own/,
    make: (scene) => scene.editList(ofFirstCommit({ firstRowId: 20n })),
  },
  'row ids that nobody has given': {
    why: /row ids are given/,
    make: (scene) => scene.editList(ofFirstCommit({ firstRowId: 1000n })),
  },
  'a vector for a file that is not live': {
    why: /its data file is live/,
    make: (scene) => scene.editEntry(1, (entry) => inFile(entry, { referencedDataFile: 'file:///gone.parquet' })),
  },
  'two vectors for one file': {
    why: /has one deletion vector/,
    make: (scene) =>
      scene.editManifest(1, (entries) =>
        entries.map((entry) => inFile(entry, { referencedDataFile: entries[0].file.referencedDataFile })),
      ),
  },
  'a wrong cardinality': {
    why: /rows|cardinality/,
    make: (scene) => scene.editEntry(1, (entry) => inFile(entry, { recordCount: entry.file.recordCount + 1 })),
  },
  'a vector beyond its data file': {
    why: /beyond|range|outside|rows/i,
    make: async (scene) => {
      const vector = await puffinOf(scene, Uint8Array.of(0, 0b11))
      await scene.editEntry(1, (entry) => inFile(entry, { ...vector, referencedDataFile: scene.files[0].path, recordCount: 2 }))
    },
  },
  'a vector that is older than its data file': {
    why: /not older than its data file/,
    make: (scene) =>
      scene.editManifest(
        1,
        (entries) => entries.map((entry) => (entry.status === 2 ? entry : { ...entry, status: 0, sequenceNumber: 0n })),
        (file) => ({ ...asExisting(file), minSequenceNumber: 0n }),
      ),
  },
  'a footer that names another file': {
    why: /footer names the data file/,
    make: async (scene) => {
      const vector = await puffinOf(scene, Uint8Array.of(0b110))
      await scene.editEntry(1, (entry) => inFile(entry, { ...vector, recordCount: 2 }))
    },
  },
  'a wrong total': {
    why: /total-records/,
    make: (scene) => scene.editMetadata((json) => replaceLast(json, '"total-records":"24"', '"total-records":"25"')),
  },
  'a wrong change': {
    why: /deleted-data-files/,
    make: (scene) => scene.editMetadata((json) => json.replace('"deleted-data-files":"1"', '"deleted-data-files":"2"')),
  },
  'an operation that is another': {
    why: /an append only adds/,
    make: (scene) => scene.editMetadata((json) => json.replace('"operation":"delete"', '"operation":"append"')),
  },
  'a replacement with other rows': {
    why: /keeps the number of rows/,
    make: (scene) => scene.editMetadata((json) => json.replace('"operation":"delete"', '"operation":"replace"')),
  },
  'a field id that comes twice': {
    why: /field ids of schema 0 are unique/,
    make: (scene) => scene.editMetadata((json) => json.replace('{"id":2,', '{"id":1,')),
  },
  'a field id above last-column-id': {
    why: /at most last-column-id/,
    make: (scene) => scene.editMetadataOf(() => ({ 'last-column-id': 1 })),
  },
  'a snapshot above last-sequence-number': {
    why: /at most last-sequence-number/,
    make: (scene) => scene.editMetadataOf(() => ({ 'last-sequence-number': 1 })),
  },
  'a next-row-id that was used': {
    why: /below next-row-id/,
    make: (scene) => scene.editMetadataOf(() => ({ 'next-row-id': 8 })),
  },
  'a snapshot with row ids of another': {
    why: /begin behind those of the one before/,
    make: (scene) => scene.editMetadata((json) => json.replace('"first-row-id":16', '"first-row-id":15')),
  },
  'a ref to nothing': {
    why: /ref daily exists/,
    make: (scene) => scene.editMetadata((json) => json.replace('"refs":{', '"refs":{"daily":{"snapshot-id":1,"type":"tag"},')),
  },
  'a snapshot log that ends elsewhere': {
    why: /snapshot log ends/,
    make: async (scene) => {
      const { snapshotLog } = await scene.lab.metadata()
      await scene.editMetadata((json) => json.replace(`,${snapshotLog[snapshotLog.length - 1].json.text}]`, ']'))
    },
  },
  'a log against time': {
    why: /order of time|after last-updated-ms/,
    make: async (scene) => {
      const { metadataLog } = await scene.lab.metadata()
      const [{ json: first, timestampMs }] = metadataLog
      const later = first.text.replace(String(timestampMs), String(timestampMs + 10_000_000))
      await scene.editMetadata((json) => json.replace(first.text, later))
    },
  },
}

for (const [name, { why, make }] of Object.entries(faults)) {
  test(`the checker finds ${name}`, async () => {
    const scene = await Scene.create()
    await make(scene)
    await scene.fails(why)
  })
}

test('the checker finds a step back', async () => {
  const { lab } = await Scene.create()
  const base = lab.pointer.metadataLocation
  await lab.commit({ added: [lab.file(1)] })
  const checker = (): StructureChecker => new StructureChecker(lab.store, { namesOnly: true })
  await checker().check(lab.pointer.metadataLocation, { base })
  const later = await lab.metadataJson()
  const [{ json: entry }] = (await lab.metadata()).metadataLog.slice(-1)
  const steps: [RegExp, (json: string) => string][] = [
    [/uuid stays/, (json) => json.replace(/"table-uuid":"....../, '"table-uuid":"000000')],
    [/ends with the previous file/, (json) => json.replace(`,${entry.text}`, '')],
    [/is as it was/, (json) => json.replace('"summary":{', '"summary":{"more":"1",')],
  ]
  for (const [why, edit] of steps) {
    await lab.store.put(lab.pointer.metadataLocation, Buffer.from(edit(later)))
    await assert.rejects(checker().check(lab.pointer.metadataLocation, { base }), why)
  }
})

/** The faulty version, commits later; the newest version has no fault. */
const past: [string, RegExp, Partial<TableUpdate>, (json: string) => string][] = [
  [
    'a step back',
    /last-sequence-number does not go back/,
    {},
    (json) => json.replace('"last-sequence-number":3', '"last-sequence-number":9'),
  ],
  [
    'metadata that contradict themselves',
    /all row ids are below/,
    {},
    (json) => json.replace(/"next-row-id":\d+/, '"next-row-id":1'),
  ],
  [
    'a snapshot that has expired since',
    /deleted-data-files/,
    { retention: { maxSnapshots: 0, maxAgeMs: 0 } },
    (json) => json.replace('"deleted-data-files":"1"', '"deleted-data-files":"2"'),
  ],
]

for (const [name, why, update, edit] of past) {
  test(`the checker finds what commits have covered: ${name}`, async () => {
    const { lab, files } = await Scene.create()
    const version = lab.pointer.metadataLocation
    for (let i = 0; i < 2; i++) {
      lab.clock.ms += 1000
      await lab.commit({ ...update, deletionVectors: [await lab.vector(files[1], [i])] })
    }
    const checker = new StructureChecker(lab.store)
    await checker.checkHistory(lab.pointer.metadataLocation)
    const before = Buffer.from(await lab.store.get(version)).toString()
    assert.notEqual(edit(before), before, 'the edit does something')
    await lab.store.put(version, Buffer.from(edit(before)))
    await new StructureChecker(lab.store).check(lab.pointer.metadataLocation)
    await assert.rejects(new StructureChecker(lab.store).checkHistory(lab.pointer.metadataLocation), why)
    // What was looked at once is not looked at again.
    await checker.checkHistory(lab.pointer.metadataLocation)
  })
}

function first(edit: (file: ManifestFile) => Partial<ManifestFile>): (files: ManifestFile[]) => ManifestFile[] {
  return (files) => files.map((file, i) => (i === 0 ? { ...file, ...edit(file) } : file))
}

/** Edits the manifest with the files of the first commit. */
function ofFirstCommit(edit: Partial<ManifestFile>): (files: ManifestFile[]) => ManifestFile[] {
  return (files) => files.map((file) => (file.content === 0 && file.sequenceNumber === 1n ? { ...file, ...edit } : file))
}

function asExisting(file: ManifestFile): Partial<ManifestFile> {
  return { addedFiles: 0, addedRows: 0, existingFiles: file.addedFiles, existingRows: file.addedRows }
}

function replaceLast(text: string, what: string, by: string): string {
  const at = text.lastIndexOf(what)
  return at < 0 ? text : text.slice(0, at) + by + text.slice(at + what.length)
}

/** A stored vector whose footer names no data file of the table. */
async function puffinOf({ lab }: Scene, bits: Uint8Array): Promise<Partial<ManifestEntry['file']>> {
  const { blob, cardinality } = encodeDeletionVector(bits)
  const properties = { 'referenced-data-file': 'file:///another.parquet', cardinality: String(cardinality) }
  const info = { type: 'deletion-vector-v1', fields: [], snapshotId: -1n, sequenceNumber: -1n, properties, bytes: blob }
  const { bytes, offsets } = writePuffin([info], {})
  const path = `${lab.table.location}/data/made.puffin`
  await lab.store.put(path, bytes)
  return { path, fileSize: bytes.length, contentOffset: offsets[0], contentSize: blob.length }
}
