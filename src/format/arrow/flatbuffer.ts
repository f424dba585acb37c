import type { Buffer } from 'node:buffer'
import { badArrow } from './malformed.ts'

/** A table of a FlatBuffer (flatbuffers.dev, "Internals"): fields by their number, every place checked before it is read. */
export class FlatTable {
  readonly #bytes: Buffer
  readonly #at: number
  readonly #vtable: number
  readonly #slots: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.#at = at
    need(bytes, at, 4)
    this.#vtable = at - bytes.readInt32LE(at)
    need(bytes, this.#vtable, 4)
    const size = bytes.readUInt16LE(this.#vtable)
    if (size < 4) throw badArrow('a table without a form')
    need(bytes, this.#vtable, size)
    this.#slots = (size - 4) >> 1
  }

  /** The root of a buffer. */
  static root(bytes: Buffer): FlatTable {
    need(bytes, 0, 4)
    return new FlatTable(bytes, bytes.readUInt32LE(0))
  }

  /** The place of a field of `size` bytes; 0 when it is not there. */
  #place(field: number, size: number): number {
    if (field >= this.#slots) return 0
    const offset = this.#bytes.readUInt16LE(this.#vtable + 4 + 2 * field)
    if (offset === 0) return 0
    need(this.#bytes, this.#at + offset, size)
    return this.#at + offset
  }

  byte(field: number, absent = 0): number {
    const at = this.#place(field, 1)
    return at === 0 ? absent : this.#bytes[at]
  }

  short(field: number, absent = 0): number {
    const at = this.#place(field, 2)
    return at === 0 ? absent : this.#bytes.readInt16LE(at)
  }

  int(field: number, absent = 0): number {
    const at = this.#place(field, 4)
    return at === 0 ? absent : this.#bytes.readInt32LE(at)
  }

  /** A 64-bit number, which has to be a length or an id: at least 0, and small enough. */
  long(field: number): number {
    const at = this.#place(field, 8)
    return at === 0 ? 0 : longAt(this.#bytes, at)
  }

  #reference(field: number): number {
    const at = this.#place(field, 4)
    return at === 0 ? 0 : at + this.#bytes.readUInt32LE(at)
  }

  table(field: number): FlatTable | null {
    const at = this.#reference(field)
    return at === 0 ? null : new FlatTable(this.#bytes, at)
  }

  text(field: number): string | null {
    const at = this.#reference(field)
    if (at === 0) return null
    need(this.#bytes, at, 4)
    const length = this.#bytes.readUInt32LE(at)
    need(this.#bytes, at + 4, length)
    return this.#bytes.toString('utf8', at + 4, at + 4 + length)
  }

  /** A vector of tables. */
  tables(field: number): FlatTable[] {
    const { at, count } = this.#vector(field, 4)
    return Array.from({ length: count }, (_, i) => {
      const place = at + 4 * i
      return new FlatTable(this.#bytes, place + this.#bytes.readUInt32LE(place))
    })
  }

  /** A vector of structs of two 64-bit numbers (see {@link long}), the second of which may be anything that is not used. */
  pairs(field: number): { readonly first: number; readonly second: number }[] {
    const { at, count } = this.#vector(field, 16)
    return Array.from({ length: count }, (_, i) => ({
      first: longAt(this.#bytes, at + 16 * i),
      second: longAt(this.#bytes, at + 16 * i + 8),
    }))
  }

  #vector(field: number, size: number): { readonly at: number; readonly count: number } {
    const at = this.#reference(field)
    if (at === 0) return { at: 0, count: 0 }
    need(this.#bytes, at, 4)
    const count = this.#bytes.readUInt32LE(at)
    need(this.#bytes, at + 4, count * size)
    return { at: at + 4, count }
  }
}

function longAt(bytes: Buffer, at: number): number {
  const number = bytes.readInt32LE(at + 4) * 0x1_0000_0000 + bytes.readUInt32LE(at)
  if (number < 0 || !Number.isSafeInteger(number)) throw badArrow('a length that is none')
  return number
}

function need(bytes: Buffer, at: number, size: number): void {
  if (at < 0 || size < 0 || at + size > bytes.length) throw badArrow('metadata that points beyond its end')
}
