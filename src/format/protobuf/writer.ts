import { Buffer } from 'node:buffer'
import { assert } from '../../base/index.ts'
import { wire } from './reader.ts'

const firstBytes = 1024
/** Lengths of messages are written before these are known: as varints of four bytes. */
const lengthBytes = 4
const mostMessageBytes = 2 ** 28 - 1

/** Writes the wire format of Protocol Buffers into a buffer that grows. */
export class WireWriter {
  #bytes = Buffer.allocUnsafe(firstBytes)
  #at = 0

  /** What was written until now; valid until more is. */
  get written(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  get length(): number {
    return this.#at
  }

  tag(field: number, type: number): void {
    this.#varint((field << 3) | type)
  }

  /** A varint field of at most 32 bits, unsigned. */
  uint32(field: number, value: number): void {
    this.tag(field, wire.varint)
    this.#varint(value)
  }

  /** A varint field of 64 bits; negative numbers take ten bytes. */
  varint64(field: number, value: bigint): void {
    this.tag(field, wire.varint)
    this.rawVarint64(value)
  }

  rawVarint64(value: bigint): void {
    this.#room(10)
    let rest = BigInt.asUintN(64, value)
    while (rest > 0x7fn) {
      this.#bytes[this.#at++] = Number(rest & 0x7fn) | 0x80
      rest >>= 7n
    }
    this.#bytes[this.#at++] = Number(rest)
  }

  fixed32(field: number, value: number): void {
    this.tag(field, wire.fixed32)
    this.#room(4)
    this.#at = this.#bytes.writeUInt32LE(value >>> 0, this.#at)
  }

  fixed64(field: number, value: bigint): void {
    this.tag(field, wire.fixed64)
    this.rawFixed64(value)
  }

  rawFixed64(value: bigint): void {
    this.#room(8)
    this.#at = this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, value), this.#at)
  }

  double(field: number, value: number): void {
    this.tag(field, wire.fixed64)
    this.rawDouble(value)
  }

  rawDouble(value: number): void {
    this.#room(8)
    this.#at = this.#bytes.writeDoubleLE(value, this.#at)
  }

  text(field: number, value: string): void {
    this.tag(field, wire.bytes)
    const length = Buffer.byteLength(value)
    this.#varint(length)
    this.#room(length)
    this.#at += this.#bytes.write(value, this.#at)
  }

  bytes(field: number, value: Uint8Array): void {
    this.tag(field, wire.bytes)
    this.#varint(value.length)
    this.#room(value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }

  /** Begins a message (or packed numbers); what is written until {@link close} is in it. Returns what `close` wants. */
  open(field: number): number {
    this.tag(field, wire.bytes)
    this.#room(lengthBytes)
    this.#at += lengthBytes
    return this.#at
  }

  close(opened: number): void {
    const length = this.#at - opened
    assert(length <= mostMessageBytes, 'messages have less than 2^28 bytes')
    for (let i = 0; i < lengthBytes; i++) {
      this.#bytes[opened - lengthBytes + i] = ((length >>> (7 * i)) & 0x7f) | (i < lengthBytes - 1 ? 0x80 : 0)
    }
  }

  #varint(value: number): void {
    this.#room(5)
    let rest = value >>> 0
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#bytes[this.#at++] = rest
  }

  #room(bytes: number): void {
    const wanted = this.#at + bytes
    if (wanted <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(wanted, 2 * this.#bytes.length))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}
