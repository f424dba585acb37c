import assert from 'node:assert/strict'
import { it } from 'node:test'
import { systemClock } from '../../src/base/index.ts'

for (const days of [0.5, 30, 365, Number.POSITIVE_INFINITY]) {
  it(`sleeps for ${days} days, or until it is woken`, async () => {
    const waking = new AbortController()
    let isAwake = false
    const slept = systemClock.sleep(days * 86_400_000, waking.signal).then(() => (isAwake = true))
    // A timer that was set to more than it can be has ended by then.
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(isAwake, false)
    waking.abort()
    await slept
  })
}

it('wakes by itself', async () => {
  await systemClock.sleep(1)
  await systemClock.sleep(0)
})
