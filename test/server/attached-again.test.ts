import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../../src/base/index.ts'
import { requestResync, resolveConfig } from '../../src/engine/index.ts'
import type { Engine, PushAnswer, PushRequest } from '../../src/engine/index.ts'
import { SqliteCatalog } from '../../src/iceberg/catalog/index.ts'
import { EventBus } from '../../src/observe/index.ts'
import { openStore } from '../../src/storage/index.ts'
import { openEngine } from '../support/engine.ts'
import { checkLake } from '../support/check-lake.ts'
import { ForeignEngine } from '../support/foreign-engine.ts'

test('a table for rows that was detached takes them again when it is asked for', { timeout: 300_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-attached-'))
  const lake = join(folder, 'lake')
  const left = join(lake, '.frazil', 'spool', 'http', 'detached')
  const config = resolveConfig({ warehouse: '.', commit: { every: '1h' } }, { folder: lake, env: {} })
  const notices: string[] = []
  const start = async (): Promise<Engine> => {
    const events = new EventBus()
    events.on((event) => {
      if (event.type === 'notice') notices.push(event.message)
    })
    return openEngine(config, { events, takeOver: true })
  }
  let engine = await start()
  let catalog!: SqliteCatalog
  let other!: ForeignEngine
  const random = seededRandom(3)
  const arrive = async (): Promise<void> => {
    catalog = await SqliteCatalog.open(join(lake, 'catalog.db'))
    other = new ForeignEngine({ store: openStore(lake), catalog, random })
  }
  await arrive()

  const push = (rows: object[], options: Partial<PushRequest> = {}): Promise<PushAnswer> => {
    const body = Buffer.from(JSON.stringify(rows))
    const request = { table: { ingest: 'ill' }, operation: 'insert', form: 'array', body, partial: false, key: null } as const
    return engine.push({ ...request, ...options }, 'stored')
  }
  const health = async (): Promise<string | undefined> =>
    (await engine.status()).tables.find(({ table }) => table === 'sick')?.health
  const ids = async (): Promise<string> =>
    Buffer.from((await engine.execute('SELECT id FROM app.sick ORDER BY id', { wait: 'now' })).body).toString()
  const detach = async (harm: () => Promise<void>): Promise<void> => {
    await harm()
    await engine.flush()
    while ((await health()) !== 'detached') await new Promise((resolve) => setTimeout(resolve, 20))
  }
  try {
    const fields = [{ id: 0, name: 'id', type: { kind: 'long' }, required: true }] as const
    await engine.createTable({ namespace: 'app', name: 'sick', ingest: 'ill', fields, key: [0], evolves: false })
    await assert.rejects(engine.resync('app', 'sick'), { code: 'nothing-to-copy' })
    const producer = { id: 'loader', sequence: 1 }
    await push([{ id: 1 }], { producer })
    await push([{ id: 2 }], { key: 'second' })
    await engine.flush()
    await push([{ id: 3 }], { key: 'third' })
    await detach(() => other.addColumn('app', 'sick', { name: 'more', type: { kind: 'string' }, required: false }))
    await assert.rejects(push([{ id: 9 }]), {
      code: 'table-detached',
      message: 'the table app.sick was detached, and takes no rows',
    })
    await assert.rejects(push([{ id: 9 }], { table: { namespace: 'app', name: 'sick' } }), { code: 'table-detached' })

    // It stays so, under its name.
    await engine.close()
    await assert.rejects(requestResync(config, 'app.sick'), { code: 'no-daemon' })
    engine = await start()
    await assert.rejects(push([{ id: 9 }]), { code: 'table-detached' })
    assert.equal(await engine.resync('app', 'sick'), 'streaming')
    assert.equal(await health(), 'streaming')
    assert.equal(await ids(), '[[1],[2]]')
    assert(notices.some((notice) => /app\.sick takes rows again; some that were accepted before are in .*detached/.test(notice)))

    // What was answered before is known, in whatever way it was stored.
    assert.equal((await push([{ id: 1 }], { producer })).replayed, true)
    for (const [key, id] of [
      ['second', 2],
      ['third', 3],
    ] as const)
      assert.equal((await push([{ id }], { key })).replayed, true)
    await push([{ id: 4, more: 'text' }], { producer: { ...producer, sequence: 2 } })
    await push([{ id: 1, more: 'changed' }])
    await push([{ id: 2 }], { operation: 'delete' })

    // The process dies before a commit has them.
    const copy = join(folder, 'copy')
    await cp(lake, copy, { recursive: true })
    await engine.close()
    await catalog.close()
    await rm(lake, { recursive: true })
    await rename(copy, lake)
    engine = await start()
    await arrive()
    assert.equal(await ids(), '[[1],[4]]')
    await engine.flush()
    const [table] = await readdir(left)
    const files = await readdir(join(left, table))
    assert.deepEqual(
      files.map((file) => file.replaceAll(/0{5,}/g, '')),
      ['3-3.insert.ndjson'],
    )
    const body = await readFile(join(left, table, files[0]))
    await push([], { form: 'lines', body })
    assert.equal(await ids(), '[[1],[3],[4]]')
    const { body: more } = await engine.execute('SELECT more FROM app.sick ORDER BY id')
    assert.equal(Buffer.from(more).toString(), '[["changed"],[null],["text"]]')

    // What is wrong with it is still wrong.
    await engine.flush()
    await detach(() => other.rollBack('app', 'sick'))
    await assert.rejects(engine.resync('app', 'sick'), { code: 'table-detached', message: /rolled back by another program/ })
    assert.equal(await health(), 'detached')
    await assert.rejects(push([{ id: 9 }]), { code: 'table-detached' })
  } finally {
    await catalog.close()
    await engine.close()
    await checkLake(lake)
    await rm(folder, { recursive: true })
  }
})
