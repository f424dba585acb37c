import { closeSync, fstatSync, openSync, readSync, rmSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import { FrazilError, assert } from '../base/index.ts'
import type { SlabPool } from '../base/index.ts'
import { bloomBytes, bloomHas } from './bloom.ts'
import { DenseKeys, denseBlockWords, stretchWords } from './dense-keys.ts'
import { compareKeys } from './key-order.ts'
import { OpenRuns } from './open-runs.ts'

/**
 * The keys of one data file, on local disk: a cache that can be rebuilt from the file's key columns.
 *
 * Keys that ascend in small steps with their rows ({@link DenseKeys}) are in memory, a few bits each, and need no more. The others are
 * entries on disk.
 *
 * Layout, little-endian: entries, each the key's words and then the row position (uint32); footer: the first key of every
 * block of 256 entries (fences), the CRC-32 of every block (sums), the Bloom filter of the entries, stretches and blocks of the dense keys,
 * and 40 bytes: magic, format version, words a key, the data file's record count, entries, stretches, blocks of dense keys, CRC-32 of
 * the footer so far, reserved, CRC-32 of these 40 bytes.
 * A look-up reads one block: the footer is in memory (about 1.3 bytes an entry), but for a filter that has no room there; such a run is
 * read for each key between its first and its last one. A block is checked when it is read for the first time, so that a start reads
 * footers only.
 */
export const magic = 0x4e555246 // "FRUN"
export const formatVersion = 4
export const blockEntries = 256
export const trailerBytes = 40
/** Look-ups after which a run without a filter asks for room again. */
const lookupsBeforeRetry = 16_384
/** Groups of equal keys longer than this remember their dead rows. */
const longGroup = 8

/** Of all tables in the thread. */
const openRuns = new OpenRuns()

/** Reads look-ups from a run. Synchronous: a block comes from the page cache of a local disk, in slices that the caller bounds. */
export class KeyRun {
  readonly path: string
  readonly width: 2 | 4
  /** Keys on disk; the data file has those and the dense ones. */
  readonly #entries: number
  readonly #files: OpenRuns
  readonly #dense: DenseKeys
  readonly #fences: Int32Array
  /** CRC-32 of each block, and a bit for each that was checked. */
  readonly #sums: Uint32Array
  readonly #checked: Uint8Array
  /** Null where it had no room. */
  #filter: Int32Array | null
  readonly #index: IndexPlace
  #lookupsWithout = 0
  /** Has filter and dense keys counted. */
  readonly #pool: SlabPool | null
  #held: number
  readonly #block: Int32Array
  /** The smallest and the largest key. */
  readonly #bounds: Int32Array
  /** Number of the block that is in `#block`, −1 for none. */
  #loaded = -1
  /** By first entry of a long group: how many of its rows are known to be dead, from the start. */
  readonly #deadPrefixes = new Map<number, number>()
  #closed = false

  private constructor(path: string, width: 2 | 4, pool: SlabPool | null, files: OpenRuns, parts: RunParts) {
    this.path = path
    this.#files = files
    this.width = width
    this.#pool = pool
    this.#entries = parts.entries
    this.#fences = parts.fences
    this.#sums = parts.sums
    this.#checked = new Uint8Array((parts.sums.length + 7) >> 3)
    this.#filter = parts.filter
    this.#index = parts.index
    this.#held = parts.held
    this.#block = new Int32Array(Math.min(parts.entries, blockEntries) * (width + 1))
    this.#dense = new DenseKeys(parts.stretches, parts.denseBlocks, (block) =>
      this.#readDense(parts.index.from + parts.index.denseAt + block * denseBlockWords * 4),
    )
    this.#bounds = new Int32Array(2 * width)
    if (!this.#dense.isEmpty) this.#dense.bounds(this.#bounds)
    if (parts.entries === 0) return
    if (this.#dense.isEmpty || compareKeys(this.#fences, 0, this.#bounds, 0, width) < 0)
      this.#bounds.set(this.#fences.subarray(0, width))
    if (this.#dense.isEmpty || compareKeys(parts.last, 0, this.#bounds, width, width) > 0) this.#bounds.set(parts.last, width)
  }

  /**
   * Opens a run and checks its footer against the data file it belongs to. Throws `corrupt` for anything that is not exactly such a
   * run (the caller then rebuilds it), `ENOENT` as it is.
   *
   * @param pool counts filter and dense keys, and refuses them when it has no room
   * @param files has the file open when it is read
   */
  static open(path: string, width: 2 | 4, rows: number, pool: SlabPool | null = null, files = openRuns): KeyRun {
    // An earlier file of this name may be open yet.
    files.close(path)
    const fd = openSync(path, 'r')
    try {
      return new KeyRun(path, width, pool, files, readFooter(path, fd, width, rows, pool))
    } finally {
      closeSync(fd)
    }
  }

  #isOutside(words: Int32Array, at: number): boolean {
    const { width } = this
    if (this.#entries === 0 && this.#dense.isEmpty) return true
    return compareKeys(words, at, this.#bounds, 0, width) < 0 || compareKeys(words, at, this.#bounds, width, width) > 0
  }

  #mayHaveEntry(words: Int32Array, at: number): boolean {
    if (this.#entries === 0) return false
    return this.#filter === null || bloomHas(this.#filter, words, at, this.width)
  }

  /** Bytes kept in memory. */
  get memoryBytes(): number {
    const bytes = this.#fences.byteLength + this.#sums.byteLength + this.#checked.length + this.#block.byteLength
    return bytes + this.#dense.memoryBytes + (this.#filter?.byteLength ?? 0)
  }

  /** Other runs may have gone since. */
  #loadIndex(): void {
    const { from, filterBytes, bytes } = this.#index
    if (this.#pool?.hold(bytes) !== true) return
    const index = new Uint8Array(bytes)
    if (readSync(this.#files.descriptor(this.path), index, 0, bytes, from) === bytes) {
      this.#filter = new Int32Array(index.buffer, 0, filterBytes / 4)
      this.#dense.keep(new Int32Array(index.buffer.slice(this.#index.denseAt)))
      this.#held = bytes
    } else this.#pool.letGo(bytes)
  }

  /**
   * As {@link find} for each of `keys`, numbers of keys in `words`, in ascending order of the keys. Leaves those in `keys` for which `visit`
   * has not returned true, in their order, and returns how many they are.
   */
  findEach(words: Int32Array, keys: Int32Array, visit: (key: number, position: number) => boolean): number {
    const { width } = this
    if (this.#entries === 0 && this.#dense.isEmpty) return keys.length
    const from = lowerBound(words, width, keys, (order) => order >= 0, this.#bounds, 0)
    const to = lowerBound(words, width, keys, (order) => order > 0, this.#bounds, width)
    let key = 0
    const visitKey = (position: number): boolean => visit(key, position)
    let kept = from
    const filter = this.#dense.isEmpty ? this.#filter : null
    for (let k = from; k < to; k++) {
      key = keys[k]
      if (filter && !bloomHas(filter, words, key * width, width)) {
        keys[kept++] = key
        continue
      }
      if (!this.#findInside(words, key * width, visitKey)) keys[kept++] = key
    }
    keys.copyWithin(kept, to)
    return kept + keys.length - to
  }

  /**
   * Calls `visit` with the positions of the rows with this key, ascending, until it returns true. Returns whether it did.
   * Cheapest when keys come in ascending order: the block that was read last is kept.
   *
   * Rows for which `visit` returned false are dead for good. In a long group of equal keys (a multiset) those at its start are
   * remembered and not visited again, so that emptying the group takes time in proportion to its rows.
   */
  find(words: Int32Array, at: number, visit: (position: number) => boolean): boolean {
    return !this.#isOutside(words, at) && this.#findInside(words, at, visit)
  }

  #findInside(words: Int32Array, at: number, visit: (position: number) => boolean): boolean {
    if (this.#filter === null && ++this.#lookupsWithout % lookupsBeforeRetry === 0) this.#loadIndex()
    const dense = this.#dense.position(words, at)
    if (!this.#mayHaveEntry(words, at)) return dense >= 0 && visit(dense)
    return this.#findEntry(words, at, dense, visit)
  }

  /** `dense`: the position of a dense row with the key, −1 for none, which is visited in its turn. */
  #findEntry(words: Int32Array, at: number, dense: number, visit: (position: number) => boolean): boolean {
    const { width } = this
    const stride = width + 1
    const start = this.#groupStart(words, at)
    let entry = start + (this.#deadPrefixes.get(start) ?? 0)
    let dead = entry - start
    let isDue = dense >= 0
    for (; entry < this.#entries; entry++) {
      const entries = this.#load(Math.floor(entry / blockEntries))
      const place = (entry % blockEntries) * stride
      if (compareKeys(entries, place, words, at, width) !== 0) break
      const position = entries[place + width]
      if (isDue && dense < position) {
        isDue = false
        if (visit(dense)) return true
      }
      if (visit(position)) return true
      dead++
      if (dead >= longGroup) this.#deadPrefixes.set(start, dead)
    }
    return isDue && visit(dense)
  }

  /**
   * All keys, each its words and the position: in ascending order those that are dense, then the others. An array is good until the next
   * one is asked for.
   */
  *blocks(): Generator<{ readonly entries: Int32Array; readonly count: number }, void> {
    yield* this.#dense.entries()
    for (let block = 0; block * blockEntries < this.#entries; block++) {
      yield { entries: this.#load(block), count: Math.min(blockEntries, this.#entries - block * blockEntries) }
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
    let to = Math.min(blockEntries, this.#entries - low * blockEntries)
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
      const count = Math.min(blockEntries, this.#entries - block * blockEntries)
      const bytes = new Uint8Array(this.#block.buffer, 0, count * stride)
      this.#loaded = -1
      assert(!this.#closed, 'a run is not read after its table has let go of it')
      if (readSync(this.#files.descriptor(this.path), bytes, 0, bytes.length, block * blockEntries * stride) !== bytes.length) {
        throw this.#damaged()
      }
      const isChecked = (this.#checked[block >> 3] & (1 << (block & 7))) !== 0
      if (!isChecked && crc32(bytes) !== this.#sums[block]) throw this.#damaged()
      this.#checked[block >> 3] |= 1 << (block & 7)
      this.#loaded = block
    }
    return this.#block
  }

  #readDense(from: number): Int32Array {
    assert(!this.#closed, 'a run is not read after its table has let go of it')
    if (readSync(this.#files.descriptor(this.path), denseBlockBytes, 0, denseBlockBytes.length, from) !== denseBlockBytes.length)
      throw this.#damaged()
    return denseBlock
  }

  /** The file is removed, so that the next start of its source builds it anew. */
  #damaged(): FrazilError {
    this.#files.close(this.path)
    rmSync(this.path, { force: true })
    return new FrazilError('unavailable', 'key-run', `the key run ${this.path} was damaged`)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#held > 0) this.#pool?.letGo(this.#held)
    this.#files.close(this.path)
  }
}

/** What is read at a time of dense keys that are not in memory. */
const denseBlock = new Int32Array(denseBlockWords)
const denseBlockBytes = new Uint8Array(denseBlock.buffer)

/** Where the first of `keys` is whose comparison with a key is as asked for. */
function lowerBound(
  words: Int32Array,
  width: 2 | 4,
  keys: Int32Array,
  isFrom: (order: number) => boolean,
  key: Int32Array,
  at: number,
): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (isFrom(compareKeys(words, keys[middle] * width, key, at, width))) high = middle
    else low = middle + 1
  }
  return low
}

/** Where in the file is what is in memory where there is room: the filter, and with stretches before them blocks of dense keys to the end. */
interface IndexPlace {
  readonly from: number
  readonly bytes: number
  readonly filterBytes: number
  readonly denseAt: number
}

/** What is in a footer, and the last key of the entries. */
interface RunParts {
  readonly entries: number
  readonly fences: Int32Array
  readonly sums: Uint32Array
  readonly last: Int32Array
  /** Null where it had no room, as the blocks of dense keys. */
  readonly filter: Int32Array | null
  readonly index: IndexPlace
  readonly stretches: Int32Array
  readonly denseBlocks: Int32Array | null
  /** Bytes that the pool has counted. */
  readonly held: number
}

function readFooter(path: string, fd: number, width: 2 | 4, rows: number, pool: SlabPool | null): RunParts {
  const bad = (what: string): never => {
    throw new FrazilError('corrupt', 'key-run', `the key run ${path} ${what}`)
  }
  const { size } = fstatSync(fd)
  const end = new Uint8Array(trailerBytes)
  if (size < trailerBytes || readSync(fd, end, 0, trailerBytes, size - trailerBytes) !== trailerBytes) bad('is too short')
  const trailer = new DataView(end.buffer)
  if (trailer.getUint32(36, true) !== crc32(end.subarray(0, 36))) bad('is damaged')
  if (trailer.getUint32(0, true) !== magic || trailer.getUint32(4, true) !== formatVersion) bad('has another format')
  if (trailer.getUint32(8, true) !== width || trailer.getUint32(12, true) !== rows) bad('belongs to another file')
  const entries = trailer.getUint32(16, true)
  const blocks = Math.ceil(entries / blockEntries)
  const entryBytes = entries * (width + 1) * 4
  const sumsAt = blocks * width * 4
  const filterAt = sumsAt + blocks * 4
  const stretchesAt = filterAt + bloomBytes(entries)
  const denseAt = stretchesAt + trailer.getUint32(20, true) * stretchWords * 4
  const footerBytes = denseAt + trailer.getUint32(24, true) * denseBlockWords * 4
  if (size !== entryBytes + footerBytes + trailerBytes) bad('has another length than it should')
  const footer = new Uint8Array(footerBytes)
  if (readSync(fd, footer, 0, footerBytes, entryBytes) !== footerBytes) bad('is too short')
  if (trailer.getUint32(28, true) !== crc32(footer)) bad('is damaged')
  const sums = new Uint32Array(footer.buffer.slice(sumsAt, filterAt))
  const last = new Int32Array(width)
  if (entries > 0) {
    const from = (blocks - 1) * blockEntries * (width + 1) * 4
    const block = new Uint8Array(entryBytes - from)
    if (readSync(fd, block, 0, block.length, from) !== block.length || crc32(block) !== sums[blocks - 1]) bad('is damaged')
    last.set(new Int32Array(block.buffer, block.length - (width + 1) * 4, width))
  }
  const bytes = footerBytes - filterAt
  const hasRoom = pool === null || pool.hold(bytes)
  return {
    entries,
    fences: new Int32Array(footer.buffer.slice(0, sumsAt)),
    sums,
    last,
    filter: hasRoom ? new Int32Array(footer.buffer, filterAt, (stretchesAt - filterAt) / 4) : null,
    index: { from: entryBytes + filterAt, bytes, filterBytes: stretchesAt - filterAt, denseAt: denseAt - filterAt },
    stretches: new Int32Array(footer.buffer.slice(stretchesAt, denseAt)),
    denseBlocks: hasRoom ? new Int32Array(footer.buffer, denseAt) : null,
    held: hasRoom ? bytes : 0,
  }
}
