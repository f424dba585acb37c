import { assert } from '../base/index.ts'
import type { Column, PrimitiveType, SharedSegment } from '../data/index.ts'
import { resultType, transformColumn } from '../iceberg/index.ts'
import type { SortKey, TransformedValues } from '../iceberg/index.ts'
import type { LiveRows } from './live-rows.ts'
import { ValueNumbers } from './value-numbers.ts'

/** Texts of a column are ranked when so few of them differ. */
const mostRanked = 16_384
/** Types whose values are words, with a sign. */
const wholeNumbers: ReadonlySet<PrimitiveType['kind']> = new Set(['int', 'date', 'long', 'time', 'timestamp', 'timestamptz'])
const signBit = 1 << 31

type Comparison = (a: number, b: number) => number

/** How rows compare, by their numbers. */
export function comparisonOf(fields: readonly SortValues[]): Comparison {
  const comparisons = fields.map((values) => compareBy(values))
  if (comparisons.length === 1) return comparisons[0]
  return (a, b) => {
    for (const compare of comparisons) {
      const order = compare(a, b)
      if (order !== 0) return order
    }
    return 0
  }
}

/** Values of one sort field of some rows, in a form whose bytes compare as the values do. */
interface SortWords {
  readonly absent: Uint8Array
  /** The first eight bytes, filled up with zeros. */
  readonly high: Uint32Array
  readonly low: Uint32Array
}

function newWords(rows: number): SortWords {
  return { absent: new Uint8Array(rows), high: new Uint32Array(rows), low: new Uint32Array(rows) }
}

export interface SortValues extends SortWords {
  readonly key: SortKey
  /** Compares what the words do not say; null when they say it all. */
  readonly rest: Comparison | null
}

function compareBy(values: SortValues): Comparison {
  const { key, rest } = values
  const direction = key.descending ? -1 : 1
  return (a, b) => {
    const order = compareWords(key, values, a, values, b)
    return order !== 0 || rest === null || values.absent[a] === 1 ? order : direction * rest(a, b)
  }
}

function compareWords({ descending, nullsFirst }: SortKey, x: SortWords, a: number, y: SortWords, b: number): number {
  const isAbsent = x.absent[a]
  const isOtherAbsent = y.absent[b]
  if ((isAbsent | isOtherAbsent) !== 0) return isAbsent === isOtherAbsent ? 0 : (isAbsent === 1) === nullsFirst ? -1 : 1
  const isLess = x.high[a] === y.high[b] ? x.low[a] < y.low[b] : x.high[a] < y.high[b]
  if (isLess) return descending ? 1 : -1
  if (x.high[a] === y.high[b] && x.low[a] === y.low[b]) return 0
  return descending ? -1 : 1
}

interface Bytes {
  readonly bytes: Uint8Array
  readonly start: (row: number) => number
  readonly end: (row: number) => number
}

/** Puts values of a column's rows into words, from number `first` on. Returns their bytes; null when the words say it all. */
function fillWords(
  { absent, high, low }: SortWords,
  first: number,
  key: SortKey,
  column: Column,
  rows: Int32Array,
): Bytes | null {
  const type = resultType(key.transform, column.field.type)
  assert(type !== null, 'a sort field fits its column')
  const values = transformColumn(key.transform, column, rows)
  if (wholeNumbers.has(type.kind)) {
    absent.set(
      values.present.map((present) => present ^ 1),
      first,
    )
    const words = new Int32Array(values.data.buffer)
    if (values.width === 4) for (let i = 0; i < rows.length; i++) high[first + i] = words[i] ^ signBit
    else {
      for (let i = 0; i < rows.length; i++) {
        high[first + i] = words[2 * i + 1] ^ signBit
        low[first + i] = words[2 * i]
      }
    }
    return null
  }
  const part = sortBytes(values, rows.length, type.kind)
  for (let i = 0; i < rows.length; i++) {
    if (values.present[i] === 0) {
      absent[first + i] = 1
      continue
    }
    const start = part.start(i)
    const end = part.end(i)
    high[first + i] = wordAt(part.bytes, start, end)
    low[first + i] = wordAt(part.bytes, start + 4, end)
  }
  return values.width === 0 || values.width > 8 ? part : null
}

/** What rows are sorted by, each field by itself. */
export function sortValuesOf(live: LiveRows, keys: readonly SortKey[]): SortValues[] {
  return keys.map((key) => sortValues(live, key))
}

function sortValues(live: LiveRows, key: SortKey): SortValues {
  const words = newWords(live.count)
  const parts: (Bytes | null)[] = []
  const firsts: number[] = []
  let first = 0
  for (const { segment, rows } of live.parts) {
    parts.push(fillWords(words, first, key, segment.columns[key.column], rows))
    firsts.push(first)
    first += rows.length
  }
  if (!parts.some((part) => part !== null) || rankInstead(words, parts, firsts)) return { ...words, key, rest: null }
  const rest = (a: number, b: number): number => {
    const [p, q] = [partOf(firsts, a), partOf(firsts, b)]
    return compareRest(parts[p], a - firsts[p], parts[q], b - firsts[q])
  }
  return { ...words, key, rest }
}

/** Puts the places of values among all different ones into their words. False when there are too many; nothing has changed then. */
function rankInstead({ absent, high, low }: SortWords, parts: readonly (Bytes | null)[], firsts: readonly number[]): boolean {
  const numbers = new ValueNumbers()
  const numberOf = new Uint32Array(absent.length)
  for (const [p, part] of parts.entries()) {
    const end = p + 1 < firsts.length ? firsts[p + 1] : absent.length
    for (let i = firsts[p]; i < end; i++) {
      if (part === null || absent[i] === 1) continue
      numberOf[i] = numbers.of(part.bytes, part.start(i - firsts[p]), part.end(i - firsts[p]))
      if (numbers.size > mostRanked) return false
    }
  }
  const ranks = numbers.ranks()
  high.fill(0)
  for (let i = 0; i < absent.length; i++) low[i] = ranks[numberOf[i]]
  return true
}

function compareRest(x: Bytes | null, i: number, y: Bytes | null, j: number): number {
  return x === null || y === null ? 0 : compareBytes(x.bytes, x.start(i), x.end(i), y.bytes, y.start(j), y.end(j))
}

/** The sort values of all rows of one segment, to be compared with another's. */
export type SegmentSortValues = readonly (SortWords & { readonly bytes: Bytes | null })[]

export function segmentSortValues(segment: SharedSegment, keys: readonly SortKey[]): SegmentSortValues {
  const rows = Int32Array.from({ length: segment.capacity }, (_, row) => row)
  return keys.map((key) => {
    const words = newWords(rows.length)
    return { ...words, bytes: fillWords(words, 0, key, segment.columns[key.column], rows) }
  })
}

/** How row `i` of one segment and row `j` of another compare; see {@link comparison}. */
export function compareRows(keys: readonly SortKey[], x: SegmentSortValues, i: number, y: SegmentSortValues, j: number): number {
  for (let k = 0; k < keys.length; k++) {
    const order = compareWords(keys[k], x[k], i, y[k], j)
    if (order !== 0) return order
    if (x[k].absent[i] === 1) continue
    const rest = compareRest(x[k].bytes, i, y[k].bytes, j)
    if (rest !== 0) return keys[k].descending ? -rest : rest
  }
  return 0
}

/** Big-endian word of `bytes[at, end)`, zeros beyond. */
function wordAt(bytes: Uint8Array, at: number, end: number): number {
  let word = 0
  for (let i = at; i < at + 4; i++) word = (word << 8) | (i < end ? bytes[i] : 0)
  return word >>> 0
}

/** Numbers become big-endian with their sign turned round, so that all bytes compare without one. */
function sortBytes({ data, width, starts, ends }: TransformedValues, rows: number, kind: PrimitiveType['kind']): Bytes {
  if (width === 0) return { bytes: data, start: (row) => starts[row], end: (row) => ends[row] }
  const fixed = { start: (row: number) => row * width, end: (row: number) => (row + 1) * width }
  if (kind === 'uuid' || kind === 'fixed' || kind === 'boolean') return { bytes: data, ...fixed }
  const isFloat = kind === 'float' || kind === 'double'
  const bytes = new Uint8Array(rows * width)
  for (let at = 0; at < bytes.length; at += width) {
    const isNegativeFloat = isFloat && (data[at + width - 1] & 128) !== 0
    for (let k = 0; k < width; k++) bytes[at + k] = isNegativeFloat ? ~data[at + width - 1 - k] : data[at + width - 1 - k]
    if (!isNegativeFloat) bytes[at] ^= 128
  }
  return { bytes, ...fixed }
}

function partOf(firsts: readonly number[], row: number): number {
  let low = 0
  let high = firsts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (firsts[middle] <= row) low = middle
    else high = middle - 1
  }
  return low
}

function compareBytes(a: Uint8Array, aStart: number, aEnd: number, b: Uint8Array, bStart: number, bEnd: number): number {
  const length = Math.min(aEnd - aStart, bEnd - bStart)
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return a[aStart + i] - b[bStart + i]
  return aEnd - aStart - (bEnd - bStart)
}
