import { closeSync, fstatSync, fsyncSync, mkdirSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { FrazilError } from '../base/index.ts'
import { bloomAdd, bloomBytes, bloomHas } from './bloom.ts'

/**
 * The sorted keys of one data file, on local disk: a cache that can be rebuilt from the file's key columns.
 *
 * Layout, little-endian: entries, each the key's words and then the row position (uint32); footer: the first key of every
 * block of 256 entries (fences), the Bloom filter, and 40 bytes: magic, format version, words a key, entries, filter bytes,
 * data file's record count, CRC-32 of fences and filter, CRC-32 of the entries, reserved, CRC-32 of these 40 bytes.
 * A look-up reads one block: the fences and the filter are in memory (about 1.3 bytes a key).
 */
const magic = 0x4e555246 // "FRUN"
const formatVersion = 1
const blockEntries = 256
const trailerBytes = 40
/** Groups of equal keys longer than this remember their dead rows. */
const longGroup = 8

/** Keys in row order, gathered while a data file is written. Words of row `i` start at `i * words`. */
export class KeyRunBuilder {
  readonly #width: 2 | 4
  #words: Int32Array<ArrayBuffer>
  #rows = 0

  constructor(width: 2 | 4, expectedRows = 4096) {
    this.#width = width
    this.#words = new Int32Array(expectedRows * width)
  }

  get rows(): number {
    return this.#rows
  }

  /** Room for `rows` more; returns the array to fill and the word to start at. */
  reserve(rows: number): { words: Int32Array; at: number } {
    const need = (this.#rows + rows) * this.#width
    if (need > this.#words.length) {
      this.#words = new Int32Array(this.#words.buffer.transfer(Math.max(need, this.#words.length * 2) * 4))
    }
    const at = this.#rows * this.#width
    this.#rows += rows
    return { words: this.#words, at }
  }

  /** Sorts and writes the run, atomically. Returns its bytes on disk. */
  write(path: string): number {
    const rows = this.#rows
    const width = this.#width
    const words = this.#words
    const order = sortedOrder(words, width, rows)
    const stride = width + 1
    const blocks = Math.ceil(rows / blockEntries)
    const fences = new Int32Array(blocks * width)
    const filter = new Uint8Array(bloomBytes(rows))
    mkdirSync(dirname(path), { recursive: true })
    const temporary = `${path}.${process.pid}.tmp`
    const fd = openSync(temporary, 'w')
    try {
      const chunkRows = blockEntries * 64
      const chunk = new Int32Array(Math.min(rows, chunkRows) * stride)
      let crc = 0
      for (let from = 0; from < rows; from += chunkRows) {
        const to = Math.min(rows, from + chunkRows)
        let at = 0
        for (let i = from; i < to; i++) {
          const row = order ? order[i] : i
          const source = row * width
          if (i % blockEntries === 0) for (let k = 0; k < width; k++) fences[(i / blockEntries) * width + k] = words[source + k]
          for (let k = 0; k < width; k++) chunk[at++] = words[source + k]
          chunk[at++] = row
          bloomAdd(filter, words, source)
        }
        const bytes = new Uint8Array(chunk.buffer, 0, at * 4)
        crc = crc32(bytes, crc)
        writeAll(fd, bytes)
      }
      const trailer = new DataView(new ArrayBuffer(trailerBytes))
      const fenceBytes = new Uint8Array(fences.buffer)
      ;[magic, formatVersion, width, rows, filter.length, rows, crc32(filter, crc32(fenceBytes)), crc, 0].forEach((value, i) =>
        trailer.setUint32(i * 4, value, true),
      )
      trailer.setUint32(36, crc32(new Uint8Array(trailer.buffer, 0, 36)), true)
      writeAll(fd, fenceBytes)
      writeAll(fd, filter)
      writeAll(fd, new Uint8Array(trailer.buffer))
      fsyncSync(fd)
      const size = rows * stride * 4 + fenceBytes.length + filter.length + trailerBytes
      closeSync(fd)
      renameSync(temporary, path)
      return size
    } catch (error) {
      try {
        closeSync(fd)
      } catch {
        // Already closed: the error that matters is the first one.
      }
      rmSync(temporary, { force: true })
      throw error
    }
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at)
}

/** Compares keys: exact ones as signed 64-bit numbers, hashed ones word by word as signed numbers. Equal keys compare as 0. */
export function compareKeys(a: Int32Array, atA: number, b: Int32Array, atB: number, width: 2 | 4): number {
  if (width === 2) {
    const high = a[atA + 1]
    const other = b[atB + 1]
    if (high !== other) return high < other ? -1 : 1
    const low = a[atA] >>> 0
    const otherLow = b[atB] >>> 0
    return low < otherLow ? -1 : low > otherLow ? 1 : 0
  }
  for (let k = 0; k < 4; k++) {
    const x = a[atA + k]
    const y = b[atB + k]
    if (x !== y) return x < y ? -1 : 1
  }
  return 0
}

/** Puts numbers of keys in the order of the keys; nothing to do for the common case of ascending ones. */
export function sortKeys(words: Int32Array, width: 2 | 4, keys: Int32Array): void {
  for (let i = 1; i < keys.length; i++) {
    if (compareKeys(words, keys[i - 1] * width, words, keys[i] * width, width) <= 0) continue
    keys.sort((a, b) => compareKeys(words, a * width, words, b * width, width))
    return
  }
}

/**
 * Row numbers by ascending key, equal keys by ascending row; null when the rows are in that order already (the common case of
 * a growing key). Radix sort over the bytes in which the keys differ, 4–8 passes of about 8 ns a row.
 */
export function sortedOrder(words: Int32Array, width: 2 | 4, rows: number): Int32Array | null {
  let sorted = true
  for (let i = 1; i < rows && sorted; i++) sorted = compareKeys(words, (i - 1) * width, words, i * width, width) <= 0
  if (sorted) return null
  let order = new Int32Array(rows)
  let next = new Int32Array(rows)
  for (let i = 0; i < rows; i++) order[i] = i
  // Least significant first. Hashed keys: the first word decides nearly always; ties are put right below.
  const lanes = width === 2 ? [0, 1] : [0]
  const counts = new Int32Array(257)
  for (const lane of lanes) {
    let all = -1
    let any = 0
    for (let i = 0; i < rows; i++) {
      const value = words[i * width + lane]
      all &= value
      any |= value
    }
    const differing = all ^ any
    const signed = width === 4 || lane === 1
    for (let shift = 0; shift < 32; shift += 8) {
      if (((differing >>> shift) & 255) === 0) continue
      const flip = signed && shift === 24 ? 128 : 0
      counts.fill(0)
      for (let i = 0; i < rows; i++) counts[(((words[i * width + lane] >>> shift) & 255) ^ flip) + 1]++
      for (let i = 0; i < 256; i++) counts[i + 1] += counts[i]
      for (let i = 0; i < rows; i++) {
        const row = order[i]
        next[counts[((words[row * width + lane] >>> shift) & 255) ^ flip]++] = row
      }
      ;[order, next] = [next, order]
    }
  }
  if (width === 4) {
    for (let start = 0; start < rows;) {
      let end = start + 1
      while (end < rows && words[order[end] * 4] === words[order[start] * 4]) end++
      if (end - start > 1) {
        order.subarray(start, end).sort((a, b) => compareKeys(words, a * 4, words, b * 4, 4) || a - b)
      }
      start = end
    }
  }
  return order
}

/** Reads look-ups from a run. Synchronous: a block comes from the page cache of a local disk, in slices that the caller bounds. */
export class KeyRun {
  readonly path: string
  readonly width: 2 | 4
  readonly rows: number
  /** Bytes kept in memory. */
  readonly memoryBytes: number
  readonly #fd: number
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
    fd: number,
    width: 2 | 4,
    rows: number,
    fences: Int32Array,
    last: Int32Array,
    filter: Uint8Array,
  ) {
    this.path = path
    this.#fd = fd
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
   * @param verify reads all entries and checks their CRC as well; done once after a restart.
   */
  static open(path: string, width: 2 | 4, rows: number, verify: boolean): KeyRun {
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
      return new KeyRun(path, fd, width, rows, fences, last, footer.subarray(fenceBytes, footer.length - trailerBytes))
    } catch (error) {
      closeSync(fd)
      throw error
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
      if (readSync(this.#fd, bytes, 0, bytes.length, block * blockEntries * stride) !== bytes.length) {
        throw new FrazilError('corrupt', 'key-run', `the key run ${this.path} is too short`)
      }
      this.#loaded = block
    }
    return this.#block
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    closeSync(this.#fd)
  }
}
