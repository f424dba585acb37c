import type { WireReader } from '../../format/protobuf/index.ts'

const firstPlaces = 16

/** Messages of a repeated field: where each begins and ends in the body. */
export class Places {
  #places = new Int32Array(2 * firstPlaces)
  count = 0

  clear(): void {
    this.count = 0
  }

  #add(from: number, to: number): void {
    if (2 * this.count === this.#places.length) {
      const larger = new Int32Array(2 * this.#places.length)
      larger.set(this.#places)
      this.#places = larger
    }
    this.#places[2 * this.count] = from
    this.#places[2 * this.count + 1] = to
    this.count++
  }

  /** Takes what comes next, and goes behind it. */
  take(reader: WireReader, end: number): void {
    const to = reader.through(end)
    this.#add(reader.at, to)
    reader.at = to
  }

  from(i: number): number {
    return this.#places[2 * i]
  }

  to(i: number): number {
    return this.#places[2 * i + 1]
  }
}

/** Where a text, bytes or a message lies in the body; without it, an empty one. */
export class Place {
  from = 0
  to = 0

  clear(): void {
    this.from = 0
    this.to = 0
  }

  /** Takes what comes next, and goes behind it. */
  take(reader: WireReader, end: number): void {
    this.to = reader.through(end)
    this.from = reader.at
    reader.at = this.to
  }
}

/** The halves of a number of eight bytes; 0 without one. */
export class Halves {
  low = 0
  high = 0

  get isZero(): boolean {
    return (this.low | this.high) === 0
  }

  clear(): void {
    this.low = 0
    this.high = 0
  }

  take(reader: WireReader): void {
    reader.fixed64()
    this.low = reader.low
    this.high = reader.high
  }
}
