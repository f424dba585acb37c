import { Buffer } from 'node:buffer'

const quote = 34
const backslash = 92

/**
 * Walks through the text of an array, a composite, a range or an hstore. {@link next} finds a value; its bytes, without quotes and
 * escapes, are then `bytes` [from, to).
 */
export class TextItems {
  bytes: Buffer
  from = 0
  to = 0
  /** The value stood in quotes: it is text, whatever it says. */
  quoted = false
  at: number
  readonly #given: Buffer
  readonly #end: number
  /** The last value went on to the end of the text. */
  #whole = false
  #scratch: Buffer | null = null

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes
    this.#given = bytes
    this.at = at
    this.#end = end
  }

  /** The byte at hand; −1 at the end. */
  get byte(): number {
    return this.at < this.#end ? this.#given[this.at] : -1
  }

  /** Passes over `byte` if it is the next one. */
  skip(byte: number): boolean {
    if (this.byte !== byte) return false
    this.at++
    return true
  }

  /** True when the value is these letters, not in quotes. */
  is(word: string): boolean {
    return !this.quoted && this.to - this.from === word.length && this.bytes.toString('latin1', this.from, this.to) === word
  }

  /** Takes the value up to one of two end bytes, which is not passed. False when it does not end. */
  next(end1: number, end2: number): boolean {
    this.quoted = false
    this.bytes = this.#given
    this.from = this.at
    this.#whole = false
    const given = this.#given
    for (; this.at < this.#end; this.at++) {
      const byte = given[this.at]
      if (byte === end1 || byte === end2) {
        this.to = this.at
        return true
      }
      if (byte === quote || byte === backslash) return this.#escaped(end1, end2)
    }
    this.to = this.at
    this.#whole = true
    return false
  }

  /** Takes the value up to an end byte, or to the end of the text. False when a quote does not end. */
  nextOrEnd(end: number): boolean {
    if (this.next(end, end)) return true
    return this.#whole
  }

  /** The rest of a value with quotes or escapes, which may also begin in its middle. */
  #escaped(end1: number, end2: number): boolean {
    const given = this.#given
    this.#scratch ??= Buffer.alloc(this.#end - this.from)
    const scratch = this.#scratch
    let length = given.copy(scratch, 0, this.from, this.at)
    let inside = false
    for (; this.at < this.#end; this.at++) {
      const byte = given[this.at]
      if (byte === backslash) {
        if (++this.at === this.#end) return false
        scratch[length++] = given[this.at]
      } else if (byte === quote && inside && given[this.at + 1] === quote && this.at + 1 < this.#end) {
        scratch[length++] = quote
        this.at++
      } else if (byte === quote) {
        inside = !inside
        this.quoted = true
      } else if (!inside && (byte === end1 || byte === end2)) {
        this.bytes = scratch
        this.from = 0
        this.to = length
        return true
      } else {
        scratch[length++] = byte
      }
    }
    this.bytes = scratch
    this.from = 0
    this.to = length
    this.#whole = !inside
    return false
  }
}
