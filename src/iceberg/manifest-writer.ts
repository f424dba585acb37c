import type { AvroSchema } from '../format/avro/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { summarizePartitions } from './layout/index.ts'
import { Status, absent, encodeManifest } from './manifest.ts'
import type { ManifestEntry } from './manifest.ts'
import type { ManifestFile } from './manifest-list.ts'
import { Manifest, loadedManifest } from './manifest-set.ts'
import { currentSchemaJson, partitionSpec } from './metadata.ts'
import type { TableMetadata } from './metadata.ts'

/** A manifest that is planned: one spec, one partition type, one kind of content. */
export interface ManifestDraft {
  readonly content: number
  readonly specId: number
  readonly partitionType: AvroSchema
  readonly entries: readonly ManifestEntry[]
}

/** A written manifest; its first row id is still open. */
export interface WrittenManifest {
  readonly file: ManifestFile
  readonly draft: ManifestDraft
}

export interface SnapshotIdentity {
  readonly snapshotId: bigint
  readonly sequenceNumber: bigint
}

export async function writeManifest(
  store: ObjectStore,
  path: string,
  metadata: TableMetadata,
  { snapshotId, sequenceNumber }: SnapshotIdentity,
  draft: ManifestDraft,
): Promise<WrittenManifest> {
  const spec = partitionSpec(metadata, draft.specId)
  const bytes = await encodeManifest(
    {
      formatVersion: metadata.formatVersion,
      content: draft.content,
      specId: draft.specId,
      schema: currentSchemaJson(metadata),
      spec,
      partitionType: draft.partitionType,
    },
    draft.entries,
  )
  await store.put(path, bytes, { ifAbsent: true, followed: true })
  const files = [0, 0, 0]
  const rows = [0, 0, 0]
  let minSequenceNumber = sequenceNumber
  for (const entry of draft.entries) {
    files[entry.status]++
    rows[entry.status] += entry.file.recordCount
    if (entry.status !== Status.deleted && entry.sequenceNumber < minSequenceNumber) minSequenceNumber = entry.sequenceNumber
  }
  const file: ManifestFile = {
    path,
    length: bytes.length,
    specId: draft.specId,
    content: draft.content,
    sequenceNumber,
    minSequenceNumber,
    addedSnapshotId: snapshotId,
    addedFiles: files[Status.added],
    existingFiles: files[Status.existing],
    deletedFiles: files[Status.deleted],
    addedRows: rows[Status.added],
    existingRows: rows[Status.existing],
    deletedRows: rows[Status.deleted],
    // Without summaries readers open the manifest.
    partitions:
      summarizePartitions(
        draft.partitionType,
        spec,
        draft.entries.map((entry) => entry.file.partition),
      ) ?? absent,
    keyMetadata: null,
    firstRowId: null,
  }
  return { file, draft }
}

/** The written manifest in memory, as a reader would see it once its row in the list has its first row id. */
export function asManifest(file: ManifestFile, draft: ManifestDraft): Manifest {
  let next = file.firstRowId
  const entries = draft.entries.map((entry): ManifestEntry => {
    if (next === null || entry.status === Status.deleted || entry.file.firstRowId !== null) return entry
    const firstRowId = next
    next += BigInt(entry.file.recordCount)
    return { ...entry, file: { ...entry.file, firstRowId } }
  })
  return new Manifest(file, loadedManifest(file, { partitionType: draft.partitionType, entries }))
}
