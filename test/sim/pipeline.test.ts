import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FrazilError, seededRandom } from '../../src/base/index.ts'
import { Gate } from './faults.ts'
import type { Fault } from './faults.ts'
import { newHistory, someTransaction } from './random-history.ts'
import { World } from './world.ts'

const seeds = Number(process.env['FRAZIL_SEEDS'] ?? 1)
const firstSeed = Number(process.env['FRAZIL_SEED'] ?? 1)

/** Runs `body` under seeds, naming the one that fails. */
async function underSeeds(count: number, body: (seed: number) => Promise<void>): Promise<void> {
  for (let seed = firstSeed; seed < firstSeed + count * seeds; seed++) {
    try {
      await body(seed)
    } catch (error) {
      throw new Error(`seed ${seed}: run with FRAZIL_SEED=${seed}`, { cause: error })
    }
  }
}

describe('a whole pipeline', () => {
  it('brings a history into the lake, and every view is the database at its position', async () => {
    await underSeeds(4, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, random.below(30)), random)
      const process = await world.start(new Gate(null, 0), { source: { lostConnection: 0.2 } })
      for (let round = 0; round < 6; round++) {
        for (let i = random.below(12); i >= 0; i--) world.history.add(someTransaction(world.history, random))
        await process.checkViews().catch((error: unknown) => {
          if (!(error instanceof FrazilError) || error.code !== 'table-not-ready') throw error
        })
        if (random.below(2) === 0) assert.ok(await process.catchUp(), String(process.failure))
        if (random.below(2) === 0) await world.check('meanwhile')
      }
      assert.ok(await process.catchUp(), String(process.failure))
      await process.checkViews()
      assert.equal(await world.check('at the end'), Number(world.history.head))
      await process.close()
      assert.equal(process.failure, null)
      assert.equal((await process.pipeline.status()).memoryUsed, 0, 'all memory came back')
    })
  })

  it('dies at any moment and loses nothing, doubles nothing', async () => {
    await underSeeds(8, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, random.below(20)), random)
      for (let life = 0; life < 6; life++) {
        for (let i = random.below(10); i >= 0; i--) world.history.add(someTransaction(world.history, random))
        const gate = new Gate(random.below(2) === 0 ? 'dies-before' : 'dies-after', 1 + random.below(40))
        const process = await world.start(gate, { source: { lostConnection: 0.1, batch: 1 + random.below(20) } })
        await process.catchUp()
        assert.equal(process.failure, null)
        process.die()
        await world.check(`life ${life}, ${gate.met ?? 'idle'}`)
      }
      await endsWell(world)
    })
  })

  it('dies before and after each write, from the first one on', async () => {
    const random = seededRandom(firstSeed)
    const before = newHistory(random, 6)
    for (const fault of ['dies-before', 'dies-after'] as const) {
      let reached = 0
      for (let at = 1; at === 1 || reached >= at - 1; at++) {
        const history = newHistory(seededRandom(1), 0)
        for (const transaction of before.transactions) history.add(transaction)
        using world = new World(history, seededRandom(at))
        const first = await world.start(new Gate(fault, at), { source: { batch: 3 } })
        await first.catchUp()
        reached = first.gate.calls
        const isOver = first.gate.met === null
        first.die()
        await world.check(`${first.gate.met ?? 'nothing met'}`)
        history.add(someTransaction(history, random))
        await endsWell(world)
        if (isOver) break
      }
      assert.ok(reached > 5, 'there were writes to die at')
    }
  })

  for (const fault of ['uncertain-done', 'uncertain-undone', 'unavailable'] as const) {
    it(`goes on when an answer is ${fault}`, async () => {
      await underSeeds(6, async (seed) => {
        const random = seededRandom(seed)
        using world = new World(newHistory(random, 5), random)
        for (let life = 0; life < 3; life++) {
          for (let i = random.below(10); i >= 0; i--) world.history.add(someTransaction(world.history, random))
          const gate = new Gate(fault satisfies Fault, 1 + random.below(30))
          const process = await world.start(gate)
          await process.catchUp()
          const { failure } = process
          // A store that fails once may end the process, as a catalog that never answers; nothing else may.
          if (failure) {
            const isSaid = failure instanceof FrazilError && failure.kind === 'unavailable'
            assert.ok(isSaid, `${gate.met ?? ''}: ${failure.stack ?? ''}`)
          }
          await process.close()
          await world.check(`life ${life}, ${gate.met ?? 'idle'}`)
        }
        await endsWell(world)
      })
    })
  }
})

/** A process without faults brings everything in. */
async function endsWell(world: World): Promise<void> {
  const last = await world.start(new Gate(null, 0))
  assert.ok(await last.catchUp(), String(last.failure?.stack))
  await last.checkViews()
  await last.close()
  assert.equal(last.failure, null)
  assert.equal(await world.check('at the end'), Number(world.history.head))
}
