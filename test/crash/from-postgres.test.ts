import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from 'pg'
import { checkLake } from '../support/check-lake.ts'
import { Daemon } from '../support/daemon.ts'
import { startPostgres } from '../support/postgres.ts'

const rowsOfTable = 500

test(
  'killed while tables are added: asked for again, or remembered already, each is there with its rows, once',
  { timeout: 240_000 },
  async () => {
    const postgres = await startPostgres()
    const client = new Client({ connectionString: postgres.url })
    await client.connect()
    const folder = await mkdtemp(join(tmpdir(), 'frazil-from-postgres-kills-'))
    const tables = ['blocked', 'zero', 'one', 'two']
    for (const name of ['base', ...tables]) {
      await client.query(
        `CREATE TABLE ${name} (id int PRIMARY KEY); INSERT INTO ${name} SELECT generate_series(1, ${rowsOfTable})`,
      )
    }
    const config = {
      warehouse: './lake',
      commit: { every: '100ms' },
      http: { 'from-postgres': ['shop'] },
      sources: { shop: { type: 'postgres', url: postgres.url, tables: ['public.base'] } },
    }
    let daemon = await Daemon.spawn({ folder, config })
    const add = async (name: string): ReturnType<Daemon['post']> => {
      for (;;) {
        const body = { database: 'shop', table: name, src_uri: postgres.url, src_table_name: `public.${name}` }
        const answer = await daemon.post(`/tables/${name}/from_postgres`, body)
        // Copied for longer than a request waits.
        if (answer.status !== 202) return answer
      }
    }
    try {
      await daemon.ready()
      // Its copy waits for an open transaction: it is remembered, and nothing has come of it.
      const blocker = new Client({ connectionString: postgres.url })
      await blocker.connect()
      await blocker.query('BEGIN; SELECT pg_current_xact_id()')
      const lost = add('blocked').catch(() => null)
      await daemon.until('the copy waits', async () => {
        const { rows } = await client.query(
          "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'CREATE_REPL%'",
        )
        return rows.length > 0
      })
      await daemon.kill()
      assert.equal(await lost, null)
      await blocker.query('COMMIT')
      await blocker.end()
      daemon = await Daemon.spawn({ folder, config })
      await daemon.ready()
      await daemon.until('it is copied', async () => (await daemon.query('SELECT 1 FROM shop.blocked LIMIT 0')).rows.length === 0)

      for (const [kill, name] of ['zero', 'one', 'two'].entries()) {
        const under = add(name).catch(() => null)
        for (let pause = 0; pause < 40 * kill; pause++) await new Promise((resolve) => setImmediate(resolve))
        await daemon.kill()
        await under
        await client.query(`UPDATE ${name} SET id = -id WHERE id = 7`)
        daemon = await Daemon.spawn({ folder, config })
        await daemon.ready()
        const { status, text } = await add(name)
        assert.equal(status, 200, text)
      }
      const { rows } = await client.query<{ at: string }>('SELECT pg_current_wal_lsn()::text AS at')
      await daemon.visible('shop', rows[0].at)
      for (const name of ['base', ...tables]) {
        const found = await daemon.query(`SELECT count(*), count(DISTINCT abs(id)), min(id) FROM shop.${name}`)
        const least = ['base', 'blocked'].includes(name) ? 1 : -7
        assert.deepEqual(found.rows, [[String(rowsOfTable), String(rowsOfTable), least]], name)
      }
      assert.equal(await daemon.terminate(), 0)
      assert.equal((await checkLake(join(folder, 'lake'))).size, 5)
    } finally {
      await daemon.kill()
      await client.end()
      await postgres.stop()
      await rm(folder, { recursive: true })
    }
  },
)
