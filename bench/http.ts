/**
 * How many rows does frazil take over HTTP, each durable before its answer, beside a bare node:http server that answers 200?
 *
 *   npm run bench -- http [--seconds 5] [--profile]
 */
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Daemon } from '../test/support/daemon.ts'
import { load, post } from './support/http-load.ts'
import type { LoadOptions, LoadResult } from './support/http-load.ts'
import { publish, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'
import { processCost } from './support/process-cost.ts'
import { RssWatch } from './support/rss.ts'
import { topFunctions } from './support/profile.ts'

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '5' }, profile: { type: 'boolean', default: false } },
})
const seconds = Number(values.seconds)
const batchRows = 1000
const database = 'bench'
const schema = [
  { name: 'id', data_type: 'int64', nullable: false },
  { name: 'user', data_type: 'string' },
  { name: 'page', data_type: 'string' },
  { name: 'at', data_type: 'timestamptz' },
  { name: 'ms', data_type: 'float64' },
  { name: 'ok', data_type: 'boolean' },
]

let lastId = 0
function row(): string {
  const id = ++lastId
  const at = new Date(1_790_000_000_000 + id).toISOString()
  return `{"id":${id},"user":"user-${id % 10_007}","page":"/products/category-${id % 97}/item-${id % 1009}","at":"${at}","ms":${(id % 5000) / 8},"ok":${id % 3 > 0}}`
}

const single = (): Buffer => post('/ingest/events', 'application/json', `{"operation":"insert","data":${row()}}`)
const batch = (): Buffer => {
  const lines = Array.from({ length: batchRows }, row).join('\n')
  return post('/ingest/events', 'application/x-ndjson', lines)
}

const bare = fork(join(import.meta.dirname, 'support/bare-server.ts'))
const [barePort] = (await once(bare, 'message')) as [number]
const folder = await mkdtemp(join(tmpdir(), 'frazil-bench-http-'))
const flags = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${join(folder, 'profiles')}`] : []
const daemon = await Daemon.spawn({ folder, config: { warehouse: './lake', local: './local' }, nodeFlags: flags })
const figures: Figure[] = []
const memory = new RssWatch(daemon.pid, 3600)
try {
  await daemon.ready()
  const made = await daemon.post('/tables/events', { database, table: 'events', schema, table_config: {} })
  assert.equal(made.status, 200, made.text)
  const port = Number(new URL(daemon.url).port)

  /** Rate, latencies, and what the server used for it: the last holds on a busy machine, too. */
  const measure = async (
    name: string,
    pid: number,
    options: LoadOptions,
    rows: number,
    mark?: Figure['mark'],
  ): Promise<LoadResult> => {
    const before = processCost(pid).cpuSeconds
    const result = await load(options)
    const cpu = processCost(pid).cpuSeconds - before
    const done = result.accepted * rows
    const times = `p50 ${result.p50.toFixed(1)} ms, p99 ${result.p99.toFixed(1)} ms`
    const perRow = `${((cpu * 1e6) / done).toFixed(rows === 1 ? 1 : 2)} µs of CPU each`
    const again = result.turnedAway > 0 ? `, ${result.turnedAway} times 429` : ''
    const unit = rows === 1 ? 'requests/s' : 'rows/s'
    figures.push({ name, value: done / result.seconds, unit, mark, remark: `${times}; ${perRow}${again}` })
    return result
  }
  // Made beforehand: the sender must not be what is measured.
  const rows = Array.from({ length: 8192 }, single)
  let nextRow = 0
  const singles = { connections: 32, seconds, next: (): Buffer => rows[nextRow++ % rows.length] }
  // Warm both before anything counts.
  await load({ ...singles, port: barePort, seconds: 1 })
  await load({ ...singles, port, seconds: 1 })
  const barePid = bare.pid ?? 0
  const bareSingle = await measure('bare node:http, 32 connections', barePid, { port: barePort, ...singles }, 1)
  const wanted = { at: 'least', value: 30_000 } as const
  const ours = await measure('one row a request, 32 connections, durable', daemon.pid, { port, ...singles }, 1, wanted)
  figures.push({
    name: 'of the bare server',
    value: (100 * ours.accepted * bareSingle.seconds) / (bareSingle.accepted * ours.seconds),
    unit: '%',
  })

  const bodies = Array.from({ length: 64 }, batch)
  let next = 0
  const prepared = (): Buffer => bodies[next++ % bodies.length]
  const batches = { connections: 4, seconds, next: prepared }
  await measure(`bare node:http, NDJSON of ${batchRows}`, barePid, { port: barePort, ...batches }, batchRows)
  await daemon.commit(database, 'events')
  const started = performance.now()
  const stored = await measure(`NDJSON of ${batchRows} rows, durable`, daemon.pid, { port, ...batches }, batchRows)
  await daemon.commit(database, 'events')
  const wholeSeconds = (performance.now() - started) / 1000
  figures.push({
    name: 'the same until all is in Iceberg',
    value: (stored.accepted * batchRows) / wholeSeconds,
    unit: 'rows/s',
    mark: { at: 'least', value: 1_500_000 },
  })
  figures.push({ name: 'most memory of the process', value: memory.peak().all / 1e6, unit: 'MB' })
  await daemon.terminate()
  publish({ question: 'http', surroundings: surroundings(), figures }, !values.profile && seconds >= 5)
  if (values.profile) console.error(topFunctions(join(folder, 'profiles'), 25))
} finally {
  memory.stop()
  bare.kill()
  await daemon.kill()
  await rm(folder, { recursive: true, force: true })
}
