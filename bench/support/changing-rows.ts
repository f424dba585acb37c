import type { Random } from '../../src/base/index.ts'
import type { SourceTable } from '../../src/data/index.ts'
import type { LoadChange } from '../../test/support/load/load-source.ts'

/** Which rows a table has, and their versions, while any of them are updated and deleted and others come. */
export class ChangingRows {
  readonly #random: Random
  /** Numbers of rows that are there, the first `count`. */
  #live: Int32Array
  #count: number
  #next: number
  /** By number; −1 for rows that this transaction has changed is in `#touched`. */
  #versions: Int32Array
  #touched: Int32Array
  #transaction = 0

  constructor(rows: number, random: Random) {
    this.#random = random
    this.#live = Int32Array.from({ length: rows }, (_, i) => i)
    this.#count = rows
    this.#next = rows
    this.#versions = new Int32Array(rows)
    this.#touched = new Int32Array(rows)
  }

  get count(): number {
    return this.#count
  }

  /** For a copy of the rows that are there now. */
  get places(): { readonly idAt: (place: number) => number; readonly version: (id: number) => number } {
    return { idAt: (place) => this.#live[place], version: (id) => this.#versions[id] }
  }

  /** Changes of `count` different rows: of ten, eight update, one inserts, one deletes. */
  transaction(table: SourceTable, count: number): LoadChange[] {
    this.#transaction++
    const tenth = Math.floor(count / 10)
    const updated = Int32Array.from({ length: count - 2 * tenth }, () => this.#live[this.#anyPlace()])
    for (const id of updated) this.#versions[id]++
    const deleted = Int32Array.from({ length: tenth }, () => {
      const place = this.#anyPlace()
      const id = this.#live[place]
      this.#live[place] = this.#live[--this.#count]
      return id
    })
    const inserted = Int32Array.from({ length: tenth }, () => this.#insert())
    const version = (id: number): number => this.#versions[id]
    const changes: LoadChange[] = [
      { table, op: 'update', ids: updated, version },
      { table, op: 'delete', ids: deleted, version },
      { table, op: 'insert', ids: inserted, version },
    ]
    return changes.filter(({ ids }) => ids.length > 0)
  }

  /** Where a row is that this transaction has not changed. */
  #anyPlace(): number {
    for (;;) {
      const place = this.#random.below(this.#count)
      const id = this.#live[place]
      if (this.#touched[id] === this.#transaction) continue
      this.#touched[id] = this.#transaction
      return place
    }
  }

  #insert(): number {
    const id = this.#next++
    if (id >= this.#versions.length) {
      this.#versions = grown(this.#versions)
      this.#touched = grown(this.#touched)
    }
    this.#touched[id] = this.#transaction
    this.#live[this.#count++] = id
    return id
  }
}

function grown(numbers: Int32Array): Int32Array {
  const more = new Int32Array(Math.ceil(numbers.length * 1.5))
  more.set(numbers)
  return more
}
