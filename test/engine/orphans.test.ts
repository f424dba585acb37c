import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import { FileReaper, readersGraceMs } from '../../src/engine/file-reaper.ts'
import { findOrphans, orphanAgeMs } from '../../src/engine/orphans.ts'
import type { OrphanParts } from '../../src/engine/orphans.ts'
import { markOf, markedLake, markedRandom } from '../../src/engine/writer-mark.ts'
import { MemoryCatalog, createTable } from '../../src/iceberg/index.ts'
import type { DataFile, IcebergTable, TableUpdate } from '../../src/iceberg/index.ts'
import type { EngineEvent } from '../../src/observe/index.ts'
import { LocalStore } from '../../src/storage/index.ts'
import { SteadyClock, fields, nothing } from '../iceberg/lab.ts'

function silent({ type }: EngineEvent): never {
  assert.fail(`nothing is told: ${type}`)
}

const ours = markedLake('this lake')
const theirs = markedLake('another lake')

/** A lake on disk with one table, at an epoch, long after everything in it was written. */
class Scene {
  readonly folder: string
  readonly store: LocalStore
  readonly catalog = new MemoryCatalog()
  readonly clock = new SteadyClock()
  epoch = 7
  table: IcebergTable

  constructor(test: TestContext) {
    this.folder = mkdtempSync(join(tmpdir(), 'frazil-orphans-'))
    test.after(() => rmSync(this.folder, { recursive: true, force: true }))
    this.store = new LocalStore(this.folder)
    // Files have the real time.
    this.clock.ms = Date.now() + 2 * orphanAgeMs
    this.table = this.create('t', `${this.store.root}/db/t`)
  }

  create(name: string, location: string): IcebergTable {
    return createTable(this.parts(), { namespace: 'db', name, location, fields, key: [0], properties: {} })
  }

  parts(epoch = this.epoch - 1, lake = ours): { store: LocalStore; clock: SteadyClock; random: ReturnType<typeof seededRandom> } {
    const random = markedRandom(seededRandom(Math.floor(performance.now() * 1000)), { lake, epoch })
    return { store: this.store, clock: this.clock, random }
  }

  uuid(epoch = this.epoch - 1, lake = ours): string {
    return this.parts(epoch, lake).random.uuid()
  }

  async put(path: string): Promise<string> {
    const uri = `${this.table.location}/${path}`
    await this.store.put(uri, new Uint8Array(10))
    return uri
  }

  async file(epoch?: number, lake?: string): Promise<DataFile> {
    const path = await this.put(`data/${this.uuid(epoch, lake)}.parquet`)
    return { path, recordCount: 5, fileSize: 10, splitOffsets: [4], metrics: [] }
  }

  async commit(update: Partial<TableUpdate>): Promise<readonly string[]> {
    const { commit, next } = await this.table.prepare({ ...nothing, ...update })
    const { namespace, name, base, metadataLocation } = commit
    await this.catalog.commit({ tables: [{ namespace, name, base, next: metadataLocation }], states: [] })
    this.table = next
    return commit.unreferenced
  }

  async orphans(more: Partial<OrphanParts> = {}, location = this.table.location): Promise<string[]> {
    const { store, catalog, clock, epoch } = this
    const parts = { store, catalog, clock, mark: { lake: ours, epoch }, waiting: () => new Set<string>(), ...more }
    return (await findOrphans(parts, { namespace: 'db', name: 't' }, location)).map(({ uri }) => uri).sort()
  }
}

test('a name tells who gave it, and others’ names tell nothing', () => {
  const random = markedRandom(seededRandom(1), { lake: ours, epoch: 300 })
  const id = random.uuid()
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  const own = [
    `data/${id}.parquet`,
    `data/0123abcd/${id}.parquet`,
    `data/${id}-00012.parquet`,
    `data/${id}-deletes.puffin`,
    `metadata/${id}-m12.avro`,
    `metadata/snap-123-1-${id}.avro`,
    `metadata/00012-${id}.metadata.json`,
    `metadata/100012-${id}.gz.metadata.json`,
  ]
  for (const path of own) assert.deepEqual(markOf(path), { lake: ours, epoch: 300 }, path)
  const v4 = seededRandom(2).uuid()
  const others = [
    `data/${v4}.parquet`,
    `data/00000-0-${id}-0-00001.parquet`,
    `data/00000-0-${id}-00001-deletes.puffin`,
    `data/k=1/${id}.parquet.crc`,
    `data/${id}.parquet.tmp`,
    `data/_temporary/${id}.parquet`,
    `data/${id}`,
    `${id}.parquet`,
    `other/${id}.parquet`,
    `metadata/${v4}-m0.avro`,
    `metadata/snap-123-2-${id}.avro`,
    `metadata/optimized-m-${id}.avro`,
    `metadata/${id}.stats`,
    `metadata/version-hint.text`,
    `data/${id.toUpperCase()}.parquet`,
    `data/../data/${id}.parquet`,
  ]
  for (const path of others) assert.equal(markOf(path), null, path)
})

test('metadata files that have left the log are no orphans where they are to stay', async (t) => {
  for (const [deletes, count] of [
    ['true', 1],
    ['false', 0],
  ] as const) {
    const scene = new Scene(t)
    const properties = { 'write.metadata.delete-after-commit.enabled': deletes }
    await scene.commit({ added: [await scene.file()], properties })
    const left = await scene.put(`metadata/00000-${scene.uuid()}.metadata.json`)
    const others = await scene.put(`data/${scene.uuid()}.parquet`)
    assert.deepEqual(await scene.orphans(), [left, others].slice(count === 1 ? 0 : 1).sort())
  }
})

test('files beyond the warehouse are not ours to delete', async (t) => {
  const { store, catalog, clock } = new Scene(t)
  const within = [`${store.root}/db/t/data/a.parquet`, `${store.root.replace('file://', 'file:')}/db/t/data/b.parquet`]
  for (const uri of within) await store.put(uri, new Uint8Array(1))
  const reaper = new FileReaper('shop', { store, catalog, clock, emit: silent })
  reaper.later([
    ...within,
    'file:/elsewhere/c.parquet',
    '/elsewhere/d.parquet',
    's3://bucket/e.metadata.json',
    `${store.root}2/f.parquet`,
  ])
  clock.ms += readersGraceMs
  await reaper.reap()
  assert.equal(reaper.waiting.size, 0)
  for (const uri of within) assert.equal(await store.head(uri), null)
})

test('iceberg check 84: what dead processes left is found, and nothing else', async (t) => {
  const scene = new Scene(t)
  const live = await scene.file()
  await scene.commit({ added: [live] })
  const left = [
    (await scene.file()).path,
    await scene.put(`data/${scene.uuid()}-deletes.puffin`),
    await scene.put(`data/0123abcd/${scene.uuid()}.parquet`),
    await scene.put(`metadata/${scene.uuid()}-m0.avro`),
    await scene.put(`metadata/snap-5-1-${scene.uuid()}.avro`),
    await scene.put(`metadata/00009-${scene.uuid()}.metadata.json`),
  ]
  // Ours that may still come into a commit, another lake's, and other engines' of all kinds.
  await scene.file(scene.epoch)
  await scene.file(scene.epoch + 1)
  await scene.file(scene.epoch - 1, theirs)
  const v4 = seededRandom(5).uuid()
  for (const path of [
    `data/${v4}.parquet`,
    `data/00000-4-${v4}-0-00001.parquet`,
    `data/00000-4-${v4}-00001-deletes.puffin`,
    `data/_temporary/0/_temporary/attempt_1/part-00000-${v4}.parquet`,
    `metadata/${v4}-m0.avro`,
    `metadata/snap-77-1-${v4}.avro`,
    `metadata/00003-${v4}.metadata.json`,
    'notes.txt',
  ]) {
    await scene.put(path)
  }
  assert.deepEqual(await scene.orphans(), left.sort())
})

test('iceberg check 84: young files, files in their grace and files of retained snapshots are no orphans', async (t) => {
  const scene = new Scene(t)
  const [a, b, c] = [await scene.file(), await scene.file(), await scene.file()]
  await scene.commit({ added: [a, b] })
  await scene.commit({ removed: [a.path] })
  assert.deepEqual(await scene.orphans(), [c.path], 'a reader of an older snapshot needs the removed file')
  assert.deepEqual(await scene.orphans({ waiting: () => new Set([c.path]) }), [])
  // The clock was set back: everything is from the future.
  const { ms } = scene.clock
  scene.clock.ms = Date.now() - 10 * orphanAgeMs
  assert.deepEqual(await scene.orphans(), [])
  scene.clock.ms = Date.now() + orphanAgeMs / 2
  assert.deepEqual(await scene.orphans(), [])
  scene.clock.ms = ms
  assert.deepEqual(await scene.orphans(), [c.path])
  // A tag holds what main has given up.
  const retention = { maxSnapshots: 0, maxAgeMs: 0 }
  const freed = await scene.commit({ added: [await scene.file(scene.epoch)], retention })
  assert.ok(freed.includes(a.path))
  assert.deepEqual(await scene.orphans(), [a.path, c.path].concat(freed.filter((uri) => uri !== a.path)).sort())
})

test('iceberg check 84: orphans are found behind any number of files in use, and many of them one part after the other', async (t) => {
  const scene = new Scene(t)
  const left = new Set<string>()
  for (let i = 0; i < 12; i++) {
    if (i % 4 === 3) left.add((await scene.file()).path)
    else await scene.commit({ added: [await scene.file()] })
  }
  for (const most of [1, 2, 5]) {
    const found = await scene.orphans({ most })
    assert.ok(found.length >= 1 && found.length < most + 2 && found.every((uri) => left.has(uri)), `${most}: ${found.length}`)
  }
  assert.deepEqual(await scene.orphans({ most: 1, ending: AbortSignal.abort() }), [])
  for (let rounds = 1; left.size > 0; rounds++) {
    assert.ok(rounds <= 3)
    const found = await scene.orphans({ most: 1 })
    await scene.store.delete(found)
    for (const uri of found) assert.ok(left.delete(uri))
  }
  assert.deepEqual(await scene.orphans({ most: 1 }), [])
})

test('iceberg check 84: a commit that comes between the listing and the look at the table is seen', async (t) => {
  const scene = new Scene(t)
  const staged = await scene.file()
  await scene.commit({ added: [await scene.file()] })
  const load = scene.catalog.load.bind(scene.catalog)
  const catalog = Object.assign(Object.create(scene.catalog) as MemoryCatalog, {
    list: () => scene.catalog.list(),
    load: async (name: { namespace: string; name: string }) => {
      await scene.commit({ added: [staged] })
      return load(name)
    },
  })
  assert.deepEqual(await scene.orphans({ catalog }), [])
})

test('iceberg check 84: other tables’ folders are out of reach', async (t) => {
  const scene = new Scene(t)
  await scene.commit({ added: [await scene.file()] })
  const inName = `${scene.table.location}2/data/${scene.uuid()}.parquet`
  await scene.store.put(inName, new Uint8Array(10))
  assert.deepEqual(await scene.orphans(), [])
  // A table inside this one's folder: who could tell its files from ours?
  const orphan = await scene.file()
  assert.deepEqual(await scene.orphans(), [orphan.path])
  const inside = scene.create('inside', `${scene.table.location}/data/0123abcd`)
  const { commit } = await inside.prepare(nothing)
  await scene.catalog.commit({ tables: [{ ...commit, next: commit.metadataLocation }], states: [] })
  assert.deepEqual(await scene.orphans(), [])
})

test('iceberg check 84: a table that has moved or is gone is left alone', async (t) => {
  const scene = new Scene(t)
  await scene.commit({ added: [await scene.file()] })
  const orphan = await scene.file()
  assert.deepEqual(await scene.orphans(), [orphan.path])
  const elsewhere = scene.create('t', `${scene.store.root}/db/t-again`)
  const { commit } = await elsewhere.prepare(nothing)
  const base = scene.table.metadataLocation
  const change = { namespace: 'db', name: 't', base }
  await scene.catalog.commit({ tables: [{ ...change, next: commit.metadataLocation }], states: [] })
  assert.deepEqual(await scene.orphans(), [], 'another table has its name')
  await scene.catalog.commit({ tables: [{ ...change, base: commit.metadataLocation, next: null }], states: [] })
  assert.deepEqual(await scene.orphans(), [])
})

test('iceberg check 84: nothing is an orphan while a manifest cannot be read', async (t) => {
  const scene = new Scene(t)
  await scene.commit({ added: [await scene.file()] })
  await scene.file()
  for await (const { uri } of scene.store.list(`${scene.table.location}/metadata`)) {
    if (uri.includes('snap-')) await scene.store.delete([uri])
  }
  assert.deepEqual(await scene.orphans(), [])
})

test('symbolic links are not followed: what they name stays', async (t) => {
  const scene = new Scene(t)
  await scene.commit({ added: [await scene.file()] })
  const outside = join(scene.folder, 'outside')
  writeFileSync(outside, 'precious')
  const link = `${scene.table.location}/data/${scene.uuid()}.parquet`
  symlinkSync(outside, link.slice('file://'.length))
  const folder = await scene.store.put(`${scene.store.root}/elsewhere/${scene.uuid()}.parquet`, new Uint8Array(10))
  symlinkSync(join(scene.folder, 'elsewhere'), join(scene.table.location.slice('file://'.length), 'data', '0123abcd'))
  const found = await scene.orphans()
  assert.ok(found.every((uri) => uri === link))
  await scene.store.delete(found)
  assert.equal(Buffer.from(await scene.store.get(`${scene.store.root}/outside`)).toString(), 'precious')
  assert.ok(await scene.store.head(folder.uri))
})

test('files of expired snapshots outlive the readers’ grace across processes, not longer', async (t) => {
  const scene = new Scene(t)
  const { store, catalog, clock } = scene
  const uris = await Promise.all(['a', 'b', 'c'].map((name) => scene.put(`data/${name}.parquet`)))
  const alive = async (): Promise<number> => (await Promise.all(uris.map((uri) => store.head(uri)))).filter(Boolean).length
  const reaperOf = (source: string): FileReaper => new FileReaper(source, { store, catalog, clock, emit: silent })
  const commit = async (reaper: FileReaper, gone: readonly string[]): Promise<void> => {
    const note = await reaper.note(gone)
    await catalog.commit({ tables: [], states: note.states })
    note.landed()
  }
  const first = reaperOf('shop')
  await commit(first, [uris[0]])
  clock.ms += 60_000
  await commit(first, [uris[1]])
  const lost = await first.note([uris[2]])
  assert.ok(first.waiting.has(uris[2]), 'it may land')
  lost.failed()
  assert.deepEqual([...first.waiting], uris.slice(0, 2))

  // The process ends; another source's does not touch its files.
  clock.ms += 10
  const other = reaperOf('shops')
  await other.recover()
  assert.equal(other.waiting.size, 0)
  const second = reaperOf('shop')
  await second.recover()
  clock.ms += readersGraceMs - 60_000
  await second.reap()
  assert.equal(await alive(), 2, 'the first one’s time is over')
  clock.ms += 60_000
  await second.reap()
  assert.equal(await alive(), 1)
  assert.equal((await catalog.states('garbage/')).length, 2, 'with the next commit')
  await commit(second, [])
  assert.equal((await catalog.states('garbage/')).length, 0)
  // Their numbers come again.
  await commit(second, [uris[2]])
  assert.deepEqual(
    (await catalog.states('garbage/')).map(({ key }) => key),
    ['garbage/shop/0'],
  )

  // The clock was set back by a day: the grace is not longer for that.
  clock.ms -= 86_400_000
  const third = reaperOf('shop')
  await third.recover()
  clock.ms += readersGraceMs - 1
  await third.reap()
  assert.equal(await alive(), 1)
  clock.ms += 1
  await third.reap()
  assert.equal(await alive(), 0)
})

test('a file that cannot be deleted holds up no other, and goes when it can', async (t) => {
  const scene = new Scene(t)
  const { store, catalog, clock } = scene
  const told: string[] = []
  const emit = (event: EngineEvent): void => void (event.type === 'notice' && told.push(event.message))
  const reaper = new FileReaper('shop', { store, catalog, clock, emit })
  const commit = async (gone: readonly string[]): Promise<void> => {
    const note = await reaper.note(gone)
    await catalog.commit({ tables: [], states: note.states })
    note.landed()
  }
  const uris = await Promise.all(['a', 'b', 'c'].map((name) => scene.put(`data/${name}.parquet`)))
  const left = async (): Promise<boolean[]> => Promise.all(uris.map(async (uri) => (await store.head(uri)) !== null))
  // A folder in the place of a file; the one that another engine has brought in from elsewhere is left there.
  const stuck = await scene.put('data/stuck/file')
  const folder = stuck.slice(0, -'/file'.length)
  await commit([folder, 'file:///elsewhere/x.parquet', uris[0]])
  await commit([uris[1]])
  clock.ms += 60_000
  await commit([uris[2]])
  clock.ms += readersGraceMs - 60_000
  await reaper.reap()
  assert.deepEqual(await left(), [false, false, true])
  assert.ok(reaper.waiting.has(folder))
  assert.equal(told.length, 1)
  assert.match(told[0], /^source shop: of 2 files that no snapshot needs some could not be deleted: /)
  clock.ms += 60_000
  await reaper.reap()
  assert.deepEqual(await left(), [false, false, false])
  await commit([])
  assert.equal((await catalog.states('garbage/')).length, 1, 'a later process goes on with it')
})

test('a note of a newer version, or a damaged one, is left as it is', async (t) => {
  const scene = new Scene(t)
  const { store, catalog, clock } = scene
  const values = ['{"format":2}', 'nonsense', '{"format":1,"at":1,"uris":[1]}', 'null']
  const states = values.map((value, i) => ({ key: `garbage/shop/${i}`, expected: null, value }))
  await catalog.commit({ tables: [], states })
  const reaper = new FileReaper('shop', { store, catalog, clock, emit: silent })
  await reaper.recover()
  assert.equal(reaper.waiting.size, 0)
  const note = await reaper.note(['file:///x'])
  await catalog.commit({ tables: [], states: note.states })
  assert.equal((await catalog.states('garbage/shop/')).length, values.length + 1)
})
