import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { Client } from 'pg'
import { systemClock, systemRandom } from '../../src/base/index.ts'
import { SqliteCatalog, loadTable } from '../../src/iceberg/index.ts'
import type { IcebergTable, LiveDataFile } from '../../src/iceberg/index.ts'
import { EventBus } from '../../src/index.ts'
import type { ConfigInput, Frazil } from '../../src/index.ts'
import { localPath, openStore } from '../../src/storage/index.ts'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'

/** As `customer desc` sorts: nulls last. */
function byCustomer({ customer: a }: { customer: string | null }, { customer: b }: { customer: string | null }): number {
  return a === b ? 0 : a === null ? 1 : b === null ? -1 : a < b ? 1 : -1
}

type Server = Awaited<ReturnType<typeof startPostgres>>

describe('partition-by and sort-by of a table', () => {
  let server: Server
  let client: Client
  let folder: string

  before(async () => {
    server = await startPostgres()
    client = new Client({ connectionString: server.url })
    await client.connect()
    folder = mkdtempSync(join(tmpdir(), 'frazil-layout-'))
    await client.query(
      'CREATE TABLE orders (id int PRIMARY KEY, customer text, created_at timestamptz, price numeric(9,2)); ' +
        'CREATE TABLE plain (id int PRIMARY KEY)',
    )
    await client.query(
      `INSERT INTO orders SELECT i, 'c' || (i * 7919 % 100), timestamptz '1969-12-30 00:00Z' + i * interval '1 hour', i FROM generate_series(0, 95) i`,
    )
    await client.query('INSERT INTO orders VALUES (1000, NULL, NULL, NULL)')
  })

  after(async () => {
    await client.end()
    await server.stop()
    rmSync(folder, { recursive: true })
  })

  async function start(tables: ConfigInput['tables'], events = new EventBus()): Promise<Frazil> {
    const source = { type: 'postgres' as const, url: server.url, tables: ['public.*'] }
    const config = { warehouse: join(folder, 'lake'), local: join(folder, 'local'), tables, sources: { s: source } }
    const engine = await open(config, { events })
    for (;;) {
      if ((await engine.status()).ready) return engine
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async function lake(): Promise<{ table: IcebergTable; files: readonly LiveDataFile[] }> {
    const catalog = await SqliteCatalog.open(join(folder, 'lake', 'catalog.db'))
    try {
      const pointer = (await catalog.load({ namespace: 's', name: 'orders' })) ?? assert.fail('the table is in the lake')
      const parts = { store: openStore(join(folder, 'lake')), clock: systemClock, random: systemRandom }
      const table = await loadTable(parts, pointer)
      return { table, files: await table.files() }
    } finally {
      await catalog.close()
    }
  }

  const int = (value: Uint8Array | null): number | null => value && Buffer.from(value).readInt32LE()

  /** Rows of a data file, with their days, in the order of the file. */
  async function rowsOf(file: LiveDataFile): Promise<{ id: number; customer: string | null; day: number | null }[]> {
    const instance = await DuckDBInstance.create(':memory:')
    const connection = await instance.connect()
    const answer = await connection.runAndReadAll(
      `SELECT id, customer, floor(epoch(created_at) / 86400)::INTEGER AS day FROM read_parquet('${localPath(file.path)}')`,
    )
    const rows = answer.getRowObjects() as { id: number; customer: string | null; day: number | null }[]
    connection.closeSync()
    instance.closeSync()
    return rows
  }

  async function agrees(engine: Frazil, where = 'true'): Promise<void> {
    const sql = `SELECT id, customer, price::text AS price FROM %s WHERE ${where} ORDER BY id`
    const expected = await client.query({ text: sql.replace('%s', 'orders'), rowMode: 'array' })
    assert.deepEqual((await engine.query(sql.replace('%s', 's.orders'), { wait: 'now' })).rows, expected.rows)
  }

  const byDay = { 's.orders': { 'partition-by': ['day(created_at)'], 'sort-by': ['customer desc'] } }

  it('holds for the copy and for what is streamed: a file for each day, sorted', async () => {
    const engine = await start(byDay)
    try {
      await engine.flush()
      const copied = await lake()
      assert.deepEqual(
        new Map(copied.files.map(({ partition, recordCount }) => [int(partition.values[0]), recordCount])),
        new Map([-2, -1, 0, 1, null].map((day) => [day, day === null ? 1 : 24])),
      )
      // Rows of one day go to another one, rows come and go.
      await client.query(
        `BEGIN; UPDATE orders SET created_at = created_at + interval '1 day' WHERE id % 10 = 0; DELETE FROM orders WHERE id % 10 = 1;
         INSERT INTO orders SELECT i, 'n' || i % 13, timestamptz '1970-01-01 12:00Z' + i * interval '1 hour', -i FROM generate_series(100, 120) i; COMMIT`,
      )
      await agrees(engine)
      await engine.flush()
      await agrees(engine)
      await agrees(engine, "created_at >= '1970-01-01' AND created_at < '1970-01-02'")
      for (const file of (await lake()).files) {
        const rows = await rowsOf(file)
        assert.deepEqual(new Set(rows.map(({ day }) => day)), new Set([int(file.partition.values[0])]))
        // A copy sorts what comes at one time; it says so only where that is the whole file.
        if (file.sortOrderId === 0 && copied.files.some(({ path }) => path === file.path)) continue
        assert.equal(file.sortOrderId, 1)
        assert.deepEqual(rows, rows.toSorted(byCustomer))
      }
    } finally {
      await engine.close()
    }
  })

  it('is kept by compaction: files of one partition become one, sorted; queries read those of their partitions', async () => {
    const events = new EventBus()
    const engine = await start(byDay, events)
    try {
      await engine.table('s.orders').optimize()
      await agrees(engine)
      const { files } = await lake()
      const days = files.map(({ partition }) => int(partition.values[0]))
      assert.equal(new Set(days).size, days.length)
      for (const [i, file] of files.entries()) {
        assert.equal(file.deletionVector, null)
        const rows = await rowsOf(file)
        assert.deepEqual(new Set(rows.map(({ day }) => day)), new Set([days[i]]))
        assert.equal(file.sortOrderId, 1)
        assert.deepEqual(rows, rows.toSorted(byCustomer))
      }
      const read: unknown[] = []
      events.on((event) => event.type === 'query' && read.push(event.files))
      const of = (count: number) => ({ read: count, skipped: files.length - count })
      for (const [where, count] of [
        ["created_at >= '1970-01-01' AND created_at < '1970-01-02'", 1],
        ["created_at BETWEEN '1970-01-01 20:00:00+00' AND '1970-01-02 01:00:00+00'", 2],
        ['created_at IS NULL', 1],
        ["created_at > '2000-01-01'", 0],
        ['true', files.length],
      ] as const) {
        await agrees(engine, where)
        assert.deepEqual(read.splice(0), [of(count)], where)
      }
    } finally {
      await engine.close()
    }
  })

  it('is changed by the configuration: files that are there stay, deletes reach them', async () => {
    const before = await lake()
    const engine = await start({ 's.orders': { 'partition-by': ['bucket(4, id)', 'truncate(100, price)'], 'sort-by': [] } })
    try {
      await agrees(engine)
      await client.query(`UPDATE orders SET price = price + 1 WHERE id % 5 = 2; DELETE FROM orders WHERE id % 5 = 3`)
      await agrees(engine)
      await engine.flush()
      await agrees(engine)
      const { table, files } = await lake()
      const paths = new Set(files.map(({ path }) => path))
      const kept = before.files.filter(({ path }) => paths.has(path))
      assert.ok(kept.length > 0)
      const added = files.filter(({ path }) => !before.files.some((file) => file.path === path))
      assert.ok(added.length > 4)
      for (const file of files) assert.equal(file.partition.specId, added.includes(file) ? 2 : 1)
      for (const file of added) assert.equal(file.sortOrderId, 0)
      assert.equal(table.layoutFor(table.schema.fields).specId, 2)
    } finally {
      await engine.close()
    }
    // Without a word in the configuration it stays as it is in the lake.
    const again = await start({})
    try {
      await client.query('INSERT INTO orders VALUES (5000, NULL, now(), 1)')
      await agrees(again)
      await again.flush()
      const { files } = await lake()
      assert.equal(files.at(-1)?.partition.specId, 2)
    } finally {
      await again.close()
    }
  })

  it('has bloom filters and metrics as its properties say', async () => {
    const properties = {
      'write.parquet.bloom-filter-enabled.column.customer': true,
      'write.metadata.metrics.default': 'counts',
      'write.metadata.metrics.column.price': 'none',
    }
    const engine = await start({ 's.orders': { 'partition-by': [], 'sort-by': ['id'], properties } })
    try {
      await client.query("INSERT INTO orders SELECT i, 'm' || i, now(), 1 FROM generate_series(7000, 7009) i")
      await agrees(engine)
      await engine.flush()
    } finally {
      await engine.close()
    }
    const { table, files } = await lake()
    assert.equal(table.properties['write.parquet.bloom-filter-enabled.column.customer'], 'true')
    const idOf = (name: string) => table.schema.fields.find((field) => field.name === name)?.id
    // Others may have been put in order meanwhile.
    const file = files.find(({ partition }) => partition.specId === 0) ?? assert.fail('a file was written')
    assert.deepEqual([file.partition.values, file.sortOrderId], [[], table.layoutFor(table.schema.fields).sortOrderId])
    const metrics = (name: string) => file.metrics.find(({ fieldId }) => fieldId === idOf(name))
    assert.equal(metrics('price'), undefined)
    assert.deepEqual([metrics('customer')?.valueCount, metrics('customer')?.lower], [10, undefined])
    // It is sorted by this one.
    assert.equal(Buffer.from(metrics('id')?.lower ?? []).readInt32LE(), 7000)
    const instance = await DuckDBInstance.create(':memory:')
    const connection = await instance.connect()
    const path = localPath(file.path)
    const filters = await connection.runAndReadAll(
      `SELECT path_in_schema FROM parquet_metadata('${path}') WHERE bloom_filter_offset IS NOT NULL`,
    )
    assert.deepEqual(filters.getRows(), [['customer']])
    connection.closeSync()
    instance.closeSync()
  })

  it('goes on without a column that is dropped', async () => {
    const engine = await start({ 's.orders': { 'partition-by': ['bucket(4, id)', 'truncate(100, price)'] } })
    try {
      await client.query('ALTER TABLE orders DROP COLUMN price; INSERT INTO orders VALUES (6000, $$x$$, now())')
      const sql = 'SELECT id, customer FROM %s ORDER BY id'
      const expected = await client.query({ text: sql.replace('%s', 'orders'), rowMode: 'array' })
      assert.deepEqual((await engine.query(sql.replace('%s', 's.orders'), { wait: 'now' })).rows, expected.rows)
      await engine.flush()
      const { table, files } = await lake()
      assert.deepEqual(table.layoutFor(table.schema.fields).partition, [{ column: 0, transform: { kind: 'bucket', buckets: 4 } }])
      assert.equal(files.at(-1)?.partition.values.length, 1)
    } finally {
      await engine.close()
    }
  })

  it('is refused where it does not fit, with the column named', async () => {
    await assert.rejects(start({ 's.orders': { 'partition-by': ['day(created)'] } }), (error: Error) => {
      assert.match(error.message, /table s.orders has no column "created", which "day\(created\)" names/)
      return true
    })
    const properties = { 'write.metadata.metrics.column.custmer': 'full' }
    await assert.rejects(start({ 's.orders': { properties } }), { message: /table s.orders has no column "custmer"/ })
    await assert.rejects(start({ 's.orders': { 'sort-by': ['truncate(3, created_at)'] } }), {
      message: /"truncate\(3, created_at\)" does not fit column "created_at", which is timestamptz/,
    })
  })
})
