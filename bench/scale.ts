import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { loadTable } from '../test/support/load/load-source.ts'
import { Rig } from '../test/support/load/rig.ts'
import { publish, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'
import { RssWatch } from './support/rss.ts'
import { asDaemon } from './support/as-daemon.ts'

// A table with many small keyed rows (a bigint key, an int, 20 bytes of text) in little memory: what do its copy, random updates and a start
// cost, and how does that grow with the table? The rows come as segments from a source that makes them up, so no server takes part; all
// behind the source is the real thing. `--rows 1000000,10000000,100000000` compares sizes, each in a process of its own; 100 M rows take
// some 10 GB of disk.

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    updates: { type: 'string', default: '500000' },
    memory: { type: 'string', default: '256' },
    /** Print the figures of one size as JSON: what this file asks of itself. */
    alone: { type: 'boolean', default: false },
  },
})
const sizes = options.rows.split(',').map(Number)
const [updates, memoryMb] = [options.updates, options.memory].map(Number)
if (sizes.some((rows) => !(rows > updates))) throw new Error('--rows must be numbers above --updates')
const batch = 10_000
/** Of updates; compaction goes on beside them. */
const updatesPerCommit = 50_000
/** A prime: its multiples modulo a number of rows meet every row once, in no order. */
const stride = 2_654_435_761

if (options.alone) console.log(JSON.stringify(await measure(sizes[0])))
else {
  /** As it is at the start: the sources may be changed while this runs. */
  const measuredAt = surroundings()
  const load = loadavg()[0]
  const all: Figure[] = []
  const bySize: Figure[][] = []
  for (const rows of sizes) {
    const args = ['--rows', String(rows), '--updates', String(updates), '--memory', String(memoryMb), '--alone']
    const output = execFileSync(process.execPath, [...asDaemon.flags, import.meta.filename, ...args], {
      env: { ...process.env, ...asDaemon.env },
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
    })
    const figures = JSON.parse(output) as Figure[]
    bySize.push(figures)
    all.push(...figures.map((figure) => ({ ...figure, name: `${shown(rows)} rows: ${figure.name}` })))
  }
  for (const name of sizes.length > 1 ? ['copy, CPU', 'random updates, CPU', 'random updates, CPU of source and pipeline'] : []) {
    const [first, last] = [bySize[0], bySize[bySize.length - 1]].map((figures) => figures.find((figure) => figure.name === name))
    all.push({
      name: `${name} a row: ${shown(sizes[sizes.length - 1])} rows against ${shown(sizes[0])}`,
      value: (last?.value ?? NaN) / (first?.value ?? NaN),
      unit: 'times',
      mark: { at: 'most', value: 1.15 },
    })
  }
  const about = {
    ...measuredAt,
    source: 'rows that are made up in the process: their making is part of the CPU figures',
    updates: `${updates} in each size, of rows spread over all of the table, ${batch} in a transaction, a commit each ${updatesPerCommit}`,
    memory: `${memoryMb} MB; query.memory 512 MB`,
    'load average at the start and at the end (all programs of the machine, this one too)': `${load.toFixed(1)}, ${loadavg()[0].toFixed(1)}`,
  }
  publish({ question: 'scale', surroundings: about, figures: all }, true)
}

async function measure(rows: number): Promise<Figure[]> {
  const figures: Figure[] = []
  const folder = await mkdtemp(join(tmpdir(), 'frazil-scale-'))
  const whole = loadTable('many')
  const table = { ...whole, fields: whole.fields.slice(0, 3) }
  const settings = { folder, memory: memoryMb * 1e6, commitEveryMs: 5000, textBytes: 20 }
  const watch = new RssWatch(process.pid, 60)
  let updated = 0
  const update = async (rig: Rig, count: number): Promise<void> => {
    const ids = Float64Array.from({ length: count }, (_, i) => ((updated + i) * stride) % rows)
    updated += count
    await rig.source.transaction([{ table, op: 'update', ids, version: () => 1 }])
  }
  const measured = async (name: string, count: number, work: () => Promise<void>): Promise<void> => {
    watch.phase(name)
    const [cpu, own, started] = [process.cpuUsage(), process.threadCpuUsage(), performance.now()]
    await work()
    const seconds = (performance.now() - started) / 1000
    const { user, system } = process.cpuUsage(cpu)
    const pipeline = process.threadCpuUsage(own)
    const { all, anonymous } = watch.peak(name)
    const isStart = name.startsWith('start')
    const mark = name === 'start with key runs' ? ({ at: 'most', value: 5 } as const) : undefined
    figures.push(
      isStart
        ? { name, value: seconds, unit: 's', mark, remark: `${(count / seconds / 1e6).toFixed(2)} M rows/s` }
        : { name, value: count / seconds / 1e6, unit: 'M rows/s', remark: `${seconds.toFixed(1)} s` },
      {
        name: `${name}, CPU`,
        value: (user + system) / count,
        unit: 'µs a row',
        remark: 'of all threads, so with files that are rewritten meanwhile',
      },
      { name: `${name}, CPU of source and pipeline`, value: (pipeline.user + pipeline.system) / count, unit: 'µs a row' },
      {
        name: `${name}, memory of the process`,
        value: all / 1e6,
        unit: 'MB',
        remark: `anonymous ${(anonymous / 1e6).toFixed(0)} MB`,
      },
    )
  }
  try {
    let rig = await Rig.start(settings)
    await measured('copy', rows, async () => {
      await rig.source.copy({ tables: [table], rows })
      await rig.flush()
    })
    await measured('random updates', updates, async () => {
      for (let done = 0; done < updates; done += batch) {
        await update(rig, Math.min(batch, updates - done))
        if ((done + batch) % updatesPerCommit === 0) await rig.flush()
      }
      await rig.flush()
    })
    const { dataFiles, dataBytes } = await rig.figures(table)
    figures.push({ name: 'data files', value: dataFiles, unit: 'files', remark: `${(dataBytes / 1e6).toFixed(0)} MB` })
    const { memoryUsed } = await rig.pipeline.status()
    figures.push({
      name: 'of `memory` in use',
      value: memoryUsed / 1e6,
      unit: 'MB',
      remark: 'filters of key runs, and a segment of the source',
    })
    await rig.close()
    const again = async (name: string): Promise<void> => {
      await measured(name, rows, async () => {
        rig = await Rig.start(settings)
      })
      // The first update after a start finds its row by the runs.
      await update(rig, 1)
      await rig.flush()
      await rig.close()
    }
    await again('start with key runs')
    const runBytes = await dropFromCache(join(folder, 'local', 'runs'))
    figures.push({ name: 'key runs on disk', value: runBytes / 1e6, unit: 'MB' })
    await again('start with key runs, read from disk')
    await rm(join(folder, 'local'), { recursive: true, force: true })
    await again('start without key runs')
    await measured('count', rows, async () => {
      rig = await Rig.start(settings)
      const [found] = await rig.query('SELECT count(*), sum(version) FROM load.many')
      await rig.close()
      if (Number(found[0]) !== rows || Number(found[1]) !== updated)
        throw new Error(`found ${String(found)}, not ${rows}, ${updated}`)
    })
    return figures
  } finally {
    watch.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Has the system forget what it keeps of the files in a folder, where it can be asked to. Returns their bytes. */
async function dropFromCache(folder: string): Promise<number> {
  let bytes = 0
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  for (const entry of entries.filter((one) => one.isFile())) {
    const path = join(entry.parentPath, entry.name)
    bytes += (await stat(path)).size
    await promisify(execFile)('dd', [`if=${path}`, 'iflag=nocache', 'count=0']).catch(() => undefined)
  }
  return bytes
}

function shown(rows: number): string {
  return rows >= 1e6 ? `${rows / 1e6} M` : `${rows / 1e3} k`
}
