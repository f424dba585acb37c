import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Client } from 'pg'
import type { Frazil, TableStatus } from '../../src/index.ts'
import { open } from '../support/engine.ts'
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

  async function until(done: () => Promise<boolean>): Promise<void> {
    while (!(await done())) await new Promise((resolve) => setTimeout(resolve, 20))
  }

  async function statusOf(engine: Frazil, name: string): Promise<TableStatus | undefined> {
    return (await engine.status()).tables.find(({ table }) => table === name)
  }

  it('detaches one that left the publication, however soon it is put back: its changes never come', async () => {
    await client.query('ALTER PUBLICATION frazil_s DROP TABLE gap')
    await client.query('INSERT INTO gap VALUES (2); INSERT INTO well VALUES (2)')
    await client.query('ALTER PUBLICATION frazil_s ADD TABLE gap')
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

  it(
    'tells of one that was refused in its first copy, and copies it when asked to or made anew',
    { timeout: 180_000 },
    async () => {
      await client.query("CREATE TABLE ill (id int PRIMARY KEY, at date); INSERT INTO ill VALUES (1, 'infinity')")
      await client.query("CREATE TABLE worse (id int PRIMARY KEY, at date); INSERT INTO worse VALUES (1, 'infinity')")
      const refused = async (engine: Frazil): Promise<void> => {
        for (const name of ['ill', 'worse']) {
          await until(async () => (await statusOf(engine, name))?.health === 'detached')
          const status = await statusOf(engine, name)
          assert.match(status?.reason ?? '', /\bat\b/)
          await assert.rejects(engine.query(`select * from s.${name}`), /has no rows in the lake: .*\bat\b/)
        }
      }
      let engine = await start()
      try {
        await refused(engine)
        await engine.flush()
      } finally {
        await engine.close()
      }
      engine = await start()
      try {
        await refused(engine)
        await client.query('UPDATE ill SET at = NULL')
        await engine.table('s.ill').resync()
        await until(async () => (await statusOf(engine, 'ill'))?.health === 'streaming')
        assert.deepEqual((await engine.query('select count(*) from s.ill')).rows, [[1n]])
        await engine.flush()
      } finally {
        await engine.close()
      }
      await client.query('DROP TABLE worse; CREATE TABLE worse (id int PRIMARY KEY)')
      engine = await start()
      try {
        await until(async () => (await statusOf(engine, 'worse'))?.health === 'streaming')
        assert.deepEqual((await engine.query('select count(*) from s.worse')).rows, [[0n]])
        assert.equal((await engine.status()).tables.filter(({ table }) => table === 'worse').length, 1)
      } finally {
        await engine.close()
      }
    },
  )
})
