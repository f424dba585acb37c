export { FrazilClient } from './client.ts'
export type { ClientOptions, Ingested, IngestOptions, Row } from './client.ts'
export { FrazilClientError } from './failure.ts'
export type {
  CreateBody,
  FromPostgresAnswer,
  FromPostgresBody,
  IngestResult,
  QueryRows,
  RefusedRow,
  SchemaAnswer,
  TableState,
  TablesAnswer,
  UploadBody,
  UploadResult,
} from '../server/api/index.ts'
