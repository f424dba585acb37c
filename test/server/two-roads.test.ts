import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { resolveConfig } from '../../src/engine/index.ts'
import type { Engine } from '../../src/engine/index.ts'
import { EventBus, silentLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openEngine } from '../support/engine.ts'
import { RawHttp, statusOf } from '../support/raw-http.ts'

const insert = (data: string): string => `{"operation":"insert","data":${data}}`
const good = insert('{"id":1,"note":"a","at":"2026-09-21T12:00:00Z","n":1.5}')

/** Bodies, and headers and the table where they matter. */
const corpus: readonly (readonly [what: string, body: string | Buffer, headers?: readonly string[], table?: string])[] = [
  ['a row', good],
  ['with all that an envelope has', `{"operation":"Insert","request_mode":"async","data":{"id":2}}`],
  ['with white space', ` {\r\n "data" : { "id" : 3 ,\n "note" : null } , "operation" : "insert" }\n`],
  ['escapes', insert('{"id":4,"no\\u0074e":"\\u00e9\\n\\ud83d\\ude00 ü"}')],
  ['until it is committed', `{"operation":"insert","request_mode":"sync","data":{"id":5}}`],
  ['upsert', `{"operation":"upsert","data":{"id":1,"note":"b"}}`, [], 'keyed'],
  ['delete', `{"operation":"delete","data":{"id":1}}`, [], 'keyed'],
  ['delete without a key', `{"operation":"delete","data":{"id":1}}`],
  ['an array', '[{"id":6},{"id":7}]'],
  ['an empty array', '[]'],
  ['an array with a bad row', '[{"id":6},{"id":"x"}]'],
  ['no such table', good, [], 'none'],
  ['no such operation', '{"operation":"merge","data":{"id":1}}'],
  ['no operation', '{"data":{"id":1}}'],
  ['no data', '{"operation":"insert"}'],
  ['something else', '{"operation":"insert","data":{"id":1},"x":1}'],
  ['two rows', '{"operation":"insert","data":{"id":1},"data":{"id":2}}'],
  ['no such mode', '{"operation":"insert","request_mode":"later","data":{"id":1}}'],
  ['no such column', insert('{"id":1,"other":1}')],
  ['a column twice', insert('{"id":1,"id":2}')],
  ['a column missing', insert('{"note":"x"}')],
  ['null where there must be a value', insert('{"id":null}')],
  ['a value of another type', insert('{"id":"one"}')],
  ['a value that does not fit', insert('{"id":9223372036854775808}')],
  ['a time that is none', insert('{"id":1,"at":"yesterday"}')],
  ['not an object', insert('[1]')],
  ['nothing', insert('{}')],
  ['not JSON', '{"operation":"insert","data":{"id":1}'],
  ['not JSON inside', insert('{"id":1,}')],
  ['behind the row', `${good} x`],
  ['a word', 'hello'],
  [
    'not UTF-8',
    Buffer.concat([Buffer.from('{"operation":"insert","data":{"id":1,"note":"'), Buffer.of(0xff), Buffer.from('"}}')]),
  ],
  ['too deep', insert(`{"id":1,"note":${'['.repeat(100)}${']'.repeat(100)}}`)],
  ['packed', gzipSync(good), ['Content-Encoding: gzip']],
  ['packed, damaged', gzipSync(good).subarray(0, 20), ['Content-Encoding: gzip']],
  ['packed in an unknown way', good, ['Content-Encoding: compress']],
  ['a key that is too long', good, [`Idempotency-Key: ${'k'.repeat(300)}`]],
  ['a web page', good, ['Origin: http://example.org']],
  ['a web page that says so otherwise', good, ['Sec-Fetch-Site: cross-site']],
  ['another host', good, ['Host: example.org']],
  ['a host that is none', good, ['Host: a b']],
]

const row = '{"id":1,"note":"a","at":"2026-09-21T12:00:00Z","n":1.5}'

/** The same for lines. */
const linesCorpus: typeof corpus = [
  ['rows', `${row}\n${row}\n`],
  ['rows of other forms', `\ufeff{"note":"\\u00e9" , "id":2}\r\n\n {"id":3}`],
  ['a body of many parts', `${row}\n`.repeat(20_000)],
  ['a bad row among good ones', `${row}\n{"id":"x"}\n${row}`],
  ['a line that is no JSON', `${row}\nhello`],
  ['an envelope', good],
  ['an array', '[{"id":6},{"id":7}]'],
  ['no row', '\n'],
  ['no such table', row, [], 'none'],
  ['not UTF-8', Buffer.of(0x22, 0xff, 0x22)],
  ['packed', gzipSync(`${row}\n${row}`), ['Content-Encoding: gzip']],
  ['packed, damaged', gzipSync(row).subarray(0, 20), ['Content-Encoding: gzip']],
  ['a key that is too long', row, [`Idempotency-Key: ${'k'.repeat(300)}`]],
  ['a producer without a number', row, ['Producer-Id: one']],
  ['a web page', row, ['Origin: http://example.org']],
  ['another host', row, ['Host: example.org']],
]

suite('requests for rows have two roads and one answer', { timeout: 300_000 }, () => {
  let folder: string
  let engine: Engine
  let server: HttpServer
  let client: RawHttp

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-roads-'))
    engine = await openEngine(resolveConfig({ commit: { every: '1h' } }, { folder, env: {} }), { events: new EventBus() })
    server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      info: { version: '0', warehouse: folder },
      log: silentLog,
    })
    server.attach(engine)
    const fields = [
      { name: 'id', data_type: 'int64', nullable: false },
      { name: 'note', data_type: 'string' },
      { name: 'at', data_type: 'timestamptz' },
      { name: 'n', data_type: 'float64' },
    ]
    for (const [table, config] of [
      ['plain', {}],
      ['keyed', { mooncake: { append_only: false, row_identity: { SinglePrimitiveKey: 0 } } }],
    ] as const) {
      const response = await fetch(`${server.url}/tables/${table}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ database: 'app', table, schema: fields, table_config: config }),
      })
      assert.equal(response.status, 200, await response.text())
    }
    client = await RawHttp.open(server.url)
  })
  after(async () => {
    client[Symbol.dispose]()
    await server.close()
    await engine.close()
    await rm(folder, { recursive: true })
  })

  /** The whole answer, without what differs from one request to the next. */
  async function ask(type: string, body: string | Buffer, headers: readonly string[], table: string): Promise<string> {
    const bytes = Buffer.from(body)
    const host = headers.some((header) => header.startsWith('Host:')) ? [] : ['Host: localhost']
    const head = [
      `POST /ingest/${table} HTTP/1.1`,
      ...host,
      `Content-Type: ${type}`,
      `Content-Length: ${bytes.length}`,
      ...headers,
    ]
    client.write(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), bytes]))
    const answer = await client.answer()
    // The second road closes the connection behind some refusals; another one is as good.
    if (/\r\nconnection: close\r\n/i.test(answer)) client = await RawHttp.open(server.url)
    return answer
      .replace(/^Date: .*\r\n/im, '')
      .replace(/"position":"\d+"/, '"position":"1"')
      .replace(/"lsn":\d+/, '"lsn":1')
  }

  const plain = 'application/json'
  // A parameter of the type is enough for the router to have it.
  const routed = 'application/json; charset=utf-8'

  for (const [form, type, cases] of [
    ['a row: ', plain, corpus],
    ['lines: ', 'application/x-ndjson', linesCorpus],
  ] as const) {
    for (const [what, body, headers = [], table = 'plain'] of cases) {
      test(`${form}${what}`, async () => {
        const [first, second] = [await ask(type, body, headers, table), await ask(`${type}; charset=utf-8`, body, headers, table)]
        // As many digits.
        assert.equal(first.replace(/^content-length: .*\r\n/im, ''), second.replace(/^content-length: .*\r\n/im, ''))
        assert(statusOf(first) >= 200 && statusOf(first) < 500, first)
      })
    }
  }

  test('a key, and what was stored with it already', async () => {
    const key = ['Idempotency-Key: one']
    const first = await ask(plain, good, key, 'plain')
    assert.equal(statusOf(first), 200)
    const again = [await ask(plain, good, key, 'plain'), await ask(routed, good, key, 'plain')]
    assert.equal(again[0], again[1])
    assert.match(again[0], /\r\nidempotency-replayed: true\r\n/i)
    const other = [await ask(plain, insert('{"id":9}'), key, 'plain'), await ask(routed, insert('{"id":9}'), key, 'plain')]
    assert.equal(other[0], other[1])
    assert.equal(statusOf(other[0]), 422)
  })
})
