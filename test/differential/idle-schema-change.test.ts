import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type pg from 'pg'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { SchemaCase } from '../support/schema-case.ts'
import { connect } from '../support/workload.ts'

let server: EmbeddedPostgres
let client: pg.Client

before(async () => {
  // Its transactions would make rows look younger than they are.
  server = await startPostgres({ settings: { autovacuum: 'off' } })
  client = await connect(server.url)
})

after(async () => {
  await client.end()
  await server.stop()
})

/** A table of 200 rows that is looked at often, and that nobody writes to but the test. */
async function withTable(
  name: string,
  work: (one: SchemaCase) => Promise<void>,
  create = "CREATE TABLE T (id int PRIMARY KEY, a text, b int); INSERT INTO T SELECT i, 'a' || i, i FROM generate_series(1, 200) i",
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-idle-'))
  const one = new SchemaCase({ url: server.url, client }, name, folder, { findTables: '100ms' })
  try {
    await one.run(create)
    await one.start()
    await one.agree()
    await work(one)
  } finally {
    await one.end()
    await rm(folder, { recursive: true, force: true })
  }
}

test('a table that nobody writes to shows its columns of now', { timeout: 180_000 }, () =>
  withTable('idle', async (one) => {
    await one.run('ALTER TABLE T ADD c int DEFAULT 7')
    await one.shows('id', 'a', 'b', 'c')
    await one.agree()
    await one.run('ALTER TABLE T RENAME a TO d')
    await one.shows('id', 'd', 'b', 'c')
    await one.agree()
    // Two changes between two looks may be one or two here.
    await one.run('ALTER TABLE T DROP b; ALTER TABLE T ALTER c TYPE bigint, ADD e text')
    await one.shows('id', 'd', 'c', 'e')
    await one.everywhere()
    await one.run('ALTER TABLE T RENAME c TO f; UPDATE T SET f = f + 1 WHERE id < 10; INSERT INTO T (id) VALUES (500)')
    await one.agree()
    await one.run('ALTER TABLE T ALTER e TYPE int USING 5, ADD g regtype')
    await one.shows('id', 'd', 'f', 'e', 'g')
    await one.copied(2)
    assert.deepEqual((await one.read('DISTINCT e, g', 'e')).rows, [[5, null]])
  }),
)

/** Shows that the catalogue was looked at since: by a column. */
async function looked(one: SchemaCase, name: string): Promise<void> {
  const { columns } = await one.read()
  await one.run(`ALTER TABLE T ADD ${name} int`)
  await one.shows(...columns, name)
}

test('rows that are written anew with other values are copied anew', { timeout: 180_000 }, () =>
  withTable('rewritten', async (one) => {
    await one.run('ALTER TABLE T ALTER b TYPE int USING b * 2')
    await one.copied(2)
    await one.agree()
    // While away, and it does not help that the files change once more.
    await one.stop()
    await one.run('ALTER TABLE T ALTER b TYPE int USING b + 1')
    await one.run('VACUUM FULL T')
    await one.start()
    await one.copied(3)
    await one.agree()
    // Its next row comes before anybody looks.
    await one.run('BEGIN; ALTER TABLE T ALTER b TYPE int USING b + 1, ADD c int; INSERT INTO T VALUES (1000, NULL, 5); COMMIT')
    await one.copied(4)
    await one.agree()
    // Wider by name alone would be in place.
    await one.run('ALTER TABLE T ALTER a TYPE varchar(40)')
    await one.copied(4)
    await one.run("INSERT INTO T VALUES (1001, 'x')")
    await one.copied(5)
    await one.run("BEGIN; ALTER TABLE T ALTER a TYPE text USING upper(a); INSERT INTO T VALUES (1002, 'x'); COMMIT")
    await one.copied(6)
    await one.agree()
    await one.everywhere()
    assert.equal(one.copies, 6)
  }),
)

test('files that change while values do not are nobody’s business', { timeout: 180_000 }, () =>
  withTable('moved', async (one) => {
    // Columns that are touched as well.
    await one.run('ALTER TABLE T ALTER b SET NOT NULL')
    await one.run('VACUUM FULL T')
    await looked(one, 'f')
    await one.run('VACUUM FULL T')
    await looked(one, 'c')
    await one.run('CLUSTER T USING moved_pkey')
    await looked(one, 'd')
    await one.run("TRUNCATE T; INSERT INTO T SELECT i, 'again', i FROM generate_series(1, 50) i")
    await looked(one, 'e')
    await one.run('ALTER TABLE T ALTER b TYPE bigint; INSERT INTO T VALUES (900, NULL, 1)')
    await looked(one, 'g')
    await one.run('UPDATE T SET b = b + 1 WHERE id < 10')
    await one.run('TRUNCATE T')
    await looked(one, 'h')
    await one.everywhere()
    assert.equal(one.copies, 1)
  }),
)

test('a table in partitions', { timeout: 180_000 }, () =>
  withTable(
    'leaves',
    async (one) => {
      await one.run('VACUUM FULL T_low')
      await one.run('CREATE TABLE T_more PARTITION OF T FOR VALUES FROM (1000) TO (2000); INSERT INTO T VALUES (1500)')
      await looked(one, 'c')
      await one.run('ALTER TABLE T ALTER b SET DEFAULT 1')
      await one.run('VACUUM FULL T')
      await looked(one, 'd')
      assert.equal(one.copies, 1)
      await one.run('ALTER TABLE T ALTER b TYPE int USING b * 2')
      await one.copied(2)
      await one.everywhere()
    },
    `CREATE TABLE T (id int PRIMARY KEY, a text, b int) PARTITION BY RANGE (id); CREATE TABLE T_low PARTITION OF T FOR VALUES FROM (0) TO (200);
      CREATE TABLE T_high PARTITION OF T FOR VALUES FROM (200) TO (1000); INSERT INTO T SELECT i, 'a' || i, i FROM generate_series(100, 300) i`,
  ),
)

test('rows that have a value each in a column of which nothing says so any more', { timeout: 180_000 }, () =>
  withTable('filled', async (one) => {
    await one.run('ALTER TABLE T ADD c float8 DEFAULT random(); ALTER TABLE T ALTER c DROP DEFAULT; INSERT INTO T VALUES (900)')
    await one.copied(2)
    await one.agree()
    // Nobody writes a row.
    await one.run('ALTER TABLE T ADD d int GENERATED ALWAYS AS (b * 2) STORED; ALTER TABLE T ALTER d DROP EXPRESSION')
    await one.copied(3)
    await one.agree()
    // The rows are as old as they were.
    await one.stop()
    await one.run('ALTER TABLE T ADD e int DEFAULT 5; ALTER TABLE T ALTER e DROP DEFAULT')
    await one.run('VACUUM FULL T')
    await one.start()
    await one.copied(4)
    await one.agree()
    await one.run('ALTER TABLE T ALTER b TYPE bigint, ADD f int; INSERT INTO T VALUES (901)')
    await one.everywhere()
    assert.equal(one.copies, 4)
  }),
)

test('the same in partitions', { timeout: 180_000 }, () =>
  withTable(
    'filled_leaves',
    async (one) => {
      await one.run(
        'ALTER TABLE T ADD c float8 DEFAULT random(); ALTER TABLE T ALTER c DROP DEFAULT; INSERT INTO T VALUES (150, NULL, 1, 2)',
      )
      await one.copied(2)
      await one.everywhere()
    },
    `CREATE TABLE T (id int PRIMARY KEY, a text, b int) PARTITION BY RANGE (id); CREATE TABLE T_low PARTITION OF T FOR VALUES FROM (0) TO (200);
      CREATE TABLE T_high PARTITION OF T FOR VALUES FROM (200) TO (1000); INSERT INTO T SELECT i, 'a' || i, i FROM generate_series(190, 300) i`,
  ),
)
