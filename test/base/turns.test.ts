import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Turns } from '../../src/base/index.ts'

test('jobs run one at a time in their order, a failed one included, and those beyond the bound are refused', async () => {
  const turns = new Turns({ waiting: 2, message: 'too many wait' })
  const seen: string[] = []
  const gates = new Map<string, () => void>()
  const job = (name: string) => async (): Promise<string> => {
    seen.push(`${name} begins`)
    await new Promise<void>((resolve) => gates.set(name, resolve))
    seen.push(`${name} ends`)
    if (name === 'b') throw new Error('b failed')
    return name
  }
  const begun = async (name: string): Promise<void> => {
    while (!gates.has(name)) await new Promise((resolve) => setImmediate(resolve))
  }
  const done = Promise.allSettled(['a', 'b', 'c'].map((name) => turns.take(job(name))))
  await begun('a')
  await assert.rejects(turns.take(job('d')), { kind: 'unavailable', code: 'overloaded', message: 'too many wait' })
  for (const name of ['a', 'b', 'c']) {
    await begun(name)
    gates.get(name)?.()
  }
  const outcomes = await done
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : String(outcome.reason))),
    ['a', 'Error: b failed', 'c'],
  )
  assert.deepEqual(seen, ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  const later = turns.take(() => Promise.resolve('later'))
  assert.equal(await later, 'later')
})
