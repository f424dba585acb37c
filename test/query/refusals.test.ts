import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { SqlEngine } from '../../src/query/index.ts'
import { Lake, columns, failing, rows } from './lake.ts'

describe('statements that are refused', () => {
  const lake = new Lake()
  let engine: SqlEngine
  before(() => {
    engine = lake.open()
    const fields = columns({ id: { kind: 'int' }, word: { kind: 'string' } })
    lake.put('orders', fields, { hot: [lake.hot(fields, [[1, 'a']])], files: [lake.file(fields, [[2, 'b']])] })
    lake.put('other', fields, {})
    writeFileSync(join(lake.folder, 'secret.csv'), 'a,b\n1,2\n')
  })
  after(async () => {
    await engine.close()
    assert.equal(lake.pinned, 0)
    lake.remove()
  })

  const secret = join(lake.folder, 'secret.csv')
  const cases: readonly (readonly [sql: string, code: string, message?: RegExp])[] = [
    ['', 'one-statement', /^there is no statement$/],
    ['-- nothing', 'one-statement'],
    ['SELECT 1; SELECT 2', 'one-statement'],
    ['SELECT 1; DROP TABLE orders', 'read-only'],
    ["INSERT INTO orders VALUES (3, 'c')", 'read-only', /INSERT/],
    ['UPDATE orders SET id = 1', 'read-only', /UPDATE/],
    ['DELETE FROM orders', 'read-only', /DELETE/],
    ['/* a */ CREATE TABLE t (a INT)', 'read-only', /CREATE/],
    ['CREATE VIEW v AS SELECT 1', 'read-only'],
    ['DROP VIEW orders', 'read-only'],
    ['ALTER TABLE orders ADD COLUMN x INT', 'read-only'],
    [`COPY orders TO '${secret}'`, 'read-only', /COPY/],
    [`COPY (SELECT 1) TO '${secret}'`, 'read-only'],
    ["ATTACH 'x.db'", 'read-only', /ATTACH/],
    ['USE memory', 'read-only'],
    ['SET threads = 1', 'read-only', /SET/],
    ["SET VARIABLE frazil_deleted_1 = '0'::BIT", 'read-only'],
    ['RESET VARIABLE frazil_deleted_1', 'read-only'],
    ['PRAGMA version', 'read-only'],
    ['CALL pragma_version()', 'read-only'],
    ['INSTALL spatial', 'read-only'],
    ['LOAD spatial', 'read-only'],
    ['BEGIN', 'read-only'],
    ['CHECKPOINT', 'read-only'],
    ["EXPORT DATABASE 'x'", 'read-only'],
    ['PREPARE p AS SELECT 1', 'read-only'],
    ['EXPLAIN DELETE FROM orders', 'read-only'],
    ['EXPLAIN ANALYZE SELECT 1', 'not-allowed'],
    [`SELECT * FROM '${secret}'`, 'not-allowed', /files/],
    [`SELECT * FROM "${secret}"`, 'not-allowed'],
    ["SELECT * FROM 'https://example.com/x.parquet'", 'not-allowed'],
    [`SELECT * FROM read_csv('${secret}')`, 'not-allowed', /read_csv/],
    [`FROM READ_CSV_AUTO('${secret}')`, 'not-allowed'],
    [`SELECT * FROM read_parquet(['${secret}'])`, 'not-allowed'],
    [`SELECT * FROM system.main.read_text('${secret}')`, 'not-allowed'],
    [`SELECT * FROM read_blob('${secret}')`, 'not-allowed'],
    ["SELECT * FROM glob('/*')", 'not-allowed'],
    [`SELECT * FROM parquet_metadata('${secret}')`, 'not-allowed'],
    ["SELECT * FROM query('DROP TABLE orders')", 'not-allowed'],
    ["SELECT * FROM query_table('orders')", 'not-allowed'],
    ['SELECT * FROM duckdb_settings()', 'not-allowed'],
    ['SELECT * FROM duckdb_variables()', 'not-allowed'],
    ['SELECT * FROM frazil_hot(1)', 'not-allowed'],
    ["SELECT * FROM json_execute_serialized_sql('{}')", 'not-allowed'],
    ["SELECT getenv('HOME')", 'not-allowed', /getenv/],
    ["SELECT id FROM orders WHERE word = current_setting('temp_directory')", 'not-allowed'],
    ["SELECT (SELECT max(getvariable('frazil_deleted_1')))", 'not-allowed'],
    ["SELECT write_log('x')", 'not-allowed'],
    ['SELECT sleep_ms(1000)', 'not-allowed'],
    [`SELECT 1 FROM orders WHERE id IN (SELECT a FROM read_csv('${secret}'))`, 'not-allowed'],
    [`WITH x AS (SELECT * FROM read_csv('${secret}')) SELECT * FROM x`, 'not-allowed'],
    [`SELECT * FROM range(3) t(i), LATERAL (SELECT * FROM read_csv('${secret}'))`, 'not-allowed'],
    [`SELECT unnest((SELECT list(content) FROM read_text('${secret}')))`, 'not-allowed'],
    [`DESCRIBE SELECT * FROM read_csv('${secret}')`, 'not-allowed'],
    [`SUMMARIZE '${secret}'`, 'not-allowed'],
    [`SELECT * FROM (WITH "${secret}" AS (SELECT 1) SELECT * FROM "${secret}") a, "${secret}" b`, 'not-allowed'],
    [`WITH "${secret}" AS (SELECT * FROM "${secret}") SELECT 1`, 'not-allowed'],
    ['SELECT * FROM frazil_0.shop.orders', 'not-allowed', /too many parts/],
    ['SELECT * FROM orders AT (VERSION => 1)', 'not-allowed'],
    ['SHOW DATABASES', 'not-allowed'],
    ['SELECT * FROM (SHOW TABLES) a, orders', 'not-allowed'],
    ['SELECT * FROM information_schema.tables', 'unknown-table'],
    ['SELECT * FROM pg_catalog.pg_class', 'unknown-table'],
    ['SELECT * FROM sqlite_master', 'unknown-table'],
    ['SELECT * FROM ordres', 'unknown-table', /did you mean shop\.orders/],
    ['SELECT * FROM shpo.orders', 'unknown-table', /did you mean shop\.orders/],
    ['SELECT * FROM nothing_like_it', 'unknown-table', /there is no table nothing_like_it$/],
    ['SELECT\n  id,\n  nope FROM orders', 'sql', /"nope"[\s\S]*LINE 3: {3}nope FROM orders\n {10}\^/],
    ['SELEC 1', 'sql', /syntax error at or near "SELEC"\n\nLINE 1: SELEC 1\n {8}\^/],
    ["SELECT 'é', 1 +\n * 2 FROM FROM", 'sql', /LINE 2/],
    ["SELECT 'abc'::INT", 'sql', /Conversion Error/],
    ['SELECT no_such_function(1)', 'sql', /no_such_function/],
    ['SELECT 1 FROM orders WHERE id = ?', 'parameters', /1 parameters, but 0/],
  ]
  for (const [sql, code, message] of cases) {
    it(`${code}: ${sql.replaceAll(lake.folder, '…')}`, () => assert.rejects(rows(engine, sql), failing(code, message)))
  }

  it('gives bad parameters back', async () => {
    await assert.rejects(rows(engine, 'SELECT ?', [1, 2]), failing('parameters'))
    await assert.rejects(rows(engine, 'SELECT ?', [{}]), failing('parameters'))
    await assert.rejects(rows(engine, 'SELECT $name', [1]), failing('parameters'))
    await assert.rejects(rows(engine, 'SELECT ?', [2n ** 127n]), failing('parameters'))
  })

  it('lets a statement that slips through open no file outside the folders of the views', async () => {
    // The same instance settings, without the check of statements.
    const narrow = new Lake()
    const fields = columns({ id: { kind: 'int' } })
    narrow.put('outside', fields, { files: [lake.file(fields, [[1]])] })
    const other = narrow.open()
    try {
      await assert.rejects(rows(other, 'SELECT * FROM outside'), failing('sql', /disabled by configuration/))
    } finally {
      await other.close()
      narrow.remove()
    }
  })

  it('still answers afterwards', async () => {
    assert.deepEqual(await rows(engine, 'SELECT * FROM orders ORDER BY id'), [
      [1, 'a'],
      [2, 'b'],
    ])
  })
})
