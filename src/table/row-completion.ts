import { FrazilError, assert } from '../base/index.ts'
import type { SlabPool } from '../base/index.ts'
import { SegmentGrowth, isPresent } from '../data/index.ts'
import type { Column, Segment } from '../data/index.ts'
import type { HotRange } from './hot-range.ts'
import { keyReader, keyWords, mixWords } from './key-codec.ts'
import { OldValues, replacedKeys, rowOf } from './old-values.ts'
import type { PartialChange, ReadCells, SearchedTable } from './old-values.ts'
import { missingRow, unknownValue } from './refusals.ts'

/** What completing rows needs of a table. */
export interface CompletedTable extends SearchedTable {
  readonly pool: SlabPool
  /** See `SourceTable`. */
  readonly incomplete: readonly number[]
  nextSegmentId(): number
  /** See {@link TableParts.room}. */
  room(): Promise<boolean>
  /** The range that takes a slice of rows of this segment in source commit `commit`; it may have to be a new one. */
  rangeFor(segment: Segment, commit: number): HotRange
}

/** Rows completed before other work gets a turn: a few milliseconds. */
const sliceRows = 2048

/**
 * Applies changes whose rows come without the values that did not change (see `Change`): a complete row, made of what came and of
 * the row that it replaces, is written into a segment of the table's own. One transaction may change a row many times, so rows are
 * completed in their order; old rows in files are looked for and read ahead ({@link OldValues}).
 */
export class RowCompletion {
  readonly #table: CompletedTable
  readonly #old: OldValues
  readonly #growth: SegmentGrowth
  #segment: Segment | null = null
  /** Where the cells of the row at hand come from, by column. */
  readonly #from: Column[] = []
  readonly #at: Int32Array
  readonly #needed: Int32Array
  /** Why the last {@link #complete} stopped. */
  /** Memory is short for good: the next segment is taken all the same. */
  #exceed = false
  #missing: 'old values' | 'room' = 'old values'

  constructor(table: CompletedTable) {
    this.#table = table
    this.#old = new OldValues(table)
    this.#growth = new SegmentGrowth(table.fields, true, table.pool)
    this.#at = new Int32Array(table.fields.length)
    this.#needed = new Int32Array(this.#growth.variable.length)
  }

  /**
   * Applies `change` as part of source commit `commit`; `upcoming` tells the partial changes known to come after a row. Yields rows done, or
   * what it waits for. Throws `corrupt` when the row that is replaced is not there.
   */
  *apply(
    change: PartialChange,
    commit: number,
    readCells: ReadCells,
    upcoming: (row: number) => Iterable<PartialChange>,
  ): Generator<number | Promise<void>, void> {
    for (let row = change.from; row < change.to;) {
      const next = this.#complete(change, row, commit)
      if (next > row) yield next - row
      else if (this.#missing === 'room') yield this.#table.room().then((exceed) => void (this.#exceed = exceed))
      else yield this.#old.look(readCells, change, row, upcoming(row))
      row = next
    }
  }

  /** No change is known to come: lets go of what was read ahead. */
  rest(): void {
    this.#old.forget()
  }

  /** Gives up what it holds. */
  release(): void {
    this.#old.forget()
    this.#giveUp()
  }

  #giveUp(): void {
    const segment = this.#segment
    if (!segment) return
    this.#growth.gaveUp(segment)
    segment.onSealed = null
    this.#segment = null
    segment.unpin()
  }

  /** Completes rows from `row` on, until something is missing or it is time for a pause. Returns the next row. */
  #complete(change: PartialChange, row: number, commit: number): number {
    const { spec } = this.#table
    let range = this.#segment && this.#table.rangeFor(this.#segment, commit)
    let ranges = this.#table.ranges()
    const { columns, keys, shift } = replacedKeys(change, spec)
    const { unchanged } = change
    const width = keyWords(spec)
    const words = new Int32Array(width)
    const read = keyReader(spec, columns)
    for (const [i, column] of change.segment.columns.entries()) this.#from[i] = column
    const to = Math.min(change.to, row + sliceRows)
    assert(change.segment.rows >= to && keys.rows >= to + shift, 'rows and keys are complete')
    // Null also when the range was full, and the segment was sealed with it.
    let filling = this.#segment
    let filledFrom = filling ? filling.rows : 0
    const extend = (): void => {
      if (filling && range && filling.rows > filledFrom) range.extend(filling, filledFrom, filling.rows)
    }
    try {
      for (; row < to; row++) {
        this.#at.fill(row)
        read(row + shift, words, 0)
        const hash = mixWords(words, 0, width)
        let ref = -1
        let i = ranges.length
        while (i > 0 && ref < 0) ref = ranges[--i].locate(hash, columns, row + shift)
        const index = ref < 0 ? this.#old.indexOf(change, row) : -1
        if (ref >= 0) {
          if (ranges[i].isDead(ref)) throw missingRow()
          const old = ranges[i].segmentOf(ref)
          for (const column of unchanged) {
            this.#from[column] = old.columns[column]
            this.#at[column] = ref & 0xffff
          }
        } else if (!this.#takeCold(index, unchanged)) {
          // Looked for just now and nowhere: it cannot have come since.
          if (index === 0 && this.#old.isAbsent(index)) throw missingRow()
          this.#missing = 'old values'
          break
        }
        for (const column of this.#table.incomplete) {
          if (unchanged.includes(column) && !isPresent(this.#from[column], this.#at[column]))
            throw unknownValue(this.#table.fields[column].name)
        }
        const segment = this.#roomFor(commit)
        if (!segment) {
          this.#missing = 'room'
          break
        }
        if (segment !== filling || !range) {
          extend()
          filling = segment
          filledFrom = segment.rows
          range = this.#table.rangeFor(segment, commit)
          const before = ranges
          ranges = this.#table.ranges()
          // The old row is looked for again, where it is now.
          if (ranges !== before) {
            row--
            continue
          }
        }
        if (ref >= 0) ranges[i].killAt(ref, commit)
        else this.#old.fileOf(index)?.delete(this.#old.positionOf(index), commit)
        const place = segment.rows
        for (let c = 0; c < this.#from.length; c++) copyCell(this.#from[c], this.#at[c], segment.columns[c], place)
        segment.rows++
        range.put(segment, place, change.type === 'upsert' ? hash : undefined)
      }
    } finally {
      extend()
    }
    return row
  }

  /** Takes the unchanged cells from the window. False when they are not there, or their row is not alive there any more. */
  #takeCold(index: number, unchanged: readonly number[]): boolean {
    const file = index < 0 ? null : this.#old.fileOf(index)
    if (!file || file.removedAt > 0) return false
    const position = this.#old.positionOf(index)
    if (file.isDeleted(position)) return false
    for (const column of unchanged) {
      const cells = this.#old.cellsOf(file, column)
      const at = cells ? rowOf(cells, position) : -1
      if (!cells || at < 0) return false
      this.#from[column] = cells.column
      this.#at[column] = at
    }
    return true
  }

  /** A segment with room for the row at hand; null when there is no memory for one now. */
  #roomFor(commit: number): Segment | null {
    const { variable } = this.#growth
    for (let i = 0; i < variable.length; i++) {
      const { ends } = this.#from[variable[i]]
      const at = this.#at[variable[i]]
      this.#needed[i] = ends[at + 1] - ends[at]
    }
    if (this.#segment && this.#fits(this.#segment)) return this.#segment
    this.#giveUp()
    const segment = this.#growth.next({
      id: this.#table.nextSegmentId(),
      // The row may be replaced again in this commit.
      baseCommit: commit - 1,
      needed: this.#needed,
      orSmall: true,
      overBudget: this.#exceed,
    })
    this.#exceed = false
    if (segment === 'wait') return null
    if (segment === 'too-large') {
      throw new FrazilError('unsupported', 'value-refused', 'a completed row is larger than one row may be', {
        hint: 'Raise memory, then copy the table anew with frazil resync.',
      })
    }
    segment.onSealed = () => this.#giveUp()
    this.#segment = segment
    return segment
  }

  #fits(segment: Segment): boolean {
    if (segment.rows === segment.capacity) return false
    const { variable } = this.#growth
    for (let i = 0; i < variable.length; i++) {
      const { ends, heap } = segment.columns[variable[i]]
      if (ends[segment.rows] + this.#needed[i] > heap.length) return false
    }
    return true
  }
}

const loopCopyBytes = 48

/** Copies one cell; both columns have the same type, and the heap has room. */
function copyCell(from: Column, fromRow: number, to: Column, toRow: number): void {
  const present = isPresent(from, fromRow)
  if (to.valid === null) assert(present, 'a required column has a value in each row')
  else if (present) to.valid[toRow >> 3] |= 1 << (toRow & 7)
  else to.valid[toRow >> 3] &= ~(1 << (toRow & 7))
  let source = from.data
  let target = to.data
  let start = fromRow * to.width
  let length = to.width
  let at = toRow * to.width
  if (to.layout === 'var') {
    source = from.heap
    target = to.heap
    start = from.ends[fromRow]
    length = from.ends[fromRow + 1] - start
    at = to.ends[toRow]
    to.ends[toRow + 1] = at + length
  }
  if (length > loopCopyBytes) target.set(source.subarray(start, start + length), at)
  else for (const end = at + length; at < end;) target[at++] = source[start++]
}
