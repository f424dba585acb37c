import { copyBytes } from '../base/index.ts'
import { isAlive, layoutOf } from '../data/index.ts'
import type { Column, Field, SharedPart, SharedSegment } from '../data/index.ts'
import type { ColumnRows } from '../format/parquet/index.ts'
import { repeatedCells } from './repeated-cells.ts'

/** Some rows of a segment, see {@link LiveRows}. */
export interface LivePart {
  readonly segment: SharedSegment
  /** Ascending. */
  readonly rows: Int32Array
}

/** Rows in columns of their own: row i has the cell of row `rows[i]` of a column, or of row i where `rows` is null. */
export interface OrderedRows {
  readonly count: number
  readonly columns: readonly ColumnRows[]
}

/** Each different cell once, and by the number of a row: which of them it has. */
interface RepeatedColumn {
  readonly column: Column
  readonly cellOf: Uint16Array
}

/** Rows gathered at a time, so that little is copied before it is encoded. */
const gatherRows = 8192
/** … and about the bytes of their texts. */
const gatherBytes = 8 << 20
/** Memory that is not enough is replaced by so many times what is wanted. */
const roomForMore = 1.25

/** Rows of several segments, numbered one after another from 0. */
export class LiveRows {
  readonly parts: readonly LivePart[]
  readonly count: number
  /** By number: the part, and the row in its segment. */
  readonly #partOf: Uint32Array
  readonly #rowOf: Int32Array
  /** By position: a column whose cells come again and again; null for another one. */
  readonly #repeated = new Map<number, RepeatedColumn | null>()

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

  /** Rows by numbers in any order, copied into segments in that order; of at most so many rows each. One is good until the next. */
  *gathered(numbers: Uint32Array, fields: readonly Field[], mostRows = gatherRows): Generator<SharedSegment> {
    const all = fields.map((_, i) => i)
    for (const { chunk, columns } of this.#chunks(numbers, fields, all, mostRows)) {
      yield { id: 0, capacity: chunk.length, columns, deletedAt: null, baseCommit: 0 }
    }
  }

  /**
   * Rows by numbers in any order, as columns in that order, some rows at a time; cells that come again and again are in their column once.
   * One is good until the next.
   *
   * @param plain positions of columns that have a row for each of the rows
   */
  *ordered(numbers: Uint32Array, fields: readonly Field[], plain: readonly number[]): Generator<OrderedRows> {
    const repeated = fields.map((_, i) => (plain.includes(i) ? null : this.#repeatedColumn(fields, i)))
    const gathered = repeated.flatMap((one, i) => (one === null ? [i] : []))
    for (const { chunk, columns } of this.#chunks(numbers, fields, gathered, gatherRows)) {
      let next = 0
      yield {
        count: chunk.length,
        columns: repeated.map((one) => {
          if (one === null) return { column: columns[next++], rows: null }
          return { column: one.column, rows: pick(one.cellOf, chunk) }
        }),
      }
    }
  }

  /** Columns at some positions of rows by numbers, some rows at a time. */
  *#chunks(
    numbers: Uint32Array,
    fields: readonly Field[],
    positions: readonly number[],
    mostRows: number,
  ): Generator<{ readonly chunk: Uint32Array; readonly columns: readonly Column[] }> {
    const segments = this.parts.map(({ segment }) => segment)
    const memory = fields.map(() => new ColumnMemory())
    const texts = segments.map(({ columns }) => positions.flatMap((i) => (columns[i].layout === 'var' ? [columns[i].ends] : [])))
    for (let from = 0; from < numbers.length;) {
      const to = this.#chunkEnd(numbers, from, Math.min(numbers.length, from + mostRows), texts)
      const chunk = numbers.subarray(from, to)
      const partOf = chunk.map((number) => this.#partOf[number])
      const rowOf = pick(this.#rowOf, chunk)
      yield { chunk, columns: positions.map((i) => gatherColumn(segments, partOf, rowOf, fields[i], i, memory[i])) }
      from = to
    }
  }

  #repeatedColumn(fields: readonly Field[], i: number): RepeatedColumn | null {
    if (layoutOf(fields[i].type) !== 'var') return null
    let known = this.#repeated.get(i)
    if (known === undefined) {
      const cells = repeatedCells(this.parts, i, this.count)
      const segments = this.parts.map(({ segment }) => segment)
      known = cells && { column: gatherColumn(segments, cells.partOf, cells.rowOf, fields[i], i), cellOf: cells.cellOf }
      this.#repeated.set(i, known)
    }
    return known
  }

  /** @param texts by part: where rows of texts and nested values end */
  #chunkEnd(numbers: Uint32Array, from: number, most: number, texts: readonly (readonly Int32Array[])[]): number {
    let bytes = 0
    for (let i = from; i < most; i++) {
      const row = this.#rowOf[numbers[i]]
      for (const ends of texts[this.#partOf[numbers[i]]]) bytes += ends[row + 1] - ends[row]
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

/** What a table has for numbers. A loop: `from` with a function takes ten times as long. */
function pick(table: Int32Array | Uint16Array, numbers: Uint32Array): Int32Array {
  const picked = new Int32Array(numbers.length)
  for (let i = 0; i < numbers.length; i++) picked[i] = table[numbers[i]]
  return picked
}

/** A segment whose row i is row `rowOf[i]` of segment `partOf[i]`; columns by their positions. */
export function gather(
  segments: readonly SharedSegment[],
  partOf: Uint32Array,
  rowOf: ArrayLike<number>,
  fields: readonly Field[],
): SharedSegment {
  const columns = fields.map((field, i) => gatherColumn(segments, partOf, rowOf, field, i))
  return { id: 0, capacity: rowOf.length, columns, deletedAt: null, baseCommit: 0 }
}

/** The column at position `i` of such a segment; it lies in `memory`. */
function gatherColumn(
  segments: readonly SharedSegment[],
  partOf: Uint32Array,
  rowOf: ArrayLike<number>,
  field: Field,
  i: number,
  memory = new ColumnMemory(),
): Column {
  const sources = segments.map((segment) => segment.columns[i])
  const gathered = sources[0].layout === 'var' ? gatherTexts : gatherFixed
  return gathered(sources, partOf, rowOf, field, memory)
}

/** Memory of a column that may be overwritten, and is replaced where it is not enough: made anew it keeps the collector busy. */
class ColumnMemory {
  readonly #pieces: Partial<Record<'valid' | 'data' | 'ends' | 'heap', Uint8Array<ArrayBuffer>>> = {}

  take(piece: 'valid' | 'data' | 'ends' | 'heap', bytes: number): Uint8Array<ArrayBuffer> {
    let memory = this.#pieces[piece]
    if (!memory || memory.length < bytes) {
      memory = new Uint8Array(memory ? Math.ceil((bytes * roomForMore) / 8) * 8 : bytes)
      this.#pieces[piece] = memory
    }
    return memory.subarray(0, bytes)
  }
}

function gatherValid(
  sources: readonly Column[],
  partOf: Uint32Array,
  rowOf: ArrayLike<number>,
  memory: ColumnMemory,
): Uint8Array | null {
  if (sources.every((source) => source.valid === null)) return null
  const bitmaps = sources.map((source) => source.valid)
  const valid = memory.take('valid', (rowOf.length + 8) >> 3).fill(0)
  for (let i = 0; i < rowOf.length; i++) {
    const source = bitmaps[partOf[i]]
    const row = rowOf[i]
    if (source === null || (source[row >> 3] & (1 << (row & 7))) !== 0) valid[i >> 3] |= 1 << (i & 7)
  }
  return valid
}

function gatherTexts(
  sources: readonly Column[],
  partOf: Uint32Array,
  rowOf: ArrayLike<number>,
  field: Field,
  memory: ColumnMemory,
): Column {
  const count = rowOf.length
  const sourceEnds = sources.map((source) => source.ends)
  const endBytes = memory.take('ends', (count + 1) * 4)
  const ends = new Int32Array(endBytes.buffer, 0, count + 1)
  ends[0] = 0
  for (let i = 0; i < count; i++) {
    const source = sourceEnds[partOf[i]]
    const row = rowOf[i]
    ends[i + 1] = ends[i] + source[row + 1] - source[row]
  }
  const heap = memory.take('heap', ends[count])
  const views = sources.map((source) => viewOf(source.heap))
  const target = viewOf(heap)
  for (let i = 0; i < count; i++) {
    const part = partOf[i]
    copyBytes(views[part], sourceEnds[part][rowOf[i]], target, ends[i], ends[i + 1] - ends[i])
  }
  const valid = gatherValid(sources, partOf, rowOf, memory)
  return { field, layout: 'var', width: 0, valid, data: noBytes, words: noWords, ends, heap }
}

function gatherFixed(
  sources: readonly Column[],
  partOf: Uint32Array,
  rowOf: ArrayLike<number>,
  field: Field,
  memory: ColumnMemory,
): Column {
  const [{ layout, width }] = sources
  const count = rowOf.length
  const valid = gatherValid(sources, partOf, rowOf, memory)
  const data = memory.take('data', count * width)
  const words = wordsOf(layout, width, data)
  if (words.length > 0) {
    const wide = width >> 2
    const sourceWords = sources.map((source) => source.words)
    for (let i = 0; i < count; i++) {
      const source = sourceWords[partOf[i]]
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

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
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
