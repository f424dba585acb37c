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
