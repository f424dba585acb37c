export { Spool } from './spool.ts'
export type { RowOperation, SpoolRecord } from './record.ts'
