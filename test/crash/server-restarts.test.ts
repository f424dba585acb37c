import { after, before, test } from 'node:test'
import type { EngineStatus } from '../../src/index.ts'
import { Mirror } from '../support/crash.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { workloadSettings } from '../support/workload.ts'

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: workloadSettings })
})

after(() => server.stop())

test('connections that are cut under load come back', { timeout: 300_000 }, async () => {
  const mirror = await Mirror.create({ url: server.url, seed: 21 })
  try {
    mirror.load()
    const daemon = await mirror.daemon()
    await daemon.ready()
    for (let i = 0; i < 3; i++) {
      const cut = await mirror.client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE state <> ''")
      await daemon.until('it streams again', async () => {
        const streams = await mirror.client.query("SELECT 1 FROM pg_stat_replication WHERE state IN ('catchup', 'streaming')")
        return (cut.rowCount ?? 0) === 0 || (streams.rowCount ?? 0) > 0
      })
    }
    await mirror.calm()
    await mirror.same(daemon, 'after cut connections')
  } finally {
    await mirror.end()
  }
})

test('a Postgres that restarts or crashes under load', { timeout: 180_000 }, async () => {
  const mirror = await Mirror.create({ url: server.url, seed: 22 })
  try {
    mirror.load()
    const daemon = await mirror.daemon()
    await daemon.ready()
    for (const way of ['restart', 'crash'] as const) {
      const said = async (): Promise<string | null> => {
        const { text } = await daemon.get('/tables')
        return (JSON.parse(text) as EngineStatus).sources.find(({ type }) => type === 'postgres')?.reason ?? null
      }
      if (way === 'crash') {
        await server.crash()
        await daemon.until('it says what it waits for', async () => (await said())?.includes('cannot be reached') ?? false)
      }
      await server.restart()
      await daemon.until('it waits for nothing', async () => (await said()) === null)
      await mirror.reconnect()
      await daemon.ready()
    }
    await mirror.calm()
    await mirror.same(daemon, 'after restarts of Postgres')
  } finally {
    await mirror.end()
  }
})
