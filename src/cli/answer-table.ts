import type { QueryAnswer } from '../engine/index.ts'
import { textTable } from './text-table.ts'

const numeric = /^(?:u?(?:tiny|small|big|huge)?int(?:eger)?|long|float|double|real|decimal|numeric)\b/i

/** A query's answer as a table for people; at most `maxRows` of its rows. */
export function answerTable(
  answer: Pick<QueryAnswer, 'columns' | 'body'>,
  limits: { width?: number; maxRows?: number } = {},
): string {
  const rows = JSON.parse(Buffer.from(answer.body).toString()) as unknown[][]
  const shown = rows.slice(0, limits.maxRows)
  const columns = answer.columns.map(({ name, type }) => ({
    name,
    align: numeric.test(type) ? ('right' as const) : ('left' as const),
  }))
  const table = textTable(
    columns,
    shown.map((row) => row.map(cellText)),
    limits.width,
  )
  const more = rows.length > shown.length ? `, the first ${shown.length} are shown` : ''
  return `${table}(${rows.length} ${rows.length === 1 ? 'row' : 'rows'}${more})\n`
}

function cellText(value: unknown): string {
  if (value === null) return 'NULL'
  return typeof value === 'string' ? value : JSON.stringify(value)
}
