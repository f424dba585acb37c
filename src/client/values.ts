// Values between programs and JSON without loss. Browsers run this: nothing of Node.

/**
 * 64-bit integers keep their digits; bytes become base64; the rest is as JSON has it. Throws TypeError for what JSON would leave out, or make
 * null or an empty object of.
 */
export function toJson(value: unknown): string {
  return JSON.stringify(value, function (this: Readonly<Record<string, unknown>>, key, item: unknown) {
    if (typeof item === 'bigint') return rawNumber(String(item))
    // As it was before its toJSON: a Buffer of Node has one.
    const given = this[key]
    if (given instanceof Uint8Array) return base64(given)
    if (given instanceof Date && Number.isNaN(given.getTime())) throw new TypeError('an invalid Date cannot be sent')
    if (typeof item === 'number' && !Number.isFinite(item)) return String(item)
    if (Object.is(item, -0)) return rawNumber('-0')
    if (typeof item === 'function' || typeof item === 'symbol') throw new TypeError(`a ${typeof item} cannot be sent`)
    if (typeof item === 'object' && item !== null && !Array.isArray(item) && Symbol.iterator in item) {
      throw new TypeError(`a ${item.constructor.name} cannot be sent`)
    }
    return item
  })
}

/** Integers beyond 2^53 come as bigint. */
export function fromJson(text: string): unknown {
  return JSON.parse(text, exactIntegers)
}

function exactIntegers(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  const source = context?.source ?? ''
  return /^-?\d+$/.test(source) ? BigInt(source) : value
}

function rawNumber(digits: string): unknown {
  const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown }
  if (rawJSON) return rawJSON(digits)
  const number = Number(digits)
  if (Number.isSafeInteger(number)) return number
  throw new TypeError('this engine has no JSON.rawJSON, which integers beyond 2^53 need')
}

function base64(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return btoa(text)
}
