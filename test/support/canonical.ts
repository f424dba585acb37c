import type { ComparedType, WorkloadTable } from './workload-tables.ts'

/**
 * One text per value, the same whoever read it: integers and decimals by their digits, floats by the shortest text that gives
 * the same bits (zero keeps its sign), bytes and uuids in hex, times with six digits, null for null.
 */
export type Canonical = string | null | readonly (string | null)[]

/** Makes the canonical form of one scalar from what a reader returned. */
export type Decode = (type: ComparedType, raw: unknown) => string

function floatText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

function decimalText(raw: string): string {
  const match = /^(-?)0*(\d+)(?:\.(\d*?)0*)?$/.exec(raw)
  if (!match) throw new Error(`not a decimal: ${raw}`)
  const [, sign, whole, fraction = ''] = match
  const digits = fraction === '' ? whole : `${whole}.${fraction}`
  return /[1-9]/.test(digits) ? sign + digits : '0'
}

function momentText(raw: string): string {
  const match = /^(?:(\d{4,6}-\d\d-\d\d)[ T])?(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|[+-]00(?::?00)?)?$/.exec(raw)
  if (!match) throw new Error(`not a time or timestamp in UTC: ${raw}`)
  const [, day, time, fraction = ''] = match
  const moment = `${time}.${fraction.padEnd(6, '0')}`
  return day === undefined ? moment : `${day}T${moment}`
}

function fromText(type: ComparedType, raw: string): string {
  switch (type) {
    case 'boolean':
      return raw.startsWith('t') ? 'true' : 'false'
    case 'float4':
      return floatText(Math.fround(Number(raw)))
    case 'float8':
      return floatText(Number(raw))
    case 'decimal':
      return decimalText(raw)
    case 'uuid':
      return raw.replaceAll('-', '').toLowerCase()
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return momentText(raw)
    case 'nested':
      return nestedText(parseExact(raw))
    default:
      return raw
  }
}

/** Structs and maps as their entries, sorted; some readers tell maps as lists of pairs. Numbers as their digits. */
function nestedText(value: unknown): string {
  return JSON.stringify(sorted(value))
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return typeof value === 'number' ? String(value) : value
  const entries =
    Array.isArray(value) && !isPairs(value) ? null : Object.entries(isPairs(value) ? Object.fromEntries(value) : value)
  if (entries === null) return Array.isArray(value) ? value.map(sorted) : value
  return entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, inner]) => [name, sorted(inner)])
}

/** An empty list and an empty map look the same. */
function isPairs(value: unknown): value is [string, unknown][] {
  return Array.isArray(value) && value.every((item) => Array.isArray(item) && item.length === 2 && typeof item[0] === 'string')
}

/** Postgres's own text, with extra_float_digits = 1 or more, UTC, ISO dates and hex bytes. */
export const fromPostgres: Decode = (type, raw) => {
  const text = String(raw)
  return type === 'bytea' ? text.slice(2) : fromText(type, text)
}

/** A value in JSON of ours (queries and look-ups), asked with numbers as strings. */
export const fromAnswer: Decode = (type, raw) => {
  if (type === 'nested') return nestedText(raw)
  if (type === 'bytea') return Buffer.from(String(raw), 'base64').toString('hex')
  if (typeof raw === 'number' && (type === 'float4' || type === 'float8'))
    return floatText(type === 'float4' ? Math.fround(raw) : raw)
  return fromText(type, String(raw))
}

/** JSON with numbers as the text of their digits, which a JavaScript number might not keep. */
export function parseExact(json: string): unknown {
  const reviver = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === 'number' ? (context?.source ?? String(value)) : value
  return JSON.parse(json, reviver)
}

const pythonFloats = new Map([
  ['nan', 'NaN'],
  ['inf', 'Infinity'],
  ['-inf', '-Infinity'],
])

/** A value as scripts/readers print it, read by {@link parseExact}: binary in base64, floats as Python prints them. */
export const fromReader: Decode = (type, raw) => {
  if (type === 'nested') return nestedText(raw)
  const text = String(raw)
  switch (type) {
    case 'bytea':
      return Buffer.from(text, 'base64').toString('hex')
    case 'uuid':
      return text.includes('-') ? fromText(type, text) : Buffer.from(text, 'base64').toString('hex')
    case 'float4':
    case 'float8':
      return fromText(type, pythonFloats.get(text) ?? text)
    default:
      return fromText(type, text)
  }
}

/** A whole row as one text that can be compared and sorted. `values` are in the table's column order. */
export function rowText(table: WorkloadTable, values: readonly unknown[], decode: Decode): string {
  const row = table.columns.map((column, i): Canonical => {
    const value = values[i]
    if (value === null || value === undefined) return null
    try {
      if (!column.array) return decode(column.compared, value)
      if (!Array.isArray(value)) throw new Error('not a list')
      return value.map((item: unknown) => (item === null ? null : decode(column.compared, item)))
    } catch (error) {
      throw new Error(`${table.lakeName}.${column.name}: ${String(error)}`, { cause: error })
    }
  })
  return JSON.stringify(row)
}
