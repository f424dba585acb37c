import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OpenViews, longestQueryMs } from '../../src/engine/open-views.ts'
import { ManualClock } from '../support/manual-clock.ts'

const minute = 60_000

test('a view is kept for as long as the longest query may run, and not for ever', async () => {
  for (const timeout of [1000, 15 * minute, 90 * minute]) {
    const clock = new ManualClock()
    const views = new OpenViews(clock, timeout)
    views.add([])
    const longest = longestQueryMs(timeout)
    assert.ok(longest >= timeout && longest >= 14 * minute)
    await clock.advance(longest)
    assert.equal(views.dropOld(), 1, `queries of ${timeout} ms`)
    await clock.advance(minute + 1)
    assert.equal(views.dropOld(), 0)
  }
})
