export { openApiDocument } from './document.ts'
export {
  createBody,
  dropBody,
  ingestParameters,
  optimizeBody,
  queryBody,
  resyncBody,
  snapshotBody,
  tableName,
} from './requests.ts'
export type { CreateBody, IngestParameters, QueryBody } from './requests.ts'
export type { IngestResult, QueryRows, RefusedRow, SchemaAnswer, SnapshotAnswer, TableState, TablesAnswer } from './answers.ts'
