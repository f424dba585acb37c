import type { ByteSink } from './byte-sink.ts'

export const quote = 0x22

/** Of shorter texts there is room for the longest that they can become; of longer ones that is counted. */
const countedBytes = 1 << 20

/** Escapes what JSON does not allow in strings; everything else is passed on as it is. */
export function appendEscaped(bytes: Uint8Array, sink: ByteSink): void {
  const size = bytes.length < countedBytes ? bytes.length * 6 : escapedBytes(bytes)
  if (bytes.length >= countedBytes) sink.expect(size)
  sink.reserve(size)
  const out = sink.bytes
  let at = sink.length
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte >= 0x20 && byte !== quote && byte !== 0x5c) {
      out[at++] = byte
      continue
    }
    out[at++] = 0x5c
    const short = shortEscapes.get(byte)
    if (short !== undefined) {
      out[at++] = short
      continue
    }
    out[at++] = 0x75
    out[at++] = 0x30
    out[at++] = 0x30
    out[at++] = byte >= 16 ? 0x31 : 0x30
    out[at++] = '0123456789abcdef'.charCodeAt(byte & 15)
  }
  sink.length = at
}

function escapedBytes(bytes: Uint8Array): number {
  let size = bytes.length
  for (const byte of bytes) {
    if (shortEscapes.has(byte)) size += 1
    else if (byte < 0x20) size += 5
  }
  return size
}

const shortEscapes = new Map([
  [quote, quote],
  [0x5c, 0x5c],
  [0x08, 0x62],
  [0x09, 0x74],
  [0x0a, 0x6e],
  [0x0c, 0x66],
  [0x0d, 0x72],
])

/** A text as a JSON string. */
export function jsonString(text: string, sink: ByteSink): void {
  sink.byte(quote)
  appendEscaped(new TextEncoder().encode(text), sink)
  sink.byte(quote)
}
