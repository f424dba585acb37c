import { columnOf as columnOfValues, decodeValue, isNested, widthOf } from '../data/index.ts'
import type { Field, Value } from '../data/index.ts'
import { columnStats } from '../table/index.ts'
import type { ColumnStats } from '../table/index.ts'
import type { ViewFile } from './contract.ts'
import { distinctNames, foldCase, quoteName } from './duck-types.ts'
import type { Condition, Constant } from './filters.ts'
import { HotTable, hotFunction } from './hot-scan.ts'
import type { SentParameter } from './messages.ts'

/**
 * What is known of files, as a table that DuckDB compares constants with: it has a row for each file, and of each column that
 * conditions name four columns. So a constant is converted and compared in the same way as in the statement itself.
 */
export interface FileTable {
  readonly table: HotTable
  /** Places in `fields` of the columns. */
  readonly columns: readonly number[]
}

/** A statement that gives the numbers of the files which may have rows that meet a condition, with its parameters. */
export interface FileQuery {
  readonly sql: string
  readonly params: readonly SentParameter[]
}

/** Places in `fields` of the columns that conditions name, ascending; columns that nothing is known of are left out. */
export function filteredColumns(conditions: readonly Condition[], fields: readonly Field[]): number[] {
  const names = distinctNames(fields.map(({ name }) => name)).map(foldCase)
  const found = new Set<number>()
  const visit = (condition: Condition): void => {
    if (condition.kind === 'all' || condition.kind === 'any') condition.of.forEach(visit)
    else {
      const column = names.indexOf(foldCase(condition.column))
      if (column >= 0 && !isNested(fields[column].type)) found.add(column)
    }
  }
  conditions.forEach(visit)
  return [...found].sort((a, b) => a - b)
}

export function fileTable(files: readonly ViewFile[], fields: readonly Field[], columns: readonly number[]): FileTable {
  const number: Field = { id: 0, name: 'file', type: { kind: 'int' }, required: true }
  const flag = (name: string): Field => ({ id: 0, name, type: { kind: 'boolean' }, required: true })
  const tableColumns = [
    columnOfValues(
      number,
      files.map((_, i) => i),
    ),
  ]
  for (const column of columns) {
    const field = fields[column]
    const stats = files.map(({ stats: packed }) => (packed ? columnStats(packed, field.id) : null))
    const bound = (name: string, of: (known: ColumnStats) => Value) =>
      columnOfValues(
        { id: 0, name: `${name}${column}`, type: field.type, required: false },
        stats.map((known) => known && of(known)),
      )
    const isFloat = field.type.kind === 'float' || field.type.kind === 'double'
    tableColumns.push(
      bound('lower', ({ lower }) => boundValue(field, lower)),
      // NaN comes after all numbers in DuckDB, and in no bound.
      bound('upper', ({ upper, mayBeNan }) => (isFloat && mayBeNan ? NaN : boundValue(field, upper))),
      columnOfValues(
        flag(`null${column}`),
        stats.map((known) => known?.mayBeNull ?? true),
      ),
      columnOfValues(
        flag(`present${column}`),
        stats.map((known) => known?.mayBePresent ?? true),
      ),
    )
  }
  const table = new HotTable(tableColumns.map(({ field }) => field))
  const segment = { id: 0, capacity: files.length, columns: tableColumns, deletedAt: null, baseCommit: 0 }
  table.rows = { parts: [{ segment, from: 0, to: files.length }], commit: 0 }
  return { table, columns }
}

/** A bound as a value; null where it cannot be one of the column's type: then nothing is known. Old writers have NaN, which says nothing. */
export function boundValue(field: Field, bytes: Uint8Array | null): Value {
  const value = bytes && anyValue(field, bytes)
  return Number.isNaN(value) ? null : value
}

function anyValue({ type }: Field, bytes: Uint8Array): Value {
  const { length } = bytes
  const view = new DataView(bytes.buffer, bytes.byteOffset, length)
  switch (type.kind) {
    case 'boolean':
      return length === 1 ? bytes[0] !== 0 : null
    case 'long':
      // Of a column that was int when the file was written.
      if (length === 4) return BigInt(view.getInt32(0, true))
      break
    case 'double':
      if (length === 4) return view.getFloat32(0, true)
      break
    case 'decimal': {
      if (length === 0 || length > 16) return null
      return BigInt.asIntN(length * 8, BigInt(`0x${Buffer.from(bytes).toString('hex')}`))
    }
    default:
      break
  }
  const width = widthOf(type)
  return width === 0 || width === length ? decodeValue(type, bytes, 0, length) : null
}

/** The statement for files that may have rows which meet one of the conditions. */
export function fileQuery(
  number: number,
  { columns }: FileTable,
  conditions: readonly Condition[],
  fields: readonly Field[],
  params: readonly SentParameter[],
): FileQuery {
  const names = distinctNames(fields.map(({ name }) => name)).map(foldCase)
  const used: SentParameter[] = []
  const valueText = (value: Constant): string => {
    if ('sql' in value) return value.sql
    used.push(params[value.parameter - 1])
    return `$${used.length}`
  }
  const textOf = (condition: Condition): string => {
    if ('alike' in condition && !isOneType(condition.alike ?? [], params)) return 'true'
    if (condition.kind === 'all') return `(${condition.of.map(textOf).join(' AND ')})`
    if (condition.kind === 'any') return `(${condition.of.map(textOf).join(' OR ')})`
    const column = names.indexOf(foldCase(condition.column))
    if (!columns.includes(column)) return 'true'
    const name = (kind: string): string => quoteName(`${kind}${column}`)
    if (condition.kind !== 'compare') return name(condition.kind)
    const { op, value } = condition
    if (!isComparable(fields[column], value, params)) return 'true'
    const against = (bound: 'lower' | 'upper', operator: string): string =>
      `coalesce(${name(bound)} ${operator} ${valueText(value)}, ${name(bound)} IS NULL)`
    const terms = [name('present')]
    if (op !== '>' && op !== '>=') terms.push(against('lower', op === '=' ? '<=' : op))
    if (op !== '<' && op !== '<=') terms.push(against('upper', op === '=' ? '>=' : op))
    return `(${terms.join(' AND ')})`
  }
  const where = conditions.map(textOf).join(' OR ')
  return { sql: `SELECT file FROM ${hotFunction}(${number}) WHERE ${where} ORDER BY file`, params: used }
}

/**
 * Whether DuckDB compares the column with the constant so that bounds say something: as it is, or after a conversion that keeps the
 * order of its values. Texts are compared with texts only.
 */
function isComparable({ type }: Field, value: Constant, params: readonly SentParameter[]): boolean {
  if (type.kind !== 'string') return true
  return 'sql' in value ? value.type === 'text' || value.type === 'VARCHAR' : typeof params[value.parameter - 1] === 'string'
}

/** Whether parameters among constants are of one type. */
function isOneType(constants: readonly Constant[], params: readonly SentParameter[]): boolean {
  const types = constants.map((each) => {
    if ('sql' in each) return ''
    const value = params[each.parameter - 1]
    return Number.isSafeInteger(value) ? 'integer' : typeof value
  })
  return new Set(types).size <= 1
}
