import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'

/** Takes one message at a time: its type, and its body as bytes [from, to), which are valid during the call only. */
export type FrameSink = (type: number, bytes: Buffer, from: number, to: number) => boolean

const smallestCarry = 64 << 10
const keptCarry = 4 << 20

/**
 * Cuts a connection's bytes into messages: type byte, int32 length (itself included), body. Messages are handed over where
 * they lie; one that spans reads is copied once. When the sink answers false, what is left is kept and {@link resume} offers
 * the same message again.
 */
export class FrameReader {
  readonly #sink: FrameSink
  readonly #maxFrameBytes: number
  /** Start of a message that goes on in the next read. */
  #carry: Buffer = Buffer.alloc(0)
  #carried = 0
  /** Bytes behind the message that the sink has to be offered again. */
  #rest: Buffer | null = null

  constructor(sink: FrameSink, maxFrameBytes: number) {
    this.#sink = sink
    this.#maxFrameBytes = maxFrameBytes
  }

  /** Reads the first `length` bytes of `bytes`, which the caller may overwrite afterwards. False: the sink asked to wait. */
  push(bytes: Buffer, length: number): boolean {
    let at = 0
    if (this.#carried > 0) {
      at = this.#fillCarry(bytes, length)
      if (!this.#carryComplete()) return true
      if (!this.#offerCarry()) {
        this.#rest = Buffer.from(bytes.subarray(at, length))
        return false
      }
    }
    while (length - at >= 5) {
      const size = this.#frameSize(bytes, at)
      if (length - at < size) break
      if (!this.#sink(bytes[at], bytes, at + 5, at + size)) {
        this.#rest = Buffer.from(bytes.subarray(at, length))
        return false
      }
      at += size
    }
    if (at < length) this.#startCarry(bytes, at, length)
    return true
  }

  /** Goes on after the sink asked to wait. */
  resume(): boolean {
    const rest = this.#rest
    this.#rest = null
    if (this.#carryComplete() && !this.#offerCarry()) {
      this.#rest = rest
      return false
    }
    return rest === null || this.push(rest, rest.length)
  }

  #frameSize(bytes: Buffer, at: number): number {
    const size = 1 + ((bytes[at + 1] << 24) | (bytes[at + 2] << 16) | (bytes[at + 3] << 8) | bytes[at + 4])
    if (size < 5 || size > this.#maxFrameBytes) {
      throw new FrazilError('corrupt', 'bad-frame', `Postgres sent a message of ${size} bytes`)
    }
    return size
  }

  #carryComplete(): boolean {
    return this.#carried >= 5 && this.#carried === this.#frameSize(this.#carry, 0)
  }

  #offerCarry(): boolean {
    if (!this.#sink(this.#carry[0], this.#carry, 5, this.#carried)) return false
    this.#carried = 0
    if (this.#carry.length > keptCarry) this.#carry = Buffer.alloc(0)
    return true
  }

  #startCarry(bytes: Buffer, from: number, to: number): void {
    const size = to - from >= 5 ? this.#frameSize(bytes, from) : 5
    this.#room(size)
    bytes.copy(this.#carry, 0, from, to)
    this.#carried = to - from
  }

  /** Moves bytes to the message begun, as far as it goes; returns where the next one begins. */
  #fillCarry(bytes: Buffer, length: number): number {
    let at = 0
    if (this.#carried < 5) {
      at = Math.min(5 - this.#carried, length)
      bytes.copy(this.#carry, this.#carried, 0, at)
      this.#carried += at
      if (this.#carried < 5) return at
      this.#room(this.#frameSize(this.#carry, 0))
    }
    const take = Math.min(this.#frameSize(this.#carry, 0) - this.#carried, length - at)
    bytes.copy(this.#carry, this.#carried, at, at + take)
    this.#carried += take
    return at + take
  }

  #room(size: number): void {
    if (this.#carry.length >= size) return
    const larger = Buffer.allocUnsafeSlow(Math.max(size, smallestCarry))
    this.#carry.copy(larger, 0, 0, this.#carried)
    this.#carry = larger
  }
}
