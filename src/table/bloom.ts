/**
 * A blocked Bloom filter: all bits of a key lie in one 64-byte block, so that a look-up touches one cache line.
 * 10 bits a key and 6 probes let about 1.3 % of absent keys through. Blocks of hashed keys are in the order of the keys, so that look-ups in
 * that order go through memory from start to end, as the processor foresees.
 */
export const bloomBitsPerKey = 10
const blockWords = 16

/** Bytes of a filter for `keys` keys: whole blocks of 64. */
export function bloomBytes(keys: number): number {
  return Math.max(1, Math.ceil((keys * bloomBitsPerKey) / 512)) * 64
}

/** Two independent 32-bit hashes of the words of an exact key. */
function first(words: Int32Array, at: number): number {
  let h = Math.imul(words[at] ^ 0x2545f491, 0x9e3779b1) ^ Math.imul(words[at + 1], 0x85ebca77)
  h ^= h >>> 16
  h = Math.imul(h, 0x7feb352d)
  h ^= h >>> 15
  return Math.imul(h, 0x846ca68b) ^ (h >>> 16)
}

function second(words: Int32Array, at: number): number {
  let h = Math.imul(words[at + 1] ^ 0x4f6cdd1d, 0xc2b2ae35) ^ Math.imul(words[at], 0x27d4eb2f)
  h ^= h >>> 15
  h = Math.imul(h, 0x2c1b3c6d)
  h ^= h >>> 12
  return Math.imul(h, 0x297a2d39) ^ (h >>> 15)
}

/** Word at which the block of a key begins: the part of all blocks that `hash`, unsigned, is of 2³². */
function blockOf(filter: Int32Array, hash: number): number {
  return Math.floor((hash >>> 0) * ((filter.length / blockWords) * 2 ** -32)) * blockWords
}

export function bloomAdd(filter: Int32Array, words: Int32Array, at: number, width: 2 | 4): void {
  const hash = width === 4 ? words[at] ^ 0x80000000 : first(words, at)
  const block = blockOf(filter, hash)
  let bits = width === 4 ? words[at + 1] : second(words, at)
  for (let half = 0; half < 2; half++) {
    for (let shift = 0; shift < 27; shift += 9) filter[block + ((bits >>> shift) & 15)] |= 1 << ((bits >>> (shift + 4)) & 31)
    bits = width === 4 ? words[at + 2] : Math.imul(hash ^ bits, 0x9e3779b1)
  }
}

/** False means that the key is certainly not among those added. Nobody can foretell a single bit, so all are looked at, without branches. */
export function bloomHas(filter: Int32Array, words: Int32Array, at: number, width: 2 | 4): boolean {
  const hash = width === 4 ? words[at] ^ 0x80000000 : first(words, at)
  const block = blockOf(filter, hash)
  const bits = width === 4 ? words[at + 1] : second(words, at)
  const more = width === 4 ? words[at + 2] : Math.imul(hash ^ bits, 0x9e3779b1)
  const all =
    (filter[block + (bits & 15)] >>> ((bits >>> 4) & 31)) &
    (filter[block + ((bits >>> 9) & 15)] >>> ((bits >>> 13) & 31)) &
    (filter[block + ((bits >>> 18) & 15)] >>> ((bits >>> 22) & 31)) &
    (filter[block + (more & 15)] >>> ((more >>> 4) & 31)) &
    (filter[block + ((more >>> 9) & 15)] >>> ((more >>> 13) & 31)) &
    (filter[block + ((more >>> 18) & 15)] >>> ((more >>> 22) & 31))
  return (all & 1) !== 0
}
