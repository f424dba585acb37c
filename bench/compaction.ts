import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startEmbeddedPostgres } from '../src/cli/embedded-postgres.ts'
import { open } from '../src/index.ts'
import { EventBus } from '../src/observe/index.ts'
import { walPosition } from '../test/support/compare.ts'
import { connect } from '../test/support/workload.ts'
import { publish, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'
import { RssWatch } from './support/rss.ts'

// How fast are files rewritten, with how much memory, and what do queries gain? 4 M rows of about 50 bytes (--scale 1) come in 200
// commits, every tenth row is updated in another 20; then the table is optimized, with nothing else going on.

const { values: options } = parseArgs({ options: { scale: { type: 'string', default: '1' } } })
const rows = Math.round(4e6 * Number(options.scale))
if (!(rows > 0)) throw new Error('--scale must be a number above 0')
const commits = 200
const updates = 20
const repeats = 9

const figures: Figure[] = []
const folder = await mkdtemp(join(tmpdir(), 'frazil-compaction-'))
const postgres = await startEmbeddedPostgres({ settings: { fsync: 'off', full_page_writes: 'off', max_wal_size: '4GB' } })
const client = await connect(postgres.url)
const events = new EventBus()
const done = { files: 0, outputs: 0, bytesIn: 0, bytesOut: 0, rows: 0 }
events.on((event) => {
  if (event.type !== 'compacted') return
  done.files += event.filesIn
  done.outputs += event.filesOut
  done.bytesIn += event.bytesIn
  done.bytesOut += event.bytesOut
  done.rows += event.rows
})

try {
  await client.query('CREATE TABLE t (id bigint PRIMARY KEY, customer int, status text, total numeric(12,2), at timestamptz)')
  const engine = await open(
    {
      warehouse: join(folder, 'lake'),
      local: join(folder, 'local'),
      memory: '256MB',
      commit: { every: '1h' },
      compaction: { automatic: false, rate: '10GB' },
      sources: { shop: { type: 'postgres', url: postgres.url, tables: ['public.t'] } },
    },
    { events },
  )
  const settle = async (): Promise<void> => {
    await engine.query('SELECT 1', { wait: { shop: await walPosition(client) }, waitTimeoutMs: 600_000 })
    await engine.flush()
  }
  try {
    const step = Math.ceil(rows / commits)
    for (let from = 0; from < rows; from += step) {
      await client.query(
        `INSERT INTO t SELECT i, (random() * 100000)::int, 'status ' || i % 7, i * 1.01, now() + i * interval '1 ms' FROM generate_series(${from}, ${Math.min(rows, from + step) - 1}) i`,
      )
      await settle()
    }
    for (let i = 0; i < updates; i++) {
      await client.query(`UPDATE t SET status = 'changed' WHERE id % ${updates * 10} = ${i}`)
      await settle()
    }
    const before = await files()
    note('files before', before.dataFiles, 'files', `${before.deletedRows.toLocaleString('en-US')} dead rows`)
    const slow = await queries()
    const watch = new RssWatch(process.pid, 3600)
    watch.phase('before')
    watch.phase('optimize')
    const [cpu, started] = [process.cpuUsage(), performance.now()]
    await engine.table('shop.t').optimize()
    const seconds = (performance.now() - started) / 1000
    const used = process.cpuUsage(cpu)
    const cpuSeconds = (used.user + used.system) / 1e6
    watch.phase('after')
    const after = await files()
    note('files after', after.dataFiles, 'files', `${after.deletedRows} dead rows`)
    note(
      'rewritten',
      done.bytesIn / 1e6 / seconds,
      'MB/s',
      `${mb(done.bytesIn)} in, ${mb(done.bytesOut)} out, ${seconds.toFixed(1)} s`,
    )
    note('rows', done.rows / 1e6 / seconds, 'M rows/s')
    note('rows by processor', done.rows / 1e6 / cpuSeconds, 'M rows for each CPU second', `${cpuSeconds.toFixed(1)} s`)
    note('memory', (watch.peak('optimize').anonymous - watch.peak('before').anonymous) / 1e6, 'MB more than before')
    const fast = await queries()
    for (const [i, { name, ms }] of slow.entries()) {
      note(`${name}, before`, ms, 'ms')
      note(`${name}, after`, fast[i].ms, 'ms', `${(ms / fast[i].ms).toFixed(1)} × faster`)
    }
    watch.stop()
  } finally {
    await engine.close()
  }

  async function files(): Promise<{ dataFiles: number; deletedRows: number }> {
    const { tables } = await engine.status()
    return tables[0]
  }

  async function queries(): Promise<{ name: string; ms: number }[]> {
    const asked = {
      'count and sum': 'SELECT count(*), sum(total) FROM shop.t',
      'group by': 'SELECT status, avg(total) FROM shop.t GROUP BY 1',
      'rows of one customer': 'SELECT * FROM shop.t WHERE customer = 4711',
    }
    const answers: { name: string; ms: number }[] = []
    for (const [name, sql] of Object.entries(asked)) {
      const times: number[] = []
      for (let i = 0; i < repeats; i++) {
        const started = performance.now()
        await engine.query(sql)
        times.push(performance.now() - started)
      }
      answers.push({ name, ms: times.sort((a, b) => a - b)[repeats >> 1] })
    }
    return answers
  }

  const about = { ...surroundings(), rows, commits: commits + updates }
  publish({ question: 'compaction', surroundings: about, figures }, options.scale === '1')
} finally {
  await client.end().catch(() => {})
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
}

function mb(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`
}

function note(name: string, value: number, unit: string, remark?: string): void {
  figures.push({ name, value, unit, ...(remark === undefined ? {} : { remark }) })
}
