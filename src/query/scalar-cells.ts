import duckdb from '@duckdb/node-bindings'
import type { LogicalType, Vector } from '@duckdb/node-bindings'
import type { ByteSink } from './byte-sink.ts'
import { NullableWriter } from './cell-writer.ts'
import type { CellWriter } from './cell-writer.ts'
import { appendEscaped, jsonString, quote } from './json-text.ts'
import { writeTime } from './moments.ts'

const { Type: Id } = duckdb

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

export function fixed(width: number, quoted: boolean, write: WriteFixed): CellWriter {
  return new FixedWriter(width, quoted, write)
}

export function writeInteger(value: number, sink: ByteSink): void {
  if (value < 0) sink.byte(0x2d)
  sink.digits(Math.abs(value))
}

export function writeBigint(view: DataView, at: number, sink: ByteSink): void {
  const high = view.getInt32(at + 4, true)
  if (high >= -0x10_0000 && high < 0x10_0000) writeInteger(high * 0x1_0000_0000 + view.getUint32(at, true), sink)
  else sink.ascii(String(view.getBigInt64(at, true)))
}

export function hugeint(view: DataView, at: number): bigint {
  return (view.getBigInt64(at + 8, true) << 64n) | view.getBigUint64(at, true)
}

export function decimal(type: LogicalType, quoted: boolean): CellWriter {
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
export class FloatWriter extends NullableWriter {
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

export function writeTimeTz(view: DataView, at: number, sink: ByteSink): void {
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
export function writeInterval(view: DataView, at: number, sink: ByteSink): void {
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

export function writeUuid(view: DataView, at: number, sink: ByteSink): void {
  let hex = ''
  for (let b = 15; b >= 0; b--) hex += (view.getUint8(at + b) ^ (b === 15 ? 0x80 : 0)).toString(16).padStart(2, '0')
  sink.ascii(`${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`)
}

export function bitText(bytes: Uint8Array): string {
  let text = ''
  for (let i = 1; i < bytes.length; i++) text += bytes[i].toString(2).padStart(8, '0')
  return text.slice(bytes[0])
}

export class EnumWriter extends NullableWriter {
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
export class StringWriter extends NullableWriter {
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
