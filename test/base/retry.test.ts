import assert from 'node:assert/strict'
import { it } from 'node:test'
import { FrazilError, retry, seededRandom } from '../../src/base/index.ts'
import type { Clock } from '../../src/base/index.ts'

const unavailable = new FrazilError('unavailable', 'down', 'it is down')

/** A clock on which sleeping takes no time and is written down. */
function sleepless(): Clock & { slept: number[] } {
  const slept: number[] = []
  return { slept, now: () => 0, monotonic: () => 0, sleep: async (ms) => void slept.push(ms) }
}

it('waits longer each time, within its bounds, and gives the first success', async () => {
  const clock = sleepless()
  const result = await retry(clock, seededRandom(1), { attempts: 10, minMs: 100, maxMs: 1000 }, (attempt) => {
    if (attempt < 8) throw unavailable
    return attempt
  })
  assert.equal(result, 8)
  const bounds = [100, 200, 400, 800, 1000, 1000, 1000]
  assert.equal(clock.slept.length, bounds.length)
  for (const [i, bound] of bounds.entries())
    assert.ok(clock.slept[i] >= bound / 2 && clock.slept[i] <= bound, String(clock.slept))
})

it('throws the last error after the last attempt', async () => {
  const clock = sleepless()
  let calls = 0
  const attempt = async (): Promise<never> => {
    calls++
    throw new FrazilError('unavailable', `down-${calls}`, 'it is down')
  }
  await assert.rejects(retry(clock, seededRandom(1), { attempts: 3, minMs: 1, maxMs: 1 }, attempt), { code: 'down-3' })
  assert.equal(calls, 3)
})

it('repeats nothing but what may go away', async () => {
  for (const error of [new FrazilError('conflict', 'x', 'x'), new FrazilError('uncertain', 'x', 'x'), new Error('bug')]) {
    let calls = 0
    const attempt = (): never => {
      calls++
      throw error
    }
    await assert.rejects(retry(sleepless(), seededRandom(1), { attempts: 3, minMs: 1, maxMs: 1 }, attempt), error)
    assert.equal(calls, 1)
  }
})

it('stops when told to', async () => {
  const stop = new AbortController()
  let calls = 0
  const attempt = (): never => {
    calls++
    stop.abort()
    throw unavailable
  }
  await assert.rejects(
    retry(sleepless(), seededRandom(1), { attempts: 3, minMs: 1, maxMs: 1, signal: stop.signal }, attempt),
    unavailable,
  )
  assert.equal(calls, 1)
})
