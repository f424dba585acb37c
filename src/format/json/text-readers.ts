import { Buffer } from 'node:buffer'
import { maxValueBytes } from '../../data/index.ts'
import type { Column } from '../../data/index.ts'
import { cellText, putVariable } from './cells.ts'
import type { CellReader } from './cells.ts'
import { isWord, stringEnd } from './scan.ts'

export class BooleanReader implements CellReader {
  readonly fault = 'wrong-type'
  readonly needed = 0
  readonly wants = 'true or false'

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    if (isWord(bytes, at, end, 'true')) {
      column.data[row] = 1
      return at + 4
    }
    if (!isWord(bytes, at, end, 'false')) return -1
    column.data[row] = 0
    return at + 5
  }
}

export class StringReader implements CellReader {
  fault: CellReader['fault'] = 'wrong-type'
  needed = 0
  readonly wants = 'a text of at most 16 MiB of well-formed Unicode'

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    this.fault = 'wrong-type'
    if (bytes[at] !== 0x22) return -1
    const from = at + 1
    let to = from
    while (to < end && bytes[to] !== 0x22 && bytes[to] !== 0x5c && bytes[to] >= 0x20) to++
    if (to >= end || bytes[to] < 0x20) return -1
    if (bytes[to] === 0x22) return this.#put(column, row, bytes, from, to) ?? to + 1
    const quote = stringEnd(bytes, to, end)
    if (quote < 0) return -1
    const text = cellText(bytes, from, quote)
    if (text === null) {
      this.fault = 'out-of-range'
      return -1
    }
    const resolved = Buffer.from(text, 'utf8')
    return this.#put(column, row, resolved, 0, resolved.length) ?? quote + 1
  }

  #put(column: Column, row: number, bytes: Uint8Array, from: number, to: number): number | null {
    if (to - from > maxValueBytes) {
      this.fault = 'out-of-range'
      return -1
    }
    if (putVariable(column, row, bytes, from, to)) return null
    this.needed = to - from + 4
    return -2
  }
}

/** Base64, with or without padding; the URL-safe alphabet too. */
export class BinaryReader implements CellReader {
  fault: CellReader['fault'] = 'wrong-type'
  needed = 0
  readonly wants: string
  readonly #length: number | null

  constructor(length: number | null, name: string) {
    this.#length = length
    this.wants = `base64 text of a ${name}`
  }

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    this.fault = 'wrong-type'
    const quote = bytes[at] === 0x22 ? stringEnd(bytes, at + 1, end) : -1
    const text = quote < 0 ? null : cellText(bytes, at + 1, quote)
    if (text === null || !isBase64(text)) return -1
    const value = Buffer.from(text, 'base64')
    this.fault = 'out-of-range'
    if (this.#length !== null) {
      if (value.length !== this.#length) return -1
      column.data.set(value, row * this.#length)
      return quote + 1
    }
    if (value.length > maxValueBytes) return -1
    if (putVariable(column, row, value, 0, value.length)) return quote + 1
    this.needed = value.length + 4
    return -2
  }
}

function isBase64(text: string): boolean {
  const digits = text.replace(/={1,2}$/, '')
  if (digits.length % 4 === 1 || (text.length > digits.length && text.length % 4 !== 0)) return false
  return /^[A-Za-z0-9+/_-]*$/.test(digits)
}

/** `01234567-89ab-cdef-0123-456789abcdef`; letters of either case. */
export class UuidReader implements CellReader {
  readonly fault = 'wrong-type'
  readonly needed = 0
  readonly wants = 'a UUID such as 01234567-89ab-cdef-0123-456789abcdef'

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    if (bytes[at] !== 0x22 || end - at < 38 || bytes[at + 37] !== 0x22) return -1
    let to = row * 16
    let i = at + 1
    for (let byte = 0; byte < 16; byte++) {
      if (byte === 4 || byte === 6 || byte === 8 || byte === 10) if (bytes[i++] !== 0x2d) return -1
      const high = hexDigit(bytes[i++])
      const low = hexDigit(bytes[i++])
      if (high < 0 || low < 0) return -1
      column.data[to++] = high * 16 + low
    }
    return at + 38
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}
