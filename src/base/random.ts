import { randomBytes, randomUUID } from 'node:crypto'

/** Chance as a part that is passed in, so that a whole engine can run under a seed. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  /** Uniform integer in [0, bound). */
  below(bound: number): number
  /** A lower-case UUID, version 4. */
  uuid(): string
  /** Positive 63-bit integer, for Iceberg snapshot ids. */
  positive63(): bigint
}

export const systemRandom: Random = {
  next: () => Math.random(),
  below: (bound) => Math.floor(Math.random() * bound),
  uuid: () => randomUUID(),
  positive63() {
    const id = randomBytes(8).readBigUInt64LE() & 0x7fff_ffff_ffff_ffffn
    return id === 0n ? 1n : id
  },
}

/** A deterministic source (sfc32) for tests and simulation: the same seed gives the same run. */
export function seededRandom(seed: number): Random {
  let a = 0x9e3779b9 ^ seed
  let b = 0x243f6a88
  let c = 0xb7e15162
  let counter = 1
  const next32 = (): number => {
    const t = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + t) | 0
    return t >>> 0
  }
  for (let i = 0; i < 16; i++) next32()
  const random: Random = {
    next: () => next32() / 4294967296,
    below: (bound) => Math.floor((next32() / 4294967296) * bound),
    uuid() {
      const hex = Array.from({ length: 4 }, () => next32().toString(16).padStart(8, '0')).join('')
      const variant = ((Number.parseInt(hex[16], 16) & 3) | 8).toString(16)
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`
    },
    positive63() {
      const id = ((BigInt(next32()) << 32n) | BigInt(next32())) & 0x7fff_ffff_ffff_ffffn
      return id === 0n ? 1n : id
    },
  }
  return random
}
