import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import { SqliteCatalog } from '../../src/iceberg/catalog/index.ts'
import { openStore } from '../../src/storage/index.ts'
import { Daemon } from '../support/daemon.ts'
import { ForeignEngine } from '../support/foreign-engine.ts'
import { frazil } from './frazil.ts'

test('resync of a source goes through all of its tables, and says of each what it did', { timeout: 240_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-resync-'))
  const daemon = await Daemon.spawn({ folder, config: { warehouse: './lake', commit: { every: '1h' } } })
  let catalog: SqliteCatalog | null = null
  try {
    await daemon.ready()
    const post = async (path: string, body: object): Promise<void> => {
      const { status, text } = await daemon.post(path, body)
      assert.equal(status, 200, text)
    }
    for (const table of ['first', 'grown', 'last', 'rolled']) {
      const schema = [{ name: 'id', data_type: 'int64', nullable: false }]
      await post(`/tables/${table}`, { database: 'app', table, schema, table_config: {} })
      for (const id of [1, 2]) {
        await post(`/ingest/${table}`, { operation: 'insert', request_mode: 'sync', data: { id } })
      }
    }
    const lake = join(folder, 'lake')
    catalog = await SqliteCatalog.open(join(lake, 'catalog.db'))
    const other = new ForeignEngine({ store: openStore(lake), catalog, random: seededRandom(1) })
    await other.addColumn('app', 'grown', { name: 'more', type: { kind: 'string' }, required: false })
    await other.rollBack('app', 'rolled')
    await daemon.until('both are detached', async () => {
      await daemon.commit('app', 'first')
      return (await daemon.get('/tables')).text.split('"detached"').length === 3
    })

    const config = (await readdir(folder)).find((name) => name.endsWith('.yaml')) ?? assert.fail('no configuration')
    const resync = async (target: string): Promise<{ code: number | null; out: string[]; err: string }> => {
      const { code, out, err } = await frazil(['resync', target, '-c', config], { cwd: folder })
      return { code, out: out.trim().split('\n').sort(), err }
    }
    const nothing = (table: string): string => `app.${table} is not detached: there is nothing to do`
    const { code, out, err } = await resync('http')
    assert.deepEqual(out, [nothing('first'), 'app.grown takes rows again', nothing('last')])
    assert.match(err, /^frazil: the table app\.rolled cannot go on: .* rolled back by another program\n.*\n$/)
    assert.equal(code, 1)

    const gone = await fetch(`${daemon.url}/tables/rolled`, {
      method: 'DELETE',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ database: 'app', table: 'rolled' }),
    })
    assert.equal(gone.status, 200, await gone.text())
    assert.deepEqual(await resync('http'), { code: 0, out: ['first', 'grown', 'last'].map(nothing), err: '' })
    const wrong = await resync('htp')
    assert.deepEqual([wrong.code, wrong.out], [1, ['']])
    assert.equal(wrong.err, 'frazil: there is no table htp, and no source of that name that has tables\n  did you mean http?\n')
    // Who names one is told that it was not needed.
    assert.equal((await resync('app.first')).code, 1)
    await daemon.terminate()
    const offline = await resync('http')
    assert.deepEqual([offline.code, /programs send the rows of http/.test(offline.err)], [4, true], offline.err)
  } finally {
    await catalog?.close()
    await daemon.kill()
    await rm(folder, { recursive: true })
  }
})
