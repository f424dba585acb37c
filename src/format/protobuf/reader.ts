import { FrazilError } from '../../base/index.ts'

/** Wire types (specification: "Encoding", Protocol Buffers). */
export const wire = { varint: 0, fixed64: 1, bytes: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const

/** Groups in groups that are skipped. */
const deepestGroup = 32
const mostVarintBytes = 10

/**
 * Reads the wire format of Protocol Buffers. It makes no objects: messages, texts and bytes are places in `bytes`, 64-bit numbers two
 * halves. Whoever reads a message checks by {@link inside} that it ended where its length says.
 *
 * Everything throws `request` (code `bad-protobuf`) for what is malformed.
 */
export class WireReader {
  bytes: Uint8Array = new Uint8Array(0)
  /** The same bytes. */
  view: DataView = new DataView(new ArrayBuffer(0))
  at = 0
  /** The halves of the last 64-bit number. */
  low = 0
  high = 0

  reset(bytes: Uint8Array): void {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.at = 0
  }

  /** The number and the wire type of the next field: `number << 3 | type`. */
  tag(): number {
    const tag = this.varint()
    if (tag < 8) throw malformed()
    return tag
  }

  /** The low 32 bits of a varint, unsigned. */
  varint(): number {
    const { bytes, at } = this
    if (at >= bytes.length) throw malformed()
    const byte = bytes[at]
    if (byte >= 0x80) return this.#longVarint()
    this.at = at + 1
    return byte
  }

  #longVarint(): number {
    const { bytes } = this
    let at = this.at
    let byte = bytes[at++]
    let value = byte & 0x7f
    const most = this.at + mostVarintBytes
    for (let shift = 7; ; shift += 7) {
      if (at >= bytes.length || at >= most) throw malformed()
      byte = bytes[at++]
      if (shift < 32) value |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    this.at = at
    return value >>> 0
  }

  /** A varint of 64 bits into `low` and `high`. */
  varint64(): void {
    const { bytes } = this
    let at = this.at
    const most = at + mostVarintBytes
    let low = 0
    let high = 0
    for (let shift = 0; ; shift += 7) {
      if (at >= bytes.length || at >= most) throw malformed()
      const byte = bytes[at++]
      const bits = byte & 0x7f
      if (shift < 28) low |= bits << shift
      else if (shift === 28) {
        low |= bits << 28
        high |= bits >>> 4
      } else high |= bits << (shift - 32)
      if (byte < 0x80) break
    }
    this.at = at
    this.low = low
    this.high = high
  }

  fixed32(): number {
    const { view, at } = this
    if (at + 4 > view.byteLength) throw malformed()
    this.at = at + 4
    return view.getInt32(at, true)
  }

  /** Eight bytes into `low` and `high`. */
  fixed64(): void {
    const { view, at } = this
    if (at + 8 > view.byteLength) throw malformed()
    this.low = view.getInt32(at, true)
    this.high = view.getInt32(at + 4, true)
    this.at = at + 8
  }

  /** The length of a text, of bytes or of a message; returns where it ends, at most `end`. `at` is then its first byte. */
  through(end: number): number {
    const length = this.varint()
    const to = this.at + length
    if (to > end) throw malformed()
    return to
  }

  /** Whether there is more of a message that ends at `end`. */
  inside(end: number): boolean {
    if (this.at > end) throw malformed()
    return this.at < end
  }

  /** Over the value of a field that is of no interest. */
  skip(tag: number, end: number): void {
    switch (tag & 7) {
      case wire.varint:
        this.varint()
        return
      case wire.fixed64:
        this.at += 8
        break
      case wire.bytes:
        this.at = this.through(end)
        return
      case wire.fixed32:
        this.at += 4
        break
      case wire.startGroup:
        this.#skipGroup(tag, end)
        return
      default:
        throw malformed()
    }
    if (this.at > end) throw malformed()
  }

  #skipGroup(start: number, end: number): void {
    const open = [start >>> 3]
    while (open.length > 0) {
      const tag = this.tag()
      if ((tag & 7) === wire.startGroup) {
        if (open.length >= deepestGroup) throw malformed()
        open.push(tag >>> 3)
      } else if ((tag & 7) === wire.endGroup) {
        if (open.pop() !== tag >>> 3) throw malformed()
      } else this.skip(tag, end)
    }
    if (this.at > end) throw malformed()
  }
}

function malformed(): FrazilError {
  return new FrazilError('request', 'bad-protobuf', 'the body is not a protobuf message of the kind that is wanted')
}
