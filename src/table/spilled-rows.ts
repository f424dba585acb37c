import type { SlabPool } from '../base/index.ts'
import { Segment } from '../data/index.ts'
import type { Column, Field } from '../data/index.ts'
import type { SpillSpace, SpilledBytes } from './spill-space.ts'

/** Consecutive rows of a segment on disk, with all that is needed to make a segment of them again. */
export interface SpilledRows {
  readonly bytes: SpilledBytes
  readonly fields: readonly Field[]
  readonly deletable: boolean
  /** Number that the first row had in its segment. */
  readonly first: number
  readonly rows: number
  /** Bytes in the heap of each `var` column. */
  readonly heapBytes: readonly number[]
}

/** Writes rows [from, to) to disk. None of them is dead yet: `deletedAt` is not kept. The caller holds a pin meanwhile. */
export async function spillRows(space: SpillSpace, segment: Segment, from: number, to: number): Promise<SpilledRows> {
  // Validity has a bit a row: begin at a whole byte.
  const first = from & ~7
  const variable = segment.columns.filter(({ layout }) => layout === 'var')
  return {
    bytes: await space.write(segment.columns.flatMap((column) => piecesOf(column, first, to))),
    fields: segment.columns.map(({ field }) => field),
    deletable: segment.deletedAt !== null,
    first,
    rows: to - first,
    heapBytes: variable.map(({ ends }) => ends[to] - ends[first]),
  }
}

/** Memory for spilled rows, filled by {@link restoreRows}; null when the pool has no room now. */
export function segmentFor(
  spilled: SpilledRows,
  pool: SlabPool,
  options: { id: number; baseCommit: number; overBudget: boolean },
): Segment | null {
  const { fields, deletable, rows, heapBytes } = spilled
  return Segment.create(pool, { ...options, fields, deletable, capacity: rows, heapBytes })
}

/** Reads spilled rows into the segment that {@link segmentFor} has made. The caller holds a pin meanwhile. */
export async function restoreRows(space: SpillSpace, spilled: SpilledRows, segment: Segment): Promise<void> {
  const { rows } = spilled
  let heap = 0
  const pieces = segment.columns.flatMap((column) => {
    const { valid, data, ends, width } = column
    const fixed = data.subarray(0, rows * width)
    const own =
      column.layout === 'var' ? [bytesOf(ends, 0, rows + 1), column.heap.subarray(0, spilled.heapBytes[heap++])] : [fixed]
    return valid ? [valid.subarray(0, (rows + 7) >> 3), ...own] : own
  })
  await space.read(spilled.bytes, pieces)
  for (const { ends, layout } of segment.columns) {
    if (layout !== 'var' || ends[0] === 0) continue
    const base = ends[0]
    for (let row = 0; row <= rows; row++) ends[row] -= base
  }
  segment.rows = rows
}

function piecesOf({ valid, layout, data, ends, heap, width }: Column, from: number, to: number): Uint8Array[] {
  const own =
    layout === 'var'
      ? [bytesOf(ends, from, to + 1), heap.subarray(ends[from], ends[to])]
      : [data.subarray(from * width, to * width)]
  return valid ? [valid.subarray(from >> 3, (to + 7) >> 3), ...own] : own
}

function bytesOf(words: Int32Array, from: number, to: number): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset + from * 4, (to - from) * 4)
}
