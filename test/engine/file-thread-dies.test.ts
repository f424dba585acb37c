import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { Client } from 'pg'
import { EventBus } from '../../src/index.ts'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'

const count = 100_000

test('a thread that writes files dies while a table is copied: its source begins again', { timeout: 300_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-file-thread-'))
  await using server = await startPostgres()
  const client = new Client(server.url)
  await client.connect()
  const workers = new Set<Worker>()
  const onWorker = (worker: Worker): void => {
    workers.add(worker)
    worker.on('exit', () => workers.delete(worker))
  }
  process.on('worker', onWorker)
  const events = new EventBus()
  const restarts: string[] = []
  events.on((event) => {
    if (event.type === 'retry' && event.what === 'source' && event.code === 'file-thread') restarts.push(event.message)
  })
  try {
    await client.query(
      `create table t (id int primary key, v text); insert into t select g, md5(g::text) from generate_series(1, ${count}) g`,
    )
    const sources = { s: { type: 'postgres' as const, url: server.url, tables: ['t'] } }
    await using engine = await open({ commit: { every: '100ms' }, sources }, { folder, events })
    const copied = async (): Promise<number | null> => {
      const { tables } = await engine.status()
      const table = tables.find((one) => one.table === 't')
      return table?.health === 'streaming' && table.copy === null ? null : (table?.copy?.rows ?? 0)
    }
    for (let rows = await copied(); rows !== null || restarts.length === 0; rows = await copied()) {
      if (rows === null) await engine.table('s.t').resync()
      else if (rows > 0 && restarts.length === 0) {
        await Promise.all(
          [...workers].filter(({ threadName }) => threadName === 'frazil-file').map((worker) => worker.terminate()),
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await client.query("update t set v = 'changed' where id = 7")
    const { rows } = await engine.query("select count(*)::int, count(*) filter (v = 'changed')::int from s.t", { wait: 'now' })
    assert.deepEqual(rows, [[count, 1]])
    assert.equal((await engine.status()).ready, true)
  } finally {
    process.off('worker', onWorker)
    await client.end()
    await rm(folder, { recursive: true, force: true })
  }
})
