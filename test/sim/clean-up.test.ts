import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import type { EngineEvent } from '../../src/observe/index.ts'
import { Gate } from './faults.ts'
import { newHistory, someTransaction } from './random-history.ts'
import { World } from './world.ts'

const hour = 3_600_000
/** Lives after the last death; two or three are enough. */
const maxLives = 10
/** Of waiting for a sweep. */
const turns = 30
const firstSeed = Number(process.env['FRAZIL_SEED'] ?? 1)
const seeds = Number(process.env['FRAZIL_SEEDS'] ?? 1)

describe('what processes leave behind', () => {
  it('iceberg checks 83, 84: is removed by later ones when it is old, and only that', async () => {
    let removed = 0
    const onEvent = (event: EngineEvent): void => {
      if (event.type === 'swept') removed += event.files
    }
    for (let seed = firstSeed; seed < firstSeed + 3 * seeds; seed++) {
      const random = seededRandom(seed)
      const before = removed
      using world = new World(newHistory(random, 10), random)
      for (let life = 0; life < 5; life++) {
        for (let i = random.below(8); i >= 0; i--) world.history.add(someTransaction(world.history, random))
        const gate = new Gate(random.below(2) === 0 ? 'dies-before' : 'dies-after', 1 + random.below(30))
        const process = await world.start(gate, { source: { batch: 1 + random.below(10) }, onEvent })
        await process.catchUp()
        assert.equal(process.failure, null)
        process.die()
        await world.check(`seed ${seed}, life ${life}`)
      }
      assert.equal(removed, before, 'nothing is old yet')
      world.history.add(someTransaction(world.history, random))
      // What a life expires waits in records of the lake, and the next one deletes it: until a life changes nothing.
      let strays = await world.strays()
      for (let life = 1; life <= maxLives && strays.length > 0; life++) {
        const process = await world.start(new Gate(), { aheadMs: life * 2 * hour, onEvent })
        assert.ok(await process.catchUp(), process.failure?.stack)
        // It sweeps beside everything else.
        for (let turn = 0; turn < turns && strays.length > 0; turn++) {
          await new Promise((resolve) => setTimeout(resolve, 5))
          strays = await world.strays()
        }
        await process.close()
        assert.equal(process.failure, null)
        assert.equal(await world.check(`seed ${seed}, ${life} times two hours later`), Number(world.history.head))
        strays = await world.strays()
      }
      assert.deepEqual(strays, [])
    }
    assert.ok(removed > 0, 'something was left behind')
  })
})
