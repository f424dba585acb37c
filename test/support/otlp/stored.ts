import type { ExpectedRow } from './expected.ts'
import type { OtlpLake } from './lake.ts'

const mapName = /attributes$|^metric_metadata$/
const timeName = /^(?:observed_|start_|end_)?time$/
const doubleName = /^(?:value_double|value|sum|min|max|zero_threshold|quantile|explicit_bounds)$/

/** The rows of a table as `expectedRows` gives them, in the same order as {@link inOrder} has those. */
export async function storedRows(lake: OtlpLake, table: string): Promise<unknown[]> {
  const rows = await lake.rows(`SELECT * FROM telemetry.${table}`)
  return inOrder(rows.map((row) => plain(row, '')))
}

/** Rows in an order of their own, numbers of 64 bits as text. */
export function inOrder(rows: readonly unknown[]): unknown[] {
  return rows
    .map((row) => JSON.stringify(row, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)))
    .map((text): [string, unknown] => [byName(JSON.parse(text)), JSON.parse(text)])
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, row]) => row)
}

function byName(row: unknown): string {
  return JSON.stringify(Object.entries(row as ExpectedRow).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function plain(value: unknown, name: string): unknown {
  if (value === null) return null
  if (timeName.test(name) && typeof value === 'string') return micros(value)
  if (Array.isArray(value)) return value.map((item) => plain(item, name))
  if (doubleName.test(name) && typeof value === 'number') return Object.is(value, -0) ? '-0' : String(value)
  if (typeof value !== 'object') return value
  const entries = Object.entries(value)
  if (mapName.test(name)) return entries.sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([inner, part]) => [inner, plain(part, inner)]))
}

/** Microseconds of `2026-09-21T14:13:20.123456Z`. */
function micros(iso: string): string {
  const fraction = /\.(\d+)Z$/.exec(iso)?.[1] ?? ''
  return String(BigInt(Date.parse(iso.replace(/\.\d+Z$/, 'Z'))) * 1000n + BigInt(fraction.padEnd(6, '0')))
}
