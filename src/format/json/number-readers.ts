import { Buffer } from 'node:buffer'
import type { Column } from '../../data/index.ts'
import type { CellReader } from './cells.ts'
import { isDigit, numberEnd, stringEnd } from './scan.ts'
import { putProduct } from './words.ts'

const billion = 1_000_000_000

export class IntReader implements CellReader {
  fault: CellReader['fault'] = 'wrong-type'
  readonly needed = 0
  readonly wants = 'a whole number of 32 bits'

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    const isNegative = bytes[at] === 0x2d
    if (isNegative) at++
    const first = at
    let number = 0
    while (at < end && isDigit(bytes[at]) && at - first < 11) number = number * 10 + bytes[at++] - 0x30
    this.fault = 'wrong-type'
    if (!isWhole(bytes, first, at, end)) return -1
    if (number > (isNegative ? 0x8000_0000 : 0x7fff_ffff)) {
      this.fault = 'out-of-range'
      return -1
    }
    column.words[row] = isNegative ? -number : number
    return at
  }
}

/** Whether [first, at) is a whole number as JSON has it, without sign, and ends there. */
function isWhole(bytes: Uint8Array, first: number, at: number, end: number): boolean {
  if (at === first || (bytes[first] === 0x30 && at - first > 1)) return false
  if (at >= end) return true
  const next = bytes[at]
  return next !== 0x2e && (next | 0x20) !== 0x65 && !isDigit(next)
}

export class LongReader implements CellReader {
  fault: CellReader['fault'] = 'wrong-type'
  readonly needed = 0
  readonly wants = 'a whole number of 64 bits'

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    const isNegative = bytes[at] === 0x2d
    if (isNegative) at++
    const first = at
    while (at < end && isDigit(bytes[at])) at++
    this.fault = 'wrong-type'
    if (!isWhole(bytes, first, at, end)) return -1
    const count = at - first
    const upper = count > 9 ? plain(bytes, first, Math.min(at - 9, first + 11)) : 0
    const lower = plain(bytes, count > 9 ? at - 9 : first, at)
    if (count > 19 || upper > 9_223_372_036 || (upper === 9_223_372_036 && lower > (isNegative ? 854_775_808 : 854_775_807))) {
      this.fault = 'out-of-range'
      return -1
    }
    putProduct(column.words, row * 2, isNegative ? -upper : upper, billion, isNegative ? -lower : lower)
    return at
  }
}

function plain(bytes: Uint8Array, from: number, to: number): number {
  let number = 0
  for (let i = from; i < to; i++) number = number * 10 + bytes[i] - 0x30
  return number
}

const powers = Array.from({ length: 23 }, (_, i) => 10 ** i)

/** Numbers, and the texts "NaN", "Infinity" and "-Infinity". */
export class FloatReader implements CellReader {
  fault: CellReader['fault'] = 'wrong-type'
  readonly needed = 0
  readonly wants: string
  readonly #single: boolean
  readonly #scratch = new Float64Array(1)
  readonly #words = new Int32Array(this.#scratch.buffer)
  readonly #half = new Float32Array(1)
  readonly #halfWord = new Int32Array(this.#half.buffer)

  constructor(kind: 'float' | 'double') {
    this.#single = kind === 'float'
    this.wants = this.#single ? 'a number of 32 bits (float)' : 'a number of 64 bits (double)'
  }

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    this.fault = 'wrong-type'
    if (bytes[at] === 0x22) return this.#named(bytes, at, end, column, row)
    const after = numberEnd(bytes, at, end)
    if (after < 0) return -1
    const value = simpleNumber(bytes, at, after)
    if (!this.#put(Number.isNaN(value) ? Number(ascii(bytes, at, after)) : value, column, row)) {
      this.fault = 'out-of-range'
      return -1
    }
    return after
  }

  #named(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    const quote = stringEnd(bytes, at + 1, end)
    if (quote < 0) return -1
    const text = ascii(bytes, at + 1, quote)
    if (text !== 'NaN' && text !== 'Infinity' && text !== '-Infinity') return -1
    this.#write(Number(text), column, row)
    return quote + 1
  }

  #put(value: number, column: Column, row: number): boolean {
    if (!Number.isFinite(value) || (this.#single && !Number.isFinite(Math.fround(value)))) return false
    this.#write(value, column, row)
    return true
  }

  #write(value: number, column: Column, row: number): void {
    if (this.#single) {
      this.#half[0] = value
      column.words[row] = this.#halfWord[0]
    } else {
      this.#scratch[0] = value
      column.words[row * 2] = this.#words[0]
      column.words[row * 2 + 1] = this.#words[1]
    }
  }
}

/** A number of up to 15 digits with a small exponent, whose nearest double one operation gives exactly; NaN for any other. */
function simpleNumber(bytes: Uint8Array, at: number, end: number): number {
  const isNegative = bytes[at] === 0x2d
  let mantissa = 0
  let count = 0
  let fraction = -1
  for (let i = isNegative ? at + 1 : at; i < end; i++) {
    const byte = bytes[i]
    if (byte === 0x2e) fraction = 0
    else if (isDigit(byte)) {
      mantissa = mantissa * 10 + byte - 0x30
      if (mantissa > 0) count++
      if (fraction >= 0) fraction++
    } else return Number.NaN
  }
  if (count > 15 || fraction > 22) return Number.NaN
  const value = fraction > 0 ? mantissa / powers[fraction] : mantissa
  return isNegative ? -value : value
}

function ascii(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1')
}

/** Exponents beyond this are no decimals that anybody writes; they would only make long numbers. */
const largestExponent = 100

/** Numbers, or the same as text: `12.50`, `"12.50"`. Digits beyond the scale have to be zeros. */
export class DecimalReader implements CellReader {
  fault: CellReader['fault'] = 'wrong-type'
  readonly needed = 0
  readonly wants: string
  readonly #precision: number
  readonly #scale: number

  constructor(precision: number, scale: number) {
    this.#precision = precision
    this.#scale = scale
    this.wants = `a decimal with ${precision} digits, ${scale} of them behind the point`
  }

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    this.fault = 'wrong-type'
    const isText = bytes[at] === 0x22
    const from = isText ? at + 1 : at
    const after = numberEnd(bytes, from, end)
    if (after < 0 || (isText && (after >= end || bytes[after] !== 0x22))) return -1
    if (!this.#simple(bytes, from, after, column, row) && !this.#exact(ascii(bytes, from, after), column, row)) {
      this.fault = 'out-of-range'
      return -1
    }
    return isText ? after + 1 : after
  }

  /** Decimals of up to 18 digits without an exponent or digits to drop. */
  #simple(bytes: Uint8Array, at: number, end: number, column: Column, row: number): boolean {
    if (this.#precision > 18) return false
    const isNegative = bytes[at] === 0x2d
    let upper = 0
    let lower = 0
    let count = 0
    let fraction = -1
    const scale = this.#scale
    for (let i = isNegative ? at + 1 : at; ; i++) {
      let digit: number
      if (i < end) {
        const byte = bytes[i]
        if (byte === 0x2e) {
          fraction = 0
          continue
        }
        if (!isDigit(byte)) return false
        digit = byte - 0x30
      } else {
        if (Math.max(fraction, 0) >= scale) break
        digit = 0
      }
      if (i >= end && fraction < 0) fraction = 0
      if (fraction >= 0 && ++fraction > scale) return false
      if (count > 0 || digit > 0) count++
      if (count > this.#precision) return false
      const carried = lower * 10 + digit
      const over = Math.floor(carried / billion)
      upper = upper * 10 + over
      lower = carried - over * billion
    }
    if (column.width === 4) column.words[row] = isNegative ? -(upper * billion + lower) : upper * billion + lower
    else putProduct(column.words, row * 2, isNegative ? -upper : upper, billion, isNegative ? -lower : lower)
    return true
  }

  #exact(text: string, column: Column, row: number): boolean {
    const [digits, exponentText = '0'] = text.toLowerCase().split('e')
    const exponent = Number(exponentText)
    const [whole, fraction = ''] = digits.replace('-', '').split('.')
    const significant = (whole + fraction).replace(/^0+/, '')
    if (significant === '') return this.#put(0n, column, row)
    if (Math.abs(exponent) > largestExponent) return false
    const shift = this.#scale + exponent - fraction.length
    const dropped = shift < 0 ? significant.slice(shift) : ''
    if (/[1-9]/.test(dropped) || significant.length + shift > this.#precision) return false
    const kept = shift < 0 ? significant.slice(0, shift) : significant.padEnd(significant.length + shift, '0')
    const value = BigInt(kept === '' ? '0' : kept)
    return this.#put(text.startsWith('-') ? -value : value, column, row)
  }

  #put(value: bigint, column: Column, row: number): boolean {
    const count = column.width >> 2
    for (let i = 0; i < count; i++) column.words[row * count + i] = Number(BigInt.asIntN(32, value >> BigInt(32 * i)))
    return true
  }
}
