export type {
  Durability,
  Engine,
  EngineQuery,
  EngineStatus,
  NewTable,
  PushAnswer,
  RowToStore,
  SourceStatus,
  TableDescription,
  TableFromRows,
  TableHealth,
  TableStatus,
  UploadReceipt,
  UploadRequest,
} from './contract.ts'
export type { PushReceipt, PushRequest } from '../source/index.ts'
export { isNamespaceOfSql } from '../query/index.ts'
export type { QueryAnswer, ResultFormat } from '../query/index.ts'
export { tokenRules } from './access-config.ts'
export type { TokenConfig } from './access-config.ts'
export { resolveConfig, schema as configSchema } from './config.ts'
export type { Config, ConfigInput, ConfigParts, PostgresSourceConfig, SourceConfig } from './config.ts'
export { loadConfig, parseConfig } from './config-file.ts'
export { configNode } from './config-issues.ts'
export type { ConfigNode } from './config-issues.ts'
export { parseDuration, parseSize } from './units.ts'
export { openEngine } from './engine.ts'
export { catalogPath } from './lake.ts'
export { Secret } from './secret.ts'
export { checkConfig } from './check.ts'
export type { CheckReport, Finding } from './check.ts'
export { dropSource } from './sources.ts'
export { requestResync } from './resync.ts'
export type { EngineOptions } from './engine.ts'
export { open } from './library.ts'
export type {
  Frazil,
  OpenOptions,
  QueryResult,
  ResultValue,
  Row,
  SendOptions,
  SentRows,
  TableHandle,
  TableShapeInput,
} from './library.ts'
export { longestKey, longestProducer } from './sender.ts'
export { fieldSchema, fieldsOf, keyOf, schemaOf, tableConfig, tableNamePattern } from './table-schema.ts'
export type { FieldSchema } from './table-schema.ts'
export { openReader } from './reader.ts'
export { tableText } from '../source/index.ts'
export { surveyDatabase } from './survey.ts'
export type { Survey } from './survey.ts'
