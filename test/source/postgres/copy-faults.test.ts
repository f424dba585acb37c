import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrazilError } from '../../../src/base/index.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { connect } from '../../support/workload.ts'
import { MapLake } from './lake.ts'

const { server, client } = await postgresForFile()

const alter: Readonly<Record<string, string>> = {
  swapped: 'alter table T rename a to c; alter table T rename b to a; alter table T rename c to b',
  renamed: 'alter table T rename a to c',
  dropped: 'alter table T drop a',
  other: 'alter table T drop a, add a text',
  wider: 'alter table T alter a type bigint',
  rolled_back: 'begin; alter table T rename a to c; rollback',
  added: 'alter table T add c int',
}

async function create(prefix: string): Promise<Map<string, string>> {
  const changes = new Map(Object.entries(alter).map(([what, ddl]) => [`${prefix}_${what}`, ddl]))
  for (const name of changes.keys()) {
    await client.query(`create table ${name} (id int primary key, a int, b int); insert into ${name} values (1, 10, 20)`)
  }
  return changes
}

async function change(changes: ReadonlyMap<string, string>): Promise<void> {
  for (const [name, ddl] of changes) await client.query(ddl.replaceAll(/\bT\b/g, name))
}

/** Tables were copied as they were planned, or not at all. */
function check(lake: MapLake, changes: ReadonlyMap<string, string>, unharmed: readonly string[]): void {
  for (const name of changes.keys()) {
    const { failed, rows } = lake.table(`shop.${name}`)
    const code = failed instanceof FrazilError ? failed.code : failed
    if (unharmed.some((what) => name.endsWith(what)))
      assert.deepEqual([code, lake.rows(`shop.${name}`)], [null, ['1 10 20']], name)
    else assert.deepEqual([code, rows.size], ['schema-changed', 0], name)
  }
}

// COPY goes by the names that columns have now, and its snapshot shows the catalogue as it was.
test('postgres faults 23 and 29: columns that change between the snapshot and the copy of their table: copied in no wrong shape', async () => {
  await client.query(
    "create table big (id int primary key, v text); insert into big select g, repeat('x', 300) from generate_series(1, 100000) g",
  )
  const changes = await create('z')
  await using lake = new MapLake(
    { slot: 'late', publication: 'late', url: server.url, tables: ['big', ...changes.keys()], copyConnections: 1 },
    { memory: 16 << 20 },
  )
  const copied = (): number => [...lake.tables.values()].find(({ source }) => source.name === 'big')?.rows.size ?? 0
  const { promise: stall, resolve: goOn } = Promise.withResolvers<void>()
  lake.stalled = () => (copied() > 0 ? stall : null)
  await lake.until(() => copied() > 0, 'the copy has begun')
  assert.ok(copied() < 100_000, 'and has not ended')
  await change(changes)
  goOn()
  await lake.caughtUp()
  check(lake, changes, ['added', 'rolled_back'])
})

test('postgres faults 23 and 29: columns that change between the plan and the snapshot of a copy: copied in no wrong shape', async () => {
  const changes = await create('y')
  const other = await connect(server.url)
  try {
    // A slot, and so its snapshot, waits for the transactions that are open.
    await other.query('begin; select pg_current_xact_id()')
    await using lake = new MapLake({ slot: 'early', publication: 'early', url: server.url, tables: [...changes.keys()] })
    await lake.until(async () => {
      const { rows } = await client.query("select from pg_replication_slots where slot_name = 'early'")
      return rows.length > 0
    }, 'the slot waits')
    await change(changes)
    await other.query('commit')
    await lake.caughtUp()
    // Of a column that came before the snapshot the stream does not tell.
    check(lake, changes, ['rolled_back'])
  } finally {
    await other.end()
  }
})

// The ranges of a partitioned table are those of its partitions.
test('a partition that is dropped between the plan and the copy of it: the table is one to copy anew, a table that is gone is not', async () => {
  await client.query(
    "create table large (id int primary key, v text); insert into large select g, repeat('x', 300) from generate_series(1, 100000) g;" +
      'create table parted (id int primary key, v text) partition by range (id);' +
      'create table parted_0 partition of parted for values from (0) to (100);' +
      'create table parted_100 partition of parted for values from (100) to (200);' +
      "insert into parted values (1, 'a'), (101, 'b'); create table single (id int primary key)",
  )
  await using lake = new MapLake(
    { slot: 'parted', publication: 'parted', url: server.url, tables: ['large', 'parted', 'single'], copyConnections: 1 },
    { memory: 16 << 20 },
  )
  const copied = (): number => [...lake.tables.values()].find(({ source }) => source.name === 'large')?.rows.size ?? 0
  const { promise: stall, resolve: goOn } = Promise.withResolvers<void>()
  lake.stalled = () => (copied() > 0 ? stall : null)
  await lake.until(() => copied() > 0, 'the copy has begun')
  assert.ok(copied() < 100_000, 'and has not ended')
  await client.query('drop table parted_100, single')
  goOn()
  await lake.caughtUp()
  const code = (name: string): unknown => {
    const { failed } = lake.table(`shop.${name}`)
    return failed instanceof FrazilError ? failed.code : failed
  }
  assert.deepEqual(['large', 'parted', 'single'].map(code), [null, 'schema-changed', 'copy-refused'])
})

test(
  'a source that is closed while a copy waits for transactions that are open ends without them, and leaves no slot',
  { timeout: 120_000 },
  async () => {
    await client.query('create table awaited (id int primary key)')
    const lake = new MapLake({
      slot: 'awaiting',
      publication: 'awaiting',
      url: server.url,
      tables: ['awaited'],
      slotWaitMs: 3_600_000,
    })
    const other = await connect(server.url)
    const { promise: stall, resolve: goOn } = Promise.withResolvers<void>()
    lake.stalled = () => stall
    try {
      await lake.until(() => lake.tables.size > 0, 'the copy is planned')
      await other.query('begin; select pg_current_xact_id()')
      goOn()
      await lake.until(async () => {
        const { rows } = await client.query(
          "select from pg_stat_activity where backend_type = 'walsender' and wait_event_type = 'Lock'",
        )
        return rows.length > 0
      }, 'the slot waits')
      await lake.close()
      assert.equal(lake.error, null)
      assert.deepEqual(
        [...lake.tables.values()].map(({ failed }) => failed),
        [null],
      )
      const left = async (): Promise<number> =>
        (await client.query("select from pg_replication_slots where slot_name like 'awaiting_%'")).rows.length
      // Who made it may still be on the way out.
      while ((await left()) > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    } finally {
      await other.end()
      await lake.close()
    }
  },
)
