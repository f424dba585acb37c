import assert from 'node:assert/strict'
import { test } from 'node:test'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { connect } from '../../support/workload.ts'
import { MapLake, rowsOf } from './lake.ts'

// The least that can be: some hundred rows of one transaction make the server send it before its end.
const { server, client: first } = await postgresForFile({
  settings: { logical_decoding_work_mem: '64kB', max_prepared_transactions: '5' },
})
let client = first

async function same(lake: MapLake, schema: string, tables: readonly string[]): Promise<void> {
  await lake.caughtUp()
  for (const name of tables)
    assert.deepEqual(lake.rows(`${schema}.${name}`), await rowsOf(client, `select * from ${schema}.${name}`), name)
}

/** Waits until the server has streamed something that `lake` was told of. */
async function streamed(lake: MapLake, kind: string, before = 0): Promise<number> {
  const count = (): number => lake.log.filter((line) => line.startsWith(kind)).length
  await lake.until(() => count() > before, `${kind} of a streamed transaction`)
  return count()
}

const fill = (table: string, from: number, to: number): string =>
  `insert into ${table} select i, md5(i::text) from generate_series(${from}, ${to}) i`

async function schema(name: string): Promise<MapLake> {
  await client.query(
    `create schema ${name}; create table ${name}.a (id int primary key, v text); create table ${name}.b (id int primary key, v text);
     alter table ${name}.b replica identity full; ${fill(`${name}.a`, -500, -1)}; ${fill(`${name}.b`, -500, -1)}`,
  )
  const lake = new MapLake({ name, url: server.url, tables: [`${name}.*`], into: `${name}.{table}` })
  await lake.until(() => lake.streaming)
  return lake
}

test('interleaved transactions, each at its own end; nothing before', async () => {
  await using lake = await schema('inter')
  const [one, two] = [await connect(server.url), await connect(server.url)]
  await one.query('begin')
  await two.query('begin')
  for (let i = 0; i < 4; i++) {
    await one.query(fill('inter.a', i * 2000 + 1, i * 2000 + 1000))
    await two.query(`${fill('inter.b', i * 1000 + 1, i * 1000 + 1000)}; ${fill('inter.a', i * 2000 + 1001, i * 2000 + 2000)}`)
    await client.query(`insert into inter.a values (${100_000 + i}, 'between')`)
  }
  await two.query("update inter.b set v = 'two' where id % 3 = 0; delete from inter.a where id between 1001 and 1100")
  await streamed(lake, 'insert', 20)
  await same(lake, 'inter', ['a', 'b'])
  assert.ok(!lake.log.includes('streamed commit'))
  await two.query('commit')
  await same(lake, 'inter', ['a', 'b'])
  assert.equal(lake.log.filter((line) => line === 'streamed commit').length, 1)
  await one.query("update inter.a set v = 'one' where id <= 1000; commit")
  await same(lake, 'inter', ['a', 'b'])
  assert.equal(lake.log.filter((line) => line === 'streamed commit').length, 2)
  await Promise.all([one.end(), two.end()])
})

test('savepoints: kept, rolled back, nested, and the whole', async () => {
  await using lake = await schema('save')
  await client.query(`begin; ${fill('save.a', 1, 1000)};
    savepoint s; ${fill('save.a', 1001, 2000)}; update save.b set v = 'gone'; rollback to s;
    ${fill('save.a', 2001, 3000)}; savepoint t; ${fill('save.b', 1, 1000)};
    savepoint u; delete from save.a where id < 0; savepoint v; ${fill('save.a', 5001, 6000)}; release v; rollback to u;
    update save.b set v = 'kept' where id > 500; release t; ${fill('save.a', 1001, 1500)}; commit`)
  await same(lake, 'save', ['a', 'b'])
  assert.ok(lake.log.includes('streamed commit'))
  const commits = lake.commits
  // As a whole, once while it is known to be open.
  await client.query(`begin; ${fill('save.a', 20_001, 21_000)}; truncate save.b; rollback`)
  const other = await connect(server.url)
  await other.query(`begin; ${fill('save.a', 20_001, 23_000)}`)
  await client.query("insert into save.b values (90000, 'x')")
  await same(lake, 'save', ['a', 'b'])
  await other.query('rollback')
  await client.query(`begin; truncate save.a; ${fill('save.a', 1, 3000)}; savepoint s; truncate save.b; rollback to s; commit`)
  await same(lake, 'save', ['a', 'b'])
  assert.equal(lake.commits, commits + 2)
  await other.end()
})

test('a connection that is cut between segments, and a start between segments', async () => {
  const lake = await schema('cut')
  const other = await connect(server.url)
  await other.query(`begin; ${fill('cut.a', 1, 3000)}; savepoint s; ${fill('cut.a', 3001, 4000)}`)
  await client.query("insert into cut.b values (1, 'x')")
  let inserts = await streamed(lake, 'insert', 3)
  const { aborts } = lake
  await client.query(
    `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'frazil_cut' and active_pid is not null`,
  )
  await lake.until(() => lake.aborts > aborts, 'a lost connection')
  await other.query(`rollback to s; ${fill('cut.b', 2, 3000)}`)
  inserts = await streamed(lake, 'insert', inserts + 3)
  const state = lake.state()
  const rows = lake.rows('cut.a')
  await lake.close()
  // The slot has told of the open transaction, which the lake does not have.
  await using again = new MapLake({ name: 'cut', url: server.url, tables: ['cut.*'], into: 'cut.{table}' }, { state })
  for (const name of ['cut.a', 'cut.b']) for (const [key, row] of lake.table(name).rows) again.table(name).rows.set(key, row)
  await streamed(again, 'insert', 3)
  assert.deepEqual(again.rows('cut.a'), rows)
  await other.query('commit')
  await same(again, 'cut', ['a', 'b'])
  await other.end()
})

test('a change of a table in a large transaction: the stream is opened again for whole transactions', async () => {
  await using lake = await schema('ddl')
  const other = await connect(server.url)
  await other.query(`begin; ${fill('ddl.a', 1, 3000)}; alter table ddl.b add column w int; ${fill('ddl.b', 1, 3000)}`)
  await lake.until(() => lake.observed.some((event) => event.type === 'notice' && event.message.includes('whole transactions')))
  await client.query("insert into ddl.a values (100001, 'x')")
  await same(lake, 'ddl', ['a'])
  assert.equal(lake.table('ddl.b').failed, null, 'it may never have happened')
  await other.query('rollback')
  await client.query(`begin; ${fill('ddl.a', 1, 3000)}; ${fill('ddl.b', 1, 3000)}; commit`)
  await same(lake, 'ddl', ['a', 'b'])
  await other.end()
})

test('behind a change of a table in a large transaction, large transactions come before they end again', async () => {
  await using lake = await schema('again')
  const told = (what: string): boolean => lake.observed.some((event) => event.type === 'notice' && event.message.includes(what))
  await client.query(
    `begin; ${fill('again.a', 1, 3000)}; alter table again.b add column w int; ${fill('again.b', 1, 3000)}; commit`,
  )
  await lake.until(() => told('whole transactions'), 'the stream of whole transactions')
  await lake.until(() => told('before they end'), 'the stream of transactions before they end')
  await same(lake, 'again', ['a'])
  assert.ok(!lake.log.includes('streamed commit'))
  await client.query(fill('again.a', 3001, 6000))
  await same(lake, 'again', ['a'])
  assert.ok(lake.log.includes('streamed commit'))
})

test('prepared transactions come when they are committed, also after a restart of the server', async () => {
  await using lake = await schema('two')
  await client.query(`begin; ${fill('two.a', 1, 3000)}; prepare transaction 'large'`)
  await client.query("begin; insert into two.a values (9000, 'small'); prepare transaction 'small'")
  await client.query(`begin; ${fill('two.a', 3001, 6000)}; prepare transaction 'never'`)
  await client.query("insert into two.b values (1, 'x')")
  await same(lake, 'two', ['a', 'b'])
  await client.query("commit prepared 'small'")
  await same(lake, 'two', ['a', 'b'])
  await client.end()
  await server.restart()
  client = await connect(server.url)
  await client.query("commit prepared 'large'; ")
  await client.query("rollback prepared 'never'")
  await client.query("insert into two.b values (2, 'x')")
  await same(lake, 'two', ['a', 'b'])
  assert.equal(lake.rows('two.a').length, 3501)
})
