import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { SqliteCatalog } from '../../src/iceberg/index.ts'
import { walPosition } from '../support/compare.ts'
import { Mirror, runKills } from '../support/crash.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { workloadSettings } from '../support/workload.ts'

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: workloadSettings })
})

after(() => server.stop())

test('killed under load, it loses nothing and doubles nothing', { timeout: 180_000 }, () =>
  runKills({ url: server.url, seed: 11, kills: 3, compareEvery: 2 }),
)

test('a second process is refused with host and pid; one that takes over stops the first', { timeout: 300_000 }, async () => {
  const mirror = await Mirror.create({ url: server.url, seed: 12 })
  try {
    mirror.load()
    const first = await mirror.daemon()
    await first.ready()
    const refused = await mirror.daemon()
    assert.equal(await refused.exited, 5, refused.log)
    assert.ok(refused.log.includes(hostname()), `the host is named: ${refused.log}`)
    assert.ok(refused.log.includes(String(first.pid)), `the pid is named: ${refused.log}`)
    assert.ok(first.running, 'the first goes on')
    const second = await mirror.daemon({ args: ['--take-over'] })
    await second.ready()
    assert.equal(await first.exited, 5, first.log)
    await mirror.calm()
    await mirror.same(second, 'after the take-over')
    assert.equal(await second.terminate(), 0, second.log)
  } finally {
    await mirror.end()
  }
})

test('SIGTERM under load: it exits 0 soon and what was visible is in the lake', { timeout: 300_000 }, async () => {
  const mirror = await Mirror.create({ url: server.url, seed: 13 })
  try {
    mirror.load()
    const daemon = await mirror.daemon()
    await daemon.ready()
    const seen = await walPosition(mirror.client)
    await daemon.visible('shop', seen)
    assert.equal(await daemon.terminate(), 0, daemon.log)
    const catalog = await SqliteCatalog.open(join(mirror.folder, 'lake/catalog.db'))
    const record = JSON.parse((await catalog.state('source/shop'))?.value ?? '{}') as { position?: string }
    await catalog.close()
    const reached = await mirror.client.query<{ yes: boolean }>('SELECT $1::pg_lsn >= $2::pg_lsn AS yes', [record.position, seen])
    assert.deepEqual(reached.rows, [{ yes: true }], 'what was visible is committed')
    await mirror.calm()
    await mirror.same(await mirror.daemon(), 'after SIGTERM')
  } finally {
    await mirror.end()
  }
})
