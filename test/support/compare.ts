import type pg from 'pg'
import { fromAnswer, fromPostgres, rowText } from './canonical.ts'
import { quoted } from './workload-tables.ts'
import type { WorkloadTable } from './workload-tables.ts'

/** All rows of a table in canonical form, sorted: two readers agree when these are equal. */
export type TableRows = readonly string[]

/** Runs SQL of ours and gives back rows; int64 and decimal as strings. */
export type RunSql = (sql: string) => Promise<{
  readonly columns: readonly { readonly name: string }[]
  readonly rows: readonly (readonly unknown[])[]
}>

const rawText = { getTypeParser: () => (value: unknown) => value }

/** What Postgres itself has. */
export async function postgresRows(client: pg.ClientBase, table: WorkloadTable, where = ''): Promise<TableRows> {
  await client.query(`SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET extra_float_digits = 3; SET bytea_output = 'hex'`)
  const columns = table.columns.map(({ name, array }) => (array ? `array_to_json(${quoted(name)}::text[])::text` : quoted(name)))
  const answer = await client.query<unknown[]>({
    text: `SELECT ${columns.join(', ')} FROM ${table.sqlName} ${where}`,
    rowMode: 'array',
    types: rawText,
  })
  return answer.rows.map((row) => rowText(table, row, fromPostgres)).sort()
}

/** What our SQL answers. */
export async function answeredRows(run: RunSql, table: WorkloadTable, database = 'shop'): Promise<TableRows> {
  const columns = table.columns.map((column) => quoted(column.name)).join(', ')
  const answer = await run(`SELECT ${columns} FROM ${quoted(database)}.${quoted(table.lakeName)}`)
  return answer.rows.map((row) => rowText(table, row, fromAnswer)).sort()
}

const shown = 3
const shownLength = 600

/** Null when both have the same rows equally often; otherwise what differs, with some rows of each side. */
export function difference(
  table: WorkloadTable,
  left: string,
  leftRows: TableRows,
  right: string,
  rightRows: TableRows,
): string | null {
  const onlyLeft: string[] = []
  const onlyRight: string[] = []
  let l = 0
  let r = 0
  while (l < leftRows.length || r < rightRows.length) {
    if (l < leftRows.length && leftRows[l] === rightRows[r]) {
      l++
      r++
    } else if (r >= rightRows.length || (l < leftRows.length && leftRows[l] < rightRows[r])) onlyLeft.push(leftRows[l++])
    else onlyRight.push(rightRows[r++])
  }
  if (onlyLeft.length === 0 && onlyRight.length === 0) return null
  const some = (name: string, rows: readonly string[]): string[] =>
    rows.slice(0, shown).map((row) => `  only ${name}: ${row.length > shownLength ? `${row.slice(0, shownLength)}…` : row}`)
  return [
    `${table.lakeName} (${table.columns.map((column) => column.name).join(', ')}): ${left} has ${leftRows.length} rows, ${right} ${rightRows.length};`,
    `  ${onlyLeft.length} only in ${left}, ${onlyRight.length} only in ${right}`,
    ...some(left, onlyLeft),
    ...some(right, onlyRight),
  ].join('\n')
}

/** Compares all tables of a reader with Postgres and throws what differs, all tables in one message. */
export async function agree(
  client: pg.ClientBase,
  tables: readonly WorkloadTable[],
  reader: string,
  read: (table: WorkloadTable) => Promise<TableRows>,
): Promise<void> {
  const faults: string[] = []
  for (const table of tables) {
    const expected = await postgresRows(client, table)
    const fault = difference(table, 'Postgres', expected, reader, await read(table))
    if (fault !== null) faults.push(fault)
  }
  if (faults.length > 0) throw new Error(faults.join('\n'))
}

/** A position behind everything that is committed in Postgres now, for `wait`. */
export async function walPosition(client: pg.ClientBase): Promise<string> {
  const answer = await client.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn')
  return answer.rows[0].lsn
}
