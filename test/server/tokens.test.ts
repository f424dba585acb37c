import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { Secret, resolveConfig } from '../../src/engine/index.ts'
import type { Engine, TokenConfig } from '../../src/engine/index.ts'
import { silentLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openEngine } from '../support/engine.ts'

const timeout = 180_000

const texts = {
  admin: 'admin-token-0123456789',
  reader: 'reader-token-0123456789',
  writer: 'writer-token-0123456789',
  mixed: 'mixed-token-0123456789',
}
type Who = keyof typeof texts
const entry = (who: Who, tables: string[], may: TokenConfig['may']): TokenConfig => ({
  token: new Secret(texts[who]),
  tables,
  may,
})
const tokens = [
  entry('admin', ['*'], ['read', 'write']),
  entry('reader', ['app.*'], ['read']),
  entry('writer', ['app.ev*'], ['write']),
  entry('mixed', ['app.*'], ['read']),
  entry('mixed', ['hr.log'], ['write']),
]

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

suite('tokens', { timeout }, () => {
  let folder: string
  let engine: Engine
  let server: HttpServer

  async function send(who: Who | null, method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${server.url}${path}`, {
      method,
      headers: {
        ...(who === null ? {} : { authorization: `Bearer ${texts[who]}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    return { status: response.status, headers: response.headers, text: await response.text() }
  }
  const query = (who: Who, sql: string): Promise<Answer> => send(who, 'POST', '/query', { sql })
  const code = ({ text }: Answer): unknown => (JSON.parse(text) as { code?: unknown }).code
  const rows = ({ text, status }: Answer): unknown => {
    assert.equal(status, 200, text)
    return (JSON.parse(text) as { rows: unknown }).rows
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-tokens-'))
    engine = await openEngine(resolveConfig({ commit: { every: '1h' } }, { folder, env: {} }))
    const info = { version: '0', warehouse: folder }
    server = await startHttpServer({ listen: { host: '127.0.0.1', port: 0 }, info, log: silentLog, tokens })
    server.attach(engine)
    for (const [database, table, ingest] of [
      ['app', 'events', 'events'],
      ['app', 'users', 'users'],
      ['hr', 'salaries', 'salaries'],
      ['hr', 'log', 'log'],
    ]) {
      const schema = [
        { name: 'id', data_type: 'int64', nullable: false },
        { name: 'amount', data_type: 'int64' },
      ]
      const made = await send('admin', 'POST', `/tables/${ingest}`, { database, table, schema, table_config: { key: ['id'] } })
      assert.equal(made.status, 200, made.text)
      assert.equal((await send('admin', 'POST', `/ingest/${ingest}?wait=visible`, [{ id: 1, amount: 5 }])).status, 200)
    }
  })
  after(async () => {
    await server?.close()
    await engine?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('without a token, or with one that is not known: 401, whatever is asked for', async () => {
    for (const [method, path] of [
      ['GET', '/tables'],
      ['GET', '/metrics'],
      ['POST', '/query'],
      ['POST', '/ingest/events'],
      ['POST', '/ingest/nowhere'],
      ['POST', '/tables/events'],
      ['GET', '/tables/app/events/rows/1'],
      ['GET', '/schema/app/events'],
      ['GET', '/nowhere'],
    ]) {
      const answer = await send(null, method, path, method === 'POST' ? {} : undefined)
      assert.deepEqual([answer.status, code(answer)], [401, 'unauthorized'], path)
      assert.equal(answer.headers.get('www-authenticate'), 'Bearer realm="frazil"')
    }
    for (const authorization of [
      '',
      'Bearer',
      'Bearer x',
      `Bearer ${texts.admin}x`,
      `Bearer x ${texts.admin}`,
      `Basic ${texts.admin}`,
      texts.admin,
    ]) {
      const { status } = await fetch(`${server.url}/tables`, { headers: { authorization } })
      assert.equal(status, 401, authorization)
    }
    assert.equal((await fetch(`${server.url}/health`, { headers: { authorization: 'Bearer x' } })).status, 401)
    for (const scheme of ['bearer ', 'BEARER   ']) {
      assert.equal((await fetch(`${server.url}/tables`, { headers: { authorization: scheme + texts.admin } })).status, 200)
    }
  })

  test('health is open, and ready without what it knows', async () => {
    assert.equal((await send(null, 'GET', '/health')).status, 200)
    assert.equal((await send(null, 'GET', '/ready')).text, '{"ready":true}')
    assert.match((await send('reader', 'GET', '/ready')).text, /"sources":\[/)
  })

  test('rows: written by those who may, whether the table is there or not', async () => {
    const row = [{ id: 2 }]
    assert.equal((await send('writer', 'POST', '/ingest/events', row)).status, 200)
    assert.equal((await send('mixed', 'POST', '/ingest/log', row)).status, 200)
    const refused = await send('reader', 'POST', '/ingest/events', row)
    assert.deepEqual([refused.status, code(refused)], [403, 'forbidden'])
    assert.match(refused.text, /this token may not write app\.events/)
    assert.equal(refused.headers.get('www-authenticate'), 'Bearer realm="frazil", error="insufficient_scope"')
    // A table that it may not know of, and one that is not there.
    const [hidden, none] = [
      await send('reader', 'POST', '/ingest/salaries', row),
      await send('reader', 'POST', '/ingest/salariez', row),
    ]
    assert.deepEqual([hidden.status, code(hidden)], [404, 'unknown-table'])
    assert.equal(hidden.text.replace('salaries', 'salariez'), none.text)
  })

  test('tables: made, dropped and worked on by those who may write them', async () => {
    const schema = [{ name: 'id', data_type: 'int64' }]
    const forbidden = async (who: Who, method: string, path: string, body?: unknown): Promise<void> => {
      const answer = await send(who, method, path, body)
      assert.deepEqual([answer.status, code(answer)], [403, 'forbidden'], `${who} ${method} ${path}: ${answer.text}`)
    }
    for (const work of ['snapshot', 'flush', 'optimize', 'resync']) {
      await forbidden('reader', 'POST', `/tables/x/${work}`, { database: 'app', table: 'events' })
      for (const table of ['salaries', 'nothing'])
        await forbidden('writer', 'POST', `/tables/x/${work}`, { database: 'hr', table })
    }
    assert.equal((await send('writer', 'POST', '/tables/x/snapshot', { database: 'app', table: 'events' })).status, 200)
    const fromPostgres = { src_uri: 'postgres://db/shop', src_table_name: 'public.events' }
    const notOpen = await send('writer', 'POST', '/tables/x/from_postgres', { database: 'app', table: 'events', ...fromPostgres })
    assert.deepEqual([notOpen.status, code(notOpen)], [403, 'from-postgres-not-allowed'])
    await forbidden('reader', 'POST', '/tables/x/from_postgres', { database: 'app', table: 'events', ...fromPostgres })
    await forbidden('writer', 'POST', '/tables/x/from_postgres', { database: 'hr', table: 'salaries', ...fromPostgres })
    await forbidden('reader', 'POST', '/tables/new', { database: 'app', table: 'new', schema })
    await forbidden('writer', 'POST', '/tables/new', { database: 'app', table: 'new', schema })
    await forbidden('reader', 'DELETE', '/tables/users', { database: 'app', table: 'users' })
    await forbidden('mixed', 'DELETE', '/tables/salaries', { database: 'hr', table: 'salaries' })
    assert.equal((await send('writer', 'POST', '/tables/ev2', { database: 'app', table: 'ev2', schema })).status, 200)
    const taken = await send('writer', 'POST', '/tables/salaries', { database: 'app', table: 'ev3', schema })
    assert.equal(taken.status, 409)
    assert(!taken.text.includes('hr'), taken.text)
    assert.equal((await send('writer', 'DELETE', '/tables/ev2', { database: 'app', table: 'ev2' })).status, 200)
  })

  test('what is read by key or listed', async () => {
    assert.equal((await send('reader', 'GET', '/tables/app/users/rows/1')).text, '{"id":1,"amount":5}')
    for (const path of [
      '/tables/hr/salaries/rows/1',
      '/tables/hr/nothing/rows/1',
      '/tables/hr/salaries/rows?id=1',
      '/schema/hr/salaries',
      '/schema/hr/x',
    ]) {
      assert.equal((await send('reader', 'GET', path)).status, 403, path)
    }
    assert.equal((await send('writer', 'GET', '/tables/app/events/rows/1')).status, 403)
    assert.equal((await send('writer', 'GET', '/schema/app/events')).status, 200)
    const near = await send('reader', 'GET', '/tables/app/salaries/rows/1')
    assert.deepEqual([near.status, near.text.includes('hr')], [404, false], near.text)
    const names = async (who: Who): Promise<string[]> => {
      const { tables } = JSON.parse((await send(who, 'GET', '/tables')).text) as { tables: { database: string; table: string }[] }
      return tables.map(({ database, table }) => `${database}.${table}`).sort()
    }
    assert.deepEqual(await names('admin'), ['app.events', 'app.users', 'hr.log', 'hr.salaries'])
    assert.deepEqual(await names('reader'), ['app.events', 'app.users'])
    assert.deepEqual(await names('writer'), ['app.events'])
    assert.deepEqual(await names('mixed'), ['app.events', 'app.users', 'hr.log'])
    const metrics = (await send('reader', 'GET', '/metrics')).text
    assert.match(metrics, /frazil_table_files\{database="app",table="users"\} \d/)
    assert(!metrics.includes('salaries') && !metrics.includes('table="log"'))
    assert.match((await send('admin', 'GET', '/metrics')).text, /table="salaries"/)
  })

  test('SQL reads only what the token may read, however it is written', async () => {
    const secret = [
      'select * from hr.salaries',
      'select * from HR.Salaries',
      'from "hr"."salaries"',
      'table hr.salaries',
      'select * from app.users, hr.salaries',
      'select * from app.users where id in (select id from hr.salaries)',
      'select (select max(amount) from hr.salaries)',
      'select exists (from hr.salaries)',
      'with s as (select * from hr.salaries) select * from s',
      'with recursive s as (select id from hr.salaries union all select id + 1 from s where id < 3) select * from s',
      'with hr as (select 1) select * from hr.salaries',
      'select * from app.users union all select * from hr.salaries',
      'select * from app.users order by (select max(amount) from hr.salaries)',
      'select * from app.users limit (select max(amount) from hr.salaries)',
      'select * from app.users join lateral (select * from hr.salaries) s on true',
      'values ((select max(amount) from hr.salaries))',
      'describe hr.salaries',
      'describe select * from hr.salaries',
      'summarize hr.salaries',
      'explain select * from hr.salaries',
      'select * from (from hr.salaries) pivot (sum(amount) for id in (1))',
      'select * from app.users as u semi join hr.salaries using (id)',
      'select * from hr.nothing',
    ]
    const unknown = [
      'select * from salaries',
      'describe salaries',
      'with s as (select * from salaries) select * from s',
      'with salaries as (select * from salaries) select * from salaries',
      'select * from (with salaries as (select 1 as id) from salaries) a, salaries b',
      'select * from app.salaries',
    ]
    const refused = [
      'select * from main.salaries',
      'select * from frazil_0.hr.salaries',
      'select * from frazil_0.salaries',
      'select * from information_schema.tables',
      'select * from duckdb_views()',
      "select * from query_table('hr.salaries')",
      "select * from query('from hr.salaries')",
      'show tables from hr',
      'select * from recurring.salaries',
      'pragma show_tables',
    ]
    // Whoever may has them read first: DuckDB then has views of these names.
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(rows(await query('admin', 'select amount from hr.salaries')), [[5]])
      assert.deepEqual(rows(await query('admin', 'select amount from salaries')), [[5]])
    }
    for (const who of ['reader', 'mixed'] as const) {
      for (const sql of secret) {
        const answer = await query(who, sql)
        assert.deepEqual([answer.status, code(answer)], [403, 'forbidden'], `${sql}: ${answer.text}`)
      }
      for (const sql of unknown) {
        const answer = await query(who, sql)
        assert.deepEqual([answer.status, code(answer)], [404, 'unknown-table'], `${sql}: ${answer.text}`)
        assert(!answer.text.includes('hr'), answer.text)
      }
      for (const sql of refused) {
        const answer = await query(who, sql)
        assert(answer.status >= 400 && answer.status < 500, `${sql}: ${answer.text}`)
        assert(!answer.text.includes('amount') && !/hr\.(?!salaries|nothing)/.test(answer.text), answer.text)
      }
      assert.deepEqual(rows(await query(who, 'show tables')), [
        ['app', 'events'],
        ['app', 'users'],
      ])
      assert.deepEqual(rows(await query(who, 'select amount from users')), [[5]])
      assert.deepEqual(rows(await query(who, 'with salaries as (select 7 as amount) select amount from salaries')), [[7]])
    }
    const written = await query('writer', 'select * from app.events')
    assert.deepEqual([written.status, code(written)], [403, 'forbidden'])
    assert.deepEqual(rows(await query('writer', 'select 1')), [[1]])
  })
})
