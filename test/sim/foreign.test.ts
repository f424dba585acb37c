import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import type { Random } from '../../src/base/index.ts'
import type { Value } from '../../src/data/index.ts'
import type { TableSettings } from '../../src/engine/table-settings.ts'
import { parsePartition, parseSort } from '../../src/iceberg/index.ts'
import type { EngineEvent } from '../../src/observe/index.ts'
import { valueText } from '../../src/source/simulated/index.ts'
import type { SimulatedChange } from '../../src/source/simulated/index.ts'
import { ForeignEngine } from '../support/foreign-engine.ts'
import type { Row } from '../support/foreign-engine.ts'
import { Gate } from './faults.ts'
import { newHistory, someTransaction } from './random-history.ts'
import { World } from './world.ts'
import type { Process, ProcessSettings } from './world.ts'

const tables = ['long', 'composite', 'row', 'none']
const key = (i: number): bigint => BigInt(i) + 1000n
const inserts = (from: number, to: number): SimulatedChange[] =>
  Array.from({ length: to - from }, (_, i) => ({ op: 'insert', table: 'long', row: ['new', key(from + i), from + i] }))
const update = (i: number, text: string): SimulatedChange => ({
  op: 'upsert',
  table: 'long',
  row: [text, key(i), i],
  mustExist: true,
})
const remove = (i: number): SimulatedChange => ({ op: 'delete', table: 'long', old: [null, key(i), null], mustExist: true })
const byKey = (wanted: (i: number) => boolean, change: (row: Row) => Row | null) => (row: Row) =>
  wanted(Number(row[1]) - 1000) ? change(row) : row
const textOf = (rows: readonly (readonly Value[])[]): string[] => rows.map((row) => valueText([...row])).sort()

interface Setting {
  readonly world: World
  readonly process: Process
  readonly other: ForeignEngine
  readonly events: EngineEvent[]
}

/** A world with rows 0 to 99 of the table `long` in two data files, and another engine beside it. */
async function someRows(random: Random, settings: ProcessSettings = {}): Promise<Setting & Disposable> {
  const world = new World(newHistory(random, 0), random)
  const events: EngineEvent[] = []
  const process = await world.start(new Gate(), { ...settings, onEvent: (event) => events.push(event) })
  const setting = { world, process, other: new ForeignEngine(world), events, [Symbol.dispose]: () => world[Symbol.dispose]() }
  for (const from of [0, 50]) {
    world.history.add(inserts(from, from + 50))
    await reached(setting)
  }
  return setting
}

async function reached({ process }: Setting): Promise<void> {
  assert.ok(await process.catchUp(), process.failure?.stack)
}

/** The source changes something, and before that is in the lake the other engine has committed. */
async function overtaken(setting: Setting, changes: readonly SimulatedChange[], foreign: () => Promise<void>): Promise<void> {
  const { gate } = setting.process
  gate.beforeCommit = foreign
  setting.world.history.add(changes)
  await reached(setting)
  assert.equal(gate.beforeCommit, null, 'it has happened')
}

function followed({ events }: Setting): number {
  return events.filter(({ type }) => type === 'followed').length
}

/** What readers of Iceberg and queries see of `long`. */
async function assertRows(setting: Setting, expected: readonly Row[]): Promise<void> {
  const { world, process, other } = setting
  await reached(setting)
  assert.deepEqual(textOf(await other.rows('shop', 'long')), textOf(expected), 'in the lake')
  assert.deepEqual(await process.viewRows('long'), textOf(expected), 'in a view')
  assert.equal(process.failure, null)
  const next = await world.start(new Gate())
  assert.ok(await next.catchUp(), next.failure?.stack)
  assert.deepEqual(await next.viewRows('long'), textOf(expected), 'after a restart')
  await next.close()
}

const row = (i: number, text = 'new'): Row => [text, key(i), i]
const rows = (from: number, to: number): Row[] => Array.from({ length: to - from }, (_, i) => row(from + i))

describe('another engine commits to our tables', () => {
  it('settings, snapshots that it expires, and files that it rewrites, while rows stream', async () => {
    for (const seed of [1, 2]) {
      const random = seededRandom(seed)
      using world = new World(newHistory(random, 20), random)
      let count = 0
      let committed: (() => void) | null = null
      const onEvent = ({ type }: EngineEvent): void => {
        if (type === 'followed') count++
        else if (type === 'committed') committed?.()
      }
      const process = await world.start(new Gate(), { onEvent })
      assert.ok(await process.catchUp(), process.failure?.stack)
      const other = new ForeignEngine(world)
      // What is looked at after each commit stays.
      other.deletes = false
      const ended = new AbortController()
      const foreign = (async () => {
        const its = seededRandom(seed * 100)
        while (!ended.signal.aborted) {
          const name = tables[its.below(tables.length)]
          const choice = its.below(5)
          if (choice === 0) await other.setProperty('shop', name, 'owner', String(its.below(1000)))
          else if (choice === 1) await other.expire('shop', name)
          else await other.rewrite('shop', name, choice === 2 ? () => true : () => its.below(2) === 0)
          // One that never pauses would not let anybody else commit.
          const commit = new Promise<void>((resolve) => (committed = resolve))
          await Promise.race([commit, new Promise((resolve) => setTimeout(resolve, 2000))])
          await new Promise((resolve) => setTimeout(resolve, its.below(40)))
        }
      })()
      for (let i = 0; i < 24; i++) {
        world.history.add(someTransaction(world.history, random))
        if (i % 3 === 0) assert.ok(await process.catchUp(), process.failure?.stack)
        if (i % 10 === 0) await process.checkViews()
        if (i % 8 === 7) await process.pipeline.optimize('shop', tables[random.below(3)])
      }
      ended.abort()
      await foreign
      assert.ok(await process.catchUp(), process.failure?.stack)
      await process.checkViews()
      await world.check(`seed ${seed}`)
      assert.equal(process.failure, null)
      assert.ok(count > 0, 'something was followed')
      await process.close()
      const last = await world.start(new Gate())
      assert.ok(await last.catchUp(), last.failure?.stack)
      await last.checkViews()
      await last.close()
      await world.check(`seed ${seed}, after a restart`)
    }
  })

  it('rewritten files: changes that no snapshot has find their rows in the new ones', async () => {
    using setting = await someRows(seededRandom(1))
    const { world, other } = setting
    await overtaken(setting, [update(3, 'changed'), remove(4), update(60, 'changed'), ...inserts(100, 105)], async () => {
      await other.rewrite('shop', 'long')
      await other.expire('shop', 'long')
    })
    const expected = rows(0, 105).flatMap((each, i) => (i === 3 || i === 60 ? [row(i, 'changed')] : i === 4 ? [] : [each]))
    await assertRows(setting, expected)
    assert.equal(followed(setting), 1)
    await world.check('at the end')
  })

  it('rows that it deletes are gone; changes of the source to them are no error', async () => {
    using setting = await someRows(seededRandom(2))
    const { world, other } = setting
    const tenth = byKey(
      (i) => i % 10 === 0,
      () => null,
    )
    await overtaken(setting, [update(10, 'changed'), remove(20), update(11, 'changed')], () =>
      other.change('shop', 'long', tenth),
    )
    world.history.add([remove(30), update(40, 'changed')])
    const deleted = (i: number): boolean => i % 10 === 0 && i !== 10 && i !== 40
    const changed = (i: number): string => ([10, 11, 40].includes(i) ? 'changed' : 'new')
    await assertRows(
      setting,
      rows(0, 100).flatMap((_, i) => (deleted(i) ? [] : [row(i, changed(i))])),
    )
  })

  it('a delete of its own and one of ours in the same file are both in the vector', async () => {
    using setting = await someRows(seededRandom(3))
    const { other } = setting
    const two = byKey(
      (i) => i === 2 || i === 5,
      () => null,
    )
    await overtaken(setting, [remove(1), remove(2)], () => other.change('shop', 'long', two))
    await assertRows(
      setting,
      rows(0, 100).filter((_, i) => ![1, 2, 5].includes(i)),
    )
  })

  it('rows that it adds: the last writer of a key wins', async () => {
    using setting = await someRows(seededRandom(4))
    const { world, other } = setting
    const added = [1, 2, 3, 4, 100, 200, 201].map((i) => row(i, 'foreign'))
    await overtaken(setting, [update(1, 'changed'), remove(2), ...inserts(100, 101)], () => other.append('shop', 'long', added))
    // Rows of the source come under keys that are taken.
    world.history.add([...inserts(200, 201), update(3, 'later')])
    const expected = new Map(rows(0, 101).map((each, i) => [i, each]))
    for (const [i, text] of [
      [1, 'changed'],
      [3, 'later'],
      [4, 'foreign'],
      [200, 'new'],
      [201, 'foreign'],
    ] as const) {
      expected.set(i, row(i, text))
    }
    expected.delete(2)
    await assertRows(setting, [...expected.values()])
  })

  it('rows that it updates', async () => {
    using setting = await someRows(seededRandom(5))
    const { other } = setting
    const four = byKey(
      (i) => i < 4,
      ([, ...rest]) => ['foreign', ...rest],
    )
    await overtaken(setting, [update(1, 'changed'), remove(2)], () => other.change('shop', 'long', four))
    const expected = new Map(rows(0, 100).map((each, i) => [i, i < 4 ? row(i, 'foreign') : each]))
    expected.set(1, row(1, 'changed'))
    expected.delete(2)
    await assertRows(setting, [...expected.values()])
  })

  it('what it did while we were away', async () => {
    using setting = await someRows(seededRandom(6))
    const { world, process, other } = setting
    await process.close()
    await other.change(
      'shop',
      'long',
      byKey(
        (i) => i === 7,
        () => null,
      ),
    )
    await other.append('shop', 'long', [row(300, 'foreign')])
    await other.rewrite('shop', 'long')
    await other.expire('shop', 'long')
    world.history.add([update(7, 'changed'), ...inserts(300, 301)])
    const next = await world.start(new Gate())
    await assertRows({ ...setting, process: next }, [
      ...rows(0, 100).map((each, i) => (i === 7 ? row(7, 'changed') : each)),
      row(300),
    ])
  })

  it('it commits before a layout that was asked for is in the lake: files by that layout arrive in it', async () => {
    using setting = await someRows(seededRandom(11))
    const { world, process, other } = setting
    await process.close()
    const settings: TableSettings = { 'shop.long': { partitionBy: [parsePartition('bucket(2, k0)')], sortBy: [parseSort('k0')] } }
    const next = await world.start(new Gate(), { tables: settings, onEvent: (event) => setting.events.push(event) })
    const renewed = { ...setting, process: next }
    await overtaken(renewed, [update(3, 'changed'), ...inserts(100, 120)], async () => {
      await other.setProperty('shop', 'long', 'owner', 'somebody')
    })
    assert.equal(followed(renewed), 1)
    assert.equal(next.failure, null)
    const expected = rows(0, 120).map((each, i) => (i === 3 ? row(3, 'changed') : each))
    assert.deepEqual(textOf(await other.rows('shop', 'long')), textOf(expected))
    const files = await (await other.load('shop', 'long')).files()
    assert.deepEqual(
      files.map(({ partition, sortOrderId }) => [partition?.specId, sortOrderId]).filter(([spec]) => spec !== 0),
      [
        [1, 1],
        [1, 1],
      ],
    )
    await world.check('at the end')
  })

  it('a table that nothing happens in', async () => {
    using setting = await someRows(seededRandom(7))
    const { process, other } = setting
    await other.change(
      'shop',
      'long',
      byKey(
        (i) => i < 50,
        () => null,
      ),
    )
    await process.pipeline.flush()
    assert.deepEqual(await process.viewRows('long'), textOf(rows(50, 100)))
  })

  it('files that are being taken over are not rewritten before they are in the table', async () => {
    // Nothing but a file of its own is out of order, and its keys are looked up in several slices.
    const tables: TableSettings = { 'shop.long': { sortBy: [parseSort('k0')] } }
    using setting = await someRows(seededRandom(17), { tables })
    const { process, other } = setting
    const count = 60_000
    await other.append('shop', 'long', [...rows(90, 100), ...rows(100, 100 + count)])
    await process.pipeline.flush()
    assert.equal(followed(setting), 1)
    assert.equal((await process.viewRows('long')).length, 100 + count)
    await process.close()
    assert.equal(process.failure, null)
  })

  it('our rewrite gives way to its, and is made again', async () => {
    using setting = await someRows(seededRandom(8), { compaction: undefined })
    const { world, process, other } = setting
    world.history.add([remove(1)])
    await reached(setting)
    const optimized = process.pipeline.optimize('shop', 'long')
    await other.change(
      'shop',
      'long',
      byKey(
        (i) => i === 99,
        () => null,
      ),
    )
    await optimized
    await assertRows(
      setting,
      rows(0, 99).filter((_, i) => i !== 1),
    )
  })

  it('a table that cannot be read any more, or is gone: detached, and the others go on, also after a restart', async () => {
    for (const isGone of [true, false]) {
      using setting = await someRows(seededRandom(10))
      const { world, process, other } = setting
      await other.setProperty('shop', 'long', 'owner', 'somebody')
      if (isGone) await other.drop('shop', 'long')
      else await other.spoil('shop', 'long')
      for (const each of [process, null]) {
        const running = each ?? (await world.start(new Gate()))
        world.history.add([...inserts(100, 110), { op: 'insert', table: 'none', row: ['a', 1] }])
        world.history.add([remove(100)])
        assert.ok(await running.catchUp(), running.failure?.stack)
        assert.ok((await running.viewRows('none')).length > 0)
        assert.equal(running.failure, null)
        const long = (await running.pipeline.status()).tables.find(({ table }) => table === 'long')
        assert.notEqual(long?.health, 'streaming')
        if (each && !isGone) await assert.rejects(running.pipeline.resync('shop', 'long'), { kind: 'corrupt' })
        await running.close()
        for (let i = 100; i < 110; i++) if (i > 100) world.history.add([remove(i)])
      }
    }
  })

  for (const [what, change, reason] of [
    ['a rollback', (other: ForeignEngine) => other.rollBack('shop', 'long'), /rolled back/],
    [
      'other columns',
      (other: ForeignEngine) => other.addColumn('shop', 'long', { name: 'x', type: { kind: 'long' }, required: false }),
      /columns/,
    ],
  ] as const) {
    it(`${what}: the table is detached with a sentence, and the others go on`, async () => {
      using setting = await someRows(seededRandom(9))
      const { world, process, other } = setting
      await change(other)
      world.history.add([...inserts(100, 110), { op: 'insert', table: 'none', row: ['a', 1] }])
      await reached(setting)
      const long = (await process.pipeline.status()).tables.find(({ table }) => table === 'long')
      assert.equal(long?.health, 'detached')
      assert.match(long?.reason ?? '', reason)
      assert.equal((await process.viewRows('none')).length, 1)
      assert.equal(process.failure, null)
    })
  }
})
