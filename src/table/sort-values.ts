import { assert } from '../base/index.ts'
import type { PrimitiveType } from '../data/index.ts'
import { resultType, transformColumn } from '../iceberg/index.ts'
import type { SortKey, TransformedValues } from '../iceberg/index.ts'
import type { LiveRows } from './live-rows.ts'

type Comparison = (a: number, b: number) => number

/** How rows compare by a sort order, by their numbers (specification: "Sorting"; texts and binaries by bytes, NaN last). */
export function comparison(live: LiveRows, keys: readonly SortKey[]): Comparison {
  const comparisons = keys.map((key) => compareBy(key, sortValues(live, key)))
  if (comparisons.length === 1) return comparisons[0]
  return (a, b) => {
    for (const compare of comparisons) {
      const order = compare(a, b)
      if (order !== 0) return order
    }
    return 0
  }
}

/** Values of one sort field by row number, in a form whose bytes compare as the values do. */
interface SortValues {
  readonly absent: Uint8Array
  /** The first eight bytes, filled up with zeros. */
  readonly high: Uint32Array
  readonly low: Uint32Array
  /** Compares what those do not say; null when they say it all. */
  readonly rest: Comparison | null
}

function compareBy({ descending, nullsFirst }: SortKey, { absent, high, low, rest }: SortValues): Comparison {
  const direction = descending ? -1 : 1
  const absentFirst = nullsFirst ? -1 : 1
  return (a, b) => {
    if ((absent[a] | absent[b]) !== 0) return absent[a] === absent[b] ? 0 : absent[a] === 1 ? absentFirst : -absentFirst
    if (high[a] !== high[b]) return high[a] < high[b] ? -direction : direction
    if (low[a] !== low[b]) return low[a] < low[b] ? -direction : direction
    return rest === null ? 0 : direction * rest(a, b)
  }
}

interface Bytes {
  readonly bytes: Uint8Array
  readonly start: (row: number) => number
  readonly end: (row: number) => number
}

function sortValues(live: LiveRows, key: SortKey): SortValues {
  const absent = new Uint8Array(live.count)
  const high = new Uint32Array(live.count)
  const low = new Uint32Array(live.count)
  const parts: Bytes[] = []
  const firsts: number[] = []
  let first = 0
  let isWhole = true
  for (const { segment, rows } of live.parts) {
    const column = segment.columns[key.column]
    const type = resultType(key.transform, column.field.type)
    assert(type !== null, 'a sort field fits its column')
    const values = transformColumn(key.transform, column, rows)
    const part = sortBytes(values, rows.length, type.kind)
    parts.push(part)
    firsts.push(first)
    if (values.width === 0 || values.width > 8) isWhole = false
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
    first += rows.length
  }
  if (isWhole) return { absent, high, low, rest: null }
  const rest = (a: number, b: number): number => {
    const [p, q] = [partOf(firsts, a), partOf(firsts, b)]
    const [x, y] = [parts[p], parts[q]]
    const [i, j] = [a - firsts[p], b - firsts[q]]
    return compareBytes(x.bytes, x.start(i), x.end(i), y.bytes, y.start(j), y.end(j))
  }
  return { absent, high, low, rest }
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
