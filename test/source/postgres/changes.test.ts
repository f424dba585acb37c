import assert from 'node:assert/strict'
import { test } from 'node:test'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { MapLake, rowsOf, show } from './lake.ts'

const { server, client } = await postgresForFile()

async function same(lake: MapLake, tables: Record<string, string>): Promise<void> {
  await lake.caughtUp()
  for (const [name, table] of Object.entries(tables))
    assert.deepEqual(lake.rows(name), await rowsOf(client, `select * from ${table}`), name)
}

test('every statement, in every order within a transaction', async () => {
  await client.query(
    "create schema one; create table one.t (id int primary key, v text); insert into one.t select i, 'v' || i from generate_series(1, 100) i",
  )
  await using lake = new MapLake({ name: 'one', url: server.url, tables: ['one.*'] })
  await lake.until(() => lake.streaming)
  assert.equal(lake.table('one.one_t').copied?.rows, 100)
  const check = (): Promise<void> => same(lake, { 'one.one_t': 'one.t' })
  for (const sql of [
    "insert into one.t values (101, 'a'), (102, null)",
    "update one.t set v = v || '!' where id % 2 = 0",
    'update one.t set id = id + 1000 where id < 10',
    'delete from one.t where id between 20 and 30',
    // A swap of two keys through a third value, a chain, and the same row again and again.
    'begin; update one.t set id = -1 where id = 40; update one.t set id = 40 where id = 41; update one.t set id = 41 where id = -1; commit',
    'begin; update one.t set id = 5001 where id = 50; update one.t set id = 5002 where id = 5001; update one.t set id = 5003 where id = 5002; commit',
    "begin; insert into one.t values (7000, 'x'); update one.t set v = 'y' where id = 7000; delete from one.t where id = 7000; insert into one.t values (7000, 'z'); commit",
    "begin; delete from one.t where id = 60; insert into one.t values (60, 'again'); update one.t set id = 61000 where id = 60; commit",
    // Savepoints.
    "begin; insert into one.t values (8001, 'kept'); savepoint a; insert into one.t values (8002, 'gone'); update one.t set v = 'gone'; rollback to a; insert into one.t values (8003, 'kept'); commit",
    'begin; delete from one.t; rollback',
    // TRUNCATE between other changes.
    "begin; insert into one.t values (9001, 'before'); truncate one.t; insert into one.t values (9001, 'after'), (9002, 'after'); update one.t set v = 'later' where id = 9002; commit",
    'truncate one.t',
    "insert into one.t select i, repeat('x', i % 300) from generate_series(1, 3000) i",
    "update one.t set v = 'all'",
    'delete from one.t where id > 10',
  ]) {
    await client.query(sql)
    await check()
  }
})

test('replica identities: index, full with and without a key; composite, text and wide keys', async () => {
  await client.query(`
    create schema ids;
    create table ids.by_index (id int primary key, code text not null, v text);
    create unique index on ids.by_index (code);
    alter table ids.by_index replica identity using index by_index_code_idx;
    create table ids.full_key (id int primary key, v text);
    alter table ids.full_key replica identity full;
    create table ids.full_rows (a int, b text);
    alter table ids.full_rows replica identity full;
    create table ids.pair (v text, b text not null, a int not null, primary key (a, b));
    create table ids.wide (k text primary key, v int);
    insert into ids.by_index values (1, 'a', 'x'), (2, 'b', 'y');
    insert into ids.full_key values (1, 'x'), (2, 'y');
    insert into ids.full_rows values (1, 'x'), (1, 'x'), (1, 'x'), (null, null), (null, null);
    insert into ids.pair values ('x', 'b', 1), ('y', 'c', 1)`)
  await client.query("insert into ids.wide select string_agg(md5(i::text), ''), 1 from generate_series(1, 70) i")
  await using lake = new MapLake({ name: 'ids', url: server.url, tables: ['ids.*'], into: 'ids.{table}' })
  await lake.until(() => lake.streaming)
  const check = (): Promise<void> =>
    same(lake, {
      'ids.by_index': 'ids.by_index',
      'ids.full_key': 'ids.full_key',
      'ids.full_rows': 'ids.full_rows',
      'ids.pair': 'ids.pair',
      'ids.wide': 'ids.wide',
    })
  assert.deepEqual(lake.table('ids.by_index').source.key, { kind: 'columns', columns: [1] })
  assert.deepEqual(lake.table('ids.full_key').source.key, { kind: 'columns', columns: [0] })
  assert.deepEqual(lake.table('ids.full_rows').source.key, { kind: 'row' })
  // Not the order of the index, of which the stream does not tell.
  assert.deepEqual(lake.table('ids.pair').source.key, { kind: 'columns', columns: [1, 2] })
  assert.deepEqual(
    lake.table('ids.by_index').source.fields.map((field) => field.required),
    [false, true, false],
  )
  for (const sql of [
    'update ids.by_index set id = 10 where id = 1',
    "update ids.by_index set code = 'c' where id = 10; delete from ids.by_index where id = 2",
    "update ids.full_key set v = 'z'; update ids.full_key set id = 3 where id = 1; delete from ids.full_key where id = 2",
    'delete from ids.full_rows where ctid = (select min(ctid) from ids.full_rows)',
    "update ids.full_rows set b = 'changed' where ctid = (select min(ctid) from ids.full_rows)",
    'delete from ids.full_rows where ctid = (select max(ctid) from ids.full_rows where a is null)',
    "update ids.pair set a = 2 where b = 'c'; update ids.pair set v = 'w'; delete from ids.pair where b = 'b'",
    'update ids.wide set v = 2',
    "update ids.wide set k = k || 'x'",
    'delete from ids.wide',
  ]) {
    await client.query(sql)
    await check()
  }
})

test('a large value that did not change: taken from the old row or the old key, else said to be that of the row before', async () => {
  await client.query(`
    create schema toast;
    create table toast.whole (id int primary key, big text, n int);
    alter table toast.whole replica identity full;
    create table toast.keyed (k text primary key, big text, n int);
    alter table toast.keyed alter k set storage external;
    create table toast.several (id int primary key, a text, n int, b text, c bytea)`)
  const big = (seed: number): string => `(select string_agg(md5((i * ${seed})::text), '') from generate_series(1, 1000) i)`
  const key = "(select string_agg(md5(i::text), '') from generate_series(1, 70) i)"
  await client.query(`
    insert into toast.whole values (1, ${big(7)}, 1);
    insert into toast.keyed select ${key}, ${big(3)}, 1;
    insert into toast.several select i, ${big(3)} || i, 1, ${big(4)}, ${big(5)}::bytea
      from generate_series(1, 3) i`)
  await using lake = new MapLake({ name: 'toast', url: server.url, tables: ['toast.*'], into: 'toast.{table}' })
  await lake.until(() => lake.streaming)
  for (const sql of [
    'update toast.whole set n = 2; update toast.keyed set n = 2',
    'update toast.whole set n = 3, id = 2',
    "update toast.keyed set k = k || 'x'",
    "update toast.keyed set k = 'short'",
    'update toast.several set n = n + 1',
    `update toast.several set a = a || 'x' where id = 1`,
    `begin; update toast.several set b = null where id = 2; update toast.several set n = 9 where id = 2; update toast.several set id = 12 where id = 2; commit`,
    `begin; update toast.several set id = 4 where id = 1; update toast.several set id = 1 where id = 3; update toast.several set id = 3 where id = 4; commit`,
    `begin; update toast.several set n = 7; delete from toast.several where id = 12; insert into toast.several (id, n) values (12, 1);
      update toast.several set n = 8; commit`,
  ]) {
    await client.query(sql)
    await same(lake, { 'toast.whole': 'toast.whole', 'toast.keyed': 'toast.keyed', 'toast.several': 'toast.several' })
  }
})

test('odd names, many tables, partitions, and tables that are left out', async () => {
  await client.query(`
    create schema "Sales Data";
    create table "Sales Data"."Ünï ""quoted"" 表" ("Key Col" int primary key, "weird.""name" text, "select" int);
    create table "Sales Data".plain (id int primary key);
    create table parts (id int, day date, v int, primary key (id, day)) partition by range (day);
    create table parts_1 partition of parts for values from ('2024-01-01') to ('2024-02-01');
    create table parts_2 (v int, day date not null, id int not null, primary key (id, day));
    alter table parts attach partition parts_2 for values from ('2024-02-01') to ('2024-03-01');
    create table no_key (a int);
    create table identity_nothing (id int primary key); alter table identity_nothing replica identity nothing;
    create table deferrable_key (id int primary key deferrable);
    create unlogged table unlogged (id int primary key);
    create table generated (id int primary key, doubled int generated always as (id * 2) stored);
    insert into parts values (1, '2024-01-05', 1), (2, '2024-02-05', 2);
    insert into "Sales Data"."Ünï ""quoted"" 表" values (1, 'x', 2)`)
  const many = Array.from(
    { length: 60 },
    (_, i) => `create table many.m${i} (id int primary key, v text); insert into many.m${i} values (0, 'copied')`,
  )
  await client.query(`create schema many; ${many.join(';')}`)
  await using lake = new MapLake({
    name: 'odd',
    url: server.url,
    tables: ['"Sales Data".*', 'parts', 'no_key', 'identity_nothing', 'deferrable_key', 'unlogged', 'generated', 'many.*'],
    into: 'odd.{schema}_{table}',
  })
  await lake.until(() => lake.streaming)
  const failed = lake.log.filter((line) => line.startsWith('failed')).join('\n')
  for (const name of ['no_key', 'identity_nothing', 'deferrable_key'])
    assert.match(failed, new RegExp(`no-identity: table public\\.${name} `))
  assert.match(failed, /unlogged-table: table public\.unlogged/)
  assert.equal(failed.split('\n').length, 4)
  await client.query(`insert into no_key values (1); update no_key set a = 2`) // not published: not broken by us
  await client.query(`
    begin;
    insert into "Sales Data"."Ünï ""quoted"" 表" values (2, null, 3);
    update "Sales Data"."Ünï ""quoted"" 表" set "weird.""name" = 'ß', "Key Col" = 7 where "Key Col" = 1;
    update parts set day = '2024-02-07' where id = 1; insert into parts values (3, '2024-02-08', 3); delete from parts where id = 2;
    insert into generated (id) values (1), (2); update generated set id = 5 where id = 1;
    commit`)
  await client.query('begin')
  for (let i = 0; i < 180; i++) await client.query(`insert into many.m${(i * 7) % 60} values (${1 + i}, 'streamed')`)
  await client.query('truncate many.m3, many.m4; commit')
  const names = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`odd.many_m${i}`, `many.m${i}`]))
  await same(lake, {
    ...names,
    'odd.Sales Data_Ünï "quoted" 表': '"Sales Data"."Ünï ""quoted"" 表"',
    'odd.public_generated': '(select id from generated) g',
  })
  const parts = lake.table('odd.public_parts')
  assert.deepEqual([...parts.rows.keys()].sort(), ['1 19760', '3 19761'])
})

test('big rows, small memory: the source waits and loses nothing', async () => {
  await client.query(
    "create table big (id int primary key, v text, w bytea); insert into big select i, repeat(md5(i::text), 100000), decode(repeat('ab', i * 100000), 'hex') from generate_series(1, 5) i",
  )
  await using lake = new MapLake({ name: 'big', url: server.url, tables: ['big'] }, { memory: 32 << 20 })
  await lake.until(() => lake.streaming)
  await client.query(
    "insert into big select i, repeat(md5(i::text), 150000), null from generate_series(11, 16) i; update big set v = v || 'x', w = w || '\\x01' where id < 3",
  )
  await lake.caughtUp()
  const { rows } = await client.query<{ id: number; v: string; w: Buffer | null }>('select * from big')
  for (const row of rows) {
    const got = lake.table('big.big').rows.get(String(row.id))
    assert.ok(got?.values[1] === row.v, `row ${row.id}`)
    assert.ok(show(got.values[2]) === show(row.w), `row ${row.id}`)
  }
  assert.equal(lake.table('big.big').rows.size, rows.length)
})

test('a changed table is told in its new shape, in its place; one that is gone stops', async () => {
  await client.query(
    'create table evolving (id int primary key, v text); create table later (id int primary key); create table dropped (id int primary key); create table steady (id int primary key)',
  )
  const config = { name: 'evolving', url: server.url, tables: ['evolving', 'later', 'dropped', 'steady'] }
  await using lake = new MapLake(config)
  await lake.until(() => lake.streaming)
  await client.query(
    'insert into evolving values (1, null); alter table evolving add column w int default 7; insert into evolving values (2, null, 1); insert into steady values (1)',
  )
  await lake.caughtUp()
  const { rows, source } = lake.table('evolving.evolving')
  assert.deepEqual(rows.get('1')?.values, [1, null])
  assert.deepEqual(rows.get('2')?.values, [2, null, 1])
  assert.deepEqual(source.columnIds, [1, 2, 3])
  assert.equal(source.fields[2].initialDefault, '7')
  assert.deepEqual(lake.rows('evolving.steady'), ['1'])
  await lake.close()
  await client.query(
    'alter table later alter id type bigint; insert into later values (1); drop table dropped; insert into steady values (2)',
  )
  await using again = new MapLake(config, { state: lake.state() })
  await again.until(() => again.streaming)
  await again.caughtUp()
  const told = again.log.filter((line) => line.startsWith('failed') || line.startsWith('table')).join('\n')
  assert.match(told, /table-gone: table public\.dropped/)
  assert.match(told, /^table later$/m)
  assert.deepEqual(again.table('evolving.later').source.fields[0].type, { kind: 'long' })
  assert.deepEqual(again.rows('evolving.steady'), ['2'], 'what happened in between came')
})
