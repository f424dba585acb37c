import { Buffer } from 'node:buffer'
import { layoutOf, maxValueBytes, readBytes, typeText, widthOf } from '../../data/index.ts'
import type { Column, Field, NestedType, Type } from '../../data/index.ts'
import { cellText, putVariable } from './cells.ts'
import type { CellReader } from './cells.ts'
import { isWord, skipSpace, stringEnd } from './scan.ts'

const firstHeapBytes = 256
const nothing = Buffer.alloc(0)

/** One value inside a nested one: read into a cell of its own, kept as stored bytes. */
class Item {
  readonly #field: Field
  readonly #reader: CellReader
  #column: Column
  fault: CellReader['fault'] = 'wrong-type'
  /** The stored bytes of the last value; null for none. */
  bytes: Uint8Array | null = null

  constructor(type: Type, required: boolean, readerOf: (type: Type) => CellReader) {
    this.#field = { id: 0, name: '', type, required }
    this.#reader = readerOf(type)
    this.#column = oneCell(this.#field, firstHeapBytes)
  }

  get required(): boolean {
    return this.#field.required
  }

  /** The place behind the value at `at`, or −1. */
  read(bytes: Uint8Array, at: number, end: number): number {
    this.fault = 'wrong-type'
    if (at < end && bytes[at] === 0x6e) {
      this.bytes = null
      if (!isWord(bytes, at, end, 'null')) return -1
      this.fault = 'missing-value'
      return this.required ? -1 : at + 4
    }
    let after = this.#reader.read(bytes, at, end, this.#column, 0)
    if (after === -2) {
      this.#column = oneCell(this.#field, this.#reader.needed)
      after = this.#reader.read(bytes, at, end, this.#column, 0)
    }
    if (after < 0) {
      this.fault = this.#reader.fault
      return -1
    }
    if (this.#column.valid) this.#column.valid[0] = 1
    // The cell is used again.
    this.bytes = readBytes(this.#column, 0)?.slice() ?? null
    return after
  }
}

/** A column of a single cell, outside any pool. */
export function oneCell(field: Field, heapBytes: number): Column {
  const layout = layoutOf(field.type)
  const width = widthOf(field.type)
  const data = new Uint8Array(width)
  return {
    field,
    layout,
    width,
    valid: field.required ? null : new Uint8Array(1),
    data,
    words: width % 4 === 0 && layout !== 'fixed' ? new Int32Array(data.buffer) : new Int32Array(0),
    ends: new Int32Array(2),
    heap: new Uint8Array(layout === 'var' ? heapBytes : 0),
  }
}

/** Puts the parts of a nested cell together (see `decodeValue`). */
class CellParts {
  readonly #parts: Uint8Array[] = []
  #length = 0

  word(number: number): void {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32LE(number)
    this.#parts.push(bytes)
    this.#length += 4
  }

  /** Null is length −1. */
  item(bytes: Uint8Array | null): void {
    this.word(bytes === null ? -1 : bytes.length)
    if (bytes === null) return
    this.#parts.push(bytes)
    this.#length += bytes.length
  }

  join(count: number | null): Uint8Array {
    const head = count === null ? nothing : Buffer.alloc(4)
    if (count !== null) head.writeUInt32LE(count)
    return Buffer.concat([head, ...this.#parts], head.length + this.#length)
  }
}

/**
 * Lists (`[…]`), structs and maps with text keys (`{…}`). A struct is as strict as a row: unknown and repeated names are refused,
 * missing optional ones are null. How deeply they nest is given by their type.
 */
export class NestedReader implements CellReader {
  fault: CellReader['fault'] = 'wrong-type'
  needed = 0
  readonly wants: string
  readonly #read: (bytes: Uint8Array, at: number, end: number) => number
  #cell: Uint8Array = nothing

  constructor(type: NestedType, readerOf: (type: Type) => CellReader) {
    this.wants = `a ${typeText(type)}`
    if (type.kind === 'list') {
      const item = new Item(type.element, type.elementRequired, readerOf)
      this.#read = (bytes, at, end) => this.#list(bytes, at, end, item)
    } else if (type.kind === 'map') {
      const item = new Item(type.value, type.valueRequired, readerOf)
      this.#read = (bytes, at, end) => this.#map(bytes, at, end, item)
    } else {
      const items = new Map(type.fields.map((field) => [field.name, new Item(field.type, field.required, readerOf)]))
      this.#read = (bytes, at, end) => this.#struct(bytes, at, end, items)
    }
  }

  read(bytes: Uint8Array, at: number, end: number, column: Column, row: number): number {
    this.fault = 'wrong-type'
    const after = this.#read(bytes, at, end)
    if (after < 0) return -1
    if (this.#cell.length > maxValueBytes) {
      this.fault = 'out-of-range'
      return -1
    }
    if (putVariable(column, row, this.#cell, 0, this.#cell.length)) return after
    this.needed = this.#cell.length + 4
    return -2
  }

  #list(bytes: Uint8Array, at: number, end: number, item: Item): number {
    if (bytes[at] !== 0x5b) return -1
    const parts = new CellParts()
    let count = 0
    at = skipSpace(bytes, at + 1, end)
    let isOpen = bytes[at] !== 0x5d
    while (isOpen) {
      at = item.read(bytes, at, end)
      if (at < 0) return this.#refuse(item)
      parts.item(item.bytes)
      count++
      at = skipSpace(bytes, at, end)
      if (at >= end || (bytes[at] !== 0x2c && bytes[at] !== 0x5d)) return -1
      isOpen = bytes[at] === 0x2c
      if (isOpen) at = skipSpace(bytes, at + 1, end)
    }
    this.#cell = parts.join(count)
    return at + 1
  }

  #map(bytes: Uint8Array, at: number, end: number, item: Item): number {
    const parts = new CellParts()
    const names = new Set<string>()
    const after = this.#members(
      bytes,
      at,
      end,
      (name) => {
        if (names.has(name)) return null
        names.add(name)
        parts.item(Buffer.from(name))
        return item
      },
      () => parts.item(item.bytes),
    )
    if (after >= 0) this.#cell = parts.join(names.size)
    return after
  }

  #struct(bytes: Uint8Array, at: number, end: number, items: ReadonlyMap<string, Item>): number {
    const given = new Set<Item>()
    const after = this.#members(
      bytes,
      at,
      end,
      (name) => {
        const item = items.get(name)
        if (!item || given.has(item)) {
          this.fault = item ? 'duplicate-field' : 'unknown-field'
          return null
        }
        given.add(item)
        return item
      },
      () => undefined,
    )
    if (after < 0) return after
    const parts = new CellParts()
    for (const item of items.values()) {
      if (!given.has(item) && item.required) {
        this.fault = 'missing-value'
        return -1
      }
      parts.item(given.has(item) ? item.bytes : null)
    }
    this.#cell = parts.join(null)
    return after
  }

  /** Reads the members of an object, each as what `itemOf` its name gives; null refuses. */
  #members(bytes: Uint8Array, at: number, end: number, itemOf: (name: string) => Item | null, done: () => void): number {
    if (bytes[at] !== 0x7b) return -1
    at = skipSpace(bytes, at + 1, end)
    if (at < end && bytes[at] === 0x7d) return at + 1
    for (;;) {
      const quote = at < end && bytes[at] === 0x22 ? stringEnd(bytes, at + 1, end) : -1
      const name = quote < 0 ? null : cellText(bytes, at + 1, quote)
      const item = name === null ? null : itemOf(name)
      if (!item) return -1
      at = skipSpace(bytes, quote + 1, end)
      if (at >= end || bytes[at] !== 0x3a) return -1
      at = item.read(bytes, skipSpace(bytes, at + 1, end), end)
      if (at < 0) return this.#refuse(item)
      done()
      at = skipSpace(bytes, at, end)
      if (at < end && bytes[at] === 0x7d) return at + 1
      if (at >= end || bytes[at] !== 0x2c) return -1
      at = skipSpace(bytes, at + 1, end)
    }
  }

  #refuse(item: Item): number {
    this.fault = item.fault
    return -1
  }
}
