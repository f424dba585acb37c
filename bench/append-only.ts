import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SlabPool, systemClock } from '../src/base/index.ts'
import type { SourceTable } from '../src/data/index.ts'
import { loadTable, numbers } from '../test/support/load/load-source.ts'
import { Rig } from '../test/support/load/rig.ts'
import { RowWriter } from '../test/support/load/row-writer.ts'
import { publish, surroundings } from './support/report.ts'
import type { Figure } from './support/report.ts'

// What does a key cost? The same rows are inserted into a table with a key and into one without, by turns, and the processor time of
// the whole process is counted: wall time says little on a machine that does other things. The rows come as segments from a source that
// makes them up; what that takes is measured as well, with rows that nobody takes.

const { values: options } = parseArgs({
  options: { rows: { type: 'string', default: '2000000' }, rounds: { type: 'string', default: '5' } },
})
const rows = Number(options.rows)
const rounds = Number(options.rounds)
/** Of a transaction, and of one commit to the lake. */
const batch = 10_000
const perCommit = 200_000

async function cpuOf(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / rows
}

/** As it is at the start: the sources may be changed while this runs. */
const measuredAt = surroundings()
const folder = await mkdtemp(join(tmpdir(), 'frazil-append-'))
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]
try {
  const cost = { keyed: [] as number[], plain: [] as number[], source: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    for (const kind of ['keyed', 'plain'] as const) {
      const rig = await Rig.start({ folder: join(folder, `${kind}-${round}`), automatic: false })
      const table = loadTable(kind, { keyed: kind === 'keyed' })
      await rig.source.copy({ tables: [table], rows: 1 })
      // The first rows warm the code up.
      await insert(rig, table, 1, perCommit)
      cost[kind].push(await cpuOf(() => insert(rig, table, perCommit, perCommit + rows)))
      await rig.close()
      await rm(folder, { recursive: true, force: true })
    }
    cost.source.push(await cpuOf(async () => makeUp()))
  }
  const [keyed, plain, source] = [median(cost.keyed), median(cost.plain), median(cost.source)]
  const figures: Figure[] = [
    { name: 'with a key', value: keyed, unit: 'µs of CPU a row', remark: cost.keyed.map((value) => value.toFixed(2)).join(' ') },
    { name: 'append-only', value: plain, unit: 'µs of CPU a row', remark: cost.plain.map((value) => value.toFixed(2)).join(' ') },
    { name: 'the source alone', value: source, unit: 'µs of CPU a row', remark: 'making the rows up, contained in both' },
    { name: 'append-only is less', value: 100 * (1 - plain / keyed), unit: '%', mark: { at: 'least', value: 30 } },
    { name: 'the same, without the source', value: 100 * (1 - (plain - source) / (keyed - source)), unit: '%' },
  ]
  publish({ question: 'append-only', surroundings: { ...measuredAt, rows, rounds }, figures }, options.rows === '2000000')
} finally {
  await rm(folder, { recursive: true, force: true })
}

/** As many rows, written into segments and forgotten. */
function makeUp(): void {
  const { fields } = loadTable('nobody')
  const parts = {
    pool: new SlabPool({ budget: 64e6 }),
    clock: systemClock,
    nextSegmentId: () => 1,
    currentCommit: () => 0,
    deletable: () => true,
    onSchemaChange: () => null,
  }
  const writer = new RowWriter(fields, 55, true, parts)
  for (let at = 0; at < rows;) {
    const ids = numbers(at, at + batch)
    for (let done = 0; done < ids.length;) {
      const written = writer.write(ids, () => 0, done, ids.length)
      if (written) done += written.to - written.from
      writer.taken()
    }
    at += batch
  }
  writer.close()
}

async function insert(rig: Rig, table: SourceTable, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at += batch) {
    const ids = numbers(at, Math.min(to, at + batch))
    await rig.source.transaction([{ table, op: 'insert', ids, version: () => 0 }])
    if (at % perCommit === 0) await rig.flush()
  }
  await rig.flush()
}
