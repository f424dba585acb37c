export type { Source, SourceParts, SourceState } from './source.ts'
export { checkPostgresSource, createPostgresSource, dropPostgresSource, postgresTypes } from './postgres/index.ts'
export type {
  DroppedSource,
  PostgresConfig,
  PostgresParts,
  PostgresTypeLine,
  SourceFinding,
  SourceReport,
} from './postgres/index.ts'
