/**
 * How many log records does frazil take by OTLP over HTTP, each durable before its answer, until they are in Iceberg?
 *
 *   npm run bench -- otlp [--seconds 5] [--profile] [--rate 40000]
 *
 * 64 requests come again and again, over four connections: as with programs on many machines, rows of a file have to be put in the order
 * of their times. Where the time goes: docs/performance.md. With a rate, in records a second, for as long as is wanted: does memory stay what
 * it is? It is said every ten seconds, and nothing is kept of the result.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Daemon } from '../test/support/daemon.ts'
import { logRecord, request } from '../test/support/otlp/encode.ts'
import { load, post } from './support/http-load.ts'
import { processCost } from './support/process-cost.ts'
import { topFunctions } from './support/profile.ts'
import { publish, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'
import { RssWatch } from './support/rss.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    profile: { type: 'boolean', default: false },
    rate: { type: 'string' },
  },
})
const seconds = Number(values.seconds)
const rate = values.rate === undefined ? null : Number(values.rate)
const recordsPerRequest = 1000
const requests = 64

/** Seven attributes a record, two of them of its resource; 236 bytes. */
function body(number: number): Buffer {
  const records = Array.from({ length: recordsPerRequest }, (_, i) => {
    const id = number * recordsPerRequest + i
    const traceId = Buffer.alloc(16)
    traceId.writeUInt32LE(id + 1)
    const spanId = Buffer.alloc(8)
    spanId.writeUInt32LE(id * 7 + 1)
    const time = 1_790_000_000_000_000_000n + BigInt(id) * 1_000_000n
    return logRecord({
      time,
      observed: time,
      severity: 9,
      severityText: 'INFO',
      body: { string: `GET /api/v1/items/${(id * 7919) % 100_000} completed in ${id % 1000} ms status=200` },
      attributes: [
        ['http.method', { string: 'GET' }],
        ['http.status_code', { int: 200n }],
        ['user.id', { string: `user-${(id * 31) % 100_000}` }],
        ['http.route', { string: '/api/v1/items/:id' }],
        ['sampled', { bool: true }],
      ],
      traceId,
      spanId,
    })
  })
  const attributes = [
    ['service.name', { string: 'checkout' }],
    ['host.name', { string: `host-${number % 5}` }],
  ] as const
  return request([{ resource: { attributes }, scopes: [{ scope: { name: 'lib', version: '1' }, records }] }])
}

const folder = await mkdtemp(join(tmpdir(), 'frazil-bench-otlp-'))
const flags = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${join(folder, 'profiles')}`] : []
const sources = { telemetry: { type: 'otlp', http: '127.0.0.1:0' } }
const daemon = await Daemon.spawn({ folder, config: { warehouse: './lake', local: './local', sources }, nodeFlags: flags })
const memory = new RssWatch(daemon.pid, rate === null ? 3600 : 10)
const figures: Figure[] = []
try {
  await daemon.ready()
  const port = Number(/OTLP over HTTP at 127\.0\.0\.1:(\d+)/.exec(daemon.log)?.[1])
  const bodies = Array.from({ length: requests }, (_, i) => post('/v1/logs', 'application/x-protobuf', body(i)))
  let sent = 0
  const next = (): Buffer => bodies[sent++ % bodies.length]
  const measure = async (during: number): Promise<Figure> => {
    const before = processCost(daemon.pid).cpuSeconds
    const started = performance.now()
    const perSecond = rate === null ? undefined : rate / recordsPerRequest
    const result = await load({ port, connections: 4, seconds: during, perSecond, next })
    await daemon.commit('telemetry', 'otel_logs')
    const whole = (performance.now() - started) / 1000
    const cpu = processCost(daemon.pid).cpuSeconds - before
    const records = result.accepted * recordsPerRequest
    const times = `p50 ${result.p50.toFixed(1)} ms, p99 ${result.p99.toFixed(1)} ms`
    const again = result.turnedAway > 0 ? `, ${result.turnedAway} times 429` : ''
    const remark = `${times}; ${((cpu * 1e6) / records).toFixed(2)} µs of CPU each${again}`
    return {
      name: `log records of ${recordsPerRequest} a request, until all are in Iceberg`,
      value: records / whole,
      unit: 'records/s',
      remark,
    }
  }
  await measure(1)
  const warm = memory.peak().all
  figures.push({ ...(await measure(seconds)), ...(rate === null ? { mark: { at: 'least', value: 600_000 } as const } : {}) })
  figures.push({ name: 'most memory after a second', value: warm / 1e6, unit: 'MB' })
  figures.push({ name: 'most memory of the process', value: memory.peak().all / 1e6, unit: 'MB' })
  await daemon.terminate()
  publish({ question: 'otlp', surroundings: surroundings(), figures }, !values.profile && rate === null && seconds >= 5)
  if (values.profile) console.error(topFunctions(join(folder, 'profiles'), 25))
} finally {
  memory.stop()
  await daemon.kill()
  await rm(folder, { recursive: true, force: true })
}
