import { createHash } from 'node:crypto'
import { assert } from '../base/index.ts'
import type { Column, Field, Segment, TableKey } from '../data/index.ts'
import { layoutOf } from '../data/index.ts'

/**
 * How the keys of a table are told apart, plain enough to travel in a message.
 * - `exact`: one column of at most 8 bytes; the key is its value as a signed 64-bit number.
 * - `hash`: a 128-bit hash (MurmurHash3 x64-like, 32-bit lanes) over the stored bytes of all key columns.
 *
 * Hashes are taken over stored values, so that they can be computed again from a data file. In memory the key columns are
 * compared as well; a key run on disk trusts the 128 bits (decision 0002).
 */
export interface KeySpec {
  readonly kind: 'exact' | 'hash'
  /** Positions of the key columns in the table's fields. */
  readonly columns: readonly number[]
  /** Equal rows are a multiset: several live rows may share a key. */
  readonly multiset: boolean
}

/** Words of a key: exact keys use two (low, high), hashed ones four. */
export function keyWords(spec: KeySpec): 2 | 4 {
  return spec.kind === 'exact' ? 2 : 4
}

/** Equal texts mean that the same words stand for the same key in two shapes of a table. Fits into a file name. */
export function keyTag(spec: KeySpec, fields: readonly Field[]): string {
  const columns = spec.columns.map((i) => fields[i])
  if (spec.kind === 'exact') return `e${columns[0].id}`
  const parts = columns.map(({ id, type }) => `${id}:${layoutOf(type)}`)
  return `${spec.multiset ? 'm' : 'h'}${createHash('sha256').update(parts.join()).digest('hex').slice(0, 12)}`
}

/** Null for tables without any key (append-only). */
export function keySpecOf(fields: readonly Field[], key: TableKey): KeySpec | null {
  if (key.kind === 'none') return null
  const columns = key.kind === 'row' ? fields.map((_, i) => i) : key.columns
  assert(columns.length > 0, 'a key has at least one column')
  if (key.kind === 'columns' && columns.length === 1) {
    const layout = layoutOf(fields[columns[0]].type)
    if ((layout === 'i32' || layout === 'i64') && fields[columns[0]].required) return { kind: 'exact', columns, multiset: false }
  }
  return { kind: 'hash', columns, multiset: key.kind === 'row' }
}

/**
 * The columns, in key order, by which keys that came with a change name rows. Those of whole rows serve for any key: a source may send
 * them where the table, which was copied anew meanwhile, has a key of some columns.
 */
export function namingColumns({ columns: places }: KeySpec, { columns }: Segment): readonly Column[] {
  return columns.length === places.length ? columns : places.map((place) => columns[place])
}

/** Key columns of one segment, in key order, and where a key's words are put. */
export type KeyReader = (row: number, out: Int32Array, at: number) => void

/** Reads the words of a row's key from the given key columns (of a table segment, a key segment or a data file). */
export function keyReader(spec: KeySpec, columns: readonly Column[]): KeyReader {
  if (spec.kind === 'exact') {
    const [column] = columns
    const { words } = column
    if (column.layout === 'i32') {
      return (row, out, at) => {
        const value = words[row]
        out[at] = value
        out[at + 1] = value >> 31
      }
    }
    return (row, out, at) => {
      out[at] = words[2 * row]
      out[at + 1] = words[2 * row + 1]
    }
  }
  return (row, out, at) => hashRow(columns, row, out, at)
}

/** Whether two rows of the same table have equal keys, byte for byte; a null equals a null. */
export function keysEqual(a: readonly Column[], rowA: number, b: readonly Column[], rowB: number): boolean {
  for (let i = 0; i < a.length; i++) {
    const x = a[i]
    const y = b[i]
    const hasX = x.valid === null || (x.valid[rowA >> 3] & (1 << (rowA & 7))) !== 0
    const hasY = y.valid === null || (y.valid[rowB >> 3] & (1 << (rowB & 7))) !== 0
    if (hasX !== hasY) return false
    if (!hasX) continue
    let from: number
    let to: number
    let other: number
    if (x.layout === 'var') {
      from = x.ends[rowA]
      to = x.ends[rowA + 1]
      other = y.ends[rowB]
      if (to - from !== y.ends[rowB + 1] - other) return false
      const left = x.heap
      const right = y.heap
      for (; from < to; from++, other++) if (left[from] !== right[other]) return false
    } else {
      from = rowA * x.width
      to = from + x.width
      other = rowB * y.width
      const left = x.data
      const right = y.data
      for (; from < to; from++, other++) if (left[from] !== right[other]) return false
    }
  }
  return true
}

/**
 * A 32-bit hash of a key's words, for tables in memory. Numbers that differ in their low three bits only get hashes that do so,
 * too: ids mostly come ascending, and eight slots of 8 bytes are one line of the processor's cache.
 */
export function mixWords(words: Int32Array, at: number, count: 2 | 4): number {
  if (count === 4) return words[at]
  return mixPair(words[at] >> 3, words[at + 1]) ^ (words[at] & 7)
}

function mixPair(low: number, high: number): number {
  let h = Math.imul(low, 0x9e3779b1) ^ Math.imul(high ^ 0x7f4a7c15, 0x85ebca77)
  h ^= h >>> 15
  h = Math.imul(h, 0x2c1b3c6d)
  h ^= h >>> 12
  h = Math.imul(h, 0x297a2d39)
  return h ^ (h >>> 15)
}

// MurmurHash3_x86_128 by Austin Appleby (public domain), fed column by column: a presence byte, then for `var` columns the
// length prefix and bytes as they lie in the heap, for the others the stored bytes.
const c1 = 0x239b961b
const c2 = 0xab0e9789
const c3 = 0x38b34ae5
const c4 = 0xa1e38b93
const lanes = new Int32Array(4)
const tail = new Uint8Array(16)
let tailLength = 0
let total = 0

function hashRow(columns: readonly Column[], row: number, out: Int32Array, at: number): void {
  lanes[0] = 0x5f3a1c77
  lanes[1] = 0x1b873593
  lanes[2] = 0x6f72617a
  lanes[3] = 0x6c6f676b
  tailLength = 0
  total = 0
  for (let i = 0; i < columns.length; i++) {
    const column = columns[i]
    if (column.valid !== null && (column.valid[row >> 3] & (1 << (row & 7))) === 0) {
      feedByte(0)
    } else if (column.layout === 'var') {
      feedByte(1)
      feed(column.heap, column.ends[row], column.ends[row + 1])
    } else {
      feedByte(1)
      feed(column.data, row * column.width, (row + 1) * column.width)
    }
  }
  finish()
  out[at] = lanes[0]
  out[at + 1] = lanes[1]
  out[at + 2] = lanes[2]
  out[at + 3] = lanes[3]
}

function feedByte(byte: number): void {
  tail[tailLength++] = byte
  total++
  if (tailLength === 16) {
    mixBlock(tail, 0)
    tailLength = 0
  }
}

function feed(bytes: Uint8Array, from: number, to: number): void {
  total += to - from
  let at = from
  while (tailLength > 0 && at < to) {
    tail[tailLength++] = bytes[at++]
    if (tailLength === 16) {
      mixBlock(tail, 0)
      tailLength = 0
    }
  }
  for (; at + 16 <= to; at += 16) mixBlock(bytes, at)
  while (at < to) tail[tailLength++] = bytes[at++]
}

function word(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

function mixBlock(bytes: Uint8Array, at: number): void {
  let h1 = lanes[0]
  let h2 = lanes[1]
  let h3 = lanes[2]
  let h4 = lanes[3]
  h1 ^= Math.imul(rotate(Math.imul(word(bytes, at), c1), 15), c2)
  h1 = (Math.imul((rotate(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0
  h2 ^= Math.imul(rotate(Math.imul(word(bytes, at + 4), c2), 16), c3)
  h2 = (Math.imul((rotate(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0
  h3 ^= Math.imul(rotate(Math.imul(word(bytes, at + 8), c3), 17), c4)
  h3 = (Math.imul((rotate(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0
  h4 ^= Math.imul(rotate(Math.imul(word(bytes, at + 12), c4), 18), c1)
  h4 = (Math.imul((rotate(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0
  lanes[0] = h1
  lanes[1] = h2
  lanes[2] = h3
  lanes[3] = h4
}

function avalanche(value: number): number {
  let h = value
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}

function finish(): void {
  if (tailLength > 0) {
    // A block padded with zeros; the total length below keeps it apart from a longer key that ends in zeros.
    tail.fill(0, tailLength)
    mixBlock(tail, 0)
  }
  let [h1, h2, h3, h4] = lanes
  h1 ^= total
  h2 ^= total
  h3 ^= total
  h4 ^= total
  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = (h2 + h1) | 0
  h3 = (h3 + h1) | 0
  h4 = (h4 + h1) | 0
  h1 = avalanche(h1)
  h2 = avalanche(h2)
  h3 = avalanche(h3)
  h4 = avalanche(h4)
  h1 = (h1 + h2 + h3 + h4) | 0
  lanes[0] = h1
  lanes[1] = (h2 + h1) | 0
  lanes[2] = (h3 + h1) | 0
  lanes[3] = (h4 + h1) | 0
}
