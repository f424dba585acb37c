import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { connect as connectTo } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { Client } from 'pg'
import { checkPostgresSource } from '../../../src/source/index.ts'
import type { SourceFinding, SourceReport } from '../../../src/source/index.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'

const fresh = { lakeId: null, running: false, memo: null, position: null }

function check(url: string, tables: readonly string[] = ['public.*']): Promise<SourceReport> {
  return checkPostgresSource({ name: 'shop', url, tables }, fresh)
}

/** The only finding with this code. */
function only(report: SourceReport, code: string): SourceFinding {
  const found = report.findings.filter((finding) => finding.code === code)
  assert.equal(found.length, 1, `${code} among ${report.findings.map((finding) => finding.code).join(', ')}`)
  return found[0]
}

function urlOf(server: EmbeddedPostgres, change: (url: URL) => void): string {
  const url = new URL(server.url)
  change(url)
  return url.href
}

async function portOf(listener: Server): Promise<string> {
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  return String((listener.address() as AddressInfo).port)
}

suite('check of a server that is right', () => {
  let server: EmbeddedPostgres
  let client: Client
  before(async () => {
    server = await startPostgres({ settings: { max_prepared_transactions: 5 } })
    client = new Client(server.url)
    await client.connect()
    await client.query(`
      create schema "Sales Data";
      create table orders (id bigint primary key, note text, amount numeric(10,2), doubled bigint generated always as (id * 2) stored);
      insert into orders select i, repeat('x', 100), i from generate_series(1, 1000) i; analyze orders;
      create table "Sales Data"."Ünï ""quoted"" 表" ("Key Col" int primary key, "weird.""name" text);
      create table no_key (a int, b int not null unique);
      create table deferrable_key (id int primary key deferrable);
      create unlogged table unlogged (id int primary key);
      create table parts (id int, day date, primary key (id, day)) partition by range (day);
      create table parts_1 partition of parts for values from ('2024-01-01') to ('2024-02-01');
      create view shown as select * from orders;
      create materialized view kept as select * from orders;
      create table guarded (id int primary key);
      alter table guarded enable row level security;
      create role reader login; grant select on all tables in schema public to reader; revoke select on parts from reader`)
  })
  after(async () => {
    await client.end()
    await server.stop()
  })

  test('says what would be done, and changes nothing', async () => {
    const report = await check(server.url, ['orders', '"Sales Data".*', 'parts'])
    assert.match(only(report, 'server').message, /^Postgres \d+\.\d+ at 127\.0\.0\.1:\d+, database postgres, role postgres$/)
    assert.match(
      only(report, 'plan').message,
      /^slot frazil_shop and publication frazil_shop would be made, and 3 tables copied \(\d+ kB\)$/,
    )
    assert.deepEqual(
      report.tables.map(({ sourceName, namespace, name, key }) => ({ sourceName, namespace, name, key })),
      [
        {
          sourceName: '"Sales Data"."Ünï ""quoted"" 表"',
          namespace: 'shop',
          name: 'Sales Data_Ünï "quoted" 表',
          key: ['Key Col'],
        },
        { sourceName: 'public.orders', namespace: 'shop', name: 'orders', key: ['id'] },
        { sourceName: 'public.parts', namespace: 'shop', name: 'parts', key: ['id', 'day'] },
      ],
    )
    const orders = report.tables[1]
    assert.equal(orders.rows, 1000)
    assert.ok(orders.bytes > 100_000)
    assert.deepEqual(orders.columns, [
      { name: 'id', type: 'bigint', iceberg: 'long' },
      { name: 'note', type: 'text', iceberg: 'string' },
      { name: 'amount', type: 'numeric(10,2)', iceberg: 'decimal(10, 2)' },
      { name: 'doubled', type: 'bigint', iceberg: null },
    ])
    assert.match(only(report, 'unmirrored-column').message, /public\.orders: column "doubled" not mirrored/)
    assert.ok(report.findings.every(({ level }) => level !== 'error' && level !== 'warning'))
    const left = await client.query(
      'select slot_name::text from pg_replication_slots union all select pubname::text from pg_publication',
    )
    assert.deepEqual(left.rows, [])
  })

  test('every table that cannot be mirrored, with the statement; named ones are errors, matched ones warnings', async () => {
    const report = await check(server.url, ['public.*', 'no_key', 'shown', 'kept', 'nowhere', 'orders_*', 'empty.*'])
    const of = (table: string): SourceFinding => {
      const found = report.findings.find((finding) => finding.table === table && finding.code !== 'table')
      assert.ok(found, table)
      return found
    }
    assert.equal(of('public.no_key').level, 'error')
    assert.equal(of('public.no_key').code, 'no-identity')
    assert.match(of('public.no_key').hint ?? '', /REPLICA IDENTITY USING INDEX "no_key_b_key"/)
    assert.equal(of('public.deferrable_key').level, 'warning')
    assert.match(of('public.deferrable_key').message, /deferrable/)
    assert.equal(of('public.unlogged').hint, 'ALTER TABLE "public"."unlogged" SET LOGGED')
    const mistakes = report.findings.filter(({ code }) => code === 'not-a-table' || code === 'unknown-table')
    assert.deepEqual(
      mistakes.map(({ message }) => message.replace(/.*(?:table|: ) ?(?=public|nowhere)/, '')),
      [
        'public.shown is a view, whose changes Postgres does not tell',
        'public.kept is a materialized view, whose changes Postgres does not tell',
        'nowhere',
      ],
    )
    assert.deepEqual(
      report.findings.filter(({ code }) => code === 'pattern-without-tables').map(({ message }) => message),
      ["tables: 'orders_*' matches no table now", "tables: 'empty.*' matches no table now"],
    )
    // The statements of the hints let the tables in.
    await client.query(`begin; ${of('public.no_key').hint?.split('; or')[0]}; ${of('public.unlogged').hint}; commit`)
    const again = await check(server.url, ['no_key', 'unlogged'])
    assert.deepEqual(
      again.tables.map(({ sourceName, key }) => [sourceName, key]),
      [
        ['public.no_key', ['b']],
        ['public.unlogged', ['id']],
      ],
    )
  })

  test('rights: all that are missing at once', async () => {
    const report = await check(
      urlOf(server, (url) => (url.username = 'reader')),
      ['public.*', 'parts'],
    )
    assert.equal(only(report, 'missing-replication-right').hint, 'ALTER ROLE "reader" REPLICATION')
    assert.equal(only(report, 'missing-create-right').hint, 'GRANT CREATE ON DATABASE "postgres" TO "reader"')
    assert.equal(only(report, 'row-security').hint, 'ALTER ROLE "reader" BYPASSRLS')
    assert.equal(only(report, 'missing-select').hint, 'GRANT SELECT ON "public"."parts" TO "reader"')
    assert.equal(only(report, 'transactions-hidden').hint, 'GRANT pg_read_all_stats TO "reader"')
    assert.match(
      report.findings.find(({ code }) => code === 'not-owner')?.hint ?? '',
      /ALTER PUBLICATION "frazil_shop" ADD TABLE/,
    )
  })

  test('open and prepared transactions that a slot would wait for, by pid', async () => {
    const other = new Client(server.url)
    await other.connect()
    await other.query("begin; insert into orders (id) values (-1); prepare transaction 'one''s'")
    await other.query('begin; insert into orders (id) values (-2)')
    const { rows } = await other.query<{ pid: number }>('select pg_backend_pid() as pid')
    try {
      let found: readonly SourceFinding[] = []
      // A transaction counts when it has been open for two seconds.
      for (const deadline = Date.now() + 100_000; found.length < 2 && Date.now() < deadline;) {
        found = (await check(server.url)).findings.filter(({ code }) => code === 'blocked-by-transaction')
      }
      assert.deepEqual(
        found.map(({ level, hint }) => [level, hint]),
        [
          ['warning', `end that transaction, or: SELECT pg_terminate_backend(${rows[0].pid})`],
          ['warning', "in database postgres: COMMIT PREPARED 'one''s', or ROLLBACK PREPARED 'one''s'"],
        ],
      )
    } finally {
      await other.query('rollback')
      await other.query("rollback prepared 'one''s'")
      await other.end()
    }
  })

  test('a slot or a publication of somebody else', async () => {
    await client.query("select pg_create_logical_replication_slot('frazil_shop', 'test_decoding')")
    const report = await check(server.url)
    assert.match(only(report, 'slot-not-ours').message, /has the plugin test_decoding/)
    await client.query("select pg_drop_replication_slot('frazil_shop')")
  })

  test('addresses, passwords and databases that are wrong: a sentence, and never the password', async (t) => {
    const web = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    const webPort = await portOf(web)
    t.after(() => web.close())
    const cases: [string, string, RegExp][] = [
      [urlOf(server, (url) => (url.pathname = '/nowhere')), 'unknown-database', /has no database nowhere/],
      [urlOf(server, (url) => (url.hostname = 'nohost.invalid')), 'unreachable', /nohost\.invalid is not known/],
      [urlOf(server, (url) => (url.port = '1')), 'unreachable', /nothing listens/],
      [urlOf(server, (url) => (url.port = webPort)), 'unreachable', /is not Postgres|closed the connection/],
      [urlOf(server, (url) => url.searchParams.set('sslmode', 'require')), 'no-tls', /does not offer TLS/],
      [urlOf(server, (url) => url.searchParams.set('sslmode', 'enforce')), 'bad-url', /sslmode/],
      [urlOf(server, (url) => url.searchParams.set('sslrootcert', '/nowhere.pem')), 'bad-url', /nowhere\.pem/],
    ]
    for (const [url, code, expected] of cases) {
      const report = await check(url.replace('postgres@', 'postgres:hunter2@'))
      const { message, hint, level } = only(report, code)
      assert.equal(level, 'error')
      assert.match(`${message}; ${hint}`, expected)
      assert.ok(!JSON.stringify(report).includes('hunter2'))
    }
  })

  test('a pooler in between', async (t) => {
    // Answers the start of a replication connection as PgBouncer does, and passes everything else on.
    const sockets = new Set<Socket>()
    const pooler: Server = createServer((socket) => {
      sockets.add(socket)
      socket.once('data', (first) => {
        if (first.includes('replication\0')) {
          const fields = 'SFATAL\0C08P01\0Munsupported startup parameter: replication\0\0'
          const head = Buffer.from('E\0\0\0\0')
          head.writeInt32BE(fields.length + 4, 1)
          socket.end(Buffer.concat([head, Buffer.from(fields)]))
          return
        }
        const through = connectTo(server.port, '127.0.0.1')
        through.write(first)
        socket.pipe(through).pipe(socket)
        through.on('error', () => socket.destroy())
        socket.on('error', () => through.destroy())
      })
    })
    const port = await portOf(pooler)
    t.after(() => {
      for (const socket of sockets) socket.destroy()
      pooler.close()
    })
    const report = await check(urlOf(server, (url) => (url.port = port)))
    assert.match(only(report, 'pooler').hint ?? '', /address of the database itself/)
  })
})

test('check of a server that is not set up: all of it at once', async () => {
  const server = await startPostgres({
    settings: {
      wal_level: 'replica',
      max_replication_slots: 1,
      max_slot_wal_keep_size: '16MB',
      logical_decoding_work_mem: '1MB',
      wal_sender_timeout: 0,
      synchronous_standby_names: '*',
      synchronous_commit: 'local',
    },
    password: 'right',
  })
  try {
    const report = await check(server.url)
    assert.equal(only(report, 'wal-level').hint, "ALTER SYSTEM SET wal_level = 'logical'; then restart Postgres")
    assert.match(only(report, 'no-free-slot').hint ?? '', /^ALTER SYSTEM SET max_replication_slots = \d+; then restart Postgres$/)
    assert.equal(only(report, 'synchronous-standby').level, 'error')
    assert.equal(only(report, 'slot-keeps-little').level, 'warning')
    assert.equal(only(report, 'small-decoding-memory').level, 'note')
    assert.equal(only(report, 'no-sender-timeout').level, 'note')
    const wrong = await check(urlOf(server, (url) => (url.password = 'hunter2')))
    assert.match(only(wrong, 'login-refused').message, /refuses user postgres/)
    assert.ok(!JSON.stringify(wrong).includes('hunter2'))
    const none = await check(urlOf(server, (url) => (url.password = '')))
    assert.match(only(none, 'login-refused').message, /wants a password/)
  } finally {
    await server.stop()
  }
})
