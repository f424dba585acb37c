import { Buffer, isUtf8 } from 'node:buffer'
import { isNested, layoutOf, maxValueBytes, widthOf } from '../../data/index.ts'
import type { Field, Type } from '../../data/index.ts'
import { indexAt, isValid, offsetAt } from './array.ts'
import type { ArrowArray } from './array.ts'
import { badArrow } from './malformed.ts'
import type { TimeUnit } from './schema.ts'

/** Why a value cannot be stored. */
export const faults = { outOfRange: -1, missing: -2 } as const

/** Values of a column as the stored bytes of another type (see `decodeValue`). */
export interface CellSource {
  isPresent(i: number): boolean
  /** Bytes of a value that is present, or one of {@link faults}. */
  size(i: number): number
  /** Writes a value that has a size. */
  put(i: number, out: Uint8Array, at: number): void
}

/** How values of `array` become values of `type`, without loss; null when they are of another type. Throws `request` (`bad-arrow`). */
export function cellsOf(array: ArrowArray, type: Type): CellSource | null {
  if (array.dictionary) {
    const { values, index } = array.dictionary
    const cells = cellsOf(values, type)
    const at = (i: number): number => indexAt(array.data, index, i)
    return (
      cells && {
        isPresent: (i) => isValid(array, i) && cells.isPresent(at(i)),
        size: (i) => cells.size(at(i)),
        put: (i, out, place) => cells.put(at(i), out, place),
      }
    )
  }
  const values = array.type.kind === 'null' ? nulls : valuesOf(array, type)
  return values && { isPresent: (i) => isValid(array, i), ...values }
}

type Values = Omit<CellSource, 'isPresent'>

const nulls: Values = { size: () => faults.missing, put: () => undefined }

function valuesOf(array: ArrowArray, type: Type): Values | null {
  const { type: given, data } = array
  switch (given.kind) {
    case 'bool':
      if (type.kind !== 'boolean') return null
      return { size: () => 1, put: (i, out, at) => (out[at] = (data[i >> 3] >> (i & 7)) & 1) }
    case 'int':
      return type.kind === 'int' || type.kind === 'long' ? integers(array, given, type.kind === 'int' ? 4 : 8) : null
    case 'float':
      return floats(data, given.bits, type)
    case 'utf8':
      if (type.kind !== 'string') return null
      checkText(array)
      return bytes(array)
    case 'binary':
      return type.kind === 'binary' ? bytes(array) : null
    case 'fixed':
      if (type.kind !== 'binary' && !(layoutOf(type) === 'fixed' && widthOf(type) === given.width)) return null
      return { size: () => given.width, put: (i, out, at) => copy(data, i * given.width, given.width, out, at) }
    case 'decimal':
      return type.kind === 'decimal' && type.scale === given.scale ? decimals(data, given.bits, type.precision) : null
    case 'date':
      if (type.kind !== 'date') return null
      if (given.unit === 'day') return { size: () => 4, put: (i, out, at) => copy(data, 4 * i, 4, out, at) }
      return scaled(4, (i) => whole(data.readBigInt64LE(8 * i), 86_400_000n))
    case 'time': {
      if (type.kind !== 'time') return null
      const at = given.bits === 32 ? (i: number) => BigInt(data.readInt32LE(4 * i)) : (i: number) => data.readBigInt64LE(8 * i)
      return scaled(8, (i) => {
        const micros = toMicros(at(i), given.unit)
        return micros !== null && micros >= 0n && micros < 86_400_000_000n ? micros : null
      })
    }
    case 'timestamp':
      if (type.kind !== (given.zoned ? 'timestamptz' : 'timestamp')) return null
      if (given.unit === 'us') return { size: () => 8, put: (i, out, at) => copy(data, 8 * i, 8, out, at) }
      return scaled(8, (i) => toMicros(data.readBigInt64LE(8 * i), given.unit))
    default:
      return isNested(type) ? nestedValues(array, type) : null
  }
}

function copy(data: Buffer, from: number, length: number, out: Uint8Array, at: number): void {
  if (length > 32) out.set(data.subarray(from, from + length), at)
  else for (let i = 0; i < length; i++) out[at + i] = data[from + i]
}

function putWord(word: number, out: Uint8Array, at: number): void {
  out[at] = word
  out[at + 1] = word >> 8
  out[at + 2] = word >> 16
  out[at + 3] = word >> 24
}

/** Whole numbers in `width` bytes. */
function integers({ data }: ArrowArray, { bits, signed }: { bits: number; signed: boolean }, width: 4 | 8): Values {
  const low = (i: number): number => {
    if (bits === 8) return signed ? data.readInt8(i) : data[i]
    if (bits === 16) return signed ? data.readInt16LE(2 * i) : data.readUInt16LE(2 * i)
    return data.readInt32LE((bits >> 3) * i)
  }
  // Of a number of 64 bits, as the one that is stored is signed.
  const high = (i: number, lower: number): number => {
    if (bits === 64) return data.readInt32LE(8 * i + 4)
    return signed || bits < 32 ? lower >> 31 : 0
  }
  return {
    size: (i) => {
      const lower = low(i)
      const upper = high(i, lower)
      const fits = width === 4 ? upper === lower >> 31 : signed || upper >= 0
      return fits ? width : faults.outOfRange
    },
    put: (i, out, at) => {
      const lower = low(i)
      putWord(lower, out, at)
      if (width === 8) putWord(high(i, lower), out, at + 4)
    },
  }
}

const scratch = Buffer.alloc(8)

function floats(data: Buffer, bits: number, type: Type): Values | null {
  if (type.kind !== 'double' && (type.kind !== 'float' || bits === 64)) return null
  const width = type.kind === 'double' ? 8 : 4
  if (bits === width * 8) return { size: () => width, put: (i, out, at) => copy(data, width * i, width, out, at) }
  const read = bits === 16 ? (i: number) => half(data.readUInt16LE(2 * i)) : (i: number) => data.readFloatLE(4 * i)
  return {
    size: () => width,
    put: (i, out, at) => {
      if (width === 8) scratch.writeDoubleLE(read(i))
      else scratch.writeFloatLE(read(i))
      copy(scratch, 0, width, out, at)
    },
  }
}

/** IEEE 754 binary16. */
function half(bits: number): number {
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  const sign = bits >> 15 === 0 ? 1 : -1
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

function bytes({ data, offsets }: ArrowArray): Values | null {
  if (!offsets) return null
  return {
    size: (i) => offsetAt(offsets, i + 1) - offsetAt(offsets, i),
    put: (i, out, at) => {
      const from = offsetAt(offsets, i)
      copy(data, from, offsetAt(offsets, i + 1) - from, out, at)
    },
  }
}

/** Texts lie one behind the other: all of it is UTF-8, and none of them begins within a character. */
function checkText({ data, offsets, length }: ArrowArray): void {
  if (!offsets || length === 0) return
  const end = offsetAt(offsets, length)
  let isText = isUtf8(data.subarray(offsetAt(offsets, 0), end))
  for (let i = 0; i < length && isText; i++) {
    const at = offsetAt(offsets, i)
    isText = at >= end || (data[at] & 0xc0) !== 0x80
  }
  if (!isText) throw badArrow('text that is not UTF-8')
}

/** Whole numbers of `width` bytes; null does not fit. */
function scaled(width: 4 | 8 | 16, read: (i: number) => bigint | null): Values {
  const low = -(2n ** BigInt(8 * width - 1))
  return {
    size: (i) => {
      const value = read(i)
      return value !== null && value >= low && value < -low ? width : faults.outOfRange
    },
    put: (i, out, at) => {
      const value = read(i) ?? 0n
      for (let word = 0; word < width; word += 4) {
        putWord(Number(BigInt.asIntN(32, value >> BigInt(8 * word))), out, at + word)
      }
    },
  }
}

function whole(value: bigint, divisor: bigint): bigint | null {
  return value % divisor === 0n ? value / divisor : null
}

function toMicros(value: bigint, unit: TimeUnit): bigint | null {
  if (unit === 'ns') return whole(value, 1000n)
  return unit === 'us' ? value : value * (unit === 'ms' ? 1000n : 1_000_000n)
}

function decimals(data: Buffer, bits: number, precision: number): Values {
  const limit = 10n ** BigInt(precision)
  const width = precision <= 9 ? 4 : precision <= 18 ? 8 : 16
  const size = bits >> 3
  return scaled(width, (i) => {
    let value = BigInt(data.readInt32LE(size * i + size - 4))
    for (let word = size - 8; word >= 0; word -= 4) value = (value << 32n) | BigInt(data.readUInt32LE(size * i + word))
    return value > -limit && value < limit ? value : null
  })
}

// ---- nested ----------------------------------------------------------------------------------------------------------------

/** A value within another one: its length (−1: null), and its bytes. */
interface Item {
  readonly cells: CellSource
  readonly required: boolean
}

function itemSize({ cells, required }: Item, i: number): number {
  if (!cells.isPresent(i)) return required ? faults.missing : 4
  const size = cells.size(i)
  return size < 0 ? size : size + 4
}

function putItem({ cells }: Item, i: number, out: Uint8Array, at: number): number {
  if (!cells.isPresent(i)) {
    putWord(-1, out, at)
    return at + 4
  }
  const size = cells.size(i)
  putWord(size, out, at)
  cells.put(i, out, at + 4)
  return at + 4 + size
}

/** Values that lie one behind the other, each of which is made of the items of all `items` at its place. */
function sequence(items: readonly Item[], from: (i: number) => number, to: (i: number) => number, hasCount: boolean): Values {
  return {
    size: (i) => {
      let sum = hasCount ? 4 : 0
      const end = to(i)
      for (let place = from(i); place < end; place++) {
        for (const item of items) {
          const size = itemSize(item, place)
          if (size < 0) return size
          sum += size
        }
        if (sum > maxValueBytes) return faults.outOfRange
      }
      return sum
    },
    put: (i, out, at) => {
      const end = to(i)
      let place = from(i)
      if (hasCount) {
        putWord(end - place, out, at)
        at += 4
      }
      for (; place < end; place++) for (const item of items) at = putItem(item, place, out, at)
    },
  }
}

function nestedValues(array: ArrowArray, type: Type): Values | null {
  const { type: given, children, offsets } = array
  if (given.kind === 'struct') {
    if (type.kind !== 'struct') return null
    const items = type.fields.map((field) => memberOf(array, field))
    const known = items.filter((item) => item !== null)
    const isWhole =
      known.length === items.length && array.names?.every((name) => type.fields.some((field) => field.name === name))
    return isWhole
      ? sequence(
          known,
          (i) => i,
          (i) => i + 1,
          false,
        )
      : null
  }
  if (given.kind === 'fixed-list') {
    if (type.kind !== 'list') return null
    const cells = cellsOf(children[0], type.element)
    const { size } = given
    return (
      cells &&
      sequence(
        [{ cells, required: type.elementRequired }],
        (i) => i * size,
        (i) => (i + 1) * size,
        true,
      )
    )
  }
  if (!offsets) return null
  const from = (i: number): number => offsetAt(offsets, i)
  const to = (i: number): number => offsetAt(offsets, i + 1)
  if (given.kind === 'list') {
    if (type.kind !== 'list') return null
    const cells = cellsOf(children[0], type.element)
    return cells && sequence([{ cells, required: type.elementRequired }], from, to, true)
  }
  if (given.kind !== 'map' || type.kind !== 'map') return null
  const [keys, values] = children[0].children
  const key = cellsOf(keys, type.key)
  const value = cellsOf(values, type.value)
  if (!key || !value) return null
  return sequence(
    [
      { cells: key, required: true },
      { cells: value, required: type.valueRequired },
    ],
    from,
    to,
    true,
  )
}

const absent: CellSource = { isPresent: () => false, ...nulls }

function memberOf(struct: ArrowArray, { name, type, required }: Field): Item | null {
  const places = (struct.names ?? []).flatMap((own, i) => (own === name ? [i] : []))
  if (places.length === 0) return required ? null : { cells: absent, required }
  const cells = places.length === 1 ? cellsOf(struct.children[places[0]], type) : null
  return cells && { cells, required }
}
