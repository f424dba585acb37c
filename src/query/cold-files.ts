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
  /** Whether its files have deletes. */
  readonly deletes: boolean
}

/** DuckDB counts bits with 32-bit numbers. */
const maxBits = 2 ** 31 - 8

/**
 * Most rows of one file whose deletes are in one constant. DuckDB copies a constant for each 2048 rows that it is used with, so that with
 * longer ones that costs each row more than the look at its bit.
 */
const pieceRows = 1 << 21

/**
 * Large files with deletes are read alone: then the number of a row in its file is its place in the bits. Where several are read together
 * the file counts as well, and the bits are those of all of them, so they are no more than this, if that can be helped. A file that is
 * read alone costs as much as that for so many rows when the query is planned.
 */
const leastAloneRows = 131_072
const maxAlone = 64
const bitsTogether = 1 << 18
/** Of files that are read together there are so many groups at most, or a few more. */
const maxGroups = 256

/**
 * Groups the files of a view, by nothing that changes while each has deletes or none. The order of rows across files means nothing, and is
 * the same each time.
 */
export function coldBranches(files: readonly ViewFile[], layouts: ReadonlyMap<string, FileLayout>): ColdBranch[] {
  const together = filesTogether(files.filter(({ deleted }) => deleted !== null))
  const groups = new Map<string, { files: ViewFile[]; layout: FileLayout; deletes: boolean }>()
  for (const file of files) {
    const layout = layouts.get(file.path)
    assert(layout, 'the layout of a file is known before it is read')
    const key = `${together.get(file) ?? ''} ${layout.key}`
    const group = groups.get(key)
    if (group) group.files.push(file)
    else groups.set(key, { files: [file], layout, deletes: file.deleted !== null })
  }
  return [...groups.values()]
}

/** Files with deletes that may be read together have the same number. They are of alike sizes, because each has as many bits as the largest. */
function filesTogether(files: readonly ViewFile[]): Map<ViewFile, number> {
  const sorted = files.toSorted((a, b) => b.rows - a.rows)
  const alone = sorted.slice(0, maxAlone).filter(({ rows }) => rows >= leastAloneRows).length
  const rest = sorted.slice(alone)
  const rows = rest.reduce((sum, file) => sum + file.rows, 0)
  const most = Math.min(maxBits, Math.max(bitsTogether, rows / maxGroups))
  const numbers = new Map(sorted.slice(0, alone).map((file, i) => [file, i]))
  let number = alone
  let left = 0
  for (const file of rest) {
    if (left === 0) {
      number++
      left = Math.max(1, Math.floor(most / strideOf([file])))
    }
    numbers.set(file, number)
    left--
  }
  return numbers
}

/** How many bits each of some files has. */
function strideOf(files: readonly ViewFile[]): number {
  return files.reduce((most, { rows }) => Math.max(most, Math.ceil(rows / 8) * 8), 8)
}

/** How many constants the deletes of a branch are: several where one large file is read alone. */
export function piecesOf({ files, deletes }: ColdBranch): number {
  return !deletes ? 0 : files.length > 1 ? 1 : Math.max(1, Math.ceil(files[0].rows / pieceRows))
}

/** The constants with a branch's deletes, of DuckDB's BIT: a byte with the number of padding bits, here none, then bits from the highest down. */
export function deleteBits(branch: ColdBranch): Uint8Array[] {
  const { files } = branch
  const stride = strideOf(files)
  const pieces = piecesOf(branch)
  return Array.from({ length: pieces }, (_, piece) => {
    const bits = pieces === 1 ? stride : Math.min(pieceRows, stride - piece * pieceRows)
    const out = new Uint8Array(1 + (files.length * bits) / 8)
    for (const [i, { deleted }] of files.entries()) {
      assert(deleted, 'only files with deletes are in this branch')
      const from = (piece * pieceRows) / 8
      const to = Math.min(deleted.length, from + bits / 8)
      for (let byte = from, at = 1 + (i * bits) / 8; byte < to; byte++) out[at++] = highestFirst[deleted[byte]]
    }
    return out
  })
}

/** Bytes with their bits the other way round. */
const highestFirst = Uint8Array.from({ length: 256 }, (_, byte) => {
  let reversed = 0
  for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) reversed |= 0x80 >> bit
  return reversed
})

/**
 * The SELECT of one branch. Columns are addressed by field id where the file has ids: by the name that the file gives to the
 * id, because DuckDB reads by name on all its threads and by `schema = MAP {id: …}` on one.
 *
 * @param variables of DuckDB, with the {@link deleteBits} of the branch
 */
export function branchQuery(
  fields: readonly Field[],
  names: readonly string[],
  branch: ColdBranch,
  variables: readonly string[],
): string {
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
  return !branch.deletes ? select : `${select} WHERE get_bit(${bitsSql(variables)}, ${placeSql(branch)}) = 0`
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

/** The constant with a row's bit. Constants are chosen for 2048 rows at a time, as a rule: those of the others are not looked at. */
function bitsSql(variables: readonly string[], first = 0): string {
  if (variables.length === 1) return `getvariable(${quoteText(variables[0])})`
  const half = (variables.length + 1) >> 1
  const [low, high] = [bitsSql(variables.slice(0, half), first), bitsSql(variables.slice(half), first + half)]
  return `CASE WHEN file_row_number < ${(first + half) * pieceRows} THEN ${low} ELSE ${high} END`
}

/** The place of a row's bit in its constant. */
function placeSql(branch: ColdBranch): string {
  if (branch.files.length > 1) return `file_index::INTEGER * ${strideOf(branch.files)} + file_row_number::INTEGER`
  return piecesOf(branch) > 1 ? `(file_row_number & ${pieceRows - 1})::INTEGER` : 'file_row_number::INTEGER'
}

function pathList(paths: readonly string[]): string {
  return `[${paths.map((path) => quoteText(literalPath(path))).join(', ')}]`
}

/** DuckDB takes paths for patterns. */
function literalPath(path: string): string {
  return path.replace(/[*?[]/g, (special) => `[${special}]`)
}
