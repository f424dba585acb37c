/** Bytes kept free before the values, so that levels can be put in front of them without moving them. Multiple of 8. */
export const headroom = 8192

/**
 * The values of a page being filled, dense and in PLAIN form, in memory that grows up to what the page needs and is then
 * re-used for the next pages.
 */
export class Staging {
  bytes: Uint8Array<ArrayBuffer>
  words: Int32Array<ArrayBuffer>
  view: DataView<ArrayBuffer>
  /** Where the next value goes; values begin at {@link headroom}. */
  end = headroom

  constructor(capacity = 4096) {
    this.bytes = new Uint8Array(headroom + capacity)
    this.words = new Int32Array(this.bytes.buffer)
    this.view = new DataView(this.bytes.buffer)
  }

  /** Makes room for `bytes` more bytes, and a little beyond so that loops may write one value too many. */
  reserve(bytes: number): void {
    const needed = this.end + bytes + 16
    if (needed <= this.bytes.length) return
    const larger = new Uint8Array((Math.max(needed, this.bytes.length * 2) + 7) & ~7)
    larger.set(this.bytes.subarray(0, this.end))
    this.bytes = larger
    this.words = new Int32Array(larger.buffer)
    this.view = new DataView(larger.buffer)
  }

  /** Bytes of values. */
  get length(): number {
    return this.end - headroom
  }

  clear(): void {
    this.end = headroom
  }
}
