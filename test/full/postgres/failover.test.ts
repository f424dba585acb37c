import assert from 'node:assert/strict'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from 'pg'
import { FrazilError } from '../../../src/base/index.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres, PostgresMajor } from '../../support/postgres.ts'
import { MapLake } from '../../source/postgres/lake.ts'

interface Pair {
  readonly folder: string
  readonly primary: EmbeddedPostgres
  readonly standby: EmbeddedPostgres
  readonly client: Client
}

async function connected(url: string): Promise<Client> {
  const client = new Client(url)
  client.on('error', () => {})
  await client.connect()
  return client
}

/** A primary and a standby that keeps its failover slots; with `gated`, nobody reads what the standby does not have. */
async function startPair(major: PostgresMajor, gated: boolean): Promise<Pair> {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-failover-'))
  const primary = await startPostgres({
    major,
    dataDir: join(folder, 'primary'),
    settings: { fsync: 'off', ...(gated ? { synchronized_standby_slots: 'standby' } : {}) },
  })
  let client = await connected(primary.url)
  await client.query("select pg_create_physical_replication_slot('standby', true); create table t (id int primary key, v text)")
  await client.end()
  await primary.stop()
  await cp(join(folder, 'primary'), join(folder, 'standby'), { recursive: true })
  await writeFile(join(folder, 'standby', 'standby.signal'), '')
  await primary.restart()
  const standby = await startPostgres({
    major,
    dataDir: join(folder, 'standby'),
    settings: {
      fsync: 'off',
      primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres`,
      primary_slot_name: 'standby',
      hot_standby_feedback: 'on',
      sync_replication_slots: 'on',
      wal_receiver_status_interval: '1s',
    },
  })
  client = await connected(primary.url)
  return { folder, primary, standby, client }
}

async function end({ folder, primary, standby, client }: Pair): Promise<void> {
  await client.end().catch(() => {})
  await primary.stop()
  await standby.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}

/** Waits until the standby has the slot as it would be after a promotion, at or past `position`. */
async function synchronized(pair: Pair, position: string): Promise<void> {
  const there = await connected(pair.standby.url)
  const deadline = Date.now() + 180_000
  for (;;) {
    const { rowCount } = await there.query(
      `select from pg_replication_slots where slot_name = 'frazil_ha' and synced and not temporary and invalidation_reason is null
         and pg_last_wal_replay_lsn() >= $1::pg_lsn`,
      [position],
    )
    if (rowCount === 1) break
    assert.ok(Date.now() < deadline, 'the standby keeps the slot')
    // The standby takes a slot over once its log has moved.
    await pair.client.query("select pg_log_standby_snapshot(); select pg_logical_emit_message(false, 'test', '')")
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  await there.end()
}

for (const major of [17, 18] as const) {
  test(`Postgres ${major}: a promoted standby goes on with the slot`, { timeout: 400_000 }, async () => {
    const pair = await startPair(major, true)
    try {
      const config = { name: 'ha', tables: ['t'] }
      const lake = new MapLake({ ...config, url: pair.primary.url })
      await lake.until(() => lake.streaming)
      await pair.client.query("insert into t select g, 'before' from generate_series(1, 1000) g")
      await lake.caughtUp()
      assert.ok(lake.position !== null)
      await synchronized(pair, lake.position)
      await lake.close()
      await pair.client.query("insert into t values (2000, 'while down')")
      await synchronized(
        pair,
        (await pair.client.query<{ at: string }>('select pg_current_wal_flush_lsn()::text as at')).rows[0].at,
      )
      await pair.primary.crash()
      const promoted = await connected(pair.standby.url)
      await promoted.query('select pg_promote(true, 60)')
      const next = new MapLake({ ...config, url: pair.standby.url }, { state: lake.state() })
      next.table('ha.t').rows = new Map(lake.table('ha.t').rows)
      next.position = lake.position
      await promoted.query("insert into t values (3000, 'after'); delete from t where id <= 10")
      await next.caughtUp()
      const { rows } = await promoted.query<{ id: number; v: string }>('select id, v from t')
      assert.deepEqual(next.rows('ha.t'), rows.map(({ id, v }) => `${id} ${JSON.stringify(v)}`).sort())
      assert.match(next.source.memo(null), /"timeline":2/)
      await next.close()
      await promoted.end()
    } finally {
      await end(pair)
    }
  })

  test(`Postgres ${major}: a standby that was behind when it was promoted is recognised`, { timeout: 400_000 }, async () => {
    const pair = await startPair(major, false)
    try {
      const config = { name: 'ha', tables: ['t'] }
      const lake = new MapLake({ ...config, url: pair.primary.url })
      await lake.until(() => lake.streaming)
      await pair.client.query("insert into t select g, 'before' from generate_series(1, 1000) g")
      await lake.caughtUp()
      assert.ok(lake.position !== null)
      await synchronized(pair, lake.position)
      await pair.standby.crash()
      await pair.client.query("insert into t values (2000, 'never seen by the standby')")
      await lake.caughtUp()
      await lake.close()
      await pair.primary.crash()
      await pair.standby.restart()
      const promoted = await connected(pair.standby.url)
      await promoted.query('select pg_promote(true, 60)')
      const next = new MapLake({ ...config, url: pair.standby.url }, { state: lake.state() })
      await next.done
      assert.ok(next.error instanceof FrazilError)
      assert.equal(`${next.error.kind} ${next.error.code}`, 'corrupt diverged')
      await promoted.end()
    } finally {
      await end(pair)
    }
  })
}
