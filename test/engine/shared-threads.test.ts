import assert from 'node:assert/strict'
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { catalogPath } from '../../src/engine/lake.ts'
import { pushSource } from '../../src/engine/sources.ts'
import { sourceStateKey } from '../../src/engine/state-record.ts'
import { SqliteCatalog } from '../../src/iceberg/catalog/index.ts'
import { EventBus, FrazilError } from '../../src/index.ts'
import type { Frazil } from '../../src/index.ts'
import { open } from '../support/engine.ts'

/** Threads that write files, and one for SQL. */
const threadsOfOne = Math.max(1, Math.min(availableParallelism() - 1, 4)) + 1

/** Workers that live, by what they do. */
function living(workers: ReadonlySet<Worker>, name: string): Worker[] {
  return [...workers].filter((worker) => worker.threadName === name)
}

/** Whoever asks for a commit while a thread that writes files dies is told, and asks again. */
async function flush(engine: Frazil): Promise<void> {
  for (;;) {
    try {
      await engine.flush()
      return
    } catch (error) {
      if (!(error instanceof FrazilError) || error.code !== 'file-thread') throw error
    }
  }
}

test('engines of one process share their threads, and nothing else', { timeout: 240_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-shared-'))
  const workers = new Set<Worker>()
  const onWorker = (worker: Worker): void => {
    workers.add(worker)
    worker.on('exit', () => workers.delete(worker))
  }
  process.on('worker', onWorker)
  const events = new EventBus()
  const codes = new Set<string>()
  events.on((event) => {
    if (event.type === 'error') codes.add(event.code)
  })
  const config = { memory: '16MB', query: { memory: '64MB', threads: 1 }, commit: { every: '1h' } }
  const engines: Frazil[] = []
  const sql = 'select count(*)::int, min(id)::int, max(name) from app.rows'
  /** Rows that each engine has. */
  const counts: number[] = []
  const insert = async (i: number, count: number): Promise<void> => {
    const rows = Array.from({ length: count }, (_, k) => ({ id: i * 10_000 + counts[i] + k, name: `of ${i}` }))
    await engines[i].table('app.rows').insert(rows, { create: { key: ['id'] }, durability: 'visible' })
    counts[i] += count
  }
  /** The compaction thread is there while there is anything to do for it, and for half a minute more. */
  const assertThreads = (): void => {
    const compaction = living(workers, 'frazil-compaction').length
    assert.ok(compaction <= 1, `${compaction} threads that rewrite files`)
    assert.equal(workers.size - compaction, threadsOfOne)
  }
  const allRight = async (which: readonly number[]): Promise<void> => {
    const answers = await Promise.all(which.map((i) => engines[i].query(sql)))
    assert.deepEqual(
      answers.map(({ rows }) => rows),
      which.map((i) => [[counts[i], i * 10_000, `of ${i}`]]),
    )
    const rows = await Promise.all(which.map((i) => engines[i].table('app.rows').get({ id: i * 10_000 })))
    assert.deepEqual(
      rows.map((row) => row?.name),
      which.map((i) => `of ${i}`),
    )
  }
  try {
    for (let i = 0; i < 6; i++) {
      engines.push(await open(config, { folder: join(folder, String(i)), events }))
      counts.push(0)
      await insert(i, 20 + i)
      // Another engine comes when the others have been queried already.
      await allRight([...counts.keys()])
    }
    const all = [...counts.keys()]
    assertThreads()

    await engines[0].table('app.alone').insert([{ id: 1 }], { create: true, durability: 'visible' })
    await assert.rejects(engines[1].query('select * from app.alone'), { code: 'unknown-table' })
    await Promise.all(all.map((i) => engines[i].flush()))
    await allRight(all)

    // Files are rewritten by one thread, for all of them.
    for (const i of all) await insert(i, 5)
    await Promise.all(all.map((i) => engines[i].flush()))
    await Promise.all(all.map((i) => engines[i].table('app.rows').optimize()))
    assertThreads()
    await allRight(all)

    // Threads die. The SQL thread only between queries: DuckDB aborts a process whose thread ends inside one.
    await Promise.all(living(workers, 'frazil-sql').map((worker) => worker.terminate()))
    await Promise.all(living(workers, 'frazil-compaction').map((worker) => worker.terminate()))
    await allRight(all)
    for (const i of all) await insert(i, 5)
    const flushing = Promise.all(all.map((i) => flush(engines[i])))
    await Promise.all(living(workers, 'frazil-file').map((worker) => worker.terminate()))
    await flushing
    await allRight(all)
    assert.ok(codes.delete('file-thread'))
    await Promise.all(all.map((i) => engines[i].table('app.rows').optimize()))
    assertThreads()
    await allRight(all)
    assert.deepEqual([...codes], [])

    // The one in whose folder SQL would spill goes, and so does its folder.
    await engines[0].close()
    await rm(join(folder, '0'), { recursive: true })
    const rest = all.slice(1)
    for (const i of rest) await insert(i, 5)
    await Promise.all(rest.map((i) => engines[i].flush()))
    await allRight(rest)
    for (const i of rest) assert.equal((await engines[i].status()).ready, true)
    await Promise.all(rest.map((i) => engines[i].close()))
    assert.equal(workers.size, 0)

    // What is in the lakes is right, and the threads come again.
    engines[1] = await open(config, { folder: join(folder, '1') })
    await allRight([1])
    assertThreads()
  } finally {
    await Promise.all(engines.map((engine) => engine.close()))
    process.off('worker', onWorker)
    await rm(folder, { recursive: true, force: true })
  }
  assert.equal(workers.size, 0)
})

/** Files below `folder` that this process has open. */
async function openFiles(folder: string): Promise<string[]> {
  const links = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')))
  return links.filter((path) => path.startsWith(folder))
}

test('engines that end, or cannot start, beside another one leave nothing open', { timeout: 300_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-ended-'))
  const config = { memory: '16MB', query: { memory: '64MB', threads: 1 }, commit: { every: '1h' } }
  const other = await open(config, { folder: join(folder, 'other') })
  const own = join(folder, 'own')
  const warehouse = join(own, 'lake')
  try {
    {
      await using engine = await open({ ...config, warehouse }, { folder: own })
      await engine.table('app.rows').insert([{ id: 1 }], { create: true, durability: 'visible' })
      assert.deepEqual((await engine.query('select id::int from app.rows')).rows, [[1]])
    }
    assert.deepEqual(await openFiles(own), [])

    const catalog = await SqliteCatalog.open(catalogPath(warehouse))
    const key = sourceStateKey(pushSource)
    const { value, version } = (await catalog.state(key)) ?? assert.fail('the source has a record')
    const newer = JSON.stringify({ ...JSON.parse(value), format: 1_000_000 })
    await catalog.commit({ tables: [], states: [{ key, expected: version, value: newer }] })
    await catalog.close()
    for (const pipelines of ['inline', 'worker'] as const) {
      await assert.rejects(open({ ...config, warehouse, pipelines }, { folder: own }), { code: 'newer-format' })
      assert.deepEqual(await openFiles(own), [])
    }
  } finally {
    await other.close()
    await rm(folder, { recursive: true, force: true })
  }
})
