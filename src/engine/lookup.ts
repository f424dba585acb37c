import { FrazilError } from '../base/index.ts'
import type { Column, Field, Type, Value } from '../data/index.ts'
import { columnOf, readRow, typeText } from '../data/index.ts'
import { ParquetReader } from '../format/parquet/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type { Table } from '../table/index.ts'
import type { LookupAnswer } from './pipeline-contract.ts'

/** The live row with a key given as text or JSON scalars, read from memory or from its data file. */
export async function readKeyedRow(
  table: Table,
  key: Readonly<Record<string, unknown>>,
  store: ObjectStore,
): Promise<LookupAnswer> {
  const { fields } = table
  const place = table.find(keyColumns(table, key), 0)
  if (!place) return { fields, row: null }
  if ('segment' in place) return { fields, row: readRow(place.segment, place.row) }
  const { file, position } = place
  const reader = await ParquetReader.open({
    size: file.fileSize,
    read: (offset, length) => store.get(file.path, { offset, length }),
  })
  return { fields, row: readRow(await reader.readRows(fields, [position]), 0) }
}

function keyColumns(table: Table, key: Readonly<Record<string, unknown>>): Column[] {
  if (table.key.kind !== 'columns') {
    throw new FrazilError('request', 'no-key', 'the table has no key to look rows up by', { hint: 'Use POST /query.' })
  }
  const fields = table.key.columns.map((i) => table.fields[i])
  for (const name of Object.keys(key)) {
    if (!fields.some((field) => field.name === name)) {
      throw new FrazilError('request', 'unknown-key-column', `${name} is not a key column; the key is (${names(fields)})`)
    }
  }
  return fields.map((field) => {
    const given = key[field.name]
    if (given === undefined || given === null) {
      throw new FrazilError(
        'request',
        'missing-key-column',
        `the key column ${field.name} is missing; the key is (${names(fields)})`,
      )
    }
    return columnOf(field, [parseScalar(field, given)])
  })
}

function names(fields: readonly Field[]): string {
  return fields.map((field) => field.name).join(', ')
}

/** A key value from JSON or a URL as a stored one. Throws `request`, code `bad-key`. */
function parseScalar(field: Field, given: unknown): Value {
  const { type } = field
  const bad = (): never => {
    throw new FrazilError('request', 'bad-key', `the key column ${field.name} needs ${example(type)}`)
  }
  const text =
    typeof given === 'string'
      ? given
      : typeof given === 'number' || typeof given === 'bigint' || typeof given === 'boolean'
        ? String(given)
        : bad()
  switch (type.kind) {
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : bad()
    case 'int':
      return /^-?\d{1,10}$/.test(text) && Math.abs(Number(text)) <= 0x8000_0000 ? Number(text) : bad()
    case 'long':
      return /^-?\d{1,19}$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text) ? BigInt(text) : bad()
    case 'float':
    case 'double':
      if (text === 'NaN') return Number.NaN
      if (text.trim() === '' || Number.isNaN(Number(text))) return bad()
      return Number.isFinite(Number(text)) || /^[+-]?Infinity$/.test(text) ? Number(text) : bad()
    case 'decimal': {
      const parts = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text)
      if (!parts) return bad()
      const fraction = (parts[3] ?? '').replace(/0+$/, '')
      if (fraction.length > type.scale) return bad()
      const unscaled = BigInt(parts[2] + fraction.padEnd(type.scale, '0'))
      return parts[1] === '-' ? -unscaled : unscaled
    }
    case 'date': {
      const ms = /^\d{4}-\d\d-\d\d$/.test(text) ? midnight(text) : Number.NaN
      return Number.isNaN(ms) ? bad() : ms / 86_400_000
    }
    case 'time': {
      const parts = /^([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,6}))?$/.exec(text)
      if (!parts) return bad()
      const seconds = BigInt(parts[1]) * 3600n + BigInt(parts[2]) * 60n + BigInt(parts[3])
      return seconds * 1_000_000n + BigInt((parts[4] ?? '').padEnd(6, '0'))
    }
    case 'timestamp':
    case 'timestamptz': {
      const parts = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)?$/.exec(text)
      if (!parts || Number.isNaN(midnight(parts[1]))) return bad()
      // A time without a zone is none in another one.
      if (type.kind === 'timestamp' && (parts[4] ?? 'Z') !== 'Z') return bad()
      const ms = Date.parse(`${parts[1]}T${parts[2]}${type.kind === 'timestamptz' ? (parts[4] ?? 'Z') : 'Z'}`)
      return Number.isNaN(ms) ? bad() : BigInt(ms) * 1000n + BigInt((parts[3] ?? '').padEnd(6, '0'))
    }
    case 'uuid':
      return /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text)
        ? new Uint8Array(Buffer.from(text.replaceAll('-', ''), 'hex'))
        : bad()
    case 'string':
      return text
    case 'binary':
    case 'fixed':
      return base64(text) ?? bad()
    default:
      throw new FrazilError('unsupported', 'key-type', `look-up by a ${typeText(type)} column is not possible; use POST /query`)
  }
}

/** Milliseconds of a date of the form `2026-01-31`; NaN when there is no such day, for which `Date.parse` takes one of the next month. */
function midnight(date: string): number {
  const ms = Date.parse(`${date}T00:00:00Z`)
  return Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(date) ? Number.NaN : ms
}

/** The bytes of a text of either alphabet, with or without padding; null when it is not of one: `Buffer` passes over other characters. */
function base64(text: string): Uint8Array | null {
  const bytes = Buffer.from(text, 'base64')
  const plain = text
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/={0,2}$/, '')
  return bytes.toString('base64').replace(/=+$/, '') === plain ? new Uint8Array(bytes) : null
}

function example(type: Type): string {
  switch (type.kind) {
    case 'int':
    case 'long':
      return `a whole number (${type.kind})`
    case 'date':
      return 'a date such as 2026-01-31'
    case 'timestamp':
      return 'a time such as 2026-01-31T12:00:00'
    case 'timestamptz':
      return 'a time such as 2026-01-31T12:00:00Z'
    case 'binary':
    case 'fixed':
      return 'bytes as base64'
    default:
      return `a value of type ${typeText(type)}`
  }
}
