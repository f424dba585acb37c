import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'
import { Daemon } from '../../support/daemon.ts'
import { pythonOf } from '../support/readers.ts'

const execute = promisify(execFile)
const root = join(import.meta.dirname, '..', '..', '..')
const minutes = 60_000

/** The Node SDK as its users have it: traces as JSON packed with gzip, logs as protobuf, metrics over gRPC. */
const nodePackages = [
  'api@1.9.0',
  'resources@2.12.0',
  'sdk-trace-base@2.12.0',
  'sdk-metrics@2.12.0',
  'sdk-logs@0.223.0',
  'exporter-trace-otlp-http@0.223.0',
  'exporter-logs-otlp-proto@0.223.0',
  'exporter-metrics-otlp-grpc@0.223.0',
].map((name) => `@opentelemetry/${name}`)

/** Runs with the project's tools first in PATH; gives back the last line that it prints. */
async function run(command: string, args: readonly string[], cwd = root): Promise<string> {
  const env = { ...process.env, PATH: `${join(root, 'node_modules', '.bin')}:${process.env['PATH'] ?? ''}` }
  const { stdout } = await execute(command, [...args], { cwd, env, maxBuffer: 64 << 20, timeout: 10 * minutes })
  return stdout.trim().split('\n').at(-1) ?? ''
}

suite('OpenTelemetry programs send to frazil', { timeout: 14 * minutes }, () => {
  let folder: string
  let daemon: Daemon
  let http: string
  let grpc: string
  const address = (what: string): string => new RegExp(`OTLP over ${what} at (127\\.0\\.0\\.1:\\d+)`).exec(daemon.log)?.[1] ?? ''

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-otlp-senders-'))
    const sources = { telemetry: { type: 'otlp', http: '127.0.0.1:0', grpc: '127.0.0.1:0' } }
    daemon = await Daemon.spawn({ folder, config: { warehouse: './lake', sources } })
    await daemon.ready()
    http = address('HTTP')
    grpc = address('gRPC')
  })
  after(async () => {
    await daemon.kill()
    await rm(folder, { recursive: true, force: true })
  })

  /** What queries read and what PyIceberg reads of the files: rows by service. */
  async function counts(service: string): Promise<Record<string, number>> {
    const tables = ['otel_logs', 'otel_traces', 'otel_metrics_number', 'otel_metrics_histogram']
    const found: Record<string, number> = {}
    for (const table of tables) {
      const { rows } = await daemon.query(`SELECT count(*) FROM telemetry.${table} WHERE service_name = '${service}'`)
      found[table] = Number(rows[0][0])
    }
    await daemon.commit('telemetry', 'otel_logs')
    const script = `
import json
from pyiceberg.catalog.sql import SqlCatalog
catalog = SqlCatalog('frazil', uri='sqlite:///${folder}/lake/catalog.db', init_catalog_tables='false')
rows = lambda name: catalog.load_table(('telemetry', name)).scan(row_filter="service_name = '${service}'").to_arrow().num_rows
print(json.dumps({name: rows(name) for name in ${JSON.stringify(tables)}}))
`
    assert.deepEqual(JSON.parse(await run(await pythonOf('python'), ['-c', script])), found)
    return found
  }

  test('the Node SDK: JSON with gzip, protobuf, gRPC', async () => {
    const app = join(folder, 'node')
    await run('mkdir', [app])
    await writeFile(join(app, 'package.json'), '{"private":true,"type":"module"}\n')
    await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', '-E', ...nodePackages], app)
    await copyFile(join(import.meta.dirname, 'send.mjs'), join(app, 'send.mjs'))
    await run(process.execPath, ['send.mjs', http, grpc], app)
    assert.deepEqual(await counts('node'), {
      otel_logs: 100,
      otel_traces: 100,
      otel_metrics_number: 1,
      otel_metrics_histogram: 1,
    })
    const { rows } = await daemon.query(
      "SELECT name, kind, status_message, attributes['ratio'], attributes['list'], events[1].name FROM telemetry.otel_traces WHERE service_name = 'node' AND attributes['i'] = '3'",
    )
    assert.deepEqual(rows, [['span 3', 2, 'on purpose', '0.375', '["a","b"]', 'happened']])
    const sums = await daemon.query(
      "SELECT value_int, value_double FROM telemetry.otel_metrics_number WHERE service_name = 'node'",
    )
    assert.deepEqual(
      sums.rows
        .flat()
        .filter((value) => value !== null)
        .map(Number),
      [200],
    )
  })

  test('the Python SDK: protobuf', async () => {
    const python = await run(join(root, 'scripts', 'otlp-python-env.sh'), [])
    await run(python, [join(import.meta.dirname, 'send.py'), http])
    assert.deepEqual(await counts('python'), {
      otel_logs: 0,
      otel_traces: 100,
      otel_metrics_number: 1,
      otel_metrics_histogram: 0,
    })
  })

  test('telemetrygen, over HTTP and gRPC', async () => {
    const telemetrygen = await run(join(root, 'scripts', 'telemetrygen-env.sh'), [])
    const ways = [
      ['--otlp-http', '--otlp-endpoint', http],
      ['--otlp-endpoint', grpc],
    ]
    for (const way of ways) {
      for (const what of ['logs', 'traces', 'metrics']) {
        await run(telemetrygen, [
          what,
          '--otlp-insecure',
          ...way,
          `--${what}`,
          '200',
          '--rate',
          '2000',
          '--service',
          'telemetrygen',
        ])
      }
    }
    const found = await counts('telemetrygen')
    // A trace of it has a span and one in that.
    assert.deepEqual(found, { otel_logs: 400, otel_traces: 800, otel_metrics_number: 400, otel_metrics_histogram: 0 })
  })
})
