import { copyBytes } from '../../base/index.ts'
import { compareBytes } from './extrema.ts'
import type { Extrema } from './extrema.ts'
import { Staging, headroom } from './staging.ts'

/** Codes are 16 bits. */
const maxDictionaryEntries = 65536
/** After this many values of the first page, more than half of them distinct means that a dictionary does not pay. */
const sample = 4096
/**
 * Look-ups may step over this many other entries for each value of a page, on average. Beyond, values are made (or happen) to
 * collide, and the dictionary is given up before it costs quadratic time.
 */
const stepsPerValue = 8

/**
 * Distinct values of one column in one row group, in order of first appearance: open addressing over hashes, the values
 * themselves lying in PLAIN form, which is the dictionary page.
 */
export interface Dictionary {
  /** Distinct values. */
  size: number
  readonly values: Staging
  /**
   * Looks up `count` dense values and writes their codes. Returns false when the dictionary becomes too large, or when it
   * is empty so far and too many of the first values are distinct, or when they collide too often; entries beyond the earlier `size` are then meaningless.
   */
  encode(page: Staging, count: number, codes: Uint16Array): boolean
  /** Keeps only the first `size` values; nothing is looked up any more until {@link clear}. */
  truncate(size: number): void
  /** Forgets everything, for the next row group. */
  clear(): void
}

abstract class HashedDictionary implements Dictionary {
  size = 0
  readonly values = new Staging(256)
  protected readonly limit: number
  /** Code + 1 by hash, 0 where empty; at most half full. */
  protected slots = new Int32Array(256)
  protected hashes = new Int32Array(128)

  constructor(limitBytes: number) {
    this.limit = limitBytes
  }

  abstract encode(page: Staging, count: number, codes: Uint16Array): boolean

  abstract truncate(size: number): void

  clear(): void {
    this.size = 0
    this.values.clear()
    this.slots.fill(0)
  }

  /** Whether there is room for a further entry of `bytes`. */
  protected allows(bytes: number): boolean {
    return this.size < maxDictionaryEntries && this.values.length + bytes <= this.limit
  }

  protected grow(): void {
    const capacity = this.slots.length * 4
    const slots = new Int32Array(capacity)
    const hashes = new Int32Array(capacity / 2)
    hashes.set(this.hashes)
    for (let code = 0; code < this.size; code++) {
      let slot = hashes[code] & (capacity - 1)
      while (slots[slot] !== 0) slot = (slot + 1) & (capacity - 1)
      slots[slot] = code + 1
    }
    this.slots = slots
    this.hashes = hashes
  }
}

/** Values of 4 or 8 bytes, told apart by their bits. */
export class WordDictionary extends HashedDictionary {
  readonly #stride: 1 | 2

  constructor(width: 4 | 8, limitBytes: number) {
    super(limitBytes)
    this.#stride = width === 4 ? 1 : 2
  }

  truncate(size: number): void {
    this.size = size
    this.values.end = headroom + size * this.#stride * 4
  }

  encode(page: Staging, count: number, codes: Uint16Array): boolean {
    const { words } = page
    const stride = this.#stride
    const first = this.size
    let steps = count * stepsPerValue + sample
    let { slots } = this
    let mask = slots.length - 1
    let entries = this.values.words
    const base = headroom >> 2
    if (first === 0 && count > sample && doRise(words, base, stride)) return false
    // Neighbours are often equal: they are not looked up again.
    let lowBefore = 0
    let highBefore = 0
    let before = -1
    for (let i = 0, at = base; i < count; i++, at += stride) {
      if (i === sample && first === 0 && this.size > sample / 2) return false
      const low = words[at]
      const high = stride === 2 ? words[at + 1] : 0
      if (before >= 0 && low === lowBefore && high === highBefore) {
        codes[i] = before
        continue
      }
      const hash = mix(Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b))
      let slot = hash & mask
      let code = slots[slot] - 1
      while (code >= 0) {
        const entry = base + code * stride
        if (entries[entry] === low && (stride === 1 || entries[entry + 1] === high)) break
        if (--steps < 0) return false
        slot = (slot + 1) & mask
        code = slots[slot] - 1
      }
      if (code < 0) {
        if (!this.allows(stride * 4)) return false
        code = this.size++
        this.values.reserve(stride * 4)
        entries = this.values.words
        entries[base + code * stride] = low
        if (stride === 2) entries[base + code * stride + 1] = high
        this.values.end += stride * 4
        this.hashes[code] = hash
        slots[slot] = code + 1
        if (this.size * 2 >= slots.length) {
          this.grow()
          slots = this.slots
          mask = slots.length - 1
        }
      }
      codes[i] = code
      lowBefore = low
      highBefore = high
      before = code
    }
    return true
  }
}

/** Whether each value of the sample is larger than the one before, as numbers and times of events are: all of them are distinct then. */
function doRise(words: Int32Array, base: number, stride: 1 | 2): boolean {
  const end = base + sample * stride
  for (let at = base + stride; at < end; at += stride) {
    const before = at - stride
    if (stride === 1) {
      if (words[at] <= words[before]) return false
    } else {
      const high = words[at + 1] - words[before + 1]
      if (high < 0 || (high === 0 && words[at] >>> 0 <= words[before] >>> 0)) return false
    }
  }
  return true
}

/** Byte arrays behind their lengths (`width` 0), or of `width` bytes each. */
export class ByteDictionary extends HashedDictionary {
  readonly #width: number
  /** 128 for decimals: flips the sign bit, so that bytes compare as numbers. */
  readonly #flip: number
  /** Where each entry's bytes begin in `values`. */
  #starts = new Int32Array(128)
  /** By code: the one that came behind it last. Texts are often the same again, or come in turns, as keys of maps do. */
  #successors = new Uint16Array(128)
  /** By code: number of the last {@link extrema} call that met it. */
  #met = new Int32Array(128)
  #calls = 0
  /** Of the page at hand: values looked up, entries stepped over, the code before, whether it was said that a dictionary pays. */
  #count = 0
  #steps = 0
  #before = 0
  #sampled = false

  constructor(width: number, signed: boolean, limitBytes: number) {
    super(limitBytes)
    this.#width = width
    this.#flip = signed ? 128 : 0
  }

  /** Smallest and largest of the values behind some codes, each distinct one looked at once. */
  extrema(codes: Uint16Array, count: number): Extrema {
    const call = ++this.#calls
    const met = this.#met
    let min = codes[0]
    let max = min
    for (let i = 0; i < count; i++) {
      const code = codes[i]
      if (met[code] === call) continue
      met[code] = call
      if (this.#compare(code, min) < 0) min = code
      else if (this.#compare(code, max) > 0) max = code
    }
    return { min: this.#bytesOf(min).slice(), max: this.#bytesOf(max).slice(), nans: 0 }
  }

  truncate(size: number): void {
    if (size < this.size) this.values.end = this.#starts[size] - (this.#width === 0 ? 4 : 0)
    this.size = size
  }

  encode(page: Staging, count: number, codes: Uint16Array): boolean {
    const { view, bytes } = page
    const width = this.#width
    const prefix = width === 0 ? 4 : 0
    this.beginPage()
    for (let i = 0, at = headroom; i < count; i++) {
      const length = width === 0 ? view.getInt32(at, true) : width
      const code = this.code(view, bytes, at + prefix, length)
      if (code < 0) return false
      codes[i] = code
      at += prefix + length
    }
    return true
  }

  /** The values that come next are of another page. */
  beginPage(): void {
    this.#count = 0
    this.#steps = 0
    this.#sampled = this.size > 0
    this.#before = 0
  }

  /** Looks up a value of the page, `length` bytes at `start`. Returns its code, −1 where {@link encode} would return false. */
  code(view: DataView, bytes: Uint8Array, start: number, length: number): number {
    if (++this.#count > sample && !this.#sampled) {
      this.#sampled = true
      if (this.size > sample / 2) return -1
    }
    const expected = this.#successors[this.#before]
    if (expected < this.size && this.#equals(expected, view, bytes, start, length)) {
      this.#before = expected
      return expected
    }
    return this.#look(view, bytes, start, length)
  }

  /** So many values of the page are the same again as those before. */
  repeated(count: number): void {
    this.#count += count
  }

  #look(view: DataView, bytes: Uint8Array, start: number, length: number): number {
    const { slots, hashes } = this
    const mask = slots.length - 1
    const end = start + length
    // Two chains, so that the processor does not wait for each multiplication.
    let hash = length
    let other = 0
    let k = start
    for (; k + 8 <= end; k += 8) {
      hash = Math.imul(hash ^ view.getInt32(k, true), 0x9e3779b1)
      other = Math.imul(other ^ view.getInt32(k + 4, true), 0x85ebca6b)
    }
    if (k + 4 <= end) {
      hash = Math.imul(hash ^ view.getInt32(k, true), 0x9e3779b1)
      k += 4
    }
    for (; k < end; k++) other = Math.imul(other ^ bytes[k], 0x85ebca6b)
    hash = mix(hash ^ (other >>> 15) ^ (other << 17))
    let slot = hash & mask
    let code = slots[slot] - 1
    while (code >= 0) {
      if (hashes[code] === hash && this.#equals(code, view, bytes, start, length)) break
      if (++this.#steps > this.#count * stepsPerValue + sample) return -1
      slot = (slot + 1) & mask
      code = slots[slot] - 1
    }
    if (code < 0) {
      const prefix = this.#width === 0 ? 4 : 0
      if (!this.allows(prefix + length)) return -1
      code = this.size++
      const { values } = this
      values.reserve(prefix + length)
      if (prefix > 0) values.view.setInt32(values.end, length, true)
      copyBytes(view, start, values.view, values.end + prefix, length)
      this.#starts[code] = values.end + prefix
      values.end += prefix + length
      hashes[code] = hash
      slots[slot] = code + 1
      if (this.size * 2 >= slots.length) this.grow()
    }
    this.#successors[this.#before] = code
    this.#before = code
    return code
  }

  /** Writes the values behind some codes to a page. */
  decode(codes: Uint16Array, count: number, page: Staging): void {
    const prefix = this.#width === 0 ? 4 : 0
    for (let i = 0; i < count; i++) {
      const start = this.#starts[codes[i]] - prefix
      const length = prefix + this.#lengthOf(codes[i])
      page.reserve(length)
      copyBytes(this.values.view, start, page.view, page.end, length)
      page.end += length
    }
  }

  protected override grow(): void {
    super.grow()
    const starts = new Int32Array(this.hashes.length)
    starts.set(this.#starts)
    this.#starts = starts
    const successors = new Uint16Array(this.hashes.length)
    successors.set(this.#successors)
    this.#successors = successors
    const met = new Int32Array(this.hashes.length)
    met.set(this.#met)
    this.#met = met
  }

  #lengthOf(code: number): number {
    return this.#width === 0 ? this.values.view.getInt32(this.#starts[code] - 4, true) : this.#width
  }

  #bytesOf(code: number): Uint8Array {
    return this.values.bytes.subarray(this.#starts[code], this.#starts[code] + this.#lengthOf(code))
  }

  #compare(a: number, b: number): number {
    const { bytes } = this.values
    const aStart = this.#starts[a]
    const bStart = this.#starts[b]
    if (this.#flip !== 0) {
      const difference = (bytes[aStart] ^ this.#flip) - (bytes[bStart] ^ this.#flip)
      if (difference !== 0) return difference
    }
    return compareBytes(bytes, aStart, aStart + this.#lengthOf(a), bytes, bStart, bStart + this.#lengthOf(b))
  }

  #equals(code: number, view: DataView, bytes: Uint8Array, start: number, length: number): boolean {
    const mine = this.values.view
    let at = this.#starts[code]
    if (this.#lengthOf(code) !== length) return false
    const end = start + length
    let k = start
    for (; k + 4 <= end; k += 4, at += 4) if (mine.getInt32(at, true) !== view.getInt32(k, true)) return false
    for (; k < end; k++, at++) if (this.values.bytes[at] !== bytes[k]) return false
    return true
  }
}

function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x2c1b3c6d)
  return hash ^ (hash >>> 13)
}
