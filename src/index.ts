export { open } from './engine/index.ts'
export type {
  ConfigInput,
  Engine,
  Durability,
  EngineStatus,
  FieldSchema,
  Frazil,
  OpenOptions,
  QueryResult,
  ResultValue,
  Row,
  SendOptions,
  SentRows,
  SourceStatus,
  TableHandle,
  TableShapeInput,
  TableStatus,
} from './engine/index.ts'
export { FrazilError } from './base/index.ts'
export type { ErrorKind } from './base/index.ts'
export { EventBus } from './observe/index.ts'
export type { EngineEvent } from './observe/index.ts'
