import { Buffer } from 'node:buffer'

/** A field of a table; null: not there. References are to what is written behind the table. */
export type FlatField =
  | null
  | { readonly kind: 'byte' | 'short' | 'int' | 'long'; readonly value: number }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'table'; readonly value: FlatFields }
  | { readonly kind: 'tables'; readonly value: readonly FlatFields[] }
  /** A vector of structs of two 64-bit numbers. */
  | { readonly kind: 'pairs'; readonly value: readonly (readonly [number, number])[] }

/** A table: its fields by their number. */
export type FlatFields = readonly FlatField[]

const sizes = { byte: 1, short: 2, int: 4, long: 8, text: 4, table: 4, tables: 4, pairs: 4 } as const

/** A FlatBuffer (flatbuffers.dev, "Internals") with `root`, a whole number of eight bytes long. Each table has a form of its own. */
export function writeFlatBuffer(root: FlatFields): Buffer {
  const writer = new FlatWriter()
  return writer.finish(root)
}

class FlatWriter {
  #bytes = Buffer.alloc(1024)
  #length = 0

  finish(root: FlatFields): Buffer {
    this.#extend(4)
    // The bytes may have to move while the table is written.
    const table = this.#table(root)
    this.#bytes.writeUInt32LE(table, 0)
    this.#align(8)
    return this.#bytes.subarray(0, this.#length)
  }

  /** Adds zeros; returns where they are. */
  #extend(size: number): number {
    const at = this.#length
    this.#length += size
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(this.#length, this.#bytes.length * 2))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    return at
  }

  /** Makes the place `behind` bytes from here a multiple of `to`. */
  #align(to: number, behind = 0): void {
    this.#extend((to - ((this.#length + behind) % to)) % to)
  }

  #table(fields: FlatFields): number {
    const formBytes = 4 + 2 * fields.length
    this.#align(8, formBytes)
    const form = this.#extend(formBytes)
    const table = this.#extend(4)
    this.#bytes.writeInt32LE(table - form, table)
    const places = fields.map((field) => {
      if (!field) return 0
      this.#align(sizes[field.kind])
      return this.#extend(sizes[field.kind])
    })
    this.#bytes.writeUInt16LE(formBytes, form)
    this.#bytes.writeUInt16LE(this.#length - table, form + 2)
    fields.forEach((field, i) => {
      if (!field) return
      this.#bytes.writeUInt16LE(places[i] - table, form + 4 + 2 * i)
      this.#field(field, places[i])
    })
    return table
  }

  #field(field: NonNullable<FlatField>, at: number): void {
    switch (field.kind) {
      case 'byte':
        this.#bytes.writeUInt8(field.value, at)
        break
      case 'short':
        this.#bytes.writeInt16LE(field.value, at)
        break
      case 'int':
        this.#bytes.writeInt32LE(field.value, at)
        break
      case 'long':
        this.#bytes.writeBigInt64LE(BigInt(field.value), at)
        break
      case 'text':
        this.#refer(at, this.#text(field.value))
        break
      case 'table':
        this.#refer(at, this.#table(field.value))
        break
      case 'tables':
        this.#refer(at, this.#tables(field.value))
        break
      case 'pairs':
        this.#refer(at, this.#pairs(field.value))
        break
    }
  }

  #refer(at: number, to: number): void {
    this.#bytes.writeUInt32LE(to - at, at)
  }

  #text(text: string): number {
    const bytes = Buffer.byteLength(text)
    this.#align(4)
    // One byte more: texts end with a zero that is not counted.
    const at = this.#extend(4 + bytes + 1)
    this.#bytes.writeUInt32LE(bytes, at)
    this.#bytes.write(text, at + 4)
    return at
  }

  #tables(tables: readonly FlatFields[]): number {
    this.#align(4)
    const at = this.#extend(4 + 4 * tables.length)
    this.#bytes.writeUInt32LE(tables.length, at)
    tables.forEach((table, i) => this.#refer(at + 4 + 4 * i, this.#table(table)))
    return at
  }

  #pairs(pairs: readonly (readonly [number, number])[]): number {
    this.#align(8, 4)
    const at = this.#extend(4 + 16 * pairs.length)
    this.#bytes.writeUInt32LE(pairs.length, at)
    pairs.forEach(([first, second], i) => {
      this.#bytes.writeBigInt64LE(BigInt(first), at + 4 + 16 * i)
      this.#bytes.writeBigInt64LE(BigInt(second), at + 12 + 16 * i)
    })
    return at
  }
}
