import { ContainerReader, compileDecoder, compileEncoder, resolveSchema, writeContainer } from '../format/avro/index.ts'
import type { AvroRecord, AvroSchema, AvroType } from '../format/avro/index.ts'
import { encodeJson, isJsonArray, isJsonObject } from '../format/json/index.ts'
import type { JsonObject, JsonValue } from '../format/json/index.ts'
import {
  asRecord,
  badManifest,
  bytesOrNull,
  int64OrNull,
  number,
  numberOrNull,
  numbersOrNull,
  string,
  stringOrNull,
} from './avro-fields.ts'
import type { ManifestFile } from './manifest-list.ts'
import { entryNames, manifestEntrySchema, metricTypes } from './manifest-schema.ts'

export const Status = { existing: 0, added: 1, deleted: 2 } as const
export type Status = (typeof Status)[keyof typeof Status]

/** What a manifest is about, and what its entries' files are. */
export const Content = { data: 0, deletes: 1 } as const

/** A file in a manifest. Metric maps and the partition stay in Avro's encoding: they are mostly copied. */
export interface ManifestFileRecord {
  /** 0 data, 1 position deletes and deletion vectors, 2 equality deletes. */
  readonly content: number
  readonly path: string
  readonly format: string
  readonly partition: Uint8Array
  readonly recordCount: number
  readonly fileSize: number
  readonly columnSizes: Uint8Array
  readonly valueCounts: Uint8Array
  readonly nullValueCounts: Uint8Array
  readonly nanValueCounts: Uint8Array
  readonly lowerBounds: Uint8Array
  readonly upperBounds: Uint8Array
  readonly keyMetadata: Uint8Array | null
  readonly splitOffsets: readonly number[] | null
  readonly equalityIds: readonly number[] | null
  readonly sortOrderId: number | null
  readonly firstRowId: bigint | null
  readonly referencedDataFile: string | null
  readonly contentOffset: number | null
  readonly contentSize: number | null
}

/** An entry with everything it inherits filled in (specification, "Sequence Number Inheritance", "First Row ID Inheritance"). */
export interface ManifestEntry {
  readonly status: Status
  /** The snapshot that added the file, for DELETED entries the one that deleted it. */
  readonly snapshotId: bigint
  readonly sequenceNumber: bigint
  readonly fileSequenceNumber: bigint
  readonly file: ManifestFileRecord
}

/** Avro encoding of an absent optional value. */
export const absent = Uint8Array.of(0)

const rawFields = new Map<number, AvroType | null>([...metricTypes, [102, null]])
const rawIds = new Set(rawFields.keys())

/** What the header of a manifest says besides its entries. */
export interface ManifestHeader {
  readonly formatVersion: 2 | 3
  readonly content: number
  readonly specId: number
  readonly schema: JsonObject
  readonly spec: JsonObject
  /** Avro type of the entries' partitions. */
  readonly partitionType: AvroSchema
}

/** Writes a manifest. Inherited fields are left empty exactly where the specification asks for it. */
export async function encodeManifest(header: ManifestHeader, entries: readonly ManifestEntry[]): Promise<Uint8Array> {
  const schema = manifestEntrySchema(header.formatVersion, header.partitionType)
  return writeContainer({
    schema,
    metadata: {
      schema: encodeJson(header.schema),
      'schema-id': encodeJson(header.schema['schema-id'] ?? 0),
      'partition-spec': encodeJson(header.spec.fields ?? []),
      'partition-spec-id': String(header.specId),
      'format-version': String(header.formatVersion),
      content: header.content === Content.data ? 'data' : 'deletes',
    },
    encode: entryEncoder(schema),
    values: entries.map(toRecord),
  })
}

/** Compiled encoders by schema; a process sees few partition types. */
const encoders = new Map<string, ReturnType<typeof compileEncoder>>()
const maxEncoders = 256

function entryEncoder(schema: JsonValue): ReturnType<typeof compileEncoder> {
  const key = encodeJson(schema)
  let encoder = encoders.get(key)
  if (encoder === undefined) {
    if (encoders.size >= maxEncoders) encoders.clear()
    encoder = compileEncoder(resolveSchema(schema), entryNames, rawIds)
    encoders.set(key, encoder)
  }
  return encoder
}

function toRecord(entry: ManifestEntry): AvroRecord {
  const added = entry.status === Status.added
  return {
    status: entry.status,
    snapshotId: entry.snapshotId,
    sequenceNumber: added ? null : entry.sequenceNumber,
    fileSequenceNumber: added ? null : entry.fileSequenceNumber,
    // An id baked into an ADDED entry would survive a retry that has to renumber.
    file: { ...entry.file, firstRowId: added ? null : entry.file.firstRowId },
  }
}

export interface ManifestContent {
  readonly partitionType: AvroSchema
  readonly entries: readonly ManifestEntry[]
}

const reader = new ContainerReader((type) => compileDecoder(type, entryNames, rawFields))

/** Reads a manifest of any writer; `file` is its row in the manifest list, from which entries inherit. */
export function decodeManifest(bytes: Uint8Array, file: ManifestFile): ManifestContent {
  const { header, values } = reader.read(bytes)
  const partitionType = findPartitionType(header.schema)
  let nextRowId = file.content === Content.data ? file.firstRowId : null
  const entries = values.map((value): ManifestEntry => {
    const record = asRecord(value, 'an entry')
    const status = number(record, 'status')
    if (status !== Status.existing && status !== Status.added && status !== Status.deleted) throw badManifest('unknown status')
    const inherited = status === Status.added ? file.sequenceNumber : null
    const sequenceNumber = int64OrNull(record, 'sequenceNumber') ?? inherited
    const fileSequenceNumber = int64OrNull(record, 'fileSequenceNumber') ?? inherited
    // Manifests of format version 1 have no numbers at all: their files count as 0.
    if ((sequenceNumber === null || fileSequenceNumber === null) && file.sequenceNumber > 0n) {
      throw badManifest('an entry has no sequence number')
    }
    const read = readFile(asRecord(record.file, 'data_file'))
    let firstRowId = file.content === Content.data && file.firstRowId !== null ? read.firstRowId : null
    if (firstRowId === null && nextRowId !== null && status !== Status.deleted) {
      firstRowId = nextRowId
      nextRowId += BigInt(read.recordCount)
    }
    return {
      status,
      snapshotId: int64OrNull(record, 'snapshotId') ?? file.addedSnapshotId,
      sequenceNumber: sequenceNumber ?? 0n,
      fileSequenceNumber: fileSequenceNumber ?? 0n,
      file: { ...read, firstRowId },
    }
  })
  return { partitionType, entries }
}

function readFile(record: AvroRecord): ManifestFileRecord {
  return {
    content: numberOrNull(record, 'content') ?? 0,
    path: string(record, 'path'),
    format: string(record, 'format'),
    partition: bytesOrNull(record, 'partition') ?? new Uint8Array(0),
    recordCount: number(record, 'recordCount'),
    fileSize: number(record, 'fileSize'),
    columnSizes: bytesOrNull(record, 'columnSizes') ?? absent,
    valueCounts: bytesOrNull(record, 'valueCounts') ?? absent,
    nullValueCounts: bytesOrNull(record, 'nullValueCounts') ?? absent,
    nanValueCounts: bytesOrNull(record, 'nanValueCounts') ?? absent,
    lowerBounds: bytesOrNull(record, 'lowerBounds') ?? absent,
    upperBounds: bytesOrNull(record, 'upperBounds') ?? absent,
    keyMetadata: bytesOrNull(record, 'keyMetadata'),
    splitOffsets: numbersOrNull(record, 'splitOffsets'),
    equalityIds: numbersOrNull(record, 'equalityIds'),
    sortOrderId: numberOrNull(record, 'sortOrderId'),
    firstRowId: int64OrNull(record, 'firstRowId'),
    referencedDataFile: stringOrNull(record, 'referencedDataFile'),
    contentOffset: numberOrNull(record, 'contentOffset'),
    contentSize: numberOrNull(record, 'contentSize'),
  }
}

/** The partition record's schema as its writer gave it, found by field id. */
function findPartitionType(schema: AvroSchema): AvroSchema {
  return fieldById(fieldById(schema, 2), 102)
}

function fieldById(record: JsonValue, id: number): JsonValue {
  if (isJsonObject(record) && isJsonArray(record.fields)) {
    for (const field of record.fields) if (isJsonObject(field) && field['field-id'] === id) return field.type ?? null
  }
  throw badManifest(`its schema has no field ${id}`)
}
