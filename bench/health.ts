import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seededRandom } from '../src/base/index.ts'
import { loadTable } from '../test/support/load/load-source.ts'
import { Rig } from '../test/support/load/rig.ts'
import { SpedClock } from '../test/support/load/sped-clock.ts'
import { chart } from './support/chart.ts'
import { ChangingRows } from './support/changing-rows.ts'
import { markdown, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'

// Does a table stay healthy by itself? Inserts, updates and deletes over many rows, at a steady rate, for a long time; then it rests
// until what nobody needs any more is gone. The rows come straight as segments from a source that makes them up: with a Postgres on the
// same machine it would be measured how fast that writes. Everything behind the source is the real thing: threads, sqlite catalog,
// files, fsync. With --speed 10 the engine's clock runs ten times as fast: intervals, retention and graces pass in a tenth of the time,
// at ten times the load.

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    minutes: { type: 'string', default: '60' },
    /** Changes a second by the engine's clock: of ten, eight update, one inserts, one deletes. */
    rate: { type: 'string', default: '2000' },
    commit: { type: 'string', default: '5' },
    sample: { type: 'string', default: '30' },
    speed: { type: 'string', default: '1' },
    memory: { type: 'string', default: '256' },
    /** Minutes that snapshots are kept. */
    history: { type: 'string', default: '60' },
    /** Leave figures and chart in bench/results. */
    keep: { type: 'boolean', default: false },
  },
})
const [rows, minutes, rate, commitSeconds, sampleSeconds, speed, memoryMb, historyMinutes] = [
  options.rows,
  options.minutes,
  options.rate,
  options.commit,
  options.sample,
  options.speed,
  options.memory,
  options.history,
].map(Number)
/** Files outlive their last snapshot by this. */
const graceMinutes = 15
/** Until a table rests, and what rewriting it takes, by a clock that runs 60 times as fast. */
const restMinutes = 30
/** A transaction in so many milliseconds. */
const tickMs = 100
const scans = 7
const scanOf = (name: string): string => `SELECT count(*), sum(version), max(score), min("at") FROM load.${name}`

interface Sample {
  readonly minutes: number
  readonly files: number
  readonly metadataBytes: number
  readonly manifests: number
  /** Bytes of the data files of the current snapshot for each byte of a fresh copy's. */
  readonly space: number
  readonly storedPerLive: number
  readonly amplification: number
  readonly scanRatio: number
  readonly commitMs: number
  readonly rssMb: number
  readonly cpuMicrosPerChange: number
}

/** As it is at the start: the sources may be changed while this runs. */
const measuredAt = surroundings()
const folder = await mkdtemp(join(tmpdir(), 'frazil-health-'))
const clock = new SpedClock(1)
const table = loadTable('changing')
const changing = new ChangingRows(rows, seededRandom(1))
const commits: number[] = []
const samples: Sample[] = []
const fresh = await Rig.start({ folder: join(folder, 'fresh'), automatic: false })
const rig = await Rig.start({
  folder: join(folder, 'changing'),
  clock,
  memory: memoryMb * 1e6,
  commitEveryMs: commitSeconds * 1000,
  history: { snapshots: historyMinutes * 60_000, hourly: 0, daily: 0 },
  bytesPerSecond: 64e6,
  onEvent: (event) => {
    if (event.type === 'committed' && event.tables > 0) commits.push(event.ms)
    if (event.type === 'error') console.error(event.message)
  },
})
try {
  await rig.source.copy({ tables: [table], rows })
  await rig.flush()
  const first = loadTable('first')
  await fresh.source.copy({ tables: [first], rows })
  await fresh.flush()
  const { dataBytes: freshBytes } = await fresh.figures(first)
  const start = { written: { ...rig.written }, cpu: process.cpuUsage() }
  clock.speed = speed
  const began = clock.monotonic()
  const end = began + minutes * 60_000
  let nextSample = began + sampleSeconds * 1000
  let changes = 0
  while (clock.monotonic() < end) {
    const due = Math.floor(((clock.monotonic() - began) / 1000) * rate)
    const count = Math.min(due - changes, rate)
    if (count >= (rate * tickMs) / 1000) {
      await rig.source.transaction(changing.transaction(table, count))
      changes += count
    } else await clock.sleep(tickMs / 2)
    if (clock.monotonic() < nextSample) continue
    nextSample = clock.monotonic() + sampleSeconds * 1000
    samples.push(await sample(first.name, freshBytes, began, changes, start.written, start.cpu))
    console.error(JSON.stringify(samples.at(-1)))
  }
  const took = (clock.monotonic() - began) / 1000
  await rig.flush()
  const exact = loadTable('exact')
  await fresh.source.copy({ tables: [exact], rows: changing.count, ...changing.places })
  await fresh.flush()
  const last = await rig.figures(table)
  const flushed = rig.written.flushed - start.written.flushed
  const rewritten = rig.written.rewritten
  const answers = await Promise.all([rig.query(scanOf(table.name)), fresh.query(scanOf(exact.name))])
  if (JSON.stringify(answers[0]) !== JSON.stringify(answers[1])) throw new Error('the table is not the fresh copy')
  clock.speed = 1
  const ratio = await scanRatio(exact.name)
  // Nothing happens any more: history and graces pass, and what is left is rewritten.
  clock.speed = 60
  await clock.sleep((restMinutes + historyMinutes + graceMinutes) * 60_000)
  const rested = await rig.figures(table)
  clock.speed = 1
  const restedRatio = await scanRatio(exact.name)
  const { bytes: stored } = await rig.stored()
  const live = (await fresh.figures(exact)).dataBytes
  const half = samples.slice(samples.length >> 1)
  const most = (of: (sample: Sample) => number, among = samples): number => Math.max(...among.map(of))
  const median = (of: (sample: Sample) => number): number => half.map(of).sort((a, b) => a - b)[half.length >> 1]
  const sorted = commits.sort((a, b) => a - b)
  const figures: Figure[] = [
    { name: 'changes', value: changes / took, unit: '/s', remark: `${changes.toLocaleString('en-US')} in all` },
    { name: 'share of rows changed', value: (100 * changes) / rows, unit: '%' },
    { name: 'data files, most', value: most(({ files }) => files), unit: 'files', remark: `at the end ${last.dataFiles}` },
    { name: 'metadata, most', value: most(({ metadataBytes }) => metadataBytes) / 1e6, unit: 'MB' },
    { name: 'manifests, most', value: most(({ manifests }) => manifests), unit: 'manifests' },
    { name: 'space of the current snapshot, most', value: most(({ space }) => space), unit: 'bytes for each live one' },
    {
      name: 'disk after the grace',
      value: stored / live,
      unit: 'bytes for each live one',
      mark: { at: 'most', value: 1.5 },
      remark: `${rested.dataFiles} data files; before the rest ${samples.at(-1)?.storedPerLive.toFixed(2) ?? '?'}`,
    },
    {
      name: 'write amplification',
      value: (flushed + rewritten) / flushed,
      unit: 'bytes written for each flushed',
      mark: { at: 'most', value: 3 },
      remark: `until the last change; with what is rewritten when it rests ${((flushed + rig.written.rewritten) / flushed).toFixed(2)}`,
    },
    {
      name: 'scan against a fresh copy of the same rows',
      value: ratio.time,
      unit: '× its time',
      mark: { at: 'most', value: 1.2 },
      remark: `right after the last change; median of the second half, beside commits and compaction, against a copy of the first rows: ${median(({ scanRatio: one }) => one).toFixed(2)}`,
    },
    { name: 'the same scans', value: ratio.processor, unit: '× its processor time' },
    {
      name: 'dead rows in the current snapshot',
      value: (100 * last.deletedRows) / last.rows,
      unit: '% of its rows',
      remark: 'right after the last change',
    },
    { name: 'scan when it rests', value: restedRatio.time, unit: '× its time', mark: { at: 'most', value: 1.2 } },
    { name: 'the same scans', value: restedRatio.processor, unit: '× its processor time' },
    { name: 'dead rows then', value: (100 * rested.deletedRows) / rested.rows, unit: '% of its rows' },
    {
      name: 'its bytes',
      value: rested.dataBytes / live,
      unit: 'for each of the fresh copy',
      remark: 'data files; the rest of the disk is vectors, metadata and what the last snapshots before it named',
    },
    { name: 'commit, median', value: sorted[sorted.length >> 1], unit: 'ms' },
    { name: 'commit, 99 of 100', value: sorted[Math.floor(sorted.length * 0.99)], unit: 'ms' },
    {
      name: 'memory of the process, most',
      value: most(({ rssMb }) => rssMb),
      unit: 'MB',
      remark: 'with the fresh copy’s engine, and DuckDB twice',
    },
    {
      name: 'processor',
      value: samples.at(-1)?.cpuMicrosPerChange ?? 0,
      unit: 'µs for each change',
      remark: 'all of the process, samples and source included',
    },
  ]
  const about = {
    ...measuredAt,
    rows,
    minutes,
    'changes a second': rate,
    'commit every': `${commitSeconds} s`,
    history: `${historyMinutes} min`,
    clock: speed === 1 ? 'real' : `${speed} times as fast as real time`,
    memory: `${memoryMb} MB`,
    'load average at the end (of other work, too)': loadavg()[2].toFixed(1),
  }
  console.log(markdown({ question: 'health', surroundings: about, figures }))
  if (options.keep) keep(about, figures)
} finally {
  await Promise.allSettled([rig.close(), fresh.close()])
  await rm(folder, { recursive: true, force: true })
}

async function sample(
  first: string,
  freshBytes: number,
  began: number,
  changes: number,
  start: { readonly flushed: number; readonly rewritten: number },
  cpu: NodeJS.CpuUsage,
): Promise<Sample> {
  const { user, system } = process.cpuUsage(cpu)
  const figures = await rig.figures(table)
  const flushed = rig.written.flushed - start.flushed
  return {
    minutes: (clock.monotonic() - began) / 60_000,
    files: figures.dataFiles,
    metadataBytes: figures.metadataBytes,
    manifests: figures.manifests,
    space: figures.dataBytes / freshBytes,
    storedPerLive: (await rig.stored()).bytes / freshBytes,
    amplification: flushed === 0 ? 1 : (flushed + rig.written.rewritten - start.rewritten) / flushed,
    scanRatio: (await scanRatio(first)).time,
    commitMs: commits.at(-1) ?? 0,
    rssMb: process.memoryUsage().rss / 1e6,
    cpuMicrosPerChange: (user + system) / changes,
  }
}

interface ScanCost {
  readonly time: number
  /** Of the whole process: what a scan costs as long as nothing else of it runs. */
  readonly processor: number
}

/** How much more than the table's fresh copy the table costs to read: the least of some times each, one after the other. */
async function scanRatio(copy: string): Promise<ScanCost> {
  let changing = { time: Infinity, processor: Infinity }
  let copied = { time: Infinity, processor: Infinity }
  for (let i = 0; i < scans; i++) {
    changing = least(changing, await costOf(() => rig.query(scanOf(table.name))))
    copied = least(copied, await costOf(() => fresh.query(scanOf(copy))))
  }
  return { time: changing.time / copied.time, processor: changing.processor / copied.processor }
}

function least(a: ScanCost, b: ScanCost): ScanCost {
  return { time: Math.min(a.time, b.time), processor: Math.min(a.processor, b.processor) }
}

async function costOf(work: () => Promise<unknown>): Promise<ScanCost> {
  const started = performance.now()
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return { time: performance.now() - started, processor: user + system }
}

function keep(about: Record<string, string | number>, figures: readonly Figure[]): void {
  const results = join(import.meta.dirname, 'results')
  mkdirSync(results, { recursive: true })
  const line = (name: string, of: (sample: Sample) => number) => ({
    name,
    points: samples.map((one) => [one.minutes, of(one)] as const),
  })
  const title = `${rows.toLocaleString('en-US')} rows, ${rate.toLocaleString('en-US')} changes a second`
  const svg = chart(title, 'minutes', [
    { title: 'data files', lines: [line('files', ({ files }) => files)] },
    { title: 'metadata, MB', lines: [line('metadata', ({ metadataBytes }) => metadataBytes / 1e6)] },
    { title: 'current snapshot, bytes for each live one', lines: [line('space', ({ space }) => space)] },
    { title: 'disk with history, bytes for each live one', lines: [line('disk', ({ storedPerLive }) => storedPerLive)] },
    { title: 'write amplification', lines: [line('amplification', ({ amplification }) => amplification)], mark: 3 },
    { title: 'scan, times that of a fresh copy', lines: [line('scan', (one) => one.scanRatio)], mark: 1.2 },
    { title: 'commit, ms', lines: [line('commit', ({ commitMs }) => commitMs)] },
    { title: 'resident memory, MB', lines: [line('memory', ({ rssMb }) => rssMb)] },
  ])
  const report = { question: 'health', surroundings: about, figures }
  writeFileSync(join(results, 'health.md'), markdown(report))
  writeFileSync(join(results, 'health.json'), `${JSON.stringify({ ...report, samples }, null, 2)}\n`)
  writeFileSync(join(results, 'health.svg'), svg)
}
