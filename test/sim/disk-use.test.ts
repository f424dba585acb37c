import assert from 'node:assert/strict'
import { it } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import { Gate } from './faults.ts'
import { newHistory, someTransaction } from './random-history.ts'
import { World } from './world.ts'

const hour = 3_600_000
/** Two or three are enough. */
const maxLives = 8
/** Of waiting for a sweep. */
const turns = 30

it('disk use returns to what the live rows need, also of tables in which nothing happens any more', async () => {
  const random = seededRandom(11)
  using world = new World(newHistory(random, 20), random)
  const busy = await world.start(new Gate(), { source: { batch: 4 } })
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) world.history.add(someTransaction(world.history, random))
    assert.ok(await busy.catchUp(), busy.failure?.stack)
  }
  for (const { name } of world.history.tables) await busy.pipeline.optimize('shop', name)
  await busy.close()
  const before = await world.diskUse()
  assert.ok(before.stored > 2 * before.live, 'history takes room')
  // Nothing is written at the source from now on; time passes.
  let use = before
  for (let life = 1; life <= maxLives && use.stored > use.live; life++) {
    const process = await world.start(new Gate(), { aheadMs: life * 2 * hour })
    assert.ok(await process.catchUp(), process.failure?.stack)
    // It sweeps beside everything else.
    for (let turn = 0; turn < turns && use.stored > use.live; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      use = await world.diskUse()
    }
    await process.close()
    assert.equal(process.failure, null)
    assert.equal(await world.check(`after ${life} times two hours`), Number(world.history.head))
    use = await world.diskUse()
  }
  assert.equal(use.stored, use.live, 'data files and vectors of the current snapshots, and nothing else')
  assert.ok(use.live <= before.live)
})
