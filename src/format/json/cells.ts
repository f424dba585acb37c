import { Buffer } from 'node:buffer'
import type { Column } from '../../data/index.ts'

/** What is wrong with a value; the last three of a struct inside of it. */
export type Fault = 'wrong-type' | 'out-of-range' | 'unknown-field' | 'duplicate-field' | 'missing-value'

/** Reads values of one type from JSON text into cells. */
export interface CellReader {
  /**
   * Reads the value at `at` (not null, no white space before it) into a cell and returns the place behind it; the cell is then to be
   * marked as present. Else −1 (see `fault`) or −2: there is no room in the heap (see `needed`).
   */
  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number
  /** After −1. */
  readonly fault: Fault
  /** After −2: bytes of the value with its length. */
  readonly needed: number
  /** What a value has to be, for people. */
  readonly wants: string
}

/** A cell without a value. */
export function setNull(column: Column, row: number): void {
  const { valid, width, ends } = column
  if (valid !== null) valid[row >> 3] &= ~(1 << (row & 7))
  if (column.layout === 'var') ends[row + 1] = ends[row]
  else if (width === 4 || width === 8) {
    const words = width >> 2
    for (let i = row * words; i < (row + 1) * words; i++) column.words[i] = 0
  } else column.data.fill(0, row * width, (row + 1) * width)
}

/** Writes stored bytes as the value of a `var` cell. False when the heap has no room for them. */
export function putVariable(column: Column, row: number, bytes: Uint8Array, from: number, to: number): boolean {
  const { heap, ends } = column
  const length = to - from
  let at = ends[row]
  if (at + 4 + length > heap.length) return false
  heap[at] = length
  heap[at + 1] = length >>> 8
  heap[at + 2] = length >>> 16
  heap[at + 3] = length >>> 24
  at += 4
  if (length < shortBytes) for (let i = 0; i < length; i++) heap[at + i] = bytes[from + i]
  else heap.set(bytes.subarray(from, to), at)
  ends[row + 1] = at + length
  return true
}

/** Up to here copying byte by byte is faster than a view and a call (measured). */
const shortBytes = 32

/** The text between two quotes, escapes resolved; null when it is none or has half a surrogate pair. */
export function cellText(bytes: Uint8Array, from: number, to: number): string | null {
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from)
  if (!raw.includes(0x5c)) return raw.toString('utf8')
  try {
    const text: unknown = JSON.parse(`"${raw.toString('utf8')}"`)
    return typeof text === 'string' && text.isWellFormed() ? text : null
  } catch {
    return null // an escape that is none
  }
}
