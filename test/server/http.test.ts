import assert from 'node:assert/strict'
import { request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { after, before, beforeEach, suite, test } from 'node:test'
import { FrazilError } from '../../src/base/index.ts'
import { silentLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { FakeEngine } from './fake-engine.ts'

const options = {
  listen: { host: '127.0.0.1', port: 0 },
  info: { version: '0.0.0', warehouse: '/lake' },
  log: silentLog,
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** A request as it stands: `fetch` would not let us set Host and Origin. */
function send(url: string, method: string, path: string, headers: Record<string, string> = {}, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(`${url}${path}`, { method, headers, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
    })
    call.on('error', reject)
    call.end(body)
  })
}

const json = { 'content-type': 'application/json' }

suite('HTTP', () => {
  let server: HttpServer
  let engine: FakeEngine
  before(async () => {
    server = await startHttpServer(options)
  })
  beforeEach(() => {
    engine = new FakeEngine()
    server.attach(engine)
  })
  after(() => server.close())

  const get = (path: string, headers: Record<string, string> = {}) => send(server.url, 'GET', path, headers)
  const query = (body: unknown, headers: Record<string, string> = {}, path = '/query') =>
    send(server.url, 'POST', path, { ...json, ...headers }, JSON.stringify(body))
  const code = (answer: Answer): string => (JSON.parse(answer.text) as { code: string }).code

  test('before the engine is there: alive, not ready, 503', async () => {
    const early = await startHttpServer(options)
    try {
      assert.equal((await send(early.url, 'GET', '/health')).status, 200)
      const ready = await send(early.url, 'GET', '/ready')
      assert.equal(ready.status, 503)
      assert.deepEqual(JSON.parse(ready.text).reasons, ['the engine is starting'])
      assert.equal((await send(early.url, 'GET', '/metrics')).status, 200)
      const tables = await send(early.url, 'GET', '/tables')
      assert.deepEqual([tables.status, code(tables)], [503, 'starting'])
    } finally {
      await early.close()
    }
  })

  test('health says who answers', async () => {
    const answer = await get('/health')
    assert.deepEqual(JSON.parse(answer.text), {
      status: 'ok',
      service: 'frazil',
      pid: process.pid,
      version: '0.0.0',
      warehouse: '/lake',
    })
  })

  test('ready follows the engine and tells of detached tables', async () => {
    engine.state = {
      ...engine.state,
      tables: [{ ...engine.state.tables[0], health: 'detached', reason: 'a type is not supported' }],
    }
    const ready = await get('/ready')
    assert.equal(ready.status, 200)
    assert.deepEqual(JSON.parse(ready.text).detached, [
      { database: 'shop', table: 'orders', health: 'detached', reason: 'a type is not supported' },
    ])
    engine.state = { ...engine.state, ready: false, reasons: ['shop.orders is being copied'] }
    const waiting = await get('/ready')
    assert.equal(waiting.status, 503)
    assert.deepEqual(JSON.parse(waiting.text).reasons, ['shop.orders is being copied'])
  })

  test('metrics are Prometheus text', async () => {
    const answer = await get('/metrics')
    assert.match(String(answer.headers['content-type']), /^text\/plain; version=0\.0\.4/)
    assert.match(answer.text, /^frazil_rows_applied_total 1$/m)
  })

  test('tables', async () => {
    const { tables } = JSON.parse((await get('/tables')).text)
    assert.deepEqual(tables, engine.state.tables)
  })

  test('a query gives columns, rows and positions', async () => {
    const answer = await query({ sql: 'select 1', params: [1, null, 'x'], wait: { shop: '0/1' }, timeout: '2s' })
    assert.equal(answer.status, 200)
    assert.deepEqual(JSON.parse(answer.text), {
      columns: [
        { name: 'id', type: 'BIGINT' },
        { name: 'name', type: 'VARCHAR' },
      ],
      rows: [[1, 'a']],
      positions: { shop: '0/2' },
    })
    const { sql, options: given } = engine.queries[0]
    assert.equal(sql, 'select 1')
    assert.deepEqual(given.params, [1, null, 'x'])
    assert.deepEqual(given.wait, { shop: '0/1' })
    assert.equal(given.timeoutMs, 2000)
    assert.equal(given.numbersAsStrings, false)
  })

  test('numbers in parameters keep their digits', async () => {
    await send(server.url, 'POST', '/query?numbers=string', json, '{"sql":"x","params":[9007199254740993,1.5]}')
    assert.deepEqual(engine.queries[0].options.params, [9007199254740993n, 1.5])
    assert.equal(engine.queries[0].options.numbersAsStrings, true)
  })

  test('the format comes from the body, else from Accept', async () => {
    const cases: [unknown, string | undefined, string, string][] = [
      [undefined, undefined, 'json', 'application/json; charset=utf-8'],
      [undefined, 'text/html, */*;q=0.1', 'json', 'application/json; charset=utf-8'],
      [undefined, 'application/json;q=0.5, text/csv', 'csv', 'text/csv; charset=utf-8'],
      [undefined, 'application/x-ndjson', 'ndjson', 'application/x-ndjson; charset=utf-8'],
      ['csv', 'application/json', 'csv', 'text/csv; charset=utf-8'],
      ['arrow', undefined, 'arrow', 'application/vnd.apache.arrow.stream'],
    ]
    for (const [format, accept, expected, type] of cases) {
      const answer = await query({ sql: 'x', format }, accept === undefined ? {} : { accept })
      assert.equal(answer.headers['content-type'], type)
      assert.equal(engine.queries.at(-1)?.options.format, expected)
      if (expected !== 'json') assert.equal(answer.headers['frazil-positions'], '{"shop":"0/2"}')
    }
    const none = await query({ sql: 'x' }, { accept: 'image/png' })
    assert.deepEqual([none.status, code(none)], [406, 'not-acceptable'])
  })

  test('each kind of failure has its status', async () => {
    const cases: [Error, number, string][] = [
      [new FrazilError('request', 'bad-sql', 'no', { hint: 'do' }), 400, 'bad-sql'],
      [new FrazilError('request', 'unknown-table', 'no'), 404, 'unknown-table'],
      [new FrazilError('request', 'query-timeout', 'no'), 504, 'query-timeout'],
      [new FrazilError('unavailable', 'wait-timeout', 'no'), 504, 'wait-timeout'],
      [new FrazilError('unavailable', 'too-many-queries', 'no'), 429, 'too-many-queries'],
      [new FrazilError('unavailable', 'store-down', 'no'), 503, 'store-down'],
      [new FrazilError('corrupt', 'bad-file', 'no'), 500, 'bad-file'],
      [new TypeError('secret detail'), 500, 'internal'],
    ]
    for (const [error, status, expected] of cases) {
      engine.answer = () => Promise.reject(error)
      const answer = await query({ sql: 'x' })
      assert.deepEqual([answer.status, code(answer)], [status, expected])
      assert(!answer.text.includes('secret detail'))
    }
  })

  test('bodies that are wrong say what is wrong', async () => {
    const cases: [string, RegExp][] = [
      ['{', /bad-json/],
      ['[]', /bad-body/],
      ['{}', /sql: must be one SQL statement/],
      ['{"sql":""}', /sql/],
      ['{"sql":"x","parms":[]}', /parms/],
      ['{"sql":"x","wait":3}', /wait: must be/],
      ['{"sql":"x","timeout":"soon"}', /timeout: must be a duration/],
      ['{"sql":"x","params":[{}]}', /params\.0/],
    ]
    for (const [body, expected] of cases) {
      const answer = await send(server.url, 'POST', '/query', json, body)
      assert.equal(answer.status, 400, body)
      assert.match(answer.text, expected, body)
    }
    const past = await query({ sql: 'x', at: { time: 'yesterday' } })
    assert.deepEqual([past.status, code(past)], [501, 'not-available-yet'])
    assert.equal((await send(server.url, 'POST', '/query', json, `{"sql":"${'x'.repeat(2 << 20)}"}`)).status, 413)
    assert.equal((await query({ sql: 'x' }, {}, '/query?numbers=float')).status, 400)
    assert.equal(engine.queries.length, 0)
  })

  test('a table is copied again on request', async () => {
    const path = '/tables/orders/resync'
    assert.equal((await query({ database: 'shop', table: 'orders' }, {}, path)).status, 200)
    assert.deepEqual(engine.resyncs, ['shop.orders'])
    assert.equal((await query({ database: 'shop', table: 'nope' }, {}, path)).status, 404)
  })

  test('the files of a table are rewritten on request', async () => {
    const path = '/tables/orders/optimize'
    for (const mode of [undefined, 'data', 'index', 'full']) {
      const answer = await query({ database: 'shop', table: 'orders', mode }, {}, path)
      assert.deepEqual([answer.status, JSON.parse(answer.text)], [200, { database: 'shop', table: 'orders' }])
    }
    assert.equal(engine.optimized.length, 3)
    assert.equal((await query({ database: 'shop', table: 'orders', mode: 'all' }, {}, path)).status, 400)
    assert.equal((await query({ database: 'shop', table: 'nope' }, {}, path)).status, 404)
    assert.equal(engine.optimized.length, 3)
  })

  test('a snapshot commits what is applied', async () => {
    const path = '/tables/orders/snapshot'
    const answer = await query({ database: 'shop', table: 'orders' }, {}, path)
    assert.deepEqual(JSON.parse(answer.text), { database: 'shop', table: 'orders', positions: { shop: '0/2' } })
    assert.equal(engine.flushes, 1)
    assert.equal((await query({ database: 'shop', table: 'nope' }, {}, path)).status, 404)
    assert.equal((await query({ database: 'shop' }, {}, path)).status, 400)
    assert.equal(engine.flushes, 1)
  })

  test('rows are looked up by key', async () => {
    const one = await get('/tables/shop/orders/rows/9007199254740993')
    assert.deepEqual([one.status, one.text], [200, '{"id":9007199254740993}'])
    assert.equal((await get('/tables/shop/orders/rows/9007199254740993?numbers=string')).text, '{"id":"9007199254740993"}')
    assert.equal((await get('/tables/shop/orders/rows?id=9007199254740993')).status, 200)
    assert.equal((await get('/tables/shop/lines/rows?a=1&b=x%2Fy')).status, 200)
    assert.deepEqual(code(await get('/tables/shop/orders/rows/1')), 'no-such-row')
    assert.equal((await get('/tables/shop/orders/rows/1')).status, 404)
    assert.equal((await get('/tables/shop/nope/rows/1')).status, 404)
    for (const path of [
      'lines/rows/1',
      'lines/rows?a=1',
      'lines/rows?a=1&b=2&c=3',
      'lines/rows?a=1&a=2',
      'log/rows',
      'log/rows/1',
    ]) {
      const answer = await get(`/tables/shop/${path}`)
      assert.equal(answer.status, 400, path)
      assert.match(code(answer), /^(wrong|no)-key$/)
    }
  })

  test('other routes are 404 with the list', async () => {
    const answer = await get('/tabels')
    assert.equal(answer.status, 404)
    const { code, routes } = JSON.parse(answer.text)
    assert.equal(code, 'no-such-route')
    assert(routes.includes('POST /query') && routes.includes('GET /tables/{database}/{table}/rows/{key}'))
  })

  test('another method than those of a path is 405 with them', async () => {
    for (const [method, path, allow] of [
      ['DELETE', '/query', 'POST'],
      ['GET', '/ingest/users', 'POST'],
      ['OPTIONS', '/tables/a%20b', 'POST, DELETE'],
      ['HEAD', '/health', 'GET'],
      ['PROPFIND', '/tables/a/b/rows/c', 'GET'],
    ] as const) {
      const answer = await send(server.url, method, path)
      assert.deepEqual([answer.status, answer.headers['allow']], [405, allow], `${method} ${path}`)
      if (method !== 'HEAD') assert.equal(code(answer), 'wrong-method')
    }
    assert.equal((await send(server.url, 'PUT', '/tables/')).status, 404)
  })

  test('a path that is no URL is 400 in our form', async () => {
    for (const path of ['/ingest/%zz', '/tables/a/b/rows/%ff', `/schema/app/${'a'.repeat(9000)}`]) {
      for (const method of ['GET', 'POST']) {
        const answer = await send(server.url, method, path)
        assert.match(String(answer.headers['content-type']), /^application\/json/)
        // The other method has no such route, and the router does not look at a name that is too long then.
        if (path.length > 9000 && method === 'POST') assert.equal(answer.status, 405)
        else assert.deepEqual([answer.status, code(answer)], [400, 'bad-parameter'], `${method} ${path.slice(0, 30)}`)
      }
    }
  })

  test('what a web page could send is refused', async () => {
    const foreign = await get('/tables', { host: 'evil.example:3030' })
    assert.deepEqual([foreign.status, code(foreign)], [403, 'wrong-host'])
    const origin = await query({ sql: 'x' }, { origin: 'https://evil.example' })
    assert.deepEqual([origin.status, code(origin)], [403, 'wrong-origin'])
    assert.equal((await get('/tables', { origin: 'null' })).status, 403)
    assert.equal((await get('/tables', { 'sec-fetch-site': 'cross-site' })).status, 403)
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      const answer = await send(server.url, 'POST', '/query', { 'content-type': type }, '{"sql":"x"}')
      assert.deepEqual([answer.status, code(answer)], [415, 'wrong-content-type'])
    }
    assert.equal((await send(server.url, 'POST', '/query', {}, '{"sql":"x"}')).status, 415)
    assert.equal(engine.queries.length, 0)
    assert.equal((await get('/tables', { host: 'localhost:9999' })).status, 200)
    assert.equal((await get('/tables', { origin: server.url })).status, 200)
  })

  test('a client that goes away ends its query', async () => {
    let aborted: (() => void) | undefined
    const gone = new Promise<void>((resolve) => (aborted = resolve))
    let started: (() => void) | undefined
    const running = new Promise<void>((resolve) => (started = resolve))
    engine.answer = () => {
      const { signal } = engine.queries[0].options
      signal?.addEventListener('abort', () => aborted?.())
      started?.()
      return gone.then(() => '[]')
    }
    const call = request(`${server.url}/query`, { method: 'POST', headers: json })
    call.on('error', () => {})
    call.end('{"sql":"x"}')
    await running
    call.destroy()
    await gone
  })

  test('a taken port is one sentence', async () => {
    const port = Number(new URL(server.url).port)
    await assert.rejects(startHttpServer({ ...options, listen: { host: '127.0.0.1', port } }), {
      kind: 'config',
      code: 'port-in-use',
      message: `port ${port} on 127.0.0.1 is taken by another program`,
    })
  })

  test('nothing listens beyond this machine', async () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.1', 'example.com']) {
      await assert.rejects(startHttpServer({ ...options, listen: { host, port: 0 } }), { code: 'listen-beyond-loopback' })
    }
  })
})
