import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlabPool } from '../../src/base/index.ts'
import { SegmentGrowth } from '../../src/data/index.ts'
import { segmentCapacities } from '../../src/data/segment.ts'
import type { Field, Segment } from '../../src/data/index.ts'

const fields: readonly Field[] = [
  { id: 1, name: 'id', type: { kind: 'long' }, required: true },
  { id: 2, name: 'note', type: { kind: 'string' }, required: false },
]

/** Capacities of segments that are all given up with so many rows, sealed by their reader or not. */
function capacities(count: number, rowsOf: (segment: Segment) => number, isSealed: boolean): number[] {
  const growth = new SegmentGrowth(fields, true, new SlabPool({ budget: 64 << 20 }))
  return Array.from({ length: count }, (_, id) => {
    const segment = growth.next({ id, baseCommit: 0, needed: [16], orSmall: false })
    assert(typeof segment === 'object')
    segment.rows = rowsOf(segment)
    if (isSealed) segment.seal()
    growth.gaveUp(segment)
    segment.unpin()
    return segment.capacity
  })
}

void test('segments that fill up are followed by larger ones, also when their reader was done with them first', () => {
  for (const isSealed of [false, true]) {
    assert.deepEqual(
      capacities(segmentCapacities.length, ({ capacity }) => capacity, isSealed),
      [...segmentCapacities],
      isSealed ? 'sealed' : 'open',
    )
  }
})

void test('a quiet table stays with small ones', () => {
  const [smallest] = segmentCapacities
  assert.deepEqual(
    capacities(3, () => 5, true),
    [smallest, smallest, smallest],
  )
})
