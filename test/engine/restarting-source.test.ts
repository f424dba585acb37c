import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { Client } from 'pg'
import { Secret } from '../../src/engine/index.ts'
import type { TokenConfig } from '../../src/engine/index.ts'
import { EventBus } from '../../src/index.ts'
import type { FrazilError } from '../../src/index.ts'
import { silentLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'

test('tables of a source that is being started again are not said to be unknown', { timeout: 300_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-restarting-'))
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
    if (event.type === 'retry' && event.what === 'source') restarts.push(event.code)
  })
  try {
    await client.query(
      `create table small (id int primary key); insert into small values (1);
       create table big (id int primary key, v text); insert into big select g, md5(g::text) from generate_series(1, 100000) g`,
    )
    const sources = { s: { type: 'postgres' as const, url: server.url, tables: ['small', 'big'] } }
    await using engine = await open({ commit: { every: '100ms' }, sources }, { folder, events })
    const small = engine.table('s.small')
    const shape = { schema: [{ name: 'x', data_type: 'int64' as const }] }
    await engine.table('app.before').create(shape)
    while ((await engine.status()).tables.some(({ health, copy }) => health !== 'streaming' || copy !== null)) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    while (restarts.length === 0) {
      const { tables } = await engine.status()
      const copy = tables.find(({ table }) => table === 'big')?.copy
      if (!copy) await engine.table('s.big').resync()
      else if (copy.rows > 0) {
        await Promise.all(
          [...workers].filter(({ threadName }) => threadName === 'frazil-file').map((worker) => worker.terminate()),
        )
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    const answers = new Set<string>()
    const ask = async (what: () => Promise<unknown>): Promise<boolean> => {
      try {
        await what()
        return true
      } catch (error) {
        const { kind, code } = error as FrazilError
        answers.add(`${kind} ${code}`)
        return false
      }
    }
    for (let isThere = false; !isThere || answers.size === 0;) {
      // Who has which table is asked anew behind it.
      await engine.table('app.before').create(shape)
      const isFound = await ask(() => small.get({ id: 1 }))
      isThere = (await ask(() => engine.query('select * from s.small'))) && isFound
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    assert.deepEqual(
      [...answers].filter((answer) => !answer.startsWith('unavailable ')),
      [],
    )
  } finally {
    process.off('worker', onWorker)
    await client.end()
    await rm(folder, { recursive: true, force: true })
  }
})

test('a table for rows of a source that does not answer is not said to be unknown, and the source is what it is', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-silent-'))
  const workers = new Map<string, Worker>()
  const onWorker = (worker: Worker): void => void workers.set(worker.threadName ?? '', worker)
  process.on('worker', onWorker)
  const token = 'writer-token-0123456789'
  const tokens: TokenConfig[] = [{ token: new Secret(token), tables: ['app.*'], may: ['write'] }]
  const info = { version: '0', warehouse: folder }
  const server = await startHttpServer({ listen: { host: '127.0.0.1', port: 0 }, info, log: silentLog, tokens })
  const send = async (path: string, body: unknown): Promise<unknown[]> => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const response = await fetch(`${server.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    const { code } = (await response.json()) as { code?: unknown }
    return [response.status, code, response.headers.get('retry-after')]
  }
  try {
    const sources = { telemetry: { type: 'otlp' as const, http: '127.0.0.1:0' } }
    await using lake = await open({ pipelines: 'worker', sources }, { folder })
    server.attach(lake.engine)
    const upload = { operation: 'upload', files: ['/none'] }
    assert.deepEqual(await send('/ingest/t', [{ x: 1 }]), [404, 'unknown-table', null])
    assert.deepEqual(await send('/upload/t', upload), [404, 'unknown-table', null])
    await lake.table('app.t').create({ schema: [{ name: 'x', data_type: 'int64' }] })
    for (const source of ['http', 'telemetry']) await workers.get(`frazil-${source}`)?.terminate()
    for (const name of ['app.t', 't']) {
      assert.deepEqual(await send(`/ingest/${name}`, [{ x: 1 }]), [503, 'source-failed', '1'])
      assert.deepEqual(await send(`/upload/${name}`, upload), [503, 'source-failed', '1'])
    }
    const shown = (await lake.status()).sources.map(({ name, type, state }) => [name, type, state])
    assert.deepEqual(shown, [
      ['telemetry', 'otlp', 'retrying'],
      ['http', 'http', 'retrying'],
    ])
  } finally {
    process.off('worker', onWorker)
    await server.close()
    await rm(folder, { recursive: true, force: true })
  }
})
