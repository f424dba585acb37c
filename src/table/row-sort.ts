import type { SortKey } from '../iceberg/index.ts'
import type { LiveRows } from './live-rows.ts'
import { comparisonOf, sortValuesOf } from './sort-values.ts'
import type { SortValues } from './sort-values.ts'

/** Fewer rows are compared with each other. */
const leastRadixRows = 512
const digitBits = 11
const digitMask = (1 << digitBits) - 1

/**
 * Sorts numbers of rows, given ascending, by a sort order (specification: "Sorting"; texts and binaries by bytes, NaN last); equal ones by
 * number. Rows often come as they are to be: then nothing is sorted. Where eight bytes of each field say everything, it is a radix sort
 * over the bits in which the rows differ; texts with few different values count as what these come to in their order.
 */
export function rowSort(live: LiveRows, keys: readonly SortKey[]): (numbers: Uint32Array) => void {
  const fields = sortValuesOf(live, keys)
  const compare = comparisonOf(fields)
  return (numbers) => {
    if (isSorted(numbers, compare)) return
    if (numbers.length < leastRadixRows || fields.some(({ rest }) => rest !== null)) {
      numbers.sort((a, b) => compare(a, b) || a - b)
    } else radixSort(numbers, fields)
  }
}

function isSorted(numbers: Uint32Array, compare: (a: number, b: number) => number): boolean {
  for (let i = 1; i < numbers.length; i++) if (compare(numbers[i - 1], numbers[i]) > 0) return false
  return true
}

/** Least significant digits first. */
function radixSort(numbers: Uint32Array, fields: readonly SortValues[]): void {
  let order: Uint32Array = numbers
  let next: Uint32Array = new Uint32Array(numbers.length)
  const counts = new Uint32Array(digitMask + 2)
  for (const { key, low, high, absent } of fields.toReversed()) {
    // The words of rows without a value are all alike: their flag decides.
    const directions = [key.descending ? -1 : 0, key.descending ? -1 : 0, key.nullsFirst ? -1 : 0]
    for (const [i, words] of [low, high, absent].entries()) {
      const differing = differingBits(words, order)
      for (let shift = 0; shift < 32; shift += digitBits) {
        if (((differing >>> shift) & digitMask) === 0) continue
        pass(words, directions[i], shift, order, next, counts)
        ;[order, next] = [next, order]
      }
    }
  }
  if (order !== numbers) numbers.set(order)
}

function differingBits(words: ArrayLike<number>, rows: Uint32Array): number {
  let all = -1
  let any = 0
  for (let i = 0; i < rows.length; i++) {
    const word = words[rows[i]]
    all &= word
    any |= word
  }
  return all ^ any
}

/** Puts `rows` into `out` by one digit of their words, each of them `^ flip`. */
function pass(
  words: ArrayLike<number>,
  flip: number,
  shift: number,
  rows: Uint32Array,
  out: Uint32Array,
  counts: Uint32Array,
): void {
  counts.fill(0)
  for (let i = 0; i < rows.length; i++) counts[(((words[rows[i]] ^ flip) >>> shift) & digitMask) + 1]++
  for (let digit = 0; digit < digitMask; digit++) counts[digit + 1] += counts[digit]
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]
    out[counts[((words[row] ^ flip) >>> shift) & digitMask]++] = row
  }
}
