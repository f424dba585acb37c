import duckdb from '@duckdb/node-bindings'
import type { LogicalType } from '@duckdb/node-bindings'
import type { Type } from '../data/index.ts'

/** A name as a quoted SQL identifier. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** Text as an SQL literal. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/**
 * Names as DuckDB gives them to columns: it compares identifiers without regard to ASCII case, so a name that was taken before
 * gets `_1`, `_2`, …
 */
export function distinctNames(names: readonly string[]): string[] {
  const taken = new Set<string>()
  return names.map((name) => {
    let distinct = name
    for (let i = 1; taken.has(foldCase(distinct)); i++) distinct = `${name}_${i}`
    taken.add(foldCase(distinct))
    return distinct
  })
}

/** What DuckDB compares of an identifier: only ASCII letters lose their case. */
export function foldCase(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/** DuckDB's type for one of ours, as SQL text. Hot and cold rows of a column have this very type. */
export function duckType(type: Type): string {
  switch (type.kind) {
    case 'boolean':
      return 'BOOLEAN'
    case 'int':
      return 'INTEGER'
    case 'long':
      return 'BIGINT'
    case 'float':
      return 'FLOAT'
    case 'double':
      return 'DOUBLE'
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`
    case 'date':
      return 'DATE'
    case 'time':
      return 'TIME'
    case 'timestamp':
      return 'TIMESTAMP'
    case 'timestamptz':
      return 'TIMESTAMP WITH TIME ZONE'
    case 'string':
      return 'VARCHAR'
    case 'uuid':
      return 'UUID'
    case 'binary':
    case 'fixed':
      return 'BLOB'
    case 'list':
      return `${duckType(type.element)}[]`
    case 'map':
      return `MAP(${duckType(type.key)}, ${duckType(type.value)})`
    case 'struct': {
      const names = distinctNames(type.fields.map((field) => field.name))
      return `STRUCT(${type.fields.map((field, i) => `${quoteName(names[i])} ${duckType(field.type)}`).join(', ')})`
    }
  }
}

const { Type: Id } = duckdb

/** The same as {@link duckType}, as the object that DuckDB's C interface takes. */
export function logicalType(type: Type): LogicalType {
  switch (type.kind) {
    case 'boolean':
      return duckdb.create_logical_type(Id.BOOLEAN)
    case 'int':
      return duckdb.create_logical_type(Id.INTEGER)
    case 'long':
      return duckdb.create_logical_type(Id.BIGINT)
    case 'float':
      return duckdb.create_logical_type(Id.FLOAT)
    case 'double':
      return duckdb.create_logical_type(Id.DOUBLE)
    case 'decimal':
      return duckdb.create_decimal_type(type.precision, type.scale)
    case 'date':
      return duckdb.create_logical_type(Id.DATE)
    case 'time':
      return duckdb.create_logical_type(Id.TIME)
    case 'timestamp':
      return duckdb.create_logical_type(Id.TIMESTAMP)
    case 'timestamptz':
      return duckdb.create_logical_type(Id.TIMESTAMP_TZ)
    case 'string':
      return duckdb.create_logical_type(Id.VARCHAR)
    case 'uuid':
      return duckdb.create_logical_type(Id.UUID)
    case 'binary':
    case 'fixed':
      return duckdb.create_logical_type(Id.BLOB)
    case 'list':
      return duckdb.create_list_type(logicalType(type.element))
    case 'map':
      return duckdb.create_map_type(logicalType(type.key), logicalType(type.value))
    case 'struct':
      return duckdb.create_struct_type(
        type.fields.map((field) => logicalType(field.type)),
        distinctNames(type.fields.map((field) => field.name)),
      )
  }
}
