import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { FrazilClient, FrazilClientError } from '../../src/client/index.ts'
import { Secret, resolveConfig } from '../../src/engine/index.ts'
import type { Engine } from '../../src/engine/index.ts'
import { silentLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openEngine } from '../support/engine.ts'

const timeout = 180_000
const token = 'client-token-0123456789'

suite('the client, against a server', { timeout }, () => {
  let folder: string
  let engine: Engine
  let server: HttpServer
  let client: FrazilClient
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-client-'))
    engine = await openEngine(resolveConfig({ commit: { every: '1h' } }, { folder, env: {} }))
    server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      info: { version: '0', warehouse: folder },
      log: silentLog,
      tokens: [{ token: new Secret(token), tables: ['app.*'], may: ['read', 'write'] }],
    })
    server.attach(engine)
    client = new FrazilClient({ url: `${server.url}/`, token })
    await client.createTable('users', {
      database: 'app',
      table: 'users',
      schema: [
        { name: 'id', data_type: 'int64', nullable: false },
        { name: 'at', data_type: 'timestamptz' },
        { name: 'bytes', data_type: 'binary' },
        { name: 'ratio', data_type: 'float64' },
      ],
      table_config: { key: ['id'] },
    })
  })
  after(async () => {
    await server?.close()
    await engine?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('rows go in by batches and come back as they were', async () => {
    const at = new Date('2026-01-02T03:04:05.678Z')
    const sent = [
      { id: 2n ** 53n + 1n, at, bytes: Uint8Array.of(0, 255), ratio: Number.NaN },
      { id: 2, at: null, ratio: 0.1 },
      { id: 3 },
    ]
    const { rows, refused, position, batches } = await client.ingest('users', sent, { batchRows: 2 })
    assert.deepEqual([rows, refused, batches.map((batch) => batch.rows)], [3, 0, [2, 1]])
    assert(position !== null)
    await client.wait({ http: position })
    const answer = await client.query('select id, epoch_ms("at"), bytes, ratio from app.users where id > ? order by id desc', {
      params: [1],
    })
    assert.deepEqual(answer.rows, [
      [2n ** 53n + 1n, at.getTime(), 'AP8=', 'NaN'],
      [3, null, null, null],
      [2, null, null, 0.1],
    ])
    assert.deepEqual(await client.row('app', 'users', { id: 2n ** 53n + 1n }), {
      id: 2n ** 53n + 1n,
      at: '2026-01-02T03:04:05.678000Z',
      bytes: 'AP8=',
      ratio: 'NaN',
    })
    assert.equal(await client.row('app', 'users', { id: 77 }), null)
    assert.equal((await client.tables()).tables[0].table, 'users')
    assert.deepEqual((await client.schema('app', 'users')).key, ['id'])
    assert.equal((await client.commit('app', 'users')).positions['http'], position)
  })

  test('what is refused says why; good rows are kept if that is asked for', async () => {
    const rows = [{ id: 10 }, { id: 'x' }]
    const refusal = await client.ingest('users', rows).catch((error: unknown) => error)
    assert(refusal instanceof FrazilClientError)
    assert.deepEqual([refusal.status, refusal.code, refusal.rows[0].row, refusal.rows[0].column], [422, 'rows-refused', 2, 'id'])
    const { rows: kept, refused } = await client.ingest('users', rows, { partial: true, wait: 'visible' })
    assert.deepEqual([kept, refused], [1, 1])
    await assert.rejects(client.query('select * from hr.salaries'), { status: 403, code: 'forbidden' })
    await assert.rejects(new FrazilClient({ url: server.url }).tables(), { status: 401, code: 'unauthorized' })
  })

  test('a batch with bad rows only does not end what goes on without them; refused rows count among all', async () => {
    const rows = ['a', 'b', 30, 'c', 'd', 'e', 31, 'f', 32].map((id) => ({ id }))
    const options = { partial: true, wait: 'visible', batchRows: 2 } as const
    const kept = await client.ingest('users', rows, options)
    assert.deepEqual([kept.rows, kept.refused, kept.batches.length], [3, 6, 3])
    assert.deepEqual(
      kept.errors.map(({ row }) => row),
      [1, 2, 4, 5, 6, 8],
    )
    const found = await client.query('select id from app.users where id between 30 and 32 order by id')
    assert.deepEqual(found.rows, [[30], [31], [32]])
    const numbered = await client.ingest('users', rows, { ...options, producer: { id: 'p', sequence: 7 } })
    assert.deepEqual([numbered.rows, numbered.refused, numbered.position], [3, 6, numbered.batches[2].position])
    await client.ingest('users', [{ id: 33 }], { producer: { id: 'p', sequence: 10 } })
    const none = await client.ingest('users', [{ id: 'x' }], { partial: true })
    assert.deepEqual([none.rows, none.refused, none.position, none.errors[0].column], [0, 1, null, 'id'])
  })

  test('bytes are bytes also as a Buffer; what has no value is an error, not null', async () => {
    await client.ingest('users', [{ id: 15, bytes: Buffer.from([1, 255]) }], { wait: 'visible' })
    assert.deepEqual((await client.query('select bytes from app.users where id = 15')).rows, [['Af8=']])
    const wrong = [new Date(Number.NaN), new Map([['a', 1]]), new Set([1]), Float64Array.of(1), () => 1, Symbol('s')]
    for (const at of wrong) await assert.rejects(client.ingest('users', [{ id: 16, at }]), TypeError)
    assert.equal(await client.row('app', 'users', { id: 16 }), null)
  })

  test('a zero keeps its sign', async () => {
    const { position } = await client.ingest('users', [{ id: -0, ratio: -0 }])
    const answer = await client.query('select 1 / ratio as inverse from app.users where id = 0', { wait: { http: position } })
    assert.deepEqual(answer.rows, [['-Infinity']])
  })

  test('nothing to send is nothing; rows may come one after the other', async () => {
    const none = await client.ingest('users', [])
    assert.deepEqual(none, { rows: 0, refused: 0, errors: [], position: null, batches: [] })
    assert.deepEqual((await client.query('select 1', { wait: { http: none.position } })).rows, [[1]])
    async function* some() {
      for (let id = 20; id < 25; id++) yield { id }
    }
    assert.equal((await client.ingest('users', some(), { batchRows: 2 })).batches.length, 3)
  })
})

suite('the client, when it is turned away', { timeout }, () => {
  interface Seen {
    readonly path: string
    readonly key: string | null
    readonly body: string
  }

  /** A client whose requests get these answers, in turn; null for none at all. */
  function against(answers: (number | null)[], attempts = 10): { client: FrazilClient; seen: Seen[] } {
    const seen: Seen[] = []
    const client = new FrazilClient({
      url: 'http://frazil.example',
      attempts,
      firstPauseMs: 1,
      fetch: async (url, init) => {
        const { body } = init ?? {}
        seen.push({
          path: url instanceof Request ? url.url : url.toString(),
          key: new Headers(init?.headers).get('idempotency-key'),
          body: typeof body === 'string' ? body : '',
        })
        const status = answers.shift()
        if (status === null || status === undefined) throw new TypeError('fetch failed')
        const good = '{"table":"t","operation":"insert","rows":1,"position":"1","durability":"stored"}'
        return new Response(status === 200 ? good : '{"code":"c","message":"m"}', { status })
      },
    })
    return { client, seen }
  }

  test('the same rows are sent again under the same key, until they are stored', async () => {
    const { client, seen } = against([429, 503, null, 507, 504, 502, 408, 200])
    assert.equal((await client.ingest('t', [{ a: 1 }])).rows, 1)
    assert.equal(seen.length, 8)
    assert.equal(new Set(seen.map(({ key, body }) => `${key} ${body}`)).size, 1)
    assert.match(seen[0].key ?? '', /^[0-9a-f]{32}-0$/)
  })

  test('options that are undefined are those that were not given', async () => {
    let sent = 0
    const options = { attempts: undefined, timeoutMs: undefined, firstPauseMs: 1, longestPauseMs: undefined } as object
    const send = async (_: unknown, init?: RequestInit): Promise<Response> => {
      assert(init?.signal instanceof AbortSignal)
      if (++sent > 10) throw new FrazilClientError('it was sent too often', { status: null, code: 'test' })
      throw new TypeError('fetch failed')
    }
    const client = new FrazilClient({ url: 'http://frazil.example', fetch: send, ...options, longestPauseMs: 1 })
    await assert.rejects(client.tables(), { code: 'no-answer' })
    assert.equal(sent, 10)
    const fetching = new FrazilClient({ url: 'http://127.0.0.1:1', attempts: 1, ...({ fetch: undefined } as object) })
    await assert.rejects(fetching.tables(), ({ cause }: Error) => cause instanceof TypeError && cause.message === 'fetch failed')
  })

  test('each batch has its own key, and each call', async () => {
    const { client, seen } = against([200, 200, 200])
    await client.ingest('t', [{ a: 1 }, { a: 2 }], { batchRows: 1, idempotencyKey: 'mine' })
    await client.ingest('t', [{ a: 1 }])
    assert.deepEqual(
      seen.slice(0, 2).map(({ key }) => key),
      ['mine-0', 'mine-1'],
    )
    assert.notEqual(seen[2].key, 'mine-0')
  })

  test('what would fail again is not sent again; attempts have an end', async () => {
    for (const status of [400, 401, 403, 404, 409, 413, 415, 422, 500, 501]) {
      const { client, seen } = against([status])
      await assert.rejects(client.ingest('t', [{}]), { name: 'FrazilClientError', status, code: 'c', message: 'm' })
      assert.equal(seen.length, 1)
    }
    const busy = against(
      Array.from({ length: 9 }, () => 429),
      3,
    )
    await assert.rejects(busy.client.tables(), { status: 429 })
    assert.equal(busy.seen.length, 3)
    const away = against([], 3)
    await assert.rejects(away.client.tables(), { status: null, code: 'no-answer' })
  })

  test('a signal ends it', async () => {
    const { client, seen } = against([])
    const signal = AbortSignal.abort(new Error('enough'))
    await assert.rejects(client.ingest('t', [{}], { signal }), /enough/)
    assert.equal(seen.length, 0)
  })
})
