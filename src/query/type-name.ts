import duckdb from '@duckdb/node-bindings'
import type { LogicalType } from '@duckdb/node-bindings'

const { Type: Id } = duckdb

/** DuckDB's name of a type, as DESCRIBE prints it. */
export function typeName(type: LogicalType): string {
  const id = duckdb.get_type_id(type)
  const named = (name: string): string => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`)
  switch (id) {
    case Id.DECIMAL:
      return `DECIMAL(${duckdb.decimal_width(type)},${duckdb.decimal_scale(type)})`
    case Id.TIMESTAMP_TZ:
      return 'TIMESTAMP WITH TIME ZONE'
    case Id.TIME_TZ:
      return 'TIME WITH TIME ZONE'
    case Id.SQLNULL:
      return 'NULL'
    case Id.LIST:
      return `${typeName(duckdb.list_type_child_type(type))}[]`
    case Id.ARRAY:
      return `${typeName(duckdb.array_type_child_type(type))}[${duckdb.array_type_array_size(type)}]`
    case Id.MAP:
      return `MAP(${typeName(duckdb.map_type_key_type(type))}, ${typeName(duckdb.map_type_value_type(type))})`
    case Id.STRUCT: {
      const fields = Array.from(
        { length: duckdb.struct_type_child_count(type) },
        (_, i) => `${named(duckdb.struct_type_child_name(type, i))} ${typeName(duckdb.struct_type_child_type(type, i))}`,
      )
      return `STRUCT(${fields.join(', ')})`
    }
    case Id.UNION: {
      const members = Array.from(
        { length: duckdb.union_type_member_count(type) },
        (_, i) => `${named(duckdb.union_type_member_name(type, i))} ${typeName(duckdb.union_type_member_type(type, i))}`,
      )
      return `UNION(${members.join(', ')})`
    }
    default:
      return Id[id] ?? 'UNKNOWN'
  }
}
