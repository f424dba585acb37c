import { Buffer } from 'node:buffer'
import { maxValueBytes } from '../../../data/index.ts'
import { refusal } from '../refusals.ts'
import { storeItem } from './codec.ts'
import type { Form } from './codec.ts'

const firstBytes = 256
/** What is kept between values; a larger one gives its memory back. */
const keptBytes = 1 << 20

/** Grows while a value is put together whose size nobody knows beforehand. */
export class CellBuilder {
  bytes: Buffer = Buffer.alloc(firstBytes)
  length = 0

  /** Makes room; false when the value is larger than any may be. */
  room(more: number): boolean {
    const needed = this.length + more
    if (needed > maxValueBytes) return false
    if (needed > this.bytes.length) {
      const grown = Buffer.alloc(2 ** Math.ceil(Math.log2(needed)))
      this.bytes.copy(grown, 0, 0, this.length)
      this.bytes = grown
    }
    return true
  }

  /** Appends a 32-bit word: a count, or −1 for an item without a value. */
  word(value: number): number {
    if (!this.room(4)) return refusal.tooLarge
    this.length = this.bytes.writeInt32LE(value, this.length)
    return 0
  }

  byte(value: number): number {
    if (!this.room(1)) return refusal.tooLarge
    this.bytes[this.length++] = value
    return 0
  }

  /** Appends text in UTF-8. */
  string(text: string): number {
    if (!this.room(text.length * 3)) return refusal.tooLarge
    this.length += this.bytes.write(text, this.length)
    return 0
  }

  raw(bytes: Buffer, from: number, to: number): number {
    if (!this.room(to - from)) return refusal.tooLarge
    this.length += bytes.copy(this.bytes, this.length, from, to)
    return 0
  }

  /** Appends an item of a nested cell. Returns 0 or a refusal. */
  item(form: Form, bytes: Buffer, from: number, to: number): number {
    if (!this.room(4 + form.bound(bytes, from, to))) return refusal.tooLarge
    const end = storeItem(form, bytes, from, to, this.bytes, this.length)
    if (end < 0) return end
    this.length = end
    return 0
  }

  release(): void {
    if (this.bytes.length > keptBytes) this.bytes = Buffer.alloc(firstBytes)
    this.length = 0
  }
}

/**
 * A form made by a function that appends the value to a builder, and returns 0 or a refusal. Its bound is known only by doing the
 * work, so the result is kept until `store` asks for it.
 */
export function builtForm(build: (bytes: Buffer, from: number, to: number, cell: CellBuilder) => number): Form {
  const cell = new CellBuilder()
  let built: Buffer | null = null
  let builtFrom = 0
  let builtTo = 0
  let outcome = 0
  const bound = (bytes: Buffer, from: number, to: number): number => {
    cell.length = 0
    outcome = build(bytes, from, to, cell)
    built = bytes
    builtFrom = from
    builtTo = to
    return cell.length
  }
  return {
    bound,
    store(bytes, from, to, out, at) {
      if (built !== bytes || builtFrom !== from || builtTo !== to) bound(bytes, from, to)
      built = null
      if (outcome === 0) out.set(cell.bytes.subarray(0, cell.length), at)
      const end = outcome === 0 ? at + cell.length : outcome
      cell.release()
      return end
    },
  }
}
