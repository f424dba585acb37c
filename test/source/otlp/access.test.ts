import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request as httpsRequest } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import type { ConfigInput } from '../../../src/engine/index.ts'
import { checkOtlpSource } from '../../../src/source/index.ts'
import { localPair } from '../../support/certificate.ts'
import { bytes, logRecord, metric, number, request, span } from '../../support/otlp/encode.ts'
import { GrpcClient } from '../../support/otlp/grpc-client.ts'
import { OtlpLake } from '../../support/otlp/lake.ts'
import type { Signal } from '../../support/otlp/lake.ts'

const time = 1_790_000_000_123_456_789n
const retryInfo = 'google.rpc.RetryInfo'
const of = (record: Buffer): Buffer =>
  request([{ resource: { attributes: [['service.name', { string: 'shop' }]] }, scopes: [{ scope: {}, records: [record] }] }])
const bodies: Readonly<Record<Signal, Buffer>> = {
  logs: of(logRecord({ time, body: { string: 'x' } })),
  traces: of(span({ traceId: Buffer.alloc(16, 1), spanId: Buffer.alloc(8, 1), name: 'x', start: 1n, end: 2n })),
  metrics: of(metric({ name: 'm', data: { kind: 'gauge', points: [{ time, value: { double: 1 } }] } })),
}
const signals = ['logs', 'traces', 'metrics'] as const

/** What each token may write. */
const rights = {
  'all-the-tables-0123456789': signals,
  'this-source-0123456789': signals,
  'only-of-logs-0123456789': ['logs'],
  'half-of-metrics-0123456789': [],
  'only-to-read-0123456789': [],
  'another-source-0123456789': [],
} as const satisfies Record<string, readonly Signal[]>
type Token = keyof typeof rights

suite('OTLP, who may send', { timeout: 240_000 }, () => {
  let folder: string
  let auth: NonNullable<ConfigInput['auth']>
  const files = { cert: '', key: '' }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-otlp-access-'))
    files.cert = join(folder, 'cert.pem')
    files.key = join(folder, 'key.pem')
    await writeFile(files.cert, localPair.cert)
    await writeFile(files.key, localPair.key)
    const entry = async (token: Token, tables: string[], may: ('read' | 'write')[]) => {
      await writeFile(join(folder, token), token)
      return { token: `\${file:${join(folder, token)}}`, tables, may }
    }
    auth = {
      tokens: await Promise.all([
        entry('all-the-tables-0123456789', ['*'], ['write']),
        entry('this-source-0123456789', ['telemetry.*'], ['read', 'write']),
        entry('only-of-logs-0123456789', ['telemetry.otel_logs'], ['write']),
        entry('only-of-logs-0123456789', ['telemetry.*'], ['read']),
        entry('half-of-metrics-0123456789', ['telemetry.otel_metrics_*m'], ['write']),
        entry('only-to-read-0123456789', ['*'], ['read']),
        entry('another-source-0123456789', ['shop.*'], ['read', 'write']),
      ]),
    }
  })
  after(() => rm(folder, { recursive: true, force: true }))

  test('a request needs a token that may write the tables of its signal; what is refused is refused for good', async () => {
    await using lake = await OtlpLake.open({ grpc: '127.0.0.1:0' }, { auth })
    using client = new GrpcClient(lake.grpc)
    const json = { 'content-type': 'application/json' }
    for (const authorization of [
      undefined,
      'Bearer no-token-of-ours-0123456789',
      'Basic eDp5',
      'Bearer ',
      'only-to-read-0123456789',
    ]) {
      const headers: Record<string, string> = authorization === undefined ? {} : { authorization }
      for (const signal of signals) {
        const answer = await lake.send(signal, bodies[signal], headers)
        assert.equal(answer.status, 401)
        assert.equal(answer.headers.get('content-type'), 'application/x-protobuf')
        assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer/)
        assert.equal(answer.headers.get('retry-after'), null)
        assert.deepEqual(answer.body.subarray(0, 3), Buffer.concat([number(1, 16), bytes(2, '').subarray(0, 1)]))
        assert(!answer.body.includes(retryInfo))
        const call = await client.call(signal, bodies[signal], headers)
        assert.equal(call.status, 16, call.message)
        assert(call.details.includes(call.message) && !call.details.includes(retryInfo))
      }
      // What is there, and how large a body may be, is told to those who may know.
      assert.equal((await lake.send('nothing', '', headers)).status, 401)
      const inJson = await lake.send('logs', '{}', { ...json, ...headers })
      assert.deepEqual([inJson.status, JSON.parse(inJson.body.toString()).code], [401, 16])
    }
    let kept = 0
    for (const token of Object.keys(rights) as Token[]) {
      const headers = { authorization: `Bearer ${token}` }
      for (const signal of signals) {
        const may = (rights[token] as readonly Signal[]).includes(signal)
        const answer = await lake.send(signal, bodies[signal], headers)
        const call = await client.call(signal, bodies[signal], headers)
        assert.deepEqual([answer.status, call.status], may ? [200, 0] : [403, 7], `${token} ${signal}`)
        assert(!answer.body.includes(retryInfo) && !call.details.includes(retryInfo))
        if (signal === 'logs' && may) kept += 2
      }
      const inJson = await lake.send('metrics', '{}', { ...json, ...headers })
      const isWriter = (rights[token] as readonly Signal[]).includes('metrics')
      assert.equal(inJson.status, isWriter ? 200 : 403)
      if (!isWriter) assert.equal(JSON.parse(inJson.body.toString()).code, 7)
      assert.equal((await lake.send('nothing', '', headers)).status, 404)
    }
    await lake.engine.flush()
    assert.deepEqual(await lake.query('SELECT count(*) FROM telemetry.otel_logs'), [[BigInt(kept)]])

    const labels = 'source="telemetry",transport="http",signal="logs"'
    const counted = (outcome: string): Promise<number> =>
      lake.metric('frazil_otlp_requests_total', `${labels},outcome="${outcome}"`)
    const deadline = performance.now() + 60_000
    while ((await counted('denied')) < 13) {
      assert(performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    assert.deepEqual([await counted('denied'), await counted('stored'), await counted('later')], [13, 3, 0])
    assert.equal(await lake.metric('frazil_otlp_records_total', labels), 3)
    assert.equal(await lake.metric('frazil_otlp_bytes_total', labels), 3 * bodies.logs.length)
  })

  test('bodies that were not kept whole, and those that cannot be read, are counted', async () => {
    await using lake = await OtlpLake.open({ grpc: '127.0.0.1:0' })
    using client = new GrpcClient(lake.grpc)
    const half = request([
      { resource: { attributes: [] }, scopes: [{ scope: {}, records: [logRecord({ time }), logRecord({ time: 2n ** 63n })] }] },
    ])
    await client.call('logs', half)
    await client.call('logs', half.subarray(0, -1))
    const labels = 'source="telemetry",transport="grpc",signal="logs"'
    const deadline = performance.now() + 60_000
    while ((await lake.metric('frazil_otlp_requests_total', `${labels},outcome="refused"`)) < 1) {
      assert(performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    assert.equal(await lake.metric('frazil_otlp_requests_total', `${labels},outcome="stored"`), 1)
    assert.equal(await lake.metric('frazil_otlp_records_total', labels), 1)
    assert.equal(await lake.metric('frazil_otlp_rejected_records_total', labels), 1)
    assert.equal(await lake.metric('frazil_otlp_bytes_total', labels), 2 * half.length + 2 * 5 - 1)
  })

  test('without tokens nobody else can reach it, with them others can', async () => {
    for (const source of [{ http: '0.0.0.0:0' }, { http: '127.0.0.1:0', grpc: '[::]:0' }]) {
      await assert.rejects(OtlpLake.open(source), { kind: 'config', code: 'listen-beyond-loopback' })
    }
    await using lake = await OtlpLake.open({ http: '0.0.0.0:0', grpc: '0.0.0.0:0' }, { auth, pipelines: 'worker' })
    const headers = { authorization: 'Bearer this-source-0123456789' }
    assert.equal((await lake.send('logs', bodies.logs)).status, 401)
    assert.equal((await lake.send('logs', bodies.logs, headers)).status, 200)
    using client = new GrpcClient(lake.grpc)
    assert.equal((await client.call('logs', bodies.logs)).status, 16)
    assert.equal((await client.call('logs', bodies.logs, headers)).status, 0)
  })

  test('a check says what is wrong with its addresses, and what is unwise', async () => {
    const open = { host: '0.0.0.0', port: 0, tls: null }
    const local = { host: '127.0.0.1', port: 0, tls: { cert: files.cert, key: files.cert } }
    const levels = async (hasTokens: boolean): Promise<string[]> =>
      (await checkOtlpSource({ http: open, grpc: local }, hasTokens, false)).findings.map(({ level, code }) => `${level} ${code}`)
    assert.deepEqual(await levels(false), ['error listen-beyond-loopback', 'error tls-files'])
    assert.deepEqual(await levels(true), ['ok listening', 'warning no-tls', 'error tls-files'])
  })

  test('TLS 1.2 and newer over HTTP and gRPC', async () => {
    await using lake = await OtlpLake.open({ grpc: '127.0.0.1:0', tls: files }, { auth })
    const headers = { authorization: 'Bearer this-source-0123456789' }
    const answered = (ca: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const sent = httpsRequest(`https://${lake.http}/v1/logs`, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/x-protobuf' },
          agent: false,
          ca,
        })
        sent.on('response', (response: IncomingMessage) => {
          response.resume()
          resolve(response.statusCode)
        })
        sent.on('error', reject)
        sent.end(bodies.logs)
      })
    assert.equal(await answered(localPair.cert), 200)
    await assert.rejects(answered(''), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
    await assert.rejects(lake.send('logs', bodies.logs, headers))
    using client = new GrpcClient(lake.grpc, localPair.cert)
    assert.equal((await client.call('logs', bodies.logs)).status, 16)
    assert.equal((await client.call('logs', bodies.logs, headers)).status, 0)
    const agreed = async (how: ConnectionOptions): Promise<string | false | null> => {
      const [host, port] = lake.grpc.split(':')
      const socket = connectTls({ host, port: Number(port), ca: localPair.cert, ALPNProtocols: ['h2'], ...how })
      try {
        await once(socket, 'secureConnect')
        return socket.alpnProtocol
      } finally {
        socket.destroy()
      }
    }
    assert.equal(await agreed({}), 'h2')
    assert.equal(await agreed({ maxVersion: 'TLSv1.2' }), 'h2')
    await assert.rejects(agreed({ ALPNProtocols: ['http/1.1'] }))
    await assert.rejects(agreed({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }))
    await lake.engine.flush()
    assert.deepEqual(await lake.query('SELECT count(*) FROM telemetry.otel_logs'), [[2n]])
    await writeFile(files.key, 'no key')
    await assert.rejects(OtlpLake.open({ tls: files }), { kind: 'config', code: 'tls-files' })
    await writeFile(files.key, localPair.key)
  })

  test('the general certificate is that of addresses which others can reach', async () => {
    await using lake = await OtlpLake.open({ grpc: '0.0.0.0:0' }, { auth, tls: files })
    const headers = { authorization: 'Bearer this-source-0123456789' }
    assert.equal((await lake.send('logs', bodies.logs, headers)).status, 200)
    using client = new GrpcClient(lake.grpc.replace('0.0.0.0', '127.0.0.1'), localPair.cert)
    assert.equal((await client.call('logs', bodies.logs, headers)).status, 0)
  })
})
