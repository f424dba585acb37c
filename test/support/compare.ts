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
  const columns = table.columns.map(({ said }) => said)
  const answer = await client.query<unknown[]>({
    text: `SELECT ${columns.join(', ')} FROM ${table.sqlName} ${where}`,
    rowMode: 'array',
    types: rawText,
  })
  return answer.rows.map((row) => rowText(table, row.map(arrayItems(table)), fromPostgres)).sort()
}

/** Arrays as lists of the texts of their elements. */
function arrayItems(table: WorkloadTable): (raw: unknown, column: number) => unknown {
  return (raw, column) => (table.columns[column].array && typeof raw === 'string' ? parseArray(raw) : raw)
}

/** An array of one dimension as Postgres prints it: `{1,NULL,"a \\"b\\""}`. */
export function parseArray(text: string): (string | null)[] {
  const items: (string | null)[] = []
  const item = /([^",{}\\]+)|"((?:[^"\\]|\\.)*)"/gsu
  for (const [, bare, inQuotes] of text.matchAll(item)) {
    if (bare === undefined) items.push(inQuotes.replaceAll(/\\(.)/gsu, '$1'))
    else items.push(bare === 'NULL' ? null : bare)
  }
  return items
}

/** What our SQL answers. */
export async function answeredRows(run: RunSql, table: WorkloadTable, database = 'shop'): Promise<TableRows> {
  const columns = table.columns.map((column) => quoted(column.name)).join(', ')
  const answer = await run(`SELECT ${columns} FROM ${quoted(database)}.${quoted(table.lakeName)}`)
  return answer.rows.map((row) => rowText(table, row, fromAnswer)).sort()
}

const shown = 3
const shownLength = 300
const mostCompared = 2000

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
  return [
    `${table.lakeName}: ${left} has ${leftRows.length} rows, ${right} ${rightRows.length};`,
    `  ${onlyLeft.length} only in ${left}, ${onlyRight.length} only in ${right}`,
    ...onlyLeft.slice(0, shown).map((row) => `  only ${left}: ${shortened(row)}${closest(table, row, onlyRight, right)}`),
    ...onlyRight.slice(0, shown).map((row) => `  only ${right}: ${shortened(row)}`),
  ].join('\n')
}

function shortened(text: string): string {
  return text.length > shownLength ? `${text.slice(0, shownLength)}…` : text
}

/** The columns in which a row differs from the one that is most like it. */
function closest(table: WorkloadTable, row: string, others: readonly string[], reader: string): string {
  const values = JSON.parse(row) as unknown[]
  const apart = others.slice(0, mostCompared).map((other) => {
    const otherValues = JSON.parse(other) as unknown[]
    return table.columns.flatMap(({ name }, i) => {
      const [here, there] = [JSON.stringify(values[i]), JSON.stringify(otherValues[i])]
      return here === there ? [] : [`${name}: ${shortened(here)} and not ${shortened(there)}`]
    })
  })
  const nearest = apart.sort((a, b) => a.length - b.length).at(0)
  if (nearest === undefined || nearest.length > table.columns.length / 2) return ''
  return `\n    nearest in ${reader} differs in ${nearest.join('; ')}`
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
  const answer = await client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')
  return answer.rows[0].lsn
}
