import duckdb from '@duckdb/node-bindings'
import type { Vector } from '@duckdb/node-bindings'
import { FrazilError } from '../base/index.ts'
import { isNested, isPresent, sameType, typeText, widthOf } from '../data/index.ts'
import type { Column, Field, Type } from '../data/index.ts'

/** Rows of one segment for one chunk, ascending. `dense` when they follow one another without a gap. */
export interface RowSelection {
  readonly rows: Int32Array
  count: number
  dense: boolean
}

/**
 * Values as they lie in a heap, or inside nested cells (format: `decodeValue` in `data`): value i is
 * `bytes[starts[i], starts[i] + lengths[i])`, ascending; a length below 0 is no value.
 */
interface Items {
  readonly bytes: Uint8Array
  readonly starts: Int32Array
  readonly lengths: Int32Array
  readonly count: number
}

/** Largest number of bytes of one value that fits DuckDB's string struct itself. */
const inlineBytes = 12
const stringBytes = 16

/** Fills a vector of DuckDB with the selected rows of a column. `type` is the view's; the segment's may be an older one. */
export function fillColumn(vector: Vector, column: Column, type: Type, selection: RowSelection): void {
  if (column.layout === 'var') return fillItems(vector, column.field.type, type, itemsOf(column, selection))
  if (type.kind === 'fixed') return fillItems(vector, column.field.type, type, fixedItemsOf(column, selection))
  const { count } = selection
  if (column.valid !== null) copyValidity(vector, column, selection)
  if (selection.dense && isPlain(column.field.type, type)) {
    const start = column.data.byteOffset + selection.rows[0] * column.width
    copyToVector(vector, column.data, start, count * column.width)
    return
  }
  const raw = gathered.room(count * column.width)
  gatherRows(raw, column, selection)
  fillFixed(vector, column.field.type, type, raw, count)
}

/** A column that the segment did not have yet: no value in any row. */
export function fillNulls(vector: Vector, type: Type, count: number): void {
  const lengths = new Int32Array(count).fill(-1)
  fillItems(vector, type, type, { bytes: noBytes, starts: new Int32Array(count), lengths, count })
}

/** True when a type's stored bytes are DuckDB's own. */
function isPlain(from: Type, to: Type): boolean {
  if (to.kind === 'uuid' || (to.kind === 'decimal' && to.precision <= 4)) return false
  if (from.kind === 'decimal' && to.kind === 'decimal' && (from.scale !== to.scale || from.precision > to.precision)) return false
  return from.kind === to.kind && widthOf(from) === widthOf(to)
}

/** Memory that is used again for each vector: nothing here outlives the call, DuckDB copies. */
class Scratch {
  #bytes = new Uint8Array(64 << 10)

  /** At least `size` bytes, 8-aligned, content arbitrary. */
  room(size: number): Uint8Array<ArrayBuffer> {
    if (size > this.#bytes.length) this.#bytes = new Uint8Array(2 ** Math.ceil(Math.log2(size)))
    return this.#bytes
  }
}

const gathered = new Scratch()
const converted = new Scratch()
const heap = new Scratch()
const strings = new Scratch()
const bits = new Scratch()
const noBytes = new Uint8Array(0)

function copyToVector(vector: Vector, source: Uint8Array, start: number, bytes: number): void {
  // The binding takes shared buffers too; its declaration does not say so.
  if (bytes > 0) duckdb.copy_data_to_vector(vector, 0, source.buffer as ArrayBuffer, start, bytes)
}

function copyValidity(vector: Vector, column: Column, { rows, count, dense }: RowSelection): void {
  const valid = column.valid
  if (valid === null) return
  duckdb.vector_ensure_validity_writable(vector)
  const bytes = (count + 7) >> 3
  if (dense && (rows[0] & 7) === 0) {
    const start = valid.byteOffset + (rows[0] >> 3)
    duckdb.copy_data_to_vector_validity(vector, 0, valid.buffer as ArrayBuffer, start, bytes)
    return
  }
  const out = bits.room(bytes).fill(0, 0, bytes)
  for (let i = 0; i < count; i++) {
    const row = rows[i]
    out[i >> 3] |= ((valid[row >> 3] >> (row & 7)) & 1) << (i & 7)
  }
  duckdb.copy_data_to_vector_validity(vector, 0, out.buffer, 0, bytes)
}

function gatherRows(out: Uint8Array<ArrayBuffer>, column: Column, { rows, count, dense }: RowSelection): void {
  const { width, data, words } = column
  if (dense) {
    out.set(data.subarray(rows[0] * width, (rows[0] + count) * width))
  } else if (words.length > 0) {
    const to = new Int32Array(out.buffer)
    const size = width >> 2
    let at = 0
    for (let i = 0; i < count; i++) for (let w = 0, from = rows[i] * size; w < size; w++) to[at++] = words[from + w]
  } else {
    let at = 0
    for (let i = 0; i < count; i++) for (let b = 0, from = rows[i] * width; b < width; b++) out[at++] = data[from + b]
  }
}

/** Writes `count` fixed-width values that lie in `raw` as type `from` stores them. */
function fillFixed(vector: Vector, from: Type, to: Type, raw: Uint8Array<ArrayBuffer>, count: number): void {
  if (isPlain(from, to)) return copyToVector(vector, raw, 0, count * widthOf(from))
  const out = converted.room(count * 16)
  if (from.kind === 'uuid' && to.kind === 'uuid') {
    // DuckDB holds a uuid as a 128-bit number with its highest bit flipped, so that numbers sort as text does.
    for (let start = 0; start < count * 16; start += 16) {
      for (let b = 0; b < 16; b++) out[start + b] = raw[start + 15 - b]
      out[start + 15] ^= 0x80
    }
    return copyToVector(vector, out, 0, count * 16)
  }
  if (from.kind === 'float' && to.kind === 'double') {
    new Float64Array(out.buffer, 0, count).set(new Float32Array(raw.buffer, 0, count))
    return copyToVector(vector, out, 0, count * 8)
  }
  const widens =
    (from.kind === 'int' && to.kind === 'long') ||
    (from.kind === 'decimal' && to.kind === 'decimal' && from.scale === to.scale && from.precision <= to.precision)
  if (!widens) throw unsupportedChange(from, to)
  if (to.kind === 'decimal' && to.precision <= 4) {
    new Int16Array(out.buffer, 0, count).set(new Int32Array(raw.buffer, 0, count))
    return copyToVector(vector, out, 0, count * 2)
  }
  const fromWords = widthOf(from) >> 2
  const toWords = widthOf(to) >> 2
  const source = new Int32Array(raw.buffer)
  const target = new Int32Array(out.buffer)
  for (let i = 0; i < count; i++) {
    const sign = source[(i + 1) * fromWords - 1] >> 31
    for (let w = 0; w < toWords; w++) target[i * toWords + w] = w < fromWords ? source[i * fromWords + w] : sign
  }
  copyToVector(vector, out, 0, count * widthOf(to))
}

function unsupportedChange(from: Type, to: Type): FrazilError {
  return new FrazilError('unsupported', 'column-type', `rows of type ${typeText(from)} cannot be read as ${typeText(to)}`)
}

function itemsOf(column: Column, { rows, count }: RowSelection): Items {
  const starts = new Int32Array(count)
  const lengths = new Int32Array(count)
  const { ends } = column
  for (let i = 0; i < count; i++) {
    const row = rows[i]
    const start = ends[row]
    const end = ends[row + 1]
    starts[i] = start + 4
    lengths[i] = end === start ? -1 : end - start - 4
  }
  return { bytes: column.heap, starts, lengths, count }
}

function fixedItemsOf(column: Column, { rows, count }: RowSelection): Items {
  const starts = new Int32Array(count)
  const lengths = new Int32Array(count)
  for (let i = 0; i < count; i++) {
    starts[i] = rows[i] * column.width
    lengths[i] = isPresent(column, rows[i]) ? column.width : -1
  }
  return { bytes: column.data, starts, lengths, count }
}

function fillItems(vector: Vector, from: Type, to: Type, items: Items): void {
  markMissing(vector, items)
  if (isNested(to) || isNested(from)) return fillNested(vector, from, to, items)
  if (to.kind === 'string' || to.kind === 'binary' || to.kind === 'fixed') {
    if (!sameType(from, to)) throw unsupportedChange(from, to)
    return fillStrings(vector, items)
  }
  const { bytes, starts, lengths, count } = items
  const width = widthOf(from)
  const raw = gathered.room(count * width)
  for (let i = 0, at = 0; i < count; i++) {
    const start = starts[i]
    for (let b = 0; b < width; b++) raw[at++] = lengths[i] < 0 ? 0 : bytes[start + b]
  }
  fillFixed(vector, from, to, raw, count)
}

function markMissing(vector: Vector, { lengths, count }: Items): void {
  let any = false
  for (let i = 0; i < count && !any; i++) any = lengths[i] < 0
  if (!any) return
  const bytes = (count + 7) >> 3
  const out = bits.room(bytes).fill(0, 0, bytes)
  for (let i = 0; i < count; i++) if (lengths[i] >= 0) out[i >> 3] |= 1 << (i & 7)
  duckdb.vector_ensure_validity_writable(vector)
  duckdb.copy_data_to_vector_validity(vector, 0, out.buffer, 0, bytes)
}

function fillNested(vector: Vector, from: Type, to: Type, items: Items): void {
  if (from.kind === 'struct' && to.kind === 'struct') return fillStruct(vector, from.fields, to.fields, items)
  const isList = from.kind === 'list' && to.kind === 'list'
  const isMap = from.kind === 'map' && to.kind === 'map'
  if (!isList && !isMap) throw unsupportedChange(from, to)
  const { bytes, starts, lengths, count } = items
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let total = 0
  for (let i = 0; i < count; i++) if (lengths[i] >= 0) total += view.getUint32(starts[i], true)
  const parts = isMap ? 2 : 1
  const children = Array.from({ length: parts }, () => emptyItems(bytes, total))
  const entries = new Uint32Array(count * 4)
  let next = 0
  for (let i = 0; i < count; i++) {
    if (lengths[i] < 0) continue
    const size = view.getUint32(starts[i], true)
    entries[i * 4] = next
    entries[i * 4 + 2] = size
    let at = starts[i] + 4
    for (const end = next + size; next < end; next++) {
      for (let p = 0; p < parts; p++) at = takeItem(children[p], next, view, at)
    }
  }
  duckdb.list_vector_reserve(vector, total)
  duckdb.list_vector_set_size(vector, total)
  copyToVector(vector, new Uint8Array(entries.buffer), 0, count * stringBytes)
  if (total === 0) return
  const child = duckdb.list_vector_get_child(vector)
  if (from.kind === 'list' && to.kind === 'list') return fillItems(child, from.element, to.element, children[0])
  if (from.kind === 'map' && to.kind === 'map') {
    fillItems(duckdb.struct_vector_get_child(child, 0), from.key, to.key, children[0])
    fillItems(duckdb.struct_vector_get_child(child, 1), from.value, to.value, children[1])
  }
}

function fillStruct(vector: Vector, from: readonly Field[], to: readonly Field[], items: Items): void {
  const { bytes, starts, lengths, count } = items
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const children = from.map(() => emptyItems(bytes, count))
  for (let i = 0; i < count; i++) {
    if (lengths[i] < 0) {
      for (const child of children) child.lengths[i] = -1
      continue
    }
    let at = starts[i]
    for (const child of children) at = takeItem(child, i, view, at)
  }
  to.forEach((field, i) => {
    const child = duckdb.struct_vector_get_child(vector, i)
    const index = indexOfField(from, field)
    if (index < 0) fillNulls(child, field.type, count)
    else fillItems(child, from[index].type, field.type, children[index])
  })
}

/** Where a field lies in an older (or the same) list of fields: by id once ids are assigned, else by name; −1 when nowhere. */
export function indexOfField(fields: readonly Field[], field: Field): number {
  return fields.findIndex((other) => (field.id > 0 && other.id > 0 ? other.id === field.id : other.name === field.name))
}

function emptyItems(bytes: Uint8Array, count: number): Items {
  return { bytes, starts: new Int32Array(count), lengths: new Int32Array(count), count }
}

function takeItem(items: Items, index: number, view: DataView, at: number): number {
  const length = view.getInt32(at, true)
  items.starts[index] = at + 4
  items.lengths[index] = length
  return at + 4 + Math.max(length, 0)
}

/** Whether DuckDB's strings lie in memory as {@link fillStrings} expects. Tried once; when not, the slow way is taken. */
let knownLayout: boolean | null = null

/**
 * Strings and binary. One call a value is what costs, so all bytes of the chunk go into the vector's memory as one string,
 * whose struct tells the address; then each row's struct (length, first four bytes, address; up to twelve bytes in place) is
 * made here and all of them are copied at once.
 */
function fillStrings(vector: Vector, items: Items): void {
  knownLayout ??= layoutIsKnown()
  const { starts, lengths, count } = items
  if (!knownLayout) return assignEach(vector, items)
  const out = strings.room(count * stringBytes)
  let total = 0
  let first = 0
  let end = 0
  for (let i = 0; i < count; i++) {
    if (lengths[i] <= 0) continue
    if (total === 0) first = starts[i]
    total += lengths[i]
    end = starts[i] + lengths[i]
  }
  if (total === 0) return copyToVector(vector, out.fill(0, 0, count * stringBytes), 0, count * stringBytes)
  const inOneCopy = end - first <= total * 2 + 4096
  const size = inOneCopy ? end - first : total
  const bytes = heap.room(size)
  if (inOneCopy) copySpan(bytes, items, first, end)
  else copyEach(bytes, items)
  const base = assignAll(vector, bytes.subarray(0, size))
  const words = new Uint32Array(out.buffer, 0, count * 4)
  for (let i = 0, at = 0, word = 0; i < count; i++, word += 4) {
    const length = lengths[i]
    if (inOneCopy) at = starts[i] - first
    writeString(words, out, word, Math.max(length, 0), bytes, at, base)
    if (!inOneCopy && length > 0) at += length
  }
  copyToVector(vector, out, 0, count * stringBytes)
}

/** Copies everything from the first value to the last; what lies between values becomes zeros, which are valid UTF-8. */
function copySpan(out: Uint8Array, { bytes, starts, lengths, count }: Items, first: number, end: number): void {
  out.set(bytes.subarray(first, end))
  let done = 0
  for (let i = 0; i < count; i++) {
    if (lengths[i] <= 0) continue
    const start = starts[i] - first
    for (let at = done; at < start; at++) out[at] = 0
    done = start + lengths[i]
  }
}

function copyEach(out: Uint8Array, { bytes, starts, lengths, count }: Items): void {
  for (let i = 0, at = 0; i < count; i++) {
    if (lengths[i] <= 0) continue
    out.set(bytes.subarray(starts[i], starts[i] + lengths[i]), at)
    at += lengths[i]
  }
}

/** Puts bytes into the vector's own memory. Returns the address as low and high word. */
function assignAll(vector: Vector, bytes: Uint8Array): readonly [low: number, high: number] {
  // Twelve bytes or fewer get no memory of their own; then no value needs an address either.
  const view = assignOne(vector, 0, bytes)
  return [view.getUint32(8, true), view.getUint32(12, true)]
}

/** One value by DuckDB's own call, which copies it. Returns the struct that DuckDB made. */
function assignOne(vector: Vector, index: number, bytes: Uint8Array): DataView {
  // Text that is not UTF-8 leaves the slot as it was, without a word.
  duckdb.copy_data_to_vector(vector, index * stringBytes, emptyString, 0, stringBytes)
  duckdb.vector_assign_string_element_len(vector, index, bytes)
  const data = duckdb.vector_get_data(vector, (index + 1) * stringBytes)
  const view = new DataView(data.buffer, data.byteOffset + index * stringBytes, stringBytes)
  if (view.getUint32(0, true) !== bytes.length) throw notUtf8()
  return view
}

const emptyString = new ArrayBuffer(stringBytes)

function notUtf8(): FrazilError {
  return new FrazilError('corrupt', 'invalid-utf8', 'a hot text value is not valid UTF-8')
}

function writeString(
  words: Uint32Array,
  out: Uint8Array,
  word: number,
  length: number,
  bytes: Uint8Array,
  at: number,
  base: readonly [low: number, high: number],
): void {
  words[word] = length
  words[word + 1] = 0
  words[word + 2] = 0
  words[word + 3] = 0
  const inPlace = length <= inlineBytes ? length : 4
  for (let b = 0, to = word * 4 + 4; b < inPlace; b++) out[to + b] = bytes[at + b]
  if (length <= inlineBytes) return
  const low = base[0] + at
  words[word + 2] = low
  words[word + 3] = low > 0xffff_ffff ? base[1] + 1 : base[1]
}

function assignEach(vector: Vector, { bytes, starts, lengths, count }: Items): void {
  for (let i = 0; i < count; i++) {
    if (lengths[i] >= 0) assignOne(vector, i, bytes.subarray(starts[i], starts[i] + lengths[i]))
  }
}

/** Lets DuckDB make strings of both kinds and compares its structs with ours. */
function layoutIsKnown(): boolean {
  const chunk = duckdb.create_data_chunk([duckdb.create_logical_type(duckdb.Type.BLOB)])
  const vector = duckdb.data_chunk_get_vector(chunk, 0)
  const bytes = Uint8Array.from({ length: 40 }, (_, i) => i * 7 + 1)
  for (const length of [0, 1, 4, inlineBytes, inlineBytes + 1, 40]) {
    duckdb.vector_assign_string_element_len(vector, 0, bytes.subarray(0, length))
    const theirs = duckdb.vector_get_data(vector, stringBytes).slice()
    const address = new DataView(theirs.buffer)
    const ours = new Uint8Array(stringBytes)
    writeString(new Uint32Array(ours.buffer), ours, 0, length, bytes, 0, [
      address.getUint32(8, true),
      address.getUint32(12, true),
    ])
    if (theirs.some((byte, i) => byte !== ours[i])) return false
    if (length <= inlineBytes) continue
    const read = duckdb.get_data_from_pointer(theirs.buffer, 8, length)
    if (read.some((byte, i) => byte !== bytes[i])) return false
  }
  return true
}

/** For tests: takes the slow way, or (null) finds out again. */
export function assumeStringLayout(known: boolean | null): void {
  knownLayout = known
}
