import type { Field } from '../data/index.ts'
import { withLayout } from '../iceberg/index.ts'
import type { IcebergTable, LayoutRequest } from '../iceberg/index.ts'

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
