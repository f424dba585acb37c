const bits = new DataView(new ArrayBuffer(8))

/**
 * A float8 exactly as Postgres prints it (extra_float_digits ≥ 1): the shortest digits that lie strictly between the middles to
 * its neighbours, with an exponent from 10^15 on and below 10^-4. JavaScript's digits are the same but where it takes a middle itself.
 */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity'
  if (value === 0) return Object.is(value, -0) ? '-0' : '0'
  const sign = value < 0 ? '-' : ''
  const size = Math.abs(value)
  let [mantissa, power] = size.toExponential().split('e')
  // Whole numbers below 2^53 are printed with all their digits anyway.
  if (!Number.isInteger(size) || size >= 2 ** 53) {
    for (let digits = mantissa.length; isMiddle(size, mantissa, Number(power)); digits++) {
      ;[mantissa, power] = size.toExponential(Math.max(digits - 1, 1)).split('e')
    }
  }
  const exponent = Number(power)
  const plain = mantissa.replace('.', '')
  if (exponent < -4 || exponent >= 15) {
    const two = String(Math.abs(exponent)).padStart(2, '0')
    return `${sign}${mantissa}e${exponent < 0 ? '-' : '+'}${two}`
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${plain}`
  if (plain.length <= exponent + 1) return sign + plain.padEnd(exponent + 1, '0')
  return `${sign}${plain.slice(0, exponent + 1)}.${plain.slice(exponent + 1)}`
}

/** Whether mantissa · 10^power is exactly in the middle between the double `size` and one of its neighbours. */
function isMiddle(size: number, mantissa: string, power: number): boolean {
  const digits = mantissa.replace('.', '')
  const scale = power - digits.length + 1
  // A middle has 54 bits: it is a decimal of so few digits only when 5^|scale| is small. Else nothing is exactly in the middle.
  if (scale < -1080 || scale > 24 * 13) return false
  bits.setFloat64(0, size)
  const raw = bits.getBigUint64(0)
  const biased = Number(raw >> 52n)
  const fraction = raw & 0xfffffffffffffn
  const full = fraction | (biased === 0 ? 0n : 1n << 52n)
  const shift = Math.max(biased, 1) - 1075
  // Twice (or, below a power of two, four times) the middles as whole numbers · 2^(shift − 2).
  const above = 4n * full + 2n
  const below = 4n * full - (fraction === 0n && biased > 1 ? 1n : 2n)
  let left = BigInt(digits)
  let right = 1n
  if (scale >= 0) left *= 10n ** BigInt(scale)
  else right *= 10n ** BigInt(-scale)
  if (shift - 2 >= 0) right <<= BigInt(shift - 2)
  else left <<= BigInt(2 - shift)
  return left === right * above || left === right * below
}
