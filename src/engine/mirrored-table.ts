import type { Position, SourceTable } from '../data/index.ts'
import type { IcebergTable } from '../iceberg/index.ts'
import type { Table } from '../table/index.ts'
import type { TableHealth } from './contract.ts'
import type { TableCopy } from './table-copy.ts'

/** One table of a source as the pipeline keeps it, from the first row of its copy to its end. */
export interface MirroredTable {
  /** As of the last applied source commit. */
  source: SourceTable
  /** As of the last lake commit; for a new table without a metadata location. */
  iceberg: IcebergTable
  /** Live rows; null while it is copied for the first time. */
  table: Table | null
  copy: TableCopy | null
  health: TableHealth
  reason: string | null
  /** Changes before this position are in the copy; the table joins the views with the first position at or past it. */
  floor: Position | null
  /** True once the table is in the views. */
  joined: boolean
  /** The last position in the lake that contains changes of this table. */
  committed: Position | null
}

/** `namespace.table`, for messages. */
export function fullName(table: { readonly namespace: string; readonly name: string }): string {
  return `${table.namespace}.${table.name}`
}
