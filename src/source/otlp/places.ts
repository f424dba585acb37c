const firstPlaces = 16

/** Messages of a repeated field: where each begins and ends in the body. */
export class Places {
  #places = new Int32Array(2 * firstPlaces)
  count = 0

  clear(): void {
    this.count = 0
  }

  add(from: number, to: number): void {
    if (2 * this.count === this.#places.length) {
      const larger = new Int32Array(2 * this.#places.length)
      larger.set(this.#places)
      this.#places = larger
    }
    this.#places[2 * this.count] = from
    this.#places[2 * this.count + 1] = to
    this.count++
  }

  from(i: number): number {
    return this.#places[2 * i]
  }

  to(i: number): number {
    return this.#places[2 * i + 1]
  }
}
