import duckdb from '@duckdb/node-bindings'
import type { LogicalType } from '@duckdb/node-bindings'
import { FrazilError } from '../base/index.ts'
import type { CellWriter } from './cell-writer.ts'
import { writeDate, writeTime, writeTimestamp } from './moments.ts'
import { ArrayWriter, ListWriter, MapWriter, StructWriter, TupleWriter, UnionWriter } from './nested-cells.ts'
import {
  EnumWriter,
  FloatWriter,
  StringWriter,
  bitText,
  decimal,
  fixed,
  hugeint,
  writeBigint,
  writeInteger,
  writeInterval,
  writeTimeTz,
  writeUuid,
} from './scalar-cells.ts'
import { typeName } from './type-name.ts'

export interface CellOptions {
  /** Write 64-bit and longer integers and decimals as JSON strings. */
  readonly numbersAsStrings: boolean
}

const { Type: Id } = duckdb

/** A writer for a column's type. Throws `unsupported` for types without a text of their own. */
export function cellWriter(type: LogicalType, options: CellOptions): CellWriter {
  const id = duckdb.get_type_id(type)
  const exact = options.numbersAsStrings
  switch (id) {
    case Id.BOOLEAN:
      return fixed(1, false, (view, at, sink) => sink.ascii(view.getUint8(at) === 0 ? 'false' : 'true'))
    case Id.TINYINT:
      return fixed(1, false, (view, at, sink) => writeInteger(view.getInt8(at), sink))
    case Id.SMALLINT:
      return fixed(2, false, (view, at, sink) => writeInteger(view.getInt16(at, true), sink))
    case Id.INTEGER:
      return fixed(4, false, (view, at, sink) => writeInteger(view.getInt32(at, true), sink))
    case Id.UTINYINT:
      return fixed(1, false, (view, at, sink) => sink.digits(view.getUint8(at)))
    case Id.USMALLINT:
      return fixed(2, false, (view, at, sink) => sink.digits(view.getUint16(at, true)))
    case Id.UINTEGER:
      return fixed(4, false, (view, at, sink) => sink.digits(view.getUint32(at, true)))
    case Id.BIGINT:
      return fixed(8, exact, writeBigint)
    case Id.UBIGINT:
      return fixed(8, exact, (view, at, sink) => sink.ascii(String(view.getBigUint64(at, true))))
    case Id.HUGEINT:
      return fixed(16, exact, (view, at, sink) => sink.ascii(String(hugeint(view, at))))
    case Id.UHUGEINT:
      return fixed(16, exact, (view, at, sink) => sink.ascii(String(BigInt.asUintN(128, hugeint(view, at)))))
    case Id.FLOAT:
      return new FloatWriter(4)
    case Id.DOUBLE:
      return new FloatWriter(8)
    case Id.DECIMAL:
      return decimal(type, exact)
    case Id.DATE:
      return fixed(4, true, (view, at, sink) => writeDate(view.getInt32(at, true), sink))
    case Id.TIME:
      return fixed(8, true, (view, at, sink) => writeTime(view.getBigInt64(at, true), 6, sink))
    case Id.TIME_NS:
      return fixed(8, true, (view, at, sink) => writeTime(view.getBigInt64(at, true), 9, sink))
    case Id.TIME_TZ:
      return fixed(8, true, writeTimeTz)
    case Id.TIMESTAMP_S:
      return fixed(8, true, (view, at, sink) => writeTimestamp(view.getBigInt64(at, true), 0, '', sink))
    case Id.TIMESTAMP_MS:
      return fixed(8, true, (view, at, sink) => writeTimestamp(view.getBigInt64(at, true), 3, '', sink))
    case Id.TIMESTAMP:
      return fixed(8, true, (view, at, sink) => writeTimestamp(view.getBigInt64(at, true), 6, '', sink))
    case Id.TIMESTAMP_TZ:
      return fixed(8, true, (view, at, sink) => writeTimestamp(view.getBigInt64(at, true), 6, 'Z', sink))
    case Id.TIMESTAMP_NS:
      return fixed(8, true, (view, at, sink) => writeTimestamp(view.getBigInt64(at, true), 9, '', sink))
    case Id.INTERVAL:
      return fixed(16, true, writeInterval)
    case Id.UUID:
      return fixed(16, true, writeUuid)
    case Id.ENUM:
      return new EnumWriter(type)
    case Id.VARCHAR:
      return new StringWriter((bytes, sink) => sink.append(bytes))
    case Id.BLOB:
      return new StringWriter((bytes, sink) => {
        sink.expect(Math.ceil(bytes.length / 3) * 4)
        sink.ascii(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64'))
      })
    case Id.BIT:
      return new StringWriter((bytes, sink) => {
        sink.expect((bytes.length - 2) * 8)
        sink.ascii(bitText(bytes))
      })
    case Id.LIST:
      return new ListWriter(cellWriter(duckdb.list_type_child_type(type), options))
    case Id.ARRAY:
      return new ArrayWriter(cellWriter(duckdb.array_type_child_type(type), options), duckdb.array_type_array_size(type))
    case Id.MAP:
      return new MapWriter(
        cellWriter(duckdb.map_type_key_type(type), options),
        cellWriter(duckdb.map_type_value_type(type), options),
      )
    case Id.STRUCT:
      return structWriter(type, options)
    case Id.UNION:
      return unionWriter(type, options)
    case Id.SQLNULL:
      return fixed(0, false, () => {})
    default:
      throw new FrazilError('unsupported', 'result-type', `a column of the result has the type ${typeName(type)}`, {
        hint: 'cast it to VARCHAR',
      })
  }
}

function structWriter(type: LogicalType, options: CellOptions): CellWriter {
  const indexes = Array.from({ length: duckdb.struct_type_child_count(type) }, (_, i) => i)
  const fields = indexes.map((i) => cellWriter(duckdb.struct_type_child_type(type, i), options))
  const names = indexes.map((i) => duckdb.struct_type_child_name(type, i))
  // A row without names is a list.
  return names.every((name) => name === '') ? new TupleWriter(fields) : new StructWriter(names, fields)
}

function unionWriter(type: LogicalType, options: CellOptions): CellWriter {
  const indexes = Array.from({ length: duckdb.union_type_member_count(type) }, (_, i) => i)
  return new UnionWriter(indexes.map((i) => cellWriter(duckdb.union_type_member_type(type, i), options)))
}
