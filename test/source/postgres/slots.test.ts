import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Client } from 'pg'
import { FrazilError } from '../../../src/base/index.ts'
import { dropPostgresSource } from '../../../src/source/index.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { startPostgres } from '../../support/postgres.ts'
import { connect } from '../../support/workload.ts'
import { MapLake } from './lake.ts'

const { server, client } = await postgresForFile()

async function slot(name: string, at = client): Promise<{ confirmed: string | null; pid: number | null; status: string | null }> {
  const { rows } = await at.query<{ confirmed: string | null; pid: number | null; status: string | null }>(
    'select confirmed_flush_lsn::text as confirmed, active_pid as pid, wal_status as status from pg_replication_slots where slot_name = $1',
    [name],
  )
  return rows[0]
}

/** Asks until it is so, at most 100 seconds. */
async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 100_000
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `waited too long for: ${what}`)
    await client.query('select pg_sleep(0.02)')
  }
}

/** What ends a source that was running or is being started. */
async function ends(lake: MapLake): Promise<FrazilError> {
  await Promise.race([lake.done, lake.until(() => lake.error !== null)]).catch(() => {})
  assert.ok(lake.error instanceof FrazilError, `the source fails: ${lake.error}; ${lake.log.join(' ')}`)
  const { error } = lake
  await lake.close()
  return error
}

/** A transaction with a number, which it returns. */
async function begin(session: Client): Promise<string> {
  await session.query('begin')
  const { rows } = await session.query<{ xid: string }>('select pg_current_xact_id()::text as xid')
  return rows[0].xid
}

async function waitedForAt(at: Client, xid: string): Promise<void> {
  await eventually(`the slot waits for transaction ${xid}`, async () => {
    const { rows } = await at.query(
      "select from pg_locks where locktype = 'transactionid' and not granted and transactionid::text = $1",
      [xid],
    )
    return rows.length > 0
  })
}

/**
 * A slot made while tables get new files. Postgres takes no note of transactions that begin and end while it waits for older ones, and what it
 * believes then stays until something changes the catalogue again.
 */
test(
  'a transaction that Postgres cannot decode because the slot was being made beside it is not asked for',
  { timeout: 60_000 },
  async (t) => {
    await client.query('create table emptied (id int primary key); create table other (id int primary key)')
    const [first, second, last] = await Promise.all([connect(server.url), connect(server.url), connect(server.url)])
    t.after(() => Promise.all([first, second, last].map((session) => session.end())))
    const waitedFor = (xid: string): Promise<void> => waitedForAt(client, xid)
    const oldest = await begin(first)
    const config = { name: 'beside', url: server.url, tables: ['emptied', 'other'] }
    const lake = new MapLake(config, { acknowledge: false })
    await waitedFor(oldest)
    const younger = await begin(second)
    await client.query('truncate emptied')
    await first.query('commit')
    await waitedFor(younger)
    await last.query('begin; insert into emptied values (1)')
    await second.query('commit')
    await eventually('the slot is there', async () => typeof (await slot('frazil_beside'))?.confirmed === 'string')
    await last.query('commit')
    await lake.caughtUp()
    await client.query('insert into emptied values (2)')
    await lake.caughtUp()
    assert.deepEqual(lake.rows('beside.emptied'), ['1', '2'])
    assert.deepEqual([lake.observed, lake.error], [[], null])
    await lake.close()
    // The same when it dies before the lake has a position.
    await using again = new MapLake(config, { state: { ...lake.state(), position: null } })
    await client.query('insert into emptied values (3)')
    await again.caughtUp()
    assert.deepEqual(again.observed, [])
  },
)

test('a large transaction with savepoints that is rolled back while a slot is made does not crash the server', async (t) => {
  // Postgres 18 does when it has not the memory to hold it.
  const small = await startPostgres({ settings: { logical_decoding_work_mem: '64kB' } })
  t.after(() => small.stop())
  const [first, second, last] = await Promise.all([connect(small.url), connect(small.url), connect(small.url)])
  t.after(() => Promise.all([first, second, last].map((session) => session.end().catch(() => {}))))
  await last.query("create table undone (id int primary key, v text); insert into undone values (1, 'v')")
  const oldest = await begin(first)
  await using lake = new MapLake({ name: 'undone', url: small.url, tables: ['undone'] })
  await waitedForAt(last, oldest)
  const younger = await begin(second)
  await first.query('commit')
  await waitedForAt(last, younger)
  const insert = (from: number, to: number): string =>
    `insert into undone select g, repeat('v', 100) from generate_series(${from}, ${to}) g`
  await last.query(`begin; savepoint s; ${insert(2, 9)}; release s; ${insert(10, 20_000)}; rollback`)
  await second.query('commit')
  await lake.caughtUp()
  await last.query("insert into undone values (2, 'v')")
  await lake.caughtUp()
  assert.deepEqual([lake.rows('undone.undone').length, lake.observed, lake.error], [2, [], null])
})

test('reading stops, the rest is acknowledged, then the connection ends: the slot is where the lake is', async () => {
  await client.query('create table stopping (id int primary key)')
  await using lake = new MapLake({ name: 'stopping', url: server.url, tables: ['stopping'] }, { acknowledge: false })
  await lake.caughtUp()
  for (let i = 0; i < 20; i++) await client.query(`insert into stopping select generate_series(${i * 1000}, ${i * 1000 + 999})`)
  await lake.until(() => lake.commits > 3)
  lake.source.stop()
  await lake.done
  const { position } = lake
  assert.ok(position !== null)
  lake.source.acknowledge(position)
  await lake.source.close()
  const { confirmed, pid } = await slot('frazil_stopping')
  assert.equal(confirmed, position)
  assert.equal(pid, null, 'the server has let go of the slot')
})

test('stopped while somebody deals with what it gave out: it ends when they come back', async () => {
  await client.query('create table dealt (id int primary key)')
  const lake = new MapLake({ name: 'dealt', url: server.url, tables: ['dealt'] })
  await lake.caughtUp()
  let goOn = (): void => {}
  const stall = new Promise<void>((resolve) => (goOn = resolve))
  const { commits } = lake
  // Not with what the server says meanwhile: only with the row.
  lake.stalled = () => (lake.commits > commits ? stall : null)
  await client.query('insert into dealt values (1)')
  await lake.until(() => lake.commits > commits, 'the commit')
  lake.source.stop()
  lake.stalled = () => null
  goOn()
  await lake.done
  await lake.source.close()
})

test('published tables are idle, others are not: the slot moves, what is said of its lag is right', async () => {
  await client.query('create table quiet (id int primary key); create table noise (t text)')
  await using lake = new MapLake({ name: 'quiet', url: server.url, tables: ['quiet'] })
  await lake.caughtUp()
  const before = (await slot('frazil_quiet')).confirmed ?? ''
  let states = 0
  for (let i = 0; i < 20; i++) {
    await client.query("insert into noise select repeat('x', 1000) from generate_series(1, 1000)")
    states = lake.log.length
  }
  const { rows } = await client.query<{ head: string }>('select pg_current_wal_flush_lsn()::text as head')
  await lake.caughtUp()
  const { head } = rows[0]
  await eventually('the slot moves', async () => lake.source.reached((await slot('frazil_quiet')).confirmed ?? '', head))
  assert.ok(lake.source.reached(head, before))
  assert.equal(lake.log.length, states, 'nothing but progress was told')
  const lag = lake.source.lag?.(before, before)
  assert.ok(lag && !lag.stale && lag.retention === 'reserved' && lag.safeBytes === null && lag.retainedBytes !== null)
})

test('a position that is written and not flushed is reached by whoever waits for it', async () => {
  const own = await startPostgres({ settings: { bgwriter_lru_maxpages: 0, autovacuum: 'off' } })
  const first = await connect(own.url)
  await first.query('create table t (id int primary key)')
  const writer = await first.query<{ pid: number }>("select pid from pg_stat_activity where backend_type = 'walwriter'")
  const lake = new MapLake({ name: 'waits', url: own.url, tables: ['t'] })
  await lake.caughtUp()
  // The server writes nothing by itself meanwhile.
  process.kill(writer.rows[0].pid, 'SIGSTOP')
  try {
    const { rows } = await first
      .query<{ at: string }>(
        'set synchronous_commit = off; insert into t values (1); select pg_current_wal_insert_lsn()::text as at',
      )
      .then((results) => (Array.isArray(results) ? results.at(-1) : results))
    lake.source.reach?.(rows[0].at)
    await lake.until(() => lake.position !== null && lake.source.reached(lake.position, rows[0].at))
  } finally {
    process.kill(writer.rows[0].pid, 'SIGCONT')
  }
  assert.deepEqual(lake.rows('waits.t'), ['1'])
  await lake.close()
  await first.end()
  await own.stop()
})

test('a position that the server has in memory only is not one that it has lost', async () => {
  const own = await startPostgres({ settings: { bgwriter_lru_maxpages: 0, autovacuum: 'off' } })
  const first = await connect(own.url)
  await first.query('create table t (id int primary key)')
  const writer = await first.query<{ pid: number }>("select pid from pg_stat_activity where backend_type = 'walwriter'")
  const config = { name: 'memory', url: own.url, tables: ['t'], retryForMs: 0 }
  const before = new MapLake(config)
  await before.caughtUp()
  await before.close()
  // The server writes nothing by itself meanwhile.
  process.kill(writer.rows[0].pid, 'SIGSTOP')
  let lake: MapLake
  try {
    await first.query('set synchronous_commit = off; insert into t values (1)')
    const { rows } = await first.query<{ at: string; flushed: boolean }>(
      'select pg_current_wal_insert_lsn()::text as at, pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() as flushed',
    )
    assert.equal(rows[0].flushed, false)
    lake = new MapLake(config, { state: { ...before.state(), position: rows[0].at } })
    await lake.until(() => lake.streaming)
  } finally {
    process.kill(writer.rows[0].pid, 'SIGCONT')
  }
  await lake.close()
  await first.end()
  await own.stop()
})

test('a slot that the server gives up is recognised: while connected, and while down', async () => {
  for (const connectedThen of [true, false]) {
    const own = await startPostgres({
      settings: {
        max_slot_wal_keep_size: '16MB',
        min_wal_size: '32MB',
        max_wal_size: '32MB',
        wal_keep_size: 0,
        autovacuum: 'off',
      },
    })
    const first = await connect(own.url)
    await first.query('create table t (id int primary key); create table noise (t text)')
    const config = { name: 'given', url: own.url, tables: ['t'] }
    const lake = new MapLake(config, { acknowledge: false })
    await lake.caughtUp()
    if (!connectedThen) await lake.close()
    for (let i = 0; i < 6; i++) await first.query("insert into noise values ('x'); select pg_switch_wal(); checkpoint")
    assert.equal((await slot('frazil_given', first)).status, 'lost')
    const error = await ends(connectedThen ? lake : new MapLake(config, { state: lake.state() }))
    assert.equal(`${error.kind} ${error.code}`, 'corrupt slot-lost')
    assert.match(error.message, /max_slot_wal_keep_size/)
    assert.match(error.hint ?? '', /frazil resync given/)
    await first.end()
    await own.stop()
  }
})

test('a slot that nobody read for too long is given up by the server, and that is the reason said', async (t) => {
  const { rows } = await client.query<{ known: boolean }>(
    "select exists (select from pg_settings where name = 'idle_replication_slot_timeout') as known",
  )
  if (!rows[0].known) return t.skip('Postgres 18 and newer')
  const own = await startPostgres({ settings: { idle_replication_slot_timeout: '1s' } })
  const first = await connect(own.url)
  await first.query('create table t (id int primary key)')
  const config = { name: 'idled', url: own.url, tables: ['t'] }
  const lake = new MapLake(config)
  await lake.caughtUp()
  await lake.close()
  await first.query('select pg_sleep(1.5); checkpoint')
  const error = await ends(new MapLake(config, { state: lake.state() }))
  assert.equal(`${error.kind} ${error.code}`, 'corrupt slot-lost')
  assert.match(error.message, /idle_replication_slot_timeout/)
  await first.end()
  await own.stop()
})

test('dropped, or dropped and made again under the same name, or moved by hand, while we were away', async () => {
  await client.query('create table moved (id int primary key)')
  const config = { name: 'moved', url: server.url, tables: ['moved'] }
  for (const [how, code] of [
    ['select pg_drop_replication_slot($1)', 'slot-missing'],
    ["select pg_drop_replication_slot($1), pg_create_logical_replication_slot($1, 'pgoutput')", 'slot-moved'],
    ['select pg_replication_slot_advance($1, pg_current_wal_lsn())', 'slot-moved'],
  ]) {
    const lake = new MapLake(config)
    await lake.caughtUp()
    await lake.close()
    await client.query('insert into moved select coalesce(max(id), 0) + 1 from moved')
    await client.query(how, ['frazil_moved'])
    const error = await ends(new MapLake(config, { state: lake.state() }))
    assert.equal(`${error.kind} ${error.code}`, `corrupt ${code}`, how)
    assert.match(error.hint ?? '', /frazil resync moved/)
    await client.query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'frazil_moved'")
  }
})

test('the slot is in use by a dead predecessor: its pid is said, and it is waited for', async () => {
  await client.query('create table used (id int primary key)')
  const config = { name: 'used', url: server.url, tables: ['used'] }
  const lake = new MapLake(config)
  await lake.caughtUp()
  const { pid } = await slot('frazil_used')
  const next = new MapLake(config, { state: lake.state() })
  next.position = lake.position
  await next.until(() => next.observed.some((event) => event.type === 'retry'))
  const retry = next.observed.find((event) => event.type === 'retry')
  assert.ok(retry?.type === 'retry' && retry.code === 'slot-in-use')
  assert.match(retry.message, new RegExp(`PID ${pid}`))
  await lake.close()
  await next.caughtUp()
  await next.close()
})

test('drop leaves nothing behind, also what a process that was cut off still holds', async () => {
  await client.query('create table dropped (id int primary key)')
  const config = { name: 'dropped', url: server.url, tables: ['dropped'] }
  const lake = new MapLake(config)
  await lake.caughtUp()
  await lake.close()
  // A connection of a dead process that the server has not noticed yet, with a copy of the slot.
  const url = new URL(server.url)
  url.searchParams.set('application_name', 'frazil_dropped')
  const ghost = await connect(url.href)
  const foreign = await connect(server.url)
  await ghost.query("select pg_copy_logical_replication_slot('frazil_dropped', 'frazil_dropped_b' || pg_backend_pid(), true)")
  await foreign.query("select pg_create_logical_replication_slot('frazil_dropped_b1', 'pgoutput', true)")
  assert.deepEqual(await dropPostgresSource(config, 'lake-1'), { slot: 'frazil_dropped', publication: 'frazil_dropped' })
  const { rows } = await client.query<{ name: string }>(
    "select slot_name::text as name from pg_replication_slots where slot_name like 'frazil_dropped%' union all select pubname from pg_publication where pubname = 'frazil_dropped'",
  )
  assert.deepEqual(rows, [{ name: 'frazil_dropped_b1' }], 'a slot of somebody else is left alone')
  await foreign.end()
  await ghost.end().catch(() => {})
})
