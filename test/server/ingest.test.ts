import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { resolveConfig } from '../../src/engine/index.ts'
import type { Engine } from '../../src/engine/index.ts'
import { EventBus, createLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openEngine } from '../support/engine.ts'

const log = createLog({ level: 'error', format: 'json', write: () => undefined })

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly headers: Headers
}

suite('rows over HTTP', () => {
  let folder: string
  let engine: Engine
  let server: HttpServer
  const errors: string[] = []

  async function start(): Promise<void> {
    const events = new EventBus()
    events.on((event) => {
      if (event.type === 'error') errors.push(event.message)
    })
    engine = await openEngine(resolveConfig({ commit: { every: '1h' } }, { folder, env: {} }), { events })
    server = await startHttpServer({ listen: { host: '127.0.0.1', port: 0 }, info: { version: '0', warehouse: folder }, log })
    server.attach(engine)
  }

  async function stop(): Promise<void> {
    await server.close()
    await engine.close()
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-ingest-'))
    await start()
  })
  after(async () => {
    await stop()
    await rm(folder, { recursive: true })
    assert.deepEqual(errors, [])
  })

  async function send(
    path: string,
    body: string | Uint8Array<ArrayBuffer> | undefined,
    headers: Record<string, string> = {},
    method = 'POST',
  ): Promise<Answer> {
    const response = await fetch(`${server.url}${path}`, {
      method,
      ...(body === undefined ? {} : { body }),
      headers: { 'content-type': 'application/json', ...headers },
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown>, headers: response.headers }
  }

  async function rows(sql: string): Promise<unknown> {
    const { body, status } = await send('/query', JSON.stringify({ sql, wait: 'now' }))
    assert.equal(status, 200, JSON.stringify(body))
    return body['rows']
  }

  async function makeTable(name: string, schema: readonly unknown[], config: unknown = {}): Promise<void> {
    const answer = await send(`/tables/${name}`, JSON.stringify({ database: 'app', table: name, schema, table_config: config }))
    assert.deepEqual([answer.status, answer.body], [200, { database: 'app', table: name, lsn: 1 }])
  }

  const id = { name: 'id', data_type: 'int64', nullable: false }
  const note = { name: 'note', data_type: 'string', nullable: true }

  test("Moonlink's quick start, word for word", async () => {
    assert.equal((await fetch(`${server.url}/health`)).status, 200)
    const created = await send(
      '/tables/users',
      '{"database": "my_database", "table": "users", "schema": [{"name": "id", "data_type": "int32", "nullable": false}, {"name": "name", "data_type": "string", "nullable": false}, {"name": "email", "data_type": "string", "nullable": true}, {"name": "age", "data_type": "int32", "nullable": true}, {"name": "created_at", "data_type": "date32", "nullable": true}], "table_config": {}}',
    )
    assert.deepEqual([created.status, created.body], [200, { database: 'my_database', table: 'users', lsn: 1 }])
    const inserted = await send(
      '/ingest/users',
      '{"operation": "insert", "request_mode": "async", "data": {"id": 1, "name": "Alice Johnson", "email": "alice@example.com", "age": 30, "created_at": "2024-01-01"}}',
    )
    assert.deepEqual(
      [inserted.status, inserted.body],
      [200, { table: 'users', operation: 'insert', rows: 1, position: '1', durability: 'stored' }],
    )
    assert.deepEqual(await rows('select * from my_database.users'), [[1, 'Alice Johnson', 'alice@example.com', 30, '2024-01-01']])
    const tables = (await (await fetch(`${server.url}/tables`)).json()) as { tables: { database: string; table: string }[] }
    assert(tables.tables.some(({ database, table }) => database === 'my_database' && table === 'users'))
    const flushed = await send('/tables/users/flush', '{"database": "my_database", "table": "users", "lsn": 1}')
    assert.equal(flushed.status, 200)
  })

  test('each thing that is wrong with a row has its code, its row and its column', async () => {
    await makeTable('strict', [{ ...id, data_type: 'int32' }, { name: 'text', data_type: 'string', nullable: false }, note])
    const cases: [string, string, string | null][] = [
      ['{"id":"1","text":"a"}', 'wrong-type', 'id'],
      ['{"id":1.5,"text":"a"}', 'wrong-type', 'id'],
      ['{"id":2147483648,"text":"a"}', 'out-of-range', 'id'],
      ['{"id":1}', 'missing-value', 'text'],
      ['{"id":null,"text":"a"}', 'missing-value', 'id'],
      ['{"id":1,"text":"a","extra":true}', 'unknown-field', 'extra'],
      ['{"id":1,"text":"a","id":2}', 'duplicate-field', 'id'],
      ['[1]', 'not-an-object', null],
    ]
    for (const [data, code, column] of cases) {
      const { status, body } = await send('/ingest/strict', `{"operation":"insert","data":${data}}`)
      const [row] = body['rows'] as { row: number; code: string; column: string | null }[]
      assert.deepEqual([status, body['code'], row.row, row.code, row.column], [422, 'rows-refused', 1, code, column], data)
    }
    assert.deepEqual(await rows('select count(*) from app.strict'), [[0]])
  })

  test('single rows that come at the same time are answered one by one', async () => {
    await makeTable('crowd', [id, note])
    const bodies: [string | Uint8Array<ArrayBuffer>, number][] = Array.from({ length: 40 }, (_, i) =>
      i % 8 === 3
        ? [`{"operation":"insert","data":{"id":"${i}"}}`, 422]
        : i % 8 === 5
          ? [new Uint8Array([...Buffer.from('{"operation":"insert","data":{"id":1,"note":"'), 0xff, ...Buffer.from('"}}')]), 400]
          : [`{"data":{ "id":${i},\n"note":"a\\nb"} , "operation":"insert"}`, 200],
    )
    const answers = await Promise.all(bodies.map(([body]) => send('/ingest/crowd', body)))
    assert.deepEqual(
      answers.map(({ status }) => status),
      bodies.map(([, status]) => status),
    )
    for (const { status, body } of answers)
      if (status === 422) assert.deepEqual([body['refused'], body['code']], [1, 'rows-refused'])
    assert.deepEqual(await rows('select count(*), count(distinct id), min(note) from app.crowd'), [[30, 30, 'a\nb']])
  })

  test('what is wrong with a request has its status and its code', async () => {
    await makeTable('plain', [id, note])
    const row = '{"operation":"insert","data":{"id":1}}'
    const deep = `{"operation":"insert","data":${'['.repeat(100)}${']'.repeat(100)}}`
    const cases: [string, string | Uint8Array<ArrayBuffer>, Record<string, string>, number, string][] = [
      ['/ingest/none', row, {}, 404, 'unknown-table'],
      ['/ingest/plain', '{"operation":"insert"', {}, 400, 'bad-json'],
      ['/ingest/plain', '{"operation":"insert"}', {}, 400, 'bad-body'],
      ['/ingest/plain', '{"id":1}', {}, 400, 'bad-body'],
      ['/ingest/plain', '{"operation":"replace","data":{"id":1}}', {}, 400, 'bad-operation'],
      ['/ingest/plain', '{"operation":"upsert","data":{"id":1}}', {}, 400, 'no-key'],
      ['/ingest/plain', '{"operation":"insert","request_mode":"soon","data":{"id":1}}', {}, 400, 'bad-parameter'],
      ['/ingest/plain?wait=long', row, {}, 400, 'bad-parameter'],
      ['/ingest/plain?color=red', row, {}, 400, 'bad-parameter'],
      ['/ingest/plain', deep, {}, 413, 'too-deep'],
      ['/ingest/plain', `[${'['.repeat(100)}`, {}, 413, 'too-deep'],
      ['/ingest/plain', '[{"id":1},', {}, 400, 'bad-json'],
      ['/ingest/plain', '[{"id":1}] x', {}, 400, 'bad-json'],
      ['/ingest/plain', row, { 'content-type': 'text/plain' }, 415, 'wrong-content-type'],
      ['/ingest/plain', row, { 'content-encoding': 'lzma' }, 415, 'wrong-content-encoding'],
      ['/ingest/plain', row, { 'content-encoding': 'gzip' }, 400, 'bad-encoding'],
      ['/ingest/plain', new Uint8Array(gzipSync(row)).subarray(0, 20), { 'content-encoding': 'gzip' }, 400, 'bad-encoding'],
      [
        '/ingest/plain',
        new Uint8Array(gzipSync(Buffer.alloc(65 << 20, 0x20))),
        { 'content-encoding': 'gzip' },
        413,
        'body-too-large',
      ],
      ['/ingest/plain', new Uint8Array([...Buffer.from('[{"note":"'), 0xff, ...Buffer.from('"}]')]), {}, 400, 'bad-encoding'],
      ['/ingest/plain', '"text"', {}, 400, 'bad-body'],
      ['/ingest/plain', '{"operation":"insert","data":{"id":1},"data":{"id":2}}', {}, 400, 'bad-body'],
      ['/tables/own', JSON.stringify({ database: 'Temp', table: 'own', schema: [id] }), {}, 409, 'namespace-taken'],
      ['/ingest/own?create=true&database=information_schema', '[{"id":1}]', {}, 409, 'namespace-taken'],
      ['/ingest/plain', '"text', {}, 400, 'bad-json'],
      ['/ingest/plain', '[{"id":1}] x', {}, 400, 'bad-json'],
      ['/ingest/plain', row, { 'idempotency-key': 'k'.repeat(256) }, 400, 'bad-idempotency-key'],
      [
        '/tables/plain',
        JSON.stringify({ database: 'app', table: 'plain', schema: [id], table_config: {} }),
        {},
        409,
        'table-exists',
      ],
      ['/tables/plain', JSON.stringify({ database: 'other', table: 'plain', schema: [id] }), {}, 409, 'ingest-name-taken'],
      [
        '/tables/p2',
        JSON.stringify({ database: 'app', table: 'p2', schema: [{ ...id, data_type: 'varchar' }] }),
        {},
        400,
        'bad-schema',
      ],
      ['/tables/p2', JSON.stringify({ database: 'app', table: 'p2', schema: [] }), {}, 400, 'bad-schema'],
      [
        '/tables/p2',
        JSON.stringify({ database: 'app', table: 'p2', schema: [id, { ...id, name: 'ID' }] }),
        {},
        400,
        'bad-schema',
      ],
      ['/tables/p2', JSON.stringify({ database: 'a.b', table: 'p2', schema: [id] }), {}, 400, 'bad-body'],
      ['/tables/p2', JSON.stringify({ database: 'app', table: 'p2' }), {}, 400, 'bad-body'],
      [
        '/tables/p2',
        JSON.stringify({ database: 'app', table: 'p2', schema: [id, note], table_config: { key: ['note'] } }),
        {},
        400,
        'bad-key-columns',
      ],
    ]
    for (const [path, body, headers, status, code] of cases) {
      const answer = await send(path, body, headers)
      assert.deepEqual(
        [answer.status, answer.body['code']],
        [status, code],
        `${path} ${JSON.stringify(headers)} ${String(body).slice(0, 80)}`,
      )
    }
    // What a person who has just begun runs into has its way out.
    const said = async (path: string, body: string): Promise<string> => {
      const answer = (await send(path, body)).body
      return [answer['message'], answer['hint'] ?? ''].join(' ')
    }
    assert.match(await said('/ingest/none', row), /there is no table none .*POST \/tables\/\{name\}.*\?create=true/)
    assert.match(
      await said('/ingest/plain', '{"operation":"upsert","data":{"id":1}}'),
      /app\.plain has no key.*\{"key": \["id"\]\}/,
    )
    const keyed = JSON.stringify({ database: 'app', table: 'p2', schema: [id], table_config: { key: ['nope', 'none'] } })
    assert.match(await said('/tables/p2', keyed), /^the key names a column that is not there: nope/)
    const empty = await fetch(`${server.url}/ingest/plain`, { method: 'POST' })
    assert.deepEqual([empty.status, ((await empty.json()) as { code: string }).code], [400, 'bad-json'])
    assert.deepEqual(await rows('select count(*) from app.plain'), [[0]])
  })

  test('batches: lines and arrays, all or nothing or the good rows, compressed', async () => {
    await makeTable('batches', [id, note])
    const lines = { 'content-type': 'application/x-ndjson' }
    const good = '\ufeff{"id":1,"note":"a"}\r\n\r\n{"id":2}\n{"id":9007199254740993}'
    assert.equal((await send('/ingest/batches', good, lines)).body['rows'], 3)
    assert.equal((await send('/ingest/batches', '[]')).body['rows'], 0)
    const bad = '{"id":4}\n{"id":"x"}\n{"id":5} {"id":6}\nnot json\n{"id":7}\n'
    const refused = await send('/ingest/batches', bad, lines)
    assert.equal(refused.status, 422)
    assert.deepEqual(
      (refused.body['rows'] as { row: number; code: string }[]).map(({ row, code }) => [row, code]),
      [
        [2, 'wrong-type'],
        [3, 'bad-json'],
        [4, 'not-an-object'],
      ],
    )
    const partial = await send('/ingest/batches?partial=true', bad, lines)
    assert.deepEqual([partial.status, partial.body['rows'], partial.body['refused']], [200, 2, 3])
    const none = await send('/ingest/batches?partial=true', '[{"id":"x"}]')
    assert.equal(none.status, 422)
    const array = '[ {"id":10} , {"id":11,"note":"]"} ]'
    assert.equal((await send('/ingest/batches', new Uint8Array(gzipSync(array)), { 'content-encoding': 'gzip' })).status, 200)
    assert.equal(
      (await send('/ingest/batches', new Uint8Array(zstdCompressSync('[{"id":12}]')), { 'content-encoding': 'zstd' })).status,
      200,
    )
    const expected = [
      [1, 'a'],
      [2, null],
      [4, null],
      [7, null],
      [10, null],
      [11, ']'],
      [12, null],
      [9007199254740992, null],
    ]
    // JSON.parse of this test rounds 2^53 + 1.
    assert.deepEqual(await rows('select id, note from app.batches order by id'), expected)
    assert.deepEqual(await rows('select count(*) from app.batches where id = 9007199254740993'), [[1]])
  })

  test('a keyed table has each key once: insert, upsert and delete', async () => {
    await makeTable('keyed', [id, note], { mooncake: { append_only: false, row_identity: { SinglePrimitiveKey: 0 } } })
    await send('/ingest/keyed', '[{"id":1,"note":"a"},{"id":2,"note":"b"},{"id":1,"note":"c"}]')
    assert.deepEqual(await rows('select * from app.keyed order by id'), [
      [1, 'c'],
      [2, 'b'],
    ])
    const sync = await send('/ingest/keyed', '{"operation":"UPSERT","request_mode":"sync","data":{"id":2,"note":"d"}}')
    assert.deepEqual([sync.status, sync.body['durability'], String(sync.body['lsn'])], [200, 'committed', sync.body['position']])
    await send('/ingest/keyed?operation=delete', '[{"id":1},{"id":77}]')
    assert.deepEqual(await rows('select * from app.keyed'), [[2, 'd']])
    const whole = await send('/ingest/keyed', '{"operation":"delete","data":{"id":2,"note":"whatever it was"}}')
    assert.equal(whole.status, 200)
    assert.deepEqual(await rows('select * from app.keyed'), [])
    const look = await fetch(`${server.url}/tables/app/keyed/rows/2`)
    assert.equal(look.status, 404)
  })

  test('CSV', async () => {
    await makeTable('sheet', [
      id,
      note,
      { name: 'price', data_type: 'decimal(9,2)' },
      { name: 'ok', data_type: 'bool' },
      { name: 'tags', data_type: 'list', item: { data_type: 'int32' } },
    ])
    const csv = { 'content-type': 'text/csv; charset=utf-8' }
    const good = '\ufeffid,note,price,ok,tags\r\n1,"a ""b"",\n c",1.50,TRUE,"[1,\n2]"\r\n2,,,,\n\n3,"",7,false,[]'
    const sent = await send('/ingest/sheet', good, csv)
    assert.deepEqual([sent.status, sent.body['rows']], [200, 3], JSON.stringify(sent.body))
    assert.deepEqual(await rows('select id, note, price::varchar, ok, tags from app.sheet order by id'), [
      [1, 'a "b",\n c', '1.50', true, [1, 2]],
      [2, null, null, null, null],
      [3, '', '7.00', false, []],
    ])
    const refused = await send('/ingest/sheet', 'id,note\n4,x\n5.5,y\n,z\n', csv)
    assert.deepEqual(
      (refused.body['rows'] as { row: number; code: string }[]).map(({ row, code }) => [row, code]),
      [
        [2, 'wrong-type'],
        [3, 'missing-value'],
      ],
    )
    assert.equal((await send('/ingest/sheet', 'id,color\n4,x\n', csv)).status, 422)
    for (const wrong of ['', 'id\n"1', 'id\n"1"2\n', 'id\n1"2\n', 'id\r1\r']) {
      const answer = await send('/ingest/sheet', wrong, csv)
      assert.deepEqual([answer.status, answer.body['code']], [400, 'bad-csv'], wrong)
    }
    // Where its lines end is certain: a ragged one is a row that is refused.
    const ragged = 'id,note\n5,five\n6\n"7","a\nb",more\n\nx,eight\n9,nine\n'
    const whole = await send('/ingest/sheet', ragged, csv)
    assert.deepEqual([whole.status, whole.body['code'], whole.body['refused']], [422, 'rows-refused', 3])
    const partial = await send('/ingest/sheet?partial=true', ragged, csv)
    assert.deepEqual([partial.status, partial.body['rows'], partial.body['refused']], [200, 2, 3])
    assert.deepEqual(partial.body['errors'], [
      { row: 2, code: 'wrong-field-count', column: null, message: 'has 1 field and not 2' },
      { row: 3, code: 'wrong-field-count', column: null, message: 'has 3 fields and not 2' },
      { row: 4, code: 'wrong-type', column: 'id', message: 'needs a whole number of 64 bits' },
    ])
    assert.deepEqual(await rows('select id, note from app.sheet where id > 3 order by id'), [
      [5, 'five'],
      [9, 'nine'],
    ])
  })

  test('a table by an Avro schema', async () => {
    const avro = {
      type: 'record',
      name: 'Event',
      fields: [
        { name: 'id', type: 'long' },
        { name: 'day', type: ['null', { type: 'int', logicalType: 'date' }], default: null },
        { name: 'price', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
        { name: 'labels', type: { type: 'map', values: 'string' } },
        { name: 'kind', type: { type: 'enum', name: 'Kind', symbols: ['A', 'B'] } },
        { name: 'where', type: { type: 'record', name: 'Where', fields: [{ name: 'x', type: ['double', 'null'] }] } },
      ],
    }
    const made = await send('/tables/avro', JSON.stringify({ database: 'app', table: 'avro', avro_schema: avro }))
    assert.equal(made.status, 200, JSON.stringify(made.body))
    const row = '{"id":1,"price":"1.50","labels":{"a":"b"},"kind":"A","where":{"x":0.5}}'
    assert.equal((await send('/ingest/avro', `[${row}]`)).status, 200)
    const missing = await send('/ingest/avro', '[{"id":1,"price":1,"labels":{},"kind":"A"}]')
    assert.equal(missing.status, 422)
    assert.deepEqual(await rows(`select id, day, price::varchar, labels['a'], kind, "where".x from app.avro`), [
      [1, null, '1.50', 'b', 'A', 0.5],
    ])
    // What the server says of a table makes another one like it.
    const schemaOf = async (table: string): Promise<unknown> =>
      ((await (await fetch(`${server.url}/schema/app/${table}`)).json()) as { schema: unknown }).schema
    const schema = await schemaOf('avro')
    const like = await send('/tables/like', JSON.stringify({ database: 'app', table: 'like', schema }))
    assert.equal(like.status, 200, JSON.stringify(like.body))
    assert.deepEqual(await schemaOf('like'), schema)
    assert.equal((await send('/ingest/like', `[${row}]`)).status, 200)
    assert.deepEqual(await rows(`select labels['a'] from app.like`), [['b']])
    const value = { name: 'value', data_type: 'string' }
    for (const fields of [undefined, [value], [{ name: 'key', data_type: 'int64' }, value]]) {
      const columns = [{ name: 'm', data_type: 'map', fields }]
      const refused = await send('/tables/wrong', JSON.stringify({ database: 'app', table: 'wrong', schema: columns }))
      assert.deepEqual([refused.status, refused.body['code']], [400, 'bad-schema'], JSON.stringify(fields))
    }
    const wrong = [
      'string',
      { type: 'record', name: 'R', fields: [] },
      { type: 'record', name: 'R', fields: [{ name: 'a', type: ['int', 'string'] }] },
      { type: 'record', name: 'R', fields: [{ name: 'a', type: 'R' }] },
      {
        type: 'record',
        name: 'R',
        fields: [
          { name: 'a', type: 'int' },
          { name: 'A', type: 'int' },
        ],
      },
    ]
    for (const avro_schema of wrong) {
      const refused = await send('/tables/wrong', JSON.stringify({ database: 'app', table: 'wrong', avro_schema }))
      assert.deepEqual([refused.status, refused.body['code']], [400, 'bad-schema'], JSON.stringify(avro_schema))
    }
  })

  test('a key makes a request happen once, over repetitions and restarts', async () => {
    await makeTable('once', [id])
    const key = { 'idempotency-key': 'abc' }
    const answers = await Promise.all(Array.from({ length: 5 }, () => send('/ingest/once', '[{"id":1},{"id":2}]', key)))
    const positions = new Set(answers.map(({ body }) => body['position']))
    assert.deepEqual([answers.map(({ status }) => status), positions.size], [[200, 200, 200, 200, 200], 1])
    assert.equal(answers.filter(({ headers }) => headers.get('idempotency-replayed') === 'true').length, 4)
    assert.equal((await send('/ingest/once', '[{"id":3}]', key)).body['code'], 'idempotency-key-reused')
    // The same rows, but something else is to be done with them.
    await makeTable('keyed-once', [id], { key: ['id'] })
    const one = { 'idempotency-key': 'one' }
    assert.equal((await send('/ingest/keyed-once?operation=upsert', '[{"id":1}]', one)).status, 200)
    assert.equal((await send('/ingest/keyed-once?operation=delete', '[{"id":1}]', one)).body['code'], 'idempotency-key-reused')
    const part = { 'idempotency-key': 'part' }
    const partial = async (): Promise<unknown[]> => {
      const { status, body } = await send('/ingest/once?partial=true', '[{"id":3},{"id":"x"}]', part)
      return [status, body['rows'], body['refused'], body['position']]
    }
    const first = await partial()
    assert.deepEqual(first.slice(0, 3), [200, 1, 1])
    for (const shape of ['at once', 'in the spool', 'in the lake']) {
      if (shape === 'in the lake') await engine.flush()
      if (shape !== 'at once') {
        await stop()
        await start()
      }
      const again = await send('/ingest/once', '[{"id":1},{"id":2}]', key)
      assert.deepEqual([again.status, again.headers.get('idempotency-replayed')], [200, 'true'], shape)
      assert.deepEqual(await partial(), first, `${shape}: the answer says that a row was refused`)
      assert.deepEqual(await rows('select count(*) from app.once'), [[3]])
    }
  })

  test('tables survive a restart, with their rows; a table that is dropped is gone, and can be made again', async () => {
    const nested = [
      id,
      { name: 'price', data_type: 'decimal(20,2)' },
      { name: 'at', data_type: 'timestamptz' },
      { name: 'tags', data_type: 'list', item: { data_type: 'string' } },
      {
        name: 'who',
        data_type: 'struct',
        fields: [
          { name: 'first', data_type: 'text' },
          { name: 'age', data_type: 'int16' },
        ],
      },
    ]
    await makeTable('rich', nested)
    await makeTable('rich', nested)
    const row =
      '{"id":1,"price":"123456789012345678.90","at":"2024-05-06T07:08:09.123456+02:00","tags":["x",null],"who":{"age":5,"first":"Ann"}}'
    assert.equal((await send('/ingest/rich?wait=visible', `[${row}]`)).body['durability'], 'visible')
    const select = 'select id, price::varchar, epoch_us("at"), tags, who from app.rich'
    const expected = [[1, '123456789012345678.90', 1714972089123456, ['x', null], { first: 'Ann', age: 5 }]]
    assert.deepEqual(await rows(select), expected)
    await stop()
    await start()
    assert.deepEqual(await rows(select), expected)
    const schema = (await (await fetch(`${server.url}/schema/app/rich`)).json()) as { ingest: string; schema: unknown[] }
    assert.equal(schema.ingest, 'rich')
    assert.deepEqual(schema.schema[3], {
      name: 'tags',
      data_type: 'list',
      nullable: true,
      item: { name: 'item', data_type: 'string', nullable: true },
    })
    const gone = await send('/tables/rich', JSON.stringify({ database: 'app', table: 'rich' }), {}, 'DELETE')
    assert.deepEqual([gone.status, gone.body], [200, {}])
    assert.equal((await send('/ingest/rich', `[${row}]`)).status, 404)
    assert.equal((await send('/tables/rich', JSON.stringify({ database: 'app', table: 'rich' }), {}, 'DELETE')).status, 404)
    await makeTable('rich', [id])
    assert.deepEqual(await rows('select * from app.rich'), [])
    await send('/ingest/rich', '[{"id":5}]')
    await stop()
    await start()
    assert.deepEqual(await rows('select * from app.rich'), [[5]])
  })
})
