export { MemoryCatalog, SqliteCatalog } from './catalog/index.ts'
export type {
  Catalog,
  CatalogCommit,
  PointerChange,
  SqliteCatalogOptions,
  StateChange,
  StateRecord,
  TableName,
  TablePointer,
} from './catalog/index.ts'
export type {
  DataFile,
  DeletionVector,
  FieldMetrics,
  FilePartition,
  IcebergTable,
  LiveDataFile,
  PreparedCommit,
  Retention,
  TableDefinition,
  SchemaUpdate,
  TableUpdate,
} from './contract.ts'
export type { TableParts } from './commit.ts'
export { deletionVectorFile, readDeletionVector } from './deletion-vectors.ts'
export { mayDeleteFiles } from './expiry.ts'
export { lastUpdatedField, rowIdField } from './row-lineage.ts'
export { removeReachable } from './reachable.ts'
export { nameMapping, nameMappingProperty } from './name-mapping.ts'
export { schemaToJson } from './schema-json.ts'
export {
  checkProperty,
  columnBuckets,
  integerBucket,
  parsePartition,
  parseSort,
  resultType,
  singleValueAt,
  transformColumn,
} from './layout/index.ts'
export type {
  ColumnBucket,
  ColumnSettings,
  FileLayout,
  LayoutRequest,
  PartitionExpression,
  PartitionValues,
  SortExpression,
  SortKey,
  TransformedValues,
} from './layout/index.ts'
export { containsCommit, createTable, loadTable, succession, withLayout } from './table.ts'
