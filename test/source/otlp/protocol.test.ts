import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { suite, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { bytes, double, fixed64, logRecord, message, metric, number, request, span } from '../../support/otlp/encode.ts'
import { GrpcClient } from '../../support/otlp/grpc-client.ts'
import { RawHttp } from '../../support/raw-http.ts'
import { OtlpLake } from '../../support/otlp/lake.ts'

const time = 1_790_000_000_123_456_789n
const resource = { attributes: [['service.name', { string: 'shop' }]] as const }

function logs(...records: readonly Buffer[]): Buffer {
  return request([{ resource, scopes: [{ scope: {}, records }] }])
}

const retryInfo = 'google.rpc.RetryInfo'

suite('OTLP, the protocol', { timeout: 240_000 }, () => {
  test('requests come plain and packed, over HTTP and gRPC, and can be empty', async () => {
    await using lake = await OtlpLake.open({ grpc: '127.0.0.1:0' })
    using client = new GrpcClient(lake.grpc)
    const body = (text: string): Buffer => logs(logRecord({ time, body: { string: text } }))
    for (const answer of [
      await lake.send('logs', body('plain')),
      await lake.send('logs', gzipSync(body('gzip')), { 'content-encoding': 'gzip' }),
      await lake.send('logs', zstdCompressSync(body('zstd')), { 'content-encoding': 'zstd' }),
      await lake.send('logs?a=b', body('with a query'), { 'content-type': 'application/x-protobuf; charset=x' }),
      await lake.send('logs', ''),
      await lake.send('traces', request([{ resource, scopes: [{ scope: {}, records: [] }] }])),
    ]) {
      assert.deepEqual([answer.status, answer.body.length], [200, 0])
      assert.equal(answer.headers.get('content-type'), 'application/x-protobuf')
    }
    const calls = [
      await client.call('logs', Buffer.alloc(0)),
      await client.call('logs', gzipSync(body('gRPC, gzip')), { 'grpc-encoding': 'gzip', 'grpc-timeout': '20S' }),
      await client.call('logs', body('gRPC'), { 'content-type': 'application/grpc+proto', 'grpc-timeout': '20000m' }),
    ]
    for (const answer of calls) assert.deepEqual([answer.status, answer.body?.length], [0, 0])
    const stored = await lake.query('SELECT body FROM telemetry.otel_logs ORDER BY 1', calls[2].position ?? '')
    assert.deepEqual(stored.flat(), ['gRPC', 'gRPC, gzip', 'gzip', 'plain', 'with a query', 'zstd'])
  })

  test('records that cannot be kept are counted, the others are kept, in the encoding of the request', async () => {
    await using lake = await OtlpLake.open({ grpc: '127.0.0.1:0' })
    using client = new GrpcClient(lake.grpc)
    let deep: { list: readonly never[] } = { list: [] }
    for (let i = 0; i < 80; i++) deep = { list: [deep as never] }
    const body = logs(
      logRecord({ time, body: { string: 'kept' } }),
      logRecord({ time: 2n ** 63n }),
      logRecord({ time, attributes: [['deep', deep]] }),
      logRecord({ time, body: { string: 'kept as well' } }),
    )
    const partial = (refused: number, reason: string): Buffer =>
      Buffer.concat([Buffer.from([0x0a, (reason.length + 4) | 0x80, 0x80, 0x80, 0]), number(1, refused), bytes(2, reason)])
    const reason = 'a time is beyond the year 2262'
    const answer = await lake.send('logs', body)
    assert.deepEqual([answer.status, answer.body], [200, partial(2, reason)])
    const call = await client.call('logs', body)
    assert.deepEqual([call.status, call.body], [0, partial(2, reason)])
    const json = JSON.stringify({
      resourceSpans: [{ scopeSpans: [{ spans: [{ endTimeUnixNano: String(2n ** 64n - 1n) }, { name: 'x' }] }] }],
    })
    const inJson = await lake.send('traces', json, { 'content-type': 'application/json' })
    assert.equal(inJson.status, 200)
    assert.deepEqual(JSON.parse(inJson.body.toString()), { partialSuccess: { rejectedSpans: '1', errorMessage: reason } })
    const all = await lake.send('logs', logs(logRecord({ time: 2n ** 64n - 1n })))
    assert.deepEqual([all.status, all.headers.get('frazil-position'), all.body], [200, null, partial(1, reason)])
    // What is wrong with a resource is wrong with all that it has; the data points of a metric are counted.
    const broken = { attributes: [['deep', deep]] as const }
    const points = Array.from({ length: 3 }, () => ({ time, value: { double: 1 } }))
    const ofBroken = await lake.send(
      'metrics',
      request([{ resource: broken, scopes: [{ scope: {}, records: [metric({ name: 'm', data: { kind: 'gauge', points } })] }] }]),
    )
    assert.deepEqual([ofBroken.status, ofBroken.body], [200, partial(3, 'a value is nested too deeply')])
    const stored = await lake.query('SELECT body FROM telemetry.otel_logs', call.position ?? '')
    assert.deepEqual(stored.flat(), ['kept', 'kept as well', 'kept', 'kept as well'])
    await lake.visible(inJson)
    assert.deepEqual(await lake.query('SELECT name FROM telemetry.otel_traces'), [['x']])
  })

  test('values nested as deep as protobuf may have them come as JSON, too; a deeper one costs its record alone', async () => {
    await using lake = await OtlpLake.open()
    const record = (depth: number): unknown => {
      let body: unknown = { intValue: '1' }
      for (let i = 0; i < depth; i++) body = { kvlistValue: { values: [{ key: 'k', value: body }] } }
      return { timeUnixNano: String(time), eventName: String(depth), body }
    }
    const json = JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: [1, 20, 63, 70, 200].map(record) }] }] })
    const answer = await lake.send('logs', json, { 'content-type': 'application/json' })
    assert.equal(answer.status, 200, answer.body.toString())
    const reason = 'a value is nested too deeply'
    assert.deepEqual(JSON.parse(answer.body.toString()), { partialSuccess: { rejectedLogRecords: '2', errorMessage: reason } })
    await lake.visible(answer)
    const stored = await lake.query(
      "SELECT event_name, body = repeat('{\"k\":', event_name::int) || '1' || repeat('}', event_name::int) FROM telemetry.otel_logs ORDER BY event_name::int",
    )
    assert.deepEqual(stored, [
      ['1', true],
      ['20', true],
      ['63', true],
    ])
  })

  test('who reads the answer only after the whole of a body that is too large gets it', async () => {
    await using lake = await OtlpLake.open()
    const [host, port] = lake.http.split(':')
    const body = Buffer.alloc((64 << 20) + 1)
    for (const length of [`content-length: ${body.length}`, 'transfer-encoding: chunked']) {
      const socket = connect(Number(port), host)
      socket.pause()
      try {
        await once(socket, 'connect')
        const chunks = length.startsWith('t') ? [`${body.length.toString(16)}\r\n`, body, '\r\n0\r\n\r\n'] : [body]
        socket.write(`POST /v1/logs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n${length}\r\n\r\n`)
        for (const chunk of chunks)
          await new Promise<void>((done, failed) => socket.write(chunk, (e) => (e ? failed(e) : done())))
        socket.resume()
        const [answer] = (await once(socket, 'data')) as [Buffer]
        assert.match(answer.toString('latin1'), /^HTTP\/1\.1 413 /)
      } finally {
        socket.destroy()
      }
    }
  })

  test('what can never be taken is refused for good', async () => {
    await using lake = await OtlpLake.open({ grpc: '127.0.0.1:0' })
    using client = new GrpcClient(lake.grpc)
    const good = logs(logRecord({ time }))
    const json = { 'content-type': 'application/json' }
    const tooLarge = Buffer.alloc((64 << 20) + 1)
    const refusals: [status: number, answer: Awaited<ReturnType<OtlpLake['send']>>][] = [
      [400, await lake.send('logs', good.subarray(0, -1))],
      [400, await lake.send('logs', Buffer.from([0x07]))],
      [400, await lake.send('logs', gzipSync(good).subarray(0, -9), { 'content-encoding': 'gzip' })],
      [400, await lake.send('logs', '{"resourceLogs": [', json)],
      [400, await lake.send('logs', '{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"severityNumber": "INFO"}]}]}]}', json)],
      [400, await lake.send('logs', '['.repeat(100_000), json)],
      [400, await lake.send('logs', Buffer.from([0x22, 0xff, 0x22]), json)],
      [413, await lake.send('logs', tooLarge)],
      [413, await lake.send('logs', gzipSync(tooLarge), { 'content-encoding': 'gzip' })],
      [413, await lake.send('logs', Buffer.alloc(17 << 20, 0x20), json)],
      [415, await lake.send('logs', good, { 'content-type': 'text/plain' })],
      [415, await lake.send('logs', good, { 'content-type': '' })],
      [415, await lake.send('logs', good, { 'content-encoding': 'compress' })],
      [403, await lake.send('logs', good, { origin: 'http://localhost:4318' })],
      [404, await lake.send('nothing', good)],
      [501, await lake.send('profiles', good)],
    ]
    for (const [i, [status, answer]] of refusals.entries()) {
      assert.equal(answer.status, status, `${i}`)
      assert(answer.body.length > 0, `${i}`)
      assert.equal(answer.headers.get('retry-after'), null, `${i}`)
      assert(!answer.body.includes(retryInfo), `${i}`)
    }
    assert.equal((await fetch(`http://${lake.http}/v1/logs`)).status, 405)
    // A name that somebody has made to point here.
    for (const [host, status] of [
      ['rebound.example:4318', 403],
      ['', 403],
      ['localhost', 200],
      ['[::1]:4318', 200],
    ] as const) {
      using raw = await RawHttp.open(`http://${lake.http}`)
      const head = `POST /v1/logs HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n`
      raw.write(`${head}{}`)
      assert(new RegExp(`^HTTP/1.1 ${status} `).test(await raw.answer()), host)
    }
    for (const [authority, status] of [
      ['rebound.example:4317', 7],
      ['localhost:4317', 0],
      ['[::1]:4317', 0],
    ] as const) {
      const answer = await client.call('logs', Buffer.alloc(0), { ':authority': authority })
      assert.equal(answer.status, status, authority)
    }
    const path = '/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export'
    const calls: [status: number, answer: Awaited<ReturnType<GrpcClient['call']>>][] = [
      [3, await client.call('logs', good.subarray(0, -1))],
      [3, await client.raw('logs', Buffer.from([0, 0, 0]))],
      [3, await client.raw('logs', Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), Buffer.from([0, 0, 0, 0, 0])]))],
      [3, await client.raw('logs', Buffer.from([1, 0, 0, 0, 0]))],
      [3, await client.call('logs', good, { 'content-type': 'application/json' })],
      [8, await client.call('logs', gzipSync(tooLarge), { 'grpc-encoding': 'gzip' })],
      [12, await client.call('logs', good, { 'grpc-encoding': 'snappy' })],
      [12, await client.call('/opentelemetry.proto.collector.logs.v1.LogsService/Import', good)],
      [12, await client.call(path, good)],
    ]
    for (const [i, [status, answer]] of calls.entries()) {
      assert.equal(answer.status, status, `${i}: ${answer.message}`)
      assert(answer.message.length > 0 && answer.details.includes(answer.message), `${i}`)
      assert(!answer.details.includes(retryInfo), `${i}`)
    }
    assert.deepEqual(await lake.query('SELECT count(*) FROM telemetry.otel_logs'), [[0n]])
  })

  test('bodies that are announced and do not come keep nobody out', async () => {
    await using lake = await OtlpLake.open()
    const [host, port] = lake.http.split(':')
    const held = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const socket = connect({ host, port: Number(port) })
        await once(socket, 'connect')
        socket.write(
          `POST /v1/logs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\ncontent-length: ${64 << 20}\r\n\r\n`,
        )
        return socket
      }),
    )
    await lake.store('logs', ...Array.from({ length: 5 }, () => logs(logRecord({ time, body: { string: 'x' } }))))
    for (const socket of held) socket.destroy()
    assert.deepEqual(await lake.query('SELECT count(*) FROM telemetry.otel_logs'), [[5n]])
  })

  test('under more load than memory can take, what is acknowledged is there and nothing else', async () => {
    await using lake = await OtlpLake.open({}, { memory: '16MB', commit: { every: '1h' } })
    const body = logs(...Array.from({ length: 500 }, () => logRecord({ time, body: { string: 'x'.repeat(4000) } })))
    const answers = await Promise.all(Array.from({ length: 30 }, () => lake.send('logs', body)))
    const accepted = answers.filter(({ status }) => status === 200).length
    assert(accepted > 0)
    assert.equal(answers.filter(({ status }) => status === 429).length, answers.length - accepted)
    await lake.engine.flush()
    assert.deepEqual(await lake.query('SELECT count(*) FROM telemetry.otel_logs'), [[BigInt(accepted * 500)]])
  })

  test('a call whose deadline has passed is told so', async () => {
    await using lake = await OtlpLake.open({ grpc: '127.0.0.1:0' })
    using client = new GrpcClient(lake.grpc)
    const { status } = await client.call('logs', Buffer.alloc(8 << 20), { 'grpc-timeout': '1n' })
    assert.equal(status, 4)
  })

  test('attributes get columns of their own, also those that come to a table with rows', async () => {
    await using lake = await OtlpLake.open()
    const record = (value: object, text: string): Buffer =>
      logRecord({ time, body: { string: text }, attributes: [['http.status', value as { int: bigint }]] })
    await lake.store('logs', logs(record({ int: 200n }, 'before')))
    const attributes = {
      resource: { 'service.name.x': 'string' as const },
      logs: { 'http.status': 'int' as const },
      metrics: { ratio: 'double' as const },
    }
    await lake.restart({ attributes })
    await lake.store(
      'logs',
      logs(record({ int: 201n }, 'int'), record({ string: '202' }, 'text'), record({ int: 2n ** 31n }, 'large')),
    )
    const columns = 'body, http_status, service_name_x, attributes'
    const rows = [
      ['before', null, null, { 'http.status': '200' }],
      ['int', 201, null, { 'http.status': '201' }],
      ['large', null, null, { 'http.status': String(2n ** 31n) }],
      ['text', null, null, { 'http.status': '202' }],
    ]
    const stored = (): Promise<unknown> => lake.query(`SELECT ${columns} FROM telemetry.otel_logs ORDER BY body`)
    assert.deepEqual(await stored(), rows)
    await lake.engine.flush()
    assert.deepEqual(await stored(), rows)
    // It keeps its column when it is not asked for any more.
    await lake.restart({})
    await lake.store('logs', logs(record({ int: 203n }, 'without')))
    assert.deepEqual(await stored(), [...rows, ['without', null, null, { 'http.status': '203' }]])
    await assert.rejects(
      lake.restart({ attributes: { logs: { 'http.status': 'string' } } }),
      /http_status of telemetry\.otel_logs is a int/,
    )
    await lake.restart({})
  })

  test('odd values: fields in any order and of other types, ids of any length, invalid UTF-8', async () => {
    await using lake = await OtlpLake.open()
    const invalid = Buffer.from([0x61, 0xff, 0x62])
    const record = message(
      bytes(6, message(bytes(2, bytes(1, invalid)), bytes(1, invalid))),
      // A group, a field of another type, and one that nobody knows.
      Buffer.from([0x0b, 0x08, 0x01, 0x0c]),
      double(3, 1.5),
      bytes(99, 'x'),
      bytes(9, Buffer.alloc(8, 1)),
      fixed64(1, 1n),
      fixed64(1, time),
    )
    const scope = message(bytes(2, record), bytes(3, 'url'), bytes(1, bytes(1, 'scope comes last')))
    const body = bytes(
      1,
      message(bytes(2, scope), bytes(1, bytes(1, message(bytes(1, 'service.name'), bytes(2, bytes(1, 'last')))))),
    )
    await lake.store('logs', body)
    await lake.store(
      'traces',
      request([
        {
          resource,
          scopes: [
            { scope: {}, records: [span({ traceId: Buffer.alloc(15), spanId: Buffer.alloc(8), name: '', start: 5n, end: 3n })] },
          ],
        },
      ]),
    )
    const columns = 'service_name, scope_name, scope_schema_url, trace_id, time_unix_nano, severity_text, attributes'
    assert.deepEqual(await lake.query(`SELECT ${columns} FROM telemetry.otel_logs`), [
      ['last', 'scope comes last', 'url', null, time, null, { 'a\uFFFDb': 'a\uFFFDb' }],
    ])
    assert.deepEqual(await lake.query('SELECT trace_id, span_id, name, duration_ns FROM telemetry.otel_traces'), [
      [null, null, '', -2n],
    ])
  })

  test('half of a character in JSON is what bytes that are no UTF-8 are in protobuf: replaced, and counted', async () => {
    await using lake = await OtlpLake.open()
    const replaced = (): Promise<number> => lake.metric('frazil_values_replaced_total', 'source="telemetry"')
    const stored = (): Promise<unknown> =>
      lake.query('SELECT severity_text, body, attributes FROM telemetry.otel_logs ORDER BY time_unix_nano')
    const half = Buffer.from([0x61, 0xff, 0x62])
    const any = (kind: number, content: Buffer | string): Buffer => bytes(kind, content)
    const member = message(bytes(1, half), bytes(2, any(1, half)))
    const record = message(
      fixed64(1, time),
      bytes(3, half),
      bytes(5, any(6, bytes(1, member))),
      bytes(6, message(bytes(1, half), bytes(2, any(1, half)))),
    )
    await lake.store('logs', request([{ resource, scopes: [{ scope: {}, records: [record] }] }]))
    const ofProtobuf = await replaced()
    assert.equal(ofProtobuf, 5)
    const pair = { key: 'a\ud800b', value: { stringValue: 'a\udfffb' } }
    const json = (text: string, attributes: unknown[]): Buffer => {
      const body = { kvlistValue: { values: attributes } }
      const logRecords = [{ timeUnixNano: String(time + 1n), severityText: text, body, attributes }]
      return Buffer.from(JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] }))
    }
    await lake.store('logs', json('a\ud800b', [pair]))
    assert.equal(await replaced(), 2 * ofProtobuf)
    const row = ['a\ufffdb', '{"a\ufffdb":"a\ufffdb"}', { 'a\ufffdb': 'a\ufffdb' }]
    assert.deepEqual(await stored(), [row, row])
    // Each text once, whatever is wrong with it; and what is whole is left alone.
    await lake.store(
      'logs',
      json('\udc00\ud83d\ude00\ud800\ud800', [{ key: '\ufffd😀', value: { stringValue: '\ud83d\ude00' } }]),
    )
    assert.equal(await replaced(), 2 * ofProtobuf + 1)
    assert.deepEqual(
      await lake.query("SELECT attributes FROM telemetry.otel_logs WHERE severity_text = '\ufffd😀\ufffd\ufffd'"),
      [[{ '\ufffd😀': '😀' }]],
    )
  })
})
