import { mkdtemp, rm } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seededRandom } from '../src/base/index.ts'
import { loadTable } from '../test/support/load/load-source.ts'
import { Rig } from '../test/support/load/rig.ts'
import { publish, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'
import { RssWatch } from './support/rss.ts'

// A table with many keyed rows in little memory: how fast are random updates, how much memory do they take, how long does a start take
// with the key runs of an earlier one and without? The rows come as segments from a source that makes them up. --rows 100000000 takes
// some 15 GB of disk.

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: '10000000' },
    updates: { type: 'string', default: '1000000' },
    memory: { type: 'string', default: '256' },
  },
})
const [rows, updates, memoryMb] = [options.rows, options.updates, options.memory].map(Number)
const batch = 10_000
/** Of updates; compaction goes on beside them. */
const updatesPerCommit = 50_000

const figures: Figure[] = []
/** As it is at the start: the sources may be changed while this runs. */
const measuredAt = surroundings()
const folder = await mkdtemp(join(tmpdir(), 'frazil-scale-'))
const table = loadTable('many')
const versions = new Uint16Array(rows)
const settings = { folder, memory: memoryMb * 1e6, commitEveryMs: 5000 }
const watch = new RssWatch(process.pid, 60)
try {
  let rig = await Rig.start(settings)
  await measured('load', rows, async () => {
    await rig.source.copy({ tables: [table], rows })
    await rig.flush()
  })
  const random = seededRandom(1)
  await measured('random updates', updates, async () => {
    for (let done = 0; done < updates; done += batch) {
      const ids = new Set<number>()
      while (ids.size < Math.min(batch, updates - done)) ids.add(random.below(rows))
      for (const id of ids) versions[id]++
      await rig.source.transaction([{ table, op: 'update', ids: Int32Array.from(ids), version: (id) => versions[id] }])
      if ((done + batch) % updatesPerCommit === 0) await rig.flush()
    }
    await rig.flush()
  })
  const { dataFiles, dataBytes } = await rig.figures(table)
  figures.push({ name: 'data files', value: dataFiles, unit: 'files', remark: `${(dataBytes / 1e6).toFixed(0)} MB` })
  await rig.close()
  const again = async (name: string): Promise<void> => {
    await measured(name, rows, async () => {
      rig = await Rig.start(settings)
    })
    // The first update after a start finds its row by the runs.
    versions[1]++
    await rig.source.transaction([{ table, op: 'update', ids: [1], version: (id) => versions[id] }])
    await rig.flush()
  }
  await again('start with key runs')
  await rig.close()
  await rm(join(folder, 'local'), { recursive: true, force: true })
  await again('start without key runs')
  const expected = versions.reduce((sum, version) => sum + version, 0)
  const [found] = await rig.query('SELECT count(*), sum(version) FROM load.many')
  if (Number(found[0]) !== rows || Number(found[1]) !== expected)
    throw new Error(`found ${String(found)}, not ${rows}, ${expected}`)
  await rig.close()
  const about = {
    ...measuredAt,
    rows,
    updates,
    memory: `${memoryMb} MB`,
    'load average at the end (of other work, too)': loadavg()[2].toFixed(1),
  }
  publish({ question: 'scale', surroundings: about, figures }, true)
} finally {
  watch.stop()
  await rm(folder, { recursive: true, force: true })
}

async function measured(name: string, count: number, work: () => Promise<void>): Promise<void> {
  watch.phase(name)
  const [cpu, started] = [process.cpuUsage(), performance.now()]
  await work()
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const { all, anonymous } = watch.peak(name)
  const isStart = name.startsWith('start')
  figures.push(
    {
      name,
      value: isStart ? seconds : count / seconds / 1e6,
      unit: isStart ? 's' : 'M rows/s',
      remark: `${seconds.toFixed(1)} s`,
    },
    { name: `${name}, CPU`, value: (user + system) / count, unit: 'µs a row' },
    {
      name: `${name}, memory of the process`,
      value: all / 1e6,
      unit: 'MB',
      remark: `anonymous ${(anonymous / 1e6).toFixed(0)} MB`,
    },
  )
}
