import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, it } from 'node:test'
import { FrazilError } from '../../../src/base/index.ts'
import type { Clock } from '../../../src/base/index.ts'
import { SqliteCatalog } from '../../../src/iceberg/catalog/index.ts'
import { catalogConformance } from '../../conformance/catalog.ts'
import { rejectsWith } from '../../conformance/store.ts'

const scratch = mkdtempSync(join(tmpdir(), 'frazil-catalog-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
let files = 0
const fresh = (): string => join(scratch, `catalog-${files++}.db`)
const orders = { namespace: 'shop', name: 'orders' }

catalogConformance('sqlite', async () => {
  const path = fresh()
  return { catalog: await SqliteCatalog.open(path), again: await SqliteCatalog.open(path) }
})

/** As Java's JdbcCatalog makes it without `jdbc.schema-version=V1`. */
const v0 = `
CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
  table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
  PRIMARY KEY (catalog_name, table_namespace, table_name));
CREATE TABLE iceberg_namespace_properties (catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL,
  property_key VARCHAR(255), property_value VARCHAR(1000), PRIMARY KEY (catalog_name, namespace, property_key));`

catalogConformance('sqlite, tables of form V0', async () => {
  const path = fresh()
  const database = new DatabaseSync(path)
  database.exec(v0)
  database.close()
  return { catalog: await SqliteCatalog.open(path), again: await SqliteCatalog.open(path) }
})

it('says that it is closed to whoever asks behind that', async () => {
  const catalog = await SqliteCatalog.open(fresh())
  await catalog.close()
  await catalog.close()
  const closed = { kind: 'unavailable', code: 'closed' }
  await assert.rejects(catalog.load(orders), closed)
  await assert.rejects(catalog.states(''), closed)
  await assert.rejects(catalog.commit({ tables: [{ ...orders, base: null, next: 'm1' }], states: [] }), closed)
  await assert.rejects(catalog.createNamespace('shop'), closed)
})

it('writes the rows that other engines expect', async () => {
  const path = fresh()
  const catalog = await SqliteCatalog.open(path)
  await catalog.createNamespace('shop')
  await catalog.commit({ tables: [{ ...orders, base: null, next: 'm1' }], states: [] })
  await catalog.commit({ tables: [{ ...orders, base: 'm1', next: 'm2' }], states: [] })
  await catalog.close()
  const database = new DatabaseSync(path)
  const plain = (sql: string): unknown[] =>
    database
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }))
  assert.deepEqual(plain('SELECT * FROM iceberg_tables'), [
    {
      catalog_name: 'frazil',
      table_namespace: 'shop',
      table_name: 'orders',
      metadata_location: 'm2',
      previous_metadata_location: 'm1',
      iceberg_type: 'TABLE',
    },
  ])
  assert.deepEqual(plain('SELECT * FROM iceberg_namespace_properties'), [
    { catalog_name: 'frazil', namespace: 'shop', property_key: 'exists', property_value: 'true' },
  ])
  assert.deepEqual(plain('PRAGMA journal_mode'), [{ journal_mode: 'wal' }])
  database.close()
})

it('sees neither other catalogs in the file nor views, but does not create a table over a view', async () => {
  const path = fresh()
  const other = await SqliteCatalog.open(path, { name: 'other' })
  await other.createNamespace('theirs')
  await other.commit({ tables: [{ ...orders, base: null, next: 'm1' }], states: [] })
  await other.close()
  const database = new DatabaseSync(path)
  database.exec(`INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
    VALUES ('frazil', 'shop', 'v', 'view', 'VIEW'), ('frazil', 'shop', 'old', 'm9', NULL)`)
  database.close()
  const catalog = await SqliteCatalog.open(path)
  assert.deepEqual(await catalog.list(), [{ namespace: 'shop', name: 'old', metadataLocation: 'm9' }])
  assert.deepEqual(await catalog.namespaces(), ['shop'])
  assert.equal(await catalog.load({ namespace: 'shop', name: 'v' }), null)
  const view = { namespace: 'shop', name: 'v' }
  await rejectsWith(catalog.commit({ tables: [{ ...view, base: null, next: 'm' }], states: [] }), 'conflict', 'table-exists')
  await rejectsWith(catalog.commit({ tables: [{ ...view, base: 'view', next: 'm' }], states: [] }), 'conflict', 'table-changed')
  await catalog.close()
})

it('refuses a file of a newer format, and leaves it alone', async () => {
  const path = fresh()
  await (await SqliteCatalog.open(path)).close()
  const database = new DatabaseSync(path)
  database.exec('UPDATE frazil_format SET version = 99')
  database.close()
  await rejectsWith(SqliteCatalog.open(path), 'config', 'newer-format')
})

it('says what is wrong with a file or directory', async () => {
  const path = fresh()
  writeFileSync(path, 'this is not a database, but long enough to be looked at as if it were one'.repeat(20))
  await rejectsWith(SqliteCatalog.open(path), 'corrupt', 'catalog-corrupt')
  await rejectsWith(SqliteCatalog.open(join(scratch, 'no', 'such', 'directory', 'catalog.db')), 'config', 'catalog-open')
  await rejectsWith(SqliteCatalog.open(scratch), 'config', 'catalog-open')
})

it('waits for another writer without holding up the thread, and gives up after a bound', async () => {
  const path = fresh()
  const other = new DatabaseSync(path)
  const slept: number[] = []
  let release = 3
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    async sleep(ms) {
      slept.push(ms)
      if (--release === 0) other.exec('ROLLBACK')
    },
  }
  const catalog = await SqliteCatalog.open(path, { clock })
  other.exec('BEGIN IMMEDIATE')
  await catalog.createNamespace('a')
  assert.equal(slept.length, 3)
  release = Infinity
  other.exec('BEGIN IMMEDIATE')
  await rejectsWith(catalog.createNamespace('b'), 'unavailable', 'catalog-busy')
  assert.ok(slept.length < 200)
  assert.deepEqual(await catalog.namespaces(), ['a'])
  other.close()
  await catalog.close()
})

it('has everything in the file once a commit has resolved', async () => {
  const path = fresh()
  const catalog = await SqliteCatalog.open(path)
  await catalog.commit({ tables: [{ ...orders, base: null, next: 'm1' }], states: [{ key: 's', expected: null, value: 'v' }] })
  // What a crash at this moment leaves: the file and its log.
  const copy = fresh()
  copyFileSync(path, copy)
  copyFileSync(`${path}-wal`, `${copy}-wal`)
  const recovered = await SqliteCatalog.open(copy)
  assert.equal((await recovered.load(orders))?.metadataLocation, 'm1')
  assert.equal((await recovered.state('s'))?.value, 'v')
  await recovered.close()
  await catalog.close()
})

it('lets exactly one of two processes win each round', async () => {
  const path = fresh()
  const rounds = 100
  const catalog = await SqliteCatalog.open(path)
  await catalog.commit({ tables: [{ ...orders, base: null, next: '0' }], states: [{ key: 's', expected: null, value: '' }] })
  const children = ['a', 'b'].map((id) => fork(new URL('./contend.ts', import.meta.url), [path, id, String(rounds)]))
  const wins = await Promise.all(
    children.map(async (child) => {
      const [message, [code]] = await Promise.all([once(child, 'message'), once(child, 'exit')])
      assert.equal(code, 0)
      return message[0] as number[]
    }),
  )
  // Every round was won once, by one of the two, and the state went along each time.
  assert.deepEqual(
    wins.flat().sort((a, b) => a - b),
    Array.from({ length: rounds }, (_, i) => i),
  )
  assert.equal((await catalog.load(orders))?.metadataLocation, String(rounds))
  assert.equal((await catalog.state('s'))?.version, rounds + 1)
  await catalog.close()
})

it('rolls back when a condition fails half-way', async () => {
  const catalog = await SqliteCatalog.open(fresh())
  const failed = catalog.commit({
    tables: [{ ...orders, base: 'm1', next: 'm2' }],
    states: [{ key: 's', expected: null, value: 'v' }],
  })
  await assert.rejects(failed, (error) => error instanceof FrazilError && error.message.includes('shop.orders'))
  assert.equal(await catalog.state('s'), null)
  await catalog.commit({ tables: [{ ...orders, base: null, next: 'm1' }], states: [] })
  await catalog.close()
})
