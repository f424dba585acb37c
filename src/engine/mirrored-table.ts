import { FrazilError } from '../base/index.ts'
import type { Position, SourceTable } from '../data/index.ts'
import type { IcebergTable } from '../iceberg/index.ts'
import type { Table, TableShape } from '../table/index.ts'
import type { TableHealth, TableStatus } from './contract.ts'
import type { CopyJournal } from './copy-journal.ts'

/** One table of a source as the pipeline keeps it, from the first row of its copy to its end. */
export interface MirroredTable {
  /** As of the last applied source commit. */
  source: SourceTable
  /** As of the last lake commit; for a new table without a metadata location. */
  iceberg: IcebergTable
  /** Live rows; null while it is copied for the first time. */
  table: Table | null
  health: TableHealth
  reason: string | null
  /** Changes before this position are in the copy; the table joins the views with the first position at or past it. */
  floor: Position | null
  /** True once the table is in the views. */
  joined: boolean
  /** Folder of its copy's files, when no snapshot has them yet and it is not the table's own. */
  copiedTo?: string | null
  /** Of its copy in parts, until the table is in a snapshot. */
  journal?: CopyJournal | null
  /** The last position in the lake that contains changes of this table. */
  committed: Position | null
}

/** `namespace.table`, for messages. */
export function fullName(table: { readonly namespace: string; readonly name: string }): string {
  return `${table.namespace}.${table.name}`
}

/** Whether a table is in the views and takes changes. */
export function isLive(mirrored: MirroredTable): mirrored is MirroredTable & { table: Table } {
  return mirrored.joined && mirrored.table !== null && mirrored.health === 'streaming'
}

/** The shape of a table that was not changed since it was loaded or made. */
export function shapeOf(source: SourceTable, iceberg: IcebergTable): TableShape {
  return { source, fields: iceberg.schema.fields, lastFieldId: iceberg.lastColumnId }
}

/** What is told of a table; `at`: where the source is, null for a table that does not follow it. */
export function statusOf(
  { source, iceberg, table, health, reason, committed }: MirroredTable,
  at: { readonly visible: Position | null; readonly committed: Position | null } | null,
): Omit<TableStatus, 'source' | 'copy'> {
  const files = table?.files ?? []
  const live = (isCommitted: boolean): number =>
    files.filter((file) => file.committed === isCommitted).reduce((sum, file) => sum + file.rows - file.deleted, 0)
  return {
    database: source.namespace,
    table: source.name,
    health,
    reason,
    visible: at ? at.visible : committed,
    committed: at && iceberg.metadataLocation !== null ? at.committed : committed,
    hotRows: table?.hotRows ?? 0,
    stagedRows: live(false),
    coldRows: live(true),
    dataFiles: files.length,
    deletedRows: files.reduce((sum, file) => sum + file.deleted, 0),
  }
}

/** The name of a new table belongs to another one in the lake. */
export function nameTakenError(table: { readonly namespace: string; readonly name: string }): FrazilError {
  const name = fullName(table)
  const hint = 'Give one of them another name with into:, or drop the old one.'
  return new FrazilError('unsupported', 'table-exists', `the lake has a table ${name} already, which is not this one`, {
    hint,
    table: name,
  })
}
