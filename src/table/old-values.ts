import type { Change, Column, Field, Segment, SourceEvent } from '../data/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import { buffersOf } from './cell-reader.ts'
import type { Cells, WantedCells } from './cell-reader.ts'
import type { ColdFile } from './cold-file.ts'
import type { HotRange } from './hot-range.ts'
import { keyReader, keyWords, mixWords, namingColumns } from './key-codec.ts'
import type { KeySpec } from './key-codec.ts'

/** A change whose rows come without the values that did not change. */
export type PartialChange = Extract<Change, { type: 'upsert' | 'update' }> & { readonly unchanged: readonly number[] }

export function isPartial(change: Change | SourceEvent): change is PartialChange {
  return (change.type === 'upsert' || change.type === 'update') && change.unchanged !== undefined
}

/** Where the key of the row that row `row` of a change replaces is: row `row + shift` of these columns, in key order. */
export function replacedKeys(change: PartialChange, spec: KeySpec): { columns: readonly Column[]; keys: Segment; shift: number } {
  if (change.type === 'update') {
    const { keys, keysFrom, from } = change
    return { columns: namingColumns(spec, keys), keys, shift: keysFrom - from }
  }
  return { columns: spec.columns.map((i) => change.segment.columns[i]), keys: change.segment, shift: 0 }
}

/** What looking for old rows needs of a table. */
export interface SearchedTable {
  readonly fields: readonly Field[]
  readonly spec: KeySpec
  /** Oldest first; the last one takes rows. */
  ranges(): readonly HotRange[]
  /** Calls `visit` with the live cold row of each of the keys (numbers of keys in `words`) that has one. Reorders `keys`. */
  findCold(words: Int32Array, keys: Int32Array, visit: (key: number, file: ColdFile, position: number) => void): unknown
}

/** Reads cells of a data file, see `TableWork`. */
export type ReadCells = (file: DataFile, wanted: readonly WantedCells[], mostBytes: number) => Promise<readonly Cells[]>

/** Where the old row was when it was looked for. */
const place = { absent: 0, hot: 1, cold: 2 } as const

const firstRows = 64
const mostRows = 8192
/** Aim for the bytes of one look; and the most that are read of one column of one file. */
const wantedBytes = 4 << 20
const mostBytes = 8 << 20
/** Positions are below 2³¹. */
const filePlace = 2 ** 31

interface Span {
  readonly change: PartialChange
  readonly from: number
  readonly to: number
  /** Number of its first row in the window. */
  readonly at: number
}

interface FoundCells extends Cells {
  readonly positions: Int32Array
}

/**
 * A window over the rows that are going to be completed: where each one's old row is and, for cold ones, the values that are
 * needed of it, read in batches: per file and column, at ascending positions. Cells of a data file never change, so what was read
 * early is right whenever it is used; whether the row still lives there is for the user to check.
 */
export class OldValues {
  readonly #table: SearchedTable
  #spans: Span[] = []
  #files: ColdFile[] = []
  #places: Uint8Array = new Uint8Array(0)
  #fileOf: Int32Array = new Int32Array(0)
  #positions: Int32Array = new Int32Array(0)
  #cells = new Map<ColdFile, (FoundCells | undefined)[]>()
  /** Rows of the next window: as many as their values allow. */
  #rows = firstRows

  constructor(table: SearchedTable) {
    this.#table = table
  }

  /** Lets go of what was read. */
  forget(): void {
    this.#spans = []
    this.#files = []
    // At once: the collector would let a hundred megabytes pile up.
    for (const found of this.#cells.values())
      for (const cells of found) if (cells) for (const b of buffersOf([cells.column])) b.transfer(0)
    this.#cells.clear()
  }

  /**
   * Makes a new window, from row `row` of `change` on and over as many rows of `upcoming` changes as it has room for. Where old rows
   * are is as of the turn of the call. Rejects when a data file cannot be read.
   */
  async look(readCells: ReadCells, change: PartialChange, row: number, upcoming: Iterable<PartialChange>): Promise<void> {
    this.forget()
    this.#open(change, row, upcoming)
    this.#locate()
    const wanted = this.#wanted()
    let bytes = 0
    let rows = 0
    let isCut = false
    await Promise.all(
      Array.from(wanted, async ([file, cells]) => {
        const read = await readCells(
          file.file,
          cells.map(([, one]) => one),
          mostBytes,
        )
        const found: (FoundCells | undefined)[] = []
        for (const [i, [column, { positions }]] of cells.entries()) {
          found[column] = { ...read[i], positions }
          bytes += read[i].column.heap.length + read[i].column.data.length
          rows += read[i].rows
          isCut ||= read[i].rows < positions.length
        }
        this.#cells.set(file, found)
      }),
    )
    if (isCut) this.#rows = Math.max(1, this.#rows >> 2)
    else if (rows > 0) this.#rows = Math.max(1, Math.min(this.#rows * 4, mostRows, Math.floor(wantedBytes / (bytes / rows + 1))))
  }

  /** Number in the window of a change's row, −1 when it is not in it. */
  indexOf({ segment }: PartialChange, row: number): number {
    for (const { change, from, to, at } of this.#spans)
      if (change.segment === segment && row >= from && row < to) return at + row - from
    return -1
  }

  /** Whether there was no old row at all. */
  isAbsent(index: number): boolean {
    return this.#places[index] === place.absent
  }

  /** The file of a cold old row; null when it was not cold. */
  fileOf(index: number): ColdFile | null {
    return this.#places[index] === place.cold ? this.#files[this.#fileOf[index]] : null
  }

  /** The position of a cold old row in its file. */
  positionOf(index: number): number {
    return this.#positions[index]
  }

  /** The values read of a column of a file; {@link rowOf} says which is whose. */
  cellsOf(file: ColdFile, column: number): FoundCells | undefined {
    return this.#cells.get(file)?.[column]
  }

  #open(change: PartialChange, row: number, upcoming: Iterable<PartialChange>): void {
    let rows = 0
    const add = (one: PartialChange, from: number): boolean => {
      if (this.indexOf(one, from) >= 0) return true
      const to = Math.min(one.to, from + this.#rows - rows)
      this.#spans.push({ change: one, from, to, at: rows })
      rows += to - from
      return rows < this.#rows
    }
    if (add(change, row)) for (const next of upcoming) if (!add(next, next.from)) break
    this.#places = new Uint8Array(rows)
    this.#fileOf = new Int32Array(rows)
    this.#positions = new Int32Array(rows)
  }

  #locate(): void {
    const { spec } = this.#table
    const ranges = this.#table.ranges()
    const width = keyWords(spec)
    const count = this.#places.length
    const words = new Int32Array(count * width)
    const cold = new Int32Array(count)
    let coldCount = 0
    for (const { change, from, to, at } of this.#spans) {
      const { columns, shift } = replacedKeys(change, spec)
      const read = keyReader(spec, columns)
      for (let row = from; row < to; row++) {
        const index = at + row - from
        read(row + shift, words, index * width)
        const hash = mixWords(words, index * width, width)
        let isHot = false
        for (let i = ranges.length - 1; i >= 0 && !isHot; i--) isHot = ranges[i].locate(hash, columns, row + shift) >= 0
        if (isHot) this.#places[index] = place.hot
        else cold[coldCount++] = index
      }
    }
    const numbers = new Map<ColdFile, number>()
    this.#table.findCold(words, cold.subarray(0, coldCount), (index, file, position) => {
      let number = numbers.get(file)
      if (number === undefined) {
        number = this.#files.push(file) - 1
        numbers.set(file, number)
      }
      this.#places[index] = place.cold
      this.#fileOf[index] = number
      this.#positions[index] = position
    })
  }

  /** What has to be read: by file, columns with ascending positions, each once. */
  #wanted(): Map<ColdFile, [column: number, WantedCells][]> {
    const wanted = new Map<ColdFile, [number, WantedCells][]>()
    const columns = new Set(this.#spans.flatMap(({ change }) => change.unchanged))
    const keys = new Float64Array(this.#places.length)
    for (const column of columns) {
      let count = 0
      for (const { change, from, to, at } of this.#spans) {
        if (!change.unchanged.includes(column)) continue
        for (let index = at; index < at + to - from; index++) {
          if (this.#places[index] === place.cold) keys[count++] = this.#fileOf[index] * filePlace + this.#positions[index]
        }
      }
      const sorted = keys.subarray(0, count).sort()
      for (let from = 0; from < count;) {
        const number = Math.floor(sorted[from] / filePlace)
        const positions = new Int32Array(count - from)
        let rows = 0
        for (; from < count && sorted[from] < (number + 1) * filePlace; from++) {
          const position = sorted[from] - number * filePlace
          if (rows === 0 || positions[rows - 1] !== position) positions[rows++] = position
        }
        const file = this.#files[number]
        const cells: [number, WantedCells] = [column, { field: this.#table.fields[column], positions: positions.slice(0, rows) }]
        const known = wanted.get(file)
        if (known) known.push(cells)
        else wanted.set(file, [cells])
      }
    }
    return wanted
  }
}

/** The row of the cell at `position`, −1 when it was not read. */
export function rowOf({ positions, rows }: FoundCells, position: number): number {
  let low = 0
  let high = rows - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    if (positions[middle] === position) return middle
    if (positions[middle] < position) low = middle + 1
    else high = middle - 1
  }
  return -1
}
