export { draftTable } from './draft.ts'
export { HttpSource } from './http-source.ts'
export { isEvolving, tableMemo } from './pushed-table.ts'
