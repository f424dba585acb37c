import { closeSync, fsyncSync, mkdirSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { assert } from '../base/index.ts'
import { diskError } from '../storage/index.ts'
import { bloomAdd, bloomBytes } from './bloom.ts'
import { DenseKeysBuilder, denseBlockWords, stretchWords } from './dense-keys.ts'
import { compareKeys, sortedOrder } from './key-order.ts'
import { blockEntries, formatVersion, magic, trailerBytes } from './key-run.ts'

/** Rows sorted in memory at one time: 12 to 20 MB. */
const sortedRows = 1 << 19
/** Blocks written at a time. */
const chunkBlocks = 64
/** Entries of a piece in memory while pieces are merged. */
const mergeEntries = 4096

/** Sorted entries that wait on disk: their numbers there. */
interface Piece {
  readonly from: number
  readonly to: number
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
  #rows = 0
  /** Keys in `#words`, and the row of the first one. */
  #count = 0
  #firstRow = 0
  /** Those of them that are dense, and of the rows before them, are here. */
  readonly #dense = new DenseKeysBuilder()
  /** Rows of the keys that are left in `#words`; null when they are as they came. */
  #left: Int32Array | null = null
  readonly #pieces: Piece[] = []
  #piecesFile = -1

  constructor(path: string, width: 2 | 4, mostRows = sortedRows) {
    this.#path = path
    this.#width = width
    this.#mostRows = mostRows
  }

  get rows(): number {
    return this.#rows
  }

  /** Room for `rows` more, to be filled before the next call; returns the array to fill and the word to start at. */
  reserve(rows: number): { words: Int32Array; at: number } {
    if (this.#count >= this.#mostRows) this.#setAside()
    const need = (this.#count + rows) * this.#width
    if (need > this.#words.length)
      this.#words = new Int32Array(this.#words.buffer.transfer(Math.max(need, this.#words.length * 2, 1024) * 4))
    const at = this.#count * this.#width
    this.#count += rows
    this.#rows += rows
    return { words: this.#words, at }
  }

  /** Writes the run, atomically. Returns its bytes on disk. */
  write(): number {
    try {
      return this.#write()
    } catch (error) {
      throw diskError(error, `write the key run ${this.#path}`)
    } finally {
      this.discard()
    }
  }

  #write(): number {
    this.#takeDense()
    const writer = new RunWriter(this.#path, this.#width, this.#rows, this.#piecesEnd + this.#count, this.#dense)
    try {
      if (this.#pieces.length === 0) this.#each((words, at, row) => writer.put(words, at, row))
      else {
        this.#writePiece()
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

  /** Entries in pieces. */
  get #piecesEnd(): number {
    return this.#pieces.at(-1)?.to ?? 0
  }

  /** Leaves in memory what is not dense. */
  #takeDense(): void {
    if (this.#width !== 2) return
    this.#left = this.#dense.take(this.#words, this.#count, this.#firstRow)
    if (this.#left) this.#count = this.#left.length
  }

  /** Visits the rows in memory by ascending key. */
  #each(visit: (words: Int32Array, at: number, row: number) => void): void {
    const order = sortedOrder(this.#words, this.#width, this.#count)
    for (let i = 0; i < this.#count; i++) {
      const row = order ? order[i] : i
      visit(this.#words, row * this.#width, this.#left ? this.#left[row] : this.#firstRow + row)
    }
  }

  /** Has the rows in memory wait on disk. */
  #setAside(): void {
    const rows = this.#count
    this.#takeDense()
    try {
      this.#writePiece()
    } catch (error) {
      throw diskError(error, `sort the keys of ${this.#path}`)
    }
    this.#firstRow += rows
    this.#count = 0
    this.#left = null
  }

  #writePiece(): void {
    if (this.#count === 0) return
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
    this.#pieces.push({ from: this.#piecesEnd, to: this.#piecesEnd + this.#count })
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

  constructor(file: number, { from, to }: Piece, width: 2 | 4) {
    this.#file = file
    this.#stride = width + 1
    this.words = new Int32Array(Math.min(to - from, mergeEntries) * this.#stride)
    this.#from = from * this.#stride * 4
    this.#to = to * this.#stride * 4
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
  readonly #entries: number
  readonly #dense: DenseKeysBuilder
  readonly #fences: Int32Array<ArrayBuffer>
  readonly #filter: Int32Array<ArrayBuffer>
  readonly #sums: Uint32Array<ArrayBuffer>
  readonly #chunk: Int32Array<ArrayBuffer>
  #filled = 0
  #count = 0
  #summed = 0
  #isOpen = true

  /** @param dense the keys that are not entries */
  constructor(path: string, width: 2 | 4, rows: number, entries: number, dense: DenseKeysBuilder) {
    assert(entries + dense.rows === rows, 'each key has one place')
    this.#path = path
    this.#width = width
    this.#rows = rows
    this.#entries = entries
    this.#dense = dense
    this.#fences = new Int32Array(Math.ceil(entries / blockEntries) * width)
    this.#sums = new Uint32Array(Math.ceil(entries / blockEntries))
    this.#filter = new Int32Array(bloomBytes(entries) / 4)
    this.#chunk = new Int32Array(Math.min(entries, chunkBlocks * blockEntries) * (width + 1))
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
    bloomAdd(this.#filter, words, at, width)
    if (filled === chunk.length) this.#drain()
  }

  #drain(): void {
    const bytes = new Uint8Array(this.#chunk.buffer, 0, this.#filled * 4)
    // A chunk is whole blocks, but for the last one.
    const blockBytes = blockEntries * (this.#width + 1) * 4
    for (let at = 0; at < bytes.length; at += blockBytes) this.#sums[this.#summed++] = crc32(bytes.subarray(at, at + blockBytes))
    writeAll(this.#file, bytes)
    this.#filled = 0
  }

  /** Returns the bytes on disk. */
  finish(): number {
    this.#drain()
    const { stretches, blocks } = this.#dense.finish()
    const parts = [this.#fences, this.#sums, this.#filter, stretches, blocks].map(
      ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
    )
    const sum = parts.reduce((before, bytes) => crc32(bytes, before), 0)
    const counts = [this.#rows, this.#entries, stretches.length / stretchWords, blocks.length / denseBlockWords]
    const numbers = [magic, formatVersion, this.#width, ...counts, sum, 0]
    const trailer = new DataView(new ArrayBuffer(trailerBytes))
    numbers.forEach((value, i) => trailer.setUint32(i * 4, value, true))
    trailer.setUint32(36, crc32(new Uint8Array(trailer.buffer, 0, 36)), true)
    parts.push(new Uint8Array(trailer.buffer))
    for (const bytes of parts) writeAll(this.#file, bytes)
    fsyncSync(this.#file)
    this.#close()
    renameSync(this.#temporary, this.#path)
    return parts.reduce((bytes, { length }) => bytes + length, this.#entries * (this.#width + 1) * 4)
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
