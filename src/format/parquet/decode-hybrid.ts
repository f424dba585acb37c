import { malformed } from './read-metadata.ts'

/**
 * Decodes `count` values of `width` bits (0–32) of the RLE / bit-packing hybrid from `bytes[at, end)`. Throws `corrupt` when
 * the bytes hold fewer.
 */
export function decodeHybrid(
  bytes: Uint8Array,
  at: number,
  end: number,
  width: number,
  count: number,
  out: Uint8Array | Int32Array,
): void {
  if (width > 32) throw malformed('levels or codes are too wide')
  const valueBytes = (width + 7) >> 3
  let done = 0
  while (done < count) {
    let header = 0
    for (let shift = 0; ; shift += 7) {
      if (at >= end || shift > 28) throw malformed('a run has no header')
      const byte = bytes[at++]
      header |= (byte & 127) << shift
      if (byte < 128) break
    }
    header >>>= 0
    const length = Math.floor(header / 2)
    if (length === 0) throw malformed('a run is empty')
    if (header % 2 === 0) {
      if (at + valueBytes > end) throw malformed('a run ends early')
      let value = 0
      for (let i = 0; i < valueBytes; i++) value |= bytes[at + i] << (i * 8)
      at += valueBytes
      const stop = Math.min(count, done + length)
      out.fill(value, done, stop)
      done = stop
    } else {
      const values = Math.min(count - done, length * 8)
      // Some writers leave out the padding of the last group.
      if (at + Math.ceil((values * width) / 8) > end) throw malformed('a run ends early')
      unpack(bytes, at, width, values, out, done)
      at = Math.min(end, at + length * width)
      done += values
    }
  }
}

function unpack(bytes: Uint8Array, at: number, width: number, count: number, out: Uint8Array | Int32Array, to: number): void {
  if (width === 0) {
    out.fill(0, to, to + count)
    return
  }
  if (width === 1) {
    for (let i = 0; i < count; i++) out[to + i] = (bytes[at + (i >> 3)] >> (i & 7)) & 1
    return
  }
  if (width <= 24) {
    const mask = 2 ** width - 1
    let held = 0
    let bits = 0
    for (let i = 0; i < count; i++) {
      while (bits < width) {
        held |= bytes[at++] << bits
        bits += 8
      }
      out[to + i] = held & mask
      held >>>= width
      bits -= width
    }
    return
  }
  for (let i = 0; i < count; i++) {
    let value = 0
    for (let bit = 0; bit < width; bit++) {
      const from = i * width + bit
      value |= ((bytes[at + (from >> 3)] >> (from & 7)) & 1) << bit
    }
    out[to + i] = value
  }
}
