import duckdb from '@duckdb/node-bindings'
import type { LogicalType } from '@duckdb/node-bindings'
import type { ArrowColumn, ArrowType, TimeUnit } from '../format/arrow/index.ts'
import {
  ArrayVector,
  BooleanVector,
  ListVector,
  NullVector,
  PlainVector,
  RewrittenVector,
  StructVector,
  TextVector,
  hugeRewrite,
  uuidRewrite,
  widened,
} from './arrow-vectors.ts'
import type { ArrowVector } from './arrow-vectors.ts'
import { cellWriter } from './cells.ts'
import { StringWriter } from './scalar-cells.ts'

const { Type: Id } = duckdb

/** A column of a result as Arrow has it, and what collects its values. */
export interface ArrowResultColumn {
  readonly column: ArrowColumn
  readonly vector: ArrowVector
}

/** Types whose values are the same bytes: their width, and Arrow's type. */
const plainTypes = new Map<number, { readonly width: number; readonly type: ArrowType }>([
  [Id.TINYINT, { width: 1, type: { kind: 'int', bits: 8, signed: true } }],
  [Id.SMALLINT, { width: 2, type: { kind: 'int', bits: 16, signed: true } }],
  [Id.INTEGER, { width: 4, type: { kind: 'int', bits: 32, signed: true } }],
  [Id.BIGINT, { width: 8, type: { kind: 'int', bits: 64, signed: true } }],
  [Id.UTINYINT, { width: 1, type: { kind: 'int', bits: 8, signed: false } }],
  [Id.USMALLINT, { width: 2, type: { kind: 'int', bits: 16, signed: false } }],
  [Id.UINTEGER, { width: 4, type: { kind: 'int', bits: 32, signed: false } }],
  [Id.UBIGINT, { width: 8, type: { kind: 'int', bits: 64, signed: false } }],
  [Id.FLOAT, { width: 4, type: { kind: 'float', bits: 32 } }],
  [Id.DOUBLE, { width: 8, type: { kind: 'float', bits: 64 } }],
  [Id.DATE, { width: 4, type: { kind: 'date', unit: 'day' } }],
  [Id.TIME, { width: 8, type: { kind: 'time', unit: 'us', bits: 64 } }],
  [Id.TIME_NS, { width: 8, type: { kind: 'time', unit: 'ns', bits: 64 } }],
  [Id.TIMESTAMP_S, timestamp('s')],
  [Id.TIMESTAMP_MS, timestamp('ms')],
  [Id.TIMESTAMP, timestamp('us')],
  [Id.TIMESTAMP_NS, timestamp('ns')],
  [Id.TIMESTAMP_TZ, { width: 8, type: { kind: 'timestamp', unit: 'us', zoned: true } }],
])

function timestamp(unit: TimeUnit): { readonly width: number; readonly type: ArrowType } {
  return { width: 8, type: { kind: 'timestamp', unit, zoned: false } }
}

/**
 * A column of the result. What Arrow has no type for comes as its text (INTERVAL, TIMETZ, BIT, ENUM, UNION). Throws `unsupported` for
 * types that have none. `max`: most bytes of one buffer.
 */
export function arrowColumn(name: string, type: LogicalType, max: number): ArrowResultColumn {
  const id = duckdb.get_type_id(type)
  const plain = plainTypes.get(id)
  if (plain) return leaf(name, plain.type, new PlainVector(plain.width, max))
  switch (id) {
    case Id.SQLNULL:
      return leaf(name, { kind: 'null' }, new NullVector(max))
    case Id.BOOLEAN:
      return leaf(name, { kind: 'bool' }, new BooleanVector(max))
    case Id.HUGEINT:
    case Id.UHUGEINT: {
      const wide: ArrowType = { kind: 'decimal', precision: 38, scale: 0, bits: 128 }
      return leaf(name, wide, new RewrittenVector(16, 16, hugeRewrite(id === Id.HUGEINT), max))
    }
    case Id.DECIMAL:
      return decimal(name, type, max)
    case Id.UUID: {
      const found = leaf(name, { kind: 'fixed', width: 16 }, new RewrittenVector(16, 16, uuidRewrite, max))
      return { ...found, column: { ...found.column, extension: 'arrow.uuid' } }
    }
    case Id.VARCHAR:
    case Id.BLOB: {
      const bytes = new StringWriter((value, sink) => sink.append(value))
      return leaf(name, { kind: id === Id.BLOB ? 'binary' : 'utf8', large: false }, new TextVector(bytes, max))
    }
    case Id.LIST:
      return list(name, { kind: 'list', large: false }, arrowColumn('item', duckdb.list_type_child_type(type), max), max)
    case Id.ARRAY: {
      const size = duckdb.array_type_array_size(type)
      const item = arrowColumn('item', duckdb.array_type_child_type(type), max)
      const found = leaf(name, { kind: 'fixed-list', size }, new ArrayVector(item.vector, size, max))
      return { ...found, column: { ...found.column, children: [item.column] } }
    }
    case Id.MAP: {
      const key = arrowColumn('key', duckdb.map_type_key_type(type), max)
      const value = arrowColumn('value', duckdb.map_type_value_type(type), max)
      const entries = struct('entries', [required(key), value], max)
      return list(name, { kind: 'map' }, required(entries), max)
    }
    case Id.STRUCT: {
      const count = duckdb.struct_type_child_count(type)
      // Members of a row without names are known by their numbers.
      const members = Array.from({ length: count }, (_, i) =>
        arrowColumn(duckdb.struct_type_child_name(type, i) || String(i + 1), duckdb.struct_type_child_type(type, i), max),
      )
      return struct(name, members, max)
    }
    default:
      return leaf(name, { kind: 'utf8', large: false }, new TextVector(cellWriter(type, { numbersAsStrings: false }), max))
  }
}

function leaf(name: string, type: ArrowType, vector: ArrowVector): ArrowResultColumn {
  return { column: { name, nullable: true, type, children: [] }, vector }
}

function required({ column, vector }: ArrowResultColumn): ArrowResultColumn {
  return { column: { ...column, nullable: false }, vector }
}

function list(name: string, type: ArrowType, item: ArrowResultColumn, max: number): ArrowResultColumn {
  return { column: { name, nullable: true, type, children: [item.column] }, vector: new ListVector(item.vector, max) }
}

function struct(name: string, members: readonly ArrowResultColumn[], max: number): ArrowResultColumn {
  const children = members.map(({ column }) => column)
  const vector = new StructVector(
    members.map((member) => member.vector),
    max,
  )
  return { column: { name, nullable: true, type: { kind: 'struct' }, children }, vector }
}

function decimal(name: string, type: LogicalType, max: number): ArrowResultColumn {
  const wide: ArrowType = {
    kind: 'decimal',
    precision: duckdb.decimal_width(type),
    scale: duckdb.decimal_scale(type),
    bits: 128,
  }
  switch (duckdb.decimal_internal_type(type)) {
    case Id.SMALLINT:
      return leaf(name, wide, new RewrittenVector(2, 16, widened[2], max))
    case Id.INTEGER:
      return leaf(name, wide, new RewrittenVector(4, 16, widened[4], max))
    case Id.BIGINT:
      return leaf(name, wide, new RewrittenVector(8, 16, widened[8], max))
    default:
      return leaf(name, wide, new PlainVector(16, max))
  }
}
