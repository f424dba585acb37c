import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import { MemoryCatalog } from '../../src/iceberg/index.ts'
import type { Catalog, CatalogCommit, TableName } from '../../src/iceberg/index.ts'
import type { EngineEvent } from '../../src/observe/index.ts'
import type { SimulatedChange } from '../../src/source/simulated/index.ts'
import { ForeignEngine } from '../support/foreign-engine.ts'
import { Gate } from './faults.ts'
import { newHistory } from './random-history.ts'
import { World } from './world.ts'
import type { Process } from './world.ts'

const inserts = (from: number, to: number): SimulatedChange[] =>
  Array.from({ length: to - from }, (_, i) => ({ op: 'insert', table: 'long', row: ['new', BigInt(from + i), from + i] }))
const elsewhere: SimulatedChange = { op: 'insert', table: 'none', row: ['a', 1] }

/** A catalog in which tables are not looked at after each commit: other engines may do what we would not. */
function unchecked({ catalog }: World): Catalog {
  const commit = (changes: CatalogCommit): Promise<void> => MemoryCatalog.prototype.commit.call(catalog, changes)
  const load = (table: TableName): ReturnType<Catalog['load']> => catalog.load(table)
  return { ...catalog, commit, load }
}

/** A lake with rows 0 to 49 of the table `long`; its process has ended. */
async function left(seed: number): Promise<{ world: World; other: ForeignEngine } & Disposable> {
  const random = seededRandom(seed)
  const world = new World(newHistory(random, 0), random)
  const process = await world.start(new Gate())
  world.history.add(inserts(0, 50))
  assert.ok(await process.catchUp(), process.failure?.stack)
  await process.close()
  return {
    world,
    other: new ForeignEngine({ store: world.store, random: world.random, catalog: unchecked(world) }),
    [Symbol.dispose]: () => world[Symbol.dispose](),
  }
}

async function healthOf(process: Process): Promise<readonly [string | undefined, string]> {
  const table = (await process.pipeline.status()).tables.find((each) => each.table === 'long')
  return [table?.health, table?.reason ?? '']
}

const changes: readonly (readonly [string, (other: ForeignEngine) => Promise<void>])[] = [
  ['a column has come', (other) => other.addColumn('shop', 'long', { name: 'x', type: { kind: 'double' }, required: false })],
  ['a column has gone', (other) => other.dropColumn('shop', 'long', 'v')],
  ['columns have another order', (other) => other.reorder('shop', 'long', ['n', 'k0', 'v'])],
  ['a column has another name', (other) => other.renameColumn('shop', 'long', 'v', 'w')],
]

describe('what others did while we were away, and what we cannot follow', () => {
  for (const [what, change] of changes) {
    it(`${what}: the table is detached at the start, and the others go on`, async () => {
      using lake = await left(21)
      const { world, other } = lake
      await change(other)
      const before = await other.rows('shop', 'long')
      const told: string[] = []
      const onEvent = (event: EngineEvent): void => {
        if (event.type === 'error') told.push(event.code)
      }
      for (let life = 0; life < 2; life++) {
        const process = await world.start(new Gate(), { onEvent })
        world.history.add([...inserts(100 + life * 10, 105 + life * 10), elsewhere])
        assert.ok(await process.catchUp(), process.failure?.stack)
        const [health, reason] = await healthOf(process)
        assert.equal(health, 'detached')
        assert.match(reason, /columns of shop\.long were changed by another program/)
        assert.equal((await process.viewRows('long')).length, 50)
        assert.equal((await process.viewRows('none')).length, life + 1)
        await process.close()
        assert.equal(process.failure, null)
      }
      assert.deepEqual(told, ['foreign-schema'], 'it is told once')
      assert.deepEqual(await other.rows('shop', 'long'), before, 'nothing was written into other columns')
    })
  }

  it('a type that we do not know: the table is detached at the start, and the others go on', async () => {
    using lake = await left(20)
    const { world, other } = lake
    await other.edit('shop', 'long', (text) => text.replaceAll('"type":"double"', '"type":"timestamp_ns"'))
    const told: string[] = []
    const onEvent = (event: EngineEvent): void => {
      if (event.type === 'error') told.push(event.code)
    }
    for (let life = 0; life < 2; life++) {
      const process = await world.start(new Gate(), { onEvent })
      world.history.add([...inserts(100 + life * 10, 105 + life * 10), elsewhere])
      assert.ok(await process.catchUp(), process.failure?.stack)
      assert.notEqual((await healthOf(process))[0], 'streaming')
      assert.equal((await process.viewRows('none')).length, life + 1)
      await process.close()
      assert.equal(process.failure, null)
    }
    assert.deepEqual(told, ['unsupported-type'])
  })

  it('such a table is copied anew when somebody asks', async () => {
    using lake = await left(22)
    const { world, other } = lake
    await other.reorder('shop', 'long', ['n', 'k0', 'v'])
    const process = await world.start(new Gate())
    world.history.add(inserts(100, 105))
    assert.ok(await process.catchUp(), process.failure?.stack)
    await process.pipeline.resync('shop', 'long')
    for (let turn = 0; turn < 2000 && (await healthOf(process))[0] !== 'streaming'; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    world.history.add(inserts(200, 201))
    assert.ok(await process.catchUp(), process.failure?.stack)
    await process.checkViews()
    await process.close()
    await world.check('at the end')
  })

  it('everything stops when it is to: on-error is stop', async () => {
    using lake = await left(23)
    await lake.other.dropColumn('shop', 'long', 'v')
    const process = await lake.world.start(new Gate(), { onError: 'stop' })
    // What fails at the start is told a turn later.
    await new Promise((resolve) => setTimeout(resolve, 1))
    assert.match(process.failure?.message ?? '', /columns of shop\.long/)
  })

  it('a table that was made anew, or replaced, under its name: nothing is written into it', async () => {
    const row = ['foreign', 900n, 1]
    for (const isSame of [true, false]) {
      using lake = await left(24)
      const { world, other } = lake
      await (isSame ? other.replace('shop', 'long', row) : other.makeAnew('shop', 'long', row))
      const before = await other.rows('shop', 'long')
      assert.equal(before.length, 1)
      world.history.add(inserts(100, 105))
      const process = await world.start(new Gate())
      await new Promise((resolve) => setTimeout(resolve, 1))
      assert.match(process.failure?.message ?? '', /was replaced by another program/)
      assert.deepEqual(await other.rows('shop', 'long'), before)
    }
  })

  it('rows that others added before they expired all of our snapshots are no replaced table', async () => {
    using lake = await left(25)
    const { world, other } = lake
    await other.append('shop', 'long', [['foreign', 900n, 1]])
    await other.expire('shop', 'long')
    const process = await world.start(new Gate())
    world.history.add(inserts(100, 105))
    assert.ok(await process.catchUp(), process.failure?.stack)
    assert.equal((await process.viewRows('long')).length, 56)
    assert.deepEqual(await healthOf(process), ['streaming', ''])
    await process.close()
  })
})

describe('what others do while we run, and what we cannot follow', () => {
  it('a column that came and went leaves its id behind: the table is detached', async () => {
    using lake = await left(26)
    const { world, other } = lake
    const process = await world.start(new Gate())
    world.history.add([elsewhere])
    assert.ok(await process.catchUp(), process.failure?.stack)
    await other.addColumn('shop', 'long', { name: 'x', type: { kind: 'double' }, required: false })
    await other.dropColumn('shop', 'long', 'x')
    world.history.add([...inserts(100, 105), elsewhere])
    assert.ok(await process.catchUp(), process.failure?.stack)
    assert.equal((await healthOf(process))[0], 'detached')
    await process.close()
    assert.equal(process.failure, null)
  })

  it('a comment on a column is nothing to us', async () => {
    using lake = await left(29)
    const { world, other } = lake
    let process = await world.start(new Gate())
    world.history.add([elsewhere])
    assert.ok(await process.catchUp(), process.failure?.stack)
    for (let life = 0; life < 2; life++) {
      await other.comment('shop', 'long', 'v', `what it is ${life}`)
      world.history.add([...inserts(100 + life * 10, 105 + life * 10), elsewhere])
      if (life === 1) process = await world.start(new Gate())
      assert.ok(await process.catchUp(), process.failure?.stack)
      assert.deepEqual(await healthOf(process), ['streaming', ''])
      await process.close()
      assert.equal(process.failure, null)
      const { schema } = await world.table('long')
      assert.equal(schema.fields[0].doc, `what it is ${life}`)
      await world.check(`life ${life}`)
    }
  })

  it('files and folders beyond the warehouse: the table is detached, and the others go on', async () => {
    for (const isFile of [true, false]) {
      using lake = await left(27)
      const { world, other } = lake
      let process = await world.start(new Gate())
      world.history.add([elsewhere])
      assert.ok(await process.catchUp(), process.failure?.stack)
      if (isFile) await other.addOutside('shop', 'long', [['foreign', 900n, 1]], `${world.folder}/elsewhere`)
      else await other.setLocation('shop', 'long', `${world.folder}/elsewhere`)
      for (let life = 0; life < 2; life++) {
        world.history.add([...inserts(100 + life * 10, 105 + life * 10), elsewhere])
        assert.ok(await process.catchUp(), process.failure?.stack)
        const health = (await healthOf(process))[0]
        assert.notEqual(health, 'streaming')
        assert.equal((await process.viewRows('none')).length, life + 2)
        await process.close()
        assert.equal(process.failure, null)
        process = await world.start(new Gate())
      }
      await process.close()
    }
  })

  it('a place for metadata where nothing can be written is not used', async () => {
    using lake = await left(28)
    const { world, other } = lake
    const process = await world.start(new Gate())
    await other.edit('shop', 'long', (text) =>
      text.replace('"properties":{', `"properties":{"write.metadata.path":"s3://bucket/x",`),
    )
    world.history.add(inserts(100, 105))
    assert.ok(await process.catchUp(), process.failure?.stack)
    assert.deepEqual(await healthOf(process), ['streaming', ''])
    const { metadataLocation, location } = await world.table('long')
    assert.ok(metadataLocation?.startsWith(`${location}/metadata/`))
    await process.close()
  })
})
