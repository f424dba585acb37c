import assert from 'node:assert/strict'
import { parquetMetadataAsync } from 'hyparquet'
import { readPuffin } from '../../../src/format/puffin/index.ts'
import { readDeletionVector } from '../../../src/iceberg/index.ts'
import { decodeManifest } from '../../../src/iceberg/manifest.ts'
import type { ManifestEntry } from '../../../src/iceberg/manifest.ts'
import { decodeManifestList } from '../../../src/iceberg/manifest-list.ts'
import type { ManifestFile } from '../../../src/iceberg/manifest-list.ts'
import { decodeTableFile } from '../../../src/iceberg/metadata-file.ts'
import type { Snapshot, TableMetadata } from '../../../src/iceberg/metadata.ts'
import { FrazilError } from '../../../src/base/index.ts'
import type { ObjectStore } from '../../../src/storage/index.ts'
import { checkMetadata, checkStep } from './metadata.ts'
import { checkChanges, checkSnapshot } from './snapshot.ts'
import type { ReadManifest, SnapshotFiles } from './snapshot.ts'

export interface StructureOptions {
  /** Data files are names only: they are neither looked for nor opened. For tests below the level of rows. */
  readonly namesOnly?: boolean
}

export interface StructureCheck {
  /** The metadata file that this one replaced. */
  readonly base?: string | null
  /**
   * What may be in the table's folder without being referred to: staged files, files in their grace. Nothing else may be. Not given:
   * anything.
   */
  readonly mayRemain?: (uri: string) => boolean
}

export interface Structure {
  readonly metadata: TableMetadata
  /** Of the current snapshot. */
  readonly files: SnapshotFiles
  readonly liveRows: number
  /** Objects in the table's folder that no retained snapshot, log or statistics refers to. */
  readonly unreferenced: readonly string[]
}

/**
 * Whether tables of a lake are what the Iceberg specification asks for and what they say: all retained snapshots, down to every
 * deletion vector and the row count of every data file. Files never change, so one that was read is not read again; an instance
 * can check after each commit of a long test.
 */
export class StructureChecker {
  readonly #store: ObjectStore
  readonly #options: StructureOptions
  /** Promises by path and by what was inherited from the list. */
  readonly #manifests = new Map<string, Promise<readonly ManifestEntry[]>>()
  readonly #snapshots = new Map<string, Promise<SnapshotFiles>>()
  readonly #lists = new Map<string, Promise<readonly ManifestFile[]>>()
  readonly #opened = new Set<string>()
  /** Metadata files whose version was looked at, and all before. */
  readonly #versions = new Set<string>()

  constructor(store: ObjectStore, options: StructureOptions = {}) {
    this.#store = store
    this.#options = options
  }

  /** Rejects with what is wrong. */
  async check(metadataLocation: string, { base = null, mayRemain }: StructureCheck = {}): Promise<Structure> {
    const metadata = await this.#metadata(metadataLocation)
    checkMetadata(metadata)
    if (base !== null) checkStep(await this.#metadata(base), metadata, base)
    // Once for all paths: what is listed is there, with its size.
    const sizes = new Map<string, number>()
    for await (const { uri, size } of this.#store.list(metadata.location)) sizes.set(uri, size)
    const referenced = new Set([metadataLocation, ...metadata.metadataLog.map(({ metadataFile }) => metadataFile)].map(listed))
    for (const statistics of [...metadata.statistics, ...metadata.partitionStatistics]) {
      if (typeof statistics['statistics-path'] === 'string') referenced.add(listed(statistics['statistics-path']))
    }
    const bySnapshot = new Map<bigint, SnapshotFiles>()
    for (const snapshot of metadata.snapshots) {
      referenced.add(listed(snapshot.manifestList))
      for (const { path, length } of await this.#list(snapshot)) {
        assert.equal(sizes.get(listed(path)), length, `${path} exists with the length that its list states`)
        referenced.add(listed(path))
      }
      const files = await this.#snapshot(metadata, snapshot)
      bySnapshot.set(snapshot.id, files)
      for (const { file } of [...files.data.values(), ...files.vectors.values()]) {
        referenced.add(listed(file.path))
        if (this.#options.namesOnly && file.content === 0) continue
        assert.equal(sizes.get(listed(file.path)), file.fileSize, `${file.path} exists with the size that its manifest states`)
      }
      for (const entry of files.data.values()) await this.#openData(entry)
      for (const [target, entry] of files.vectors) await this.#openVector(entry, files.data.get(target)?.file.recordCount ?? 0)
    }
    for (const path of referenced) if (!this.#isName(path)) assert.ok(sizes.has(path), `${path} exists`)
    for (const snapshot of metadata.snapshots) {
      const parent = snapshot.parentId === null ? null : bySnapshot.get(snapshot.parentId)
      const files = bySnapshot.get(snapshot.id)
      if (parent !== undefined && files) checkChanges(snapshot, parent, files)
    }
    const unreferenced = [...sizes.keys()].filter((uri) => !referenced.has(uri))
    if (mayRemain) {
      assert.deepEqual(
        unreferenced.filter((uri) => !mayRemain(uri)),
        [],
        `nothing refers to these in ${metadata.location}`,
      )
    }
    const none: SnapshotFiles = { data: new Map(), vectors: new Map() }
    const files = (metadata.currentSnapshotId !== null && bySnapshot.get(metadata.currentSnapshotId)) || none
    const rows = (entries: Iterable<ManifestEntry>): number => [...entries].reduce((sum, { file }) => sum + file.recordCount, 0)
    return { metadata, files, liveRows: rows(files.data.values()) - rows(files.vectors.values()), unreferenced }
  }

  /**
   * The same for every commit of a table since the last look of this instance, also of a process that was killed: each has left a metadata
   * file, until some time after a hundred more. Files of snapshots that have expired since are looked at while they are there.
   */
  async checkHistory(metadataLocation: string): Promise<Structure> {
    const structure = await this.check(metadataLocation)
    // Snapshots that are known to be right, and those whose difference to their parent is.
    const [known, compared] = [new Set<bigint>(), new Set<bigint>()]
    for (const { id } of structure.metadata.snapshots) known.add(id)
    for (const { id, parentId } of structure.metadata.snapshots) if (parentId === null || known.has(parentId)) compared.add(id)
    const walked: string[] = []
    let after = structure.metadata
    let location = metadataLocation
    while (!this.#versions.has(location)) {
      walked.push(location)
      if (location !== metadataLocation) checkMetadata(after)
      for (const snapshot of after.snapshots) {
        const { id, parentId } = snapshot
        if (compared.has(id)) continue
        const parent = after.snapshots.find((other) => other.id === parentId)
        if (known.has(id) && !parent) continue
        known.add(id)
        if (parent || parentId === null) compared.add(id)
        await unlessDeleted(() => this.#expired(after, snapshot, parent ?? null))
      }
      const previous = after.metadataLog.at(-1)?.metadataFile
      if (previous === undefined) break
      const before = await unlessDeleted(() => this.#metadata(previous))
      // What the newest one names is there: `check` has seen to that.
      if (before === null) break
      checkStep(before, after, previous)
      after = before
      location = previous
    }
    for (const version of walked) this.#versions.add(version)
    return structure
  }

  /** A snapshot that later versions do not have any more, or whose parent they do not have. */
  async #expired(metadata: TableMetadata, snapshot: Snapshot, parent: Snapshot | null): Promise<void> {
    const files = await this.#snapshot(metadata, snapshot)
    for (const entry of files.data.values()) await this.#openData(entry)
    for (const [target, entry] of files.vectors) await this.#openVector(entry, files.data.get(target)?.file.recordCount ?? 0)
    if (parent || snapshot.parentId === null) checkChanges(snapshot, parent && (await this.#snapshot(metadata, parent)), files)
  }

  #isName(path: string): boolean {
    return this.#options.namesOnly === true && path.endsWith('.parquet')
  }

  async #metadata(location: string): Promise<TableMetadata> {
    return decodeTableFile(await this.#store.get(location), location)
  }

  #list({ manifestList }: Snapshot): Promise<readonly ManifestFile[]> {
    return once(this.#lists, manifestList, async () => decodeManifestList(await this.#store.get(manifestList)))
  }

  #snapshot(metadata: TableMetadata, snapshot: Snapshot): Promise<SnapshotFiles> {
    return once(this.#snapshots, snapshot.manifestList, async () => {
      const manifests: ReadManifest[] = []
      for (const file of await this.#list(snapshot)) {
        const entries = await once(this.#manifests, `${file.path} from ${file.firstRowId}`, async () => {
          return decodeManifest(await this.#store.get(file.path), file).entries
        })
        manifests.push({ file, entries })
      }
      return checkSnapshot(metadata, snapshot, manifests)
    })
  }

  /** Parquet's own number of rows. */
  async #openData({ file: { path, fileSize, recordCount } }: ManifestEntry): Promise<void> {
    if (this.#options.namesOnly || this.#opened.has(path)) return
    this.#opened.add(path)
    const slice = async (start: number, end = fileSize): Promise<ArrayBuffer> => {
      const bytes = await this.#store.get(path, { offset: start, length: end - start })
      return bytes.slice().buffer
    }
    const { num_rows } = await parquetMetadataAsync({ byteLength: fileSize, slice })
    assert.equal(Number(num_rows), recordCount, `${path}: its rows`)
  }

  /** Every position is within the data file, there are as many as stated, and the Puffin footer names the blob. */
  async #openVector({ file }: ManifestEntry, rows: number): Promise<void> {
    const { path, fileSize, contentOffset, contentSize, recordCount: cardinality, referencedDataFile } = file
    const key = `${path}:${contentOffset}`
    if (this.#opened.has(key)) return
    this.#opened.add(key)
    assert.ok(contentOffset !== null && contentSize !== null && referencedDataFile !== null)
    const vector = { dataFile: referencedDataFile, path, fileSize, contentOffset, contentSize, cardinality }
    const bits = await readDeletionVector(this.#store, vector, rows)
    let counted = 0
    for (let row = 0; row < rows; row++) counted += (bits[row >> 3] >> (row & 7)) & 1
    assert.equal(counted, cardinality, `${path}: its cardinality`)
    const blob = readPuffin(await this.#store.get(path)).blobs.find(({ offset }) => offset === contentOffset)
    assert.equal(blob?.length, contentSize, `${path}: the footer names the blob`)
    assert.equal(blob?.type, 'deletion-vector-v1')
    assert.equal(blob?.properties['referenced-data-file'], referencedDataFile, `${path}: the footer names the data file`)
    assert.equal(blob?.properties.cardinality, String(cardinality), `${path}: the footer's cardinality`)
  }
}

async function unlessDeleted<T>(read: () => Promise<T>): Promise<T | null> {
  try {
    return await read()
  } catch (error) {
    if (error instanceof FrazilError && error.code === 'object-missing') return null
    throw error
  }
}

function once<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  let found = known.get(key)
  if (found === undefined) {
    found = make()
    known.set(key, found)
    found.catch(() => known.delete(key))
  }
  return found
}

/** The path as stores list it: Java writes `file:/` where we write `file:///`. */
function listed(path: string): string {
  return path.replace(/^file:\/(?!\/)/, 'file:///')
}
