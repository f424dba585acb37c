import { seededRandom } from '../../src/base/index.ts'
import type { Clock } from '../../src/base/index.ts'
import type { Field } from '../../src/data/index.ts'
import { MemoryCatalog, createTable, deletionVectorFile, loadTable } from '../../src/iceberg/index.ts'
import type {
  DataFile,
  DeletionVector,
  IcebergTable,
  LiveDataFile,
  PreparedCommit,
  TableParts,
  TablePointer,
  TableUpdate,
} from '../../src/iceberg/index.ts'
import { decodeManifest } from '../../src/iceberg/manifest.ts'
import type { ManifestEntry } from '../../src/iceberg/manifest.ts'
import { decodeManifestList } from '../../src/iceberg/manifest-list.ts'
import type { ManifestFile } from '../../src/iceberg/manifest-list.ts'
import { parseMetadata } from '../../src/iceberg/metadata.ts'
import type { TableMetadata } from '../../src/iceberg/metadata.ts'
import { MemoryStore } from '../../src/storage/index.ts'
import type { ObjectStore } from '../../src/storage/index.ts'

export const fields: Field[] = [
  { id: 0, name: 'id', type: { kind: 'long' }, required: true },
  { id: 0, name: 'v', type: { kind: 'string' }, required: false },
]

export const nothing: TableUpdate = {
  added: [],
  removed: [],
  deletionVectors: [],
  summary: {},
  properties: {},
  retention: { maxSnapshots: 600, maxAgeMs: 3_600_000 },
}

/** A clock that stands still unless it is told. */
export class SteadyClock implements Clock {
  ms = 1_760_000_000_000

  now(): number {
    return this.ms
  }

  monotonic(): number {
    return this.ms
  }

  async sleep(ms: number): Promise<void> {
    this.ms += ms
  }
}

/** A table in a store with a catalog, and what a test wants to know of it. */
export class Lab {
  readonly clock = new SteadyClock()
  readonly catalog = new MemoryCatalog()
  readonly store: ObjectStore
  readonly parts: TableParts
  table: IcebergTable

  constructor(
    options: { store?: ObjectStore; properties?: Record<string, string>; fields?: Field[]; seed?: number; name?: string } = {},
  ) {
    this.store = options.store ?? new MemoryStore()
    this.parts = { store: this.store, clock: this.clock, random: seededRandom(options.seed ?? 1) }
    const name = options.name ?? 't'
    this.table = createTable(this.parts, {
      namespace: 'db',
      name,
      location: `${this.store.root}/db/${name}`,
      fields: options.fields ?? fields,
      key: [0],
      properties: options.properties ?? {},
    })
  }

  /** A data file by name only: enough where nobody opens it. */
  file(rows: number, size = 1000): DataFile {
    return {
      path: `${this.table.location}/data/${this.parts.random.uuid()}.parquet`,
      recordCount: rows,
      fileSize: size,
      splitOffsets: [4],
      metrics: [
        { fieldId: 1, columnSize: 80, valueCount: rows, nullCount: 0, lower: Buffer.alloc(8, 1), upper: Buffer.alloc(8, 2) },
        { fieldId: 2, columnSize: 90, valueCount: rows, nullCount: 0 },
      ],
    }
  }

  /** A stored deletion vector for these positions. */
  async vector(dataFile: { path: string; recordCount: number }, positions: readonly number[], replaces?: string | null) {
    const bits = new Uint8Array(Math.ceil(dataFile.recordCount / 8))
    for (const position of positions) bits[position >> 3] |= 1 << (position & 7)
    const file = deletionVectorFile(this.table.location, this.parts.random, {
      dataFile: dataFile.path,
      bits,
      ...(replaces === undefined ? {} : { replaces }),
    })
    await this.store.put(file.path, file.bytes)
    return file.vector satisfies DeletionVector
  }

  prepare(update: Partial<TableUpdate>): Promise<{ commit: PreparedCommit; next: IcebergTable }> {
    return this.table.prepare({ ...nothing, ...update })
  }

  async swap(commit: PreparedCommit): Promise<void> {
    const { namespace, name, base, metadataLocation: next } = commit
    await this.catalog.commit({ tables: [{ namespace, name, base, next }], states: [] })
  }

  async commit(update: Partial<TableUpdate>): Promise<PreparedCommit> {
    const { commit, next } = await this.prepare(update)
    await this.swap(commit)
    this.table = next
    return commit
  }

  get pointer(): TablePointer {
    const { namespace, name, metadataLocation } = this.table
    if (metadataLocation === null) throw new Error('not committed yet')
    return { namespace, name, metadataLocation }
  }

  load(previous?: IcebergTable): Promise<IcebergTable> {
    return loadTable(this.parts, this.pointer, previous)
  }

  async metadataJson(): Promise<string> {
    return Buffer.from(await this.store.get(this.pointer.metadataLocation)).toString()
  }

  async metadata(): Promise<TableMetadata> {
    return parseMetadata(await this.metadataJson())
  }

  /** The snapshot's manifests as stored, read without any cache. */
  async manifests(
    snapshotId = this.table.currentSnapshotId,
  ): Promise<{ file: ManifestFile; entries: readonly ManifestEntry[] }[]> {
    const { snapshots } = await this.metadata()
    const snapshot = snapshots.find((each) => each.id === snapshotId)
    if (snapshot === undefined) return []
    const files = decodeManifestList(await this.store.get(snapshot.manifestList))
    return Promise.all(
      files.map(async (file) => ({ file, entries: decodeManifest(await this.store.get(file.path), file).entries })),
    )
  }

  async live(): Promise<readonly LiveDataFile[]> {
    return (await this.load()).files()
  }
}
