import { isAlive } from '../data/index.ts'
import type { Column, Field, SharedPart, SharedSegment } from '../data/index.ts'

/** The rows of a part that are alive, see {@link LiveRows}. */
interface LivePart {
  readonly segment: SharedSegment
  /** Ascending. */
  readonly rows: Int32Array
}

/** Rows gathered at a time, so that little is copied before it is encoded. */
const gatherRows = 8192
/** … and about the bytes of their texts. */
const gatherBytes = 8 << 20

/** The rows of several segments that are alive at a source commit, numbered one after another from 0. */
export class LiveRows {
  readonly parts: readonly LivePart[]
  readonly count: number
  /** By number: the part, and the row in its segment. */
  readonly #partOf: Uint32Array
  readonly #rowOf: Int32Array

  constructor(parts: readonly SharedPart[], commit: number) {
    this.parts = parts.map(({ segment, from, to }) => ({
      segment,
      rows: aliveRows(segment, from, to, commit) ?? range(from, to),
    }))
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

  /** Rows by numbers in any order, copied into segments in that order. */
  *gathered(numbers: Uint32Array, fields: readonly Field[]): Generator<SharedSegment> {
    for (let from = 0; from < numbers.length;) {
      const to = this.#chunkEnd(numbers, from, fields.length)
      const chunk = numbers.subarray(from, to)
      const columns = fields.map((field, i) => this.#gather(chunk, i, field))
      yield { id: 0, capacity: to - from, columns, deletedAt: null, baseCommit: 0 }
      from = to
    }
  }

  #chunkEnd(numbers: Uint32Array, from: number, columns: number): number {
    const most = Math.min(numbers.length, from + gatherRows)
    let bytes = 0
    for (let i = from; i < most; i++) {
      const { segment } = this.parts[this.#partOf[numbers[i]]]
      const row = this.#rowOf[numbers[i]]
      for (let k = 0; k < columns; k++) {
        const { layout, ends } = segment.columns[k]
        if (layout === 'var') bytes += ends[row + 1] - ends[row]
      }
      if (bytes >= gatherBytes) return i + 1
    }
    return most
  }

  #gather(numbers: Uint32Array, position: number, field: Field): Column {
    const sources = this.parts.map(({ segment }) => segment.columns[position])
    const [{ layout, width }] = sources
    const count = numbers.length
    const valid = sources.some((source) => source.valid !== null) ? new Uint8Array((count + 8) >> 3) : null
    if (valid !== null) {
      for (let i = 0; i < count; i++) {
        const source = sources[this.#partOf[numbers[i]]].valid
        const row = this.#rowOf[numbers[i]]
        if (source === null || (source[row >> 3] & (1 << (row & 7))) !== 0) valid[i >> 3] |= 1 << (i & 7)
      }
    }
    if (layout === 'var') {
      const ends = new Int32Array(count + 1)
      for (let i = 0; i < count; i++) {
        const source = sources[this.#partOf[numbers[i]]].ends
        const row = this.#rowOf[numbers[i]]
        ends[i + 1] = ends[i] + source[row + 1] - source[row]
      }
      const heap = new Uint8Array(ends[count])
      for (let i = 0; i < count; i++) {
        const source = sources[this.#partOf[numbers[i]]]
        const row = this.#rowOf[numbers[i]]
        if (ends[i + 1] > ends[i]) heap.set(source.heap.subarray(source.ends[row], source.ends[row + 1]), ends[i])
      }
      return { field, layout, width, valid, data: noBytes, words: noWords, ends, heap }
    }
    const data = new Uint8Array(count * width)
    const words = width % 4 === 0 && layout !== 'fixed' ? new Int32Array(data.buffer) : noWords
    if (words.length > 0) {
      const wide = width >> 2
      for (let i = 0; i < count; i++) {
        const source = sources[this.#partOf[numbers[i]]].words
        const from = this.#rowOf[numbers[i]] * wide
        for (let k = 0; k < wide; k++) words[i * wide + k] = source[from + k]
      }
    } else {
      for (let i = 0; i < count; i++) {
        const source = sources[this.#partOf[numbers[i]]].data
        const from = this.#rowOf[numbers[i]] * width
        for (let k = 0; k < width; k++) data[i * width + k] = source[from + k]
      }
    }
    return { field, layout, width, valid, data, words, ends: noWords, heap: noBytes }
  }
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
