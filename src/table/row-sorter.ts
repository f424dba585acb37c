import { assert } from '../base/index.ts'
import { layoutOf, widthOf } from '../data/index.ts'
import type { Column, Field, SharedSegment } from '../data/index.ts'
import type { SortKey } from '../iceberg/index.ts'
import { buffersOf, freeColumns } from './cell-reader.ts'
import { LiveRows, gather, textBytes, wordsOf } from './live-rows.ts'
import type { LivePart } from './live-rows.ts'
import { rowSort } from './row-sort.ts'
import { compareRows, segmentSortValues } from './sort-values.ts'
import type { SegmentSortValues } from './sort-values.ts'
import { SpillSpace } from './spill-space.ts'
import type { SpilledBytes } from './spill-space.ts'

/** Rows sorted in memory at one time: so many, … */
const pieceRows = 1 << 20
/** … and of about so many bytes. */
const pieceBytes = 48 << 20
/** Bytes of a piece that are in memory while pieces are merged: a part in 200 of all rows, then. */
const chunkBytes = 256 << 10
/** Rows given out at a time, and bytes of their texts. */
const outRows = 8192
const outBytes = 4 << 20

export interface RowSorterOptions {
  readonly fields: readonly Field[]
  readonly keys: readonly SortKey[]
  /** Where pieces wait when the rows do not fit into memory; it and all in it belongs to the sorter. */
  readonly folder: string
  /** All rows that will be added. */
  readonly rows: number
  /** Called before bytes are written to or read from the folder. */
  readonly spend: (bytes: number) => Promise<void>
  readonly limits?: { readonly rows: number; readonly bytes: number }
}

/** Rows of a sorted piece on disk. */
interface SpilledChunk {
  readonly at: SpilledBytes
  readonly rows: number
  readonly columns: readonly { readonly hasNulls: boolean; readonly heapBytes: number }[]
}

/**
 * Puts rows into a sort order; equal ones stay as they are. What is more than fits into memory waits on disk in sorted pieces, which
 * are merged in the end. Memory: one piece while they are made, then a chunk of each, and eight bytes for each row all the time.
 */
export class RowSorter {
  readonly #options: RowSorterOptions
  readonly #limits: { readonly rows: number; readonly bytes: number }
  /** By the number of a row, in the order in which they were added: where it went. */
  readonly placement: Uint32Array<ArrayBuffer>
  /** Rows in memory. */
  #parts: LivePart[] = []
  #rows = 0
  #bytes = 0
  /** Rows in pieces. */
  #done = 0
  readonly #pieces: SpilledChunk[][] = []
  /** By place in the pieces, one after another: the row's number. Made with the first piece. */
  #origin: Uint32Array | null = null
  #space: SpillSpace | null = null

  constructor(options: RowSorterOptions) {
    this.#options = options
    this.#limits = options.limits ?? { rows: pieceRows, bytes: pieceBytes }
    this.placement = new Uint32Array(options.rows)
  }

  /** Adds rows of a segment, whose memory is the sorter's from here on. */
  async add(segment: SharedSegment, rows: Int32Array): Promise<void> {
    this.#parts.push({ segment, rows })
    this.#rows += rows.length
    for (const buffer of buffersOf(segment.columns)) this.#bytes += buffer.byteLength
    if (this.#rows >= this.#limits.rows || this.#bytes >= this.#limits.bytes) await this.#setAside()
  }

  /** All rows in their order, when all were added; a segment is good until the next one is asked for. */
  async *sorted(): AsyncGenerator<SharedSegment, void, undefined> {
    assert(this.#done + this.#rows === this.placement.length, 'all rows were added')
    if (this.#pieces.length > 0) {
      if (this.#rows > 0) await this.#setAside()
      yield* this.#merge()
      return
    }
    const live = new LiveRows(this.#parts)
    const order = this.#order(live)
    for (let i = 0; i < order.length; i++) this.placement[order[i]] = i
    yield* live.gathered(order, this.#options.fields, outRows)
  }

  /** Gives up memory and disk. */
  close(): void {
    this.#parts = []
    this.#space?.close()
  }

  #order(live: LiveRows): Uint32Array {
    const order = Uint32Array.from({ length: live.count }, (_, i) => i)
    rowSort(live, this.#options.keys)(order)
    return order
  }

  /** Has the rows in memory wait on disk. */
  async #setAside(): Promise<void> {
    const { fields, folder, spend } = this.#options
    this.#space ??= new SpillSpace(folder)
    this.#origin ??= new Uint32Array(this.placement.length)
    const live = new LiveRows(this.#parts)
    const order = this.#order(live)
    for (let i = 0; i < order.length; i++) this.#origin[this.#done + i] = this.#done + order[i]
    const rows = Math.max(1, Math.min(outRows, Math.floor((chunkBytes * this.#rows) / this.#bytes)))
    const chunks: SpilledChunk[] = []
    for (const segment of live.gathered(order, fields, rows)) {
      await spend(bytesOf(piecesOf(segment)))
      chunks.push(await writeChunk(this.#space, segment))
    }
    this.#pieces.push(chunks)
    this.#done += this.#rows
    for (const { segment } of this.#parts) freeColumns(segment.columns)
    this.#parts = []
    this.#rows = 0
    this.#bytes = 0
  }

  async *#merge(): AsyncGenerator<SharedSegment, void, undefined> {
    const { fields, keys, spend } = this.#options
    const [space, origin] = [this.#space, this.#origin]
    assert(space && origin, 'pieces are on disk')
    let base = 0
    const readers: PieceReader[] = []
    for (const [number, chunks] of this.#pieces.entries()) {
      const reader = new PieceReader({ space, chunks, number, fields, keys, spend }, base)
      await reader.load()
      base += chunks.reduce((sum, { rows }) => sum + rows, 0)
      readers.push(reader)
    }
    const heap = new ReaderHeap(keys, readers)
    const partOf = new Uint32Array(outRows)
    const rowOf = new Int32Array(outRows)
    let place = 0
    while (heap.first !== null) {
      const segments = readers.map(({ segment }) => segment)
      let count = 0
      let bytes = 0
      let ended: PieceReader | null = null
      while (count < outRows && bytes < outBytes && ended === null) {
        const reader = heap.first
        partOf[count] = reader.number
        rowOf[count++] = reader.row
        this.placement[origin[reader.place]] = place++
        bytes += textBytes(reader.segment, reader.row, fields.length)
        if (reader.advance()) heap.sink()
        else ended = reader
      }
      yield gather(segments, partOf.subarray(0, count), rowOf.subarray(0, count), fields)
      if (ended === null) continue
      if (await ended.load()) heap.sink()
      else heap.drop()
    }
  }
}

interface Piece {
  readonly space: SpillSpace
  readonly chunks: readonly SpilledChunk[]
  readonly number: number
  readonly fields: readonly Field[]
  readonly keys: readonly SortKey[]
  readonly spend: (bytes: number) => Promise<void>
}

/** Reads a sorted piece row by row. */
class PieceReader {
  readonly number: number
  /** Place of the row among those of all pieces, one piece after another. */
  place: number
  segment: SharedSegment = { id: 0, capacity: 0, columns: [], deletedAt: null, baseCommit: 0 }
  values: SegmentSortValues = []
  row = 0
  readonly #piece: Piece
  #next = 0

  constructor(piece: Piece, base: number) {
    this.#piece = piece
    this.number = piece.number
    this.place = base
  }

  /** Goes to the next row; false at the end of what is in memory. */
  advance(): boolean {
    this.row++
    this.place++
    return this.row < this.segment.capacity
  }

  /** Reads on; false at the end. */
  async load(): Promise<boolean> {
    const { space, chunks, fields, keys, spend } = this.#piece
    if (this.#next === chunks.length) return false
    const chunk = chunks[this.#next++]
    this.segment = emptySegment(chunk, fields)
    const pieces = piecesOf(this.segment)
    await spend(bytesOf(pieces))
    await space.read(chunk.at, pieces)
    space.release(chunk.at)
    this.values = segmentSortValues(this.segment, keys)
    this.row = 0
    return true
  }
}

/** The readers by their rows: none is before the one at half its place. */
class ReaderHeap {
  readonly #keys: readonly SortKey[]
  readonly #readers: PieceReader[]

  constructor(keys: readonly SortKey[], readers: readonly PieceReader[]) {
    this.#keys = keys
    this.#readers = [...readers]
    for (let i = (readers.length >> 1) - 1; i >= 0; i--) this.sink(i)
  }

  get first(): PieceReader | null {
    return this.#readers.length > 0 ? this.#readers[0] : null
  }

  /** The first one has another row: finds its place. */
  sink(from = 0): void {
    const heap = this.#readers
    const reader = heap[from]
    for (let at = from; ;) {
      let next = 2 * at + 1
      if (next + 1 < heap.length && this.#isBefore(heap[next + 1], heap[next])) next++
      if (next >= heap.length || !this.#isBefore(heap[next], reader)) {
        heap[at] = reader
        return
      }
      heap[at] = heap[next]
      at = next
    }
  }

  /** The first one has no more rows. */
  drop(): void {
    const last = this.#readers.pop()
    if (this.#readers.length === 0 || !last) return
    this.#readers[0] = last
    this.sink()
  }

  #isBefore(a: PieceReader, b: PieceReader): boolean {
    const order = compareRows(this.#keys, a.values, a.row, b.values, b.row)
    return order < 0 || (order === 0 && a.number < b.number)
  }
}

async function writeChunk(space: SpillSpace, segment: SharedSegment): Promise<SpilledChunk> {
  const columns = segment.columns.map(({ valid, heap }) => ({ hasNulls: valid !== null, heapBytes: heap.length }))
  return { at: await space.write(piecesOf(segment)), rows: segment.capacity, columns }
}

/** The memory of a segment that has as many rows as it has room for. */
function piecesOf({ columns }: SharedSegment): Uint8Array[] {
  return columns.flatMap(({ valid, layout, data, ends, heap }) => {
    const own = layout === 'var' ? [new Uint8Array(ends.buffer, ends.byteOffset, ends.byteLength), heap] : [data]
    return valid ? [valid, ...own] : own
  })
}

function bytesOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0)
}

/** A segment of the size of a chunk, to be filled. */
function emptySegment({ rows, columns }: SpilledChunk, fields: readonly Field[]): SharedSegment {
  const made = fields.map((field, i): Column => {
    const { hasNulls, heapBytes } = columns[i]
    const [layout, width] = [layoutOf(field.type), widthOf(field.type)]
    const data = new Uint8Array(rows * width)
    return {
      field,
      layout,
      width,
      valid: hasNulls ? new Uint8Array((rows + 8) >> 3) : null,
      data,
      words: wordsOf(layout, width, data),
      ends: new Int32Array(layout === 'var' ? rows + 1 : 0),
      heap: new Uint8Array(heapBytes),
    }
  })
  return { id: 0, capacity: rows, columns: made, deletedAt: null, baseCommit: 0 }
}
