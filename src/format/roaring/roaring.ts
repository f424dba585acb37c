import { FrazilError } from '../../base/index.ts'

/**
 * Portable 64-bit roaring bitmaps (RoaringFormatSpec) from and to plain bitsets: bit `p % 8` of byte `p / 8` is position `p`.
 * All loops run over 32-bit words.
 */

const containerBytes = 8192
const containerWords = containerBytes / 4
const bitmapBytes = 2 ** 29 // 2^32 positions
const cookieWithoutRuns = 12346
const cookieWithRuns = 12347
const maxArray = 4096
const noOffsetsBelow = 4

interface Container {
  /** Number of the container: position >>> 16. */
  readonly index: number
  readonly cardinality: number
  readonly runs: number
  readonly kind: 'array' | 'bitset' | 'run'
  readonly size: number
  /** Of an array: its positions. */
  readonly positions: Uint16Array | null
}

/**
 * The bitset in portable form, each container in its smallest shape (run-optimised as Java does), and the number of its bits.
 */
export function serializeBitmap(bits: Uint8Array): { bytes: Uint8Array; cardinality: number } {
  const scratch = new Int32Array(containerWords)
  const groups: Container[][] = []
  let size = 8
  let cardinality = 0
  for (let start = 0; start < bits.length; start += bitmapBytes) {
    const containers: Container[] = []
    const end = Math.min(bits.length, start + bitmapBytes)
    for (let at = start; at < end; at += containerBytes) {
      const container = measure(wordsAt(bits, at, scratch), (at - start) / containerBytes)
      if (container === null) continue
      containers.push(container)
      cardinality += container.cardinality
    }
    groups.push(containers)
    if (containers.length > 0) size += 4 + bitmapSize(containers)
  }

  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(groups.filter((containers) => containers.length > 0).length), true)
  let offset = 8
  for (const [key, containers] of groups.entries()) {
    if (containers.length === 0) continue
    view.setUint32(offset, key, true)
    offset = writeBitmap(view, bytes, offset + 4, containers, bits, key * bitmapBytes, scratch)
  }
  return { bytes, cardinality }
}

/**
 * The bitset of `length` positions, and the number of its bits. Anything that is not exactly one well-formed bitmap within that
 * length is `corrupt` (code `bad-bitmap`).
 */
export function deserializeBitmap(bytes: Uint8Array, length: number): { bits: Uint8Array; cardinality: number } {
  const reader = new BitmapReader(bytes)
  // Whole words, so that a run can be filled by words; the result is cut to the asked length.
  const padded = new Uint8Array(Math.ceil(length / 32) * 4)
  const words = new Uint32Array(padded.buffer)
  let cardinality = 0
  const count = reader.u32()
  if (reader.u32() !== 0) throw malformed('too many bitmaps')
  let lastKey = -1
  for (let i = 0; i < count; i++) {
    const key = reader.u32()
    if (key <= lastKey) throw malformed('bitmap keys are not ascending')
    lastKey = key
    cardinality += readBitmap(reader, words, key * 2 ** 32, length)
  }
  if (reader.offset !== bytes.length) throw malformed('bytes follow the last bitmap')
  return { bits: padded.subarray(0, Math.ceil(length / 8)), cardinality }
}

/** The words of a container: those of the bitset itself, or in `scratch` where they are not whole or lie askew. */
function wordsAt(bits: Uint8Array, at: number, scratch: Int32Array): Int32Array {
  const from = bits.byteOffset + at
  const available = Math.min(containerBytes, bits.length - at)
  if (available === containerBytes && from % 4 === 0) return new Int32Array(bits.buffer, from, containerWords)
  const bytes = new Uint8Array(scratch.buffer)
  bytes.set(bits.subarray(at, at + available))
  if (available < containerBytes) bytes.fill(0, available)
  return scratch
}

/** What {@link measure} finds: words that are not zero, and positions as long as they may be an array. */
const filled = new Uint16Array(containerWords)
const found = new Uint16Array(maxArray + 32)

function measure(words: Int32Array, index: number): Container | null {
  let count = 0
  // Nobody can foretell which words of a sparse bitset are zero: no branch here.
  for (let i = 0; i < containerWords; i++) {
    const word = words[i]
    filled[count] = i
    count += (word | -word) >>> 31
  }
  let cardinality = 0
  let runs = 0
  for (let at = 0; at < count; at++) {
    const i = filled[at]
    const word = words[i]
    const starts = word & ~((word << 1) | (i === 0 ? 0 : words[i - 1] >>> 31))
    if (cardinality > maxArray) {
      cardinality += popcount(word)
      runs += popcount(starts)
      continue
    }
    // Nearly always one.
    for (let rest = word; rest !== 0; rest &= rest - 1) found[cardinality++] = i * 32 + (31 - Math.clz32(rest & -rest))
    for (let rest = starts; rest !== 0; rest &= rest - 1) runs++
  }
  if (cardinality === 0) return null
  const isArray = cardinality <= maxArray
  const plain = isArray ? 2 * cardinality : containerBytes
  const asRuns = 2 + 4 * runs
  // Java compares with the array's size plus two bytes; kept, so that our bytes are its bytes.
  if (asRuns < (isArray ? plain + 2 : plain)) return { index, cardinality, runs, kind: 'run', size: asRuns, positions: null }
  if (!isArray) return { index, cardinality, runs, kind: 'bitset', size: plain, positions: null }
  return { index, cardinality, runs, kind: 'array', size: plain, positions: found.slice(0, cardinality) }
}

function popcount(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555)
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333)
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

function headerSize(containers: readonly Container[]): number {
  const count = containers.length
  if (!containers.some((container) => container.kind === 'run')) return 8 + 8 * count
  return 4 + Math.ceil(count / 8) + 4 * count + (count >= noOffsetsBelow ? 4 * count : 0)
}

function bitmapSize(containers: readonly Container[]): number {
  return containers.reduce((sum, container) => sum + container.size, headerSize(containers))
}

function writeBitmap(
  view: DataView,
  bytes: Uint8Array,
  start: number,
  containers: readonly Container[],
  bits: Uint8Array,
  base: number,
  scratch: Int32Array,
): number {
  const count = containers.length
  const hasRuns = containers.some((container) => container.kind === 'run')
  let offset = start
  if (hasRuns) {
    view.setUint32(offset, cookieWithRuns | ((count - 1) << 16), true)
    offset += 4
    for (let i = 0; i < count; i++) if (containers[i].kind === 'run') bytes[offset + (i >> 3)] |= 1 << (i & 7)
    offset += Math.ceil(count / 8)
  } else {
    view.setUint32(offset, cookieWithoutRuns, true)
    view.setUint32(offset + 4, count, true)
    offset += 8
  }
  for (const container of containers) {
    view.setUint16(offset, container.index, true)
    view.setUint16(offset + 2, container.cardinality - 1, true)
    offset += 4
  }
  if (!hasRuns || count >= noOffsetsBelow) {
    let at = headerSize(containers)
    for (const container of containers) {
      view.setUint32(offset, at, true)
      offset += 4
      at += container.size
    }
  }
  for (const container of containers) {
    const { positions } = container
    if (positions) bytes.set(new Uint8Array(positions.buffer), offset)
    else {
      const words = wordsAt(bits, base + container.index * containerBytes, scratch)
      if (container.kind === 'bitset') bytes.set(new Uint8Array(words.buffer, words.byteOffset, containerBytes), offset)
      else writeRuns(view, offset, words, container.runs)
    }
    offset += container.size
  }
  return offset
}

function writeRuns(view: DataView, start: number, words: Int32Array, runs: number): void {
  view.setUint16(start, runs, true)
  let offset = start + 2
  let begin = -1
  for (let i = 0; i < containerWords; i++) {
    const word = words[i]
    if (word === (begin < 0 ? 0 : -1)) continue
    for (let bit = 0; bit < 32; bit++) {
      const set = (word >>> bit) & 1
      if (set === 1 && begin < 0) begin = i * 32 + bit
      else if (set === 0 && begin >= 0) {
        view.setUint16(offset, begin, true)
        view.setUint16(offset + 2, i * 32 + bit - 1 - begin, true)
        offset += 4
        begin = -1
      }
    }
  }
  if (begin >= 0) {
    view.setUint16(offset, begin, true)
    view.setUint16(offset + 2, 65535 - begin, true)
  }
}

class BitmapReader {
  readonly bytes: Uint8Array
  readonly #view: DataView
  offset = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  need(count: number): void {
    if (this.offset + count > this.bytes.length) throw malformed('it ends too early')
  }

  u16(): number {
    this.need(2)
    this.offset += 2
    return this.#view.getUint16(this.offset - 2, true)
  }

  u32(): number {
    this.need(4)
    this.offset += 4
    return this.#view.getUint32(this.offset - 4, true)
  }
}

function readBitmap(reader: BitmapReader, words: Uint32Array, base: number, length: number): number {
  const start = reader.offset
  const cookie = reader.u32()
  const hasRuns = (cookie & 0xffff) === cookieWithRuns
  if (!hasRuns && cookie !== cookieWithoutRuns) throw malformed('unknown cookie')
  const count = hasRuns ? (cookie >>> 16) + 1 : reader.u32()
  if (count > 65536) throw malformed('too many containers')
  const flagsAt = reader.offset
  if (hasRuns) {
    reader.need(Math.ceil(count / 8))
    reader.offset += Math.ceil(count / 8)
  }
  const keys = new Uint16Array(count)
  const cardinalities = new Uint32Array(count)
  for (let i = 0; i < count; i++) {
    keys[i] = reader.u16()
    cardinalities[i] = reader.u16() + 1
    if (i > 0 && keys[i] <= keys[i - 1]) throw malformed('container keys are not ascending')
  }
  const offsetsAt = reader.offset
  const hasOffsets = !hasRuns || count >= noOffsetsBelow
  if (hasOffsets) {
    reader.need(4 * count)
    reader.offset += 4 * count
  }
  let total = 0
  const offsets = new DataView(reader.bytes.buffer, reader.bytes.byteOffset, reader.bytes.byteLength)
  for (let i = 0; i < count; i++) {
    if (hasOffsets && offsets.getUint32(offsetsAt + 4 * i, true) !== reader.offset - start) throw malformed('wrong offset')
    const first = base + keys[i] * 65536
    const isRun = hasRuns && ((reader.bytes[flagsAt + (i >> 3)] >> (i & 7)) & 1) === 1
    const found = isRun
      ? readRuns(reader, words, first, length)
      : cardinalities[i] <= maxArray
        ? readArray(reader, words, first, length, cardinalities[i])
        : readBitset(reader, words, first, length)
    if (found !== cardinalities[i]) throw malformed('wrong cardinality')
    total += found
  }
  return total
}

function readArray(reader: BitmapReader, words: Uint32Array, first: number, length: number, count: number): number {
  let last = -1
  for (let i = 0; i < count; i++) {
    const value = reader.u16()
    if (value <= last) throw malformed('values are not ascending')
    last = value
    const position = first + value
    if (position >= length) throw malformed('a position is beyond the last row')
    words[Math.floor(position / 32)] |= 1 << (position & 31)
  }
  return count
}

function readRuns(reader: BitmapReader, words: Uint32Array, first: number, length: number): number {
  const runs = reader.u16()
  let total = 0
  let next = 0
  for (let i = 0; i < runs; i++) {
    const start = reader.u16()
    const end = start + reader.u16() + 1
    if (start < next || end > 65536) throw malformed('runs overlap')
    next = end
    if (first + end > length) throw malformed('a position is beyond the last row')
    setRange(words, first + start, first + end)
    total += end - start
  }
  return total
}

function setRange(words: Uint32Array, start: number, end: number): void {
  const firstWord = Math.floor(start / 32)
  const lastWord = Math.floor((end - 1) / 32)
  const head = -1 << (start & 31)
  const tail = -1 >>> (31 - ((end - 1) & 31))
  if (firstWord === lastWord) {
    words[firstWord] |= head & tail
    return
  }
  words[firstWord] |= head
  words.fill(0xffffffff, firstWord + 1, lastWord)
  words[lastWord] |= tail
}

function readBitset(reader: BitmapReader, words: Uint32Array, first: number, length: number): number {
  reader.need(containerBytes)
  const view = new DataView(reader.bytes.buffer, reader.bytes.byteOffset + reader.offset, containerBytes)
  reader.offset += containerBytes
  const base = first / 32
  let total = 0
  for (let i = 0; i < containerWords; i++) {
    const word = view.getUint32(i * 4, true)
    if (word === 0) continue
    const position = (base + i) * 32
    if (position + 32 - Math.clz32(word) > length) throw malformed('a position is beyond the last row')
    words[base + i] = word
    total += popcount(word)
  }
  return total
}

function malformed(why: string): FrazilError {
  return new FrazilError('corrupt', 'bad-bitmap', `malformed roaring bitmap: ${why}`)
}
