import { assert } from '../base/index.ts'
import type { Type } from '../data/index.ts'
import { distinctNames, duckType, quoteName } from './duck-types.ts'

/** A column of a data file, or what is inside one, as its footer says. */
export interface FileColumn {
  readonly name: string
  readonly fieldId: number | null
  /** Fields of a struct; of a list its one element, of a map its key and value, without the groups between. */
  readonly children: readonly FileColumn[]
}

/** One row of `parquet_schema`, in the order of the file: a parent comes before its children. */
export interface SchemaElement {
  readonly name: string
  readonly type: string | null
  readonly children: number
  readonly fieldId: number | null
  /** Whether it stands for many: the group inside a list or a map. */
  readonly repeated: boolean
}

/** The columns of a file, without the root. */
export function fileColumns(elements: readonly SchemaElement[]): FileColumn[] {
  let at = 1
  const take = (): FileColumn => {
    const { name, fieldId, children: count } = elements[at++]
    const children: FileColumn[] = []
    for (let i = 0; i < count; i++) {
      const { repeated, children: inner } = elements[at]
      const child = take()
      if (repeated && inner > 0) children.push(...child.children)
      else children.push(child)
    }
    return { name, fieldId, children }
  }
  const columns: FileColumn[] = []
  while (at < elements.length) columns.push(take())
  return columns
}

/**
 * SQL for a column of a file as a type of the table. DuckDB matches the fields of structs by name, and a file may have other names:
 * those of before a rename, or without characters that Parquet readers do not take. Then they are taken by field id, one by one.
 */
export function columnAs(sql: string, column: FileColumn, type: Type): string {
  return needsMapping(column, type) ? mapped(sql, column, type, 0) : `CAST(${sql} AS ${duckType(type)})`
}

/** Where the parts of a nested type lie in a file; −1 for those it does not have. */
function partsOf(column: FileColumn, type: Type): { readonly type: Type; readonly place: number }[] {
  switch (type.kind) {
    case 'list':
      return [{ type: type.element, place: 0 }]
    case 'map':
      return [
        { type: type.key, place: 0 },
        { type: type.value, place: 1 },
      ]
    case 'struct': {
      const withIds = column.children.some(({ fieldId }) => fieldId !== null)
      return type.fields.map((field) => ({
        type: field.type,
        place: column.children.findIndex((child) =>
          withIds && field.id > 0 ? child.fieldId === field.id : child.name === field.name,
        ),
      }))
    }
    default:
      return []
  }
}

function needsMapping(column: FileColumn, type: Type): boolean {
  const parts = partsOf(column, type)
  const inner = parts.some((part) => part.place >= 0 && needsMapping(column.children[part.place], part.type))
  if (inner || type.kind !== 'struct') return inner
  // A field that was dropped and one that came under its name have different ids: the name alone would mix them up.
  return (
    type.fields.some(({ name }, i) => column.children.findIndex((child) => child.name === name) !== parts[i].place) ||
    parts.every(({ place }) => place < 0)
  )
}

function mapped(sql: string, column: FileColumn, type: Type, depth: number): string {
  if (!needsMapping(column, type)) return `CAST(${sql} AS ${duckType(type)})`
  const parts = partsOf(column, type)
  const item = `x${depth}`
  const part = (i: number, of: string): string => {
    const { place, type: its } = parts[i]
    return place < 0 ? `CAST(NULL AS ${duckType(its)})` : mapped(of, column.children[place], its, depth + 1)
  }
  switch (type.kind) {
    case 'list':
      return `list_transform(${sql}, lambda ${item}: ${part(0, item)})`
    case 'map': {
      const entry = `struct_pack(key := ${part(0, `${item}.key`)}, value := ${part(1, `${item}.value`)})`
      return `map_from_entries(list_transform(map_entries(${sql}), lambda ${item}: ${entry}))`
    }
    case 'struct': {
      const names = distinctNames(type.fields.map(({ name }) => name))
      const fields = names.map(
        (name, i) => `${quoteName(name)} := ${part(i, `struct_extract_at(${sql}, ${parts[i].place + 1})`)}`,
      )
      return `CASE WHEN ${sql} IS NOT NULL THEN struct_pack(${fields.join(', ')}) END`
    }
    default:
      assert(false, 'only nested types have parts')
      return sql
  }
}
