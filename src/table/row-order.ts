import { singleValueAt, transformColumn } from '../iceberg/index.ts'
import type { FileLayout, PartitionValues } from '../iceberg/index.ts'
import type { LiveRows } from './live-rows.ts'
import { rowSort } from './row-sort.ts'
import { ValueNumbers } from './value-numbers.ts'

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
    const sort = rowSort(live, layout.sort)
    for (const { numbers } of groups) sort(numbers)
  }
  return { order, groups }
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
    const before = new Float64Array(columns.length).fill(-1)
    let group = 0
    for (let i = 0; i < rows.length; i++) {
      let isSame = true
      for (let level = 0; level < columns.length; level++) {
        const { present, width, data, starts, ends } = columns[level]
        const from = width === 0 ? starts[i] : i * width
        const number = present[i] === 0 ? 0 : numbers[level].of(data, from, width === 0 ? ends[i] : from + width)
        if (number !== before[level]) isSame = false
        before[level] = number
      }
      // Neighbours are often in one partition.
      if (!isSame) group = groupOfNumbers(before, groups, () => values.push(columns.map((column) => singleValueAt(column, i))))
      groupOf[first + i] = group
    }
    first += rows.length
  }
  return { groupOf, values }
}

/** The group of some numbers of values, one of each level; `isNew` is called when it was not known. */
function groupOfNumbers(numbers: Float64Array, groups: readonly Map<number, number>[], isNew: () => void): number {
  let group = 0
  for (let level = 0; level < groups.length; level++) {
    const key = group * maxValues + numbers[level]
    const known = groups[level].get(key)
    group = known ?? groups[level].size
    if (known !== undefined) continue
    groups[level].set(key, group)
    if (level === groups.length - 1) isNew()
  }
  return group
}

/** More than a range has rows. */
const maxValues = 2 ** 26
