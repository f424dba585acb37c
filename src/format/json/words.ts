const two16 = 0x1_0000
const two32 = 0x1_0000_0000

/**
 * Writes `a * factor + rest` as a 64-bit integer, low word first, without BigInt: exact for |a| < 2^38, 0 < factor ≤ 10^9 and
 * |rest| < 2^31 as long as the result fits.
 */
export function putProduct(words: Int32Array, at: number, a: number, factor: number, rest: number): void {
  const upper = Math.floor(a / two16)
  const high = upper * factor
  const low = (a - upper * two16) * factor + rest
  const middle = (high - Math.floor(high / two16) * two16) * two16 + low
  const carry = Math.floor(middle / two32)
  words[at] = (middle - carry * two32) | 0
  words[at + 1] = (Math.floor(high / two16) + carry) | 0
}
