import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../../src/base/index.ts'
import type { SourceState } from '../../../src/source/index.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { connect } from '../../support/workload.ts'
import { MapLake, rowsOf } from './lake.ts'

const { server, client } = await postgresForFile()
await client.query('create table other (id int primary key, v int, t text)')

function expected(table: string): Promise<string[]> {
  return rowsOf(client, `select id, v, t from ${table}`)
}

/** A source whose tables are copied, and which was closed again. */
async function stopped(name: string, tables: readonly string[]): Promise<MapLake> {
  const lake = new MapLake({ name, url: server.url, tables })
  await lake.caughtUp()
  await freshStart(lake)
  await lake.close()
  return lake
}

/** Brings the slot's restart_lsn near: rounds are at least as long as what the server has to read again. */
async function freshStart(lake: MapLake): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await client.query("select pg_logical_emit_message(false, 'test', ''); checkpoint")
    await lake.caughtUp()
  }
}

/** The same lake goes on in a new process. */
function goesOn(
  lake: MapLake,
  config: Partial<ConstructorParameters<typeof MapLake>[0]> & { name: string; tables: readonly string[] },
): MapLake {
  const state: SourceState = lake.state()
  const next = new MapLake({ url: server.url, farBehindBytes: 1, backlogRoundBytes: 200_000, ...config }, { state })
  for (const [id, table] of next.tables) {
    const rows = lake.tables.get(id)?.rows
    if (rows) table.rows = new Map(rows)
    table.copied = lake.tables.get(id)?.copied ?? null
  }
  next.position = lake.position
  return next
}

function readBySql(lake: MapLake): boolean {
  return lake.observed.some((event) => event.type === 'notice' && event.message.endsWith('it is read by SQL first'))
}

/** Transactions of all kinds on `table`, of one row to some thousand. */
async function write(table: string, seed: number, transactions: number): Promise<void> {
  const random = seededRandom(seed)
  const writer = await connect(server.url)
  const below = (n: number): number => Math.floor(random.next() * n)
  for (let i = 0; i < transactions; i++) {
    await writer.query('begin')
    for (let n = below(3); n >= 0; n--) {
      const [from, size, kind] = [below(3000), below(10) === 0 ? 3000 : below(40), below(20)]
      if (kind === 0) await writer.query(`truncate ${table}`)
      else if (kind < 9)
        await writer.query(
          `insert into ${table} select g, ${i}, md5(g::text) from generate_series(${from}::int, ${from + size}) g on conflict (id) do update set v = excluded.v`,
        )
      else if (kind < 14) await writer.query(`update ${table} set v = v + 1 where id between ${from} and ${from + size}`)
      else if (kind < 18) await writer.query(`delete from ${table} where id between ${from} and ${from + size}`)
      else await writer.query(`update ${table} set id = id + 1000000 where id = ${from}`)
    }
    await writer.query(below(10) === 0 ? 'rollback' : 'commit')
  }
  await writer.end()
}

test('a backlog read by SQL is what the stream would have told, with writers going on and connections cut', async (t) => {
  const tables = ['one', 'two']
  for (const table of tables)
    await client.query(`create table ${table} (id int primary key, v int, t text); insert into ${table} values (-1, 0, 'first')`)
  let lake = await stopped('drained', tables)
  t.after(() => lake.close())
  for (let round = 0; round < 3; round++) {
    await Promise.all([write('one', 10 + round, 60), write('two', 20 + round, 60), write('other', 30 + round, 30)])
    // One to be cut is more than what lies between the server and a consumer that does not ask.
    if (round === 1) await client.query("insert into one select g, 0, repeat('x', 200) from generate_series(5000001, 5080000) g")
    lake = goesOn(lake, { name: 'drained', tables, ...(round === 1 ? { backlogRoundBytes: 64 << 20 } : {}) })
    const writers = Promise.all([write('one', 40 + round, 20), write('two', 50 + round, 20)])
    if (round === 1) {
      // The server ends whoever reads, in the middle of it.
      await lake.until(() => lake.commits > 0)
      let goOn = (): void => {}
      const stall = new Promise<void>((resolve) => (goOn = resolve))
      lake.stalled = () => stall
      await client.query(
        "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name like 'frazil_drained_b%'",
      )
      lake.stalled = () => null
      goOn()
    }
    if (round === 2) {
      // A process that ends in the middle of it, and its successor.
      await lake.until(() => lake.commits > 10)
      await lake.close()
      assert.equal(lake.error, null)
      lake = goesOn(lake, { name: 'drained', tables })
    }
    await writers
    await lake.caughtUp()
    if (round === 1) assert.ok(lake.aborts > 0, 'it was cut')
    assert.ok(readBySql(lake), 'read by SQL')
    for (const table of tables) assert.deepEqual(lake.rows(`drained.${table}`), await expected(table), `${table}, round ${round}`)
    const copies = "select from pg_replication_slots where slot_name like 'frazil_drained_b%'"
    // The server notices in its own time that a connection has ended.
    await lake.until(async () => (await client.query(copies)).rowCount === 0, 'copies of the slot are gone')
    await client.query("insert into one values (-100 - (select count(*) from one where id < 0), 7, 'live')")
    await lake.caughtUp()
    assert.deepEqual(lake.rows('drained.one'), await expected('one'), 'the stream goes on behind it')
    await freshStart(lake)
    await lake.close()
  }
})

test('changes of others only: the position comes to the end of the log, and what the lake has is acknowledged', async () => {
  await client.query('create table still (id int primary key, v int, t text)')
  const lake = await stopped('still', ['still'])
  await write('other', 60, 200)
  const next = goesOn(lake, { name: 'still', tables: ['still'] })
  await next.caughtUp()
  assert.ok(readBySql(next))
  assert.equal(next.commits, 0)
  await next.close()
})

test('where the server refuses a copy of the slot, or the configuration does, the stream reads it all', async () => {
  await client.query('create table plain (id int primary key, v int, t text)')
  const tables = ['plain']
  let lake = await stopped('plain', tables)
  await write('plain', 70, 50)
  // No slot is left for a copy.
  await client.query(
    "select pg_create_physical_replication_slot('filler_' || g) from generate_series(1, current_setting('max_replication_slots')::int - (select count(*)::int from pg_replication_slots)) g",
  )
  lake = goesOn(lake, { name: 'plain', tables })
  await lake.caughtUp()
  assert.ok(!readBySql(lake))
  assert.ok(lake.observed.some((event) => event.type === 'notice' && /by the stream, which is slower/.test(event.message)))
  assert.deepEqual(lake.rows('plain.plain'), await expected('plain'))
  await lake.close()
  await client.query(
    "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like 'filler%' order by slot_name limit 1",
  )
  await write('plain', 71, 50)
  // One slot is left: one connection does it alone.
  lake = goesOn(lake, { name: 'plain', tables })
  await lake.caughtUp()
  assert.ok(readBySql(lake))
  assert.deepEqual(lake.rows('plain.plain'), await expected('plain'))
  await lake.close()
  await client.query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like 'filler%'")
  await write('plain', 72, 20)
  lake = goesOn(lake, { name: 'plain', tables, backlog: 'stream' })
  await lake.caughtUp()
  assert.ok(!readBySql(lake))
  assert.deepEqual(lake.rows('plain.plain'), await expected('plain'))
  await lake.close()
})

test('a consumer that does not ask: memory stays bounded; one transaction larger than a round comes whole', async () => {
  await client.query('create table wide (id int primary key, v int, t text)')
  const lake = await stopped('wide', ['wide'])
  await client.query("insert into wide select g, g, repeat('x', 400) from generate_series(1, 20000) g")
  for (let i = 1; i <= 10; i++)
    await client.query(
      `insert into wide select g, g, repeat('x', 400) from generate_series(${i} * 100000, ${i} * 100000 + 5000) g`,
    )
  await using next = goesOn(lake, { name: 'wide', tables: ['wide'] })
  let goOn = (): void => {}
  const stall = new Promise<void>((resolve) => (goOn = resolve))
  next.stalled = () => (next.commits > 0 ? stall : null)
  await next.until(() => next.commits > 0)
  await client.query('select pg_sleep(0.5)')
  assert.ok(next.commits < 11, 'it waits')
  next.stalled = () => null
  goOn()
  await next.caughtUp()
  assert.deepEqual(next.rows('wide.wide'), await expected('wide'))
  assert.equal(next.commits, 11)
})
