import { assert } from '../../base/index.ts'
import type { Segment, SegmentPart } from '../../data/index.ts'

/** Consecutive rows, pinned by whoever has them. */
export type Rows = { -readonly [K in keyof SegmentPart]: SegmentPart[K] }

/** Adds `count` rows from `row` on to those that a request has. */
export function addRows(rows: Rows[], segment: Segment, row: number, count: number): void {
  const last = rows.at(-1)
  if (last && last.segment === segment && last.to === row) {
    last.to = row + count
    return
  }
  segment.pin()
  rows.push({ segment, from: row, to: row + count })
}

/** Rows that nobody wants any more. */
export function letGo(rows: readonly Rows[]): void {
  for (const { segment } of rows) {
    assert(segment.rows > 0, 'rows lie in a segment that has some')
    segment.unpin()
  }
}
