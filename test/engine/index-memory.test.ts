import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import { bloomBitsPerKey } from '../../src/table/bloom.ts'
import { denseBlockWords } from '../../src/table/dense-keys.ts'
import { loadTable } from '../support/load/load-source.ts'
import { Rig } from '../support/load/rig.ts'

const rows = 300_000
/** Copied rows have ascending numbers: 256 of them are one block. */
const denseBytes = (rows / 256) * denseBlockWords * 4

void test(
  'what keyed rows in files take of `memory` is their dense keys and the filters of the others: through updates, rewrites and restarts',
  { timeout: 300_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-index-memory-'))
    const table = loadTable('many')
    const settings = { folder, memory: 16e6, textBytes: 8, automatic: false }
    const random = seededRandom(1)
    let rig = await Rig.start(settings)
    /** @param others keys of rows that lie as they were changed, at random */
    const check = async (when: string, others: number): Promise<void> => {
      await rig.flush()
      // The source lets go of its last segment.
      await rig.source.transaction([])
      const { memoryUsed: used } = await rig.pipeline.status()
      const { rows: inFiles, dataFiles } = await rig.figures(table)
      const least = denseBytes + (others * bloomBitsPerKey) / 8
      assert.ok(
        used >= least && used <= least + 256 * dataFiles,
        `${when}: ${used} bytes for ${inFiles} rows in ${dataFiles} files, not ${least}`,
      )
    }
    try {
      await rig.source.copy({ tables: [table], rows })
      await check('copied', 0)
      const changed = new Set<number>()
      for (let round = 0; round < 4; round++) {
        const ids = new Set<number>()
        while (ids.size < 10_000) ids.add(random.below(rows))
        for (const id of ids) changed.add(id)
        await rig.source.transaction([{ table, op: 'update', ids: Int32Array.from(ids), version: () => round }])
        await check('updated', (round + 1) * 10_000)
      }
      await rig.pipeline.optimize(table.namespace, table.name)
      await check('rewritten', changed.size)
      await rig.close()
      rig = await Rig.start(settings)
      await check('started again', changed.size)
      await rig.close()
      await rm(join(folder, 'local'), { recursive: true })
      rig = await Rig.start(settings)
      await check('built anew', changed.size)
    } finally {
      await rig.close()
      await rm(folder, { recursive: true, force: true })
    }
  },
)
