import { copyBytes, overloaded } from '../../base/index.ts'
import { SegmentGrowth, layoutOf, maxSegmentRows, maxValueBytes } from '../../data/index.ts'
import type { Column, Field, Segment } from '../../data/index.ts'
import { addRows } from '../push/index.ts'
import type { Rows } from '../push/index.ts'
import type { SourceParts } from '../source.ts'
import type { RecordParts } from './record-reader.ts'
import { slotKinds } from './row-image.ts'
import { refusals } from './values.ts'

/** How a column is written. */
const ways = { word: 0, twoWords: 1, byte: 2, variable: 3 } as const
/** A value from this size on may have a segment for itself and little else. */
const largeBytes = 64 << 10

/** A column of the segment at hand, and what of the image goes there. */
interface Target {
  readonly way: number
  /** −1 for a column that nothing is written to any more. */
  readonly slot: number
  readonly valid: Uint8Array | null
  readonly data: Uint8Array
  readonly words: Int32Array
  readonly ends: Int32Array
  readonly heap: Uint8Array
  readonly view: DataView
}

/**
 * Writes rows of one table into one segment after another. What all rows of a scope have in common is written once for all of them, when
 * the scope ends or the segment does.
 */
export class TableWriter {
  readonly #parts: SourceParts
  readonly #growth: SegmentGrowth
  /** By column. */
  readonly #ways: Uint8Array
  readonly #slots: Int32Array
  /** Whether a column has the same value in all rows of a scope. */
  readonly #isShared: readonly boolean[]
  /** Bytes that the next row needs in each `var` column. */
  readonly #needed: number[]
  readonly #record: RecordParts
  #segment: Segment | null = null
  #own: readonly Target[] = []
  #ownTexts: readonly Target[] = []
  #shared: readonly Target[] = []
  /** The first row whose shared columns are not written yet, and the first one that these have no room for; −1: to be found out. */
  #from = 0
  #limit = -1
  /** Rows of the request at hand. */
  rows: Rows[] = []
  /** Bytes of segments taken since it was last set to 0. */
  taken = 0
  /** Whether rows have to be stored though there is no memory for them. */
  insists = false

  /** @param shared slots of the image that change only where {@link fill} has been called before */
  constructor(fields: readonly Field[], shared: ReadonlySet<number>, record: RecordParts, parts: SourceParts) {
    this.#parts = parts
    this.#record = record
    this.#growth = new SegmentGrowth(fields, false, parts.pool)
    this.#needed = this.#growth.variable.map(() => 0)
    this.#slots = Int32Array.from(fields, ({ name }) => record.image.find(name))
    this.#isShared = Array.from(this.#slots, (slot) => slot < 0 || shared.has(slot))
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
  append(): void {
    let segment = this.#segment
    if (!segment || segment.sealed || segment.rows === segment.capacity || !this.#hasRoom(segment.rows)) {
      segment = this.#next()
    }
    const row = segment.rows
    const { image, reader, scratch } = this.#record
    const { kinds, low, high } = image
    const byte = row >> 3
    const bit = 1 << (row & 7)
    for (const target of this.#own) {
      const { slot, valid, way } = target
      const kind = kinds[slot]
      if (kind === slotKinds.none) {
        if (valid !== null) valid[byte] &= ~bit
        putNothing(target, row)
        continue
      }
      if (valid !== null) valid[byte] |= bit
      if (way === ways.variable) {
        const { ends, view } = target
        const start = low[slot]
        const length = high[slot] - start
        const at = ends[row]
        view.setInt32(at, length, true)
        copyBytes(kind === slotKinds.body ? reader.view : scratch.view, start, view, at + 4, length)
        ends[row + 1] = at + 4 + length
      } else if (way === ways.twoWords) {
        target.words[2 * row] = low[slot]
        target.words[2 * row + 1] = high[slot]
      } else if (way === ways.word) target.words[row] = low[slot]
      else target.data[row] = low[slot]
    }
    segment.rows = row + 1
    addRows(this.rows, segment, row, 1)
  }

  /** Writes the shared columns of the rows that do not have them yet. */
  fill(): void {
    this.#limit = -1
    const to = this.#segment?.rows ?? 0
    const from = this.#from
    if (from >= to) return
    this.#from = to
    const { image, reader, scratch } = this.#record
    for (const target of this.#shared) {
      const { slot, way } = target
      const kind = slot < 0 ? slotKinds.none : image.kinds[slot]
      if (target.valid !== null) setBits(target.valid, from, to, kind !== slotKinds.none)
      if (kind === slotKinds.none) for (let row = from; row < to; row++) putNothing(target, row)
      else if (way === ways.variable) {
        repeatBytes(target, kind === slotKinds.body ? reader.view : scratch.view, image.low[slot], image.high[slot], from, to)
      } else if (way === ways.twoWords) {
        for (let row = from; row < to; row++) {
          target.words[2 * row] = image.low[slot]
          target.words[2 * row + 1] = image.high[slot]
        }
      } else if (way === ways.word) target.words.fill(image.low[slot], from, to)
      else target.data.fill(image.low[slot], from, to)
    }
  }

  #hasRoom(row: number): boolean {
    if (this.#limit < 0) this.#limit = this.#sharedLimit()
    if (row >= this.#limit) return false
    const { kinds, low, high } = this.#record.image
    for (const { slot, ends, heap } of this.#ownTexts) {
      if (kinds[slot] !== slotKinds.none && ends[row] + 4 + high[slot] - low[slot] > heap.length) return false
    }
    return true
  }

  #sharedLimit(): number {
    const { kinds, low, high } = this.#record.image
    let limit = maxSegmentRows
    for (const { way, slot, ends, heap } of this.#shared) {
      if (way !== ways.variable || slot < 0 || kinds[slot] === slotKinds.none) continue
      const room = heap.length - ends[this.#from]
      limit = Math.min(limit, this.#from + Math.floor(room / (4 + high[slot] - low[slot])))
    }
    return limit
  }

  #next(): Segment {
    this.release()
    const { kinds, low, high } = this.#record.image
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
    const targets = segment.columns.map((column, i) => targetOf(column, this.#ways[i], this.#slots[i]))
    this.#own = targets.filter((_, i) => !this.#isShared[i])
    this.#ownTexts = this.#own.filter(({ way }) => way === ways.variable)
    this.#shared = targets.filter((_, i) => this.#isShared[i])
    this.#from = 0
    this.#limit = this.#sharedLimit()
    this.taken += segment.bytes
    segment.onSealed = () => {
      if (this.#segment === segment) this.release()
    }
    return segment
  }

  /** Gives up the segment; whoever has rows of it has pinned it. */
  release(): void {
    const segment = this.#segment
    if (!segment) return
    this.fill()
    this.#segment = null
    this.#from = 0
    segment.onSealed = null
    this.#growth.gaveUp(segment)
    segment.seal()
    segment.unpin()
  }
}

function targetOf({ valid, data, words, ends, heap }: Column, way: number, slot: number): Target {
  return { way, slot, valid, data, words, ends, heap, view: new DataView(heap.buffer, heap.byteOffset, heap.byteLength) }
}

function putNothing({ way, data, words, ends }: Target, row: number): void {
  if (way === ways.variable) ends[row + 1] = ends[row]
  else if (way === ways.twoWords) {
    words[2 * row] = 0
    words[2 * row + 1] = 0
  } else if (way === ways.word) words[row] = 0
  else data[row] = 0
}

/** Writes one value into many rows. */
function repeatBytes({ ends, heap, view }: Target, bytes: DataView, start: number, end: number, from: number, to: number): void {
  const first = ends[from]
  const size = 4 + end - start
  const all = size * (to - from)
  view.setInt32(first, end - start, true)
  copyBytes(bytes, start, view, first + 4, end - start)
  // What is there is put behind itself.
  for (let done = size; done < all; done *= 2) heap.copyWithin(first + done, first, first + Math.min(done, all - done))
  for (let row = from, at = first + size; row < to; row++, at += size) ends[row + 1] = at
}

/** Sets or clears the bits of rows. */
function setBits(bits: Uint8Array, from: number, to: number, value: boolean): void {
  let row = from
  while (row < to) {
    if ((row & 7) === 0 && row + 8 <= to) {
      const whole = (to - row) >> 3
      bits.fill(value ? 255 : 0, row >> 3, (row >> 3) + whole)
      row += whole << 3
      continue
    }
    if (value) bits[row >> 3] |= 1 << (row & 7)
    else bits[row >> 3] &= ~(1 << (row & 7))
    row++
  }
}
