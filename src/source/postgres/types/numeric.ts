/**
 * Postgres's binary `numeric`: int16 count of base-10000 digits, int16 weight of the first, uint16 sign, uint16 digits shown
 * after the point, then the digits. The value is the sum of digit[i] · 10000^(weight − i).
 */
import { refusal } from '../refusals.ts'

const positive = 0x0000
const negative = 0x4000
const notANumber = 0xc000
const positiveInfinity = 0xd000
const negativeInfinity = 0xf000

const minus = 45
const point = 46
const zero = 48

const powersOfTen = [1, 10, 100, 1000, 10000]
const word = 4294967296

/** Unscaled value of the last {@link readDecimal}: two's complement, 128 bits, low word first. */
export const limbs = new Int32Array(4)

/**
 * Reads bytes [from, to) as a decimal with `scale` digits after the point into {@link limbs}. `bits` is the width that the
 * result has to fit, sign included: 32, 64 or 128. Returns 0, or a refusal: not a number, infinite, or not exact.
 */
export function readDecimal(bytes: Uint8Array, from: number, to: number, scale: number, bits: number): number {
  if (to - from < 8) return refusal.malformed
  const count = (bytes[from] << 8) | bytes[from + 1]
  const weight = ((bytes[from + 2] << 24) >> 16) | bytes[from + 3]
  const sign = (bytes[from + 4] << 8) | bytes[from + 5]
  if (sign === notANumber) return refusal.notANumber
  if (sign === positiveInfinity || sign === negativeInfinity) return refusal.infinite
  if ((sign !== positive && sign !== negative) || to - from !== 8 + 2 * count) return refusal.malformed
  const first = from + 8
  // Whole groups of four digits, down to 10000^-(scale / 4); then the `rest` digits of one more group.
  const whole = weight + (scale >> 2) + 1
  const rest = scale & 3
  let low: number
  if (whole <= 3) {
    low = 0 // below 10^15: exact in a double
    for (let i = 0; i < whole; i++) low = low * 10000 + (i < count ? (bytes[first + 2 * i] << 8) | bytes[first + 2 * i + 1] : 0)
    let used = Math.max(whole, 0)
    if (rest > 0) {
      if (whole >= 0) {
        const digit = whole < count ? (bytes[first + 2 * whole] << 8) | bytes[first + 2 * whole + 1] : 0
        const divisor = powersOfTen[4 - rest]
        if (digit % divisor !== 0) return refusal.inexact
        low = low * powersOfTen[rest] + digit / divisor
        used = whole + 1
      }
    }
    if (count > used) return refusal.inexact
    setSmall(low)
  } else {
    if (whole > 12) return refusal.malformed
    limbs.fill(0)
    for (let i = 0; i < whole; i++) {
      multiplyAdd(10000, i < count ? (bytes[first + 2 * i] << 8) | bytes[first + 2 * i + 1] : 0)
      if (limbs[3] < 0) return refusal.malformed
    }
    if (rest > 0) {
      const digit = whole < count ? (bytes[first + 2 * whole] << 8) | bytes[first + 2 * whole + 1] : 0
      const divisor = powersOfTen[4 - rest]
      if (digit % divisor !== 0) return refusal.inexact
      multiplyAdd(powersOfTen[rest], digit / divisor)
    }
    if (count > whole + (rest > 0 ? 1 : 0)) return refusal.inexact
  }
  return finish(sign === negative, bits)
}

/** Checks that the magnitude in {@link limbs} fits `bits` with a sign, and gives it its sign. */
function finish(isNegative: boolean, bits: number): number {
  if (bits === 32 ? limbs[0] < 0 || (limbs[1] | limbs[2] | limbs[3]) !== 0 : limbs[3] < 0) return refusal.malformed
  if (bits === 64 && (limbs[1] < 0 || (limbs[2] | limbs[3]) !== 0)) return refusal.malformed
  if (isNegative) negate()
  return 0
}

/** The same as {@link readDecimal} from the text that Postgres prints, which never has an exponent. */
export function readDecimalText(bytes: Uint8Array, from: number, to: number, scale: number, bits: number): number {
  const isNegative = bytes[from] === minus && to > from
  const start = isNegative ? from + 1 : from
  // More digits than any value of such a type has would only be counted for nothing.
  if (to <= start || to - start > maxDecimalText) return refusal.malformed
  const first = bytes[start]
  if (first === 78) return isText(bytes, start, to, 'NaN') && !isNegative ? refusal.notANumber : refusal.malformed
  if (first === 73) return isText(bytes, start, to, 'Infinity') ? refusal.infinite : refusal.malformed
  limbs.fill(0)
  let small = 0 // up to fifteen digits: exact in a double
  let count = 0
  let fraction = -1
  const push = (digit: number): void => {
    if (count < 15) {
      small = small * 10 + digit
    } else {
      if (count === 15) setSmall(small)
      multiplyAdd(10, digit)
    }
    if (count > 0 || digit > 0) count++
  }
  for (let i = start; i < to; i++) {
    if (bytes[i] === point && fraction < 0 && i > start) {
      fraction = 0
      continue
    }
    const digit = bytes[i] - zero
    if (digit < 0 || digit > 9) return refusal.malformed
    if (fraction === scale) {
      if (digit !== 0) return refusal.inexact
      continue
    }
    push(digit)
    if (fraction >= 0) fraction++
    if (count > 39) return refusal.malformed
  }
  for (let i = Math.max(fraction, 0); i < scale; i++) push(0)
  if (count > 39) return refusal.malformed
  if (count <= 15) setSmall(small)
  return finish(isNegative, bits)
}

const maxDecimalText = 2000

function setSmall(value: number): void {
  const high = Math.floor(value / word)
  limbs[0] = value - high * word
  limbs[1] = high
  limbs[2] = 0
  limbs[3] = 0
}

function isText(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  if (to - from !== text.length) return false
  for (let i = from; i < to; i++) if (bytes[i] !== text.charCodeAt(i - from)) return false
  return true
}

/** limbs = limbs · factor + digit; factor and digit up to 10000, so that each step is exact in a double. */
function multiplyAdd(factor: number, digit: number): void {
  let carry = digit
  for (let i = 0; i < 4; i++) {
    const sum = (limbs[i] >>> 0) * factor + carry
    carry = Math.floor(sum / word)
    limbs[i] = sum - carry * word
  }
  if (carry !== 0) limbs[3] = -1 // beyond 128 bits: seen as out of range by the caller
}

function negate(): void {
  let carry = 1
  for (let i = 0; i < 4; i++) {
    const sum = (~limbs[i] >>> 0) + carry
    limbs[i] = sum | 0
    carry = sum === word ? 1 : 0
  }
}

/** Most bytes that {@link writeNumericText} writes. */
export function numericTextBound(bytes: Uint8Array, from: number, to: number): number {
  if (to - from < 8) return 0
  const weight = ((bytes[from + 2] << 24) >> 16) | bytes[from + 3]
  const shown = ((bytes[from + 6] << 8) | bytes[from + 7]) & 0x3fff
  return 16 + Math.max(weight + 1, 1) * 4 + shown
}

/** Writes exactly the text that Postgres prints. Returns where it ends, or a refusal for malformed bytes. */
export function writeNumericText(bytes: Uint8Array, from: number, to: number, out: Uint8Array, at: number): number {
  if (to - from < 8) return refusal.malformed
  const count = (bytes[from] << 8) | bytes[from + 1]
  const weight = ((bytes[from + 2] << 24) >> 16) | bytes[from + 3]
  const sign = (bytes[from + 4] << 8) | bytes[from + 5]
  if (sign === notANumber) return writeAscii('NaN', out, at)
  if (sign === positiveInfinity) return writeAscii('Infinity', out, at)
  if (sign === negativeInfinity) return writeAscii('-Infinity', out, at)
  const shown = (bytes[from + 6] << 8) | bytes[from + 7]
  if ((sign !== positive && sign !== negative) || to - from !== 8 + 2 * count || shown > 0x3fff) return refusal.malformed
  const group = (i: number): number => (i >= 0 && i < count ? (bytes[from + 8 + 2 * i] << 8) | bytes[from + 9 + 2 * i] : 0)
  if (sign === negative) out[at++] = minus
  if (weight < 0) out[at++] = zero
  for (let i = 0; i <= weight; i++) {
    const digits = group(i)
    if (digits > 9999) return refusal.malformed
    if (i > 0 || digits >= 1000) out[at++] = zero + Math.floor(digits / 1000)
    if (i > 0 || digits >= 100) out[at++] = zero + (Math.floor(digits / 100) % 10)
    if (i > 0 || digits >= 10) out[at++] = zero + (Math.floor(digits / 10) % 10)
    out[at++] = zero + (digits % 10)
  }
  if (shown > 0) {
    out[at++] = point
    // Groups between the point and the first digit (negative indexes) are zeros.
    for (let done = 0, i = weight + 1; done < shown; i++) {
      const digits = group(i)
      if (digits > 9999) return refusal.malformed
      for (let power = 3; power >= 0 && done < shown; power--, done++) {
        out[at++] = zero + (Math.floor(digits / powersOfTen[power]) % 10)
      }
    }
  }
  return at
}

function writeAscii(text: string, out: Uint8Array, at: number): number {
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i)
  return at + text.length
}
