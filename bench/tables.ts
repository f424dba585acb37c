import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startEmbeddedPostgres } from '../src/cli/embedded-postgres.ts'
import { Daemon } from '../test/support/daemon.ts'
import { connect } from '../test/support/workload.ts'
import { processCost } from './support/process-cost.ts'
import { topFunctions } from './support/profile.ts'
import { publish, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'

// What does a table cost when there are many of them on one slot: its copy, a change in it, a restart, and while nothing happens?

const { values: options } = parseArgs({
  options: {
    tables: { type: 'string', default: '2000' },
    rows: { type: 'string', default: '20' },
    'idle-seconds': { type: 'string', default: '30' },
    profile: { type: 'boolean', default: false },
  },
})
const [tables, rows, idleSeconds] = [options.tables, options.rows, options['idle-seconds']].map(Number)
/** Tables that are created or changed in one transaction: each takes locks. */
const perTransaction = 50
/** How often it is asked whether it is ready: the answers cost something as well. */
const pollMs = 500
const columns = 'id bigint PRIMARY KEY, a int, b text, c timestamptz, d double precision, e boolean, f numeric(12,2), g uuid'

const figures: Figure[] = []
/** As it is at the start: the sources may be changed while this runs. */
const measuredAt = surroundings()
const folder = await mkdtemp(join(tmpdir(), 'frazil-tables-'))
const postgres = await startEmbeddedPostgres({ settings: { fsync: 'off', max_locks_per_transaction: '256' } })
const client = await connect(postgres.url)
let frazil: Daemon | null = null

try {
  await inEach(
    (name) => `CREATE TABLE ${name} (${columns});
      INSERT INTO ${name} SELECT g, g, 'row ' || g, now(), g, true, g, gen_random_uuid() FROM generate_series(1, ${rows}) AS g`,
  )
  let daemon = await start('copy')
  const atStart = processCost(daemon.pid).cpuSeconds
  note('start without tables, CPU', atStart, 's')
  await ready(daemon)
  await daemon.commit('bench', 't0')
  perTable('copy', processCost(daemon.pid).cpuSeconds - atStart, daemon)

  const before = processCost(daemon.pid).cpuSeconds
  await new Promise((resolve) => setTimeout(resolve, idleSeconds * 1000))
  note('idle, CPU', ((processCost(daemon.pid).cpuSeconds - before) / idleSeconds) * 1000, 'ms a second')
  note(
    'memory',
    (await residentBytes(daemon)) / 1e6,
    'MB',
    `at most ${(processCost(daemon.pid).peakBytes / 1e6).toFixed(0)} MB so far`,
  )

  const beforeChanges = processCost(daemon.pid).cpuSeconds
  await inEach((name) => `UPDATE ${name} SET a = a + 1 WHERE id <= 3; INSERT INTO ${name} (id) VALUES (${rows + 1})`)
  await caughtUp(daemon)
  perTable('a few changes in each', processCost(daemon.pid).cpuSeconds - beforeChanges, daemon)
  await stop(daemon, 'copy')

  daemon = await start('restart')
  await ready(daemon)
  const seconds = (performance.now() - daemon.spawnedAt) / 1000
  perTable('restart', processCost(daemon.pid).cpuSeconds - atStart, daemon, `ready after ${seconds.toFixed(1)} s`)
  const expected = tables * (rows + 1)
  for (const name of ['t0', `t${tables - 1}`]) {
    const [[found]] = (await daemon.query(`SELECT count(*)::varchar FROM bench.${name}`)).rows
    if (Number(found) !== rows + 1) throw new Error(`${name} has ${String(found)} rows, not ${rows + 1}`)
  }
  await stop(daemon, 'restart')
  const about = { ...measuredAt, tables, 'rows in each': rows, 'rows in all': expected }
  publish({ question: 'tables', surroundings: about, figures }, !options.profile && tables === 2000)
} finally {
  await (frazil as Daemon | null)?.kill()
  await client.end()
  await postgres.stop()
  if (!options.profile) await rm(folder, { recursive: true, force: true })
}

function note(name: string, value: number, unit: string, remark?: string): void {
  figures.push({ name, value, unit, remark })
  console.error(`${name}: ${value.toPrecision(4)} ${unit}${remark === undefined ? '' : ` (${remark})`}`)
}

function perTable(name: string, cpuSeconds: number, daemon: Daemon, remark?: string): void {
  const peak = `at most ${(processCost(daemon.pid).peakBytes / 1e6).toFixed(0)} MB`
  note(`${name}, CPU`, (cpuSeconds / tables) * 1000, 'ms a table', [remark ?? [], peak].flat().join('; '))
}

async function inEach(statement: (name: string) => string): Promise<void> {
  for (let from = 0; from < tables; from += perTransaction) {
    const names = Array.from({ length: Math.min(perTransaction, tables - from) }, (_, i) => `t${from + i}`)
    await client.query(`BEGIN; ${names.map(statement).join(';')}; COMMIT`)
  }
}

/** What was used until then is the program's own start: it answers before it has looked at any table. */
async function start(name: string): Promise<Daemon> {
  const profiles = join(folder, name)
  const daemon = await Daemon.spawn({
    unchecked: true,
    folder: join(folder, 'run'),
    config: {
      warehouse: './lake',
      local: './local',
      sources: { bench: { type: 'postgres', url: postgres.url, tables: ['public.*'] } },
    },
    nodeFlags: options.profile ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : [],
  })
  frazil = daemon
  await daemon.answering()
  return daemon
}

async function stop(daemon: Daemon, name: string): Promise<void> {
  const code = await daemon.terminate()
  if (code !== 0) throw new Error(`frazil ended with ${code}:\n${daemon.log}`)
  frazil = null
  if (options.profile) console.error(topFunctions(join(folder, name), 40))
}

async function poll(daemon: Daemon, done: () => Promise<boolean>): Promise<void> {
  while (!(await done().catch(() => false))) {
    if (!daemon.running) throw new Error(`frazil has ended:\n${daemon.log}`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

function ready(daemon: Daemon): Promise<void> {
  return poll(daemon, async () => (await daemon.get('/ready')).status === 200)
}

/** Until everything that is in the database is in the lake. */
async function caughtUp(daemon: Daemon): Promise<void> {
  const [{ lsn }] = (await client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')).rows
  await daemon.visible('bench', lsn, 600)
  await daemon.commit('bench', 't0')
}

async function residentBytes(daemon: Daemon): Promise<number> {
  const status = await readFile(`/proc/${daemon.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}
