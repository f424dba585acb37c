export type { Catalog, CatalogCommit, PointerChange, StateChange, StateRecord, TableName, TablePointer } from './catalog.ts'
export { MemoryCatalog } from './memory.ts'
export { SqliteCatalog } from './sqlite.ts'
export type { SqliteCatalogOptions } from './sqlite.ts'
