import { unreachable } from '../../base/index.ts'
import type { Leaf } from './schema.ts'
import { physical } from './schema.ts'
import type { Staging } from './staging.ts'
import { headroom } from './staging.ts'

/** Smallest and largest value as PLAIN bytes without a length; both null when there is none (no value, or only NaN). */
export interface Extrema {
  readonly min: Uint8Array | null
  readonly max: Uint8Array | null
  /** NaN values, in float and double columns. */
  readonly nans: number
}

const none: Extrema = { min: null, max: null, nans: 0 }

/** Order of two values in PLAIN form, as the column's type order has it (specification: Parquet "ColumnOrder", TYPE_ORDER). */
export function compareValues(leaf: Leaf, a: Uint8Array, b: Uint8Array): number {
  switch (leaf.physical) {
    case physical.int32:
      return viewOf(a).getInt32(0, true) - viewOf(b).getInt32(0, true)
    case physical.int64: {
      const high = viewOf(a).getInt32(4, true) - viewOf(b).getInt32(4, true)
      return high === 0 ? viewOf(a).getUint32(0, true) - viewOf(b).getUint32(0, true) : high
    }
    case physical.float:
      return viewOf(a).getFloat32(0, true) - viewOf(b).getFloat32(0, true)
    case physical.double: {
      // Not a subtraction: two infinities must compare as equal.
      const x = viewOf(a).getFloat64(0, true)
      const y = viewOf(b).getFloat64(0, true)
      return x < y ? -1 : x > y ? 1 : 0
    }
    case physical.fixed:
      if (leaf.type.kind === 'decimal' && (a[0] ^ b[0]) & 128) return a[0] & 128 ? -1 : 1
      return compareBytes(a, 0, a.length, b, 0, b.length)
    case physical.boolean:
    case physical.byteArray:
      return compareBytes(a, 0, a.length, b, 0, b.length)
    case physical.int96:
      throw new Error('int96 is never written')
    default:
      return unreachable(leaf.physical)
  }
}

/** Smallest and largest of `count` dense values; they may be views of the staged ones. */
export function extremaOf(leaf: Leaf, staging: Staging, count: number): Extrema {
  if (count === 0) return none
  switch (leaf.physical) {
    case physical.boolean:
      return booleans(staging, count)
    case physical.int32:
      return int32s(staging, count)
    case physical.int64:
      return int64s(staging, count)
    case physical.float:
      return floats(new Float32Array(staging.bytes.buffer, headroom, count), 4)
    case physical.double:
      return floats(new Float64Array(staging.bytes.buffer, headroom, count), 8)
    case physical.fixed:
      return leaf.width === 0 ? none : fixed(staging.bytes, leaf.width, count, leaf.type.kind === 'decimal')
    case physical.byteArray:
      return variable(staging, count)
    case physical.int96:
      throw new Error('int96 is never written')
    default:
      return unreachable(leaf.physical)
  }
}

function booleans(staging: Staging, count: number): Extrema {
  const values = staging.bytes.subarray(headroom, headroom + count)
  return {
    min: Uint8Array.of(values.includes(0) ? 0 : 1),
    max: Uint8Array.of(values.includes(1) ? 1 : 0),
    nans: 0,
  }
}

function int32s(staging: Staging, count: number): Extrema {
  const { words } = staging
  const first = headroom >> 2
  let min = words[first]
  let max = min
  for (let i = first + 1, end = first + count; i < end; i++) {
    const value = words[i]
    if (value < min) min = value
    if (value > max) max = value
  }
  return { min: wordBytes(min), max: wordBytes(max), nans: 0 }
}

function int64s(staging: Staging, count: number): Extrema {
  const { words } = staging
  const first = headroom >> 2
  let minLow = words[first] >>> 0
  let minHigh = words[first + 1]
  let maxLow = minLow
  let maxHigh = minHigh
  for (let i = first + 2, end = first + count * 2; i < end; i += 2) {
    const low = words[i] >>> 0
    const high = words[i + 1]
    if (high < minHigh || (high === minHigh && low < minLow)) {
      minHigh = high
      minLow = low
    }
    if (high > maxHigh || (high === maxHigh && low > maxLow)) {
      maxHigh = high
      maxLow = low
    }
  }
  return { min: wordBytes(minLow, minHigh), max: wordBytes(maxLow, maxHigh), nans: 0 }
}

function wordBytes(...words: number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(words).buffer)
}

/** NaN is never an extremum; a zero is written as the sign that cannot exclude the other (−0.0 below, +0.0 above). */
function floats(values: Float32Array | Float64Array, width: 4 | 8): Extrema {
  let min = Infinity
  let max = -Infinity
  let nans = 0
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (value < min) min = value
    if (value > max) max = value
    if (value !== value) nans++
  }
  // A column of infinities of one sign never enters the comparisons above on the other side, but is covered by the start values.
  if (nans === values.length) return { min: null, max: null, nans }
  const bytes = (value: number): Uint8Array => {
    const out = new Uint8Array(width)
    if (width === 4) viewOf(out).setFloat32(0, value, true)
    else viewOf(out).setFloat64(0, value, true)
    return out
  }
  return { min: bytes(min === 0 ? -0 : min), max: bytes(max === 0 ? 0 : max), nans }
}

function fixed(bytes: Uint8Array, width: number, count: number, signed: boolean): Extrema {
  let min = headroom
  let max = headroom
  const flip = signed ? 128 : 0
  const compare = (a: number, b: number): number => {
    const first = (bytes[a] ^ flip) - (bytes[b] ^ flip)
    return first === 0 ? compareBytes(bytes, a, a + width, bytes, b, b + width) : first
  }
  for (let i = 1, at = headroom + width; i < count; i++, at += width) {
    if (compare(at, min) < 0) min = at
    else if (compare(at, max) > 0) max = at
  }
  return { min: bytes.slice(min, min + width), max: bytes.slice(max, max + width), nans: 0 }
}

/** Byte arrays one after another, each behind its length. */
function variable({ bytes, view, end }: Staging, count: number): Extrema {
  let at = headroom
  let length = view.getInt32(at, true)
  let min = at + 4
  let minEnd = min + length
  let max = min
  let maxEnd = minEnd
  at = minEnd
  // Values often share their first bytes: what all so far have in common is looked at once, not for both bounds.
  let shared = length
  // What comes behind that in min and in max: most values lie between.
  let minWord = wordAt(bytes, view, minEnd, minEnd)
  let maxWord = minWord
  for (let i = 1; i < count; i++) {
    length = view.getInt32(at, true)
    const start = at + 4
    at = start + length
    let k = 0
    const limit = length < shared ? length : shared
    while (k + 4 <= limit && view.getInt32(start + k, true) === view.getInt32(min + k, true)) k += 4
    while (k < limit && bytes[start + k] === bytes[min + k]) k++
    if (k < shared) {
      // Differs within what min and max have in common: beyond one of them.
      if (k === length || bytes[start + k] < bytes[min + k]) {
        min = start
        minEnd = at
      } else {
        max = start
        maxEnd = at
      }
      shared = k
      minWord = wordAt(bytes, view, min + shared, minEnd)
      maxWord = wordAt(bytes, view, max + shared, maxEnd)
      continue
    }
    const word = wordAt(bytes, view, start + k, at)
    if (word > minWord && word < maxWord) continue
    if (compareBytes(bytes, start + k, at, bytes, min + k, minEnd) < 0) {
      min = start
      minEnd = at
      minWord = word
    } else if (compareBytes(bytes, start + k, at, bytes, max + k, maxEnd) > 0) {
      max = start
      maxEnd = at
      maxWord = word
    }
  }
  if (at !== end) throw new Error('values fill the page')
  return { min: bytes.subarray(min, minEnd), max: bytes.subarray(max, maxEnd), nans: 0 }
}

/**
 * The first four bytes of [from, to), zeros behind its end, as a number: where those of two values differ, the values have the same order. The
 * sign is flipped, so that bytes compare as unsigned ones.
 */
function wordAt(bytes: Uint8Array, view: DataView, from: number, to: number): number {
  if (to - from >= 4) return view.getInt32(from) ^ 0x8000_0000
  let word = 0
  for (let k = 0; k < 4; k++) word = (word << 8) | (from + k < to ? bytes[from + k] : 0)
  return word ^ 0x8000_0000
}

/** Unsigned, a prefix first: for UTF-8 that is the order of code points. */
export function compareBytes(a: Uint8Array, aStart: number, aEnd: number, b: Uint8Array, bStart: number, bEnd: number): number {
  const length = aEnd - aStart < bEnd - bStart ? aEnd - aStart : bEnd - bStart
  for (let i = 0; i < length; i++) {
    const difference = a[aStart + i] - b[bStart + i]
    if (difference !== 0) return difference
  }
  return aEnd - aStart - (bEnd - bStart)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
