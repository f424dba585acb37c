import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Daemon } from '../support/daemon.ts'
import { runInterruptions, silenceAfter } from '../support/interruptions.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { connect } from '../support/workload.ts'

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres()
})

after(() => server.stop())

test('kill -9 in the copy of a large table while it changes: it goes on, and is exact', { timeout: 180_000 }, () =>
  runInterruptions({ url: server.url, name: 'whole', partitioned: false, kills: 2, seed: 1 }),
)

test("kill -9 in a source's first copy, beside a publication of somebody else: the slot that it made is known", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-first-copy-'))
  const proxy = await TcpProxy.before(Number(new URL(server.url).port))
  const client = await connect(server.url)
  const start = (): Promise<Daemon> =>
    Daemon.spawn({
      folder,
      config: {
        warehouse: join(folder, 'lake'),
        local: join(folder, 'local'),
        memory: '64MB',
        query: { memory: '256MB', threads: 1 },
        sources: { shop: { type: 'postgres', url: proxy.through(server.url), tables: ['lent'], publication: 'lent' } },
      },
    })
  let daemon: Daemon | null = null
  try {
    await client.query(`
      CREATE TABLE lent (id int PRIMARY KEY, v text);
      INSERT INTO lent SELECT i, repeat('v', 100) FROM generate_series(1, 30000) i;
      CREATE PUBLICATION lent FOR TABLE lent`)
    silenceAfter(proxy, 2e6)
    const first = await start()
    daemon = first
    await first.until('it is copying', async () => {
      const { tables } = JSON.parse((await first.get('/tables')).text) as { tables: { copy: { rows: number } | null }[] }
      return (tables[0]?.copy?.rows ?? 0) > 0
    })
    await first.kill()
    proxy.tap = null
    daemon = await start()
    await daemon.ready(120)
    assert.deepEqual((await daemon.query('SELECT count(*), sum(id) FROM shop.lent')).rows, [['30000', '450015000']])
    assert.equal(await daemon.terminate(), 0, daemon.log)
  } finally {
    await daemon?.kill()
    await proxy.close()
    await client.end()
    await rm(folder, { recursive: true, force: true })
  }
})
