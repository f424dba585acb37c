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
