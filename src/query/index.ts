export type {
  QueryAnswer,
  QueryRequest,
  QueryViews,
  ResultFormat,
  SqlEngine,
  TableView,
  ViewFile,
  ViewProvider,
} from './contract.ts'
export { DuckDbHost } from './duckdb-host.ts'
export { openDuckDb } from './duckdb-engine.ts'
export type { DuckDbOptions } from './duckdb-engine.ts'
export { isNamespaceOfSql } from './sql-namespaces.ts'
