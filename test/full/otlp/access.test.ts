import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { localPair, testAuthority, testPairs } from '../../support/certificate.ts'
import { OtlpLake } from '../../support/otlp/lake.ts'

const execute = promisify(execFile)
const root = join(import.meta.dirname, '..', '..', '..')
const minutes = 60_000
const token = 'collector-token-0123456789'

suite('OTLP with tokens and TLS', { timeout: 14 * minutes }, () => {
  test('telemetrygen sends with a token by TLS, and nothing with another; a new certificate is shown without a restart', async () => {
    const { stdout } = await execute(join(root, 'scripts', 'telemetrygen-env.sh'), { timeout: 10 * minutes })
    const telemetrygen = stdout.trim().split('\n').at(-1) ?? ''
    const folder = await mkdtemp(join(tmpdir(), 'frazil-otlp-tls-'))
    const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem'), token: join(folder, 'token') }
    await writeFile(files.cert, localPair.cert)
    await writeFile(files.key, localPair.key)
    await writeFile(files.token, token)
    const authority = join(folder, 'authority.pem')
    await writeFile(authority, localPair.cert)
    const auth = { tokens: [{ token: `\${file:${files.token}}`, tables: ['telemetry.*'], may: ['write' as const] }] }
    const tls = { cert: files.cert, key: files.key }
    await using lake = await OtlpLake.open({ http: '0.0.0.0:0', grpc: '0.0.0.0:0' }, { auth, tls })
    const [http, grpc] = [lake.http, lake.grpc].map((address) => address.replace('0.0.0.0', '127.0.0.1'))
    const send = async (what: string, given: string): Promise<void> => {
      for (const way of [
        ['--otlp-http', '--otlp-endpoint', http],
        ['--otlp-endpoint', grpc],
      ]) {
        const header = ['--otlp-header', `authorization="Bearer ${given}"`]
        const args = [what, ...way, ...header, '--ca-cert', authority, `--${what}`, '50', '--rate', '1000']
        // It may end with an error when it is refused; what it sent tells.
        await execute(telemetrygen, args, { timeout: 2 * minutes }).catch((error: unknown) => {
          if (given === token) throw error
        })
      }
    }
    for (const what of ['logs', 'traces', 'metrics']) await send(what, token)
    await send('logs', 'another-token-0123456789')
    await lake.engine.flush()
    const count = async (table: string): Promise<unknown> => (await lake.query(`SELECT count(*) FROM telemetry.${table}`))[0][0]
    // A trace of it has a span and one in that.
    assert.deepEqual(
      [await count('otel_logs'), await count('otel_traces'), await count('otel_metrics_number')],
      [100n, 200n, 100n],
    )
    for (const transport of ['http', 'grpc']) {
      const labels = `source="telemetry",transport="${transport}",signal="logs"`
      const deadline = performance.now() + minutes
      while ((await lake.metric('frazil_otlp_requests_total', `${labels},outcome="denied"`)) === 0) {
        assert(performance.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      assert.equal(await lake.metric('frazil_otlp_records_total', labels), 50)
    }

    const [next] = testPairs
    await writeFile(files.cert, next.cert)
    await writeFile(files.key, next.key)
    for (const address of [http, grpc]) {
      const [host, port] = address.split(':')
      const deadline = performance.now() + minutes
      for (;;) {
        const socket = connect({
          host,
          port: Number(port),
          servername: 'lake.example',
          ca: testAuthority,
          ALPNProtocols: ['h2', 'http/1.1'],
        })
        try {
          await once(socket, 'secureConnect')
          break
        } catch (error) {
          assert(performance.now() < deadline, String(error))
          await new Promise((resolve) => setTimeout(resolve, 200))
        } finally {
          socket.destroy()
        }
      }
    }
    await rm(folder, { recursive: true, force: true })
  })
})
