import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom, systemClock } from '../../../src/base/index.ts'
import type { Clock } from '../../../src/base/index.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import { MapLake, rowsOf } from './lake.ts'

const { server, client } = await postgresForFile()

/** The source's waits pass so many times faster; the server's do not. */
function hurried(times: number): Clock {
  return {
    now: () => systemClock.now(),
    monotonic: () => systemClock.monotonic() * times,
    sleep: (ms, signal) => systemClock.sleep(ms / times, signal),
  }
}

async function same(lake: MapLake, name: string): Promise<void> {
  assert.deepEqual(lake.rows(`${name}.${name}`), await rowsOf(client, `select id, v from ${name}`))
}

test('postgres fault 4: connections cut at any byte, in messages and in transactions: nothing lost, nothing twice', async () => {
  await client.query('create table bytes (id int primary key, v text)')
  const proxy = await TcpProxy.before(server.port)
  const config = { name: 'bytes', url: proxy.through(server.url), tables: ['bytes'], retryForMs: Number.POSITIVE_INFINITY }
  await using lake = new MapLake(config, { clock: hurried(200) })
  await lake.until(() => lake.streaming)
  const random = seededRandom(4)
  // Often in a message of a few kilobytes, sometimes in the login, sometimes after transactions.
  proxy.cutAfter = () => Math.floor(2 ** (8 + 11 * random.next()))
  proxy.cut()
  for (let i = 0; proxy.cuts < 60; i++) {
    const { cuts, commits } = { cuts: proxy.cuts, commits: lake.commits }
    await client.query(
      `begin; insert into bytes select g, repeat('v', g % 3000) from generate_series(${i * 40}, ${i * 40 + 39}) g;
       update bytes set v = 'w' || v where id > ${i * 40 - 20}; delete from bytes where id = ${i * 40 - 3}; commit`,
    )
    await lake.until(() => proxy.cuts > cuts || lake.commits > commits, 'a cut or a commit')
  }
  proxy.cutAfter = null
  await lake.caughtUp()
  await same(lake, 'bytes')
  assert.ok(lake.aborts > 5, `${lake.aborts} aborts`)
  await lake.close()
  await proxy.close()
})

test('postgres fault 29: copies whose connections are cut at any byte, while rows change: no gap, no overlap', async () => {
  await client.query(`create table half (id int primary key, v text);
    insert into half select g, repeat('v', g % 300) from generate_series(1, 20000) g`)
  const proxy = await TcpProxy.before(server.port)
  const config = { name: 'half', url: proxy.through(server.url), tables: ['half'], retryForMs: Number.POSITIVE_INFINITY }
  await using lake = new MapLake(config, { clock: hurried(200) })
  await lake.until(() => lake.log.length > 0, 'the copy begins')
  const random = seededRandom(29)
  // Three megabytes go over the wire: most copies do not get through. After ten that were cut a source gives up.
  proxy.cutAfter = () => Math.floor(2 ** (10 + 12 * random.next()))
  proxy.cut()
  for (let i = 0; proxy.cuts < 9; i++) {
    await client.query(
      `begin; update half set v = 'w' || v where id % 97 = ${i % 97}; delete from half where id = ${i};
       insert into half values (${20_001 + i}, 'new'); commit; select pg_sleep(0.01)`,
    )
  }
  proxy.cutAfter = null
  await lake.caughtUp()
  await same(lake, 'half')
  await lake.close()
  await proxy.close()
})

test('what kept a source from its server is not said any more once it copies', async () => {
  await client.query("create table late (id int primary key, v text); insert into late values (1, 'v')")
  const proxy = await TcpProxy.before(server.port)
  proxy.cutAfter = () => 10
  const config = { name: 'late', url: proxy.through(server.url), tables: ['late'] }
  await using lake = new MapLake(config)
  await lake.until(() => (lake.source.trouble ?? null) !== null, 'trouble')
  // Nothing is asked for behind the first events, so the copy has begun and the stream has not.
  const held = Promise.withResolvers<void>()
  lake.stalled = () => held.promise
  proxy.cutAfter = null
  await lake.until(() => lake.log.length > 0, 'the copy begins')
  const { trouble } = lake.source
  assert.equal(lake.streaming, false)
  lake.stalled = () => null
  held.resolve()
  assert.equal(trouble, null)
  await lake.caughtUp()
  await same(lake, 'late')
  await lake.close()
  await proxy.close()
})

test('postgres fault 4: connections that go silent without a word are given up, and nothing is missing', async () => {
  await client.query('create table mute (id int primary key, v text)')
  const proxy = await TcpProxy.before(server.port)
  const config = { name: 'mute', url: proxy.through(server.url), tables: ['mute'], senderTimeoutMs: 1000 }
  await using lake = new MapLake(config, { clock: hurried(30) })
  await lake.until(() => lake.streaming)
  await client.query("insert into mute values (1, 'heard')")
  await lake.caughtUp()
  proxy.silence()
  await client.query("insert into mute values (2, 'not heard')")
  await lake.until(() => lake.observed.some((event) => event.type === 'retry' && event.code === 'silent-server'), 'silence told')
  await lake.until(() => lake.table('mute.mute').rows.size === 2, 'the second row')
  await lake.caughtUp()
  await same(lake, 'mute')
  await lake.close()
  await proxy.close()
})

test('a server that has nothing to say is not taken for one that is gone', async () => {
  await client.query('create table calm (id int primary key)')
  await using lake = new MapLake({ name: 'calm', url: server.url, tables: ['calm'] }, { clock: hurried(60) })
  await lake.until(() => lake.streaming)
  // Four minutes by the source's clock; it gives a silent server up after two.
  await systemClock.sleep(4000)
  assert.deepEqual(lake.observed, [])
  assert.equal(lake.aborts, 0)
})

test('postgres fault 5: an event loop that stands still for longer than wal_sender_timeout: it connects again, nothing is missing', async () => {
  await client.query('create table still (id int primary key, v text)')
  await using lake = new MapLake({ name: 'still', url: server.url, tables: ['still'], senderTimeoutMs: 1000 })
  await lake.until(() => lake.streaming)
  await client.query("insert into still select g, repeat('x', 500) from generate_series(1, 40000) g")
  const seen = lake.log.length
  await lake.until(() => lake.log.length > seen, 'the first rows')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000)
  await lake.caughtUp()
  await same(lake, 'still')
  assert.ok(lake.observed.some((event) => event.type === 'retry'))
})
