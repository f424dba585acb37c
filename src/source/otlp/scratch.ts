import { Buffer } from 'node:buffer'

const firstBytes = 64 << 10
/** What one request made grow beyond this is given back behind it. */
const keptBytes = 1 << 20
/** Up to here copying byte by byte is faster than a view and a call. */
const shortBytes = 48

/** Bytes that cells are put together in before they are copied into a segment. Places in it hold until {@link reset}. */
export class Scratch {
  bytes = Buffer.alloc(firstBytes)
  at = 0

  /** Forgets what lies behind `to`. */
  reset(to = 0): void {
    this.at = to
  }

  /** Between requests. */
  shrink(): void {
    this.at = 0
    if (this.bytes.length > keptBytes) this.bytes = Buffer.alloc(firstBytes)
  }

  room(count: number): void {
    const wanted = this.at + count
    if (wanted <= this.bytes.length) return
    const larger = Buffer.alloc(2 ** Math.ceil(Math.log2(wanted)))
    this.bytes.copy(larger, 0, 0, this.at)
    this.bytes = larger
  }

  word(value: number): void {
    this.room(4)
    this.set(this.at, value)
    this.at += 4
  }

  /** Overwrites the word at `place`. */
  set(place: number, value: number): void {
    const { bytes } = this
    bytes[place] = value
    bytes[place + 1] = value >>> 8
    bytes[place + 2] = value >>> 16
    bytes[place + 3] = value >>> 24
  }

  /** Begins an item of a cell (see `decodeValue`): its length comes with {@link close}. */
  open(): number {
    this.room(4)
    this.at += 4
    return this.at
  }

  close(opened: number): void {
    this.set(opened - 4, this.at - opened)
  }

  /** An item without a value. */
  nothing(): void {
    this.word(-1)
  }

  copy(from: Uint8Array, start: number, end: number): void {
    const length = end - start
    this.room(length)
    const { bytes, at } = this
    if (length <= shortBytes) for (let i = 0; i < length; i++) bytes[at + i] = from[start + i]
    else bytes.set(from.subarray(start, end), at)
    this.at = at + length
  }

  latin1(text: string): void {
    this.room(text.length)
    this.at += this.bytes.write(text, this.at, 'latin1')
  }

  utf8(text: string): void {
    this.room(Buffer.byteLength(text))
    this.at += this.bytes.write(text, this.at)
  }
}
