export { openApiDocument } from './document.ts'
export {
  createBody,
  dropBody,
  fromPostgresBody,
  ingestParameters,
  optimizeBody,
  queryBody,
  resyncBody,
  snapshotBody,
  tableName,
  uploadBody,
} from './requests.ts'
export type { CheckedUpload, CreateBody, FromPostgresBody, IngestParameters, QueryBody, UploadBody } from './requests.ts'
export type {
  FromPostgresAnswer,
  IngestResult,
  QueryRows,
  RefusedRow,
  SchemaAnswer,
  SnapshotAnswer,
  TableState,
  TablesAnswer,
  UploadResult,
} from './answers.ts'
