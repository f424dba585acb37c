import { FrazilError } from '../../base/index.ts'
import { SegmentGrowth, layoutOf, maxValueBytes } from '../../data/index.ts'
import type { Column, Field, Segment, SegmentPart } from '../../data/index.ts'
import type { SourceParts } from '../source.ts'
import { slotKinds } from './row-image.ts'
import type { RowImage } from './row-image.ts'
import { refusals } from './values.ts'

/** Consecutive rows, pinned by whoever has them. */
export type Rows = { -readonly [K in keyof SegmentPart]: SegmentPart[K] }

/** How a column is written. */
const ways = { word: 0, twoWords: 1, byte: 2, variable: 3 } as const
/** Up to here copying byte by byte is faster than a view and a call. */
const shortBytes = 48
/** A value from this size on may have a segment for itself and little else. */
const largeBytes = 64 << 10

/** Writes rows of one table into one segment after another. */
export class TableWriter {
  readonly #parts: SourceParts
  readonly #growth: SegmentGrowth
  readonly #ways: Uint8Array
  /** The slot of each column, −1 for a column that nothing is written to any more. */
  readonly #slots: Int32Array
  /** Bytes that the next row needs in each `var` column. */
  readonly #needed: number[]
  readonly #image: RowImage
  #segment: Segment | null = null
  #columns: readonly Column[] = []
  /** Rows of the request at hand. */
  rows: Rows[] = []
  /** Bytes of segments taken since it was last set to 0. */
  taken = 0
  /** Whether rows have to be stored though there is no memory for them. */
  insists = false

  constructor(fields: readonly Field[], image: RowImage, parts: SourceParts) {
    this.#parts = parts
    this.#image = image
    this.#growth = new SegmentGrowth(fields, false, parts.pool)
    this.#needed = this.#growth.variable.map(() => 0)
    this.#slots = Int32Array.from(fields, ({ name }) => image.find(name))
    this.#ways = Uint8Array.from(fields, ({ type }) => {
      const layout = layoutOf(type)
      if (layout === 'var') return ways.variable
      return layout === 'bool' ? ways.byte : layout === 'i32' ? ways.word : ways.twoWords
    })
  }

  /**
   * Adds the row of the image. Throws a {@link RecordRefusal} when it is too large, and `unavailable` (`overloaded`) when there is no
   * memory for it now.
   */
  append(body: Uint8Array, scratch: Uint8Array): void {
    let segment = this.#segment
    if (!segment || segment.sealed || segment.rows === segment.capacity || !this.#hasRoom(segment.rows)) {
      segment = this.#next()
    }
    const row = segment.rows
    const { kinds, low, high } = this.#image
    for (let c = 0; c < this.#columns.length; c++) {
      const column = this.#columns[c]
      const slot = this.#slots[c]
      const kind = slot < 0 ? slotKinds.none : kinds[slot]
      const { valid } = column
      if (valid !== null) {
        if (kind === slotKinds.none) valid[row >> 3] &= ~(1 << (row & 7))
        else valid[row >> 3] |= 1 << (row & 7)
      }
      switch (this.#ways[c]) {
        case ways.variable:
          if (kind === slotKinds.none) column.ends[row + 1] = column.ends[row]
          else putBytes(column, row, kind === slotKinds.body ? body : scratch, low[slot], high[slot])
          break
        case ways.word:
          column.words[row] = kind === slotKinds.none ? 0 : low[slot]
          break
        case ways.twoWords:
          column.words[2 * row] = kind === slotKinds.none ? 0 : low[slot]
          column.words[2 * row + 1] = kind === slotKinds.none ? 0 : high[slot]
          break
        default:
          column.data[row] = kind === slotKinds.none ? 0 : low[slot]
      }
    }
    segment.rows = row + 1
    this.#add(segment, row)
  }

  #hasRoom(row: number): boolean {
    const { kinds, low, high } = this.#image
    for (const c of this.#growth.variable) {
      const slot = this.#slots[c]
      if (slot < 0 || kinds[slot] === slotKinds.none) continue
      const { ends, heap } = this.#columns[c]
      if (ends[row] + 4 + high[slot] - low[slot] > heap.length) return false
    }
    return true
  }

  #next(): Segment {
    this.release()
    const { kinds, low, high } = this.#image
    let largest = 0
    for (const [i, c] of this.#growth.variable.entries()) {
      const slot = this.#slots[c]
      const length = slot < 0 || kinds[slot] === slotKinds.none ? 0 : high[slot] - low[slot]
      if (length > maxValueBytes) throw refusals.tooLarge
      this.#needed[i] = length + 4
      largest = Math.max(largest, length)
    }
    const segment = this.#growth.next({
      id: this.#parts.nextSegmentId(),
      baseCommit: this.#parts.currentCommit(),
      needed: this.#needed,
      orSmall: largest >= largeBytes,
      overBudget: this.insists,
    })
    if (segment === 'too-large') throw refusals.tooLarge
    if (segment === 'wait') throw overloaded()
    this.#segment = segment
    this.#columns = segment.columns
    this.taken += segment.bytes
    segment.onSealed = () => {
      if (this.#segment === segment) this.release()
    }
    return segment
  }

  #add(segment: Segment, row: number): void {
    const last = this.rows.at(-1)
    if (last && last.segment === segment && last.to === row) {
      last.to = row + 1
      return
    }
    segment.pin()
    this.rows.push({ segment, from: row, to: row + 1 })
  }

  /** Gives up the segment; whoever has rows of it has pinned it. */
  release(): void {
    const segment = this.#segment
    if (!segment) return
    this.#segment = null
    segment.onSealed = null
    this.#growth.gaveUp(segment)
    segment.seal()
    segment.unpin()
  }
}

function putBytes(column: Column, row: number, from: Uint8Array, start: number, end: number): void {
  const { heap, ends } = column
  const length = end - start
  let at = ends[row]
  heap[at] = length
  heap[at + 1] = length >>> 8
  heap[at + 2] = length >>> 16
  heap[at + 3] = length >>> 24
  at += 4
  if (length <= shortBytes) for (let i = 0; i < length; i++) heap[at + i] = from[start + i]
  else heap.set(from.subarray(start, end), at)
  ends[row + 1] = at + length
}

/** Rows that nobody wants any more. */
export function letGo(rows: readonly Rows[]): void {
  for (const { segment } of rows) segment.unpin()
}

export function overloaded(): FrazilError {
  return new FrazilError('unavailable', 'overloaded', 'more comes than can be stored', { hint: 'Send it again later.' })
}
