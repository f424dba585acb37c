export type { Source, SourceParts, SourceState } from './source.ts'
export { createPostgresSource, dropPostgresSource, postgresTypes } from './postgres/index.ts'
export type { DroppedSource, PostgresConfig, PostgresParts, PostgresTypeLine } from './postgres/index.ts'
