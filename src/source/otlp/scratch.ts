import { Buffer } from 'node:buffer'
import { copyBytes } from '../../base/index.ts'

const firstBytes = 64 << 10
/** What one request made grow beyond this is given back behind it. */
const keptBytes = 1 << 20

/** Bytes that cells are put together in before they are copied into a segment. Places in it hold until {@link reset}. */
export class Scratch {
  bytes = Buffer.allocUnsafeSlow(firstBytes)
  /** The same bytes. */
  view = viewOf(this.bytes)
  at = 0

  /** Forgets what lies behind `to`. */
  reset(to = 0): void {
    this.at = to
  }

  /** Between requests. */
  shrink(): void {
    this.at = 0
    if (this.bytes.length > keptBytes) this.#have(Buffer.allocUnsafeSlow(firstBytes))
  }

  #have(bytes: Buffer<ArrayBuffer>): void {
    this.bytes = bytes
    this.view = viewOf(bytes)
  }

  room(count: number): void {
    const wanted = this.at + count
    if (wanted > this.bytes.length) this.#grow(wanted)
  }

  #grow(wanted: number): void {
    const larger = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(wanted)))
    this.bytes.copy(larger, 0, 0, this.at)
    this.#have(larger)
  }

  word(value: number): void {
    this.room(4)
    this.view.setInt32(this.at, value, true)
    this.at += 4
  }

  /** Overwrites the word at `place`. */
  set(place: number, value: number): void {
    this.view.setInt32(place, value, true)
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

  copy(from: DataView, start: number, end: number): void {
    const length = end - start
    this.room(length)
    copyBytes(from, start, this.view, this.at, length)
    this.at += length
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

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
}
