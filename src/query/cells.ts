import duckdb from '@duckdb/node-bindings'
import type { LogicalType, Vector } from '@duckdb/node-bindings'
import { FrazilError } from '../base/index.ts'
import type { ByteSink } from './byte-sink.ts'
import { writeDate, writeTime, writeTimestamp } from './moments.ts'

/** Writes cells of one column as JSON or CSV. `load` takes the column's next vector, then rows of it are written. */
export interface CellWriter {
  load(vector: Vector, count: number): void
  isNull(row: number): boolean
  /** The JSON value of a row that is not null. */
  json(row: number, sink: ByteSink): void
  /** The text of a row that is not null, for CSV and for keys of JSON objects: unquoted. */
  plain(row: number, sink: ByteSink): void
}

export interface CellOptions {
  /** Write 64-bit and longer integers and decimals as JSON strings. */
  readonly numbersAsStrings: boolean
}

const { Type: Id } = duckdb
const quote = 0x22

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
      return new StringWriter((bytes, sink) =>
        sink.ascii(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')),
      )
    case Id.BIT:
      return new StringWriter((bytes, sink) => sink.ascii(bitText(bytes)))
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

/** Which rows of a vector have a value. */
abstract class NullableWriter implements CellWriter {
  #valid: Uint8Array | null = null

  load(vector: Vector, count: number): void {
    this.#valid = duckdb.vector_get_validity(vector, ((count + 63) >> 6) << 3)
  }

  isNull(row: number): boolean {
    return this.#valid !== null && this.#valid.length > 0 && (this.#valid[row >> 3] & (1 << (row & 7))) === 0
  }

  abstract json(row: number, sink: ByteSink): void
  abstract plain(row: number, sink: ByteSink): void
}

type WriteFixed = (view: DataView, at: number, sink: ByteSink) => void

/** Types of a fixed width; `write` writes plain ASCII text that needs no escaping. */
class FixedWriter extends NullableWriter {
  readonly #width: number
  readonly #quoted: boolean
  readonly #write: WriteFixed
  #view: DataView = new DataView(new ArrayBuffer(0))

  constructor(width: number, quoted: boolean, write: WriteFixed) {
    super()
    this.#width = width
    this.#quoted = quoted
    this.#write = write
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    if (this.#width === 0 || count === 0) return
    const data = duckdb.vector_get_data(vector, count * this.#width)
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  json(row: number, sink: ByteSink): void {
    if (this.#quoted) sink.byte(quote)
    this.#write(this.#view, row * this.#width, sink)
    if (this.#quoted) sink.byte(quote)
  }

  plain(row: number, sink: ByteSink): void {
    this.#write(this.#view, row * this.#width, sink)
  }
}

function fixed(width: number, quoted: boolean, write: WriteFixed): CellWriter {
  return new FixedWriter(width, quoted, write)
}

function writeInteger(value: number, sink: ByteSink): void {
  if (value < 0) sink.byte(0x2d)
  sink.digits(Math.abs(value))
}

function writeBigint(view: DataView, at: number, sink: ByteSink): void {
  const high = view.getInt32(at + 4, true)
  if (high >= -0x10_0000 && high < 0x10_0000) writeInteger(high * 0x1_0000_0000 + view.getUint32(at, true), sink)
  else sink.ascii(String(view.getBigInt64(at, true)))
}

function hugeint(view: DataView, at: number): bigint {
  return (view.getBigInt64(at + 8, true) << 64n) | view.getBigUint64(at, true)
}

function decimal(type: LogicalType, quoted: boolean): CellWriter {
  const scale = duckdb.decimal_scale(type)
  switch (duckdb.decimal_internal_type(type)) {
    case Id.SMALLINT:
      return fixed(2, quoted, (view, at, sink) => writeUnscaled(String(view.getInt16(at, true)), scale, sink))
    case Id.INTEGER:
      return fixed(4, quoted, (view, at, sink) => writeUnscaled(String(view.getInt32(at, true)), scale, sink))
    case Id.BIGINT:
      return fixed(8, quoted, (view, at, sink) => writeUnscaled(String(view.getBigInt64(at, true)), scale, sink))
    default:
      return fixed(16, quoted, (view, at, sink) => writeUnscaled(String(hugeint(view, at)), scale, sink))
  }
}

function writeUnscaled(unscaled: string, scale: number, sink: ByteSink): void {
  if (scale === 0) return sink.ascii(unscaled)
  const negative = unscaled.startsWith('-')
  const digits = (negative ? unscaled.slice(1) : unscaled).padStart(scale + 1, '0')
  sink.ascii(`${negative ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`)
}

const smallestNormal = 2 ** -126

/** The shortest text that reads back as the same number; what JSON has no number for is a string. */
class FloatWriter extends NullableWriter {
  readonly #width: 4 | 8
  #view: DataView = new DataView(new ArrayBuffer(0))

  constructor(width: 4 | 8) {
    super()
    this.#width = width
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    if (count === 0) return
    const data = duckdb.vector_get_data(vector, count * this.#width)
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  json(row: number, sink: ByteSink): void {
    const text = this.#text(row)
    sink.ascii(/\d/.test(text) ? text : `"${text}"`)
  }

  plain(row: number, sink: ByteSink): void {
    sink.ascii(this.#text(row))
  }

  #text(row: number): string {
    const value = this.#width === 4 ? this.#view.getFloat32(row * 4, true) : this.#view.getFloat64(row * 8, true)
    if (Object.is(value, -0)) return '-0'
    if (this.#width === 8 || !Number.isFinite(value) || Number.isSafeInteger(value)) return String(value)
    // Six digits always fit; the numbers next to zero have fewer.
    for (let digits = Math.abs(value) < smallestNormal ? 1 : 6; digits < 9; digits++) {
      const shorter = Number(value.toPrecision(digits))
      if (Math.fround(shorter) === value) return String(shorter)
    }
    return String(Number(value.toPrecision(9)))
  }
}

function writeTimeTz(view: DataView, at: number, sink: ByteSink): void {
  const bits = view.getBigUint64(at, true)
  // The offset is kept upside down, so that times sort by their moment.
  const offset = 57_599 - Number(bits & 0xff_ffffn)
  writeTime(bits >> 24n, 6, sink)
  sink.byte(offset < 0 ? 0x2d : 0x2b)
  const seconds = Math.abs(offset)
  sink.digits(Math.floor(seconds / 3600), 2)
  sink.byte(0x3a)
  sink.digits(Math.floor(seconds / 60) % 60, 2)
  if (seconds % 60 === 0) return
  sink.byte(0x3a)
  sink.digits(seconds % 60, 2)
}

/** ISO 8601: `P1Y2M3DT4H5M6.000007S`; each part has its own sign. */
function writeInterval(view: DataView, at: number, sink: ByteSink): void {
  const months = view.getInt32(at, true)
  const days = view.getInt32(at + 4, true)
  const micros = view.getBigInt64(at + 8, true)
  const part = (value: number | bigint, unit: string): string => (value === 0 || value === 0n ? '' : `${value}${unit}`)
  const date = part(Math.trunc(months / 12), 'Y') + part(months % 12, 'M') + part(days, 'D')
  const rest = micros % 60_000_000n
  const fraction = String((rest < 0n ? -rest : rest) % 1_000_000n).padStart(6, '0')
  const seconds = rest === 0n ? '' : `${rest < 0n ? '-' : ''}${(rest < 0n ? -rest : rest) / 1_000_000n}.${fraction}S`
  const time = part(micros / 3_600_000_000n, 'H') + part((micros / 60_000_000n) % 60n, 'M') + seconds
  sink.ascii(`P${date}${time && `T${time}`}${date || time ? '' : 'T0S'}`)
}

function writeUuid(view: DataView, at: number, sink: ByteSink): void {
  let hex = ''
  for (let b = 15; b >= 0; b--) hex += (view.getUint8(at + b) ^ (b === 15 ? 0x80 : 0)).toString(16).padStart(2, '0')
  sink.ascii(`${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`)
}

function bitText(bytes: Uint8Array): string {
  let text = ''
  for (let i = 1; i < bytes.length; i++) text += bytes[i].toString(2).padStart(8, '0')
  return text.slice(bytes[0])
}

/** Escapes what JSON does not allow in strings; everything else is passed on as it is. */
function appendEscaped(bytes: Uint8Array, sink: ByteSink): void {
  sink.reserve(bytes.length * 6)
  const out = sink.bytes
  let at = sink.length
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte >= 0x20 && byte !== quote && byte !== 0x5c) {
      out[at++] = byte
      continue
    }
    out[at++] = 0x5c
    const short = shortEscapes.get(byte)
    if (short !== undefined) {
      out[at++] = short
      continue
    }
    out[at++] = 0x75
    out[at++] = 0x30
    out[at++] = 0x30
    out[at++] = byte >= 16 ? 0x31 : 0x30
    out[at++] = '0123456789abcdef'.charCodeAt(byte & 15)
  }
  sink.length = at
}

const shortEscapes = new Map([
  [quote, quote],
  [0x5c, 0x5c],
  [0x08, 0x62],
  [0x09, 0x74],
  [0x0a, 0x6e],
  [0x0c, 0x66],
  [0x0d, 0x72],
])

/** A text as a JSON string. */
export function jsonString(text: string, sink: ByteSink): void {
  sink.byte(quote)
  appendEscaped(new TextEncoder().encode(text), sink)
  sink.byte(quote)
}

class EnumWriter extends NullableWriter {
  readonly #texts: readonly string[]
  readonly #width: number
  #view: DataView = new DataView(new ArrayBuffer(0))

  constructor(type: LogicalType) {
    super()
    this.#texts = Array.from({ length: duckdb.enum_dictionary_size(type) }, (_, i) => duckdb.enum_dictionary_value(type, i))
    const id = duckdb.enum_internal_type(type)
    this.#width = id === Id.UTINYINT ? 1 : id === Id.USMALLINT ? 2 : 4
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    const data = duckdb.vector_get_data(vector, count * this.#width)
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  json(row: number, sink: ByteSink): void {
    jsonString(this.#text(row), sink)
  }

  plain(row: number, sink: ByteSink): void {
    sink.text(this.#text(row))
  }

  #text(row: number): string {
    const at = row * this.#width
    if (this.#width === 1) return this.#texts[this.#view.getUint8(at)]
    return this.#texts[this.#width === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true)]
  }
}

/** VARCHAR, BLOB and BIT: structs of 16 bytes, up to twelve bytes in place, longer ones behind an address. */
class StringWriter extends NullableWriter {
  readonly #write: (bytes: Uint8Array, sink: ByteSink) => void
  #data: Uint8Array = new Uint8Array(0)
  #view: DataView = new DataView(new ArrayBuffer(0))

  constructor(write: (bytes: Uint8Array, sink: ByteSink) => void) {
    super()
    this.#write = write
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    if (count === 0) return
    this.#data = duckdb.vector_get_data(vector, count * 16)
    this.#view = new DataView(this.#data.buffer, this.#data.byteOffset, this.#data.byteLength)
  }

  json(row: number, sink: ByteSink): void {
    sink.byte(quote)
    const start = sink.length
    this.#write(this.#bytes(row), sink)
    const written = sink.bytes.subarray(start, sink.length)
    if (needsEscape(written)) {
      const copy = written.slice()
      sink.length = start
      appendEscaped(copy, sink)
    }
    sink.byte(quote)
  }

  plain(row: number, sink: ByteSink): void {
    this.#write(this.#bytes(row), sink)
  }

  #bytes(row: number): Uint8Array {
    const at = row * 16
    const length = this.#view.getUint32(at, true)
    if (length <= 12) return this.#data.subarray(at + 4, at + 4 + length)
    return duckdb.get_data_from_pointer(this.#data.buffer as ArrayBuffer, this.#data.byteOffset + at + 8, length)
  }
}

function needsEscape(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte < 0x20 || byte === quote || byte === 0x5c) return true
  }
  return false
}

/** Nested types: as JSON everywhere. */
abstract class NestedWriter extends NullableWriter {
  plain(row: number, sink: ByteSink): void {
    this.json(row, sink)
  }
}

function jsonOrNull(writer: CellWriter, row: number, sink: ByteSink): void {
  if (writer.isNull(row)) sink.ascii('null')
  else writer.json(row, sink)
}

abstract class EntriesWriter extends NestedWriter {
  #view: DataView = new DataView(new ArrayBuffer(0))

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    const data = duckdb.vector_get_data(vector, count * 16)
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  protected start(row: number): number {
    return Number(this.#view.getBigUint64(row * 16, true))
  }

  protected size(row: number): number {
    return Number(this.#view.getBigUint64(row * 16 + 8, true))
  }
}

class ListWriter extends EntriesWriter {
  readonly #element: CellWriter

  constructor(element: CellWriter) {
    super()
    this.#element = element
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#element.load(duckdb.list_vector_get_child(vector), duckdb.list_vector_get_size(vector))
  }

  json(row: number, sink: ByteSink): void {
    const start = this.start(row)
    const end = start + this.size(row)
    sink.byte(0x5b)
    for (let i = start; i < end; i++) {
      if (i > start) sink.byte(0x2c)
      jsonOrNull(this.#element, i, sink)
    }
    sink.byte(0x5d)
  }
}

class ArrayWriter extends NestedWriter {
  readonly #element: CellWriter
  readonly #size: number

  constructor(element: CellWriter, size: number) {
    super()
    this.#element = element
    this.#size = size
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#element.load(duckdb.array_vector_get_child(vector), count * this.#size)
  }

  json(row: number, sink: ByteSink): void {
    sink.byte(0x5b)
    for (let i = 0; i < this.#size; i++) {
      if (i > 0) sink.byte(0x2c)
      jsonOrNull(this.#element, row * this.#size + i, sink)
    }
    sink.byte(0x5d)
  }
}

/** An object whose keys are the plain texts of the map's keys. */
class MapWriter extends EntriesWriter {
  readonly #key: CellWriter
  readonly #value: CellWriter

  constructor(key: CellWriter, value: CellWriter) {
    super()
    this.#key = key
    this.#value = value
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    const entries = duckdb.list_vector_get_child(vector)
    const size = duckdb.list_vector_get_size(vector)
    this.#key.load(duckdb.struct_vector_get_child(entries, 0), size)
    this.#value.load(duckdb.struct_vector_get_child(entries, 1), size)
  }

  json(row: number, sink: ByteSink): void {
    const start = this.start(row)
    const end = start + this.size(row)
    sink.byte(0x7b)
    for (let i = start; i < end; i++) {
      if (i > start) sink.byte(0x2c)
      sink.byte(quote)
      const from = sink.length
      this.#key.plain(i, sink)
      const key = sink.bytes.slice(from, sink.length)
      sink.length = from
      appendEscaped(key, sink)
      sink.byte(quote)
      sink.byte(0x3a)
      jsonOrNull(this.#value, i, sink)
    }
    sink.byte(0x7d)
  }
}

class StructWriter extends NestedWriter {
  readonly #names: readonly string[]
  readonly #fields: readonly CellWriter[]

  constructor(names: readonly string[], fields: readonly CellWriter[]) {
    super()
    this.#names = names
    this.#fields = fields
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#fields.forEach((field, i) => field.load(duckdb.struct_vector_get_child(vector, i), count))
  }

  json(row: number, sink: ByteSink): void {
    sink.byte(0x7b)
    this.#fields.forEach((field, i) => {
      if (i > 0) sink.byte(0x2c)
      jsonString(this.#names[i], sink)
      sink.byte(0x3a)
      jsonOrNull(field, row, sink)
    })
    sink.byte(0x7d)
  }
}

function structWriter(type: LogicalType, options: CellOptions): CellWriter {
  const indexes = Array.from({ length: duckdb.struct_type_child_count(type) }, (_, i) => i)
  const fields = indexes.map((i) => cellWriter(duckdb.struct_type_child_type(type, i), options))
  const names = indexes.map((i) => duckdb.struct_type_child_name(type, i))
  // A row without names is a list.
  return names.every((name) => name === '') ? new TupleWriter(fields) : new StructWriter(names, fields)
}

class TupleWriter extends NestedWriter {
  readonly #fields: readonly CellWriter[]

  constructor(fields: readonly CellWriter[]) {
    super()
    this.#fields = fields
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#fields.forEach((field, i) => field.load(duckdb.struct_vector_get_child(vector, i), count))
  }

  json(row: number, sink: ByteSink): void {
    sink.byte(0x5b)
    this.#fields.forEach((field, i) => {
      if (i > 0) sink.byte(0x2c)
      jsonOrNull(field, row, sink)
    })
    sink.byte(0x5d)
  }
}

/** The value of the member that a row has. */
class UnionWriter extends NullableWriter {
  readonly #members: readonly CellWriter[]
  #tags: Uint8Array = new Uint8Array(0)

  constructor(members: readonly CellWriter[]) {
    super()
    this.#members = members
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#tags = duckdb.vector_get_data(duckdb.struct_vector_get_child(vector, 0), count)
    this.#members.forEach((member, i) => member.load(duckdb.struct_vector_get_child(vector, i + 1), count))
  }

  override isNull(row: number): boolean {
    return super.isNull(row) || this.#members[this.#tags[row]].isNull(row)
  }

  json(row: number, sink: ByteSink): void {
    this.#members[this.#tags[row]].json(row, sink)
  }

  plain(row: number, sink: ByteSink): void {
    this.#members[this.#tags[row]].plain(row, sink)
  }
}

function unionWriter(type: LogicalType, options: CellOptions): CellWriter {
  const indexes = Array.from({ length: duckdb.union_type_member_count(type) }, (_, i) => i)
  return new UnionWriter(indexes.map((i) => cellWriter(duckdb.union_type_member_type(type, i), options)))
}
