import { assert } from '../../base/index.ts'
import { isPresent, widthOf } from '../../data/index.ts'
import type { Column } from '../../data/index.ts'
import { murmur3, murmur3Long } from './murmur3.ts'
import type { Transform } from './transform.ts'
import { resultType } from './transform.ts'

/**
 * What a transform made of some rows of a column, one value a row. Values of fixed width lie in `data` one after another, as in a
 * segment's column of the result type; texts and binaries are parts of the source's heap. Rows without a value have zeros.
 */
export interface TransformedValues {
  /** 1 where the row has a value. */
  readonly present: Uint8Array
  /** Bytes a value in `data`, 0 for texts and binaries. */
  readonly width: number
  readonly data: Uint8Array
  readonly starts: Int32Array
  readonly ends: Int32Array
  /** Whether the values are decimals, whose single-value form differs. */
  readonly isDecimal: boolean
}

const usPerHour = 3_600_000_000
const usPerDay = 86_400_000_000
const noInts = new Int32Array(0)
const noBytes = new Uint8Array(0)

/**
 * Transforms the values of `rows` of a column (specification: "Partition Transforms", Appendix B). Null stays null, everything becomes
 * null under `void`. The column's type fits the transform (see {@link resultType}).
 */
export function transformColumn(transform: Transform, column: Column, rows: Int32Array): TransformedValues {
  const result = resultType(transform, column.field.type)
  assert(result !== null, 'the transform fits the column')
  const present = new Uint8Array(rows.length)
  const width = widthOf(result)
  if (transform.kind !== 'void') {
    if (column.valid === null) present.fill(1)
    else for (let i = 0; i < rows.length; i++) present[i] = isPresent(column, rows[i]) ? 1 : 0
  }
  if (width === 0) {
    const starts = new Int32Array(rows.length)
    const ends = new Int32Array(rows.length)
    const most = transform.kind === 'truncate' ? transform.width : Infinity
    const cut = column.field.type.kind === 'string' ? codePointsEnd : bytesEnd
    for (let i = 0; i < rows.length; i++) {
      if (present[i] === 0) continue
      starts[i] = column.ends[rows[i]] + 4
      ends[i] = cut(column.heap, starts[i], column.ends[rows[i] + 1], most)
    }
    return { present, width, data: column.heap, starts, ends, isDecimal: false }
  }
  const data = new Uint8Array(rows.length * width)
  const values = { present, width, data, starts: noInts, ends: noInts, isDecimal: result.kind === 'decimal' }
  switch (transform.kind) {
    case 'void':
      return values
    case 'identity':
      for (let i = 0; i < rows.length; i++) {
        const from = rows[i] * width
        if (present[i] === 1) for (let k = 0; k < width; k++) data[i * width + k] = column.data[from + k]
      }
      return values
    case 'truncate':
      truncateIntegers(column, rows, present, new Int32Array(data.buffer), transform.width)
      return values
    case 'bucket':
      bucket(column, rows, present, new Int32Array(data.buffer), transform.buckets)
      return values
    default:
      dateParts(transform.kind, column, rows, present, new Int32Array(data.buffer))
      return values
  }
}

/** `v - (((v % W) + W) % W)` in two's complement of the column's width; decimals by their unscaled values. */
function truncateIntegers({ words }: Column, rows: Int32Array, present: Uint8Array, out: Int32Array, by: number): void {
  const width = rows.length === 0 ? 0 : out.length / rows.length
  for (let i = 0; i < rows.length; i++) {
    if (present[i] === 0) continue
    const from = rows[i] * width
    const to = i * width
    let rest = ((words[from + width - 1] % by) + by) % by
    for (let k = width - 2; k >= 0; k--) {
      const word = words[from + k]
      // By halves: products stay below 2^53.
      rest = (rest * 65536 + (word >>> 16)) % by
      rest = (rest * 65536 + (word & 0xffff)) % by
    }
    let borrow = rest
    for (let k = 0; k < width; k++) {
      const word = words[from + k] >>> 0
      out[to + k] = (word - borrow) | 0
      borrow = word < borrow ? 1 : 0
    }
  }
}

function bucket(column: Column, rows: Int32Array, present: Uint8Array, out: Int32Array, buckets: number): void {
  const hash = hashOf(column)
  for (let i = 0; i < rows.length; i++) if (present[i] === 1) out[i] = (hash(rows[i]) & 0x7fff_ffff) % buckets
}

/** Hash of a row's value (specification: Appendix B): whole numbers and times as longs, decimals as short as possible, big-endian. */
function hashOf({ field, layout, words, data, width, ends, heap }: Column): (row: number) => number {
  if (field.type.kind === 'decimal') {
    const bytes = new Uint8Array(width)
    return (row) => {
      for (let k = 0; k < width; k++) bytes[k] = data[(row + 1) * width - 1 - k]
      return murmur3(bytes, shortest(bytes))
    }
  }
  if (layout === 'var') return (row) => murmur3(heap, ends[row] + 4, ends[row + 1])
  if (layout === 'i32') return (row) => murmur3Long(words[row], words[row] >> 31)
  if (layout === 'i64') return (row) => murmur3Long(words[row * 2], words[row * 2 + 1])
  return (row) => murmur3(data, row * width, (row + 1) * width)
}

/** Where the shortest two's complement form of a big-endian number begins. */
export function shortest(bytes: Uint8Array): number {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === (bytes[start + 1] & 128 ? 255 : 0)) start++
  return start
}

function dateParts(
  part: 'year' | 'month' | 'day' | 'hour',
  { layout, words }: Column,
  rows: Int32Array,
  present: Uint8Array,
  out: Int32Array,
): void {
  const unit = part === 'hour' ? usPerHour : usPerDay
  for (let i = 0; i < rows.length; i++) {
    if (present[i] === 0) continue
    const row = rows[i]
    const units = layout === 'i32' ? words[row] : floorDivide(words[row * 2] >>> 0, words[row * 2 + 1], unit)
    out[i] = part === 'year' || part === 'month' ? monthsOf(units, part === 'year') : units
  }
}

/** A 64-bit integer divided by a positive one below 2^37, towards −∞; without BigInt. */
function floorDivide(low: number, high: number, by: number): number {
  // Years 1685 to 2254 in microseconds are exact as they are.
  if (high >= -0x10_0000 && high < 0x10_0000) return Math.floor((high * 0x1_0000_0000 + low) / by)
  const quotient = high < 0 ? -1 : 0
  const upper = (high - quotient * by) * 65536 + (low >>> 16)
  const middle = Math.floor(upper / by)
  const lower = (upper - middle * by) * 65536 + (low & 0xffff)
  return quotient * 0x1_0000_0000 + middle * 65536 + Math.floor(lower / by)
}

/** Months (or years) from 1970 to the day, in the proleptic Gregorian calendar. */
function monthsOf(day: number, years: boolean): number {
  // Years here begin in March, so that the leap day is the last one.
  const shifted = day + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153)
  const year = era * 400 + yearOfEra + (fromMarch >= 10 ? 1 : 0) - 1970
  return years ? year : year * 12 + ((fromMarch + 2) % 12)
}

/** Where the first `most` code points of UTF-8 text end. */
function codePointsEnd(heap: Uint8Array, start: number, end: number, most: number): number {
  if (end - start <= most) return end
  let at = start
  for (let i = 0; i < most && at < end; i++) {
    at++
    while (at < end && (heap[at] & 0xc0) === 0x80) at++
  }
  return at
}

function bytesEnd(_heap: Uint8Array, start: number, end: number, most: number): number {
  return Math.min(end, start + most)
}

/** A value as Iceberg's single-value binary (specification: Appendix D), null where the row has none. A copy. */
export function singleValueAt(values: TransformedValues, row: number): Uint8Array | null {
  const { present, width, data, isDecimal } = values
  if (present[row] === 0) return null
  if (width === 0) {
    const length = values.ends[row] - values.starts[row]
    return length === 0 ? noBytes : new Uint8Array(data.subarray(values.starts[row], values.ends[row]))
  }
  const bytes = new Uint8Array(data.subarray(row * width, (row + 1) * width))
  if (!isDecimal) return bytes
  bytes.reverse()
  return bytes.slice(shortest(bytes))
}
