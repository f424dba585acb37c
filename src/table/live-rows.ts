import { isAlive } from '../data/index.ts'
import type { Column, Field, SharedPart, SharedSegment } from '../data/index.ts'

/** Some rows of a segment, see {@link LiveRows}. */
export interface LivePart {
  readonly segment: SharedSegment
  /** Ascending. */
  readonly rows: Int32Array
}

/** Rows gathered at a time, so that little is copied before it is encoded. */
const gatherRows = 8192
/** … and about the bytes of their texts. */
const gatherBytes = 8 << 20

/** Rows of several segments, numbered one after another from 0. */
export class LiveRows {
  readonly parts: readonly LivePart[]
  readonly count: number
  /** By number: the part, and the row in its segment. */
  readonly #partOf: Uint32Array
  readonly #rowOf: Int32Array

  constructor(parts: readonly LivePart[]) {
    this.parts = parts
    this.count = this.parts.reduce((sum, { rows }) => sum + rows.length, 0)
    this.#partOf = new Uint32Array(this.count)
    this.#rowOf = new Int32Array(this.count)
    let at = 0
    for (const [i, { rows }] of this.parts.entries()) {
      this.#partOf.fill(i, at, at + rows.length)
      this.#rowOf.set(rows, at)
      at += rows.length
    }
  }

  /** Rows by ascending numbers, in runs of one segment each. */
  *runs(numbers: Uint32Array): Generator<{ segment: SharedSegment; rows: Int32Array }> {
    for (let from = 0; from < numbers.length;) {
      const part = this.#partOf[numbers[from]]
      let to = from + 1
      while (to < numbers.length && this.#partOf[numbers[to]] === part) to++
      const rows = new Int32Array(to - from)
      for (let i = from; i < to; i++) rows[i - from] = this.#rowOf[numbers[i]]
      yield { segment: this.parts[part].segment, rows }
      from = to
    }
  }

  /** Rows by numbers in any order, copied into segments in that order; of at most so many rows each. */
  *gathered(numbers: Uint32Array, fields: readonly Field[], mostRows = gatherRows): Generator<SharedSegment> {
    const segments = this.parts.map(({ segment }) => segment)
    for (let from = 0; from < numbers.length;) {
      const to = this.#chunkEnd(numbers, from, Math.min(numbers.length, from + mostRows), fields.length)
      const chunk = numbers.subarray(from, to)
      yield gather(
        segments,
        chunk.map((number) => this.#partOf[number]),
        Int32Array.from(chunk, (number) => this.#rowOf[number]),
        fields,
      )
      from = to
    }
  }

  #chunkEnd(numbers: Uint32Array, from: number, most: number, columns: number): number {
    let bytes = 0
    for (let i = from; i < most; i++) {
      bytes += textBytes(this.parts[this.#partOf[numbers[i]]].segment, this.#rowOf[numbers[i]], columns)
      if (bytes >= gatherBytes) return i + 1
    }
    return most
  }
}

/** The rows of parts that are alive at a source commit. */
export function liveParts(parts: readonly SharedPart[], commit: number): LivePart[] {
  return parts.map(({ segment, from, to }) => ({ segment, rows: aliveRows(segment, from, to, commit) ?? range(from, to) }))
}

/** Bytes of a row's texts and nested values in the first `columns` columns. */
export function textBytes(segment: SharedSegment, row: number, columns: number): number {
  let bytes = 0
  for (let k = 0; k < columns; k++) {
    const { layout, ends } = segment.columns[k]
    if (layout === 'var') bytes += ends[row + 1] - ends[row]
  }
  return bytes
}

/** A segment of its own whose row i is row `rowOf[i]` of segment `partOf[i]`; columns by their positions. */
export function gather(
  segments: readonly SharedSegment[],
  partOf: Uint32Array,
  rowOf: Int32Array,
  fields: readonly Field[],
): SharedSegment {
  const columns = fields.map((field, i) => {
    const sources = segments.map((segment) => segment.columns[i])
    return gatherColumn(sources, partOf, rowOf, field)
  })
  return { id: 0, capacity: rowOf.length, columns, deletedAt: null, baseCommit: 0 }
}

function gatherColumn(sources: readonly Column[], partOf: Uint32Array, rowOf: Int32Array, field: Field): Column {
  const [{ layout, width }] = sources
  const count = rowOf.length
  const valid = sources.some((source) => source.valid !== null) ? new Uint8Array((count + 8) >> 3) : null
  if (valid !== null) {
    for (let i = 0; i < count; i++) {
      const source = sources[partOf[i]].valid
      const row = rowOf[i]
      if (source === null || (source[row >> 3] & (1 << (row & 7))) !== 0) valid[i >> 3] |= 1 << (i & 7)
    }
  }
  if (layout === 'var') {
    const ends = new Int32Array(count + 1)
    for (let i = 0; i < count; i++) {
      const source = sources[partOf[i]].ends
      const row = rowOf[i]
      ends[i + 1] = ends[i] + source[row + 1] - source[row]
    }
    const heap = new Uint8Array(ends[count])
    for (let i = 0; i < count; i++) {
      const source = sources[partOf[i]]
      const row = rowOf[i]
      if (ends[i + 1] > ends[i]) heap.set(source.heap.subarray(source.ends[row], source.ends[row + 1]), ends[i])
    }
    return { field, layout, width, valid, data: noBytes, words: noWords, ends, heap }
  }
  const data = new Uint8Array(count * width)
  const words = wordsOf(layout, width, data)
  if (words.length > 0) {
    const wide = width >> 2
    for (let i = 0; i < count; i++) {
      const source = sources[partOf[i]].words
      const from = rowOf[i] * wide
      for (let k = 0; k < wide; k++) words[i * wide + k] = source[from + k]
    }
  } else {
    for (let i = 0; i < count; i++) {
      const source = sources[partOf[i]].data
      const from = rowOf[i] * width
      for (let k = 0; k < width; k++) data[i * width + k] = source[from + k]
    }
  }
  return { field, layout, width, valid, data, words, ends: noWords, heap: noBytes }
}

/** `data` of a column as 32-bit words, where it has any; see `Column`. */
export function wordsOf(layout: Column['layout'], width: number, data: Uint8Array<ArrayBuffer>): Int32Array {
  return width % 4 === 0 && layout !== 'fixed' ? new Int32Array(data.buffer, data.byteOffset, data.length >> 2) : noWords
}

const noBytes = new Uint8Array(0)
const noWords = new Int32Array(0)

/** The rows of [from, to) alive at `commit`; null when all are. */
export function aliveRows(segment: SharedSegment, from: number, to: number, commit: number): Int32Array | null {
  if (!segment.deletedAt) return null
  let dead = 0
  for (let row = from; row < to; row++) if (!isAlive(segment, row, commit)) dead++
  if (dead === 0) return null
  const rows = new Int32Array(to - from - dead)
  let count = 0
  for (let row = from; row < to; row++) if (isAlive(segment, row, commit)) rows[count++] = row
  return rows
}

function range(from: number, to: number): Int32Array {
  const rows = new Int32Array(to - from)
  for (let i = 0; i < rows.length; i++) rows[i] = from + i
  return rows
}
