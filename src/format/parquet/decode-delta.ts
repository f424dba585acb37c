import { malformed } from './read-metadata.ts'

/**
 * Integers decoded from DELTA_BINARY_PACKED: two 32-bit words each, low then high (specification: Parquet "Encodings",
 * DELTA_BINARY_PACKED = 5). `end` is the position behind them.
 */
export interface DeltaIntegers {
  readonly words: Int32Array<ArrayBuffer>
  readonly end: number
}

const maxBlock = 1 << 20

export function decodeDelta(bytes: Uint8Array, at: number, end: number, count: number): DeltaIntegers {
  let low = 0
  let high = 0
  /** Reads a varint of up to 64 bits into `low`, `high`. */
  const varint = (): void => {
    low = 0
    high = 0
    for (let shift = 0; ; shift += 7) {
      if (at >= end || shift > 63) throw malformed('a delta number is cut off')
      const byte = bytes[at++]
      const bits = byte & 127
      if (shift < 32) low |= bits << shift
      if (shift > 25) high |= shift < 32 ? bits >>> (32 - shift) : bits << (shift - 32)
      if (byte < 128) return
    }
  }
  const zigzag = (): void => {
    varint()
    const sign = -(low & 1)
    low = ((low >>> 1) | (high << 31)) ^ sign
    high = (high >>> 1) ^ sign
  }
  const unsigned = (limit: number): number => {
    varint()
    const value = (high >>> 0) * 2 ** 32 + (low >>> 0)
    if (value > limit) throw malformed('a delta header is impossible')
    return value
  }

  const block = unsigned(maxBlock)
  const miniblocks = unsigned(maxBlock)
  const total = unsigned(2 ** 32)
  if (total !== count) throw malformed('a delta page does not have as many values as its header says')
  if (block === 0 || miniblocks === 0 || block % miniblocks !== 0) throw malformed('a delta header is impossible')
  const perMiniblock = block / miniblocks
  if (perMiniblock % 8 !== 0) throw malformed('a delta header is impossible')
  const words = new Int32Array(count * 2)
  zigzag()
  let valueLow = low
  let valueHigh = high
  if (count > 0) {
    words[0] = valueLow
    words[1] = valueHigh
  }
  let done = 1
  while (done < count) {
    zigzag()
    const minLow = low
    const minHigh = high
    if (at + miniblocks > end) throw malformed('a delta block is cut off')
    const widths = bytes.subarray(at, at + miniblocks)
    at += miniblocks
    for (let m = 0; m < miniblocks && done < count; m++) {
      const width = widths[m]
      if (width > 64) throw malformed('a delta block is impossible')
      const values = Math.min(perMiniblock, count - done)
      if (at + Math.ceil((values * width) / 8) > end) throw malformed('a delta block is cut off')
      for (let i = 0; i < values; i++) {
        readBits(bytes, at, i * width, width)
        // value += min + delta, in 64 bits.
        let sum = (valueLow >>> 0) + (minLow >>> 0) + (bitsLow >>> 0)
        valueHigh = (valueHigh + minHigh + bitsHigh + Math.floor(sum / 2 ** 32)) | 0
        sum |= 0
        valueLow = sum
        words[done * 2] = valueLow
        words[done * 2 + 1] = valueHigh
        done++
      }
      at = Math.min(end, at + (perMiniblock / 8) * width)
    }
  }
  return { words, end: at }
}

/** Result of {@link readBits}. */
let bitsLow = 0
let bitsHigh = 0

function readBits(bytes: Uint8Array, at: number, from: number, width: number): void {
  const start = at + (from >> 3)
  const shift = from & 7
  bitsLow = word(bytes, start, shift)
  if (width <= 32) {
    bitsHigh = 0
    if (width < 32) bitsLow &= 2 ** width - 1
    return
  }
  bitsHigh = word(bytes, start + 4, shift)
  if (width < 64) bitsHigh &= 2 ** (width - 32) - 1
}

/** 32 bits from bit `shift` of `bytes[at]` on; bytes beyond the end are zeros. */
function word(bytes: Uint8Array, at: number, shift: number): number {
  const low = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
  return shift === 0 ? low : (low >>> shift) | (bytes[at + 4] << (32 - shift))
}
