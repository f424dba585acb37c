import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FrazilError, seededRandom } from '../../src/base/index.ts'
import type { EngineEvent } from '../../src/observe/index.ts'
import type { SimulatedChange } from '../../src/source/simulated/index.ts'
import { Gate } from './faults.ts'
import { newHistory } from './random-history.ts'
import { HeldWorker, World } from './world.ts'
import type { Process } from './world.ts'

const key = (i: number): bigint => BigInt(i) + 1000n
const inserts = (from: number, to: number): SimulatedChange[] =>
  Array.from({ length: to - from }, (_, i) => ({ op: 'insert', table: 'long', row: ['new', key(from + i), from + i] }))
const updates = (keys: readonly number[], text: string): SimulatedChange[] =>
  keys.map((i) => ({ op: 'upsert', table: 'long', row: [text, key(i), i], mustExist: true }))
const deletes = (keys: readonly number[]): SimulatedChange[] =>
  keys.map((i) => ({ op: 'delete', table: 'long', old: [null, key(i), null], mustExist: true }))
const every = (step: number, from: number, to: number): number[] =>
  Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => from + i * step)

/** A world with rows 0 to 199 of the table `long` in four data files, some of them deleted. */
async function someFiles(world: World, settings: Parameters<World['start']>[1] = {}): Promise<Process> {
  const process = await world.start(new Gate(), settings)
  for (let i = 0; i < 4; i++) {
    world.history.add(inserts(i * 50, i * 50 + 50))
    assert.ok(await process.catchUp(), process.failure?.stack)
  }
  world.history.add([...deletes(every(7, 0, 200)), ...updates(every(7, 1, 200), 'changed')])
  assert.ok(await process.catchUp(), process.failure?.stack)
  return process
}

/** Rows that are in both, with what they had before: all must have it still. */
function assertKept(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): number {
  let same = 0
  for (const [row, lineage] of before) {
    if (!after.has(row)) continue
    assert.equal(after.get(row), lineage, row)
    same++
  }
  return same
}

describe('compaction', () => {
  it('iceberg checks 20, 21: rows keep their ids and when they were changed, also when they are rewritten again', async () => {
    const random = seededRandom(1)
    using world = new World(newHistory(random, 0), random)
    const process = await someFiles(world)
    const first = await world.lineage('long')
    await process.pipeline.optimize('shop', 'long')
    assert.deepEqual(await world.lineage('long'), first)
    assert.equal((await (await world.table('long')).files()).length, 1)
    // Now some rows have ids of their own, others those of their file.
    world.history.add([...inserts(200, 260), ...updates(every(5, 2, 200), 'again').filter(isThere)])
    assert.ok(await process.catchUp(), process.failure?.stack)
    const second = await world.lineage('long')
    assert.ok(assertKept(first, second) > 100)
    assert.equal(new Set([...second.values()].map((text) => text.split(',')[0])).size, second.size, 'row ids are unique')
    await process.pipeline.optimize('shop', 'long')
    assert.deepEqual(await world.lineage('long'), second)
    await process.close()
    await world.check('at the end')
  })

  it('iceberg checks 54, 82: vectors go with their files, and the summary counts what has changed', async () => {
    const random = seededRandom(2)
    using world = new World(newHistory(random, 0), random)
    const events: EngineEvent[] = []
    const process = await someFiles(world, { onEvent: (event) => events.push(event) })
    const before = await (await world.table('long')).files()
    const vectors = before.flatMap(({ deletionVector }) => deletionVector ?? [])
    assert.equal(vectors.length, 4)
    await process.pipeline.optimize('shop', 'long')
    const table = await world.table('long')
    const after = await table.files()
    assert.deepEqual(
      after.map(({ deletionVector }) => deletionVector),
      [null],
    )
    const records = (files: readonly { recordCount: number }[]): number => files.reduce((sum, file) => sum + file.recordCount, 0)
    const sizes = (sum: number, { fileSize }: { fileSize: number }): number => sum + fileSize
    const deleted = vectors.reduce((sum, { cardinality }) => sum + cardinality, 0)
    const { 'frazil.positions': positions, 'frazil.epoch': epoch, 'frazil.commit-id': commitId, ...summary } = table.summary ?? {}
    assert.deepEqual(summary, {
      operation: 'replace',
      'added-data-files': '1',
      'deleted-data-files': String(before.length),
      'removed-delete-files': '4',
      'removed-dvs': '4',
      'added-records': String(records(after)),
      'deleted-records': String(records(before)),
      'removed-position-deletes': String(deleted),
      'added-files-size': String(after.reduce(sizes, 0)),
      'removed-files-size': String(before.reduce(sizes, 0) + vectors.reduce((sum, { contentSize }) => sum + contentSize, 0)),
      'total-data-files': '1',
      'total-delete-files': '0',
      'total-records': String(records(after)),
      'total-position-deletes': '0',
      'total-equality-deletes': '0',
      'total-files-size': String(after.reduce(sizes, 0)),
    })
    assert.equal(records(after), records(before) - deleted)
    const { head } = world.history
    assert.deepEqual(Object.keys(JSON.parse(positions)), ['sim'])
    assert.deepEqual([JSON.parse(positions).sim.from, JSON.parse(positions).sim.to], [head, head])
    assert.ok(epoch !== undefined && commitId !== undefined)
    const told = events.find((event) => event.type === 'compacted')
    assert.deepEqual([told?.filesIn, told?.filesOut, told?.rows], [before.length, 1, records(after)])
    await process.pipeline.optimize('shop', 'long')
    assert.equal((await world.table('long')).currentSnapshotId, table.currentSnapshotId, 'there is nothing left to do')
    await process.close()
  })

  it('a table that rests has few small files in the end', async () => {
    const random = seededRandom(11)
    using world = new World(newHistory(random, 0), random)
    const compacted = Promise.withResolvers<void>()
    const onEvent = ({ type }: EngineEvent): void => void (type === 'compacted' && compacted.resolve())
    const process = await world.start(new Gate(), { restMs: 50, onEvent })
    // Fewer than are too many while it changes.
    for (let i = 0; i < 9; i++) {
      world.history.add(inserts(i * 20, i * 20 + 20))
      assert.ok(await process.catchUp(), process.failure?.stack)
    }
    const before = await world.lineage('long')
    const files = async (): Promise<number> => (await (await world.table('long')).files()).length
    await compacted.promise
    while ((await files()) >= 8) await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(await world.lineage('long'), before)
    await process.close()
    await world.check('at the end')
  })

  it('iceberg check 72: takes its deletes along that come while it runs, and lands under continuous updates', async () => {
    const random = seededRandom(3)
    using world = new World(newHistory(random, 0), random)
    const thread = new HeldWorker()
    let compacted = 0
    const onEvent = ({ type }: EngineEvent): void => void (compacted += Number(type === 'compacted'))
    const process = await someFiles(world, { compaction: thread, onEvent })
    const started = await world.lineage('long')
    const optimized = process.pipeline.optimize('shop', 'long')
    while (!thread.isAsked) await new Promise((resolve) => setImmediate(resolve))
    // Deletes in the lake, in several commits; the last of one file's rows among them.
    for (let round = 0; round < 5; round++) {
      world.history.add([
        ...deletes(every(7, 2 + round, 50)),
        ...updates(every(7, 51 + round, 150).filter(isThereNumber), `round ${round}`),
      ])
      assert.ok(await process.catchUp(), process.failure?.stack)
    }
    const before = await world.lineage('long')
    assert.ok(assertKept(started, before) > 10)
    // And deletes that are in no lake commit when it lands.
    const done = new AbortController()
    thread.release()
    const writing = (async () => {
      for (let i = 300; !done.signal.aborted; i++) {
        world.history.add([...inserts(i, i + 1), ...updates([199], `at ${i}`)])
        await new Promise((resolve) => setImmediate(resolve))
        if (i % 4 === 0) await process.pipeline.flush()
      }
    })()
    await optimized
    done.abort()
    await writing
    assert.ok(compacted > 0, 'it landed')
    assert.ok(await process.catchUp(), process.failure?.stack)
    await process.checkViews()
    assertKept(before, await world.lineage('long'))
    await world.check('at the end')
    await process.close()
    assert.equal(process.failure, null)
  })

  it('gives up what a truncate has overtaken, and a table without rows has nothing to rewrite', async () => {
    const random = seededRandom(4)
    using world = new World(newHistory(random, 0), random)
    const thread = new HeldWorker()
    const process = await someFiles(world, { compaction: thread })
    const optimized = process.pipeline.optimize('shop', 'long')
    while (!thread.isAsked) await new Promise((resolve) => setImmediate(resolve))
    world.history.add([{ op: 'truncate', table: 'long' }, ...inserts(500, 510)])
    assert.ok(await process.catchUp(), process.failure?.stack)
    thread.release()
    await optimized
    assert.equal((await world.lineage('long')).size, 10)
    world.history.add(deletes(every(1, 500, 510)))
    assert.ok(await process.catchUp(), process.failure?.stack)
    await process.pipeline.optimize('shop', 'long')
    assert.equal((await world.lineage('long')).size, 0)
    await process.checkViews()
    await process.close()
    await world.check('at the end')
  })

  it('merges small files by itself when there are many', async () => {
    const random = seededRandom(5)
    using world = new World(newHistory(random, 0), random)
    const process = await world.start(new Gate())
    for (let i = 0; i < 60; i++) {
      world.history.add(inserts(i, i + 1))
      assert.ok(await process.catchUp(), process.failure?.stack)
    }
    while ((await (await world.table('long')).files()).length > 24) await new Promise((resolve) => setTimeout(resolve, 1))
    await process.checkViews()
    await process.close()
    await world.check('at the end')
  })

  for (const fault of ['uncertain-done', 'uncertain-undone'] as const) {
    it(`goes on when the answer to a rewrite is lost and nothing answers for long after it: ${fault}`, async () => {
      const random = seededRandom(8)
      using world = new World(newHistory(random, 0), random)
      const process = await someFiles(world)
      const { gate } = process
      // Each commit has a metadata file to forget, and so a record of it.
      await world.foreignCommit('long', { 'write.metadata.previous-versions-max': '1' })
      world.history.add(inserts(300, 301))
      assert.ok(await process.catchUp(), process.failure?.stack)
      // More calls than one attempt makes, and the look behind it.
      gate.afterLoss = async () => void (gate.unanswered = 20)
      gate.arm(fault, /commit of 1 tables/)
      await process.pipeline.optimize('shop', 'long')
      assert.notEqual(gate.met, null)
      assert.equal(gate.unanswered, 0)
      for (let i = 0; i < 3; i++) {
        world.history.add(inserts(310 + i, 311 + i))
        assert.ok(await process.catchUp(), process.failure?.stack)
        await process.checkViews()
      }
      await process.close()
      assert.equal(process.failure, null)
      await world.check('at the end')
    })
  }

  it('ends with the pipeline before it has begun', async () => {
    const random = seededRandom(7)
    using world = new World(newHistory(random, 0), random)
    const process = await someFiles(world, { commitEveryMs: 3_600_000 })
    world.history.add(inserts(600, 610))
    const asked = Promise.allSettled(Array.from({ length: 3 }, () => process.pipeline.optimize('shop', 'long')))
    await process.close()
    for (const result of await asked) {
      if (result.status === 'rejected') assert.ok(result.reason instanceof FrazilError && result.reason.code === 'closed')
    }
    assert.equal(process.failure, null)
    await world.check('at the end')
  })

  it('says which tables it does not know, and ends with the pipeline', async () => {
    const random = seededRandom(6)
    using world = new World(newHistory(random, 0), random)
    const thread = new HeldWorker()
    const process = await someFiles(world, { compaction: thread })
    await assert.rejects(process.pipeline.optimize('shop', 'nope'), { kind: 'request', code: 'unknown-table' })
    const optimized = process.pipeline.optimize('shop', 'long')
    const ended = assert.rejects(optimized, (error) => error instanceof FrazilError && error.code === 'closed')
    while (!thread.isAsked) await new Promise((resolve) => setImmediate(resolve))
    const closing = process.close()
    thread.release()
    await Promise.all([closing, ended])
    assert.equal(process.failure, null)
    await world.check('at the end')
    for await (const { uri } of world.store.list(`${world.store.root}/shop/long/data`)) {
      const known = (await (await world.table('long')).files()).flatMap((file) => [file.path, file.deletionVector?.path])
      assert.ok(known.includes(uri), 'nothing is left of what was given up')
    }
  })
})

/** Every seventh row from the first on was deleted. */
function isThereNumber(i: number): boolean {
  return i % 7 !== 0
}

function isThere(change: SimulatedChange): boolean {
  return change.op !== 'upsert' || isThereNumber(Number(change.row[2]))
}
