import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { TLSSocket } from 'node:tls'
import { FrazilError } from '../../../src/base/index.ts'
import { testCertificate, testKey } from '../../support/certificate.ts'
import { postgresForFile } from '../../support/postgres-for-file.ts'
import { startPostgres } from '../../support/postgres.ts'
import { connect } from '../../support/workload.ts'
import { MapLake } from './lake.ts'

const { server, client } = await postgresForFile()

async function failure(url: string): Promise<FrazilError> {
  const lake = new MapLake({ name: 'refused', url, tables: ['t'], retryForMs: 0 })
  await lake.until(() => lake.streaming).catch(() => {})
  await lake.close()
  assert.ok(lake.error instanceof FrazilError, `it fails: ${lake.error}`)
  assert.ok(!JSON.stringify([lake.error.message, lake.error.hint, lake.observed]).includes('hunter2'))
  return lake.error
}

/** Listens and answers SSLRequest as `answer` does. */
async function listener(t: TestContext, answer: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const listening = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('data', () => answer(socket))
  })
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    listening.close()
  })
  return (listening.address() as AddressInfo).port
}

test('postgres fault 33: TLS with a wrong authority, a wrong host, or bytes smuggled in before it: said, nothing is sent', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-tls-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const authority = join(folder, 'authority.pem')
  await writeFile(authority, testCertificate)
  let secure: Buffer[] = []
  const encrypted = await listener(t, (socket) => {
    socket.write('S')
    const inner = new TLSSocket(socket, { isServer: true, key: testKey, cert: testCertificate })
    inner.on('error', () => {})
    inner.on('data', (bytes: Buffer) => secure.push(bytes))
  })
  const url = (port: number, query: string): string => `postgres://ann:hunter2@127.0.0.1:${port}/shop?${query}`
  const unknown = await failure(url(encrypted, 'sslmode=verify-full'))
  assert.equal(`${unknown.kind} ${unknown.code}`, 'config tls')
  assert.match(unknown.hint ?? '', /sslrootcert/)
  const otherHost = await failure(url(encrypted, `sslmode=verify-full&sslrootcert=${authority}`))
  assert.equal(`${otherHost.kind} ${otherHost.code}`, 'config tls')
  assert.match(otherHost.hint ?? '', /another host name/)
  assert.deepEqual(secure, [], 'not even the name of the user was sent')
  secure = []
  const stuffed = await listener(t, (socket) => socket.write('SE\0\0\0\x10Minjected\0\0'))
  const injected = await failure(url(stuffed, 'sslmode=require'))
  assert.ok(injected.kind === 'unavailable' || injected.kind === 'config')
  assert.ok(!injected.message.includes('injected'), 'what came before the encryption is not believed')
})

test('postgres fault 33: a password that is wrong, and one that is no longer right when it connects again', async () => {
  const own = await startPostgres({ password: 'hunter2 first' })
  const admin = await connect(own.url)
  await admin.query('create table t (id int primary key)')
  const wrong = new URL(own.url)
  wrong.password = 'hunter2 wrong'
  assert.equal((await failure(wrong.href)).code, 'login-refused')
  const lake = new MapLake({ name: 'expired', url: own.url, tables: ['t'] })
  await lake.caughtUp()
  await admin.query("alter role postgres password 'other'")
  await admin.query("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'frazil_expired'")
  await lake.done
  assert.ok(lake.error instanceof FrazilError && lake.error.code === 'login-refused', String(lake.error))
  assert.ok(!JSON.stringify([lake.error.message, lake.error.hint, lake.observed]).includes('hunter2'))
  await admin.end()
  await own.stop()
})

test('postgres fault 31: a right that is taken away while it runs: the stream goes on; from the next start on that table stops, alone', async () => {
  await client.query(`create role mirror login replication; grant create on database postgres to mirror;
    create table kept (id int primary key); create table taken (id int primary key); create table walled (id int primary key);
    alter table kept owner to mirror; alter table taken owner to mirror; alter table walled owner to mirror;
    insert into kept values (1); insert into taken values (1); insert into walled values (1)`)
  const url = new URL(server.url)
  url.username = 'mirror'
  const config = { name: 'rights', url: url.href, tables: ['kept', 'taken', 'walled'] }
  const lake = new MapLake(config)
  await lake.caughtUp()
  await client.query('revoke select on taken from mirror')
  await client.query('alter table walled enable row level security; alter table walled force row level security')
  await client.query('insert into kept values (2); insert into taken values (2); insert into walled values (2)')
  await lake.caughtUp()
  for (const name of ['kept', 'taken', 'walled']) assert.deepEqual(lake.rows(`rights.${name}`), ['1', '2'], name)
  await lake.close()
  const again = new MapLake(config, { state: lake.state() })
  await client.query('insert into kept values (3)')
  await again.caughtUp()
  const failed = [...again.tables.values()].filter((table) => table.failed !== null)
  assert.deepEqual(
    failed.map(({ source, failed: error }) => `${source.name} ${error instanceof FrazilError ? error.code : ''}`).sort(),
    ['taken missing-select', 'walled row-security'],
  )
  assert.deepEqual(again.rows('rights.kept'), ['3'])
  await again.close()
})

test('postgres fault 13: another cluster behind the same address: recognised when it connects again, nothing is read', async () => {
  const [first, second] = [await startPostgres(), await startPostgres()]
  for (const { url } of [first, second]) {
    const one = await connect(url)
    await one.query('create table t (id int primary key); insert into t values (1)')
    await one.end()
  }
  const config = { name: 'swapped', url: first.url, tables: ['t'] }
  const lake = new MapLake(config)
  await lake.caughtUp()
  await lake.close()
  const other = new MapLake({ ...config, url: second.url }, { state: lake.state() })
  await other.until(() => other.error !== null).catch(() => {})
  assert.ok(other.error instanceof FrazilError && other.error.code === 'other-cluster', String(other.error))
  assert.deepEqual(other.log, [])
  const one = await connect(second.url)
  const { rows } = await one.query('select slot_name from pg_replication_slots union all select pubname from pg_publication')
  assert.deepEqual(rows, [], 'nothing was made there')
  await one.end()
  await first.stop()
  await second.stop()
})

test('postgres fault 25: logical messages that anybody may write, also with our prefix, change nothing', async () => {
  await client.query('create table told (id int primary key)')
  await using lake = new MapLake({ name: 'told', url: server.url, tables: ['told'] })
  await lake.until(() => lake.streaming)
  await client.query(`begin; insert into told values (1);
    select pg_logical_emit_message(true, 'frazil', '{"ddl": "drop table told"}');
    select pg_logical_emit_message(false, 'frazil', repeat('x', 100000));
    insert into told values (2); commit`)
  await client.query(
    "select pg_logical_emit_message(true, '', ''), pg_logical_emit_message(false, 'frazil_told', '\\x00'::bytea)",
  )
  await lake.caughtUp()
  assert.deepEqual(lake.rows('told.told'), ['1', '2'])
})
