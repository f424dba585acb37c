/** Deepest nesting of a value that is accepted; deeper ones are refused, not followed. */
export const maxJsonDepth = 64
/** The same for messages in JSON, in which a value is some objects deep. */
export const maxMessageDepth = 1024

/** The first place at or after `at` that is no JSON white space. */
export function skipSpace(bytes: Uint8Array, at: number, end: number): number {
  while (at < end) {
    const byte = bytes[at]
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at
    at++
  }
  return at
}

/** The place of the closing quote of a string whose first character is at `at`; −1 when it does not end or has control characters. */
export function stringEnd(bytes: Uint8Array, at: number, end: number): number {
  while (at < end) {
    const byte = bytes[at]
    if (byte === 0x22) return at
    if (byte < 0x20) return -1
    at += byte === 0x5c ? 2 : 1
  }
  return -1
}

/** The place behind a number, −1 when there is none (RFC 8259 §6). */
export function numberEnd(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at] === 0x2d) at++
  if (at >= end) return -1
  if (bytes[at] === 0x30) at++
  else {
    const digits = at
    while (at < end && isDigit(bytes[at])) at++
    if (at === digits) return -1
  }
  if (at < end && bytes[at] === 0x2e) {
    const digits = ++at
    while (at < end && isDigit(bytes[at])) at++
    if (at === digits) return -1
  }
  if (at < end && (bytes[at] | 0x20) === 0x65) {
    at++
    if (at < end && (bytes[at] === 0x2b || bytes[at] === 0x2d)) at++
    const digits = at
    while (at < end && isDigit(bytes[at])) at++
    if (at === digits) return -1
  }
  return at
}

export function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}

/** Whether the letters of `word` are at `at`. */
export function isWord(bytes: Uint8Array, at: number, end: number, word: 'null' | 'true' | 'false'): boolean {
  if (end - at < word.length) return false
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word.charCodeAt(i)) return false
  return true
}

/** What closes each open bracket of the value that is being skipped: there is one at a time. */
const closers = new Uint8Array(maxMessageDepth)

/**
 * The place behind the value at `at`; −1 when it is malformed, −2 when it is nested too deeply. Strings are not looked into.
 *
 * @param deepest at most {@link maxMessageDepth}
 */
export function skipValue(bytes: Uint8Array, at: number, end: number, deepest = maxJsonDepth): number {
  let depth = 0
  let wantsValue = true
  for (;;) {
    at = skipSpace(bytes, at, end)
    if (at >= end) return -1
    if (wantsValue) {
      const byte = bytes[at]
      if (byte === 0x7b || byte === 0x5b) {
        const closer = byte + 2
        const inside = skipSpace(bytes, at + 1, end)
        if (inside < end && bytes[inside] === closer) at = inside + 1
        else {
          if (depth === deepest) return -2
          closers[depth++] = closer
          at = inside
          if (byte === 0x7b) at = skipName(bytes, at, end)
          if (at < 0) return -1
          continue
        }
      } else {
        at = skipScalar(bytes, at, end)
        if (at < 0) return -1
      }
      if (depth === 0) return at
      wantsValue = false
      continue
    }
    const closer = closers[depth - 1]
    if (bytes[at] === closer) {
      at++
      depth--
      if (depth === 0) return at
    } else if (bytes[at] === 0x2c) {
      at = skipSpace(bytes, at + 1, end)
      if (closer === 0x7d) at = skipName(bytes, at, end)
      if (at < 0) return -1
      wantsValue = true
    } else return -1
  }
}

function skipName(bytes: Uint8Array, at: number, end: number): number {
  if (bytes[at] !== 0x22) return -1
  const quote = stringEnd(bytes, at + 1, end)
  if (quote < 0) return -1
  const colon = skipSpace(bytes, quote + 1, end)
  return colon < end && bytes[colon] === 0x3a ? colon + 1 : -1
}

function skipScalar(bytes: Uint8Array, at: number, end: number): number {
  switch (bytes[at]) {
    case 0x22: {
      const quote = stringEnd(bytes, at + 1, end)
      return quote < 0 ? -1 : quote + 1
    }
    case 0x74:
      return isWord(bytes, at, end, 'true') ? at + 4 : -1
    case 0x66:
      return isWord(bytes, at, end, 'false') ? at + 5 : -1
    case 0x6e:
      return isWord(bytes, at, end, 'null') ? at + 4 : -1
    default:
      return numberEnd(bytes, at, end)
  }
}
