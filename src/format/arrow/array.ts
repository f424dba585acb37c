import { Buffer } from 'node:buffer'
import { badArrow } from './malformed.ts'
import type { ArrowField, ArrowType } from './schema.ts'

/** Values of one column of a record batch (Arrow "Columnar Format"), every place in which was checked. */
export interface ArrowArray {
  readonly type: ArrowType
  readonly length: number
  /** A bit for each value that is there; null: all are. */
  readonly valid: Buffer | null
  /** Values of one size, or the bytes of texts. With a dictionary: the indexes. */
  readonly data: Buffer
  /** Where values of several sizes begin, and the last one ends; null for other types. */
  readonly offsets: Offsets | null
  readonly children: readonly ArrowArray[]
  /** Names of the children of a struct. */
  readonly names?: readonly string[]
  readonly dictionary: { readonly index: ArrowType & { kind: 'int' }; readonly values: ArrowArray } | null
}

export interface Offsets {
  readonly bytes: Buffer
  readonly large: boolean
}

/** Checked to be below 2^53, see {@link checkOffsets}. */
export function offsetAt({ bytes, large }: Offsets, i: number): number {
  if (!large) return bytes.readInt32LE(4 * i)
  return bytes.readInt32LE(8 * i + 4) * 0x1_0000_0000 + bytes.readUInt32LE(8 * i)
}

/** What a record batch says of its columns, in the order in which they lie in it. */
export interface BatchParts {
  nextNode(): { readonly length: number; readonly nulls: number }
  nextBuffer(): Buffer
  dictionary(id: number): ArrowArray
}

const nothing = Buffer.alloc(0)

/** The array of a field and those within it. Throws `request` (`bad-arrow`). */
export function readArray(field: ArrowField, parts: BatchParts): ArrowArray {
  const { dictionary } = field
  if (!dictionary) return readPlain(field, parts)
  const index = { ...field, type: dictionary.index, children: [], dictionary: null }
  const indexes = readPlain(index, parts)
  const values = parts.dictionary(dictionary.id)
  for (let i = 0; i < indexes.length; i++) {
    if (isValid(indexes, i) && !(indexAt(indexes.data, dictionary.index, i) < values.length)) {
      throw badArrow('an index beyond its dictionary')
    }
  }
  return { ...indexes, type: field.type, dictionary: { index: dictionary.index, values } }
}

function readPlain({ type, children }: ArrowField, parts: BatchParts): ArrowArray {
  const { length, nulls } = parts.nextNode()
  const array = { type, length, valid: null, data: nothing, offsets: null, children: [], dictionary: null }
  if (type.kind === 'null') return array
  const bitmap = parts.nextBuffer()
  if (nulls > 0 && bitmap.length * 8 < length) throw badArrow('a column without its nulls')
  const valid = nulls > 0 ? bitmap : null
  switch (type.kind) {
    case 'struct':
    case 'fixed-list': {
      const items = children.map((child) => readArray(child, parts))
      const needed = type.kind === 'fixed-list' ? length * type.size : length
      if (items.some((item) => item.length < needed)) throw badArrow('a nested column that is too short')
      return { ...array, valid, children: items, names: children.map(({ name }) => name) }
    }
    case 'list':
    case 'map': {
      const offsets = { bytes: parts.nextBuffer(), large: type.kind === 'list' && type.large }
      const items = children.map((child) => readArray(child, parts))
      checkOffsets(offsets, length, items[0].length)
      return { ...array, valid, offsets, children: items }
    }
    case 'utf8':
    case 'binary': {
      const offsets = { bytes: parts.nextBuffer(), large: type.large }
      const data = parts.nextBuffer()
      checkOffsets(offsets, length, data.length)
      return { ...array, valid, offsets, data }
    }
    default: {
      const data = parts.nextBuffer()
      if (data.length * 8 < length * bitsOf(type)) throw badArrow('a column without all of its values')
      return { ...array, valid, data }
    }
  }
}

function checkOffsets(offsets: Offsets, length: number, end: number): void {
  // Without values there may be no offsets at all.
  if (length === 0) return
  if (offsets.bytes.length < (length + 1) * (offsets.large ? 8 : 4)) throw badArrow('a column without all of its offsets')
  let before = 0
  for (let i = 0; i <= length; i++) {
    const offset = offsetAt(offsets, i)
    if (!(offset >= before && offset <= end)) throw badArrow('offsets that go beyond their values')
    before = offset
  }
}

function bitsOf(type: ArrowType): number {
  switch (type.kind) {
    case 'bool':
      return 1
    case 'int':
    case 'float':
    case 'decimal':
    case 'time':
      return type.bits
    case 'fixed':
      return type.width * 8
    case 'date':
      return type.unit === 'day' ? 32 : 64
    default:
      return 64
  }
}

export function isValid({ valid, type }: ArrowArray, i: number): boolean {
  return valid === null ? type.kind !== 'null' : (valid[i >> 3] & (1 << (i & 7))) !== 0
}

/** An index of a dictionary; NaN for one that is negative. */
export function indexAt(data: Buffer, { bits, signed }: { readonly bits: number; readonly signed: boolean }, i: number): number {
  let index: number
  if (bits === 8) index = signed ? data.readInt8(i) : data[i]
  else if (bits === 16) index = signed ? data.readInt16LE(2 * i) : data.readUInt16LE(2 * i)
  else if (bits === 32) index = signed ? data.readInt32LE(4 * i) : data.readUInt32LE(4 * i)
  else index = data.readInt32LE(8 * i + 4) * 0x1_0000_0000 + data.readUInt32LE(8 * i)
  return index < 0 ? Number.NaN : index
}
