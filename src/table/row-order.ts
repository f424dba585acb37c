import { comparison } from './sort-values.ts'
import { singleValueAt, transformColumn } from '../iceberg/index.ts'
import type { FileLayout, PartitionValues, TransformedValues } from '../iceberg/index.ts'
import type { LiveRows } from './live-rows.ts'

/** Rows of one partition. */
export interface RowGroup {
  readonly values: PartitionValues
  /** Numbers of the rows, in the order in which they are to be written. */
  readonly numbers: Uint32Array
}

/**
 * Puts rows in the order of a layout: by partition, as they were met, and within one by the sort order; equal ones stay as they are.
 * `order` has the numbers of all rows; the groups are parts of it, one after another.
 */
export function orderRows(live: LiveRows, layout: FileLayout): { order: Uint32Array; groups: RowGroup[] } {
  const { groupOf, values } = groupRows(live, layout)
  const starts = new Uint32Array(values.length + 1)
  for (let i = 0; i < live.count; i++) starts[groupOf[i] + 1]++
  for (let group = 0; group < values.length; group++) starts[group + 1] += starts[group]
  const order = new Uint32Array(live.count)
  const next = starts.slice()
  for (let i = 0; i < live.count; i++) order[next[groupOf[i]]++] = i
  const groups = values.map((each, i) => ({ values: each, numbers: order.subarray(starts[i], starts[i + 1]) }))
  if (layout.sort.length > 0) {
    const compare = comparison(live, layout.sort)
    for (const { numbers } of groups) sortNumbers(numbers, compare)
  }
  return { order, groups }
}

/** Sorts row numbers; equal ones by number. Rows often come as they are to be: then nothing is sorted. */
export function sortNumbers(numbers: Uint32Array, compare: (a: number, b: number) => number): void {
  for (let i = 1; i < numbers.length; i++) {
    if (compare(numbers[i - 1], numbers[i]) <= 0) continue
    numbers.sort((a, b) => compare(a, b) || a - b)
    return
  }
}

/** The partition of each row: a number, and what stands for it. */
function groupRows(live: LiveRows, { partition }: FileLayout): { groupOf: Uint32Array; values: PartitionValues[] } {
  const groupOf = new Uint32Array(live.count)
  const values: PartitionValues[] = []
  if (partition.length === 0) return { groupOf, values: live.count > 0 ? [[]] : [] }
  const numbers = partition.map(() => new ValueNumbers())
  /** Level by level: the group of a group of the level before and a value. */
  const groups = partition.map(() => new Map<number, number>())
  let first = 0
  for (const { segment, rows } of live.parts) {
    const columns = partition.map(({ column, transform }) => transformColumn(transform, segment.columns[column], rows))
    for (let i = 0; i < rows.length; i++) {
      let group = 0
      for (let level = 0; level < columns.length; level++) {
        const key = group * maxValues + numbers[level].of(columns[level], i)
        const known = groups[level].get(key)
        group = known ?? groups[level].size
        if (known !== undefined) continue
        groups[level].set(key, group)
        if (level === columns.length - 1) {
          values.push(columns.map((column) => singleValueAt(column, i)))
        }
      }
      groupOf[first + i] = group
    }
    first += rows.length
  }
  return { groupOf, values }
}

/** More than a range has rows. */
const maxValues = 2 ** 26

/** Numbers for the values of a column, 0 for none: equal values have equal numbers. */
class ValueNumbers {
  /** The number, 0 where the slot is free. */
  #slots = new Int32Array(64)
  #heap = new Uint8Array(256)
  /** Where the bytes of each number begin; the last one is where the next will. */
  #starts: number[] = [0, 0]
  #last = 0

  of({ present, width, data, starts, ends }: TransformedValues, row: number): number {
    if (present[row] === 0) return 0
    const from = width === 0 ? starts[row] : row * width
    const to = width === 0 ? ends[row] : from + width
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
