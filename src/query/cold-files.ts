import { FrazilError, assert } from '../base/index.ts'
import { isNested } from '../data/index.ts'
import type { Field } from '../data/index.ts'
import type { ViewFile } from './contract.ts'
import { distinctNames, duckType, foldCase, quoteName, quoteText } from './duck-types.ts'
import { columnAs, fileColumns } from './file-schema.ts'
import type { FileColumn, SchemaElement } from './file-schema.ts'

/** What a data file's footer says of its columns, as far as queries care. Files with the same `key` are read together. */
export interface FileLayout {
  readonly key: string
  readonly columns: readonly FileColumn[]
}

/** The statement that asks for the {@link SchemaElement}s of files: columns file_name, name, duckdb_type, num_children, field_id, repetition_type. */
export function layoutQuery(paths: readonly string[]): string {
  return `SELECT file_name, name, duckdb_type, num_children, field_id, repetition_type FROM parquet_schema(${pathList(paths)})`
}

export function layoutOfFile(elements: readonly SchemaElement[]): FileLayout {
  return {
    key: JSON.stringify(elements.slice(1).map((e) => [e.name, e.type, e.children, e.fieldId])),
    columns: fileColumns(elements),
  }
}

/** Rows that one branch of a view reads: files of one layout, either all without deletes or all with. */
export interface ColdBranch {
  readonly files: readonly ViewFile[]
  readonly layout: FileLayout
  /** The deletes of all its files as one DuckDB BIT value, file after file; null where nothing is deleted. */
  readonly deleted: Uint8Array | null
}

/** DuckDB counts bits with 32-bit numbers. */
const maxBits = 2 ** 31 - 1

/**
 * Large files with deletes are read alone: then the number of a row in its file is its place in the bits. Where several are read together
 * it has to be added to what came before, which costs DuckDB as much for each row as looking at the bit; a file that is read alone costs
 * as much as so many rows when the query is planned.
 */
const leastAloneRows = 131_072
const maxAlone = 64

/** Groups the files of a view. The order of rows across files means nothing, and is the same each time. */
export function coldBranches(files: readonly ViewFile[], layouts: ReadonlyMap<string, FileLayout>): ColdBranch[] {
  const groups = new Map<string, { files: ViewFile[]; layout: FileLayout; rows: number; deletes: boolean }>()
  const large = files.filter(({ deleted, rows }) => deleted !== null && rows >= leastAloneRows)
  const alone = new Set(large.toSorted((a, b) => b.rows - a.rows).slice(0, maxAlone))
  for (const file of files) {
    const layout = layouts.get(file.path)
    assert(layout, 'the layout of a file is known before it is read')
    const deletes = file.deleted !== null
    const key = `${deletes} ${alone.has(file) ? file.path : ''} ${layout.key}`
    let group = groups.get(key)
    if (!group || (deletes && group.rows + file.rows > maxBits)) {
      if (group) groups.set(`${key} ${groups.size}`, group)
      group = { files: [], layout, rows: 0, deletes }
      groups.set(key, group)
    }
    group.files.push(file)
    group.rows += file.rows
  }
  return [...groups.values()].map((group) => ({
    files: group.files,
    layout: group.layout,
    deleted: group.deletes ? bitValue(group.files, group.rows) : null,
  }))
}

/** DuckDB's BIT: a byte with the number of padding bits, then bits from the highest down, the padding (ones) first. */
function bitValue(files: readonly ViewFile[], rows: number): Uint8Array {
  const padding = (8 - (rows & 7)) & 7
  const out = new Uint8Array(1 + ((rows + padding) >> 3))
  out[0] = padding
  if (padding > 0) out[1] = 0xff & ~(0xff >> padding)
  let base = padding
  for (const { deleted, rows } of files) {
    assert(deleted, 'only files with deletes are in this branch')
    for (let byte = 0; byte < deleted.length; byte++) {
      for (let left = deleted[byte]; left !== 0; left &= left - 1) {
        const position = byte * 8 + 31 - Math.clz32(left & -left)
        if (position >= rows) break
        const bit = base + position
        out[1 + (bit >> 3)] |= 0x80 >> (bit & 7)
      }
    }
    base += rows
  }
  return out
}

/**
 * The SELECT of one branch. Columns are addressed by field id where the file has ids: by the name that the file gives to the
 * id, because DuckDB reads by name on all its threads and by `schema = MAP {id: …}` on one.
 */
export function branchQuery(fields: readonly Field[], names: readonly string[], branch: ColdBranch, variable: string): string {
  const { layout } = branch
  const fileNames = distinctNames(layout.columns.map((column) => column.name))
  const withIds = layout.columns.some((column) => column.fieldId !== null)
  const byId = fileNames.some((name) => virtualColumns.has(foldCase(name)))
  const columns = fields.map((field, i) => {
    const index = layout.columns.findIndex((column) =>
      withIds && field.id > 0 ? column.fieldId === field.id : column.name === field.name,
    )
    const type = duckType(field.type)
    if (index < 0) return `CAST(${initialSql(field)} AS ${type}) AS ${quoteName(names[i])}`
    const value = byId
      ? `CAST(${renamed(field.id)} AS ${type})`
      : columnAs(quoteName(fileNames[index]), layout.columns[index], field.type)
    return `${value} AS ${quoteName(names[i])}`
  })
  const options = ['hive_partitioning = false']
  if (byId) options.push(`schema = ${schemaMap(fields, layout)}`)
  const select = `SELECT ${columns.join(', ')} FROM read_parquet(${pathList(branch.files.map((file) => file.path))}, ${options.join(', ')})`
  return branch.deleted === null
    ? select
    : `${select} WHERE get_bit(getvariable(${quoteText(variable)}), ${position(branch.files)}) = 0`
}

/** What rows of a file have in a field that came after it. */
function initialSql({ name, type, initialDefault }: Field): string {
  if (initialDefault === undefined) return 'NULL'
  if (isNested(type)) throw new FrazilError('unsupported', 'default-value', `column ${name} has a default of a nested type`)
  const quoted = initialDefault.startsWith('"')
  const text = quoteText(quoted ? String(JSON.parse(initialDefault)) : initialDefault)
  return type.kind === 'binary' || type.kind === 'fixed' ? `from_hex(${text})` : text
}

/** Names that DuckDB gives to what is not in a file: a column of the same name would hide them. */
const virtualColumns = new Set(['file_row_number', 'file_index', 'filename'])

function renamed(fieldId: number): string {
  return `field_${fieldId}`
}

function schemaMap(fields: readonly Field[], layout: FileLayout): string {
  const entries = fields
    .filter((field) => layout.columns.some((column) => column.fieldId === field.id && field.id > 0))
    .map(({ id, type }) => `${id}: {name: '${renamed(id)}', type: ${quoteText(duckType(type))}, default_value: NULL}`)
  if (entries.length === 0) {
    const clash = layout.columns.find((column) => virtualColumns.has(foldCase(column.name)))
    throw new FrazilError('unsupported', 'column-name', `a data file without field ids has a column named ${clash?.name}`)
  }
  return `MAP {${entries.join(', ')}}`
}

/** The ordinal of a row among all rows of a branch's files. */
function position(files: readonly ViewFile[]): string {
  if (files.length === 1) return 'file_row_number::INTEGER'
  let rows = 0
  const starts = files.map((file) => {
    const start = rows
    rows += file.rows
    return start
  })
  return `([${starts.join(',')}][file_index::INTEGER + 1] + file_row_number)::INTEGER`
}

function pathList(paths: readonly string[]): string {
  return `[${paths.map((path) => quoteText(literalPath(path))).join(', ')}]`
}

/** DuckDB takes paths for patterns. */
function literalPath(path: string): string {
  return path.replace(/[*?[]/g, (special) => `[${special}]`)
}
