import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Client } from 'pg'
import { open } from '../../src/index.ts'
import type { Frazil, TableStatus } from '../../src/index.ts'
import { startPostgres } from '../support/postgres.ts'

type Server = Awaited<ReturnType<typeof startPostgres>>

// What a start finds when somebody worked on the source's tables while nobody was looking.
describe('tables that changed while frazil was down', () => {
  let server: Server
  let client: Client
  let folder: string

  before(async () => {
    server = await startPostgres()
    client = new Client({ connectionString: server.url })
    await client.connect()
    folder = mkdtempSync(join(tmpdir(), 'frazil-returning-'))
    await client.query(
      'CREATE TABLE gap (id int PRIMARY KEY); CREATE TABLE again (id int PRIMARY KEY); CREATE TABLE well (id int PRIMARY KEY)',
    )
    await client.query('INSERT INTO gap VALUES (1); INSERT INTO again VALUES (1); INSERT INTO well VALUES (1)')
    const engine = await start()
    await engine.flush()
    await engine.close()
  })

  after(async () => {
    await client.end()
    await server.stop()
    rmSync(folder, { recursive: true })
  })

  async function start(): Promise<Frazil> {
    const source = { type: 'postgres' as const, url: server.url, tables: ['public.*'] }
    const engine = await open({
      warehouse: join(folder, 'lake'),
      local: join(folder, 'local'),
      tables: { 's.again': { 'on-schema-change': 'detach' } },
      sources: { s: source },
    })
    for (;;) {
      if ((await engine.status()).ready) return engine
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async function statusOf(engine: Frazil, name: string): Promise<TableStatus | undefined> {
    return (await engine.status()).tables.find(({ table }) => table === name)
  }

  it('detaches one that left the publication, however soon it is put back: its changes never come', async () => {
    await client.query('ALTER PUBLICATION frazil_s DROP TABLE gap')
    await client.query('INSERT INTO gap VALUES (2); INSERT INTO well VALUES (2)')
    await client.query('ALTER PUBLICATION frazil_s ADD TABLE gap; ALTER PUBLICATION frazil_s DROP TABLE gap')
    const engine = await start()
    try {
      const status = await statusOf(engine, 'gap')
      assert.equal(status?.health, 'detached')
      assert.match(status.reason ?? '', /publication/)
      assert.deepEqual((await engine.query('select count(*) from s.well', { wait: 'now' })).rows, [[2n]])
      assert.deepEqual((await engine.query('select count(*) from s.gap')).rows, [[1n]])
      await engine.flush()
    } finally {
      await engine.close()
    }
  })

  it('does not copy a table that was made anew over one that is to be detached then, and the others commit', async () => {
    await client.query('DROP TABLE again; CREATE TABLE again (id int PRIMARY KEY, other text)')
    for (const rows of [3, 4]) {
      const engine = await start()
      try {
        await client.query('INSERT INTO again VALUES ($1)', [rows])
        await client.query('INSERT INTO well VALUES ($1)', [rows])
        assert.deepEqual((await engine.query('select count(*) from s.well', { wait: 'now' })).rows, [[BigInt(rows)]])
        await engine.flush()
        assert.equal((await statusOf(engine, 'well'))?.hotRows, 0)
        assert.equal((await statusOf(engine, 'again'))?.health, 'detached')
        assert.deepEqual((await engine.query('select count(*) from s.again')).rows, [[1n]])
      } finally {
        await engine.close()
      }
    }
  })
})
