import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FrazilError } from '../../../src/base/index.ts'
import { dropPostgresSource } from '../../../src/source/index.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { startPostgres } from '../../support/postgres.ts'
import { connect } from '../../support/workload.ts'
import { MapLake, rowsOf } from './lake.ts'

const { server, client } = await postgresForFile({ settings: { max_replication_slots: 24 } })

function ids(table: string): Promise<string[]> {
  return rowsOf(client, `select id from ${table}`)
}

/** The error that ends a source. */
async function failure(lake: MapLake): Promise<FrazilError> {
  await lake.until(() => lake.error !== null || lake.streaming).catch(() => {})
  await lake.close()
  assert.ok(lake.error instanceof FrazilError, `the source fails: ${lake.error}`)
  return lake.error
}

test('connections cut, also in the middle of a transaction: nothing is lost, nothing comes twice', async () => {
  await client.query('create table cut (id int primary key)')
  await using lake = new MapLake({ name: 'cut', url: server.url, tables: ['cut'] })
  await lake.until(() => lake.streaming)
  let next = 0
  for (let round = 0; round < 6; round++) {
    // Large enough that the server is still sending when the connection goes.
    const seen = lake.log.length
    await client.query(`insert into cut select generate_series(${next}, ${next + 19_999})`)
    next += 20_000
    if (round % 2 === 0) await lake.until(() => lake.log.length > seen, 'the first rows')
    await client.query(
      "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'frazil_cut' and active",
    )
    await client.query(`insert into cut values (${next++})`)
  }
  await lake.caughtUp()
  assert.ok(lake.aborts >= 3, `${lake.aborts} aborts`)
  assert.deepEqual(lake.rows('cut.cut'), await ids('cut'))
  assert.ok(lake.observed.some((event) => event.type === 'retry' && event.what === 'postgres'))
})

test('a consumer that stalls for three times wal_sender_timeout keeps its connection, and memory stays bounded', async () => {
  await client.query('create table stalled (id int primary key, v text)')
  await using lake = new MapLake(
    { name: 'stalled', url: server.url, tables: ['stalled'], senderTimeoutMs: 1500 },
    { memory: 16 << 20 },
  )
  await lake.until(() => lake.streaming)
  let goOn = (): void => {}
  const stall = new Promise<void>((resolve) => (goOn = resolve))
  lake.stalled = () => stall
  await client.query("insert into stalled select i, repeat('x', 500) from generate_series(1, 60000) i")
  const pid = async (): Promise<number | null> => {
    const { rows } = await client.query<{ active_pid: number | null }>(
      "select active_pid from pg_replication_slots where slot_name = 'frazil_stalled'",
    )
    return rows[0].active_pid
  }
  const before = await pid()
  await client.query('select pg_sleep(5)')
  assert.equal(await pid(), before)
  assert.ok(before !== null && lake.pool.used <= lake.pool.budget)
  lake.stalled = () => null
  goOn()
  await lake.caughtUp()
  assert.equal(lake.aborts, 0)
  assert.equal(lake.table('stalled.stalled').rows.size, 60_000)
})

test('the server crashes and comes back; a source that was closed goes on where it was', async () => {
  const own = await startPostgres()
  const first = await connect(own.url)
  await first.query('create table t (id int primary key); insert into t values (1)')
  const config = { name: 'back', url: own.url, tables: ['t'] }
  const lake = new MapLake(config)
  await lake.until(() => lake.streaming)
  await first.query('insert into t values (2)')
  await lake.caughtUp()
  first.on('error', () => {})
  await own.crash()
  await own.restart()
  const second = await connect(own.url)
  await second.query('insert into t values (3)')
  await lake.caughtUp()
  assert.deepEqual(lake.rows('back.t'), ['1', '2', '3'])
  await lake.close()
  await second.query('insert into t values (4)')
  const again = new MapLake(config, { state: lake.state() })
  await again.caughtUp()
  assert.deepEqual(again.rows('back.t'), ['4'], 'only what is new')
  await again.close()
  await second.end()
  await own.stop()
})

test('nothing is acknowledged but what the consumer says; an idle source still reaches the head and lets the log go', async () => {
  await client.query('create table idle (id int primary key); create table other (id int)')
  const lake = new MapLake({ name: 'idle', url: server.url, tables: ['idle'] }, { acknowledge: false })
  await lake.until(() => lake.streaming)
  const confirmed = async (): Promise<string> => {
    const { rows } = await client.query<{ at: string }>(
      "select confirmed_flush_lsn::text as at from pg_replication_slots where slot_name = 'frazil_idle'",
    )
    return rows[0].at
  }
  const start = await confirmed()
  await client.query('insert into idle values (1); insert into other select generate_series(1, 1000)')
  await lake.caughtUp()
  assert.equal(await confirmed(), start)
  const [head] = await Promise.all([lake.source.head(), lake.source.head(), lake.source.head()])
  await client.query('set synchronous_commit = off; insert into other values (1)')
  const unflushed = await lake.source.head()
  assert.ok(lake.source.reached(unflushed, head))
  await lake.until(() => lake.position !== null && lake.source.reached(lake.position, unflushed), 'an asynchronous commit')
  await client.query('reset synchronous_commit')
  assert.ok(lake.position !== null)
  lake.source.acknowledge(lake.position)
  const acknowledged = lake.position
  await lake.until(async () => lake.source.reached(await confirmed(), acknowledged), 'the slot moves')
  assert.throws(() => lake.source.checkPosition('nonsense'), { kind: 'request', code: 'bad-position' })
  assert.equal(lake.source.checkPosition('0/0a'), '0/A')
  await lake.close()
})

test('what is wrong with the server is said in one sentence with what to do', async () => {
  const base = { name: 'wrong', tables: ['idle'] }
  const url = new URL(server.url)
  const error = async (config: { url: string; tables?: string[]; retryForMs?: number }): Promise<FrazilError> =>
    failure(new MapLake({ ...base, retryForMs: 0, ...config }))
  const gone = await error({ url: 'postgres://nobody:s3cret@127.0.0.1:1/none' })
  assert.equal(`${gone.kind} ${gone.code}`, 'unavailable unreachable')
  assert.ok(!gone.message.includes('s3cret'))
  assert.equal((await error({ url: server.url.replace(/postgres$/, 'nowhere') })).code, 'unknown-database')
  assert.equal((await error({ url: server.url, tables: ['missing'] })).code, 'unknown-table')
  assert.equal((await error({ url: server.url, tables: ['"bad'] })).code, 'bad-table-pattern')
  await client.query('create view seen as select 1; create role reader login; create role writer login replication')
  assert.equal((await error({ url: server.url, tables: ['seen'] })).code, 'not-a-table')
  url.username = 'reader'
  assert.equal((await error({ url: url.href })).code, 'missing-replication-right')
  url.username = 'writer'
  const right = await error({ url: url.href })
  assert.equal(right.code, 'missing-create-right')
  assert.match(right.hint ?? '', /GRANT CREATE ON DATABASE "postgres" TO "writer"/)
  await client.query('grant create on database postgres to writer')
  const lake = new MapLake({ name: 'writer', url: url.href, tables: ['idle'] })
  await lake.until(() => lake.streaming)
  assert.match(lake.log.join(), /missing-select: table public\.idle may not be read by writer/)
  await lake.close()
})

test('settings of the server that would make it fail, or harm it', async () => {
  const own = await startPostgres({ settings: { wal_level: 'replica', max_replication_slots: 1 }, password: 'right' })
  const admin = await connect(own.url)
  await admin.query('create table t (id int primary key)')
  const config = { name: 'own', url: own.url, tables: ['t'], retryForMs: 0 }
  assert.equal((await failure(new MapLake({ ...config, url: own.url.replace('right', 'wrong') }))).code, 'login-refused')
  const level = await failure(new MapLake(config))
  assert.equal(level.code, 'wal-level')
  assert.match(level.hint ?? '', /ALTER SYSTEM SET wal_level = 'logical'/)
  await admin.end()
  await own.stop()

  const few = await startPostgres({ settings: { max_replication_slots: 2 } })
  const second = await connect(few.url)
  await second.query("create table t (id int primary key); select pg_create_physical_replication_slot('taken')")
  assert.equal((await failure(new MapLake({ ...config, url: few.url }))).code, 'no-free-slot')
  await second.query("alter system set synchronous_standby_names = 'FIRST 1 (other, *)'")
  await second.query("select pg_drop_replication_slot('taken')")
  await second.end()
  await few.restart()
  assert.equal((await failure(new MapLake({ ...config, url: few.url }))).code, 'synchronous-standby')
  await few.stop()
})

test('transactions that block the slot are named, all of them; when they end the source goes on', async () => {
  await client.query('create table blocked (id int primary key)')
  const blocker = await connect(server.url)
  const { rows } = await blocker
    .query<{ pid: number }>('begin; create table half_made (a int); select pg_backend_pid() as pid')
    .then((results) => (Array.isArray(results) ? results.at(-1) : results))
  const younger = await connect(server.url)
  await younger.query('begin; create table half_made_too (a int)')
  const second = await younger.query<{ pid: number }>('select pg_backend_pid() as pid')
  const lake = new MapLake({ name: 'blocked', url: server.url, tables: ['blocked'], slotWaitMs: 300 })
  await lake.until(() => lake.observed.length > 0)
  const [event] = lake.observed
  assert.ok(event.type === 'retry' && event.code === 'blocked-by-transaction')
  for (const { pid } of [rows[0], second.rows[0]]) {
    assert.match(event.message, new RegExp(`process ${pid} .*pg_terminate_backend\\(${pid}\\)`))
  }
  await younger.end()
  await blocker.query('rollback')
  await blocker.end()
  await lake.until(() => lake.streaming)
  await lake.close()
})

test('a slot or publication that is not this lake’s is never touched; drop removes only ours', async () => {
  await client.query('create table mine (id int primary key); create publication frazil_theirs for table mine')
  await client.query("select pg_create_logical_replication_slot('frazil_alone', 'pgoutput')")
  const tables = ['mine']
  assert.equal((await failure(new MapLake({ name: 'theirs', url: server.url, tables }))).code, 'publication-not-ours')
  const alone = await failure(new MapLake({ name: 'alone', url: server.url, tables }))
  assert.equal(alone.code, 'slot-not-ours')
  assert.match(alone.hint ?? '', /slot:/)
  const config = { name: 'mine', url: server.url, tables }
  const lake = new MapLake(config)
  await lake.until(() => lake.streaming)
  await lake.close()
  const foreign = await failure(new MapLake({ ...config, lakeId: 'lake-2' }))
  assert.equal(foreign.code, 'publication-not-ours')
  assert.match(foreign.message, /another lake/)
  for (const [name, lakeId] of [
    ['theirs', 'lake-1'],
    ['alone', 'lake-1'],
    ['mine', 'lake-2'],
  ]) {
    await assert.rejects(dropPostgresSource({ name, url: server.url }, lakeId), { kind: 'config' })
  }
  assert.deepEqual(await dropPostgresSource(config, 'lake-1'), { slot: 'frazil_mine', publication: 'frazil_mine' })
  assert.deepEqual(await dropPostgresSource(config, 'lake-1'), { slot: null, publication: null })
  const left = await client.query<{ n: number }>(
    "select count(*)::int as n from pg_replication_slots where slot_name in ('frazil_mine', 'frazil_alone')",
  )
  assert.equal(left.rows[0].n, 1)
  await client.query("select pg_drop_replication_slot('frazil_alone'); drop publication frazil_theirs")
})

test('a slot that is gone, was moved, or belongs to another server: said, never skipped over', async () => {
  await client.query('create table lost (id int primary key)')
  const config = { name: 'lost', url: server.url, tables: ['lost'], retryForMs: 0 }
  const lake = new MapLake(config)
  await lake.until(() => lake.streaming)
  await client.query('insert into lost values (1)')
  await lake.caughtUp()
  await lake.close()
  const state = lake.state()
  await client.query('insert into lost values (2)')
  await client.query("select pg_replication_slot_advance('frazil_lost', pg_current_wal_lsn())")
  assert.equal((await failure(new MapLake(config, { state }))).code, 'slot-moved')
  await client.query("select pg_drop_replication_slot('frazil_lost')")
  assert.equal((await failure(new MapLake(config, { state }))).code, 'slot-missing')
  const ahead = { ...state, position: '7FFF/0' }
  await client.query("select pg_create_logical_replication_slot('frazil_lost', 'pgoutput')")
  assert.equal((await failure(new MapLake(config, { state: ahead }))).code, 'position-ahead')
  const other = { ...state, memo: (state.memo ?? '').replace(/"systemId":"\d+"/, '"systemId":"1"') }
  assert.equal((await failure(new MapLake(config, { state: other }))).code, 'other-cluster')
  // A start that did not come as far as a first lake commit: its slot is made anew.
  const fresh = new MapLake(config)
  await fresh.until(() => fresh.streaming)
  assert.deepEqual(fresh.rows('lost.lost'), ['1', '2'])
  await fresh.close()
})

test('writers during the initial copy: no gap, no overlap; a table added later joins the same way', async () => {
  await client.query(
    'create table busy (id int primary key, v int); insert into busy select i, 0 from generate_series(1, 20000) i; create table added (id int primary key, v int); insert into added select i, 0 from generate_series(1, 5000) i',
  )
  const writers = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const writer = await connect(server.url)
      return writer
    }),
  )
  const stop = new AbortController()
  const work = writers.map(async (writer, w) => {
    for (let i = 0; !stop.signal.aborted; i++) {
      const id = w + 3 * (i % 2000)
      await writer.query(
        `begin; update busy set v = v + 1 where id = ${id}; update added set v = v + 1 where id = ${id}; insert into busy values (${100_000 + w + 3 * i}, 1); delete from busy where id = ${100_000 + w + 3 * (i - 50)}; commit`,
      )
    }
  })
  const config = { name: 'busy', url: server.url, tables: ['busy'] }
  const lake = new MapLake(config)
  await lake.until(() => lake.commits > 50)
  await lake.close()
  const again = new MapLake({ ...config, tables: ['busy', 'added'] }, { state: lake.state() })
  again.table('busy.busy').rows = lake.table('busy.busy').rows
  await again.until(() => again.commits > 50)
  stop.abort()
  await Promise.all(work)
  for (const writer of writers) await writer.end()
  await again.until(() => again.table('busy.added').copied !== null, 'the table that was added is copied')
  await again.caughtUp()
  for (const name of ['busy', 'added']) {
    const { rows } = await client.query<{ id: number; v: number }>(`select * from ${name}`)
    assert.deepEqual(again.rows(`busy.${name}`), rows.map(({ id, v }) => `${id} ${v}`).sort(), name)
  }
  await again.close()
})
