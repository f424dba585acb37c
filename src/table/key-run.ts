import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { FrazilError, assert } from '../base/index.ts'
import { bloomBytes, bloomHas } from './bloom.ts'
import { compareKeys } from './key-order.ts'
import { OpenRuns } from './open-runs.ts'

/**
 * The sorted keys of one data file, on local disk: a cache that can be rebuilt from the file's key columns.
 *
 * Layout, little-endian: entries, each the key's words and then the row position (uint32); footer: the first key of every
 * block of 256 entries (fences), the Bloom filter, and 40 bytes: magic, format version, words a key, entries, filter bytes,
 * data file's record count, CRC-32 of fences and filter, CRC-32 of the entries, reserved, CRC-32 of these 40 bytes.
 * A look-up reads one block: the fences and the filter are in memory (about 1.3 bytes a key).
 */
export const magic = 0x4e555246 // "FRUN"
export const formatVersion = 1
export const blockEntries = 256
export const trailerBytes = 40
/** Groups of equal keys longer than this remember their dead rows. */
const longGroup = 8

/** Of all tables in the thread. */
const openRuns = new OpenRuns()

/** Reads look-ups from a run. Synchronous: a block comes from the page cache of a local disk, in slices that the caller bounds. */
export class KeyRun {
  readonly path: string
  readonly width: 2 | 4
  readonly rows: number
  /** Bytes kept in memory. */
  readonly memoryBytes: number
  readonly #files: OpenRuns
  readonly #fences: Int32Array
  readonly #filter: Uint8Array
  readonly #block: Int32Array
  /** The largest key. */
  readonly #last: Int32Array
  /** Number of the block that is in `#block`, −1 for none. */
  #loaded = -1
  /** By first entry of a long group: how many of its rows are known to be dead, from the start. */
  readonly #deadPrefixes = new Map<number, number>()
  #closed = false

  private constructor(
    path: string,
    files: OpenRuns,
    width: 2 | 4,
    rows: number,
    fences: Int32Array,
    last: Int32Array,
    filter: Uint8Array,
  ) {
    this.path = path
    this.#files = files
    this.width = width
    this.rows = rows
    this.#fences = fences
    this.#filter = filter
    this.#block = new Int32Array(Math.min(rows, blockEntries) * (width + 1))
    this.#last = last
    this.memoryBytes = fences.byteLength + filter.byteLength + this.#block.byteLength
  }

  /**
   * Opens a run and checks it against the data file it belongs to. Throws `corrupt` for anything that is not exactly such a
   * run (the caller then rebuilds it), `ENOENT` as it is.
   *
   * @param files has the file open when it is read
   * @param verify reads all entries and checks their CRC as well; done once after a restart.
   */
  static open(path: string, width: 2 | 4, rows: number, verify: boolean, files = openRuns): KeyRun {
    // An earlier file of this name may be open yet.
    files.close(path)
    const fd = openSync(path, 'r')
    const bad = (what: string): never => {
      throw new FrazilError('corrupt', 'key-run', `the key run ${path} ${what}`)
    }
    try {
      const entryBytes = rows * (width + 1) * 4
      const fenceBytes = Math.ceil(rows / blockEntries) * width * 4
      const footer = new Uint8Array(fenceBytes + bloomBytes(rows) + trailerBytes)
      if (readSync(fd, footer, 0, footer.length, entryBytes) !== footer.length) bad('is too short')
      if (fstatSync(fd).size !== entryBytes + footer.length) bad('is too long')
      const trailer = new DataView(footer.buffer, footer.length - trailerBytes)
      if (trailer.getUint32(36, true) !== crc32(footer.subarray(footer.length - trailerBytes, footer.length - 4)))
        bad('is damaged')
      if (trailer.getUint32(0, true) !== magic || trailer.getUint32(4, true) !== formatVersion) bad('has another format')
      if (trailer.getUint32(8, true) !== width || trailer.getUint32(12, true) !== rows) bad('belongs to another file')
      if (trailer.getUint32(24, true) !== crc32(footer.subarray(0, footer.length - trailerBytes))) bad('is damaged')
      if (verify) {
        const buffer = new Uint8Array(1 << 20)
        let crc = 0
        for (let at = 0; at < entryBytes;) {
          const got = readSync(fd, buffer, 0, Math.min(buffer.length, entryBytes - at), at)
          if (got === 0) bad('is too short')
          crc = crc32(buffer.subarray(0, got), crc)
          at += got
        }
        if (trailer.getUint32(28, true) !== crc) bad('is damaged')
      }
      const fences = new Int32Array(footer.buffer, 0, fenceBytes / 4)
      const last = new Int32Array(width)
      if (rows > 0) readSync(fd, last, 0, last.byteLength, entryBytes - (width + 1) * 4)
      return new KeyRun(path, files, width, rows, fences, last, footer.subarray(fenceBytes, footer.length - trailerBytes))
    } finally {
      closeSync(fd)
    }
  }

  /** False means that the key is certainly not in the file. */
  mayHave(words: Int32Array, at: number): boolean {
    if (this.rows === 0 || compareKeys(words, at, this.#fences, 0, this.width) < 0) return false
    return compareKeys(words, at, this.#last, 0, this.width) <= 0 && bloomHas(this.#filter, words, at)
  }

  /**
   * Calls `visit` with the positions of the rows with this key, ascending, until it returns true. Returns whether it did.
   * Cheapest when keys come in ascending order: the block that was read last is kept.
   *
   * Rows for which `visit` returned false are dead for good. In a long group of equal keys (a multiset) those at its start are
   * remembered and not visited again, so that emptying the group takes time in proportion to its rows.
   */
  find(words: Int32Array, at: number, visit: (position: number) => boolean): boolean {
    const { width } = this
    const stride = width + 1
    const start = this.#groupStart(words, at)
    let entry = start + (this.#deadPrefixes.get(start) ?? 0)
    let dead = entry - start
    for (; entry < this.rows; entry++) {
      const entries = this.#load(Math.floor(entry / blockEntries))
      const place = (entry % blockEntries) * stride
      if (compareKeys(entries, place, words, at, width) !== 0) return false
      if (visit(entries[place + width])) return true
      dead++
      if (dead >= longGroup) this.#deadPrefixes.set(start, dead)
    }
    return false
  }

  /** All entries in ascending order, each its key's words and the position; an array is good until the next one is asked for. */
  *blocks(): Generator<{ readonly entries: Int32Array; readonly count: number }, void> {
    for (let block = 0; block * blockEntries < this.rows; block++) {
      yield { entries: this.#load(block), count: Math.min(blockEntries, this.rows - block * blockEntries) }
    }
  }

  /** Number of the first entry whose key is not below the given one. */
  #groupStart(words: Int32Array, at: number): number {
    const { width } = this
    const stride = width + 1
    // The last block whose first key is below the key may hold it; otherwise the group begins the block after it.
    let low = 0
    let high = this.#fences.length / width - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (compareKeys(this.#fences, middle * width, words, at, width) < 0) low = middle
      else high = middle - 1
    }
    const entries = this.#load(low)
    let from = 0
    let to = Math.min(blockEntries, this.rows - low * blockEntries)
    while (from < to) {
      const middle = (from + to) >> 1
      if (compareKeys(entries, middle * stride, words, at, width) < 0) from = middle + 1
      else to = middle
    }
    return low * blockEntries + from
  }

  #load(block: number): Int32Array {
    if (this.#loaded !== block) {
      const stride = (this.width + 1) * 4
      const count = Math.min(blockEntries, this.rows - block * blockEntries)
      const bytes = new Uint8Array(this.#block.buffer, 0, count * stride)
      this.#loaded = -1
      assert(!this.#closed, 'a run is not read after its table has let go of it')
      if (readSync(this.#files.descriptor(this.path), bytes, 0, bytes.length, block * blockEntries * stride) !== bytes.length) {
        throw new FrazilError('corrupt', 'key-run', `the key run ${this.path} is too short`)
      }
      this.#loaded = block
    }
    return this.#block
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#files.close(this.path)
  }
}
