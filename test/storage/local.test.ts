import assert from 'node:assert/strict'
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { after, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import * as fc from 'fast-check'
import { FrazilError } from '../../src/base/index.ts'
import { LocalStore, localPath, locationSegment, openStore } from '../../src/storage/index.ts'
import type { PutOptions } from '../../src/storage/index.ts'
import { rejectsWith, storeConformance } from '../conformance/store.ts'

const scratch = mkdtempSync(join(tmpdir(), 'frazil-store-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
let stores = 0
const fresh = (): string => join(scratch, String(stores++), 'lake')
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

storeConformance('local disk', async () => {
  const directory = fresh()
  return { store: new LocalStore(directory), again: openStore(`file://${directory}`) }
})

storeConformance('local disk, odd directory', async () => {
  const directory = join(fresh(), "it's [my] lake 日本*")
  return { store: new LocalStore(directory), again: openStore(directory) }
})

it('locations are literal paths', () => {
  assert.equal(localPath('file:///a b/ü%20'), '/a b/ü%20')
  assert.equal(localPath('file:/a/b'), '/a/b')
  assert.equal(localPath('/a/b'), '/a/b')
  assert.equal(openStore('/srv/x/../my lake/').root, 'file:///srv/my lake')
  for (const uri of ['s3://b/k', 'file://host/a', 'a/b', '', 'file:a'])
    assert.throws(
      () => localPath(uri),
      (error) => error instanceof FrazilError && error.code === 'not-local',
      uri,
    )
})

it('refuses warehouse paths that some reader cannot open, and unknown schemes', () => {
  for (const path of ['/a"b', '/a#b', '/a?b', '/a%20b', '/a\\b', '/a\nb', 'lake', './lake', '/', 'file:///'])
    assert.throws(
      () => openStore(path),
      (error) => error instanceof FrazilError && error.code === 'warehouse-path',
      path,
    )
  assert.throws(
    () => openStore('ftp://host/x'),
    (error) => error instanceof FrazilError && error.code === 'unknown-scheme',
  )
})

it('makes safe and different segments of names', () => {
  assert.equal(locationSegment('orders'), 'orders')
  assert.equal(locationSegment('order_items-2.v1'), 'order_items-2.v1')
  for (const name of ['Orders', '..', '.', '', 'a/b', 'Odd "Name"', '日本', 'x'.repeat(300), locationSegment('Orders')])
    assert.match(locationSegment(name), /^[a-z0-9_-]*-x[0-9a-f]{16}$/)
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (a, b) => {
      assert.match(locationSegment(a), /^[a-z0-9_-][a-z0-9_.-]{0,99}$/)
      assert.equal(locationSegment(a) === locationSegment(b), a === b)
    }),
  )
})

it('a crash leaves an unfinished file that is never listed and can be removed', async () => {
  const directory = fresh()
  const store = new LocalStore(directory)
  const writer = await store.writer(`${store.root}/t/x`)
  await writer.write(text('half'))
  const unfinished = join(directory, '.store', 'unfinished')
  const [name] = readdirSync(unfinished)
  assert.deepEqual(await Array.fromAsync(store.list(store.root)), [])
  assert.equal(await store.removeUnfinished(60_000), 0)
  utimesSync(join(unfinished, name), 1, 1)
  assert.equal(await store.removeUnfinished(60_000), 1)
  assert.deepEqual(readdirSync(unfinished), [])
  await rejectsWith(writer.close(), 'unavailable', 'disk-error')
  assert.equal(await store.head(`${store.root}/t/x`), null)
})

it('gives a replaced object a later time whatever the clock says, so that no etag comes twice', async () => {
  const directory = fresh()
  const store = new LocalStore(directory)
  const uri = `${store.root}/state`
  await store.put(uri, text('1'))
  const future = Math.floor(Date.now() / 1000) + 3600
  utimesSync(join(directory, 'state'), future, future)
  const before = await store.head(uri)
  const replaced = await store.put(uri, text('2'), { ifMatch: before?.etag })
  assert.ok(replaced.modifiedMs > future * 1000)
})

it('keeps no unfinished file after conflicts and failures', async () => {
  const directory = fresh()
  const store = new LocalStore(directory)
  await store.put(`${store.root}/x`, text('1'))
  await rejectsWith(store.put(`${store.root}/x`, text('2'), { ifAbsent: true }), 'conflict', 'object-exists')
  await rejectsWith(store.put(`${store.root}/x`, text('2'), { ifMatch: 'other' }), 'conflict', 'object-changed')
  await rejectsWith(store.put(`${store.root}/x/y`, text('2')), 'config', 'bad-path')
  await rejectsWith(store.put(`${store.root}/${'x'.repeat(300)}`, text('2')), 'config', 'bad-path')
  assert.deepEqual(readdirSync(join(directory, '.store', 'unfinished')), [])
})

it('reaches neither its own folder nor a tree behind a symbolic link when listing', async () => {
  const directory = fresh()
  const store = new LocalStore(directory)
  await store.put(`${store.root}/a/x`, text('1'))
  symlinkSync(directory, join(directory, 'a', 'loop'))
  assert.equal((await Array.fromAsync(store.list(store.root))).length, 1)
  await rejectsWith(store.get(`${store.root}/.store/lock`), 'config', 'outside-warehouse')
})

it('writes again into directories that were removed meanwhile', async () => {
  const directory = fresh()
  const store = new LocalStore(directory)
  await store.put(`${store.root}/a/b/x`, text('1'))
  rmSync(directory, { recursive: true })
  await store.put(`${store.root}/a/b/x`, text('2'), { ifAbsent: true })
  rmSync(join(directory, 'a'), { recursive: true })
  await store.put(`${store.root}/a/b/x`, text('3'))
  assert.deepEqual(await store.get(`${store.root}/a/b/x`), text('3'))
})

it('syncs each folder that got a name, once where puts follow each other, and none whose name is durable', async (t) => {
  if (process.platform !== 'linux') return t.skip('open files have no names here')
  const directory = fresh()
  const store = new LocalStore(directory)
  await store.put(`${store.root}/first`, text('1'))
  const file = await open(join(directory, 'first'))
  const prototype = Object.getPrototypeOf(file) as FileHandle
  await file.close()
  let synced: string[] = []
  t.mock.method(prototype, 'sync', function (this: FileHandle) {
    const name = readlinkSync(`/proc/self/fd/${this.fd}`)
    if (statSync(name).isDirectory()) synced.push(relative(directory, name))
    fsyncSync(this.fd)
    return Promise.resolve()
  })
  const folders = async (name: string, options: PutOptions): Promise<string[]> => {
    synced = []
    await store.put(`${store.root}/${name}`, text(name), options)
    return synced
  }
  const followed = { ifAbsent: true, followed: true }
  assert.deepEqual(await folders('ns/t/metadata/m', followed), ['ns/t', 'ns', ''])
  assert.deepEqual(await folders('ns/t/metadata/list', followed), [])
  assert.deepEqual(await folders('ns/t/metadata/v1', { ifAbsent: true }), ['ns/t/metadata'])
  assert.deepEqual(await folders('ns/t/data/d', {}), ['ns/t', 'ns/t/data'])
  assert.deepEqual(await folders('ns/u/metadata/m', {}), ['ns/u', 'ns', 'ns/u/metadata'])
  rmSync(join(directory, 'ns/t'), { recursive: true })
  assert.deepEqual(await folders('ns/t/other/x', {}), ['ns/t', 'ns', 'ns/t/other'])
})

it('says that the disk is full, and goes on once it is not', async (t) => {
  const directory = fresh()
  mkdirSync(directory, { recursive: true })
  const lines = await starved(
    ['-r', '-m', 'sh', '-c', 'mount -t tmpfs -o size=256k none "$1" && shift && exec "$@"', '-', directory],
    directory,
  )
  if (lines === null) return t.skip('no user namespaces with mounts here')
  assert.deepEqual(lines, ['put: unavailable disk-full', 'writer: unavailable disk-full', 'unfinished: 0', 'small: written'])
})

it('says which rights are missing', async (t) => {
  const directory = fresh()
  mkdirSync(directory, { recursive: true })
  chmodSync(directory, 0o500)
  const lines = await starved(['-U', '--map-user=1000', '--map-group=1000'], directory)
  if (lines === null) return t.skip('no user namespaces here')
  assert.deepEqual(lines, ['put: config no-access', 'writer: config no-access', 'unfinished: 0', 'small: config no-access'])
})

/** Output lines of starved.ts, run by unshare(1) with these arguments; null where that is not possible. */
async function starved(unshare: string[], directory: string): Promise<string[] | null> {
  if (spawnSync('unshare', [...unshare.slice(0, 2), 'true']).status !== 0) return null
  const script = fileURLToPath(new URL('./starved.ts', import.meta.url))
  const child = spawnSync('unshare', [...unshare, process.execPath, script, directory], { encoding: 'utf8' })
  assert.equal(child.status, 0, child.stderr)
  return child.stdout.trim().split('\n')
}

it('a file in the way of the warehouse is a matter of configuration', async () => {
  const directory = fresh()
  mkdirSync(join(directory, '..'), { recursive: true })
  writeFileSync(directory, 'a file')
  await rejectsWith(new LocalStore(directory).put(`file://${directory}/x`, text('1')), 'config', 'bad-path')
})

it('opens in a worker thread from the same string', async () => {
  const directory = fresh()
  const store = openStore(directory)
  await store.put(`${store.root}/x`, text('from main'))
  const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.module).then(async ({ openStore }) => {
      const store = openStore(workerData.directory)
      parentPort.postMessage(await store.get(store.root + '/x'))
    })`
  const module = new URL('../../src/storage/index.ts', import.meta.url).href
  const worker = new Worker(code, { eval: true, workerData: { module, directory } })
  const [bytes] = await once(worker, 'message')
  assert.deepEqual(bytes, text('from main'))
})

it('a process killed while writing leaves whole objects only, and all that it was told were durable', async () => {
  const directory = fresh()
  const store = new LocalStore(directory)
  const child = fork(new URL('./write-until-killed.ts', import.meta.url), [directory])
  const acknowledged: string[] = []
  child.on('message', (uri) => {
    acknowledged.push(uri as string)
    if (acknowledged.length === 20) child.kill('SIGKILL')
  })
  await once(child, 'exit')
  const listed = await Array.fromAsync(store.list(store.root))
  const uris = new Set(listed.map((info) => info.uri))
  assert.ok(acknowledged.every((uri) => uris.has(uri)))
  for (const { uri, size } of listed) {
    assert.equal(size, 300_000)
    assert.deepEqual(await store.get(uri), new Uint8Array(300_000).fill(Number(uri.split('/').at(-1)) & 0xff))
  }
  await store.removeUnfinished(-60_000)
  assert.deepEqual(readdirSync(join(directory, '.store', 'unfinished')), [])
})

it('counts right when processes increment one object by compare-and-set', async () => {
  const directory = fresh()
  const store = openStore(directory)
  const uri = `${store.root}/counter`
  await store.put(uri, text('0'))
  const children = [1, 2, 3].map(() => fork(new URL('./increment.ts', import.meta.url), [directory, uri, '20']))
  const codes = await Promise.all(children.map(async (child) => (await once(child, 'exit'))[0]))
  assert.deepEqual(codes, [0, 0, 0])
  assert.equal(new TextDecoder().decode(await store.get(uri)), '60')
})
