import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FrazilError } from '../../src/base/index.ts'
import type { ErrorKind } from '../../src/base/index.ts'
import { locationSegment } from '../../src/storage/index.ts'
import type { ObjectInfo, ObjectStore } from '../../src/storage/index.ts'

/** Names that a table, column value or user may bring into a location below the root. */
const oddNames = [
  'with space',
  "quo'te",
  'brackets[1]*',
  'plus+and&=;,',
  'ünïcödé 日本',
  'a%20b',
  '~tilde',
  'x'.repeat(200),
  '.hidden',
]

export async function rejectsWith(promise: Promise<unknown>, kind: ErrorKind, code: string): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof FrazilError, String(error))
    assert.deepEqual([error.kind, error.code], [kind, code])
    return true
  })
}

/** What every object store must do. `open` gives an empty store; `again` another handle on the same objects, where there is one. */
export function storeConformance(name: string, open: () => Promise<{ store: ObjectStore; again: ObjectStore }>): void {
  describe(`object store: ${name}`, () => {
    it('gives back what was put, in one piece and in ranges', async () => {
      const { store, again } = await open()
      const uri = `${store.root}/ns/t/data/a.bin`
      const info = await store.put(uri, bytes(1000, 1))
      assert.equal(info.uri, uri)
      assert.equal(info.size, 1000)
      assert.deepEqual(await again.get(uri), bytes(1000, 1))
      assert.deepEqual(await again.get(uri, { offset: 10, length: 5 }), bytes(1000, 1).slice(10, 15))
      const reader = await again.reader(uri)
      const parts = await Promise.all([reader.read(10, 5), reader.read(999, 1), reader.read(0, 1000)])
      assert.deepEqual(parts, [bytes(1000, 1).slice(10, 15), bytes(1000, 1).slice(999), bytes(1000, 1)])
      await rejectsWith(reader.read(998, 3), 'corrupt', 'object-truncated')
      await reader.close()
      assert.deepEqual(await again.get(uri, { offset: 999, length: 1 }), bytes(1000, 1).slice(999))
      assert.deepEqual(await again.get(uri, { offset: 1000, length: 0 }), new Uint8Array(0))
      assert.deepEqual(await again.get(uri, { offset: -8, length: 8 }), bytes(1000, 1).slice(992))
      assert.deepEqual(await again.get(uri, { offset: -8, length: 4 }), bytes(1000, 1).slice(992, 996))
      assert.deepEqual(await again.get(uri, { offset: -8, length: 100 }), bytes(1000, 1).slice(992))
      assert.deepEqual(await again.get(uri, { offset: -5000, length: 5000 }), bytes(1000, 1))
      assert.deepEqual(await again.head(uri), info)
    })

    it('says when an object is shorter than what is asked for', async () => {
      const { store } = await open()
      const uri = `${store.root}/short`
      await store.put(uri, bytes(10, 1))
      await rejectsWith(store.get(uri, { offset: 5, length: 6 }), 'corrupt', 'object-truncated')
      await rejectsWith(store.reader(`${uri}-not`), 'corrupt', 'object-missing')
      await rejectsWith(store.get(uri, { offset: 11, length: 1 }), 'corrupt', 'object-truncated')
    })

    it('keeps nothing of the buffer it was given', async () => {
      const { store } = await open()
      const uri = `${store.root}/copied`
      const buffer = bytes(100, 1)
      await store.put(uri, buffer)
      buffer.fill(0)
      const got = await store.get(uri)
      assert.deepEqual(got, bytes(100, 1))
      got.fill(0)
      assert.deepEqual(await store.get(uri), bytes(100, 1))
    })

    it('takes views over shared memory', async () => {
      const { store } = await open()
      const shared = new Uint8Array(new SharedArrayBuffer(64), 8, 16).fill(7)
      await store.put(`${store.root}/shared`, shared)
      const writer = await store.writer(`${store.root}/streamed`)
      await writer.write(shared)
      await writer.close()
      assert.deepEqual(await store.get(`${store.root}/shared`), new Uint8Array(16).fill(7))
      assert.deepEqual(await store.get(`${store.root}/streamed`), new Uint8Array(16).fill(7))
    })

    it('stores empty objects', async () => {
      const { store } = await open()
      const uri = `${store.root}/empty`
      assert.equal((await store.put(uri, new Uint8Array(0))).size, 0)
      assert.equal((await store.get(uri)).length, 0)
      assert.equal((await store.get(uri, { offset: -8, length: 8 })).length, 0)
    })

    it('misses objects plainly', async () => {
      const { store } = await open()
      await store.put(`${store.root}/folder/x`, bytes(1, 1))
      for (const uri of [`${store.root}/nothing`, `${store.root}/folder`, `${store.root}/folder/x/y`]) {
        assert.equal(await store.head(uri), null, uri)
        await rejectsWith(store.get(uri), 'corrupt', 'object-missing')
      }
      await store.delete([`${store.root}/nothing`, `${store.root}/no/folder/x`])
      assert.deepEqual(await all(store, `${store.root}/nowhere`), [])
    })

    it('refuses names that are not plainly under its root', async () => {
      const { store } = await open()
      for (const uri of ['', store.root, `${store.root}/`, `${store.root}x/y`, `${store.root}/a/../../b`, `${store.root}/a//b`]) {
        await rejectsWith(
          store.put(uri, bytes(1, 1)),
          'config',
          uri === '' && store.root.startsWith('file:') ? 'not-local' : 'outside-warehouse',
        )
      }
      await rejectsWith(store.delete([`${store.root}/../outside`]), 'config', 'outside-warehouse')
    })

    it('creates only when absent, if asked', async () => {
      const { store } = await open()
      const uri = `${store.root}/once`
      await store.put(uri, bytes(3, 1), { ifAbsent: true })
      await rejectsWith(store.put(uri, bytes(3, 2), { ifAbsent: true }), 'conflict', 'object-exists')
      assert.deepEqual(await store.get(uri), bytes(3, 1))
      await store.put(uri, bytes(4, 3))
      assert.deepEqual(await store.get(uri), bytes(4, 3))
    })

    it('replaces only what was read, if asked', async () => {
      const { store } = await open()
      const uri = `${store.root}/state`
      await rejectsWith(store.put(uri, bytes(1, 1), { ifMatch: 'none' }), 'conflict', 'object-changed')
      const seen = new Set<string>()
      let etag = (await store.put(uri, bytes(5, 0))).etag
      for (let i = 1; i <= 50; i++) {
        const old = etag
        assert.ok(!seen.has(old), 'an etag comes once')
        seen.add(old)
        etag = (await store.put(uri, bytes(5, i), { ifMatch: old })).etag
        assert.equal((await store.head(uri))?.etag, etag)
        await rejectsWith(store.put(uri, bytes(5, 99), { ifMatch: old }), 'conflict', 'object-changed')
      }
      assert.deepEqual(await store.get(uri), bytes(5, 50))
    })

    it('lets exactly one of eight creators win', async () => {
      const { store, again } = await open()
      for (let round = 0; round < 10; round++) {
        const uri = `${store.root}/race/${round}`
        const wins = await winners(8, (i) => (i % 2 === 0 ? store : again).put(uri, bytes(2000, i), { ifAbsent: true }))
        assert.equal(wins.length, 1)
        assert.deepEqual(await store.get(uri), bytes(2000, wins[0]))
      }
    })

    it('lets exactly one of eight replacers win', async () => {
      const { store, again } = await open()
      const uri = `${store.root}/race`
      let { etag } = await store.put(uri, bytes(100, 100))
      for (let round = 0; round < 10; round++) {
        const expected = etag
        const wins = await winners(8, (i) => (i % 2 === 0 ? store : again).put(uri, bytes(100, i), { ifMatch: expected }))
        assert.equal(wins.length, 1)
        assert.deepEqual(await store.get(uri), bytes(100, wins[0]))
        etag = (await store.head(uri))?.etag ?? ''
      }
    })

    it('streams a big object, which exists only once it is closed', async () => {
      const { store, again } = await open()
      const uri = `${store.root}/big/file.parquet`
      const piece = bytes(1 << 20, 5)
      const writer = await store.writer(uri)
      for (let i = 0; i < 20; i++) {
        piece[0] = i
        await writer.write(piece)
      }
      assert.equal(await again.head(uri), null)
      assert.deepEqual(await all(again, `${store.root}/big`), [])
      assert.equal(await writer.close(), 20 << 20)
      assert.equal((await again.head(uri))?.size, 20 << 20)
      for (const i of [0, 7, 19]) assert.deepEqual(await again.get(uri, { offset: i << 20, length: 1 }), Uint8Array.of(i))
      assert.deepEqual(await again.get(uri, { offset: -10, length: 10 }), piece.slice(-10))
    })

    it('leaves nothing of an aborted write', async () => {
      const { store } = await open()
      const uri = `${store.root}/aborted/x`
      const writer = await store.writer(uri)
      await writer.write(bytes(1000, 1))
      await writer.abort()
      await writer.abort()
      assert.equal(await store.head(uri), null)
      assert.deepEqual(await all(store, store.root), [])
    })

    it('lists what is below a prefix, and nothing beside it', async () => {
      const { store } = await open()
      const uris = ['a/1', 'a/b/2', 'a/b/c/3', 'ab/4', '5'].map((path) => `${store.root}/${path}`)
      for (const uri of uris) await store.put(uri, bytes(uri.length, 1))
      assert.deepEqual((await all(store, store.root)).map(uriOf), [...uris].sort())
      assert.deepEqual((await all(store, `${store.root}/a`)).map(uriOf), uris.slice(0, 3).sort())
      assert.deepEqual((await all(store, `${store.root}/a/`)).map(uriOf), uris.slice(0, 3).sort())
      for (const found of await all(store, store.root)) assert.deepEqual(found, await store.head(found.uri))
      await store.delete(uris.slice(1))
      assert.deepEqual((await all(store, store.root)).map(uriOf), uris.slice(0, 1))
    })

    it('deletes many at once, some of them gone already', async () => {
      const { store } = await open()
      const uris = Array.from({ length: 60 }, (_, i) => `${store.root}/d/${i}`)
      for (const uri of uris.slice(0, 30)) await store.put(uri, bytes(1, 1))
      await store.delete(uris)
      assert.deepEqual(await all(store, store.root), [])
      await store.put(uris[0], bytes(1, 2))
      assert.deepEqual(await store.get(uris[0]), bytes(1, 2))
    })

    it('takes odd names as they are', async () => {
      const { store, again } = await open()
      const uris = [...oddNames.map((name) => `${store.root}/${name}/${name}`), `${store.root}/${locationSegment('a/b "c"')}/x`]
      for (const [i, uri] of uris.entries()) {
        await store.put(uri, bytes(i + 1, i))
        assert.deepEqual(await again.get(uri), bytes(i + 1, i), uri)
      }
      assert.deepEqual((await all(again, again.root)).map(uriOf), [...uris].sort())
      await store.delete(uris)
      assert.deepEqual(await all(store, store.root), [])
    })
  })
}

function bytes(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff)
}

function uriOf(info: ObjectInfo): string {
  return info.uri
}

async function all(store: ObjectStore, prefix: string): Promise<ObjectInfo[]> {
  const found = await Array.fromAsync(store.list(prefix))
  return found.sort((a, b) => (a.uri < b.uri ? -1 : 1))
}

/** Which of `count` simultaneous attempts succeeded; the others must fail with `conflict`. */
async function winners(count: number, attempt: (i: number) => Promise<unknown>): Promise<number[]> {
  const results = await Promise.allSettled(Array.from({ length: count }, (_, i) => attempt(i)))
  for (const result of results) {
    if (result.status === 'rejected')
      assert.equal(result.reason instanceof FrazilError && result.reason.kind, 'conflict', String(result.reason))
  }
  return results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []))
}
