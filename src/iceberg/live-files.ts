import { FrazilError } from '../base/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { badManifest } from './avro-fields.ts'
import type { DeletionVector, FieldMetrics, LiveDataFile } from './contract.ts'
import { Content } from './manifest.ts'
import type { ManifestEntry } from './manifest.ts'
import { loadAll } from './manifest-set.ts'
import type { Manifest } from './manifest-set.ts'
import { decodeMetrics } from './metrics.ts'

/** A live data file over its manifest entry; metrics are decoded when asked for. */
class LiveFile implements LiveDataFile {
  readonly #entry: ManifestEntry
  readonly specId: number
  readonly deletionVector: DeletionVector | null

  constructor(entry: ManifestEntry, specId: number, deletionVector: DeletionVector | null) {
    this.#entry = entry
    this.specId = specId
    this.deletionVector = deletionVector
  }

  get path(): string {
    return this.#entry.file.path
  }

  get recordCount(): number {
    return this.#entry.file.recordCount
  }

  get fileSize(): number {
    return this.#entry.file.fileSize
  }

  get metrics(): readonly FieldMetrics[] {
    return decodeMetrics(this.#entry.file)
  }

  get splitOffsets(): readonly number[] {
    return this.#entry.file.splitOffsets ?? []
  }

  get dataSequenceNumber(): bigint {
    return this.#entry.sequenceNumber
  }

  get fileSequenceNumber(): bigint {
    return this.#entry.fileSequenceNumber
  }

  get addedSnapshotId(): bigint {
    return this.#entry.snapshotId
  }

  get firstRowId(): bigint | null {
    return this.#entry.file.firstRowId
  }
}

/**
 * The scan plan without filters (specification, "Scan Planning"): live data files with their deletion vectors, oldest first.
 * Throws `unsupported` for delete files that are no vectors and for data files that are not Parquet.
 */
export async function liveFiles(store: ObjectStore, manifests: readonly Manifest[]): Promise<readonly LiveDataFile[]> {
  const withFiles = manifests.filter((manifest) => manifest.liveFiles > 0)
  const loaded = await loadAll(store, withFiles)
  const vectors = new Map<string, ManifestEntry>()
  for (const manifest of loaded) {
    if (manifest.file.content !== Content.deletes) continue
    for (const [dataFile, entry] of manifest.live) {
      if (vectors.has(dataFile)) throw badManifest('a data file has two deletion vectors')
      vectors.set(dataFile, entry)
    }
  }
  const entries: { entry: ManifestEntry; specId: number }[] = []
  for (const manifest of loaded) {
    if (manifest.file.content !== Content.data) continue
    for (const entry of manifest.live.values()) entries.push({ entry, specId: manifest.file.specId })
  }
  entries.sort((a, b) => compare(a.entry.sequenceNumber, b.entry.sequenceNumber))
  return entries.map(({ entry, specId }) => {
    if (entry.file.format.toUpperCase() !== 'PARQUET') {
      throw new FrazilError(
        'unsupported',
        'file-format',
        `the table has data files in the format ${entry.file.format.slice(0, 20)}`,
      )
    }
    const vector = vectors.get(entry.file.path)
    // A vector older than the file is none of its: the path was used again.
    const applies = vector !== undefined && vector.sequenceNumber >= entry.sequenceNumber
    return new LiveFile(entry, specId, applies ? toVector(vector) : null)
  })
}

function toVector({ file }: ManifestEntry): DeletionVector {
  const { referencedDataFile, contentOffset, contentSize } = file
  if (referencedDataFile === null || contentOffset === null || contentSize === null) throw badManifest('a vector lacks its place')
  const { path, fileSize, recordCount: cardinality } = file
  return { dataFile: referencedDataFile, path, fileSize, contentOffset, contentSize, cardinality }
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}
