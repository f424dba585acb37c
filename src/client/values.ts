// Values between programs and JSON without loss. Browsers run this: nothing of Node.

/** 64-bit integers keep their digits; bytes become base64; the rest is as JSON has it. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return rawNumber(String(item))
    if (item instanceof Uint8Array) return base64(item)
    // JSON would make them null.
    if (typeof item === 'number' && !Number.isFinite(item)) return String(item)
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
