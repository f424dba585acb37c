import assert from 'node:assert/strict'
import { cp, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { resolveConfig } from '../../src/engine/index.ts'
import type { ConfigInput, Engine } from '../../src/engine/index.ts'
import { EventBus, createLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openEngine } from '../support/engine.ts'

const log = createLog({ level: 'error', format: 'json', write: () => undefined })

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

interface Column {
  readonly name: string
  readonly data_type: string
  readonly nullable: boolean
}

suite('tables made and changed by their rows', { timeout: 240_000 }, () => {
  let folder: string
  let engine: Engine
  let server: HttpServer
  const errors: string[] = []

  async function start(at = folder, config: ConfigInput = {}): Promise<void> {
    const events = new EventBus()
    events.on((event) => {
      if (event.type === 'error') errors.push(event.message)
    })
    engine = await openEngine(resolveConfig({ commit: { every: '1h' }, ...config }, { folder: at, env: {} }), {
      events,
      // A copy of a lake has the lease of the one that it was copied from.
      takeOver: at !== folder,
    })
    server = await startHttpServer({ listen: { host: '127.0.0.1', port: 0 }, info: { version: '0', warehouse: at }, log })
    server.attach(engine)
  }

  async function stop(): Promise<void> {
    await server.close()
    await engine.close()
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-first-rows-'))
    await start()
  })
  after(async () => {
    await stop()
    await rm(folder, { recursive: true })
    assert.deepEqual(errors, [])
  })

  async function send(
    path: string,
    body: string,
    type = 'application/json',
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const response = await fetch(`${server.url}${path}`, { method: 'POST', body, headers: { 'content-type': type, ...headers } })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }

  const ndjson = (path: string, rows: readonly string[]): Promise<Answer> => send(path, rows.join('\n'), 'application/x-ndjson')

  async function rows(sql: string): Promise<unknown> {
    const { body, status } = await send('/query', JSON.stringify({ sql, wait: 'now' }))
    assert.equal(status, 200, JSON.stringify(body))
    return body['rows']
  }

  async function columns(database: string, table: string): Promise<string[]> {
    const response = await fetch(`${server.url}/schema/${database}/${table}`)
    const { schema } = (await response.json()) as { schema: Column[] }
    return schema.map(({ name, data_type: type, nullable }) => `${name} ${type}${nullable ? '' : ' not null'}`)
  }

  async function exists(database: string, table: string): Promise<boolean> {
    return (await fetch(`${server.url}/schema/${database}/${table}`)).status === 200
  }

  test('one request makes a table and fills it; without being asked to it is 404', async () => {
    const row =
      '{"operation":"insert","data":{"id":1,"name":"a","price":1.5,"ok":true,"at":"2026-01-31","tags":["x"],"who":{"n":1}}}'
    assert.deepEqual([(await send('/ingest/events', row)).status, await exists('http', 'events')], [404, false])
    const answer = await send('/ingest/events?create=true', row)
    assert.deepEqual([answer.status, answer.body['rows']], [200, 1])
    assert.deepEqual(await columns('http', 'events'), [
      'id int64',
      'name string',
      'price float64',
      'ok boolean',
      'at string',
      'tags list',
      'who struct',
    ])
    assert.deepEqual(await rows('select id, name, price, ok, "at", tags, who from http.events'), [
      [1, 'a', 1.5, true, '2026-01-31', ['x'], { n: 1 }],
    ])
    assert.equal((await send('/ingest/events', row)).status, 200)
  })

  test('every row of the first request has its say, also of CSV; a key and a database are as asked for', async () => {
    const made = await ndjson('/ingest/mixed?create=true&database=app&key=id', [
      '{"id":1,"a":null,"b":1,"c":[]}',
      '{"id":2,"a":"x","b":2.5,"c":[{"n":1}],"open":null}',
      '{"id":1,"b":9007199254740993,"c":[{"m":"y"}],"open":[],"other":{}}',
    ])
    // 2^53 + 1 beside a fraction: nothing is rounded.
    assert.deepEqual([made.status, made.body['code']], [422, 'rows-refused'])
    assert.equal(await exists('app', 'mixed'), false)
    const again = await ndjson('/ingest/mixed?create=true&database=app&key=id', [
      '{"id":1,"a":null,"b":1,"c":[]}',
      '{"id":2,"a":"x","b":2.5,"c":[{"n":1}],"open":null}',
      '{"id":1,"b":3,"c":[{"m":"y"}],"open":[],"other":{}}',
    ])
    assert.equal(again.status, 200, JSON.stringify(again.body))
    assert.deepEqual(await columns('app', 'mixed'), ['id int64 not null', 'a string', 'b float64', 'c list'])
    assert.deepEqual(await rows('select id, a, b, c from app.mixed order by id'), [
      [1, null, 3, [{ n: null, m: 'y' }]],
      [2, 'x', 2.5, [{ n: 1, m: null }]],
    ])
    assert.equal((await send('/ingest/table?create=true&database=app', 'a,b\n1,x\n', 'text/csv')).status, 200)
    assert.deepEqual(await rows('select a, b from app.table'), [['1', 'x']])
    // Rows never go to a table of another database than the one that they name.
    const elsewhere = await ndjson('/ingest/table?create=true&database=other', ['{"a":"2","b":"y"}'])
    assert.deepEqual([elsewhere.status, elsewhere.body['code']], [409, 'ingest-name-taken'])
    assert.equal((await ndjson('/ingest/table?create=true&database=app', ['{"a":"3"}'])).status, 200)
    assert.equal((await ndjson('/ingest/table?create=true', ['{"a":"4"}'])).status, 200)
    assert.deepEqual(await rows('select a, b from app.table order by a'), [
      ['1', 'x'],
      ['3', null],
      ['4', null],
    ])
  })

  test('a refused request makes nothing; with partial the good rows make the table, without what the others have', async () => {
    const sent = ['{"id":1,"a":"x"}', '{"id":"2","bad":true}', '{"id":3,"b":1}']
    const refused = await ndjson('/ingest/some?create=true&database=app', sent)
    assert.deepEqual([refused.status, refused.body['refused']], [422, 1])
    assert.equal(await exists('app', 'some'), false)
    const partial = await ndjson('/ingest/some?create=true&database=app&partial=true', sent)
    assert.deepEqual([partial.status, partial.body['rows'], partial.body['refused']], [200, 2, 1])
    assert.deepEqual(await columns('app', 'some'), ['id int64', 'a string', 'b int64'])
    for (const [body, code] of [
      ['{"a":', 'rows-refused'],
      ['{}', 'bad-schema'],
      ['', 'bad-schema'],
    ]) {
      const answer = await ndjson('/ingest/none?create=true', [body])
      assert.equal(answer.body['code'], code, body)
    }
    assert.equal((await ndjson('/ingest/none?create=true&key=k', ['{"a":1}'])).body['code'], 'bad-key-columns')
    assert.equal((await ndjson('/ingest/none?database=x', ['{"a":1}'])).body['code'], 'bad-parameter')
    assert.equal((await ndjson('/ingest/none?create=true&operation=delete', ['{"a":1}'])).status, 404)
    assert.equal(await exists('http', 'none'), false)
  })

  test('twenty first requests at one time make one table with all of their rows', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        send('/ingest/race?create=true', `{"operation":"insert","data":{"id":${i},"c${i % 4}":${i}}}`),
      ),
    )
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
    assert.deepEqual(await rows('select count(*), count(distinct id), sum(c0), sum(c3) from http.race'), [[20, 20, 40, 55]])
  })

  test('a table evolves when it was made so: new columns, wider numbers; a refused request changes nothing', async () => {
    const schema = [
      { name: 'id', data_type: 'int32', nullable: false },
      { name: 'n', data_type: 'int32' },
      { name: 'f', data_type: 'float32' },
      { name: 'd', data_type: 'decimal(5,2)' },
    ]
    const make = (name: string, config: unknown): Promise<Answer> =>
      send(`/tables/${name}`, JSON.stringify({ database: 'app', table: name, schema, table_config: config }))
    assert.equal((await make('strict', {})).status, 200)
    assert.equal((await make('grows', { key: ['id'], on_schema_change: 'evolve' })).status, 200)
    for (const row of ['{"id":1,"x":1}', '{"id":1,"n":3000000000}', '{"id":1,"f":1e300}', '{"id":1,"d":12345.5}']) {
      assert.equal((await ndjson('/ingest/strict', [row])).status, 422, row)
    }
    assert.equal((await ndjson('/ingest/grows', ['{"id":1,"n":1,"f":1.5,"d":1.25}'])).status, 200)
    const before = await columns('app', 'grows')
    for (const row of ['{"id":3000000000,"x":1}', '{"id":2,"x":1,"n":"a"}', '{"id":2,"d":1.005,"x":1}', '{"x":2}']) {
      assert.equal((await ndjson('/ingest/grows', [row])).status, 422, row)
    }
    const deepRow = `{"id":2,"deep":${'['.repeat(70)}1${']'.repeat(70)}}`
    const why = 'is no column of the table, and none can be made of its value'
    for (const others of [[], ['{"id":2,"x":1}']]) {
      const { body } = await ndjson('/ingest/grows', [...others, deepRow])
      assert.deepEqual(body['rows'], [{ row: others.length + 1, code: 'unknown-field', column: 'deep', message: why }])
    }
    const upper = await ndjson('/ingest/grows', ['{"id":2,"N":1}'])
    const alike = 'is no column of the table: n differs in the case of letters only'
    assert.deepEqual(upper.body['rows'], [{ row: 1, code: 'unknown-field', column: 'N', message: alike }])
    const strict = await ndjson('/ingest/strict', ['{"id":1,"x":1}'])
    assert.equal(strict.body['message'], 'row 1: "x" is no column of the table; no row was stored')
    assert.deepEqual(await rows('select * from app.grows'), [[1, 1, 1.5, 1.25]])
    assert.deepEqual(await columns('app', 'grows'), before)
    const grown = await ndjson('/ingest/grows?wait=visible', [
      '{"id":2,"n":3000000000,"f":1e300,"d":12345.50,"x":"new","none":null}',
      '{"id":3,"y":[1]}',
    ])
    assert.equal(grown.status, 200, JSON.stringify(grown.body))
    assert.deepEqual(await columns('app', 'grows'), [
      'id int32 not null',
      'n int64',
      'f float64',
      'd decimal(7,2)',
      'x string',
      'y list',
    ])
    const all = [
      [1, 1, 1.5, 1.25, null, null],
      [2, 3_000_000_000, 1e300, 12345.5, 'new', null],
      [3, null, null, null, null, [1]],
    ]
    assert.deepEqual(await rows('select id, n, f, d, x, y from app.grows order by id'), all)
    // The same definition again is a success, though the table has more by now.
    assert.equal((await make('grows', { key: ['id'], on_schema_change: 'evolve' })).status, 200)
    assert.equal((await make('grows', { key: ['id'] })).status, 409)
    assert.equal((await send('/ingest/grows?operation=delete', '[{"id":2,"z":1}]')).status, 422)
    assert.equal((await send('/ingest/grows?operation=delete&wait=visible', '[{"id":2}]')).status, 200)
    assert.deepEqual(await rows('select id, n, f, d, x, y from app.grows order by id'), [all[0], all[2]])
  })

  test('partial: columns come of the rows that are kept only', async () => {
    const answer = await ndjson('/ingest/some?partial=true&wait=visible', [
      '{"id":"bad","p":1}',
      '{"id":4,"q":1}',
      '{"id":5,"q":"text"}',
    ])
    assert.deepEqual([answer.status, answer.body['rows'], answer.body['refused']], [200, 1, 2])
    assert.deepEqual(await columns('app', 'some'), ['id int64', 'a string', 'b int64', 'q int64'])
  })

  test('what is in the spool has its columns with it: a lake and spool as a crash leaves them', async () => {
    const lake = join(folder, 'crash')
    await stop()
    await start(lake)
    try {
      assert.equal((await ndjson('/ingest/t?create=true&key=id', ['{"id":1,"a":1}'])).status, 200)
      await engine.flush()
      assert.equal((await ndjson('/ingest/t', ['{"id":2,"b":"x","gone":null}'])).status, 200)
      assert.equal((await ndjson('/ingest/t', ['{"id":3,"a":3,"b":"y"}', '{"id":1,"c":[1.5]}'])).status, 200)
      assert.equal((await ndjson('/ingest/u?create=true', ['{"id":1}'])).status, 200)
      const expected = await rows('select id, a, b, c from http.t order by id')
      assert.deepEqual(expected, [
        [1, null, null, [1.5]],
        [2, null, 'x', null],
        [3, 3, 'y', null],
      ])
      const copy = join(folder, 'copy')
      await cp(lake, copy, { recursive: true })
      await stop()
      await rm(lake, { recursive: true })
      await rename(copy, lake)
      await start(lake, { tables: { 'http.t': { 'on-schema-change': 'detach' } } })
      assert.deepEqual(await rows('select id, a, b, c from http.t order by id'), expected)
      assert.deepEqual(await rows('select id from http.u'), [[1]])
      // The configuration decides from now on.
      assert.equal((await ndjson('/ingest/t', ['{"id":4,"more":1}'])).status, 422)
      assert.equal((await ndjson('/ingest/t?request_mode=sync', ['{"id":4,"b":"z"}'])).status, 200)
      await stop()
      await start(lake)
      assert.equal((await ndjson('/ingest/t', ['{"id":4,"more":1}'])).status, 200)
      assert.deepEqual(await rows('select count(*), sum(more) from http.t'), [[4, 1]])
    } finally {
      await stop()
      await start()
    }
  })
})
