import { closeSync, fsyncSync, mkdirSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { diskError } from '../storage/index.ts'
import { bloomAdd, bloomBytes } from './bloom.ts'
import { compareKeys, sortedOrder } from './key-order.ts'
import { blockEntries, formatVersion, magic, trailerBytes } from './key-run.ts'

/** Rows sorted in memory at one time: 12 to 20 MB. */
const sortedRows = 1 << 19
/** Blocks written at a time. */
const chunkBlocks = 64
/** Entries of a piece in memory while pieces are merged. */
const mergeEntries = 4096

/** Sorted rows that wait on disk, from a row number on. */
interface Piece {
  readonly firstRow: number
  readonly rows: number
}

/**
 * Makes the key run of a data file out of keys in row order. Memory does not grow with the rows, but for the filter: what is more than
 * can be sorted at one time waits on disk in sorted pieces, which are merged in the end.
 */
export class KeyRunBuilder {
  readonly #path: string
  readonly #width: 2 | 4
  readonly #mostRows: number
  #words = new Int32Array(0)
  /** Rows in `#words`, and those in pieces before them. */
  #count = 0
  #firstRow = 0
  readonly #pieces: Piece[] = []
  #piecesFile = -1

  constructor(path: string, width: 2 | 4, mostRows = sortedRows) {
    this.#path = path
    this.#width = width
    this.#mostRows = mostRows
  }

  get rows(): number {
    return this.#firstRow + this.#count
  }

  /** Room for `rows` more, to be filled before the next call; returns the array to fill and the word to start at. */
  reserve(rows: number): { words: Int32Array; at: number } {
    if (this.#count >= this.#mostRows) this.#setAside()
    const need = (this.#count + rows) * this.#width
    if (need > this.#words.length)
      this.#words = new Int32Array(this.#words.buffer.transfer(Math.max(need, this.#words.length * 2, 1024) * 4))
    const at = this.#count * this.#width
    this.#count += rows
    return { words: this.#words, at }
  }

  /** Writes the run, atomically. Returns its bytes on disk. */
  write(): number {
    try {
      return this.#write(new RunWriter(this.#path, this.#width, this.rows))
    } catch (error) {
      throw diskError(error, `write the key run ${this.#path}`)
    } finally {
      this.discard()
    }
  }

  #write(writer: RunWriter): number {
    try {
      if (this.#pieces.length === 0) this.#each((words, at, row) => writer.put(words, at, row))
      else {
        this.#setAside()
        this.#merge(writer)
      }
      return writer.finish()
    } catch (error) {
      writer.abort()
      throw error
    }
  }

  /** Gives up memory and disk. */
  discard(): void {
    this.#words.buffer.transfer(0)
    this.#words = new Int32Array(0)
    if (this.#piecesFile < 0) return
    closeSync(this.#piecesFile)
    this.#piecesFile = -1
    rmSync(this.#piecesPath, { force: true })
  }

  get #piecesPath(): string {
    return `${this.#path}.${process.pid}.pieces`
  }

  /** Visits the rows in memory by ascending key. */
  #each(visit: (words: Int32Array, at: number, row: number) => void): void {
    const order = sortedOrder(this.#words, this.#width, this.#count)
    for (let i = 0; i < this.#count; i++) {
      const row = order ? order[i] : i
      visit(this.#words, row * this.#width, this.#firstRow + row)
    }
  }

  /** Has the rows in memory wait on disk. */
  #setAside(): void {
    try {
      this.#writePiece()
    } catch (error) {
      throw diskError(error, `sort the keys of ${this.#path}`)
    }
  }

  #writePiece(): void {
    if (this.#piecesFile < 0) {
      mkdirSync(dirname(this.#path), { recursive: true })
      this.#piecesFile = openSync(this.#piecesPath, 'w+')
    }
    const width = this.#width
    const stride = width + 1
    const out = new Int32Array(mergeEntries * stride)
    let filled = 0
    this.#each((words, at, row) => {
      for (let k = 0; k < width; k++) out[filled++] = words[at + k]
      out[filled++] = row
      if (filled < out.length) return
      writeAll(this.#piecesFile, new Uint8Array(out.buffer))
      filled = 0
    })
    writeAll(this.#piecesFile, new Uint8Array(out.buffer, 0, filled * 4))
    this.#pieces.push({ firstRow: this.#firstRow, rows: this.#count })
    this.#firstRow += this.#count
    this.#count = 0
  }

  #merge(writer: RunWriter): void {
    const width = this.#width
    const isBefore = (a: PieceReader, b: PieceReader): boolean => {
      const order = compareKeys(a.words, a.at, b.words, b.at, width)
      return order < 0 || (order === 0 && a.row < b.row)
    }
    // A heap: none is before the one at half its place.
    const heap: PieceReader[] = []
    const sink = (from: number): void => {
      const reader = heap[from]
      for (let at = from; ;) {
        let next = 2 * at + 1
        if (next + 1 < heap.length && isBefore(heap[next + 1], heap[next])) next++
        if (next >= heap.length || !isBefore(heap[next], reader)) {
          heap[at] = reader
          return
        }
        heap[at] = heap[next]
        at = next
      }
    }
    for (const piece of this.#pieces) heap.push(new PieceReader(this.#piecesFile, piece, width))
    for (let i = (heap.length >> 1) - 1; i >= 0; i--) sink(i)
    while (heap.length > 0) {
      const reader = heap[0]
      writer.put(reader.words, reader.at, reader.row)
      if (!reader.next()) {
        const last = heap.pop()
        if (heap.length === 0 || !last) return
        heap[0] = last
      }
      sink(0)
    }
  }
}

/** Reads a piece entry by entry; there is one at least. */
class PieceReader {
  words: Int32Array<ArrayBuffer>
  at = 0
  readonly #file: number
  readonly #stride: number
  /** Bytes of the file yet to be read. */
  #from: number
  readonly #to: number
  #filled = 0

  constructor(file: number, { firstRow, rows }: Piece, width: 2 | 4) {
    this.#file = file
    this.#stride = width + 1
    this.words = new Int32Array(Math.min(rows, mergeEntries) * this.#stride)
    this.#from = firstRow * this.#stride * 4
    this.#to = (firstRow + rows) * this.#stride * 4
    this.#fill()
  }

  get row(): number {
    return this.words[this.at + this.#stride - 1]
  }

  /** Goes to the next entry; false at the end. */
  next(): boolean {
    this.at += this.#stride
    if (this.at < this.#filled) return true
    if (this.#from === this.#to) return false
    this.#fill()
    return true
  }

  #fill(): void {
    const bytes = new Uint8Array(this.words.buffer, 0, Math.min(this.words.byteLength, this.#to - this.#from))
    for (let at = 0; at < bytes.length;) {
      const got = readSync(this.#file, bytes, at, bytes.length - at, this.#from + at)
      if (got === 0) throw new Error('sorted keys were cut off')
      at += got
    }
    this.#from += bytes.length
    this.#filled = bytes.length / 4
    this.at = 0
  }
}

/** Writes entries that come by ascending key, as {@link KeyRun} reads them. */
class RunWriter {
  readonly #path: string
  readonly #temporary: string
  readonly #file: number
  readonly #width: 2 | 4
  readonly #rows: number
  readonly #fences: Int32Array<ArrayBuffer>
  readonly #filter: Uint8Array
  readonly #chunk: Int32Array<ArrayBuffer>
  #filled = 0
  #count = 0
  #crc = 0
  #isOpen = true

  constructor(path: string, width: 2 | 4, rows: number) {
    this.#path = path
    this.#width = width
    this.#rows = rows
    this.#fences = new Int32Array(Math.ceil(rows / blockEntries) * width)
    this.#filter = new Uint8Array(bloomBytes(rows))
    this.#chunk = new Int32Array(Math.min(rows, chunkBlocks * blockEntries) * (width + 1))
    mkdirSync(dirname(path), { recursive: true })
    this.#temporary = `${path}.${process.pid}.tmp`
    this.#file = openSync(this.#temporary, 'w')
  }

  put(words: Int32Array, at: number, row: number): void {
    const width = this.#width
    if (this.#count % blockEntries === 0)
      for (let k = 0; k < width; k++) this.#fences[(this.#count / blockEntries) * width + k] = words[at + k]
    const chunk = this.#chunk
    let filled = this.#filled
    for (let k = 0; k < width; k++) chunk[filled++] = words[at + k]
    chunk[filled++] = row
    this.#filled = filled
    this.#count++
    bloomAdd(this.#filter, words, at)
    if (filled === chunk.length) this.#drain()
  }

  #drain(): void {
    const bytes = new Uint8Array(this.#chunk.buffer, 0, this.#filled * 4)
    this.#crc = crc32(bytes, this.#crc)
    writeAll(this.#file, bytes)
    this.#filled = 0
  }

  /** Returns the bytes on disk. */
  finish(): number {
    this.#drain()
    const rows = this.#rows
    const filter = this.#filter
    const fences = new Uint8Array(this.#fences.buffer)
    const trailer = new DataView(new ArrayBuffer(trailerBytes))
    const numbers = [magic, formatVersion, this.#width, rows, filter.length, rows, crc32(filter, crc32(fences)), this.#crc, 0]
    numbers.forEach((value, i) => trailer.setUint32(i * 4, value, true))
    trailer.setUint32(36, crc32(new Uint8Array(trailer.buffer, 0, 36)), true)
    writeAll(this.#file, fences)
    writeAll(this.#file, filter)
    writeAll(this.#file, new Uint8Array(trailer.buffer))
    fsyncSync(this.#file)
    this.#close()
    renameSync(this.#temporary, this.#path)
    return rows * (this.#width + 1) * 4 + fences.length + filter.length + trailerBytes
  }

  abort(): void {
    this.#close()
    rmSync(this.#temporary, { force: true })
  }

  #close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    closeSync(this.#file)
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at)
}
