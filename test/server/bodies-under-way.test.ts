import assert from 'node:assert/strict'
import { afterEach, beforeEach, suite, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { silentLog } from '../../src/observe/index.ts'
import { httpLimits } from '../../src/server/limits.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { RawHttp, statusOf } from '../support/raw-http.ts'
import { FakeEngine } from './fake-engine.ts'

const kib = 1 << 10
const all = 300 * kib
const ofConnection = 200 * kib

// The engine has no tables: 404 is the answer to a request whose body was received and dealt with.
suite('room for bodies with rows', { timeout: 180_000 }, () => {
  let server: HttpServer
  const clients: RawHttp[] = []

  beforeEach(async () => {
    server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      info: { version: '0', warehouse: '/lake' },
      log: silentLog,
      limits: { ...httpLimits, bodyBytes: all, connectionBodyBytes: ofConnection },
    })
    server.attach(new FakeEngine())
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client[Symbol.dispose]()
    await server.close()
  })

  async function open(): Promise<RawHttp> {
    const client = await RawHttp.open(server.url)
    clients.push(client)
    return client
  }

  const head = (type: string, length: number | null): string =>
    `POST /ingest/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n` +
    (length === null ? 'Transfer-Encoding: chunked\r\n\r\n' : `Content-Length: ${length}\r\n\r\n`)
  const json = 'application/json'
  const lines = 'application/x-ndjson'
  const small = `${head(json, 2)}[]`

  async function ask(): Promise<number> {
    const client = await open()
    client.write(small)
    return statusOf(await client.answer())
  }

  /** What a small request is told when it no longer is told `status`. */
  async function whileAnswered(status: number): Promise<number> {
    for (;;) {
      const now = await ask()
      if (now !== status) return now
    }
  }

  test('bodies that are announced and do not come keep nobody out', async () => {
    for (let i = 0; i < 10; i++) (await open()).write(head(i % 2 === 0 ? json : lines, ofConnection))
    for (let i = 0; i < 10; i++) assert.equal(await ask(), 404)
  })

  test('what has come is counted, whatever was announced, and given back when its client goes', async () => {
    const announced = await open()
    announced.write(head(lines, ofConnection))
    announced.write(Buffer.alloc(ofConnection - 1, ' '))
    const chunked = await open()
    chunked.write(head(lines, null))
    // With both there is no room for anything else.
    chunked.chunk(Buffer.alloc(all - ofConnection + 1, ' '))
    assert.equal(await whileAnswered(404), 429)
    chunked[Symbol.dispose]()
    assert.equal(await whileAnswered(429), 404)
    announced.write(' ')
    // An empty batch has nothing that a table would be needed for, or it has: it was dealt with.
    assert.notEqual(statusOf(await announced.answer()), 429)
  })

  test('a body that grows beyond its room is turned away at once, and its connection goes on', async () => {
    const client = await open()
    client.write(head(lines, null))
    const piece = Buffer.alloc(50 * kib, ' ')
    for (let sent = 0; sent <= ofConnection; sent += piece.length) client.chunk(piece)
    const answer = await client.answer()
    assert.equal(statusOf(answer), 429)
    assert.match(answer, /\r\nretry-after: 1\r\n/i)
    assert.match(answer, /"code":"overloaded"/)
    client.chunk(piece)
    client.write(`0\r\n\r\n${small}`)
    assert.equal(statusOf(await client.answer()), 404)
  })

  test('a row whose room others have taken meanwhile is turned away once', async () => {
    const row = `{"operation":"insert","data":{"id":1}${' '.repeat(kib)}}`
    const late = await open()
    late.write(head(json, row.length))
    assert.equal(await ask(), 404)
    const others = [await open(), await open()]
    for (const client of others) {
      client.write(head(lines, null))
      client.chunk(Buffer.alloc(all / 2, ' '))
    }
    assert.equal(await whileAnswered(404), 429)
    late.write(row.slice(0, -1))
    assert.equal(statusOf(await late.answer()), 429)
    for (const client of others) client[Symbol.dispose]()
    assert.equal(await whileAnswered(429), 404)
    // What is left of it is passed over.
    late.write(`}${head(json, row.length)}${row}`)
    assert.equal(statusOf(await late.answer()), 404)
    // Neither of them holds anything.
    late.write(`${head(lines, ofConnection)}${' '.repeat(ofConnection)}`)
    assert.notEqual(statusOf(await late.answer()), 429)
  })

  test('what has come of a row is given back when its client goes before it is whole', async () => {
    const half = await open()
    half.write(`${head(json, 2 * kib)}{"operation":${' '.repeat(kib)}`)
    const other = await open()
    other.write(head(lines, null))
    other.chunk(Buffer.alloc(all / 2, ' '))
    assert.equal(await ask(), 404)
    half[Symbol.dispose]()
    // With the other one it is all that there is room for.
    const whole = `${head(lines, all / 2)}${' '.repeat(all / 2)}`
    for (let status = 429; status === 429;) {
      const client = await open()
      client.write(whole)
      status = statusOf(await client.answer())
    }
  })

  test('rows that come at once on one connection are answered one by one', async () => {
    const row = '{"operation":"insert","data":{"id":1}}'
    const client = await open()
    client.write(`${head(json, row.length)}${row}`.repeat(5) + small)
    for (let i = 0; i < 6; i++) assert.equal(statusOf(await client.answer()), 404)
  })

  test('one that says that it is larger than its room is turned away before it comes', async () => {
    const client = await open()
    client.write(head(lines, ofConnection + 1))
    assert.equal(statusOf(await client.answer()), 429)
  })

  test('one that says that it is larger than any may be is refused', async () => {
    await server.close()
    server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      info: { version: '0', warehouse: '/lake' },
      log: silentLog,
    })
    server.attach(new FakeEngine())
    const client = await open()
    client.write(head(lines, (64 << 20) + 1))
    const answer = await client.answer()
    assert.equal(statusOf(answer), 413)
    assert.match(answer, /"code":"body-too-large"/)
  })

  test('a packed body counts as what it becomes', async () => {
    const packed = gzipSync(Buffer.alloc(ofConnection, ' '))
    assert(packed.length < kib)
    const client = await open()
    const typed = head(lines, packed.length).replace('\r\n\r\n', '\r\nContent-Encoding: gzip\r\n\r\n')
    client.write(Buffer.concat([Buffer.from(typed), packed]))
    assert.equal(statusOf(await client.answer()), 429)
    assert.equal(await ask(), 404)
  })
})
