import { Buffer } from 'node:buffer'
import type { Column, SharedSegment } from '../data/index.ts'
import { ValueNumbers } from './value-numbers.ts'

/** Rows that are looked at together, where they lie one after another. */
const blockRows = 256
/** Runs of equal cells have to be so long, on average, but for the first runs of a column. */
const leastRun = 16
const firstRuns = 64
/** Places of cells have 16 bits. */
const mostCells = 65_536

/** Texts or nested cells of rows that are often those of the row before, as what is said of a resource is for all of its records. */
export interface RepeatedCells {
  /** One row of each different cell: its part, and the row in its segment. */
  readonly partOf: Uint32Array
  readonly rowOf: Int32Array
  /** By the number of a row (see `LiveRows`): the place of its cell in these. */
  readonly cellOf: Uint16Array
}

/**
 * Finds the different cells of the `var` column at position `c` of `count` rows; null where they do not come in long runs. A row without a
 * value has no bytes, not even those of a length: a cell of its own.
 */
export function repeatedCells(
  parts: readonly { readonly segment: SharedSegment; readonly rows: Int32Array }[],
  c: number,
  count: number,
): RepeatedCells | null {
  const numbers = new ValueNumbers()
  const partOf: number[] = []
  const rowOf: number[] = []
  const cellOf = new Uint16Array(count)
  let runs = 0
  let first = 0
  for (const [p, { segment, rows }] of parts.entries()) {
    const column = segment.columns[c]
    for (let i = 0; i < rows.length;) {
      if (++runs > firstRuns && runs * leastRun > first + i) return null
      const { heap, ends } = column
      const number = numbers.of(heap, ends[rows[i]], ends[rows[i] + 1])
      if (number > partOf.length) {
        if (partOf.length === mostCells) return null
        partOf.push(p)
        rowOf.push(rows[i])
      }
      const to = runEnd(column, rows, i)
      cellOf.fill(number - 1, first + i, first + to)
      i = to
    }
    first += rows.length
  }
  return { partOf: Uint32Array.from(partOf), rowOf: Int32Array.from(rowOf), cellOf }
}

/** Where the rows end whose cell is that of row `rows[i]`. */
function runEnd({ heap, ends }: Column, rows: Int32Array, i: number): number {
  const start = ends[rows[i]]
  const size = ends[rows[i] + 1] - start
  let to = i + 1
  while (to < rows.length) {
    const row = rows[to]
    const last = to + blockRows - 1
    // Cells one after another, as many bytes as if all were as long as the one before: equal, if each byte is that of one cell before.
    if (last < rows.length && rows[last] === row + blockRows - 1 && ends[row + blockRows] - ends[row] === blockRows * size) {
      const from = ends[row]
      const end = ends[row + blockRows]
      if (
        from - size === ends[rows[to - 1]] &&
        Buffer.compare(heap.subarray(from - size, end - size), heap.subarray(from, end)) === 0
      ) {
        to += blockRows
        continue
      }
    }
    if (ends[row + 1] - ends[row] !== size) return to
    for (let k = 0, at = ends[row]; k < size; k++) if (heap[at + k] !== heap[start + k]) return to
    to++
  }
  return to
}
