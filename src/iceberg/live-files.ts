import { FrazilError } from '../base/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { badManifest } from './avro-fields.ts'
import type { DeletionVector, FieldMetrics, FilePartition, LiveDataFile } from './contract.ts'
import { bucketsOfSpec, decodePartition } from './layout/index.ts'
import { Content } from './manifest.ts'
import type { ManifestEntry } from './manifest.ts'
import { loadAll } from './manifest-set.ts'
import type { LoadedManifest, Manifest } from './manifest-set.ts'
import { partitionSpec } from './metadata.ts'
import type { TableMetadata } from './metadata.ts'
import { decodeMetrics } from './metrics.ts'

/** A live data file over its manifest entry; metrics are decoded when asked for. */
class LiveFile implements LiveDataFile {
  readonly #entry: ManifestEntry
  readonly #partition: () => FilePartition
  readonly deletionVector: DeletionVector | null

  constructor(entry: ManifestEntry, partition: () => FilePartition, deletionVector: DeletionVector | null) {
    this.#entry = entry
    this.#partition = partition
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

  get partition(): FilePartition {
    return this.#partition()
  }

  get sortOrderId(): number {
    return this.#entry.file.sortOrderId ?? 0
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
export async function liveFiles(
  store: ObjectStore,
  metadata: TableMetadata,
  manifests: readonly Manifest[],
): Promise<readonly LiveDataFile[]> {
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
  const entries: { entry: ManifestEntry; manifest: LoadedManifest }[] = []
  for (const manifest of loaded) {
    if (manifest.file.content !== Content.data) continue
    for (const entry of manifest.live.values()) entries.push({ entry, manifest })
  }
  entries.sort((a, b) => compare(a.entry.sequenceNumber, b.entry.sequenceNumber))
  return entries.map(({ entry, manifest }) => {
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
    const partition = (): FilePartition => {
      const { specId } = manifest.file
      const spec = partitionSpec(metadata, specId)
      const values = decodePartition(manifest.partitionType, spec, entry.file.partition)
      const buckets = bucketsOfSpec(spec, values)
      return buckets.length > 0 ? { specId, values, buckets } : { specId, values }
    }
    return new LiveFile(entry, partition, applies ? toVector(vector) : null)
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
