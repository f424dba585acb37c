import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { FrazilError } from '../../../src/base/index.ts'
import { checkPostgresSource, dropPostgresSource } from '../../../src/source/index.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { MapLake, rowsOf } from './lake.ts'

const { server, client } = await postgresForFile()
const {
  rows: [{ version }],
} = await client.query<{ version: number }>("select current_setting('server_version_num')::int as version")

async function same(lake: MapLake, name: string, query: string, what: string): Promise<void> {
  await lake.caughtUp()
  assert.deepEqual(lake.rows(name), await rowsOf(client, query), what)
}

async function failure(lake: MapLake): Promise<FrazilError> {
  await lake.done
  assert.ok(lake.error instanceof FrazilError, String(lake.error))
  return lake.error
}

/** The publication with everything that could be altered. */
async function definition(name: string): Promise<unknown> {
  const { rows } = await client.query(
    "select p.*, obj_description(p.oid, 'pg_publication') as comment, (select json_agg(t) from pg_publication_tables t where t.pubname = p.pubname) as tables from pg_publication p where pubname = $1",
    [name],
  )
  return rows
}

suite('a publication that somebody else made', () => {
  test('row filters: copy and stream have the rows that pass; rows come in and go out by updates', async (t) => {
    if (version < 150_000) return t.skip('row filters came with Postgres 15')
    await client.query(`
      create table people (region text, id int, note text, primary key (region, id));
      insert into people select case when i % 2 = 0 then 'eu' else 'us' end, i, 'copied' from generate_series(1, 40) i;
      create publication dba_people for table people where (region = 'eu' and id <> 13)`)
    const made = await definition('dba_people')
    await using lake = new MapLake({ name: 'people', url: server.url, tables: ['people'], publication: 'dba_people' })
    await lake.until(() => lake.streaming)
    assert.equal(lake.table('people.people').copied?.rows, 20)
    const query = "select region, id, note from people where region = 'eu' and id <> 13"
    for (const sql of [
      "insert into people values ('eu', 100, 'in'), ('us', 100, 'out'), ('eu', 13, 'out')",
      "update people set note = 'updated' where id < 10",
      "update people set region = 'eu' where id = 1",
      "update people set region = 'us' where id = 2",
      "update people set region = 'eu', note = 'there' where id = 5; update people set region = 'us' where id = 5; update people set region = 'eu' where id = 5",
      "begin; update people set region = 'us' where id = 4; insert into people values ('eu', 4, 'another'); commit",
      "begin; update people set region = 'x' where id = 6; update people set region = 'eu', id = 60 where id = 6; commit",
      "delete from people where id = 100; delete from people where region = 'us'",
      "begin; delete from people where id = 8; insert into people values ('eu', 8, 'again'); update people set region = 'us' where id = 8; commit",
      'truncate people',
      "insert into people values ('eu', 1, 'new'), ('us', 1, 'new')",
    ]) {
      await client.query(sql)
      await same(lake, 'people.people', query, sql)
    }
    assert.deepEqual(await definition('dba_people'), made, 'it is never altered')
  })

  test('a row that comes in with a large value that did not change: its true value, or the table stops; never a null', async (t) => {
    if (version < 150_000) return t.skip('row filters came with Postgres 15')
    await client.query(`
      create table heavy (id int primary key, big text); alter table heavy alter big set storage external;
      create table heavy_full (id int primary key, big text); alter table heavy_full alter big set storage external;
      alter table heavy_full replica identity full;
      insert into heavy values (1, repeat('x', 5000)); insert into heavy_full values (1, repeat('x', 5000));
      create publication dba_heavy for table heavy where (id > 10), heavy_full where (id > 10)`)
    await using lake = new MapLake({ name: 'heavy', url: server.url, tables: ['heavy', 'heavy_full'], publication: 'dba_heavy' })
    await lake.until(() => lake.streaming)
    await client.query('update heavy set id = 11; update heavy_full set id = 11')
    await same(lake, 'heavy.heavy_full', 'select * from heavy_full', 'the old row has the value')
    if (lake.table('heavy.heavy').failed === null) await same(lake, 'heavy.heavy', 'select * from heavy', 'sent')
    else assert.match(lake.table('heavy.heavy').failed?.message ?? '', /column "big" was not sent/)
  })

  test('column lists: only these columns, from copy and stream; without the key the table is left out', async (t) => {
    if (version < 150_000) return t.skip('column lists came with Postgres 15')
    await client.query(`
      create table wide (secret text, id int primary key, "Shown" text, odd polygon); insert into wide values ('s', 1, 'a', null);
      create table headless (id int primary key, v text);
      create publication dba_columns for table wide (id, "Shown"), headless (v) with (publish = 'insert, update, delete, truncate')`)
    await using lake = new MapLake({ name: 'cols', url: server.url, tables: ['wide', 'headless'], publication: 'dba_columns' })
    await lake.until(() => lake.streaming)
    assert.deepEqual(
      lake.table('cols.wide').source.fields.map(({ name }) => name),
      ['id', 'Shown'],
    )
    for (const sql of [
      "insert into wide values ('s', 2, 'b', null)",
      "update wide set secret = 't'",
      `update wide set "Shown" = 'c', id = 3 where id = 1`,
      'delete from wide where id = 2',
    ]) {
      await client.query(sql)
      await same(lake, 'cols.wide', 'select id, "Shown" from wide', sql)
    }
    assert.match(
      lake.log.filter((line) => line.startsWith('failed')).join(),
      /^failed no-identity: table public\.headless is published without a column of its key/,
    )
  })

  test('inserts only: rows are appended, also without a key, and what is not sent is not seen', async () => {
    const logs = `DBA's, "Log"`
    const filter = version >= 150_000 ? ' where (kind <> 3)' : ''
    await client.query(`
      create table log_lines (kind int, text text); insert into log_lines values (1, 'copied'), (3, 'filtered');
      create table keyed_log (id int primary key, v text); insert into keyed_log values (1, 'copied');
      create publication "DBA's, ""Log""" for table log_lines${filter}, keyed_log with (publish = 'insert')`)
    const report = await checkPostgresSource(
      { name: 'log', url: server.url, tables: ['log_lines', 'keyed_log'], publication: logs },
      { lakeId: null, running: false, memo: null, position: null },
    )
    assert.ok(report.findings.every(({ level }) => level !== 'error' && level !== 'warning'))
    assert.match(
      report.findings.find(({ code }) => code === 'partial-publication')?.message ?? '',
      /^publication DBA's, "Log" does not send UPDATE, DELETE, TRUNCATE, so the lake does not see them: rows are only appended$/,
    )
    assert.deepEqual(
      report.tables.map(({ key }) => key),
      ['none', 'none'],
    )
    await using lake = new MapLake({ name: 'log', url: server.url, tables: ['log_lines', 'keyed_log'], publication: logs })
    await lake.until(() => lake.streaming)
    await client.query(`
      insert into log_lines values (2, 'streamed'), (3, 'filtered'), (2, 'streamed'); update log_lines set text = 'unseen';
      delete from log_lines; insert into keyed_log values (2, 'x'); update keyed_log set v = 'y'; delete from keyed_log;
      insert into keyed_log values (2, 'again'); truncate keyed_log`)
    await lake.caughtUp()
    const filtered = filter === '' ? ['3 "filtered"', '3 "filtered"'] : []
    assert.deepEqual(lake.rows('log.log_lines'), ['1 "copied"', '2 "streamed"', '2 "streamed"', ...filtered])
    assert.deepEqual(lake.rows('log.keyed_log'), ['1 "copied"', '2 "again"', '2 "x"'])
  })

  test('updates or deletes alone: rows that come again replace those that are there', async () => {
    await client.query(`
      create table upserts (id int primary key, v text); insert into upserts values (1, 'a'), (2, 'b');
      create publication dba_upserts for table upserts with (publish = 'insert, update')`)
    await using lake = new MapLake({ name: 'ups', url: server.url, tables: ['upserts'], publication: 'dba_upserts' })
    await lake.until(() => lake.streaming)
    await client.query(`
      delete from upserts where id = 1; insert into upserts values (1, 'again'); update upserts set v = v || '!';
      update upserts set id = 3 where id = 2; delete from upserts where id = 3; insert into upserts values (3, 'c'), (2, 'd')`)
    await same(lake, 'ups.upserts', 'select * from upserts', 'those that were not only deleted')
  })

  test('all tables, and partitions under their own names', async () => {
    await client.query(`
      create schema lands; create table lands.plain (id int primary key);
      create table lands.roots (id int primary key, v text) partition by range (id);
      create table lands.roots_low partition of lands.roots for values from (0) to (100);
      create table lands.roots_high partition of lands.roots for values from (100) to (200);
      insert into lands.roots values (1, 'a'), (101, 'b');
      create publication dba_all for all tables`)
    const tables = ['lands.*', 'lands.roots_low', 'lands.roots_high']
    await using lake = new MapLake({ name: 'all', url: server.url, tables, publication: 'dba_all', into: 'all.{table}' })
    await lake.until(() => lake.streaming)
    assert.deepEqual([...lake.tables.values()].map(({ source }) => source.name).sort(), ['plain', 'roots_high', 'roots_low'])
    await client.query(
      "insert into lands.plain values (1); update lands.roots set id = 102 where id = 1; update lands.roots set v = 'c'",
    )
    await same(lake, 'all.roots_low', 'select * from lands.roots_low', 'low')
    await same(lake, 'all.roots_high', 'select * from lands.roots_high', 'high')
    const root = await failure(new MapLake({ name: 'root', url: server.url, tables: ['lands.roots'], publication: 'dba_all' }))
    assert.equal(root.code, 'not-in-publication')
    assert.match(root.hint ?? '', /name its partitions; or: .*publish_via_partition_root = true/)
  })

  test('a table that it does not send is refused by name, and not added', async () => {
    await client.query(
      'create table sent (id int primary key); create table unsent (id int primary key); create publication dba_some for table sent',
    )
    const config = { name: 'some', url: server.url, publication: 'dba_some' }
    const error = await failure(new MapLake({ ...config, tables: ['sent', 'unsent'] }))
    assert.equal(error.code, 'not-in-publication')
    assert.equal(error.hint, 'ALTER PUBLICATION "dba_some" ADD TABLE "public"."unsent"')
    const { rows } = await client.query("select tablename from pg_publication_tables where pubname = 'dba_some'")
    assert.equal(rows.length, 1)
  })

  test('columns that Postgres computes are mirrored where it sends them', async (t) => {
    if (version < 180_000) return t.skip('publish_generated_columns came with Postgres 18')
    await client.query(`
      create table sums (id int primary key, twice int generated always as (id * 2) stored, thrice int generated always as (id * 3) virtual);
      insert into sums values (1); create publication dba_sums for table sums with (publish_generated_columns = stored)`)
    await using lake = new MapLake({ name: 'sums', url: server.url, tables: ['sums'], publication: 'dba_sums' })
    await lake.until(() => lake.streaming)
    await client.query('insert into sums values (2); update sums set id = 5 where id = 1')
    await same(lake, 'sums.sums', 'select id, twice from sums', 'streamed')
  })

  test('it goes on after a restart; a filter that was changed or a publication that was dropped is noticed', async (t) => {
    if (version < 150_000) return t.skip('row filters came with Postgres 15')
    await client.query(`
      create table goes (id int primary key, v text); create table steady (id int primary key); insert into goes values (1, 'a'), (50, 'b');
      create publication dba_goes for table goes where (id < 10), steady`)
    const config = { name: 'goes', url: server.url, tables: ['goes', 'steady'], publication: 'dba_goes' }
    const first = new MapLake(config)
    await first.until(() => first.streaming)
    await client.query("insert into goes values (2, 'c'), (60, 'd')")
    await first.caughtUp()
    await first.close()
    assert.deepEqual(first.rows('goes.goes'), ['1 "a"', '2 "c"'])
    await client.query("insert into goes values (3, 'e')")
    const second = new MapLake(config, { state: first.state(), acknowledge: false })
    await second.until(() => second.streaming)
    await second.caughtUp()
    assert.deepEqual(second.rows('goes.goes'), ['3 "e"'])
    await second.close()
    await client.query('alter publication dba_goes set table goes where (id < 100), steady')
    const third = new MapLake(config, { state: first.state(), acknowledge: false })
    await third.until(() => third.streaming)
    await client.query('insert into steady values (1)')
    await third.caughtUp()
    assert.match(third.log.join('\n'), /failed not-published: .*other rows of table public\.goes are published than before/)
    assert.deepEqual(third.rows('goes.steady'), ['1'])
    await third.close()
    await client.query('drop publication dba_goes')
    const gone = await failure(new MapLake(config, { state: first.state(), acknowledge: false }))
    assert.equal(gone.code, 'publication-missing')
    assert.deepEqual(await definition('dba_goes'), [], 'it is not made again')
    const other = await failure(new MapLake({ ...config, publication: 'dba_all' }, { state: first.state(), acknowledge: false }))
    assert.equal(other.code, 'other-publication')
  })

  test('a slot that the lake does not know is not touched; drop takes its own slot, and leaves the publication', async () => {
    await client.query('create table kept (id int primary key); create publication dba_kept for table kept')
    const config = { name: 'kept', url: server.url, tables: ['kept'], publication: 'dba_kept' }
    await client.query("select pg_create_logical_replication_slot('frazil_kept', 'pgoutput')")
    const error = await failure(new MapLake(config))
    assert.equal(error.code, 'slot-not-ours')
    assert.match(error.message, /a first start of this source that was killed/)
    assert.match(
      error.hint ?? '',
      /^nobody reads it now, and it keeps the log from [0-9A-F/]+ on; if it is of such a start: SELECT pg_drop_replication_slot\('frazil_kept'\),/,
    )
    await assert.rejects(dropPostgresSource(config, 'lake-1'), { code: 'slot-not-ours' })
    await client.query("select pg_drop_replication_slot('frazil_kept')")
    const lake = new MapLake(config)
    await lake.until(() => lake.streaming)
    await lake.close()
    const { memo } = lake.state()
    await assert.rejects(dropPostgresSource(config, 'lake-1'), { code: 'slot-not-ours' })
    assert.deepEqual(await dropPostgresSource(config, 'lake-1', memo), { slot: 'frazil_kept', publication: null })
    assert.notDeepEqual(await definition('dba_kept'), [])
  })
})
