import assert from 'node:assert/strict'
import { mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadTable } from '../support/load/load-source.ts'
import { Rig } from '../support/load/rig.ts'

void test(
  'a key run that was damaged on disk ends its source when it is needed; the next start builds it anew',
  { timeout: 300_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-damaged-run-'))
    const table = loadTable('many')
    const update = { table, op: 'update', ids: Int32Array.of(5000), version: () => 1 } as const
    const settings = { folder, memory: 16e6, textBytes: 8, automatic: false }
    let rig: Rig | null = null
    try {
      rig = await Rig.start(settings)
      await rig.source.copy({ tables: [table], rows: 2000, idAt: (place) => 1000 * place })
      await rig.flush()
      await rig.close()
      const runs = join(folder, 'local', 'runs')
      const [run] = (await readdir(runs, { recursive: true })).filter((name) => name.endsWith('.run'))
      const file = await open(join(runs, run), 'r+')
      // A row position of the first block; keys so far apart are kept on disk.
      await file.write(Uint8Array.of(255), 0, 1, 5 * 12 + 8)
      await file.close()
      rig = await Rig.start(settings)
      const damaged = rig
      // Nobody takes its events to the end.
      void damaged.source.transaction([update])
      await assert.rejects(damaged.pipeline.wait('2', 60_000), { kind: 'unavailable' })
      await assert.rejects(damaged.close(), { kind: 'unavailable', code: 'key-run' })
      rig = await Rig.start(settings)
      await rig.source.transaction([update])
      await rig.flush()
      assert.deepEqual(await rig.query('SELECT id, version FROM load.many ORDER BY version DESC, id LIMIT 2'), [
        [5000, 1],
        [0, 0],
      ])
      assert.deepEqual(await rig.query('SELECT count(*) FROM load.many'), [[2000]])
    } finally {
      await rig?.close().catch(() => undefined)
      await rm(folder, { recursive: true, force: true })
    }
  },
)
