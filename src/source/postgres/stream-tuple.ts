import { Buffer } from 'node:buffer'
import { locate } from './decoder.ts'

/** Where the stream tuple at `from` ends, −1 when it does not end before `to` or has another width. */
export function skipTuple(bytes: Buffer, from: number, to: number, width: number): number {
  if (to - from < 2 || bytes.readUInt16BE(from) !== width) return -1
  let at = from + 2
  for (let i = 0; i < width; i++) {
    const kind = bytes[at++]
    if (kind !== 0x62 && kind !== 0x74) continue
    if (at + 4 > to) return -1
    const size = bytes.readInt32BE(at)
    if (size < 0 || size > to - at - 4) return -1
    at += 4 + size
  }
  return at <= to ? at : -1
}

/** Whether two tuples have the same bytes in the key's columns; an unchanged value is the same. */
export function sameKey(bytes: Buffer, oldAt: number, newAt: number, places: readonly number[]): boolean {
  for (const place of places) {
    const a = locate(bytes, oldAt, place)
    const b = locate(bytes, newAt, place)
    if (bytes[b] === 0x75) continue
    if (bytes[a] !== bytes[b] || (bytes[b] !== 0x62 && bytes[b] !== 0x74)) return false
    const size = bytes.readInt32BE(a + 1)
    if (size !== bytes.readInt32BE(b + 1) || bytes.compare(bytes, a + 5, a + 5 + size, b + 5, b + 5 + size) !== 0) return false
  }
  return true
}
