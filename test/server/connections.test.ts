import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { afterEach, beforeEach, suite, test } from 'node:test'
import { FrazilError } from '../../src/base/index.ts'
import type { RowToStore } from '../../src/engine/index.ts'
import { silentLog } from '../../src/observe/index.ts'
import { httpLimits } from '../../src/server/limits.ts'
import type { HttpLimits } from '../../src/server/limits.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { FakeEngine } from './fake-engine.ts'

const timeout = 180_000
/** So short that a test need not wait, where it waits for them; the others never come. */
const short = 300
const never = 3_600_000
const patient: HttpLimits = { ...httpLimits, headMs: never, requestMs: never, idleMs: never, stalledMs: never, checkMs: 50 }

suite('clients that are slow, silent or gone', { timeout }, () => {
  let server: HttpServer
  let engine: FakeEngine
  const sockets: Socket[] = []

  beforeEach(() => {
    engine = new FakeEngine()
  })
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy()
    await server.close()
  })

  async function listen(limits: Partial<HttpLimits>): Promise<void> {
    server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      info: { version: '0', warehouse: '/lake' },
      log: silentLog,
      limits: { ...patient, ...limits },
    })
    server.attach(engine)
  }

  async function open(): Promise<Socket> {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    socket.on('error', () => undefined)
    sockets.push(socket)
    await once(socket, 'connect')
    return socket
  }

  /** Everything that comes until the server ends the connection. */
  async function untilEnd(socket: Socket): Promise<string> {
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    await new Promise<void>((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())))
    return text
  }

  /** The answer may be lost on a client that still writes when the connection is closed. */
  const late = /^(?:HTTP\/1\.1 408 |$)/
  const head = 'POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
  const ask = `${head}Content-Length: 11\r\n\r\n{"sql":"x"}`

  test('a head that comes slowly: 408, and the connection ends', async () => {
    await listen({ headMs: short })
    const socket = await open()
    const trickle = setInterval(() => socket.write('X-A: b\r\n'), 20).unref()
    socket.write('GET /tables HTTP/1.1\r\nHost: localhost\r\n')
    const answer = await untilEnd(socket)
    clearInterval(trickle)
    assert.match(answer, late)
  })

  test('a connection that says nothing ends', async () => {
    await listen({ headMs: short })
    assert.match(await untilEnd(await open()), /^HTTP\/1\.1 408 /)
  })

  for (const [what, path] of [
    ['a statement', '/query'],
    ['a row', '/ingest/users'],
    ['a batch', '/ingest/users?operation=insert'],
  ]) {
    test(`a body that comes slowly, of ${what}: 408, and the connection ends`, async () => {
      await listen({ headMs: short, requestMs: short })
      const socket = await open()
      socket.write(`${head.replace('/query', path)}Content-Length: 1000\r\n\r\n{`)
      const trickle = setInterval(() => socket.write(' '), 20).unref()
      const answer = await untilEnd(socket)
      clearInterval(trickle)
      assert.match(answer, late)
      assert.equal(engine.queries.length, 0)
    })
  }

  test('a body in chunks that has no end: 408, and nothing is done', async () => {
    await listen({ headMs: short, requestMs: short })
    const socket = await open()
    socket.write(`${head}Transfer-Encoding: chunked\r\n\r\nb\r\n{"sql":"x"}\r\n`)
    assert.match(await untilEnd(socket), /^HTTP\/1\.1 408 [^]*\{"code":"request-timeout","message":/)
    assert.equal(engine.queries.length, 0)
  })

  test('an idle connection ends', async () => {
    await listen({ idleMs: short })
    const socket = await open()
    socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const answer = await untilEnd(socket)
    assert.match(answer, /^HTTP\/1\.1 200 /)
    assert.equal(answer.split('HTTP/1.1').length, 2)
  })

  test('a client that takes nothing of its answer is cut off; one that waits for it is not', async () => {
    await listen({ stalledMs: short })
    let finish: (text: string) => void = () => undefined
    const asked = new Promise<void>((resolve) => {
      engine.answer = () => {
        resolve()
        return new Promise((answer) => (finish = answer))
      }
    })
    const waiting = await open()
    waiting.write(ask.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
    await asked

    // More than the sockets of both sides buffer.
    engine.answer = async () => `["${'x'.repeat(60 << 20)}"]`
    const stalled = await open()
    stalled.pause()
    stalled.write(ask)
    // It reads nothing, so only what it writes tells it that the other side has ended. What is no request, and rarely: it is traffic.
    const poke = setInterval(() => stalled.write('\r\n'), 4 * short).unref()
    await new Promise<void>((resolve) => stalled.once('close', () => resolve()))
    clearInterval(poke)

    // The first one has been silent for longer.
    finish('[]')
    assert.match(await untilEnd(waiting), /^HTTP\/1\.1 200 [^]*"rows":\[\]/)
  })

  test('the same for rows: who takes nothing of the answer is cut off, who waits for it is not', async () => {
    await listen({ stalledMs: short })
    const text = '{"operation":"insert","data":{}}'
    const row = `${head.replace('/query', '/ingest/users')}Content-Length: ${text.length}\r\n\r\n${text}`
    const stored = new Promise<RowToStore>((resolve) => {
      engine.pushRow = (_table, _operation, toStore) => resolve(toStore)
    })
    const waiting = await open()
    waiting.write(row.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
    const waitingRow = await stored

    engine.pushRow = (_table, _operation, toStore) =>
      setImmediate(() => toStore.failed(new FrazilError('request', 'large', 'x'.repeat(60 << 20))))
    const stalled = await open()
    stalled.pause()
    stalled.write(row)
    const poke = setInterval(() => stalled.write('\r\n'), 4 * short).unref()
    await new Promise<void>((resolve) => stalled.once('close', () => resolve()))
    clearInterval(poke)

    waitingRow.stored({ position: '1', rows: 1, refused: 0, refusals: [], replayed: false })
    assert.match(await untilEnd(waiting), /^HTTP\/1\.1 200 [^]*"position":"1"/)
  })

  test('a client that goes ends its query, whether it says so or is cut off', async () => {
    await listen({})
    for (const leave of ['end', 'resetAndDestroy'] as const) {
      let gone = (): void => undefined
      const aborted = new Promise<void>((resolve) => (gone = resolve))
      const asked = new Promise<void>((resolve) => {
        engine.answer = () => {
          engine.queries.at(-1)?.options.signal?.addEventListener('abort', () => gone())
          resolve()
          return aborted.then(() => '[]')
        }
      })
      const socket = await open()
      socket.write(ask)
      await asked
      if (leave === 'end') socket.destroy()
      else socket.resetAndDestroy()
      await aborted
    }
  })

  test('more connections than there may be are closed, and there is room again when one ends', async () => {
    await listen({ connections: 3 })
    const held = [await open(), await open(), await open()]
    assert.equal(await untilEnd(await open()), '')
    held[0].destroy()
    for (;;) {
      const socket = await open()
      socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
      if ((await untilEnd(socket)).startsWith('HTTP/1.1 200')) break
    }
  })

  test('what is no HTTP, too many or too large headers: an answer with a code, and the connection ends', async () => {
    await listen({})
    const cases: [string, RegExp][] = [
      ['\x16\x03\x01\x00\x05hello\r\n\r\n', /^HTTP\/1\.1 400 [^]*"code":"bad-request"/],
      ['GET /health\r\n\r\n', /^HTTP\/1\.1 403 /],
      ['GET /health HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400 /],
      [
        `GET /health HTTP/1.1\r\nHost: localhost\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`,
        /^HTTP\/1\.1 431 [^]*"code":"headers-too-large"/,
      ],
      [`${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, /^HTTP\/1\.1 400 /],
      [`${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, /^HTTP\/1\.1 400 /],
      [`${head}Content-Length: -1\r\n\r\n`, /^HTTP\/1\.1 400 /],
    ]
    for (const [bytes, expected] of cases) {
      const socket = await open()
      socket.write(bytes, 'latin1')
      assert.match(await untilEnd(socket), expected, JSON.stringify(bytes.slice(0, 60)))
    }
    assert.equal(engine.queries.length, 0)
  })
})
