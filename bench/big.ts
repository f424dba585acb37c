import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startEmbeddedPostgres } from '../src/cli/embedded-postgres.ts'
import { Daemon } from '../test/support/daemon.ts'
import { connect } from '../test/support/workload.ts'
import { publish, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'
import { RssWatch } from './support/rss.ts'

// Does a table many times larger than memory stay right, and within its memory? 50 M rows of 100 bytes (--scale 1) are copied, then
// rows chosen at random are updated, then every row is compared by counts and checksums. Needs 25 GB in TMPDIR, and nothing installed.

const { values: options } = parseArgs({
  options: { scale: { type: 'string', default: '1' }, updates: { type: 'string' } },
})
const rows = Math.round(50e6 * Number(options.scale))
if (!(rows > 0)) throw new Error('--scale must be a number above 0')
const updates = options.updates === undefined ? Math.round(rows / 10) : Number(options.updates)
const memory = 256
const queryMemory = 256
/** Of node, DuckDB, code, stacks, what V8 and malloc keep: independent of the table's size. */
const besidesMB = 300
const perTransaction = 10_000
const buckets = 64

const figures: Figure[] = []
const folder = await mkdtemp(join(tmpdir(), 'frazil-big-'))
const postgres = await startEmbeddedPostgres({
  settings: {
    fsync: 'off',
    full_page_writes: 'off',
    autovacuum: 'off',
    shared_buffers: '256MB',
    max_wal_size: '4GB',
    checkpoint_timeout: '1h',
  },
})
const client = await connect(postgres.url)
let frazil: Daemon | null = null

try {
  await fill()
  frazil = await Daemon.spawn({
    unchecked: true,
    folder,
    config: {
      warehouse: './lake',
      local: './local',
      memory: `${memory}MB`,
      query: { memory: `${queryMemory}MB` },
      sources: { bench: { type: 'postgres', url: postgres.url, tables: ['public.big'] } },
    },
  })
  const watch = new RssWatch(frazil.pid, 15)
  await copy(frazil, watch)
  await update(frazil, watch)
  await compare(frazil, watch)
  const peak = watch.peak()
  const most = memory + queryMemory + besidesMB
  note(
    'peak RSS',
    peak.all / 1e6,
    'MB',
    { at: 'most', value: most },
    `anonymous ${mb(peak.anonymous)}, of files ${mb(peak.all - peak.anonymous)}; memory ${memory} + query.memory ${queryMemory} + ${besidesMB}`,
  )
  for (const phase of ['copy', 'update', 'compare']) note(`peak RSS, ${phase}`, watch.peak(phase).all / 1e6, 'MB')
  await sizes()
  watch.stop()
  const code = await frazil.terminate()
  if (code !== 0) throw new Error(`frazil ended with ${code}:\n${frazil.log}`)
  const about = { ...surroundings(), rows, updates, 'frazil memory': `${memory}MB`, 'query.memory': `${queryMemory}MB` }
  publish({ question: 'big', surroundings: about, figures }, options.scale === '1' && options.updates === undefined)
} finally {
  await frazil?.kill()
  await client.end().catch(() => {})
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
}

function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`
}

function note(name: string, value: number, unit: string, mark?: Figure['mark'], remark?: string): void {
  figures.push({ name, value, unit, mark, remark })
  console.error(`${name}: ${value.toPrecision(4)} ${unit}${remark === undefined ? '' : ` (${remark})`}`)
}

async function fill(): Promise<void> {
  await client.query('CREATE TABLE big (id bigint, a int, b text, c timestamptz, d double precision)')
  const batch = 1_000_000
  for (let from = 1; from <= rows; from += batch) {
    await client.query(
      `INSERT INTO big SELECT g, (g % 1000000)::int, md5(g::text) || '-text', timestamptz '2026-01-01' + g * interval '1 second', g * 0.25
         FROM generate_series(${from}::bigint, ${Math.min(rows, from + batch - 1)}) AS g`,
    )
  }
  await client.query('ALTER TABLE big ADD PRIMARY KEY (id)')
  await client.query('VACUUM ANALYZE big')
  const { rows: sized } = await client.query<{ bytes: string }>(`SELECT pg_table_size('big') AS bytes`)
  note('table', rows / 1e6, 'M rows', undefined, `${mb(Number(sized[0].bytes))} in Postgres`)
}

async function copy(daemon: Daemon, watch: RssWatch): Promise<void> {
  watch.phase('copy')
  await daemon.ready(3600)
  const seconds = (performance.now() - daemon.spawnedAt) / 1000
  note('initial copy, visible', rows / seconds / 1e6, 'M rows/s', undefined, 'from the start of the process')
  await daemon.commit('bench', 'big')
}

async function update(daemon: Daemon, watch: RssWatch): Promise<void> {
  watch.phase('update')
  await client.query('SET enable_hashjoin = off; SET enable_mergejoin = off; SELECT setseed(0.42)')
  const from = performance.now()
  for (let done = 0; done < updates; done += perTransaction) {
    const count = Math.min(perTransaction, updates - done)
    await client.query(
      `UPDATE big SET a = big.a + 1, b = md5(big.b) || '-more' FROM (SELECT DISTINCT 1 + floor(random() * ${rows})::bigint AS id
         FROM generate_series(1, ${count})) AS chosen WHERE big.id = chosen.id`,
    )
  }
  const written = (performance.now() - from) / 1000
  note('updates written by Postgres', updates / written / 1e6, 'M rows/s')
  await daemon.visible('bench', await position(), 3600)
  const seen = (performance.now() - from) / 1000
  await daemon.commit('bench', 'big')
  note('random updates, visible', updates / seen / 1e6, 'M rows/s', undefined, `${(seen - written).toFixed(1)} s after the last`)
  note('random updates, committed', updates / ((performance.now() - from) / 1000) / 1e6, 'M rows/s')
}

async function position(): Promise<string> {
  const answer = await client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')
  return answer.rows[0].lsn
}

/** Counts, sums and a checksum of all values of each bucket of rows. */
async function compare(daemon: Daemon, watch: RssWatch): Promise<void> {
  watch.phase('compare')
  const from = performance.now()
  const got = await daemon.query(
    `SELECT (id % ${buckets})::varchar, count(*)::varchar, sum(a)::varchar, sum(epoch_us(c))::varchar, sum((d * 4)::bigint)::varchar,
       sum(('0x' || substr(md5(id::varchar || ' ' || a::varchar || ' ' || b), 1, 8))::bigint)::varchar FROM bench.big GROUP BY 1 ORDER BY min(id % ${buckets})`,
  )
  note('checksums of all rows by our SQL', rows / ((performance.now() - from) / 1000) / 1e6, 'M rows/s')
  const expected = await client.query<string[]>({
    text: `SELECT (id % ${buckets})::text, count(*)::text, sum(a)::text, sum((extract(epoch FROM c) * 1000000)::bigint)::text,
       sum((d * 4)::bigint)::text, sum(('x' || substr(md5(id::text || ' ' || a::text || ' ' || b), 1, 8))::bit(32)::bigint)::text
       FROM big GROUP BY 1 ORDER BY min(id % ${buckets})`,
    rowMode: 'array',
  })
  if (JSON.stringify(got.rows) !== JSON.stringify(expected.rows))
    throw new Error(`the lake differs:\n${JSON.stringify(expected.rows)}\n${JSON.stringify(got.rows)}`)
  note('buckets that agree', expected.rows.length, `of ${buckets}`)
}

async function sizes(): Promise<void> {
  for (const [name, place, ending] of [
    ['data files', 'lake', '.parquet'],
    ['deletion vectors', 'lake', '.puffin'],
    ['metadata', 'lake', '.json'],
    ['manifests', 'lake', '.avro'],
    ['key runs and other local files', 'local', ''],
  ]) {
    const entries = await readdir(join(folder, place), { recursive: true, withFileTypes: true })
    const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    let bytes = 0
    for (const file of files)
      bytes += await stat(join(file.parentPath, file.name)).then(
        ({ size }) => size,
        () => 0,
      ) // may be deleted now
    note(name, files.length, 'files', undefined, mb(bytes))
  }
}
