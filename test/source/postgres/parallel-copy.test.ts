import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'
import { MapLake } from './lake.ts'

let server: EmbeddedPostgres
let client: Client

before(async () => {
  server = await startPostgres()
  client = new Client(server.url)
  await client.connect()
})

after(async () => {
  await client.end()
  await server.stop()
})

/** More than one range: rows of one kilobyte that are not compressed. */
async function fill(table: string, rows: number): Promise<void> {
  await client.query(
    `insert into ${table} select i, (select string_agg(md5((i * 31 + j)::text), '') from generate_series(1, 30) j) from generate_series(1, ${rows}) i`,
  )
}

async function same(lake: MapLake, table: string): Promise<void> {
  const { rows } = await client.query<{ id: number; v: string }>(`select id, v from ${table}`)
  assert.deepEqual(lake.rows(`shop.${table}`), rows.map(({ id, v }) => `${id} ${JSON.stringify(v)}`).sort(), table)
}

test('several tables and ranges on several connections, in memory that holds few segments', { timeout: 60_000 }, async () => {
  await client.query('create table wide (id int primary key, v text); create table small (id int primary key, v text)')
  await client.query(
    `create table parts (id int primary key, v text) partition by range (id);
     create table parts_a partition of parts for values from (0) to (10000); create table parts_b partition of parts for values from (10000) to (90000)`,
  )
  await fill('wide', 36_000)
  await fill('parts', 20_000)
  await fill('small', 10)
  await client.query('update wide set v = v where id % 7 = 0; analyze')
  await using lake = new MapLake({ url: server.url, tables: ['wide', 'small', 'parts'], slot: 'p1' }, { memory: 4 << 20 })
  await lake.caughtUp()
  for (const table of ['wide', 'small', 'parts']) await same(lake, table)
})

test(
  'a connection of a copy that is killed, and a table rewritten between two ranges: copied from a new snapshot',
  {
    timeout: 60_000,
  },
  async () => {
    await client.query('create table cut (id int primary key, v text)')
    await fill('cut', 36_000)
    let release: () => void = () => {}
    const config = { url: server.url, tables: ['cut'], slot: 'p2', publication: 'p2', copyConnections: 2 }
    await using lake = new MapLake(config, { memory: 4 << 20 })
    await lake.until(() => lake.tables.size > 0)
    const stall = new Promise<void>((resolve) => (release = resolve))
    lake.stalled = () => stall
    await client.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where query like '%COPY (SELECT%' and pid <> pg_backend_pid()`,
    )
    await client.query('truncate cut; insert into cut values (1, $$one$$)')
    lake.stalled = () => null
    release()
    await lake.caughtUp()
    await client.query('insert into cut values (2, $$two$$)')
    await lake.caughtUp()
    await same(lake, 'cut')
  },
)
