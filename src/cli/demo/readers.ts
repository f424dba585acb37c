import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { catalogPath } from '../../engine/index.ts'

/** How other programs read the demo's tables: commands to copy. */
export function readerCommands(warehouse: string): string[] {
  const catalog = catalogPath(warehouse)
  const metadata = existsSync(catalog) ? ordersMetadata(catalog) : null
  if (metadata === null) return []
  return [
    'The tables are plain Iceberg v3. From DuckDB:',
    `  duckdb -c "INSTALL iceberg; LOAD iceberg; SELECT status, count(*) FROM iceberg_scan('${metadata}') GROUP BY 1"`,
    "From PyIceberg (pip install 'pyiceberg[sql-sqlite,pyarrow]'):",
    `  python3 -c "from pyiceberg.catalog import load_catalog as c; print(c('frazil', type='sql', uri='sqlite:///${catalog}').load_table('shop.orders').scan().to_arrow())"`,
  ]
}

/** Where the catalog says that the current metadata of `shop.orders` is, as a path: any program can ask it like that. */
function ordersMetadata(catalog: string): string | null {
  const database = new DatabaseSync(catalog, { readOnly: true })
  try {
    const row = database
      .prepare(
        `select metadata_location as location from iceberg_tables where table_namespace = 'shop' and table_name = 'orders'`,
      )
      .get()
    return row === undefined ? null : String(row['location']).replace(/^file:\/\//, '')
  } finally {
    database.close()
  }
}
