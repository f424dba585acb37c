import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { connect } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { silentLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { start, frazil } from '../cli/frazil.ts'
import { testAuthority, testPairs } from '../support/certificate.ts'

const [first, second] = testPairs
const timeout = 180_000

suite('TLS', { timeout }, () => {
  let folder: string
  let server: HttpServer
  let files: { cert: string; key: string }
  const options = { listen: { host: '127.0.0.1', port: 0 }, info: { version: '0', warehouse: '/lake' }, log: silentLog }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-tls-'))
    files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
    await write(first.cert, first.key)
    server = await startHttpServer({ ...options, tls: files })
  })
  after(async () => {
    await server?.close()
    await rm(folder, { recursive: true, force: true })
  })

  async function write(cert: string, key: string): Promise<void> {
    await writeFile(files.cert, cert)
    await writeFile(files.key, key)
  }

  /** Serial number of the certificate that a new connection is shown. */
  async function shown(how: ConnectionOptions = {}): Promise<string> {
    const { port } = new URL(server.url)
    const socket = connect({ port: Number(port), host: '127.0.0.1', servername: 'lake.example', ca: testAuthority, ...how })
    try {
      await once(socket, 'secureConnect')
      return socket.getPeerCertificate().serialNumber
    } finally {
      socket.destroy()
    }
  }

  test('requests are answered to those who trust the certificate, by TLS 1.2 and newer', async () => {
    assert.match(server.url, /^https:\/\/127\.0\.0\.1:\d+$/)
    const sent = request(`${server.url}/health`, { ca: testAuthority, servername: 'lake.example', agent: false })
    const answered = once(sent, 'response')
    sent.end()
    const [response] = (await answered) as [IncomingMessage]
    assert.equal(response.statusCode, 200)
    response.resume()
    await assert.rejects(shown({ ca: undefined }), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
    await assert.rejects(shown({ servername: 'other.example' }), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
    assert.equal(await shown({ maxVersion: 'TLSv1.2' }), '02')
    // The client is willing: it is the server that is not.
    await assert.rejects(shown({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }))
    await assert.rejects(fetch(server.url.replace('https:', 'http:')))
  })

  test('files that change are read again; half a change, or damage, leaves what was', async () => {
    assert.equal(await shown(), '02')
    await write(second.cert, first.key)
    await assert.rejects(server.reload(), { kind: 'config', code: 'tls-files' })
    assert.equal(await shown(), '02')
    await write(second.cert, second.key)
    await server.reload()
    assert.equal(await shown(), '03')
    await write('no certificate', second.key)
    await assert.rejects(server.reload(), { code: 'tls-files' })
    await rm(files.key)
    await assert.rejects(server.reload(), { code: 'tls-files', message: /key\.pem of "tls" cannot be read/ })
    assert.equal(await shown(), '03')
    await assert.rejects(startHttpServer({ ...options, tls: files }), { code: 'tls-files' })
    await write(first.cert, first.key)
    await server.reload()
    assert.equal(await shown(), '02')
  })

  test('the command line finds a daemon with TLS and tokens, for other machines too, and follows its certificate', async () => {
    await write(first.cert, first.key)
    await writeFile(
      join(folder, 'frazil.yaml'),
      `listen: 0.0.0.0:0
tls: { cert: cert.pem, key: key.pem }
auth:
  tokens:
    - { token: '\${env:ADMIN}', tables: ['*'], may: [read, write] }
    - { token: '\${env:READER}', tables: ['app.*'], may: [read] }
`,
    )
    const env = { ADMIN: 'admin-token-0123456789', READER: 'reader-token-0123456789' }
    const daemon = start(['run'], { cwd: folder, env })
    try {
      await daemon.line('listening')
      const run = (args: string[], more: Record<string, string> = {}) => frazil(args, { cwd: folder, env: { ...env, ...more } })
      const query = ['query', '-f', 'csv', 'select 40 + 2 as answer']
      const deadline = performance.now() + 100_000
      // Its note says where it listens as soon as the engine is open; the configuration does not.
      while ((await run(['tables'])).code !== 0) assert(performance.now() < deadline)
      assert.equal((await run(query)).out, 'answer\r\n42\r\n')
      const refused = await run(query, { FRAZIL_TOKEN: 'another-token-0123456789' })
      assert.deepEqual([refused.code, refused.err], [1, 'frazil: the token is none that this server knows\n'])
      assert.equal((await run(['tables'], { FRAZIL_TOKEN: env.READER })).code, 0)
      assert.equal((await run(['optimize', 'app.nothing'], { FRAZIL_TOKEN: env.READER })).code, 1)
      await write(second.cert, second.key)
      daemon.process.kill('SIGHUP')
      await daemon.line('certificate is a new one')
      assert.equal((await run(query)).code, 0)
      const checked = await run(['check'])
      assert.deepEqual([checked.code, /a daemon runs over this lake/.test(checked.out)], [0, true], checked.out + checked.err)
    } finally {
      daemon.process.kill('SIGTERM')
    }
    const { code, out, err } = await daemon.finished
    assert.equal(code, 0, err)
    assert(![out, err].some((text) => text.includes(env.ADMIN)))
  })
})
