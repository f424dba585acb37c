import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import type { SourceEvent } from '../../src/data/index.ts'
import type { SourceState } from '../../src/source/index.ts'
import { SimulatedSource } from '../../src/source/simulated/index.ts'
import { Gate } from './faults.ts'
import { newHistory, someTransaction } from './random-history.ts'
import { World } from './world.ts'

/** Tells floors that are far above those of its snapshots. */
class LyingSource extends SimulatedSource {
  override async *open(state: SourceState | null): AsyncIterableIterator<readonly SourceEvent[]> {
    for await (const events of super.open(state)) {
      yield events.flatMap((event): SourceEvent[] => {
        if (event.type === 'copying-from') return []
        return event.type === 'table' ? [event, { type: 'copying-from', table: event.table.id, floor: '1000000' }] : [event]
      })
    }
  }
}

test('a transaction that a copy was said to have, and has not, stops the source: its rows are not lost in silence', async () => {
  const failures = new Set<string>()
  for (let seed = 1; seed <= 12; seed++) {
    const random = seededRandom(seed)
    using world = new World(newHistory(random, 8), random)
    const { history } = world
    const process = await world.start(new Gate(), {
      openSource: (parts) => new LyingSource({ name: 'sim', history, random, capacity: 63 }, parts),
    })
    for (let i = 0; i < 12; i++) history.add(someTransaction(history, random))
    const isIn = await process.catchUp()
    if (isIn) {
      await process.close()
      assert.equal(await world.check('at the end'), Number(history.head))
    } else failures.add(process.failure?.message ?? 'none')
  }
  assert.deepEqual([...failures], ['assertion failed: a snapshot has what was given out before its copy began'])
})
