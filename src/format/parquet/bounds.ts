import type { Extrema } from './extrema.ts'
import type { Leaf } from './schema.ts'
import { physical } from './schema.ts'

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const encoder = new TextEncoder()

/** How much is said of a column (specification: Iceberg, table property `write.metadata.metrics.default`). */
export type MetricsMode = 'none' | 'counts' | 'full' | { readonly truncate: number }

/** Longest min or max in statistics and indexes, in code points or bytes; longer ones are cut and marked as inexact. */
export const statisticLength = 64

/** What an index says of a page with these extrema: copies, so that of a page of large values no value is kept. */
export function pageBounds(leaf: Leaf, { min, max, nans }: Extrema): Extrema {
  return {
    min: min === null ? null : truncateLower(leaf, min, statisticLength).slice(),
    max: max === null ? null : (truncateUpper(leaf, max, statisticLength)?.slice() ?? null),
    nans,
  }
}

/**
 * A value in PLAIN form as Iceberg's single-value binary (specification: Iceberg, Appendix D "Binary single-value
 * serialization"): the same but for decimals, which are big-endian and as short as possible.
 */
export function singleValue(leaf: Leaf, plain: Uint8Array): Uint8Array {
  if (leaf.type.kind !== 'decimal') return plain
  const bytes = leaf.physical === physical.fixed ? plain : plain.toReversed()
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === (bytes[start + 1] & 128 ? 255 : 0)) start++
  return bytes.slice(start)
}

/** A lower bound of at most `length` code points (strings) or bytes (binary). Other types are not cut. */
export function truncateLower(leaf: Leaf, value: Uint8Array, length: number): Uint8Array {
  if (leaf.type.kind === 'string') return value.subarray(0, codePointsEnd(value, length))
  return leaf.type.kind === 'binary' ? value.subarray(0, length) : value
}

/** An upper bound of the same length: the cut value's successor, or null when it has none. Short values are kept as they are. */
export function truncateUpper(leaf: Leaf, value: Uint8Array, length: number): Uint8Array | null {
  if (leaf.type.kind === 'string') {
    const end = codePointsEnd(value, length)
    return end === value.length ? value : nextString(value, end)
  }
  if (leaf.type.kind !== 'binary' || value.length <= length) return value
  for (let at = length - 1; at >= 0; at--) {
    if (value[at] === 255) continue
    const next = value.slice(0, at + 1)
    next[at]++
    return next
  }
  return null
}

/** Where the first `count` code points of UTF-8 text end. */
function codePointsEnd(text: Uint8Array, count: number): number {
  let at = 0
  for (let i = 0; i < count && at < text.length; i++) {
    at++
    while (at < text.length && (text[at] & 0xc0) === 0x80) at++
  }
  return at
}

/** The smallest text above everything that begins with `text[0..end)`, made by raising its last code point that can be raised. */
function nextString(text: Uint8Array, end: number): Uint8Array | null {
  while (end > 0) {
    let start = end - 1
    while (start > 0 && (text[start] & 0xc0) === 0x80) start--
    const last = text[start] < 0x80 ? text[start] : (decoder.decode(text.slice(start, end)).codePointAt(0) ?? 0)
    if (last === 0x10ffff) {
      end = start
      continue
    }
    // Surrogates are no code points of UTF-8.
    const raised = last === 0xd7ff ? 0xe000 : last + 1
    const bytes = raised < 0x80 ? [raised] : encoder.encode(String.fromCodePoint(raised))
    const next = new Uint8Array(start + bytes.length)
    next.set(text.subarray(0, start))
    next.set(bytes, start)
    return next
  }
  return null
}
