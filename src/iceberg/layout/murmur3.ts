/** 32-bit Murmur3, x86 variant, seed 0, over `bytes[start, end)` (specification: Appendix B "32-bit Hash Requirements"). Signed. */
export function murmur3(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let hash = 0
  let at = start
  for (; at + 4 <= end; at += 4) {
    hash = mix(hash, bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24))
  }
  let rest = 0
  for (let i = end - 1; i >= at; i--) rest = (rest << 8) | bytes[i]
  if (at < end) hash ^= scramble(rest)
  return finish(hash ^ (end - start))
}

/** The same over the eight bytes of a 64-bit integer, little-endian. */
export function murmur3Long(low: number, high: number): number {
  return finish(mix(mix(0, low), high) ^ 8)
}

function scramble(block: number): number {
  const k = Math.imul(block, 0xcc9e2d51)
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593)
}

function mix(hash: number, block: number): number {
  const h = hash ^ scramble(block)
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0
}

function finish(hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
