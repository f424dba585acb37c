/**
 * xxHash64 with seed 0 of `bytes[start, end)`, without BigInt: the result is in {@link hashHigh} and {@link hashLow} until the next call.
 * Specification: Parquet "Bloom Filter" names it; the algorithm's own is XXH64.
 */
export let hashHigh = 0
export let hashLow = 0

/** A 64-bit accumulator as two 32-bit words. */
let high = 0
let low = 0

const p1 = [0x9e3779b1 | 0, 0x85ebca87 | 0] as const
const p2 = [0xc2b2ae3d | 0, 0x27d4eb4f | 0] as const
const p3 = [0x165667b1, 0x9e3779f9 | 0] as const
const p4 = [0x85ebca77 | 0, 0xc2b2ae63 | 0] as const
const p5 = [0x27d4eb2f, 0x165667c5] as const

export function xxHash64(bytes: Uint8Array, start: number, end: number): void {
  let at = start
  const length = end - start
  if (length >= 32) {
    const lanes = new Int32Array(8)
    set(p1[0], p1[1])
    add(p2[0], p2[1])
    store(lanes, 0)
    set(p2[0], p2[1])
    store(lanes, 1)
    set(0, 0)
    store(lanes, 2)
    set(0, 0)
    subtract(p1[0], p1[1])
    store(lanes, 3)
    for (; at + 32 <= end; at += 32) {
      for (let lane = 0; lane < 4; lane++) {
        round(lanes[lane * 2], lanes[lane * 2 + 1], word(bytes, at + lane * 8 + 4), word(bytes, at + lane * 8))
        store(lanes, lane)
      }
    }
    set(0, 0)
    for (const [lane, bits] of [1, 7, 12, 18].entries()) {
      const [h, l] = rotated(lanes[lane * 2], lanes[lane * 2 + 1], bits)
      add(h, l)
    }
    for (let lane = 0; lane < 4; lane++) {
      const [h, l] = [high, low]
      round(0, 0, lanes[lane * 2], lanes[lane * 2 + 1])
      set(h ^ high, l ^ low)
      multiply(p1[0], p1[1])
      add(p4[0], p4[1])
    }
  } else {
    set(p5[0], p5[1])
  }
  add(0, length)
  for (; at + 8 <= end; at += 8) {
    const [h, l] = [high, low]
    round(0, 0, word(bytes, at + 4), word(bytes, at))
    set(h ^ high, l ^ low)
    rotate(27)
    multiply(p1[0], p1[1])
    add(p4[0], p4[1])
  }
  if (at + 4 <= end) {
    const [h, l] = [high, low]
    set(0, word(bytes, at))
    multiply(p1[0], p1[1])
    set(h ^ high, l ^ low)
    rotate(23)
    multiply(p2[0], p2[1])
    add(p3[0], p3[1])
    at += 4
  }
  for (; at < end; at++) {
    const [h, l] = [high, low]
    set(0, bytes[at])
    multiply(p5[0], p5[1])
    set(h ^ high, l ^ low)
    rotate(11)
    multiply(p1[0], p1[1])
  }
  shiftXor(33)
  multiply(p2[0], p2[1])
  shiftXor(29)
  multiply(p3[0], p3[1])
  shiftXor(32)
  hashHigh = high
  hashLow = low
}

function word(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
}

function set(h: number, l: number): void {
  high = h | 0
  low = l | 0
}

function store(lanes: Int32Array, lane: number): void {
  lanes[lane * 2] = high
  lanes[lane * 2 + 1] = low
}

function add(h: number, l: number): void {
  const sum = (low >>> 0) + (l >>> 0)
  high = (high + h + (sum > 0xffff_ffff ? 1 : 0)) | 0
  low = sum | 0
}

function subtract(h: number, l: number): void {
  const borrow = low >>> 0 < l >>> 0 ? 1 : 0
  high = (high - h - borrow) | 0
  low = (low - l) | 0
}

function multiply(h: number, l: number): void {
  const [a, b] = [low >>> 16, low & 0xffff]
  const [c, d] = [l >>> 16, l & 0xffff]
  const middle = a * d + ((b * d) >>> 16)
  const other = b * c + (middle & 0xffff)
  const carry = a * c + Math.floor(middle / 65536) + Math.floor(other / 65536)
  high = (carry + Math.imul(low, h) + Math.imul(high, l)) | 0
  low = Math.imul(low, l)
}

function rotated(h: number, l: number, bits: number): readonly [number, number] {
  return [(h << bits) | (l >>> (32 - bits)), (l << bits) | (h >>> (32 - bits))]
}

/** By 1 to 31 bits to the left. */
function rotate(bits: number): void {
  const [h, l] = [high, low]
  high = (h << bits) | (l >>> (32 - bits))
  low = (l << bits) | (h >>> (32 - bits))
}

function round(accumulatorHigh: number, accumulatorLow: number, h: number, l: number): void {
  set(h, l)
  multiply(p2[0], p2[1])
  add(accumulatorHigh, accumulatorLow)
  rotate(31)
  multiply(p1[0], p1[1])
}

/** `value ^= value >>> bits`, by 29 to 63 bits. */
function shiftXor(bits: number): void {
  if (bits >= 32) {
    low ^= high >>> (bits - 32)
    return
  }
  low ^= (low >>> bits) | (high << (32 - bits))
  high ^= high >>> bits
}
