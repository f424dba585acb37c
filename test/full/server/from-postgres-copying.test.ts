import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from 'pg'
import { Daemon } from '../../support/daemon.ts'
import { startPostgres } from '../../support/postgres.ts'

test('a table whose copy takes long: 202 before it is done, 200 when it can be read', { timeout: 300_000 }, async () => {
  const postgres = await startPostgres()
  const client = new Client({ connectionString: postgres.url })
  await client.connect()
  const folder = await mkdtemp(join(tmpdir(), 'frazil-from-postgres-copying-'))
  await client.query(`CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE late (id int PRIMARY KEY);
    INSERT INTO late SELECT generate_series(1, 500)`)
  const daemon = await Daemon.spawn({
    folder,
    config: {
      warehouse: './lake',
      http: { 'from-postgres': ['shop'] },
      sources: { shop: { type: 'postgres', url: postgres.url, tables: ['public.base'] } },
    },
  })
  const add = async (): Promise<[number, unknown]> => {
    const body = { database: 'shop', table: 'late', src_uri: postgres.url, src_table_name: 'public.late' }
    const { status, text } = await daemon.post('/tables/late/from_postgres', body)
    return [status, JSON.parse(text)]
  }
  const named = { database: 'shop', table: 'late', lsn: 1 }
  try {
    await daemon.ready()
    // Its copy cannot begin before this transaction ends, which it does behind the answer.
    await client.query('BEGIN; SELECT pg_current_xact_id()')
    assert.deepEqual(await add(), [202, { ...named, state: 'copying' }])
    const { tables } = JSON.parse((await daemon.get('/tables')).text) as { tables: { table: string; health: string }[] }
    assert.equal(tables.find(({ table }) => table === 'late')?.health, 'copying')
    await client.query('COMMIT')
    await daemon.until('it can be read', async () => (await add())[0] === 200)
    assert.deepEqual(await add(), [200, { ...named, state: 'streaming' }])
    assert.deepEqual((await daemon.query('SELECT count(*) FROM shop.late')).rows, [['500']])
  } finally {
    await daemon.kill()
    await client.end()
    await postgres.stop()
    await rm(folder, { recursive: true })
  }
})
