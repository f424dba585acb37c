import { FrazilError } from '../base/index.ts'

const utf8 = new TextEncoder()

/** Bytes of a result as they are written, up to a bound. */
export class ByteSink {
  bytes: Uint8Array<ArrayBuffer>
  length = 0
  readonly #max: number

  /** `max`: most bytes; beyond, writing throws `request` `result-too-large`. */
  constructor(max: number) {
    this.#max = max
    this.bytes = new Uint8Array(Math.min(max, 4096))
  }

  /** Makes room for `size` more bytes, which the caller then writes at `length`. */
  reserve(size: number): void {
    const needed = this.length + size
    if (needed <= this.bytes.length) return
    if (this.length > this.#max) throw this.#tooLarge()
    const larger = new Uint8Array(Math.max(needed, this.bytes.length * 2))
    larger.set(this.bytes.subarray(0, this.length))
    this.bytes = larger
  }

  /** Throws when so many more bytes are too many, for what would take much memory to make. */
  expect(size: number): void {
    if (this.length + size > this.#max) throw this.#tooLarge()
  }

  byte(value: number): void {
    this.reserve(1)
    this.bytes[this.length++] = value
  }

  /** Text of ASCII characters only. */
  ascii(text: string): void {
    this.reserve(text.length)
    const { bytes } = this
    let at = this.length
    for (let i = 0; i < text.length; i++) bytes[at++] = text.charCodeAt(i)
    this.length = at
  }

  text(text: string): void {
    this.append(utf8.encode(text))
  }

  append(piece: Uint8Array): void {
    // One value may be as large as the memory of queries.
    this.expect(piece.length)
    this.reserve(piece.length)
    this.bytes.set(piece, this.length)
    this.length += piece.length
  }

  /** A non-negative integer below 2^53, with leading zeros up to `digits`. */
  digits(value: number, digits = 1): void {
    let size = 1
    for (let limit = 10; limit <= value; limit *= 10) size++
    size = Math.max(size, digits)
    this.reserve(size)
    let at = this.length + size
    this.length = at
    for (let left = value; at > this.length - size;) {
      const rest = Math.floor(left / 10)
      this.bytes[--at] = 48 + (left - rest * 10)
      left = rest
    }
  }

  /** The written bytes in a buffer of their own. */
  finish(): Uint8Array<ArrayBuffer> {
    if (this.length > this.#max) throw this.#tooLarge()
    return this.bytes.slice(0, this.length)
  }

  #tooLarge(): FrazilError {
    return new FrazilError('request', 'result-too-large', `the result is larger than ${this.#max} bytes`, {
      hint: 'add a LIMIT, read fewer columns, or aggregate',
    })
  }
}
