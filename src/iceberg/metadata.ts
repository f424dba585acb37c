import { FrazilError } from '../base/index.ts'
import type { Schema } from '../data/index.ts'
import { JsonText, encodeJson, parseJson } from '../format/json/index.ts'
import type { JsonObject, JsonValue } from '../format/json/index.ts'
import { badMetadata, int, int64, isAbsent, object, objects, text, texts } from './json-fields.ts'
import { schemaFromJson } from './schema-json.ts'

/** A snapshot (specification, "Snapshots"). */
export interface Snapshot {
  readonly id: bigint
  readonly parentId: bigint | null
  readonly sequenceNumber: bigint
  readonly timestampMs: number
  readonly manifestList: string
  readonly summary: Readonly<Record<string, string>>
  /** Encoded once, unknown fields included: a commit writes hundreds of unchanged snapshots again. */
  readonly json: JsonText
}

export interface SnapshotLogEntry {
  readonly snapshotId: bigint
  readonly timestampMs: number
  readonly json: JsonText
}

export interface MetadataLogEntry {
  readonly metadataFile: string
  readonly timestampMs: number
  readonly json: JsonText
}

export function snapshotLogEntry(snapshotId: bigint, timestampMs: number): SnapshotLogEntry {
  const json = new JsonText(`{"snapshot-id":${snapshotId},"timestamp-ms":${timestampMs}}`)
  return { snapshotId, timestampMs, json }
}

export function metadataLogEntry(metadataFile: string, timestampMs: number): MetadataLogEntry {
  const json = new JsonText(encodeJson({ 'metadata-file': metadataFile, 'timestamp-ms': timestampMs }))
  return { metadataFile, timestampMs, json }
}

/**
 * Table metadata, versions 2 and 3 (specification, "Table Metadata Fields"). What we do not interpret stays JSON and survives;
 * `rest` holds top-level fields we do not know.
 */
export interface TableMetadata {
  readonly formatVersion: 2 | 3
  readonly uuid: string
  readonly location: string
  readonly lastSequenceNumber: bigint
  readonly lastUpdatedMs: number
  readonly lastColumnId: number
  readonly currentSchemaId: number
  readonly schemas: readonly JsonObject[]
  readonly defaultSpecId: number
  readonly partitionSpecs: readonly JsonObject[]
  readonly lastPartitionId: number
  readonly defaultSortOrderId: number
  readonly sortOrders: readonly JsonObject[]
  readonly properties: Readonly<Record<string, string>>
  readonly currentSnapshotId: bigint | null
  /** 0 in format version 2. */
  readonly nextRowId: bigint
  /** By name; the objects keep their retention settings. */
  readonly refs: Readonly<Record<string, JsonObject>>
  /** Oldest first, as stored. */
  readonly snapshots: readonly Snapshot[]
  readonly statistics: readonly JsonObject[]
  readonly partitionStatistics: readonly JsonObject[]
  readonly snapshotLog: readonly SnapshotLogEntry[]
  readonly metadataLog: readonly MetadataLogEntry[]
  readonly rest: JsonObject
}

/** Properties that are requests to a catalog, never stored. */
const reservedProperties = new Set([
  'format-version',
  'uuid',
  'snapshot-count',
  'current-snapshot-id',
  'current-snapshot-summary',
  'current-snapshot-timestamp-ms',
  'current-schema',
  'default-partition-spec',
  'default-sort-order',
])

export function withoutReserved(properties: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(properties).filter(([key]) => !reservedProperties.has(key)))
}

/** Parses a metadata file. Versions 1 and above 3 are `unsupported` (code `format-version`). */
export function parseMetadata(json: string): TableMetadata {
  const root = object(parseJson(json), 'the root')
  const formatVersion = int(root, 'format-version')
  if (formatVersion !== 2 && formatVersion !== 3) {
    throw new FrazilError(
      'unsupported',
      'format-version',
      `Iceberg format version ${formatVersion} is not supported, only 2 and 3`,
    )
  }
  const current = isAbsent(root, 'current-snapshot-id') ? null : int64(root, 'current-snapshot-id')
  const known = new Set([...keysInOrder, 'schema', 'partition-spec'])
  return {
    formatVersion,
    uuid: text(root, 'table-uuid').toLowerCase(),
    location: text(root, 'location').replace(/\/+$/, ''),
    lastSequenceNumber: int64(root, 'last-sequence-number'),
    lastUpdatedMs: int(root, 'last-updated-ms'),
    lastColumnId: int(root, 'last-column-id'),
    currentSchemaId: int(root, 'current-schema-id'),
    schemas: objects(root, 'schemas'),
    defaultSpecId: int(root, 'default-spec-id'),
    partitionSpecs: objects(root, 'partition-specs'),
    lastPartitionId: int(root, 'last-partition-id'),
    defaultSortOrderId: int(root, 'default-sort-order-id'),
    sortOrders: objects(root, 'sort-orders'),
    properties: texts(root, 'properties'),
    currentSnapshotId: current === -1n ? null : current,
    nextRowId: formatVersion === 3 ? int64(root, 'next-row-id') : 0n,
    refs: parseRefs(root, current === -1n ? null : current),
    snapshots: objects(root, 'snapshots').map(parseSnapshot),
    statistics: objects(root, 'statistics'),
    partitionStatistics: objects(root, 'partition-statistics'),
    snapshotLog: objects(root, 'snapshot-log').map((entry) =>
      snapshotLogEntry(int64(entry, 'snapshot-id'), int(entry, 'timestamp-ms')),
    ),
    metadataLog: objects(root, 'metadata-log').map((entry) =>
      metadataLogEntry(text(entry, 'metadata-file'), int(entry, 'timestamp-ms')),
    ),
    rest: Object.fromEntries(Object.entries(root).filter(([key]) => !known.has(key))),
  }
}

/** Java's order of the fields we know. */
const keysInOrder = [
  'format-version',
  'table-uuid',
  'location',
  'last-sequence-number',
  'last-updated-ms',
  'last-column-id',
  'current-schema-id',
  'schemas',
  'default-spec-id',
  'partition-specs',
  'last-partition-id',
  'default-sort-order-id',
  'sort-orders',
  'properties',
  'current-snapshot-id',
  'next-row-id',
  'refs',
  'snapshots',
  'statistics',
  'partition-statistics',
  'snapshot-log',
  'metadata-log',
] as const

export function encodeMetadata(metadata: TableMetadata): string {
  const fields: Record<(typeof keysInOrder)[number], JsonValue> = {
    'format-version': metadata.formatVersion,
    'table-uuid': metadata.uuid,
    location: metadata.location,
    'last-sequence-number': metadata.lastSequenceNumber,
    'last-updated-ms': metadata.lastUpdatedMs,
    'last-column-id': metadata.lastColumnId,
    'current-schema-id': metadata.currentSchemaId,
    schemas: metadata.schemas,
    'default-spec-id': metadata.defaultSpecId,
    'partition-specs': metadata.partitionSpecs,
    'last-partition-id': metadata.lastPartitionId,
    'default-sort-order-id': metadata.defaultSortOrderId,
    'sort-orders': metadata.sortOrders,
    properties: metadata.properties,
    'current-snapshot-id': metadata.currentSnapshotId,
    'next-row-id': metadata.nextRowId,
    refs: metadata.refs,
    snapshots: metadata.snapshots.map((snapshot) => snapshot.json),
    statistics: metadata.statistics,
    'partition-statistics': metadata.partitionStatistics,
    'snapshot-log': metadata.snapshotLog.map((entry) => entry.json),
    'metadata-log': metadata.metadataLog.map((entry) => entry.json),
  }
  const members: Record<string, JsonValue> = {}
  for (const key of keysInOrder) {
    if (key === 'next-row-id' && metadata.formatVersion < 3) continue
    // Version 2 readers know no null here.
    if (key === 'current-snapshot-id' && metadata.currentSnapshotId === null) continue
    members[key] = fields[key]
  }
  return encodeJson({ ...members, ...metadata.rest })
}

function parseSnapshot(json: JsonObject): Snapshot {
  if (isAbsent(json, 'manifest-list')) {
    throw new FrazilError('unsupported', 'no-manifest-list', 'a snapshot of format version 1 lists its manifests inline')
  }
  return {
    id: int64(json, 'snapshot-id'),
    parentId: isAbsent(json, 'parent-snapshot-id') ? null : int64(json, 'parent-snapshot-id'),
    // Snapshots from before an upgrade to version 2 have none.
    sequenceNumber: isAbsent(json, 'sequence-number') ? 0n : int64(json, 'sequence-number'),
    timestampMs: int(json, 'timestamp-ms'),
    manifestList: text(json, 'manifest-list'),
    summary: texts(json, 'summary'),
    json: new JsonText(encodeJson(json)),
  }
}

/** A new snapshot; the row-lineage fields are null in format version 2. */
export function newSnapshot(
  fields: Omit<Snapshot, 'json'> & { schemaId: number; firstRowId: bigint | null; addedRows: bigint | null },
): Snapshot {
  const { schemaId, firstRowId, addedRows, ...snapshot } = fields
  const json: Record<string, JsonValue> = { 'sequence-number': snapshot.sequenceNumber, 'snapshot-id': snapshot.id }
  if (snapshot.parentId !== null) json['parent-snapshot-id'] = snapshot.parentId
  json['timestamp-ms'] = snapshot.timestampMs
  json.summary = snapshot.summary
  json['manifest-list'] = snapshot.manifestList
  json['schema-id'] = schemaId
  if (firstRowId !== null) json['first-row-id'] = firstRowId
  if (addedRows !== null) json['added-rows'] = addedRows
  return { ...snapshot, json: new JsonText(encodeJson(json)) }
}

function parseRefs(root: JsonObject, current: bigint | null): Record<string, JsonObject> {
  const refs: Record<string, JsonObject> = {}
  if (!isAbsent(root, 'refs')) {
    for (const [name, ref] of Object.entries(object(root.refs, '"refs"'))) refs[name] = object(ref, 'a ref')
  }
  if (current === null) return refs
  if (refs.main === undefined) refs.main = { 'snapshot-id': current, type: 'branch' }
  if (int64(refs.main, 'snapshot-id') !== current) throw badMetadata('main and "current-snapshot-id" differ')
  return refs
}

export function refSnapshotId(ref: JsonObject): bigint {
  return int64(ref, 'snapshot-id')
}

/** The current schema. */
export function currentSchema(metadata: TableMetadata): Schema {
  return schemaFromJson(byId(metadata.schemas, 'schema-id', metadata.currentSchemaId))
}

export function currentSchemaJson(metadata: TableMetadata): JsonObject {
  return byId(metadata.schemas, 'schema-id', metadata.currentSchemaId)
}

export function partitionSpec(metadata: TableMetadata, specId: number): JsonObject {
  return byId(metadata.partitionSpecs, 'spec-id', specId)
}

export function findSnapshot(metadata: TableMetadata, id: bigint | null): Snapshot | null {
  if (id === null) return null
  const found = metadata.snapshots.findLast((snapshot) => snapshot.id === id)
  if (found === undefined) throw badMetadata('a snapshot that is referred to is missing')
  return found
}

function byId(candidates: readonly JsonObject[], key: string, id: number): JsonObject {
  const found = candidates.find((candidate) => candidate[key] === id)
  if (found === undefined) throw badMetadata(`no ${key} ${id}`)
  return found
}
