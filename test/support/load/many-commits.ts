import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededRandom } from '../../../src/base/index.ts'
import { ManualClock } from '../manual-clock.ts'
import { loadTable } from './load-source.ts'
import { Rig } from './rig.ts'

export const mostFiles = 60
export const mostMetadataBytes = 2e6

export interface ManyCommits {
  readonly rows: number
  readonly updatesPerCommit: number
  readonly commits: number
  /** Commits between two looks at the lake. */
  readonly lookEvery: number
}

/** One look at the lake. */
export interface Look {
  readonly commits: number
  readonly files: number
  readonly metadataBytes: number
  readonly manifests: number
  /** Bytes of data files for each byte of live rows. */
  readonly space: number
  /** Bytes of data files written so far for each one flushed. */
  readonly amplification: number
  /** Of one commit, on average since the last look; and its CPU, of all threads. */
  readonly ms: number
  readonly cpuMs: number
  readonly objectsPerCommit: number
  readonly storedBytes: number
}

/**
 * A table under random updates with a commit a second, by a clock of its own that passes a second after each commit; compaction gets as
 * far within that second as it wants to. Checks at each look what readers have to open, and at the end that no row is lost.
 */
export async function manyCommits(options: ManyCommits, tell: (look: Look) => void = () => undefined): Promise<void> {
  const { rows, updatesPerCommit, commits, lookEvery } = options
  const folder = mkdtempSync(join(tmpdir(), 'frazil-commits-'))
  const clock = new ManualClock()
  const random = seededRandom(7)
  const versions = new Int32Array(rows)
  const table = loadTable('updated')
  try {
    const rig = await Rig.start({ folder, clock, memory: 64e6 })
    try {
      await rig.source.copy({ tables: [table], rows })
      await rig.flush()
      let before = { time: performance.now(), cpu: process.cpuUsage(), objects: rig.written.objects }
      const flushedAtStart = rig.written.flushed
      for (let commit = 1; commit <= commits; commit++) {
        const changed = new Set<number>()
        while (changed.size < updatesPerCommit) changed.add(random.below(rows))
        const ids = Int32Array.from(changed)
        for (const id of ids) versions[id]++
        await rig.source.transaction([{ table, op: 'update', ids, version: (id) => versions[id] }])
        await rig.flush()
        await clock.advance(1000)
        await rig.settled()
        if (commit % lookEvery !== 0 && commit !== commits) continue
        const figures = await rig.figures(table)
        const spent = process.cpuUsage(before.cpu)
        const since = ((commit - 1) % lookEvery) + 1
        const flushed = rig.written.flushed - flushedAtStart
        tell({
          commits: commit,
          files: figures.dataFiles,
          metadataBytes: figures.metadataBytes,
          manifests: figures.manifests,
          space: figures.rows / (figures.rows - figures.deletedRows),
          amplification: (flushed + rig.written.rewritten) / flushed,
          ms: (performance.now() - before.time) / since,
          cpuMs: (spent.user + spent.system) / 1000 / since,
          objectsPerCommit: (rig.written.objects - before.objects) / since,
          storedBytes: (await rig.stored()).bytes,
        })
        assert.equal(figures.rows - figures.deletedRows, rows, `rows after ${commit} commits`)
        assert.ok(figures.dataFiles < mostFiles, `${figures.dataFiles} data files after ${commit} commits`)
        assert.ok(figures.metadataBytes < mostMetadataBytes, `${figures.metadataBytes} bytes of metadata after ${commit} commits`)
        before = { time: performance.now(), cpu: process.cpuUsage(), objects: rig.written.objects }
      }
      const expected = versions.reduce((sum, version) => sum + version, 0)
      const answer = await rig.query('SELECT count(*), count(DISTINCT id), sum(version) FROM load.updated')
      assert.deepEqual(answer, [[rows, rows, expected]])
    } finally {
      await rig.close()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
