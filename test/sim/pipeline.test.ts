import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { FrazilError, seededRandom } from '../../src/base/index.ts'
import type { Random } from '../../src/base/index.ts'
import type { EngineEvent } from '../../src/observe/index.ts'
import type { SimulatedChange } from '../../src/source/simulated/index.ts'
import { Gate } from './faults.ts'
import { newHistory, someTransaction } from './random-history.ts'
import { HeldWorker, World } from './world.ts'

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
    await underSeeds(3, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, random.below(30)), random)
      const process = await world.start(new Gate(), { source: { lostConnection: 0.2, streamed: seed % 2 === 0 ? 0 : 0.6 } })
      for (let round = 0; round < 6; round++) {
        for (let i = random.below(12); i >= 0; i--) world.history.add(someTransaction(world.history, random))
        await process.checkViews().catch((error: unknown) => {
          if (!(error instanceof FrazilError) || error.code !== 'table-not-ready') throw error
        })
        if (random.below(2) === 0) assert.ok(await process.catchUp(), process.failure?.stack)
        if (random.below(2) === 0) await world.check('meanwhile')
      }
      assert.ok(await process.catchUp(), process.failure?.stack)
      await process.checkViews()
      assert.equal(await world.check('at the end'), Number(world.history.head))
      await process.close()
      assert.equal(process.failure, null)
      assert.equal((await process.pipeline.status()).memoryUsed, 0, 'all memory came back')
    })
  })

  it('a table that enters the views while transactions are open has all of their rows', async () => {
    await underSeeds(8, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, 12), random)
      const process = await world.start(new Gate(), { source: { streamed: 1, batch: 2 } })
      for (let i = 0; i < 12; i++) world.history.add(someTransaction(world.history, random))
      assert.ok(await process.catchUp(), process.failure?.stack)
      await process.checkViews()
      await process.close()
      assert.equal(process.failure, null)
      assert.equal(await world.check('at the end'), Number(world.history.head))
    })
  })

  it('iceberg check 85: dies at any moment and loses nothing, doubles nothing', async () => {
    await underSeeds(4, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, random.below(20)), random)
      for (let life = 0; life < 6; life++) {
        for (let i = random.below(10); i >= 0; i--) world.history.add(someTransaction(world.history, random))
        const gate = new Gate(random.below(2) === 0 ? 'dies-before' : 'dies-after', 1 + random.below(40))
        const process = await world.start(gate, { source: { lostConnection: 0.1, streamed: 0.3, batch: 1 + random.below(20) } })
        await process.catchUp()
        assert.equal(process.failure, null)
        process.die()
        await world.check(`life ${life}, ${gate.met ?? 'idle'}`)
        if (random.below(3) === 0) rmSync(join(world.folder, 'local'), { recursive: true, force: true })
      }
      await endsWell(world)
    })
  })

  it('copies tables again at any moment: readers see the rows of one position, and a death leaves the old ones or the new ones', async () => {
    await underSeeds(4, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, 10 + random.below(20)), random)
      for (let life = 0; life < 5; life++) {
        const gate =
          life === 0 ? new Gate() : new Gate(random.below(2) === 0 ? 'dies-before' : 'dies-after', 5 + random.below(50))
        const process = await world.start(gate, { source: { lostConnection: 0.1, batch: 1 + random.below(20) } })
        if (life === 0) assert.ok(await process.catchUp(), process.failure?.stack)
        for (let round = 0; round < 4 && !process.isOver; round++) {
          const { name } = world.history.tables[random.below(world.history.tables.length)]
          const asked = process.pipeline.resync('shop', name).catch((error: unknown) => {
            if (!process.isOver && !(error instanceof FrazilError && error.code === 'closed')) throw error
          })
          for (let i = random.below(8); i >= 0; i--) world.history.add(someTransaction(world.history, random))
          await Promise.race([asked, gate.died])
          if (random.below(2) === 0) await Promise.race([process.checkViews(), gate.died])
          await process.catchUp()
        }
        assert.equal(process.failure, null)
        process.die()
        await world.check(`life ${life}, ${gate.met ?? 'idle'}`)
      }
      await endsWell(world)
    })
  })

  it('rewrites files at any moment: every row stays, and a death before or after each write loses none', async () => {
    let compacted = 0
    const onEvent = ({ type }: EngineEvent): void => void (compacted += Number(type === 'compacted'))
    await underSeeds(2, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, 10 + random.below(20)), random)
      for (let life = 0; life < 5; life++) {
        const gate =
          life === 0 ? new Gate() : new Gate(random.below(2) === 0 ? 'dies-before' : 'dies-after', 5 + random.below(60))
        const targetBytes = random.below(2) === 0 ? 2_000 : 1 << 20
        const source = { lostConnection: 0.1, streamed: 0.3, batch: 1 + random.below(20) }
        const process = await world.start(gate, { source, targetBytes, onEvent })
        if (life === 0) assert.ok(await process.catchUp(), process.failure?.stack)
        for (let round = 0; round < 6 && !process.isOver; round++) {
          const { name } = world.history.tables[random.below(world.history.tables.length)]
          for (let i = random.below(6); i >= 0; i--) world.history.add(someTransaction(world.history, random))
          if (random.below(2) === 0) await process.catchUp()
          const asked = process.pipeline.optimize('shop', name).catch((error: unknown) => {
            if (!process.isOver && !(error instanceof FrazilError && isExpected(error))) throw error
          })
          for (let i = random.below(6); i >= 0; i--) world.history.add(someTransaction(world.history, random))
          if (random.below(4) === 0) void process.pipeline.resync('shop', name).catch(() => undefined)
          if (random.below(2) === 0) await Promise.race([process.checkViews(), gate.died])
          await Promise.race([asked, gate.died])
          await process.catchUp()
          if (random.below(2) === 0) await world.check(`meanwhile, life ${life}`)
        }
        assert.equal(process.failure, null)
        if (random.below(2) === 0) process.die()
        else await process.close()
        await world.check(`life ${life}, ${gate.met ?? 'idle'}`)
        if (random.below(3) === 0) rmSync(join(world.folder, 'local'), { recursive: true, force: true })
      }
      await endsWell(world)
    })
    assert.ok(compacted > 0)
  })

  // All writes with FRAZIL_SEEDS=8.
  it('iceberg check 68: dies before and after each write, from the first one on', async () => {
    const stride = Math.max(1, Math.floor(8 / seeds))
    for (const fault of ['dies-before', 'dies-after'] as const) {
      let at = firstSeed
      for (let isMet = true; isMet; at += stride) {
        using world = new World(newHistory(seededRandom(3), 4), seededRandom(at))
        const first = await world.start(new Gate(fault, at), { source: { batch: 3 } })
        await first.catchUp()
        assert.equal(first.failure, null)
        isMet = first.gate.met !== null
        first.die()
        await world.check(first.gate.met ?? 'nothing met')
        world.history.add(someTransaction(world.history, seededRandom(at)))
        await endsWell(world)
      }
      assert.ok(at > 20, 'there were writes to die at')
    }
  })

  for (const fault of ['uncertain-done', 'uncertain-undone', 'unavailable'] as const) {
    it(`iceberg check 69: is right whatever was done when an answer is ${fault}`, async () => {
      await underSeeds(2, async (seed) => {
        const random = seededRandom(seed)
        using world = new World(newHistory(random, 5), random)
        for (let life = 0; life < 3; life++) {
          for (let i = random.below(10); i >= 0; i--) world.history.add(someTransaction(world.history, random))
          const gate = new Gate(fault, 1 + random.below(30))
          const process = await world.start(gate)
          await process.catchUp()
          const { failure } = process
          assert.ok(failure === null || failure instanceof FrazilError, failure?.stack)
          await process.close()
          await world.check(`life ${life}, ${gate.met ?? 'idle'}`)
        }
        await endsWell(world)
      })
    })
  }

  it('goes on when a commit has landed and the catalog then does not answer', async () => {
    const random = seededRandom(7)
    using world = new World(newHistory(random, 5), random)
    const process = await world.start(new Gate())
    process.gate.arm('unavailable', /^state/)
    for (let round = 0; round < 3; round++) {
      world.history.add(someTransaction(world.history, random))
      assert.ok(await process.catchUp(), process.failure?.stack)
    }
    assert.ok(process.gate.met !== null, 'it asked for its state record')
    await process.close()
    assert.equal(process.failure, null)
    await world.check('at the end')
  })

  for (const fault of ['uncertain-done', 'uncertain-undone'] as const) {
    for (const what of [/commit of [1-9]/, /commit of 0 tables/]) {
      it(`goes on when an answer is lost and nothing answers for long after it: ${fault}, ${what.source}`, async () => {
        await underSeeds(2, async (seed) => {
          const random = seededRandom(seed)
          using world = new World(newHistory(random, 5), random)
          const gate = new Gate()
          const events: EngineEvent[] = []
          const process = await world.start(gate, { onEvent: (event) => void events.push(event) })
          assert.ok(await process.catchUp(), process.failure?.stack)
          // More calls than one attempt makes, and the look behind it.
          gate.afterLoss = async () => void (gate.unanswered = 20)
          gate.arm(fault, what)
          for (let round = 0; round < 4; round++) {
            // Transactions that change nothing move the position only.
            world.history.add(round % 2 === 0 ? [] : someTransaction(world.history, random))
            assert.ok(await process.catchUp(), process.failure?.stack)
            await process.checkViews()
          }
          assert.notEqual(gate.met, null)
          assert.equal(gate.unanswered, 0)
          assert.ok(!events.some(({ type }) => type === 'followed'), 'what has landed is its own')
          await process.close()
          assert.equal(process.failure, null)
          await world.check(gate.met ?? '')
          await endsWell(world)
        })
      })
    }
  }

  it('stages under pressure while it commits', async () => {
    let pressed = 0
    const onEvent = ({ type }: EngineEvent): void => void (pressed += Number(type === 'pressure'))
    await underSeeds(3, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, 3), random)
      const process = await world.start(new Gate(), { memory: 500_000, onEvent, source: { batch: 3, streamed: 0.5 } })
      assert.ok(await process.catchUp(), process.failure?.stack)
      for (let i = 0; i < 40; i++) {
        if (i % 4 === 0) world.history.add(someTransaction(world.history, random))
        world.history.add(manyInserts(random, 40 + random.below(200)))
      }
      const caughtUp = process.catchUp()
      const isOver = caughtUp.then(() => true)
      const turn = (): Promise<false> => new Promise((resolve) => setImmediate(resolve, false))
      while (!(await Promise.race([isOver, turn()]))) process.pipeline.flush().catch(() => undefined)
      assert.ok(await caughtUp, process.failure?.stack)
      await process.checkViews()
      process.die()
      assert.equal(await world.check('at the end'), Number(world.history.head))
    })
    assert.ok(pressed > 0, 'memory was short')
  })

  it('applies a transaction that is much larger than memory, and readers see what was before it meanwhile', async () => {
    const random = seededRandom(firstSeed)
    using world = new World(newHistory(random, 3), random)
    const actions = new Set<string>()
    const gate = new Gate()
    const process = await world.start(gate, {
      memory: 1_500_000,
      source: { capacity: 1023, streamed: 0.5 },
      onEvent: (event) => void (event.type === 'pressure' && actions.add(event.action)),
    })
    assert.ok(await process.catchUp(), process.failure?.stack)
    const key = (i: number): bigint => BigInt(i) + 1000n
    const rows = 40_000
    const all = Array.from({ length: rows }, (_, i) => i)
    world.history.add([
      ...all.map((i): SimulatedChange => ({ op: 'insert', table: 'long', row: ['new', key(i), i] })),
      ...all.map((i): SimulatedChange => {
        const row = ['changed', key(i), 1]
        if (i % 3 === 0) return { op: 'delete', table: 'long', old: row, mustExist: true }
        return { op: 'upsert', table: 'long', row, mustExist: true }
      }),
      ...manyInserts(random, 1000),
    ])
    const before = Number(world.history.head) - 1
    let seen = 0
    const caughtUp = process.catchUp()
    const isOver = caughtUp.then(() => true)
    const turn = (): Promise<false> => new Promise((resolve) => setImmediate(resolve, false))
    while (!(await Promise.race([isOver, turn()]))) {
      if (process.failure) break
      const { source } = await process.pipeline.status()
      if (source.position !== String(before) || seen > 20) continue
      await process.checkViews()
      seen++
    }
    assert.ok(await caughtUp, process.failure?.stack)
    assert.ok(seen > 0)
    assert.deepEqual([...actions].sort(), ['spilling', 'staging'])
    await process.checkViews()
    process.die()
    assert.equal(await world.check('at the end'), Number(world.history.head))
  })

  it('commits nothing past rows that are still on their way to a staged file', async () => {
    const random = seededRandom(firstSeed)
    using world = new World(newHistory(random, 0), random)
    const quick = new HeldWorker()
    const slow = new HeldWorker()
    const process = await world.start(new Gate(), { memory: 300_000, workers: [quick, slow] })
    assert.ok(await process.catchUp(), process.failure?.stack)
    for (let i = 0; i < 60; i++) world.history.add(manyInserts(random, 50))
    // A commit waits for the first file; memory runs out meanwhile and asks for the second.
    while (!(quick.isAsked && slow.isAsked)) await new Promise((resolve) => setTimeout(resolve, 1))
    quick.release()
    for (let i = 0; i < 50 && !process.isOver; i++) {
      process.pipeline.flush().catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    assert.ok(!process.isOver, process.failure?.stack)
    await world.check('with rows on their way')
    slow.release()
    assert.ok(await process.catchUp(), process.failure?.stack)
    process.die()
    assert.equal(await world.check('at the end'), Number(world.history.head))
  })

  it('iceberg check 85: is fenced by the one that took over, and changes nothing any more', async () => {
    const random = seededRandom(firstSeed)
    using world = new World(newHistory(random, 8), random)
    const older = await world.start(new Gate(), { local: 'older' })
    assert.ok(await older.catchUp(), older.failure?.stack)
    const newer = await world.start(new Gate(), { local: 'newer' })
    assert.ok(await newer.catchUp(), newer.failure?.stack)
    const pointers = await world.catalog.list()
    for (let i = 0; i < 5; i++) world.history.add(someTransaction(world.history, random))
    assert.equal(await older.catchUp(), false)
    assert.ok(older.failure instanceof FrazilError && older.failure.kind === 'fenced', older.failure?.stack)
    await older.close()
    assert.ok(await newer.catchUp(), newer.failure?.stack)
    await newer.checkViews()
    assert.notDeepEqual(await world.catalog.list(), pointers)
    assert.equal(await world.check('after the takeover'), Number(world.history.head))
    await newer.close()
    assert.equal(await world.check('at the end'), Number(world.history.head))
  })

  it('detaches a table that the source cannot decode, and keeps the others', async () => {
    await underSeeds(2, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, 8), random)
      let process = await world.start(new Gate())
      assert.ok(await process.catchUp(), process.failure?.stack)
      for (let i = 0; i < 10; i++) {
        const changes = someTransaction(world.history, random)
        world.history.add(i === 4 ? [...changes, { op: 'fail', table: 'row' }] : changes)
      }
      for (let life = 0; life < 3; life++) {
        assert.ok(await process.catchUp(), process.failure?.stack)
        const { tables } = await process.pipeline.status()
        assert.deepEqual(
          tables.filter(({ health }) => health === 'detached').map(({ table }) => table),
          ['row'],
        )
        process.die()
        assert.equal(await world.check(`life ${life}`), Number(world.history.head))
        world.history.add(someTransaction(world.history, random))
        process = await world.start(new Gate())
      }
      await process.close()
    })
  })

  it('a detached table is whole after a death, although another was asked for between its copy and the lake commit with it', async () => {
    const random = seededRandom(firstSeed)
    using world = new World(newHistory(random, 8), random)
    const gate = new Gate()
    let isAsked = false
    const notNow = async (): Promise<void> => {
      gate.beforeCommit = notNow
      throw new FrazilError('unavailable', 'down', 'the catalog does not answer')
    }
    const process = await world.start(gate, {
      onEvent(event) {
        if (!isAsked || event.type !== 'table' || event.table !== 'shop.row' || event.health !== 'streaming') return
        gate.beforeCommit = notNow
        gate.arm('dies-after', /commit of 0 tables/)
        process.pipeline.resync('shop', 'long').catch(() => undefined)
      },
    })
    assert.ok(await process.catchUp(), process.failure?.stack)
    world.history.add([...manyInserts(random, 3), { op: 'fail', table: 'row' }])
    assert.ok(await process.catchUp(), process.failure?.stack)
    isAsked = true
    await process.pipeline.resync('shop', 'row')
    await gate.died
    process.die()
    const next = await world.start(new Gate())
    for (let health; health !== 'streaming'; await new Promise((resolve) => setTimeout(resolve, 1))) {
      assert.ok(await next.catchUp(), next.failure?.stack)
      health = (await next.pipeline.status()).tables.find(({ table }) => table === 'row')?.health
      assert.notEqual(health, 'detached')
    }
    await next.checkViews()
    await next.close()
    assert.equal(await world.check('at the end'), Number(world.history.head))
  })

  it('commits whole transactions only, also between two long ones', async () => {
    await underSeeds(1, async (seed) => {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, 2), random)
      const gate = new Gate()
      const process = await world.start(gate, { memory: 512 << 20, source: { capacity: 65_535, batch: 1000 } })
      assert.ok(await process.catchUp(), process.failure?.stack)
      gate.arm('dies-after', /commit of [1-9]/)
      for (let i = 0; i < 6; i++) world.history.add(manyInserts(random, 17_000))
      while (!gate.isDead) {
        process.pipeline.flush().catch(() => undefined)
        await new Promise((resolve) => setImmediate(resolve))
      }
      process.die()
      await world.check('after a commit between long transactions')
    })
  })

  it('commits whole transactions only, also while sick tables are detached', async () => {
    const random = seededRandom(firstSeed)
    using world = new World(newHistory(random, 6), random)
    const gate = new Gate()
    const process = await world.start(gate, {
      onEvent(event) {
        // Somebody wants a commit just when the first table goes.
        if (event.type === 'table' && event.health === 'detached') process.pipeline.flush().catch(() => undefined)
      },
    })
    assert.ok(await process.catchUp(), process.failure?.stack)
    gate.arm('dies-after', /commit of [1-9]/)
    world.history.add([...manyInserts(random, 3), missing('long'), missing('composite')])
    await gate.died
    process.die()
    await world.check('after a commit while tables were detached')
  })

  it('commits nothing of a transaction that ends the pipeline', async () => {
    const random = seededRandom(firstSeed)
    using world = new World(newHistory(random, 6), random)
    const process = await world.start(new Gate(), {
      onError: 'stop',
      onEvent(event) {
        if (event.type === 'error') process.pipeline.flush().catch(() => undefined)
      },
    })
    assert.ok(await process.catchUp(), process.failure?.stack)
    world.history.add([...manyInserts(random, 3), missing('long')])
    assert.equal(await process.catchUp(), false)
    assert.ok(process.failure instanceof FrazilError && process.failure.code === 'missing-row')
    await process.close()
    await world.check('after the end')
  })

  it('iceberg check 70: deletes nothing that may be in use after a lost answer, whatever others did since', async () => {
    const random = seededRandom(firstSeed)
    using world = new World(newHistory(random, 6), random)
    const gate = new Gate()
    const process = await world.start(gate)
    assert.ok(await process.catchUp(), process.failure?.stack)
    // Another engine goes on from what has landed, before we can look.
    gate.afterLoss = () => world.foreignCommit('none')
    gate.arm('uncertain-done', /commit of [1-9]/)
    world.history.add([...manyInserts(random, 3)])
    await process.catchUp()
    assert.ok(gate.met !== null)
    await process.close()
    await world.check('after the lost answer')
    await endsWell(world)
  })

  it('tries a failed commit again after the back-off, and does not wait for the next interval', async () => {
    const random = seededRandom(firstSeed)
    using world = new World(newHistory(random, 6), random)
    const day = 24 * 3_600_000
    const process = await world.start(new Gate(), { commitEveryMs: day, endlessMs: day })
    assert.ok(await process.catchUp(), process.failure?.stack)
    process.gate.arm('unavailable', /^put/)
    world.history.add([...manyInserts(random, 3)])
    await assert.rejects(async () => {
      for (;;) {
        await process.pipeline.flush()
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }, /does not answer/)
    // Nobody asks for another one.
    for (let turn = 0; (await world.check('meanwhile')) !== Number(world.history.head); turn++) {
      assert.ok(turn < 2000, 'committed without being asked')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await process.close()
  })

  for (const fault of ['uncertain-done', 'uncertain-undone'] as const) {
    it(`looks whether a commit of the state record alone has landed: ${fault}`, async () => {
      const random = seededRandom(firstSeed)
      using world = new World(newHistory(random, 2), random)
      const gate = new Gate()
      gate.arm(fault, /commit of 0 tables/)
      const process = await world.start(gate)
      assert.ok(await process.catchUp(), process.failure?.stack)
      assert.ok(gate.met !== null)
      // Transactions that change nothing move the position only.
      gate.arm(fault, /commit of 0 tables/)
      world.history.add([])
      assert.ok(await process.catchUp(), process.failure?.stack)
      assert.ok(gate.met !== null)
      await process.close()
      await world.check('at the end')
    })
  }
})

function isExpected({ code }: FrazilError): boolean {
  return code === 'closed' || code === 'table-not-ready' || code === 'table-changing' || code === 'unknown-table'
}

/** Rows for the table without a key. */
function manyInserts(random: Random, count: number): SimulatedChange[] {
  return Array.from({ length: count }, (_, i) => ({ op: 'insert', table: 'none', row: [String(i % 10), random.below(5)] }))
}

/** The delete of a row that was never there. */
function missing(table: string): SimulatedChange {
  return { op: 'delete', table, mustExist: true, old: table === 'long' ? [null, 999n, null] : [null, 'nobody', 999, null] }
}

/** A process without faults brings everything in. */
async function endsWell(world: World): Promise<void> {
  const last = await world.start(new Gate())
  assert.ok(await last.catchUp(), last.failure?.stack)
  await last.checkViews()
  await last.close()
  assert.equal(last.failure, null)
  assert.equal(await world.check('at the end'), Number(world.history.head))
}
