import assert from 'node:assert/strict'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Frazil } from '../../src/index.ts'
import { open as openEngine } from '../support/engine.ts'

const count = 50
/** Of all engines together: threads that write files, SQL, compaction, and Node's own pool. */
const mostThreads = Math.max(1, Math.min(availableParallelism() - 1, 4)) + 2 + 4
/** Measured 150 MB on two cores; 2,800 when each engine had threads of its own. */
const mostResidentMegabytes = 600

async function threads(): Promise<number> {
  return (await readdir('/proc/self/task')).length
}

async function residentBytes(): Promise<number> {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(await readFile('/proc/self/status', 'utf8')) ?? []
  return Number(kilobytes) * 1024
}

test('fifty engines in one process, each with a lake of its own, share threads', { timeout: 400_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-engines-'))
  const engines: Frazil[] = []
  try {
    const before = await threads()
    const residentBefore = await residentBytes()
    for (let i = 0; i < count; i++) {
      const config = { memory: '16MB', query: { memory: '64MB', threads: 1 }, commit: { every: '1h' } }
      engines.push(await openEngine(config, { folder: join(folder, String(i)) }))
    }
    for (const [i, engine] of engines.entries()) {
      const rows = Array.from({ length: 100 }, (_, k) => ({ id: i * 1000 + k }))
      await engine.table('app.rows').insert(rows, { create: true, durability: 'visible' })
    }
    for (const [i, engine] of engines.entries()) {
      const { rows } = await engine.query('select count(*)::int, min(id)::int from app.rows')
      assert.deepEqual(rows, [[100, i * 1000]])
      const { memory } = await engine.status()
      assert(memory.used <= memory.budget && memory.budget === 16e6, JSON.stringify(memory))
    }
    const whileOpen = await threads()
    assert(whileOpen - before <= mostThreads, `${whileOpen - before} threads`)
    const megabytes = ((await residentBytes()) - residentBefore) / 1e6
    assert(megabytes <= mostResidentMegabytes, `${megabytes} MB`)
    for (const [i, engine] of engines.entries()) {
      await engine.flush()
      // Each one closes beside those that go on.
      if (i % 2 === 0) await engine.close()
    }
    const open = engines.filter((_, i) => i % 2 === 1)
    const answers = await Promise.all(open.map((engine) => engine.query('select count(*)::int, max(id)::int from app.rows')))
    assert.deepEqual(
      answers.map(({ rows }) => rows),
      open.map((engine) => [[100, engines.indexOf(engine) * 1000 + 99]]),
    )
    for (const engine of engines.splice(0)) await engine.close()
    // Those that Node's own pool has started stay.
    const left = (await threads()) - before
    assert(left <= 8, `${left} threads are left`)
  } finally {
    await Promise.all(engines.map((engine) => engine.close()))
    await rm(folder, { recursive: true, force: true })
  }
})
