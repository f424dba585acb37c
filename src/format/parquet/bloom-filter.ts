import type { Leaf } from './schema.ts'
import { physical } from './schema.ts'
import { headroom } from './staging.ts'
import type { Staging } from './staging.ts'
import { ThriftWriter } from './thrift.ts'
import { hashHigh, hashLow, xxHash64 } from './xxhash64.ts'

/** How large a column's filter becomes. */
export interface BloomFilterOptions {
  /** Share of values that are not there and that it does not exclude, above 0 and below 1. */
  readonly falsePositives: number
  /** … unless it would take more bytes than this. */
  readonly maxBytes: number
}

const blockBytes = 32
const salts = [0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31].map(
  (salt) => salt | 0,
)

/** Whether columns of this type can have a filter: not booleans, and not values within lists and maps. */
export function canHaveBloomFilter({ physical: type, maxRepetition, width }: Leaf): boolean {
  return type !== physical.boolean && maxRepetition === 0 && (type !== physical.fixed || width > 0)
}

/**
 * Gathers hashes of the values of a column chunk and makes its split block filter of them (specification: Parquet "Bloom Filter"). Values
 * of a dictionary are hashed once, so their number is that of different values; of other pages it is that of all, an upper bound.
 */
export class BloomFilterBuilder {
  readonly #leaf: Leaf
  readonly #options: BloomFilterOptions
  /** High and low words of hashes, in turn. */
  #hashes = new Int32Array(256)
  #count = 0
  /** Of a float or double column: values that equal others of other bits, for SQL. Those are added, too. */
  #hasZero = false
  #hasNan = false

  constructor(leaf: Leaf, options: BloomFilterOptions) {
    this.#leaf = leaf
    this.#options = options
  }

  /** Adds `count` dense PLAIN values. */
  add(values: Staging, count: number): void {
    const { bytes, view } = values
    this.#reserve(count)
    this.#lookForEquals(values, count)
    const { physical: type, width } = this.#leaf
    let at = headroom
    for (let i = 0; i < count; i++) {
      let length = width
      if (type === physical.byteArray) {
        length = view.getInt32(at, true)
        at += 4
      }
      xxHash64(bytes, at, at + length)
      at += length
      this.#hashes[this.#count++] = hashHigh
      this.#hashes[this.#count++] = hashLow
    }
  }

  /** The filter with its header, ready to be written; null for a chunk without values. Starts the next chunk. */
  finish(): Uint8Array<ArrayBuffer> | null {
    if (this.#hasZero) this.#addBoth(0)
    if (this.#hasNan) this.#addBoth(NaN)
    this.#hasZero = false
    this.#hasNan = false
    const count = this.#count >> 1
    if (count === 0) return null
    const size = this.#bytesFor(count)
    const words = new Int32Array(size >> 2)
    const blocks = size / blockBytes
    for (let i = 0; i < this.#count; i += 2) {
      const block = Math.floor(((this.#hashes[i] >>> 0) * blocks) / 0x1_0000_0000) * 8
      const key = this.#hashes[i + 1]
      for (let k = 0; k < 8; k++) words[block + k] |= 1 << (Math.imul(key, salts[k]) >>> 27)
    }
    this.#count = 0
    const header = headerOf(size)
    const out = new Uint8Array(header.length + size)
    out.set(header)
    out.set(new Uint8Array(words.buffer), header.length)
    return out
  }

  #lookForEquals({ bytes: { buffer } }: Staging, count: number): void {
    const { physical: type } = this.#leaf
    if (type !== physical.float && type !== physical.double) return
    const values = type === physical.float ? new Float32Array(buffer, headroom, count) : new Float64Array(buffer, headroom, count)
    for (let i = 0; i < count; i++) {
      const value = values[i]
      if (value === 0) this.#hasZero = true
      else if (value !== value) this.#hasNan = true
    }
  }

  /** Adds a value with either sign, in the bits that engines have for it. */
  #addBoth(value: number): void {
    const { width } = this.#leaf
    const bytes = new Uint8Array(width)
    const view = new DataView(bytes.buffer)
    if (width === 4) view.setFloat32(0, value, true)
    else view.setFloat64(0, value, true)
    this.#reserve(2)
    for (let sign = 0; sign < 2; sign++) {
      xxHash64(bytes, 0, width)
      this.#hashes[this.#count++] = hashHigh
      this.#hashes[this.#count++] = hashLow
      bytes[width - 1] ^= 0x80
    }
  }

  /** A power of two, as all writers have it. */
  #bytesFor(values: number): number {
    const bits = (-8 * values) / Math.log1p(-(this.#options.falsePositives ** (1 / 8)))
    const most = 2 ** Math.floor(Math.log2(Math.max(blockBytes, this.#options.maxBytes)))
    return Math.min(most, Math.max(blockBytes, 2 ** Math.ceil(Math.log2(bits / 8))))
  }

  #reserve(values: number): void {
    const needed = this.#count + values * 2
    if (needed <= this.#hashes.length) return
    const larger = new Int32Array(Math.max(needed, this.#hashes.length * 2))
    larger.set(this.#hashes.subarray(0, this.#count))
    this.#hashes = larger
  }
}

/** BloomFilterHeader (specification: parquet.thrift): split block, xxHash, uncompressed. */
function headerOf(bytes: number): Uint8Array {
  const out = new ThriftWriter(32)
  out.i32Field(1, bytes)
  for (const id of [2, 3, 4]) {
    out.beginField(id)
    out.beginField(1)
    out.end()
    out.end()
  }
  out.end()
  return out.finish()
}
