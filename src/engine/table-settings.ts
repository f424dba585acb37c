import { FrazilError } from '../base/index.ts'
import type { Field } from '../data/index.ts'
import { withLayout } from '../iceberg/index.ts'
import type { IcebergTable, LayoutRequest } from '../iceberg/index.ts'
import type { Table } from '../table/index.ts'

/** What the configuration says about one table. Absent parts of the layout stay as they are in the lake. */
export interface TableSetting extends LayoutRequest {
  /** Absent: as its source has it. */
  readonly onSchemaChange?: 'evolve' | 'new-column' | 'detach'
}

/** Settings per table, by `namespace.table`. Plain data: it travels to pipeline threads. */
export type TableSettings = Readonly<Record<string, TableSetting>>

/**
 * The table as the settings ask for it, when it has the columns `fields`. Nothing is written: the table's next commit has it. Throws
 * `config` (code `layout-invalid`) for a layout that does not fit the columns.
 */
export function withSettings(settings: TableSettings, table: IcebergTable, fields: readonly Field[]): IcebergTable {
  const setting = settings[`${table.namespace}.${table.name}`]
  return setting === undefined ? table : withLayout(table, setting, fields)
}

/**
 * A former table as the one that takes its place is laid out, which is how that was copied. Throws `conflict` when a commit of the former
 * one has given it another layout since: the copy begins again.
 */
export function laidOutAs(settings: TableSettings, former: IcebergTable, { fields, files }: Table): IcebergTable {
  const iceberg = withSettings(settings, former, fields)
  const { specId, sortOrderId } = iceberg.layoutFor(fields)
  const isSame = files.every(({ file }) => file.partition?.specId === specId && (file.sortOrderId ?? sortOrderId) === sortOrderId)
  if (!isSame) throw new FrazilError('conflict', 'layout-changed', 'the layout of a table was changed while it was copied')
  return iceberg
}
