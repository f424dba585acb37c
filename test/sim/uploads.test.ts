import assert from 'node:assert/strict'
import { join } from 'node:path'
import { it } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { seededRandom } from '../../src/base/index.ts'
import { HttpSource } from '../../src/source/http/index.ts'
import { Gate } from './faults.ts'
import { newHistory } from './random-history.ts'
import { World } from './world.ts'

it('a file that is sent again because the lake did not answer is in its table once', async () => {
  const random = seededRandom(1)
  using world = new World(newHistory(random, 0), random)
  const path = join(world.folder, 'some.parquet')
  const duckdb = await DuckDBInstance.create(':memory:')
  const duck = await duckdb.connect()
  await duck.run(`COPY (SELECT range::BIGINT AS id FROM range(100)) TO '${path}' (FORMAT parquet)`)
  duck.closeSync()
  duckdb.closeSync()

  const process = await world.start(new Gate(), {
    commitEveryMs: 3_600_000,
    uploads: [world.folder],
    openSource: (parts) => new HttpSource({ name: 'sim', spool: join(world.folder, 'spool') }, parts),
  })
  const { desk } = process.pipeline
  const fields = [{ id: 0, name: 'id', type: { kind: 'long' }, required: false }] as const
  const table = { namespace: 'app', name: 't' }
  await desk.create({ ...table, ingest: 't', fields, key: [], evolves: false })
  const send = (key: string): Promise<{ rows: number; replayed: boolean }> =>
    desk.upload({ ...table, operation: 'insert', files: [path], key })

  for (const [first, other] of [
    ['a', 'b'],
    ['c', 'd'],
  ]) {
    process.gate.arm('unavailable', /^put/)
    await assert.rejects(send(first), { kind: 'unavailable' })
    // Another one in between is no reason to forget it.
    if (first === 'c') assert.equal((await send(other)).replayed, false)
    const { rows, replayed } = await send(first)
    assert.deepEqual([rows, replayed], [100, true])
  }
  const view = await process.pipeline.views([table])
  const rows = view.tables[0].files.reduce((sum, { rows: count }) => sum + count, 0)
  process.pipeline.release(view.id)
  assert.equal(rows, 300)
  for (const key of ['a', 'd', 'c']) assert.equal((await send(key)).replayed, true)
  await process.close()
  assert.equal(process.failure, null)
})
