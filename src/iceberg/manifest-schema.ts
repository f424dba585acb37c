import type { AvroSchema, AvroType, FieldNames } from '../format/avro/index.ts'
import { resolveSchema } from '../format/avro/index.ts'
import type { JsonObject, JsonValue } from '../format/json/index.ts'

/** Avro schemas of manifests and manifest lists (specification, "Manifests", "Manifest Lists"; names as Java writes them). */

const optional = (type: JsonValue): JsonValue => ['null', type]

function required(name: string, id: number, type: JsonValue): JsonObject {
  return { name, type, 'field-id': id }
}

function nullable(name: string, id: number, type: JsonValue): JsonObject {
  return { name, type: optional(type), default: null, 'field-id': id }
}

function metricMap(keyId: number, valueId: number, value: 'long' | 'bytes'): JsonObject {
  return {
    type: 'array',
    logicalType: 'map',
    items: {
      type: 'record',
      name: `k${keyId}_v${valueId}`,
      fields: [required('key', keyId, 'int'), required('value', valueId, value)],
    },
  }
}

/** Metric maps by field id, in the order of the schema. */
export const metricMaps = {
  columnSizes: { id: 108, name: 'column_sizes', type: metricMap(117, 118, 'long') },
  valueCounts: { id: 109, name: 'value_counts', type: metricMap(119, 120, 'long') },
  nullValueCounts: { id: 110, name: 'null_value_counts', type: metricMap(121, 122, 'long') },
  nanValueCounts: { id: 137, name: 'nan_value_counts', type: metricMap(138, 139, 'long') },
  lowerBounds: { id: 125, name: 'lower_bounds', type: metricMap(126, 127, 'bytes') },
  upperBounds: { id: 128, name: 'upper_bounds', type: metricMap(129, 130, 'bytes') },
} as const

/** Types of the metric fields as we write them, by id. */
export const metricTypes: ReadonlyMap<number, AvroType> = new Map(
  Object.values(metricMaps).map((map) => [map.id, resolveSchema(optional(map.type))]),
)

/** The `partition` record of a spec without fields. */
export const emptyPartition: JsonObject = { type: 'record', name: 'r102', fields: [] }

export function manifestEntrySchema(formatVersion: 2 | 3, partition: AvroSchema): JsonObject {
  const dataFile = [
    required('content', 134, 'int'),
    required('file_path', 100, 'string'),
    required('file_format', 101, 'string'),
    required('partition', 102, partition),
    required('record_count', 103, 'long'),
    required('file_size_in_bytes', 104, 'long'),
    ...Object.values(metricMaps).map((map) => nullable(map.name, map.id, map.type)),
    nullable('key_metadata', 131, 'bytes'),
    nullable('split_offsets', 132, { type: 'array', items: 'long', 'element-id': 133 }),
    nullable('equality_ids', 135, { type: 'array', items: 'int', 'element-id': 136 }),
    nullable('sort_order_id', 140, 'int'),
  ]
  if (formatVersion === 3) dataFile.push(nullable('first_row_id', 142, 'long'))
  dataFile.push(nullable('referenced_data_file', 143, 'string'))
  if (formatVersion === 3) {
    dataFile.push(nullable('content_offset', 144, 'long'), nullable('content_size_in_bytes', 145, 'long'))
  }
  return {
    type: 'record',
    name: 'manifest_entry',
    fields: [
      required('status', 0, 'int'),
      nullable('snapshot_id', 1, 'long'),
      nullable('sequence_number', 3, 'long'),
      nullable('file_sequence_number', 4, 'long'),
      required('data_file', 2, { type: 'record', name: 'r2', fields: dataFile }),
    ],
  }
}

export const entryNames: FieldNames = new Map([
  [0, 'status'],
  [1, 'snapshotId'],
  [3, 'sequenceNumber'],
  [4, 'fileSequenceNumber'],
  [2, 'file'],
  [134, 'content'],
  [100, 'path'],
  [101, 'format'],
  [102, 'partition'],
  [103, 'recordCount'],
  [104, 'fileSize'],
  [108, 'columnSizes'],
  [109, 'valueCounts'],
  [110, 'nullValueCounts'],
  [137, 'nanValueCounts'],
  [125, 'lowerBounds'],
  [128, 'upperBounds'],
  [117, 'key'],
  [118, 'value'],
  [119, 'key'],
  [120, 'value'],
  [121, 'key'],
  [122, 'value'],
  [138, 'key'],
  [139, 'value'],
  [126, 'key'],
  [127, 'value'],
  [129, 'key'],
  [130, 'value'],
  [131, 'keyMetadata'],
  [132, 'splitOffsets'],
  [135, 'equalityIds'],
  [140, 'sortOrderId'],
  [142, 'firstRowId'],
  [143, 'referencedDataFile'],
  [144, 'contentOffset'],
  [145, 'contentSize'],
])

const fieldSummary: JsonObject = {
  type: 'record',
  name: 'r508',
  fields: [
    required('contains_null', 509, 'boolean'),
    nullable('contains_nan', 518, 'boolean'),
    nullable('lower_bound', 510, 'bytes'),
    nullable('upper_bound', 511, 'bytes'),
  ],
}

const fieldSummaries: JsonObject = { type: 'array', items: fieldSummary, 'element-id': 508 }

export function manifestFileSchema(formatVersion: 2 | 3): JsonObject {
  const fields = [
    required('manifest_path', 500, 'string'),
    required('manifest_length', 501, 'long'),
    required('partition_spec_id', 502, 'int'),
    required('content', 517, 'int'),
    required('sequence_number', 515, 'long'),
    required('min_sequence_number', 516, 'long'),
    required('added_snapshot_id', 503, 'long'),
    required('added_files_count', 504, 'int'),
    required('existing_files_count', 505, 'int'),
    required('deleted_files_count', 506, 'int'),
    required('added_rows_count', 512, 'long'),
    required('existing_rows_count', 513, 'long'),
    required('deleted_rows_count', 514, 'long'),
    nullable('partitions', 507, fieldSummaries),
    nullable('key_metadata', 519, 'bytes'),
  ]
  if (formatVersion === 3) fields.push(nullable('first_row_id', 520, 'long'))
  return { type: 'record', name: 'manifest_file', fields }
}

/** Partition summaries stay encoded: we carry other writers' on, and write an empty list or none ourselves. */
export const partitionSummariesId = 507
export const partitionSummariesType: AvroType = resolveSchema(optional(fieldSummaries))

export const manifestNames: FieldNames = new Map([
  [500, 'path'],
  [501, 'length'],
  [502, 'specId'],
  [517, 'content'],
  [515, 'sequenceNumber'],
  [516, 'minSequenceNumber'],
  [503, 'addedSnapshotId'],
  [504, 'addedFiles'],
  [505, 'existingFiles'],
  [506, 'deletedFiles'],
  [512, 'addedRows'],
  [513, 'existingRows'],
  [514, 'deletedRows'],
  [507, 'partitions'],
  [509, 'containsNull'],
  [518, 'containsNan'],
  [510, 'lowerBound'],
  [511, 'upperBound'],
  [519, 'keyMetadata'],
  [520, 'firstRowId'],
])
