import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { FrazilError, seededRandom, systemRandom } from '../../src/base/index.ts'
import type { Random } from '../../src/base/index.ts'
import type { TableSettings } from '../../src/engine/table-settings.ts'
import { parsePartition, parseSort } from '../../src/iceberg/index.ts'
import type { SimulatedChange } from '../../src/source/simulated/index.ts'
import { ForeignEngine } from '../support/foreign-engine.ts'
import { Gate } from './faults.ts'
import type { Fault } from './faults.ts'
import { newHistory, someTransaction } from './random-history.ts'
import { World } from './world.ts'

const seeds = 2 * Number(process.env['FRAZIL_SEEDS'] ?? 1)
const firstSeed = Number(process.env['FRAZIL_SEED'] ?? 1)
const hour = 3_600_000

const layouts: Readonly<Record<string, { readonly partition: readonly string[]; readonly sort: readonly string[] }>> = {
  long: { partition: ['bucket(3, k0)', 'truncate(10, k0)', 'truncate(1, v)', 'bucket(2, v)'], sort: ['k0', 'v desc', 'n'] },
  composite: { partition: ['bucket(3, k1)', 'truncate(1, k0)', 'truncate(1, v)'], sort: ['k1 desc', 'k0', 'n nulls first'] },
  row: { partition: ['truncate(1, v)'], sort: ['v', 'n desc'] },
  none: { partition: ['bucket(2, v)', 'truncate(1, v)'], sort: ['n', 'v'] },
}
const names = Object.keys(layouts)
const faults: readonly (Fault | null)[] = ['dies-before', 'dies-after', 'uncertain-done', 'uncertain-undone', 'unavailable', null]
/** What may be said to somebody who asks for something meanwhile. */
const answers = new Set(['closed', 'table-not-ready', 'table-changing', 'unknown-table'])

function one<T>(random: Random, from: readonly T[]): T {
  return from[random.below(from.length)]
}

function someOf(random: Random, from: readonly string[]): string[] {
  return [...new Set(Array.from({ length: random.below(3) }, () => one(random, from)))]
}

function randomLayouts(random: Random): TableSettings {
  const settings = names.map((name) => {
    const { partition, sort } = layouts[name]
    const partitionBy = someOf(random, partition).map((text) => parsePartition(text))
    return [`shop.${name}`, { partitionBy, sortBy: someOf(random, sort).map((text) => parseSort(text)) }] as const
  })
  return Object.fromEntries(settings)
}

function manyInserts(random: Random): SimulatedChange[] {
  return Array.from({ length: 200 }, (_, i) => ({ op: 'insert', table: 'none', row: [String(i % 10), random.below(5)] }))
}

/** Another engine, which does not know how a table is laid out. */
class Other {
  readonly #world: World
  readonly #engine: ForeignEngine
  readonly #rewrites: boolean

  constructor(world: World, rewrites: boolean) {
    this.#world = world
    this.#rewrites = rewrites
    // Names of its files must not come again in another life.
    const random = { ...systemRandom, uuid: () => randomUUID() }
    this.#engine = new ForeignEngine({ store: world.store, catalog: world.catalog, random })
    // What is compared stays.
    this.#engine.deletes = false
  }

  async act(random: Random): Promise<void> {
    const name = one(random, names)
    if (!(await this.#world.catalog.load({ namespace: 'shop', name }))) return
    const choice = random.below(this.#rewrites ? 5 : 2)
    if (choice === 0) await this.#engine.setProperty('shop', name, 'owner', String(random.below(1000)))
    else if (choice === 1) await this.#engine.expire('shop', name)
    else await this.#engine.rewrite('shop', name, choice === 2 ? () => true : () => random.below(2) === 0)
  }
}

for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
  it(`seed ${seed}: faults, other engines, layouts, copies, rewrites and little memory at once lose nothing, double nothing`, async () => {
    const random = seededRandom(seed)
    using world = new World(newHistory(random, random.below(30)), random)
    const isLaidOut = random.below(2) === 0
    const other = random.below(2) === 0 ? new Other(world, !isLaidOut) : null
    const mostHours = random.below(3) === 0 ? 3 : 1
    let hours = 0
    for (let life = 0; life < 5; life++) {
      hours += random.below(mostHours)
      await live(world, random, seededRandom(seed * 100 + life), { isLaidOut, other, aheadMs: hours * hour })
      await world.check(`life ${life}`)
      if (random.below(4) === 0) rmSync(join(world.folder, 'local'), { recursive: true, force: true })
    }
    const last = await world.start(new Gate(), { aheadMs: hours * hour })
    assert.ok(await last.catchUp(), last.failure?.stack)
    await last.checkViews()
    const { tables } = await last.pipeline.status()
    assert.deepEqual(
      tables.filter(({ health }) => health !== 'streaming'),
      [],
    )
    await last.close()
    assert.equal(last.failure, null)
    assert.equal(await world.check('at the end'), Number(world.history.head))
  })
}

interface Life {
  readonly isLaidOut: boolean
  readonly other: Other | null
  readonly aheadMs: number
}

/** One process, until it dies, ends or is closed. */
async function live(world: World, random: Random, others: Random, { isLaidOut, other, aheadMs }: Life): Promise<void> {
  const fault = one(random, faults)
  const gate = new Gate(fault, 1 + random.below(70))
  if (random.below(3) === 0) {
    gate.afterLoss = async () => {
      if (other && random.below(2) === 0) await other.act(random)
      else gate.unanswered = random.below(25)
    }
  }
  const process = await world.start(gate, {
    source: {
      lostConnection: one(random, [0, 0.1, 0.3]),
      streamed: one(random, [0, 0.3, 1]),
      batch: 1 + random.below(20),
      capacity: one(random, [15, 63, 255]),
    },
    memory: one(random, [500_000, 1_500_000, 32 << 20]),
    targetBytes: one(random, [2000, 1 << 20]),
    restMs: one(random, [20, Infinity]),
    workers: one(random, [[null], [null, null]]),
    tables: isLaidOut ? randomLayouts(random) : {},
    aheadMs,
  })
  const tolerated = (error: unknown): void => {
    const isAnswer = error instanceof FrazilError && (answers.has(error.code) || error.kind === 'unavailable')
    if (!process.isOver && !isAnswer) throw error
  }
  const over = new AbortController()
  const acting = other ? actAgain(other, others, () => over.signal.aborted || process.isOver) : null
  const asked: Promise<unknown>[] = []
  for (let round = 0; round < 5 && !process.isOver; round++) {
    for (let i = random.below(6); i >= 0; i--) {
      world.history.add(random.below(8) === 0 ? manyInserts(random) : someTransaction(world.history, random))
    }
    const name = one(random, names)
    const chance = random.below(6)
    if (chance < 2) asked.push(process.pipeline.optimize('shop', name).catch(tolerated))
    else if (chance < 3) asked.push(process.pipeline.resync('shop', name).catch(tolerated))
    else if (chance < 4) asked.push(process.pipeline.flush().catch(tolerated))
    if (random.below(2) === 0) await Promise.race([process.checkViews().catch(tolerated), gate.died])
    if (random.below(3) > 0) await process.catchUp()
  }
  over.abort()
  await acting
  if (!process.isOver) {
    const { tables } = await process.pipeline.status()
    assert.deepEqual(
      tables.filter(({ health }) => health === 'detached'),
      [],
      `with ${gate.met ?? 'nothing met'}`,
    )
  }
  if (random.below(2) === 0) process.die()
  else await process.close()
  if (!process.isOver) await Promise.all(asked)
  // One that is not answered may give up, and the next one goes on.
  const mayEnd = fault !== null && !fault.startsWith('dies') && process.failure instanceof FrazilError
  if (!mayEnd) assert.equal(process.failure, null)
}

async function actAgain(other: Other, random: Random, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    await other.act(random)
    await setTimeout(5 + random.below(60))
  }
}
