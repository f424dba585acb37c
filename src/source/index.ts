export { HttpSource, draftTable, isEvolving, tableMemo } from './http/index.ts'
export { OtlpSource, checkOtlpSource, otlpTables } from './otlp/index.ts'
export type { Promotion } from './otlp/index.ts'
export type {
  InterruptedCopy,
  PushReceipt,
  Producer,
  PushRequest,
  PushSource,
  RefusedRow,
  SentSource,
  ServerSource,
  Source,
  SourceLag,
  SourceParts,
  SourceState,
} from './source.ts'
export {
  checkPostgresSource,
  createPostgresSource,
  dropPostgresSource,
  postgresTypes,
  surveyPostgresSource,
  tableText,
} from './postgres/index.ts'
export type {
  ColumnSetting,
  DroppedSource,
  OutOfRange,
  PostgresConfig,
  PostgresParts,
  PostgresTypeLine,
  SourceFinding,
  SourceReport,
  SurveyedSource,
} from './postgres/index.ts'
