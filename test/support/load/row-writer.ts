import { Segment, SegmentGrowth } from '../../../src/data/index.ts'
import type { Column, Field } from '../../../src/data/index.ts'
import type { SourceParts } from '../../../src/source/index.ts'

const hexDigits = Buffer.from('0123456789abcdef')
/** 2026-01-01T00:00:00Z in microseconds. */
const startOfTime = 1_767_225_600_000_000

/** Some 32 bits that look like chance and are the same whenever they are asked for. */
export function mixed(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x165667b1, 0xc2b2ae35)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39)
  return (h ^ (h >>> 15)) >>> 0
}

/** Consecutive rows of one segment. */
export interface Rows {
  readonly segment: Segment
  readonly from: number
  readonly to: number
}

/**
 * Writes made-up rows straight into segments, as a decoder does: the first column is the row's number, an `int` named `version` its
 * version, all others follow from these two.
 */
export class RowWriter {
  readonly #fields: readonly Field[]
  readonly #parts: SourceParts
  readonly #growth: SegmentGrowth
  readonly #needed: Int32Array
  readonly #textBytes: number
  #segment: Segment | null = null
  readonly #retired: Segment[] = []

  constructor(fields: readonly Field[], textBytes: number, deletable: boolean, parts: SourceParts) {
    this.#fields = fields
    this.#parts = parts
    this.#textBytes = textBytes
    this.#growth = new SegmentGrowth(fields, deletable, parts.pool)
    this.#needed = new Int32Array(this.#growth.variable.length).fill(textBytes + 4)
  }

  /** Writes rows `from` to `to` of the list, as many as one segment takes; null when there is no memory now. */
  write(ids: ArrayLike<number>, version: (id: number) => number, from: number, to: number): Rows | null {
    let segment = this.#segment
    if (!segment || segment.sealed || !this.#hasRoom(segment)) {
      segment = this.#next()
      if (!segment) return null
    }
    const first = segment.rows
    let at = from
    for (; at < to && this.#hasRoom(segment); at++) {
      const id = ids[at]
      this.#row(segment, id, version(id))
    }
    return { segment, from: first, to: segment.rows }
  }

  #hasRoom(segment: Segment): boolean {
    if (segment.rows === segment.capacity) return false
    return this.#growth.variable.every((i) => {
      const { ends, heap } = segment.columns[i]
      return ends[segment.rows] + this.#textBytes + 4 <= heap.length
    })
  }

  #next(): Segment | null {
    this.#retire()
    const id = this.#parts.nextSegmentId()
    const segment = this.#growth.next({ id, baseCommit: this.#parts.currentCommit(), needed: this.#needed, orSmall: false })
    if (segment === 'too-large') throw new Error('the memory cannot hold one such row')
    return (this.#segment = segment === 'wait' ? null : segment)
  }

  #row(segment: Segment, id: number, version: number): void {
    const row = segment.rows
    for (let i = 0; i < segment.columns.length; i++) {
      const column = segment.columns[i]
      if (column.valid) column.valid[row >> 3] |= 1 << (row & 7)
      if (i === 0) putLong(column, row, id)
      else if (this.#fields[i].name === 'version') column.words[row] = version
      else this.#cell(column, row, mixed(id + i * 0x10001, version))
    }
    segment.rows = row + 1
  }

  #cell(column: Column, row: number, chance: number): void {
    switch (column.layout) {
      case 'i32':
        column.words[row] = chance % 100_000
        return
      case 'i64':
        putLong(column, row, startOfTime + chance * 1000)
        return
      case 'f64':
        column.words[2 * row] = 0
        column.words[2 * row + 1] = 0x40000000 | (chance >>> 4)
        return
      case 'var': {
        const { heap, ends } = column
        let at = ends[row]
        const bytes = this.#textBytes
        heap[at++] = bytes & 255
        heap[at++] = (bytes >> 8) & 255
        heap[at++] = (bytes >> 16) & 255
        heap[at++] = bytes >>> 24
        let word = chance
        for (let i = 0; i < bytes; i++) {
          if ((i & 7) === 7) word = Math.imul(word, 0x2c1b3c6d) ^ i
          // Half of it is text that compresses well.
          heap[at++] = (i & 16) === 0 ? hexDigits[(word >>> ((i & 7) * 4)) & 15] : 120
        }
        ends[row + 1] = at
        return
      }
      default:
        throw new Error(`made-up rows have no ${column.layout} columns`)
    }
  }

  #retire(): void {
    if (!this.#segment) return
    this.#growth.gaveUp(this.#segment)
    this.#segment.seal()
    this.#retired.push(this.#segment)
    this.#segment = null
  }

  /** The rows were taken: whoever needs a segment has pinned it. A sealed one is given up, too. */
  taken(): void {
    if (this.#segment?.sealed) this.#retire()
    for (const segment of this.#retired.splice(0)) segment.unpin()
  }

  close(): void {
    this.#retire()
    this.taken()
  }
}

function putLong(column: Column, row: number, value: number): void {
  column.words[2 * row] = value | 0
  column.words[2 * row + 1] = Math.floor(value / 2 ** 32)
}
