import { ContainerReader, compileDecoder, compileEncoder, resolveSchema, writeContainer } from '../format/avro/index.ts'
import type { AvroRecord, AvroType } from '../format/avro/index.ts'
import { asRecord, badManifest, bytesOrNull, int64, int64OrNull, number, numberOrNull, string } from './avro-fields.ts'
import { manifestFileSchema, manifestNames, partitionSummariesId, partitionSummariesType } from './manifest-schema.ts'

/** A manifest as its manifest list names it (specification, "Manifest Lists"). */
export interface ManifestFile {
  readonly path: string
  readonly length: number
  readonly specId: number
  /** 0 data, 1 deletes. */
  readonly content: number
  readonly sequenceNumber: bigint
  readonly minSequenceNumber: bigint
  readonly addedSnapshotId: bigint
  readonly addedFiles: number
  readonly existingFiles: number
  readonly deletedFiles: number
  readonly addedRows: number
  readonly existingRows: number
  readonly deletedRows: number
  /** Partition summaries in Avro's encoding. */
  readonly partitions: Uint8Array
  readonly keyMetadata: Uint8Array | null
  /** Null for delete manifests, and for data manifests from before the table had row lineage. */
  readonly firstRowId: bigint | null
}

/** An optional list with no items: the summaries of an unpartitioned spec. */
export const noSummaries = Uint8Array.of(2, 0)

const rawFields = new Map<number, AvroType | null>([[partitionSummariesId, partitionSummariesType]])
const schemas = { 2: manifestFileSchema(2), 3: manifestFileSchema(3) }
const encoders = {
  2: compileEncoder(resolveSchema(schemas[2]), manifestNames, new Set(rawFields.keys())),
  3: compileEncoder(resolveSchema(schemas[3]), manifestNames, new Set(rawFields.keys())),
}

export interface ManifestListHeader {
  readonly formatVersion: 2 | 3
  readonly snapshotId: bigint
  readonly parentSnapshotId: bigint | null
  readonly sequenceNumber: bigint
  /** Ignored in format version 2. */
  readonly firstRowId: bigint
}

export async function encodeManifestList(header: ManifestListHeader, files: readonly ManifestFile[]): Promise<Uint8Array> {
  const metadata: Record<string, string> = {
    'snapshot-id': String(header.snapshotId),
    'parent-snapshot-id': header.parentSnapshotId === null ? 'null' : String(header.parentSnapshotId),
    'sequence-number': String(header.sequenceNumber),
  }
  if (header.formatVersion === 3) metadata['first-row-id'] = String(header.firstRowId)
  metadata['format-version'] = String(header.formatVersion)
  return writeContainer({
    schema: schemas[header.formatVersion],
    metadata,
    encode: encoders[header.formatVersion],
    values: files.map((file): AvroRecord => ({ ...file })),
  })
}

const reader = new ContainerReader((type) => compileDecoder(type, manifestNames, rawFields))

/** Reads a manifest list of any writer, by field ids. */
export function decodeManifestList(bytes: Uint8Array): ManifestFile[] {
  return reader.read(bytes).values.map((value) => {
    const record = asRecord(value, 'an item of the list')
    const content = numberOrNull(record, 'content') ?? 0
    if (content !== 0 && content !== 1) throw badManifest('unknown content')
    return {
      path: string(record, 'path'),
      length: number(record, 'length'),
      specId: number(record, 'specId'),
      content,
      sequenceNumber: int64OrNull(record, 'sequenceNumber') ?? 0n,
      minSequenceNumber: int64OrNull(record, 'minSequenceNumber') ?? 0n,
      addedSnapshotId: int64(record, 'addedSnapshotId'),
      addedFiles: number(record, 'addedFiles'),
      existingFiles: number(record, 'existingFiles'),
      deletedFiles: number(record, 'deletedFiles'),
      addedRows: number(record, 'addedRows'),
      existingRows: number(record, 'existingRows'),
      deletedRows: number(record, 'deletedRows'),
      partitions: bytesOrNull(record, 'partitions') ?? Uint8Array.of(0),
      keyMetadata: bytesOrNull(record, 'keyMetadata'),
      firstRowId: int64OrNull(record, 'firstRowId'),
    }
  })
}

/**
 * Gives every data manifest without one its first row id (specification, "First Row ID Assignment"): each takes as many ids as
 * it has added and existing rows. Returns the files and the next free id.
 */
export function assignFirstRowIds(files: readonly ManifestFile[], firstRowId: bigint): { files: ManifestFile[]; next: bigint } {
  let next = firstRowId
  const assigned = files.map((file) => {
    if (file.content !== 0 || file.firstRowId !== null) return file
    const withId = { ...file, firstRowId: next }
    next += BigInt(file.addedRows) + BigInt(file.existingRows)
    return withId
  })
  return { files: assigned, next }
}
