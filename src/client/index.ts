export { FrazilClient } from './client.ts'
export type { ClientOptions, Ingested, IngestOptions, Row } from './client.ts'
export { FrazilClientError } from './failure.ts'
export type {
  CreateBody,
  IngestResult,
  QueryRows,
  RefusedRow,
  SchemaAnswer,
  TableState,
  TablesAnswer,
} from '../server/api/index.ts'
