import { FrazilError, assert } from '../base/index.ts'
import type { Field } from './types.ts'
import type { Column, Segment, SharedSegment } from './segment.ts'
import { isPresent, layoutOf, widthOf } from './segment.ts'
import { isNested, typeText } from './types.ts'
import type { Type } from './types.ts'

/**
 * A value as JavaScript sees it. Off the hot path only: look-ups, tests, the library's rows.
 * - boolean → boolean; int, float, double → number; long → bigint
 * - decimal → bigint, the unscaled value
 * - date → number of days; time, timestamp, timestamptz → bigint of microseconds
 * - string → string; uuid, binary, fixed → Uint8Array
 * - list → array; map → array of [key, value]; struct → array in field order
 */
export type Value = null | boolean | number | bigint | string | Uint8Array | readonly Value[]

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const toUtf8 = new TextEncoder()

/** The value of `row` in `column`. */
export function readValue(column: Column, row: number): Value {
  if (!isPresent(column, row)) return null
  if (column.layout === 'var') {
    const start = column.ends[row] + 4
    return decodeValue(column.field.type, column.heap, start, column.ends[row + 1])
  }
  const start = row * column.width
  return decodeValue(column.field.type, column.data, start, start + column.width)
}

/** Raw bytes of `row` in `column` as stored, without a length prefix; null when there is no value. */
export function readBytes(column: Column, row: number): Uint8Array | null {
  if (!isPresent(column, row)) return null
  if (column.layout === 'var') return column.heap.subarray(column.ends[row] + 4, column.ends[row + 1])
  return column.data.subarray(row * column.width, (row + 1) * column.width)
}

/** All values of `row`, in column order. */
export function readRow(segment: Segment | SharedSegment, row: number): Value[] {
  return segment.columns.map((column) => readValue(column, row))
}

/**
 * Decodes one stored value from `bytes[start, end)`.
 *
 * Nested cells are this format, all little-endian: a list is uint32 count and then its items; a map is uint32 count and then
 * key item, value item for each entry; a struct is its fields' items in order. An item is int32 length (−1 = null) and the
 * stored bytes of the value: what `data` holds for fixed layouts, the plain bytes for string and binary, again a cell for
 * nested types.
 */
export function decodeValue(type: Type, bytes: Uint8Array, start: number, end: number): Value {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (type.kind) {
    case 'boolean':
      return bytes[start] !== 0
    case 'int':
    case 'date':
      return view.getInt32(start, true)
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return view.getBigInt64(start, true)
    case 'float':
      return view.getFloat32(start, true)
    case 'double':
      return view.getFloat64(start, true)
    case 'decimal': {
      if (type.precision <= 9) return BigInt(view.getInt32(start, true))
      if (type.precision <= 18) return view.getBigInt64(start, true)
      return (view.getBigInt64(start + 8, true) << 64n) | view.getBigUint64(start, true)
    }
    case 'string':
      return utf8.decode(new Uint8Array(bytes.subarray(start, end)))
    case 'uuid':
    case 'binary':
    case 'fixed':
      return new Uint8Array(bytes.subarray(start, end))
    case 'list': {
      const count = view.getUint32(start, true)
      const items: Value[] = []
      let at = start + 4
      for (let i = 0; i < count; i++) [items[i], at] = decodeItem(type.element, bytes, view, at)
      assert(at === end, 'a list cell ends where its items end')
      return items
    }
    case 'map': {
      const count = view.getUint32(start, true)
      const entries: Value[] = []
      let at = start + 4
      for (let i = 0; i < count; i++) {
        let key: Value
        let value: Value
        ;[key, at] = decodeItem(type.key, bytes, view, at)
        ;[value, at] = decodeItem(type.value, bytes, view, at)
        entries.push([key, value])
      }
      return entries
    }
    case 'struct': {
      const values: Value[] = []
      let at = start
      for (const field of type.fields) {
        let value: Value
        ;[value, at] = decodeItem(field.type, bytes, view, at)
        values.push(value)
      }
      return values
    }
  }
}

function decodeItem(type: Type, bytes: Uint8Array, view: DataView, at: number): [Value, number] {
  const length = view.getInt32(at, true)
  if (length < 0) return [null, at + 4]
  return [decodeValue(type, bytes, at + 4, at + 4 + length), at + 4 + length]
}

/** Stored bytes of a value, without a length prefix; the inverse of {@link decodeValue}. Throws `request` when it does not fit. */
export function encodeValue(type: Type, value: Exclude<Value, null>): Uint8Array {
  const fail = (): never => {
    throw new FrazilError('request', 'wrong-type', `a ${typeof value} is not a ${typeText(type)}`)
  }
  const outOfRange = (): never => {
    throw new FrazilError('request', 'out-of-range', `the value does not fit ${typeText(type)}`)
  }
  const integer = (bits: bigint): bigint => {
    const [low, high] = integerRange(type, bits)
    const number =
      typeof value === 'bigint' ? value : typeof value === 'number' && Number.isInteger(value) ? BigInt(value) : fail()
    return number < low || number > high ? outOfRange() : number
  }
  if (isNested(type)) return encodeNested(type, value)
  const width = widthOf(type)
  const out = new Uint8Array(width)
  const view = new DataView(out.buffer)
  switch (layoutOf(type)) {
    case 'bool':
      out[0] = typeof value === 'boolean' ? Number(value) : fail()
      return out
    case 'i32':
      view.setInt32(0, Number(integer(32n)), true)
      return out
    case 'i64':
      view.setBigInt64(0, integer(64n), true)
      return out
    case 'f32':
      view.setFloat32(0, typeof value === 'number' ? value : fail(), true)
      if (Number.isFinite(value) && !Number.isFinite(view.getFloat32(0, true))) return outOfRange()
      return out
    case 'f64':
      view.setFloat64(0, typeof value === 'number' ? value : fail(), true)
      return out
    case 'i128': {
      const number = integer(128n)
      view.setBigUint64(0, BigInt.asUintN(64, number), true)
      view.setBigInt64(8, number >> 64n, true)
      return out
    }
    case 'fixed':
      if (!(value instanceof Uint8Array) || value.length !== width) return fail()
      return value
    case 'var':
      if (type.kind === 'string') {
        if (typeof value !== 'string') return fail()
        // A lone surrogate would silently become U+FFFD.
        return value.isWellFormed() ? toUtf8.encode(value) : outOfRange()
      }
      return value instanceof Uint8Array ? value : fail()
  }
}

/** The least and the greatest value of a type that is stored as a whole number of `bits` bits. */
function integerRange(type: Type, bits: bigint): [bigint, bigint] {
  if (type.kind === 'decimal') {
    const limit = 10n ** BigInt(type.precision) - 1n
    return [-limit, limit]
  }
  if (type.kind === 'time') return [0n, 86_399_999_999n]
  return [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n]
}

function encodeNested(type: Type, value: Exclude<Value, null>): Uint8Array {
  if (!Array.isArray(value)) throw new FrazilError('request', 'wrong-type', `a ${typeof value} is not a ${typeText(type)}`)
  const values: readonly Value[] = value
  const pieces: Uint8Array[] = []
  const word = (number: number): void => {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setInt32(0, number, true)
    pieces.push(bytes)
  }
  const item = (itemType: Type, itemValue: Value): void => {
    if (itemValue === null) return word(-1)
    const bytes = encodeValue(itemType, itemValue)
    word(bytes.length)
    pieces.push(bytes)
  }
  if (type.kind === 'list') {
    word(values.length)
    for (const element of values) item(type.element, element)
  } else if (type.kind === 'map') {
    word(values.length)
    for (const entry of values) {
      assert(Array.isArray(entry) && entry.length === 2, 'a map entry is a pair')
      item(type.key, entry[0])
      item(type.value, entry[1])
    }
  } else if (type.kind === 'struct') {
    assert(values.length === type.fields.length, 'a struct has a value for each field')
    type.fields.forEach((field, i) => item(field.type, values[i]))
  }
  return Buffer.concat(pieces)
}

/**
 * Appends a row of JavaScript values to a segment. The slow path: tests, the library and sources that have objects anyway.
 * Returns false, with nothing visible written, when the segment has no room.
 */
export function appendRow(segment: Segment, values: readonly Value[]): boolean {
  const row = segment.rows
  assert(values.length === segment.columns.length, 'a row has a value for each column')
  if (row >= segment.capacity) return false
  const encoded = values.map((value, i) => (value === null ? null : encodeValue(segment.columns[i].field.type, value)))
  for (let i = 0; i < encoded.length; i++) {
    const column = segment.columns[i]
    const bytes = encoded[i]
    if (bytes === null && column.valid === null) {
      throw new FrazilError('request', 'missing-value', `column ${column.field.name} is required`)
    }
    if (column.layout === 'var' && bytes && column.ends[row] + 4 + bytes.length > column.heap.length) return false
  }
  for (let i = 0; i < encoded.length; i++) putBytes(segment.columns[i], row, encoded[i])
  segment.rows++
  return true
}

/** Writes the stored bytes of one cell; the caller has checked that the heap has room. */
export function putBytes(column: Column, row: number, bytes: Uint8Array | null): void {
  if (column.valid !== null) {
    if (bytes === null) column.valid[row >> 3] &= ~(1 << (row & 7))
    else column.valid[row >> 3] |= 1 << (row & 7)
  }
  if (column.layout === 'var') {
    let at = column.ends[row]
    if (bytes !== null) {
      const { heap } = column
      heap[at] = bytes.length
      heap[at + 1] = bytes.length >>> 8
      heap[at + 2] = bytes.length >>> 16
      heap[at + 3] = bytes.length >>> 24
      heap.set(bytes, at + 4)
      at += 4 + bytes.length
    }
    column.ends[row + 1] = at
  } else if (bytes === null) {
    column.data.fill(0, row * column.width, (row + 1) * column.width)
  } else {
    column.data.set(bytes, row * column.width)
  }
}

/** A small column of its own, outside any pool, for a key to look up. */
export function columnOf(field: Field, values: readonly Value[]): Column {
  const layout = layoutOf(field.type)
  const width = widthOf(field.type)
  const encoded = values.map((value) => (value === null ? null : encodeValue(field.type, value)))
  const heapBytes = layout === 'var' ? encoded.reduce((sum, bytes) => sum + (bytes ? bytes.length + 4 : 0), 0) : 0
  const data = new Uint8Array(width * values.length)
  const column: Column = {
    field,
    layout,
    width,
    valid: field.required ? null : new Uint8Array((values.length + 7) >> 3),
    data,
    words: width % 4 === 0 && layout !== 'fixed' ? new Int32Array(data.buffer) : new Int32Array(0),
    ends: new Int32Array(layout === 'var' ? values.length + 1 : 0),
    heap: new Uint8Array(heapBytes),
  }
  encoded.forEach((bytes, row) => putBytes(column, row, bytes))
  return column
}
