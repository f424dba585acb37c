import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError } from '../../src/base/index.ts'
import { encodeJson, parseJson } from '../../src/format/json/index.ts'
import type { JsonObject } from '../../src/format/json/index.ts'
import { encodeDeletionVector, writePuffin } from '../../src/format/puffin/index.ts'
import { loadTable, readDeletionVector } from '../../src/iceberg/index.ts'
import type { TableUpdate } from '../../src/iceberg/index.ts'
import { decodeManifest, Status } from '../../src/iceberg/manifest.ts'
import { decodeManifestList } from '../../src/iceberg/manifest-list.ts'
import { MemoryStore } from '../../src/storage/index.ts'
import { StructureChecker } from '../support/structure/table.ts'
import { Lab } from './lab.ts'

/** What a table must look like: rows and deleted positions by data file. */
type Model = Map<string, { rows: number; deleted: Set<number> }>

/** Everything that the retained snapshots, the statistics and the metadata log refer to. */
async function reachable(lab: Lab): Promise<Set<string>> {
  const metadata = await lab.metadata()
  const paths = new Set([lab.pointer.metadataLocation, ...metadata.metadataLog.map((entry) => entry.metadataFile)])
  for (const snapshot of metadata.snapshots) {
    paths.add(snapshot.manifestList)
    for (const file of decodeManifestList(await lab.store.get(snapshot.manifestList))) {
      paths.add(file.path)
      for (const entry of decodeManifest(await lab.store.get(file.path), file).entries) {
        if (entry.status !== Status.deleted) paths.add(entry.file.path)
      }
    }
  }
  return paths
}

async function stored(lab: Lab): Promise<Set<string>> {
  const paths = new Set<string>()
  for await (const { uri } of lab.store.list(`${lab.table.location}/`)) paths.add(uri)
  return paths
}

/** That rows and deletes are the model's, as read without any cache. */
async function checkHead(lab: Lab, model: Model): Promise<void> {
  const files = await lab.live()
  assert.deepEqual(new Set(files.map((file) => file.path)), new Set(model.keys()))
  for (const file of files) {
    const expected = model.get(file.path)
    assert.equal(file.recordCount, expected?.rows)
    assert.equal(file.deletionVector?.cardinality ?? 0, expected?.deleted.size)
    if (file.deletionVector === null) continue
    const bits = await readDeletionVector(lab.store, file.deletionVector, file.recordCount)
    for (const position of expected?.deleted ?? []) assert.ok((bits[position >> 3] >> (position & 7)) & 1)
  }
}

type Step =
  | { kind: 'append'; files: number }
  | { kind: 'delete'; targets: readonly number[]; withFile: boolean }
  | { kind: 'remove'; targets: readonly number[]; rewrite: boolean }
  | { kind: 'properties' }
  | { kind: 'restart' }
  | { kind: 'failed' }

const targets = fc.array(fc.nat(1000), { minLength: 1, maxLength: 5 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('append' as const), files: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('delete' as const), targets, withFile: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), targets, rewrite: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ kind: 'properties' }, { kind: 'restart' }, { kind: 'failed' }) },
)

function liveRows(file: { rows: number; deleted: Set<number> } | undefined): number {
  return file ? file.rows - file.deleted.size : 0
}

async function updateOf(lab: Lab, model: Model, step: Step): Promise<{ update: Partial<TableUpdate>; next: Model }> {
  const next: Model = new Map([...model].map(([path, { rows, deleted }]) => [path, { rows, deleted: new Set(deleted) }]))
  const pick = (wanted: readonly number[]) => {
    const paths = [...model.keys()]
    return paths.length === 0 ? [] : [...new Set(wanted.map((each) => paths[each % paths.length]))]
  }
  const add = async (rows = 20) => {
    const file = lab.file(rows)
    await lab.store.put(file.path, new Uint8Array(1))
    next.set(file.path, { rows, deleted: new Set() })
    return file
  }
  switch (step.kind) {
    case 'append':
      return { update: { added: await Promise.all(Array.from({ length: step.files }, add)) }, next }
    case 'delete': {
      const removed: string[] = []
      const deletionVectors: Awaited<ReturnType<Lab['vector']>>[] = []
      for (const path of pick(step.targets)) {
        const file = next.get(path)
        if (file === undefined) continue
        file.deleted.add(file.deleted.size)
        if (file.deleted.size === file.rows) {
          removed.push(path)
          next.delete(path)
        } else deletionVectors.push(await lab.vector({ path, recordCount: file.rows }, [...file.deleted]))
      }
      return { update: { added: step.withFile ? [await add()] : [], removed, deletionVectors }, next }
    }
    case 'remove': {
      const removed = pick(step.targets)
      const live = removed.reduce((sum, path) => sum + liveRows(model.get(path)), 0)
      for (const path of removed) next.delete(path)
      return { update: { removed, added: step.rewrite && live > 0 ? [await add(live)] : [], rewrite: step.rewrite }, next }
    }
    default:
      return { update: { properties: { at: String(lab.clock.ms) } }, next }
  }
}

test('iceberg check 38: no file is live twice; check 82: totals equal a recount; check 83: expiry lists what is unreferenced, and only that', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 60 }),
      fc.integer({ min: 0, max: 4 }),
      async (steps, maxSnapshots) => {
        const lab = new Lab({ properties: { 'write.metadata.previous-versions-max': '2' } })
        const structure = new StructureChecker(lab.store, { namesOnly: true })
        let model: Model = new Map()
        const freed = new Set<string>()
        for (const each of steps) {
          lab.clock.ms += 1000
          if (each.kind === 'restart') {
            if (lab.table.metadataLocation !== null) lab.table = await lab.load()
            continue
          }
          const { update, next } = await updateOf(lab, model, each)
          const retention = { maxSnapshots, maxAgeMs: 1e9 }
          if (each.kind === 'failed') {
            // What a commit that lost the race has written goes at once; its plan has no other effect.
            const { commit } = await lab.prepare({ ...update, retention })
            await lab.store.delete(commit.written)
            continue
          }
          const before = await stored(lab)
          const commit = await lab.commit({ ...update, retention })
          const written = [...(await stored(lab)).difference(before)]
          assert.deepEqual(new Set(written), new Set(commit.written))
          model = next
          const live = await reachable(lab)
          for (const path of commit.unreferenced) {
            assert.ok(!live.has(path), 'a referenced file would be deleted')
            assert.ok(!freed.has(path), 'a file is listed twice')
            freed.add(path)
          }
          await lab.store.delete(commit.unreferenced)
          // Nothing is forgotten either: what is stored is what is referred to.
          await structure.check(commit.metadataLocation, { base: commit.base, mayRemain: () => false })
          if (lab.table.currentSnapshotId !== null) await checkHead(lab, model)
        }
      },
    ),
    { numRuns: 30 },
  )
})

test('iceberg check 83: what a tag names is kept until the tag is gone', async () => {
  const lab = new Lab()
  const [a, b] = [lab.file(10), lab.file(10)]
  const retention = { maxSnapshots: 1, maxAgeMs: 1e9 }
  await lab.commit({ added: [a, b], retention })
  const tagged = lab.table.currentSnapshotId
  const tag = `"refs":{"hourly":{"snapshot-id":${tagged},"type":"tag","max-ref-age-ms":5000},`
  const metadataLocation = `${lab.table.location}/metadata/00009-tagged.metadata.json`
  await lab.store.put(metadataLocation, Buffer.from((await lab.metadataJson()).replace('"refs":{', tag)))
  lab.table = await loadTable(lab.parts, { ...lab.pointer, metadataLocation })

  const next = async (update: Partial<TableUpdate>) => {
    const { commit, next } = await lab.prepare({ ...update, retention })
    lab.table = next
    return commit.unreferenced
  }
  const freed = [...(await next({ removed: [a.path] }))]
  const passing = await lab.vector(b, [1])
  freed.push(...(await next({ deletionVectors: [passing] })), ...(await next({ removed: [b.path] })))
  for (let i = 0; i < 3; i++) freed.push(...(await next({ added: [lab.file(1)] })))
  assert.ok(!freed.includes(a.path) && !freed.includes(b.path))
  // What came and went after the tag is free, though the tag holds older files back.
  assert.ok(freed.includes(passing.path))
  assert.equal((await lab.metadata()).snapshots[0].id, tagged)
  lab.clock.ms += 10_000
  const after = await next({ added: [lab.file(1)] })
  assert.ok(after.includes(a.path) && after.includes(b.path))
  assert.deepEqual(Object.keys((await lab.metadata()).refs), ['main'])
})

test('tags keep the last states of hours and days; what only an old one holds goes with it', async () => {
  const lab = new Lab()
  const structure = new StructureChecker(lab.store, { namesOnly: true })
  const retention = { maxSnapshots: 3, maxAgeMs: 600_000, hourly: 3, daily: 2 }
  lab.clock.ms = Date.UTC(2026, 10, 20, 20, 59)
  /** The state that each tag has to have. */
  const expected = new Map<string, bigint | null>()
  let vector: string | null = null
  const file = lab.file(1000)
  await lab.store.put(file.path, new Uint8Array(1))
  await lab.commit({ added: [file], retention })
  const deleted: number[] = []
  let lastMs = lab.clock.ms
  for (let i = 0; i < 80; i++) {
    // Some hours pass without a commit; and now and then the process starts anew, and knows nothing of what waits.
    lab.clock.ms += i === 40 ? 30 * 3_600_000 : 13 * 60_000
    if (i % 7 === 6) lab.table = await lab.load()
    const before = lab.table
    const committedAt = lastMs
    lastMs = lab.clock.ms
    deleted.push(i)
    const next = await lab.vector(file, deleted, vector)
    vector = next.path
    const added = lab.file(5)
    await lab.store.put(added.path, new Uint8Array(1))
    const commit = await lab.commit({ added: [added], deletionVectors: [next], retention })
    await lab.store.delete(commit.unreferenced)
    const { metadata } = await structure.check(commit.metadataLocation, { base: commit.base })
    const [was, is] = [new Date(committedAt), new Date(lastMs)].map((date) => date.toISOString())
    if (was.slice(0, 13) !== is.slice(0, 13))
      expected.set(`hourly-${was.slice(0, 13).replace('T', '-')}`, before.currentSnapshotId)
    if (was.slice(0, 10) !== is.slice(0, 10)) expected.set(`daily-${was.slice(0, 10)}`, before.currentSnapshotId)
    const newest = (kind: string, count: number) => [...expected.keys()].filter((name) => name.startsWith(kind)).slice(-count)
    const names = ['main', ...newest('hourly', 3), ...newest('daily', 2)]
    assert.deepEqual(Object.keys(metadata.refs).sort(), names.sort())
    for (const name of names) {
      if (name !== 'main') assert.equal(metadata.refs[name]['snapshot-id'], expected.get(name), name)
    }
    assert.ok(metadata.snapshots.length <= 1 + 3 + 3 + 2)
  }
  assert.ok(expected.size > 15)
  // Switched off, they go with the next commit.
  const plain = { maxSnapshots: 3, maxAgeMs: 600_000 }
  lab.table = await lab.load()
  await lab.commit({ added: [lab.file(5)], retention: { ...plain, daily: 1 } })
  assert.deepEqual(Object.keys((await lab.metadata()).refs).sort(), ['daily-2026-11-21', 'main'])
  await lab.commit({ added: [lab.file(5)], retention: plain })
  assert.deepEqual(Object.keys((await lab.metadata()).refs), ['main'])
})

for (const foreign of [0, 7]) {
  test(`nothing that was held by a tag stays behind while one process runs, ${foreign} commits of others among its own`, async () => {
    const lab = new Lab({ properties: { 'write.metadata.previous-versions-max': '2' } })
    const structure = new StructureChecker(lab.store, { namesOnly: true })
    const retention = { maxSnapshots: 2, maxAgeMs: 600_000, hourly: 2 }
    const live: ReturnType<Lab['file']>[] = []
    for (let i = 0; i < 60; i++) {
      lab.clock.ms += 11 * 60_000
      const added = lab.file(5)
      await lab.store.put(added.path, new Uint8Array(1))
      live.push(added)
      const removed = live.length > 4 ? live.splice(0, 1).map(({ path }) => path) : []
      const commit = await lab.commit({ added: [added], removed, retention })
      await lab.store.delete(commit.unreferenced)
      await structure.check(commit.metadataLocation, { base: commit.base, mayRemain: () => false })
      if (foreign === 0 || i % Math.floor(60 / foreign) !== 0) continue
      const before = lab.table
      const properties = { by: String(i) }
      const other = await lab.commit({ properties, retention: { maxSnapshots: 100, maxAgeMs: 1e12, hourly: 100 } })
      await lab.store.delete(other.unreferenced)
      lab.table = await lab.load(before)
    }
  })
}

test('what another writer has brought back is not deleted, though it was waiting for its end', async () => {
  const lab = new Lab()
  const retention = { maxSnapshots: 600, maxAgeMs: 600_000, hourly: 1 }
  const file = lab.file(5)
  await lab.commit({ added: [file], retention })
  lab.clock.ms += 3_600_000
  await lab.commit({ added: [lab.file(5)], removed: [file.path], retention })
  const before = lab.table
  await lab.commit({ added: [file], retention: { ...retention, hourly: 9 } })
  lab.table = await lab.load(before)
  for (let i = 0; i < 3; i++) {
    lab.clock.ms += 3_600_000
    const { unreferenced } = await lab.commit({ added: [lab.file(5)], retention })
    assert.ok(!unreferenced.includes(file.path))
  }
})

test('iceberg check 83: another branch keeps what it refers to', async () => {
  const lab = new Lab()
  const file = lab.file(10)
  const retention = { maxSnapshots: 0, maxAgeMs: 1e9 }
  await lab.commit({ added: [file], retention })
  const side = (await lab.prepare({ added: [lab.file(5)], retention: { maxSnapshots: 5, maxAgeMs: 1e9 } })).next
  const main = lab.table
  lab.table = side
  // The side snapshot becomes the head of a branch of its own, main goes back to its parent.
  const branch = `"refs":{"audit":{"snapshot-id":${side.currentSnapshotId},"type":"branch"},"main":{"snapshot-id":${main.currentSnapshotId}`
  const json = (await lab.metadataJson())
    .replace(`"current-snapshot-id":${side.currentSnapshotId}`, `"current-snapshot-id":${main.currentSnapshotId}`)
    .replace(`"refs":{"main":{"snapshot-id":${side.currentSnapshotId}`, branch)
  const metadataLocation = `${lab.table.location}/metadata/00009-branched.metadata.json`
  await lab.store.put(metadataLocation, Buffer.from(json))
  lab.table = await loadTable(lab.parts, { ...lab.pointer, metadataLocation })
  assert.equal(lab.table.currentSnapshotId, main.currentSnapshotId)
  const late = lab.file(1)
  const freed: string[] = []
  for (const update of [{ removed: [file.path] }, { added: [late] }, { removed: [late.path] }, { added: [lab.file(1)] }]) {
    const { commit, next } = await lab.prepare({ ...update, retention })
    lab.table = next
    freed.push(...commit.unreferenced)
  }
  assert.ok(freed.includes(late.path) && !freed.includes(file.path))
  const { refs, snapshots } = await lab.metadata()
  assert.ok('audit' in refs && snapshots.some((snapshot) => snapshot.id === side.currentSnapshotId))
})

test('a branch keeps what main removed before its last commit, also under the name of a tag of ours', async () => {
  for (const name of ['audit', 'daily-2026-11-21']) {
    const lab = new Lab()
    const file = lab.file(10)
    await lab.commit({ added: [file] })
    await lab.commit({ added: [lab.file(5)], removed: [file.path] })
    const metadata = parseJson(await lab.metadataJson()) as JsonObject & { snapshots: JsonObject[]; refs: JsonObject }
    const [first] = metadata.snapshots
    const head = { ...first, 'snapshot-id': 77, 'parent-snapshot-id': first['snapshot-id'], 'sequence-number': 3 }
    const branched = {
      ...metadata,
      'last-sequence-number': 3,
      snapshots: [...metadata.snapshots, head],
      refs: { ...metadata.refs, [name]: { 'snapshot-id': 77, type: 'branch' } },
    }
    const metadataLocation = `${lab.table.location}/metadata/00009-branched.metadata.json`
    await lab.store.put(metadataLocation, Buffer.from(encodeJson(branched)))
    lab.table = await loadTable(lab.parts, { ...lab.pointer, metadataLocation })
    const { commit, next } = await lab.prepare({ added: [lab.file(1)], retention: { maxSnapshots: 0, maxAgeMs: 1e9 } })
    assert.equal((await next.files()).length, 2)
    assert.ok(commit.unreferenced.length > 0 && !commit.unreferenced.includes(file.path), name)
  }
})

test('expiry that is switched off deletes nothing', async () => {
  // As Java reads it, anything but `true` switches it off.
  for (const enabled of ['false', 'False', 'no']) {
    const lab = new Lab({ properties: { 'gc.enabled': enabled, 'write.metadata.previous-versions-max': '1' } })
    for (let i = 0; i < 4; i++) {
      const commit = await lab.commit({ added: [lab.file(1)], retention: { maxSnapshots: 0, maxAgeMs: 0 } })
      assert.deepEqual(commit.unreferenced, [])
    }
    assert.equal((await lab.metadata()).snapshots.length, 4)
  }
})

test('metadata files stay when they are to, and leave the log nevertheless', async () => {
  for (const [deletes, left] of [
    ['false', 0],
    ['TRUE', 3],
  ] as const) {
    const lab = new Lab({
      properties: { 'write.metadata.delete-after-commit.enabled': deletes, 'write.metadata.previous-versions-max': '1' },
    })
    const gone: string[] = []
    for (let i = 0; i < 5; i++) gone.push(...(await lab.commit({ added: [lab.file(1)] })).unreferenced)
    assert.equal(gone.length, left)
    assert.equal((await lab.metadata()).metadataLog.length, 1)
  }
})

test('metadata goes where the table says, if it can be written there', async () => {
  for (const [path, isUsed] of [
    ['memory://lake/meta/t/', true],
    ['memory://other/meta', false],
    ['s3://bucket/meta', false],
    ['memory://lake/../meta', false],
    ['', false],
  ] as const) {
    const lab = new Lab({ properties: { 'write.metadata.path': path } })
    await lab.commit({ added: [lab.file(1)] })
    const folder = isUsed ? 'memory://lake/meta/t' : `${lab.table.location}/metadata`
    const { snapshots } = await lab.metadata()
    for (const uri of [lab.pointer.metadataLocation, snapshots[0].manifestList]) {
      assert.match(uri.slice(folder.length), /^\/[^/]+$/, uri)
      assert.ok(uri.startsWith(folder))
    }
  }
})

test('snapshots older than the retention go', async () => {
  const lab = new Lab()
  for (let i = 0; i < 5; i++) {
    lab.clock.ms += 1000
    await lab.commit({ added: [lab.file(1)], retention: { maxSnapshots: 100, maxAgeMs: 2000 } })
  }
  assert.equal((await lab.metadata()).snapshots.length, 3)
})

test('iceberg check 60: two vectors in one Puffin file are two; the file goes with the last of them', async () => {
  const lab = new Lab()
  const files = [lab.file(16), lab.file(16)]
  const bits = [Uint8Array.of(1, 0), Uint8Array.of(0, 6)]
  const blobs = bits.map((each) => encodeDeletionVector(each))
  const info = { type: 'deletion-vector-v1', fields: [], snapshotId: -1n, sequenceNumber: -1n, properties: {} }
  const { bytes, offsets } = writePuffin(
    blobs.map(({ blob }) => ({ ...info, bytes: blob })),
    {},
  )
  const path = `${lab.table.location}/data/both.puffin`
  await lab.store.put(path, bytes)
  const both = files.map((file, i) => ({
    dataFile: file.path,
    path,
    fileSize: bytes.length,
    contentOffset: offsets[i],
    contentSize: blobs[i].blob.length,
    cardinality: blobs[i].cardinality,
  }))
  const retention = { maxSnapshots: 0, maxAgeMs: 1e9 }
  await lab.commit({ added: files, deletionVectors: both, retention })
  for (const [i, file] of (await lab.live()).entries()) {
    assert.ok(file.deletionVector !== null)
    assert.deepEqual(Buffer.from(await readDeletionVector(lab.store, file.deletionVector, 16)), Buffer.from(bits[i]))
  }
  const first = await lab.commit({ removed: [files[0].path], retention })
  assert.ok(first.unreferenced.includes(files[0].path) && !first.unreferenced.includes(path))
  // After a restart the same is found in the manifests.
  lab.table = await lab.load()
  const second = await lab.commit({ deletionVectors: [await lab.vector(files[1], [9, 10, 11])], retention })
  assert.ok(second.unreferenced.includes(path))
})

test('a store that fails at any step leaves no file and the table as it was', async () => {
  const store = new FailingStore()
  const lab = new Lab({ store })
  const files = [lab.file(20), lab.file(20)]
  await lab.commit({ added: files, deletionVectors: [await lab.vector(files[0], [1])] })
  const update = { added: [lab.file(5)], removed: [files[1].path], deletionVectors: [await lab.vector(files[0], [1, 2])] }
  const before = await stored(lab)
  let failures = 0
  for (;;) {
    store.failAt = failures
    try {
      await lab.commit(update)
      break
    } catch (error) {
      assert.ok(error instanceof FrazilError && error.kind === 'unavailable')
      failures++
      assert.deepEqual(await stored(lab), before)
    }
  }
  assert.ok(failures >= 5, 'manifests, list and metadata')
  assert.equal((await lab.live()).length, 2)
})

class FailingStore extends MemoryStore {
  failAt = Infinity

  override async put(...args: Parameters<MemoryStore['put']>): ReturnType<MemoryStore['put']> {
    if (this.failAt-- === 0) throw new FrazilError('unavailable', 'down', 'the store is down')
    return super.put(...args)
  }
}

test('an update with nothing but properties makes no snapshot', async () => {
  const lab = new Lab()
  const created = await lab.commit({ properties: { a: '1' } })
  assert.deepEqual([created.base, created.snapshotId, created.written.length], [null, null, 1])
  await lab.commit({ added: [lab.file(1)], summary: { 'frazil.epoch': '3' } })
  assert.equal(lab.table.summary?.['frazil.epoch'], '3')
  const snapshotId = lab.table.currentSnapshotId
  const commit = await lab.commit({ properties: { a: '2' }, summary: { ignored: 'x' } })
  assert.equal(commit.snapshotId, null)
  assert.equal(lab.table.currentSnapshotId, snapshotId)
  assert.equal((await lab.load()).properties.a, '2')
})

/** A longer run: FRAZIL_COMMITS=100000. */
const commits = Number(process.env.FRAZIL_COMMITS ?? 2000)

test(`iceberg check 81: ${commits} commits leave metadata, lists and manifests flat`, async () => {
  const lab = new Lab()
  const retention = { maxSnapshots: 60, maxAgeMs: 1e12 }
  const live: ReturnType<Lab['file']>[] = []
  const deleted = new Map<string, number>()
  const size = async () => ({ metadata: (await lab.metadataJson()).length, manifests: (await lab.manifests()).length })
  let atFirst = { metadata: 0, manifests: 0 }
  let most = { metadata: 0, manifests: 0 }
  for (let i = 0; i < commits; i++) {
    const file = lab.file(1_000_000)
    live.push(file)
    const hot = live[live.length - 1 - (i % 4)] ?? file
    const count = (deleted.get(hot.path) ?? 0) + 1
    deleted.set(hot.path, count)
    const marked = Array.from({ length: count }, (_, position) => position)
    const small = { path: hot.path, recordCount: 64 }
    const commit = await lab.commit({ added: [file], deletionVectors: [await lab.vector(small, marked)], retention })
    await lab.store.delete(commit.unreferenced)
    if (i % 50 === 49) {
      // Compaction: forty files become one.
      const removed = live.splice(0, 40).map((each) => each.path)
      const compacted = lab.file(40_000_000)
      live.push(compacted)
      const commit = await lab.commit({ added: [compacted], removed, retention, rewrite: true })
      await lab.store.delete(commit.unreferenced)
    }
    if (i === 500) atFirst = await size()
    if (i > 500 && i % 100 === 0) {
      const now = await size()
      most = { metadata: Math.max(most.metadata, now.metadata), manifests: Math.max(most.manifests, now.manifests) }
    }
  }
  assert.ok(most.metadata < atFirst.metadata * 1.1, `metadata grew from ${atFirst.metadata} to ${most.metadata} bytes`)
  assert.ok(most.manifests <= 100, `${most.manifests} manifests`)
  // Memory of what will be freed does not grow either: the store holds the live files and the retained history.
  assert.ok((await stored(lab)).size < 2500, `${(await stored(lab)).size} objects`)
})
