import { maxValueBytes } from '../../data/index.ts'
import type { Column, Type } from '../../data/index.ts'
import { readDay } from './calendar.ts'

/*
 * Values as nearly every program writes them, read without detours. What is not quite so (an escape, an exponent, a comma in the wrong
 * place, a heap that is full) is −1 and nothing has happened: the reader of its type then reads it, or says what is wrong. Each of these
 * takes less than its reader does, and nothing else.
 */

const quickKinds = ['long', 'int', 'string', 'double', 'timestamp', 'timestamptz', 'boolean'] as const

/** 0 for a type that has none of these; see {@link readQuickly}. */
export function quickKind(type: Type): number {
  return quickKinds.findIndex((kind) => kind === type.kind) + 1
}

/** What of a column these need at hand. */
export class QuickColumn {
  readonly words: Int32Array
  readonly doubles: Float64Array
  readonly bytes: Uint8Array
  readonly ends: Int32Array
  readonly heap: Uint8Array
  readonly heapView: DataView
  /** The day that was read last, and how it was written: rows of one moment share it. */
  #dayStart = 0
  #dayMiddle = 0
  #dayEnd = 0
  #day = Number.NaN

  constructor({ words, data, ends, heap, layout }: Column) {
    this.words = words
    this.bytes = data
    this.ends = ends
    this.heap = heap
    this.heapView = new DataView(heap.buffer, heap.byteOffset, heap.byteLength)
    const isAligned = layout === 'f64' && words.byteOffset % 8 === 0
    this.doubles = isAligned ? new Float64Array(words.buffer, words.byteOffset, words.length >> 1) : noDoubles
  }

  /** Days since 1970-01-01 of the ten characters at `at`; NaN when they are no day. */
  day(bytes: Uint8Array, view: DataView, at: number): number {
    const start = view.getInt32(at, true)
    const middle = view.getInt32(at + 4, true)
    const end = view.getInt16(at + 8, true)
    if (start === this.#dayStart && middle === this.#dayMiddle && end === this.#dayEnd) return this.#day
    this.#day = readDay(bytes, at, at + 10)
    this.#dayStart = start
    this.#dayMiddle = middle
    this.#dayEnd = end
    return this.#day
  }
}

const noDoubles = new Float64Array(0)

/** Reads the value at `at` into a cell. Returns the place behind it, or −1. `view` is of all of `bytes`. */
export function readQuickly(
  kind: number,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  column: QuickColumn,
  row: number,
): number {
  switch (kind) {
    case 1:
      return readLong(bytes, at, end, column, row)
    case 2:
      return readInt(bytes, at, end, column, row)
    case 3:
      return readString(bytes, view, at, end, column, row)
    case 4:
      return readDouble(bytes, at, end, column, row)
    case 5:
      return readTimestamp(bytes, view, at, end, column, row, 0x22)
    case 6:
      return readTimestamp(bytes, view, at, end, column, row, 0x5a)
    case 7:
      return readBoolean(view, at, end, column, row)
    default:
      return -1
  }
}

/** Whether a number ends at a byte. */
function endsNumber(byte: number): boolean {
  return byte === 0x2c || byte === 0x7d
}

/** Up to 15 digits: a double has them all. The first nine are a whole number of 32 bits, which takes less. */
function readLong(bytes: Uint8Array, at: number, end: number, { words }: QuickColumn, row: number): number {
  const isNegative = bytes[at] === 0x2d
  if (isNegative) at++
  const first = at
  let short = 0
  let digit = 0
  const middle = Math.min(end, at + 9)
  while (at < middle && (digit = bytes[at] - 0x30) >= 0 && digit <= 9) {
    short = (short * 10 + digit) | 0
    at++
  }
  if (at < end && at > first && endsNumber(bytes[at]) && (at - first === 1 || bytes[first] !== 0x30)) {
    if (isNegative) short = -short | 0
    words[row * 2] = short
    words[row * 2 + 1] = short >> 31
    return at
  }
  let number = short
  const last = Math.min(end, first + 16)
  while (at < last && (digit = bytes[at] - 0x30) >= 0 && digit <= 9) {
    number = number * 10 + digit
    at++
  }
  const count = at - first
  if (count === 0 || count > 15 || at >= end || !endsNumber(bytes[at]) || (count > 1 && bytes[first] === 0x30)) return -1
  putWhole(words, row, isNegative ? -number : number)
  return at
}

/** Up to 9 digits: they are in range. */
function readInt(bytes: Uint8Array, at: number, end: number, { words }: QuickColumn, row: number): number {
  const isNegative = bytes[at] === 0x2d
  if (isNegative) at++
  const first = at
  let number = 0
  const last = Math.min(end, at + 10)
  let digit = 0
  while (at < last && (digit = bytes[at] - 0x30) >= 0 && digit <= 9) {
    number = (number * 10 + digit) | 0
    at++
  }
  const count = at - first
  if (count === 0 || count > 9 || at >= end || !endsNumber(bytes[at]) || (count > 1 && bytes[first] === 0x30)) return -1
  words[row] = isNegative ? -number : number
  return at
}

const powers = Float64Array.from({ length: 16 }, (_, i) => 10 ** i)

/** Up to 15 digits without an exponent: one division gives the nearest double. */
function readDouble(bytes: Uint8Array, at: number, end: number, { doubles }: QuickColumn, row: number): number {
  const isNegative = bytes[at] === 0x2d
  if (isNegative) at++
  const first = at
  let short = 0
  let digit = 0
  // As many digits as are a whole number of 32 bits.
  const middle = Math.min(end, at + 9)
  while (at < middle && (digit = bytes[at] - 0x30) >= 0 && digit <= 9) {
    short = (short * 10 + digit) | 0
    at++
  }
  let number = short
  const last = Math.min(end, first + 17)
  if (at === middle) {
    while (at < last && (digit = bytes[at] - 0x30) >= 0 && digit <= 9) {
      number = number * 10 + digit
      at++
    }
  }
  let count = at - first
  if (count === 0 || at >= end || (count > 1 && bytes[first] === 0x30) || row >= doubles.length) return -1
  if (bytes[at] === 0x2e) {
    const point = ++at
    // With those before the point at most nine.
    const most = Math.min(last, point + 9 - count)
    while (at < most && (digit = bytes[at] - 0x30) >= 0 && digit <= 9) {
      short = (short * 10 + digit) | 0
      at++
    }
    if (at > point) number = short
    while (at < last && (digit = bytes[at] - 0x30) >= 0 && digit <= 9) {
      number = number * 10 + digit
      at++
    }
    const fraction = at - point
    count += fraction
    if (fraction === 0 || count > 15) return -1
    number /= powers[fraction]
  }
  if (count > 15 || at >= end || !endsNumber(bytes[at])) return -1
  doubles[row] = isNegative ? -number : number
  return at
}

function readString(bytes: Uint8Array, view: DataView, at: number, end: number, column: QuickColumn, row: number): number {
  const { heap, heapView, ends } = column
  const start = ends[row]
  let to = start + 4
  if (bytes[at] !== 0x22 || to > heap.length) return -1
  at++
  const lastWord = Math.min(end - 4, at + heap.length - to - 4)
  // Four bytes at a time, while none of them is a quote, a backslash or a control character.
  while (at <= lastWord) {
    const word = view.getInt32(at, true)
    const quote = word ^ 0x2222_2222
    const escape = word ^ 0x5c5c_5c5c
    const special =
      (((word - 0x2020_2020) & ~word) | ((quote - 0x0101_0101) & ~quote) | ((escape - 0x0101_0101) & ~escape)) & 0x8080_8080
    heapView.setInt32(to, word, true)
    if (special !== 0) {
      // The lowest bit is of the first such byte; what is above it may be wrong.
      const bits = 31 - Math.clz32(special & -special)
      if (((word >> (bits - 7)) & 0xff) !== 0x22) return -1
      const before = bits >> 3
      return putLength(column, start, to + before, row) ? at + before + 1 : -1
    }
    at += 4
    to += 4
  }
  const last = Math.min(end, at + heap.length - to + 1)
  for (; at < last; at++) {
    const byte = bytes[at]
    if (byte === 0x22) return putLength(column, start, to, row) ? at + 1 : -1
    if (byte === 0x5c || byte < 0x20 || to >= heap.length) return -1
    heap[to++] = byte
  }
  return -1
}

function putLength({ heapView, ends }: QuickColumn, start: number, to: number, row: number): boolean {
  const length = to - start - 4
  if (length > maxValueBytes) return false
  heapView.setInt32(start, length, true)
  ends[row + 1] = to
  return true
}

/** As characters `00:0`, `0:00`: what is not a digit in its place leaves more than four bits. */
const clockStart = 0x303a_3030
const clockEnd = 0x3030_3a30

/** Whether each byte is at most 9, that of `colons` 0. */
function areDigits(word: number, colons: number): boolean {
  return ((word | (word + 0x0606_0606)) & 0xf0f0_f0f0) === 0 && (word & colons) === 0
}

/** Days since 1970 before which, and behind, a moment in microseconds is no whole double. */
const exactDays = 100_000

/** `"2026-01-31T12:00:00.123456` and then `last`, a quote or the Z before it; up to six digits of a second, or none. */
function readTimestamp(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  column: QuickColumn,
  row: number,
  last: number,
): number {
  if (end - at < 22 || bytes[at] !== 0x22 || bytes[at + 11] !== 0x54) return -1
  const day = column.day(bytes, view, at + 1)
  // Hours and the minutes' tens; the minutes' ones and seconds.
  const start = view.getInt32(at + 12, true) ^ clockStart
  const rest = view.getInt32(at + 16, true) ^ clockEnd
  if (!areDigits(start, 0xff_0000) || !areDigits(rest, 0xff00) || !(day > -exactDays && day < exactDays)) return -1
  const hours = (start & 15) * 10 + ((start >> 8) & 15)
  const minutes = (start >> 24) * 10 + (rest & 15)
  const seconds = ((rest >> 16) & 15) * 10 + (rest >> 24)
  if (hours > 23 || minutes > 59 || seconds > 59) return -1
  at += 20
  let micros = 0
  if (bytes[at] === 0x2e) {
    const first = ++at
    let digit = 0
    const most = Math.min(end, at + 6)
    while (at < most && (digit = bytes[at] - 0x30) >= 0 && digit <= 9) {
      micros = (micros * 10 + digit) | 0
      at++
    }
    const count = at - first
    if (count === 0) return -1
    micros *= microsOf[count]
  }
  if (at + 2 > end || bytes[at] !== last) return -1
  if (last !== 0x22 && bytes[++at] !== 0x22) return -1
  putWhole(column.words, row, (day * 86_400 + (hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
  return at + 1
}

/** Microseconds of the last of so many digits behind the point of a second. */
const microsOf = Int32Array.from({ length: 7 }, (_, count) => 10 ** (6 - count))

/** A power of two: multiplying by it is exact, and takes a fraction of what dividing does. */
const perTwo32 = 1 / 0x1_0000_0000

/** A whole number that a double has exactly, as a 64-bit integer. */
function putWhole(words: Int32Array, row: number, number: number): void {
  const high = Math.floor(number * perTwo32)
  words[row * 2] = (number - high * 0x1_0000_0000) | 0
  words[row * 2 + 1] = high
}

const isTrue = 0x6575_7274 // "true", first letter lowest
const isFals = 0x736c_6166

function readBoolean(view: DataView, at: number, end: number, { bytes }: QuickColumn, row: number): number {
  if (end - at < 5) return -1
  const word = view.getInt32(at, true)
  if (word === isTrue) {
    bytes[row] = 1
    return at + 4
  }
  if (word !== isFals || view.getUint8(at + 4) !== 0x65) return -1
  bytes[row] = 0
  return at + 5
}
