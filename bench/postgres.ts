import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Daemon } from '../test/support/daemon.ts'
import { connect } from '../test/support/workload.ts'
import { BenchPostgres } from './support/bench-postgres.ts'
import { byLookup, byQuery, commitToVisible, percentile } from './support/latency.ts'
import { Load } from './support/load.ts'
import { startMeasured } from './support/measured-daemon.ts'
import { processCost } from './support/process-cost.ts'
import { topFunctions } from './support/profile.ts'
import { publish, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'

// How fast do Postgres rows get into the lake, beside the server's own COPY and pg_recvlogical in the same run?

const { values: options } = parseArgs({
  options: { scale: { type: 'string', default: '1' }, profile: { type: 'boolean', default: false }, only: { type: 'string' } },
})
const scale = Number(options.scale)
if (!(scale > 0 && scale <= 10)) throw new Error('--scale must be a number above 0 and at most 10')
const memory = '128MB'
const columns = 'id bigint PRIMARY KEY, a int, b text, c timestamptz, d double precision'
const row = (id: string): string =>
  `${id}, (${id} % 1000000)::int, md5((${id})::text) || '-some-text-to-fill', timestamptz '2026-01-01' + (${id}) * interval '1 second', (${id}) * 0.25`
const perTransaction = 10_000

const figures: Figure[] = []
const folder = await mkdtemp(join(tmpdir(), 'frazil-bench-'))
const postgres = await BenchPostgres.start()
const running = new Set<Daemon>()

try {
  const wanted = (name: string): boolean => options.only === undefined || options.only.split(',').includes(name)
  // The first start on a machine compiles the program, which the next ones find compiled.
  await postgres.client.query(`CREATE TABLE warm_up (${columns})`)
  await stop(await ready('warm-up', ['warm_up']), '')
  await forget()
  let rawRate = Number.NaN
  if (wanted('copy')) {
    await initialCopy('initial copy', Math.round(5e6 * scale), 0.5)
    await initialCopy('initial copy of a large table', Math.round(20e6 * scale), 0.65)
  }
  if (wanted('stream') || wanted('update')) rawRate = await stream()
  if (wanted('backlog')) await backlog()
  if (wanted('update')) await updates(rawRate)
  if (wanted('transaction')) await transaction()
  if (wanted('toast')) await unchangedValues()
  if (wanted('latency')) await latency()
  const about = { ...surroundings(), postgres: postgres.version, 'postgres fsync': 'off', 'frazil memory': memory, scale }
  publish({ question: 'postgres', surroundings: about, figures }, options.only === undefined && scale === 1 && !options.profile)
} finally {
  for (const frazil of running) await frazil.kill()
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
}

function note(name: string, value: number, unit: string, mark?: Figure['mark'], remark?: string): void {
  figures.push({ name, value, unit, mark, remark })
  console.error(`${name}: ${value.toPrecision(4)} ${unit}${remark === undefined ? '' : ` (${remark})`}`)
}

async function start(scenario: string, tables: readonly string[], budget = memory): Promise<Daemon> {
  const frazil = await startMeasured({
    folder: join(folder, scenario),
    url: postgres.url,
    tables: tables.map((table) => `public.${table}`),
    memory: budget,
    profile: options.profile,
    // What is measured as a stream is not to be read by SQL.
    backlog: scenario.startsWith('backlog') ? 'sql' : 'stream',
  })
  running.add(frazil)
  return frazil
}

async function stop(frazil: Daemon, scenario: string): Promise<void> {
  const code = await frazil.terminate()
  if (code !== 0) throw new Error(`frazil ended with ${code}:\n${frazil.log}`)
  running.delete(frazil)
  if (options.profile && scenario !== '') console.error(topFunctions(join(folder, scenario, 'profiles')))
}

/** What a scenario's slot and publication were: a forgotten slot would keep WAL and cost the next scenario. */
async function forget(): Promise<void> {
  await postgres.client.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots')
  await postgres.client.query('DROP PUBLICATION IF EXISTS frazil_bench')
}

async function sameRows(frazil: Daemon, table: string): Promise<void> {
  const sums = 'count(*)::text, sum(id)::text, sum(a)::text, sum(length(b))::text'
  const expected = await postgres.client.query<string[]>({ text: `SELECT ${sums} FROM ${table}`, rowMode: 'array' })
  const sqlSums = 'count(*)::varchar, sum(id)::varchar, sum(a)::varchar, sum(length(b))::varchar'
  const got = await frazil.query(`SELECT ${sqlSums} FROM bench.${table}`)
  if (JSON.stringify(got.rows[0]) !== JSON.stringify(expected.rows[0]))
    throw new Error(`${table}: Postgres has ${expected.rows[0].join(', ')}, the lake ${got.rows[0].join(', ')}`)
}

async function initialCopy(scenario: string, rows: number, mark: number): Promise<void> {
  await postgres.client.query(`CREATE TABLE t (${columns})`)
  await postgres.client.query(`INSERT INTO t SELECT ${row('g')} FROM generate_series(1::bigint, ${rows}) AS g`)
  await postgres.client.query('VACUUM ANALYZE t')
  await postgres.settle()
  await postgres.copyToNull('t') // once before, so that both read from memory
  const raw = await postgres.copyToNull('t')
  note(`${scenario}: COPY binary by psql`, rows / raw / 1e6, 'M rows/s')
  const serverBefore = postgres.cpuSeconds()
  const frazil = await start(scenario, ['t'])
  const startUp = (performance.now() - frazil.spawnedAt) / 1000
  await frazil.ready(600)
  const visible = (performance.now() - frazil.spawnedAt) / 1000
  await frazil.commit('bench', 't')
  const committed = (performance.now() - frazil.spawnedAt) / 1000
  const cost = processCost(frazil.pid)
  const remark = `${rows / 1e6} M rows from the start of the process; ${startUp.toFixed(2)} s of it start-up`
  note(`${scenario}, visible`, rows / visible / 1e6, 'M rows/s', undefined, remark)
  note(`${scenario}, committed`, rows / committed / 1e6, 'M rows/s')
  note(`${scenario} : raw COPY`, raw / visible, '×', { at: 'least', value: mark })
  note(`${scenario}, CPU a row`, (cost.cpuSeconds / rows) * 1e6, 'µs')
  note(`${scenario}, server CPU a row`, ((postgres.cpuSeconds() - serverBefore) / rows) * 1e6, 'µs')
  note(`${scenario}, peak RSS`, cost.peakBytes / 1e6, 'MB', { at: 'most', value: 400 })
  await sameRows(frazil, 't')
  await stop(frazil, scenario)
  await forget()
  await rm(join(folder, scenario), { recursive: true, force: true })
  await postgres.client.query('DROP TABLE t')
}

interface Drained {
  readonly seconds: number
  readonly raw: number
  /** Of the seconds, until the process answered. */
  readonly startUp: number
}

/** Writes a backlog that a slot of `pg_recvlogical` and frazil's both have to read, and lets one after the other read it. */
async function drainBacklog(scenario: string, table: string, rows: number, write: () => Promise<void>): Promise<Drained> {
  await stop(await ready(scenario, [table]), '')
  await postgres.createSlot('raw', table)
  await write()
  const end = await postgres.position()
  const raw = await postgres.receiveToNull('raw', end)
  note(`${scenario}: pg_recvlogical to /dev/null`, rows / raw / 1e6, 'M rows/s')
  const serverBefore = postgres.cpuSeconds()
  const frazil = await start(scenario, [table])
  const startUp = (performance.now() - frazil.spawnedAt) / 1000
  const idle = processCost(frazil.pid).cpuSeconds
  await frazil.visible('bench', end, 600)
  const seconds = (performance.now() - frazil.spawnedAt) / 1000
  await frazil.commit('bench', table)
  const committed = (performance.now() - frazil.spawnedAt) / 1000
  const cost = processCost(frazil.pid)
  note(`${scenario}, visible`, rows / seconds / 1e6, 'M rows/s', undefined, 'from the start of the process')
  note(`${scenario}, committed`, rows / committed / 1e6, 'M rows/s')
  const cpuMark = scenario === 'stream' ? ({ at: 'most', value: 2 } as const) : undefined
  note(`${scenario}, CPU a row`, ((cost.cpuSeconds - idle) / rows) * 1e6, 'µs', cpuMark, 'after start-up, until committed')
  note(`${scenario}, server CPU a row`, ((postgres.cpuSeconds() - serverBefore) / rows) * 1e6, 'µs')
  note(`${scenario}, peak RSS`, cost.peakBytes / 1e6, 'MB', { at: 'most', value: 400 })
  await sameRows(frazil, table)
  await stop(frazil, scenario)
  await forget()
  return { seconds, raw, startUp }
}

async function ready(scenario: string, tables: readonly string[], budget = memory): Promise<Daemon> {
  const frazil = await start(scenario, tables, budget)
  await frazil.ready(600)
  return frazil
}

async function insertAll(table: string, rows: number): Promise<void> {
  for (let from = 1; from <= rows; from += perTransaction)
    await postgres.client.query(
      `INSERT INTO ${table} SELECT ${row('g')} FROM generate_series(${from}::bigint, ${Math.min(rows, from + perTransaction - 1)}) AS g`,
    )
}

/** Gives back pg_recvlogical's rate, rows a second. */
async function stream(): Promise<number> {
  const rows = Math.round(2e6 * scale)
  await postgres.client.query(`CREATE TABLE s (${columns})`)
  const { seconds, raw } = await drainBacklog('stream', 's', rows, () => insertAll('s', rows))
  note('stream : pg_recvlogical', raw / seconds, '×', { at: 'least', value: 2.5 })
  await postgres.client.query('DROP TABLE s')
  return rows / raw
}

/** The same backlog, read by SQL as a slot that is far behind is by default. */
async function backlog(): Promise<void> {
  const rows = Math.round(2e6 * scale)
  await postgres.client.query(`CREATE TABLE s (${columns})`)
  const { seconds, raw, startUp } = await drainBacklog('backlog', 's', rows, () => insertAll('s', rows))
  note('backlog : pg_recvlogical', raw / seconds, '×', undefined, 'from the start of the process')
  note('backlog, after start-up : pg_recvlogical', raw / (seconds - startUp), '×', { at: 'least', value: 4 })
  await postgres.client.query('DROP TABLE s')
}

async function updates(rawRate: number): Promise<void> {
  const rows = Math.round(1e6 * scale)
  await postgres.client.query(`CREATE TABLE u (${columns})`)
  await postgres.client.query(`INSERT INTO u SELECT ${row('g')} FROM generate_series(1::bigint, ${rows}) AS g`)
  await postgres.client.query('VACUUM ANALYZE u')
  const { seconds } = await drainBacklog('update', 'u', rows, async () => {
    // Each row once, in an order that has nothing to do with the files'.
    await postgres.client.query('SET enable_hashjoin = off; SET enable_mergejoin = off')
    for (let from = 0; from < rows; from += perTransaction)
      await postgres.client.query(
        `UPDATE u SET a = u.a + 1, b = md5(u.b) || '-changed' FROM (SELECT (g * 386429) % ${rows} + 1 AS id
           FROM generate_series(${from}::bigint, ${Math.min(rows, from + perTransaction) - 1}) AS g) AS chosen WHERE u.id = chosen.id`,
      )
    await postgres.client.query('RESET enable_hashjoin; RESET enable_mergejoin')
  })
  note("update : pg_recvlogical's inserts", rows / seconds / rawRate, '×', { at: 'least', value: 2 })
  await postgres.client.query('DROP TABLE u')
}

/** From the return of COMMIT until another process sees the rows of one large transaction: in the memory that is the default, and in less. */
async function transaction(): Promise<void> {
  const rows = Math.round(1e6 * scale)
  for (const budget of ['512MB', memory]) {
    await postgres.client.query(`CREATE TABLE l (${columns})`)
    const frazil = await ready(`transaction-${budget}`, ['l'], budget)
    const seconds: number[] = []
    for (let i = 0; i < 3; i++) {
      await postgres.client.query(
        `BEGIN; INSERT INTO l SELECT ${row('g')} FROM generate_series(${i * rows + 1}::bigint, ${(i + 1) * rows}) AS g; COMMIT`,
      )
      const committed = performance.now()
      const last = String((i + 1) * rows)
      while ((await frazil.query('SELECT id FROM bench.l WHERE id = $1', undefined, [last])).rows.length === 0);
      seconds.push((performance.now() - committed) / 1000)
    }
    seconds.sort((a, b) => a - b)
    const name = `a transaction of ${rows / 1e6} M rows, from COMMIT until seen, memory ${budget}`
    note(name, seconds[1], 's', budget === memory ? undefined : { at: 'most', value: 1 }, 'median of 3')
    await sameRows(frazil, 'l')
    await stop(frazil, `transaction-${budget}`)
    await forget()
    await postgres.client.query('DROP TABLE l')
  }
}

/** Updates that leave a value of 4 kB as it is, which is not sent then, beside the same ones of rows without that value. */
async function unchangedValues(): Promise<void> {
  const rows = Math.round(2e5 * scale)
  const noise = `(SELECT string_agg(md5((g * 128 + i)::text), '') FROM generate_series(1, 128) AS i)`
  const rates: number[] = []
  for (const [scenario, table, large] of [
    ['plain update', 'x', `'small'`],
    ['toast', 'w', noise],
  ] as const) {
    await postgres.client.query(`CREATE TABLE ${table} (id bigint PRIMARY KEY, a int, b text)`)
    await postgres.client.query(`ALTER TABLE ${table} ALTER b SET STORAGE EXTERNAL`)
    await postgres.client.query(`INSERT INTO ${table} SELECT g, 0, ${large} FROM generate_series(1::bigint, ${rows}) AS g`)
    await postgres.client.query(`VACUUM ANALYZE ${table}`)
    const { seconds } = await drainBacklog(scenario, table, rows, async () => {
      await postgres.client.query('SET enable_hashjoin = off; SET enable_mergejoin = off')
      for (let from = 0; from < rows; from += perTransaction)
        await postgres.client.query(
          `UPDATE ${table} SET a = a + 1 FROM (SELECT (g * 386429) % ${rows} + 1 AS chosen
             FROM generate_series(${from}::bigint, ${Math.min(rows, from + perTransaction) - 1}) AS g) AS picked WHERE id = chosen`,
        )
      await postgres.client.query('RESET enable_hashjoin; RESET enable_mergejoin')
    })
    rates.push(rows / seconds)
    await postgres.client.query(`DROP TABLE ${table}`)
  }
  note('toast : plain update', rates[1] / rates[0], '×', undefined, 'each row with 4 kB that are read and written again')
}

async function latency(): Promise<void> {
  // The probes are rows of a small table beside the loaded one: the question is when they are seen, not how fast a scan is.
  await postgres.client.query(`CREATE TABLE v (${columns}); CREATE TABLE probe (${columns})`)
  const frazil = await ready('latency', ['v', 'probe'])
  const loader = await connect(postgres.url)
  const count = Math.max(100, Math.round(1000 * Math.min(1, scale)))
  let firstId = 1
  const measure = async (name: string, marks: { p50: number; p99: number }): Promise<void> => {
    for (const [how, probe] of [
      ['look-up', byLookup(frazil, 'probe')],
      ['query', byQuery(frazil, 'probe')],
    ] as const) {
      await commitToVisible(postgres.client, 'probe', probe, { firstId, count: 50, everyMs: 10 }) // warms up
      const latencies = await commitToVisible(postgres.client, 'probe', probe, { firstId: firstId + 50, count, everyMs: 10 })
      firstId += count + 50
      note(`${name}, seen by ${how}, p50`, percentile(latencies, 50), 'ms', { at: 'most', value: marks.p50 })
      note(`${name}, seen by ${how}, p99`, percentile(latencies, 99), 'ms', { at: 'most', value: marks.p99 })
    }
  }
  await measure('100 tx/s', { p50: 2, p99: 20 })
  // The most that this machine writes, sends and shows together.
  const most = new Load(
    loader,
    (from, to) => `INSERT INTO v SELECT ${row('g')} FROM generate_series(${from}::bigint, ${to}) AS g`,
  )
  const from = performance.now()
  most.run(1_000_000_000, Number.POSITIVE_INFINITY)
  await new Promise((resolve) => setTimeout(resolve, 6000))
  await most.stop()
  await frazil.visible('bench', await postgres.position(), 600)
  const rate = most.rows / ((performance.now() - from) / 1000)
  note('live inserts, 1,000 a transaction, until visible', rate / 1e6, 'M rows/s', undefined, 'the most')
  const half = new Load(
    loader,
    (from, to) => `INSERT INTO v SELECT ${row('g')} FROM generate_series(${from}::bigint, ${to}) AS g`,
  )
  half.run(2_000_000_000, rate / 2)
  await measure('half of that load', { p50: 30, p99: 100 })
  await half.stop()
  await frazil.visible('bench', await postgres.position(), 600)
  note('latency runs, peak RSS', processCost(frazil.pid).peakBytes / 1e6, 'MB', { at: 'most', value: 400 })
  await sameRows(frazil, 'v')
  await loader.end()
  await stop(frazil, 'latency')
  await forget()
  await postgres.client.query('DROP TABLE v, probe')
}
