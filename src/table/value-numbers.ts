import { Buffer } from 'node:buffer'

/** Numbers for values, from 1 on: equal values have equal numbers. */
export class ValueNumbers {
  /** The number, 0 where the slot is free. */
  #slots = new Int32Array(64)
  #heap = new Uint8Array(256)
  /** Where the bytes of each number begin; the last one is where the next will. */
  #starts: number[] = [0, 0]
  #last = 0

  /** How many different values there are. */
  get size(): number {
    return this.#starts.length - 2
  }

  /** The number of the value in bytes [from, to). */
  of(data: Uint8Array, from: number, to: number): number {
    // Neighbours are often equal.
    if (this.#last > 0 && this.#equals(this.#last, data, from, to)) return this.#last
    const mask = this.#slots.length - 1
    let slot = hashBytes(data, from, to) & mask
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const number = this.#slots[slot]
      if (this.#equals(number, data, from, to)) return (this.#last = number)
    }
    const number = this.#starts.length - 1
    this.#append(data, from, to)
    this.#slots[slot] = number
    if (number * 2 > this.#slots.length) this.#grow()
    return (this.#last = number)
  }

  /** By number: how many of the values come before it in the order of their bytes. */
  ranks(): Uint32Array {
    const bytes = (number: number): Uint8Array => this.#heap.subarray(this.#starts[number], this.#starts[number + 1])
    const numbers = Array.from({ length: this.size }, (_, i) => i + 1).sort((a, b) => Buffer.compare(bytes(a), bytes(b)))
    const ranks = new Uint32Array(this.size + 1)
    for (const [rank, number] of numbers.entries()) ranks[number] = rank
    return ranks
  }

  #equals(number: number, data: Uint8Array, from: number, to: number): boolean {
    const start = this.#starts[number]
    if (this.#starts[number + 1] - start !== to - from) return false
    for (let i = from, at = start; i < to; i++, at++) if (this.#heap[at] !== data[i]) return false
    return true
  }

  #append(data: Uint8Array, from: number, to: number): void {
    const start = this.#starts[this.#starts.length - 1]
    const end = start + to - from
    if (end > this.#heap.length) {
      const larger = new Uint8Array(Math.max(end, this.#heap.length * 2))
      larger.set(this.#heap)
      this.#heap = larger
    }
    this.#heap.set(data.subarray(from, to), start)
    this.#starts.push(end)
  }

  #grow(): void {
    const slots = new Int32Array(this.#slots.length * 4)
    for (let number = 1; number < this.#starts.length - 1; number++) {
      let slot = hashBytes(this.#heap, this.#starts[number], this.#starts[number + 1]) & (slots.length - 1)
      while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1)
      slots[slot] = number
    }
    this.#slots = slots
  }
}

function hashBytes(data: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ data[i], 0x01000193)
  return (hash ^ (hash >>> 15)) >>> 0
}
