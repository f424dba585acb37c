import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { resolveConfig } from '../../src/engine/index.ts'
import type { Engine, PushRequest } from '../../src/engine/index.ts'
import { EventBus } from '../../src/observe/index.ts'
import { checkHead, decodeRecord, encodeRecord, fileHead, headBytes } from '../../src/source/push/record.ts'
import { openEngine } from '../support/engine.ts'

/** Changes the body of request `sequence` in a spool, as no disk does it. */
async function change(spool: string, sequence: number, body: string): Promise<void> {
  for (const name of await readdir(spool)) {
    if (!name.endsWith('.spool')) continue
    const path = join(spool, name)
    const bytes = await readFile(path)
    assert(checkHead(bytes, path))
    const records: Buffer[] = [fileHead()]
    for (let found = decodeRecord(bytes, headBytes); found; found = decodeRecord(bytes, found.next)) {
      const { record } = found
      records.push(...encodeRecord(record.sequence === sequence ? { ...record, body: Buffer.from(body) } : record))
    }
    await writeFile(path, Buffer.concat(records))
  }
}

test(
  'rows that were accepted for a table that is detached before the lake has them are kept as files',
  { timeout: 300_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-detached-'))
    const lake = join(folder, 'lake')
    const spool = join(lake, '.frazil', 'spool', 'http')
    const errors: string[] = []
    const start = async (): Promise<Engine> => {
      const events = new EventBus()
      events.on((event) => {
        if (event.type === 'error') errors.push(`${event.table ?? ''} ${event.code}`)
      })
      return openEngine(resolveConfig({ commit: { every: '1h' } }, { folder: lake, env: {} }), { events, takeOver: true })
    }
    const push = async (engine: Engine, ingest: string, operation: PushRequest['operation'], text: string): Promise<void> => {
      const body = Buffer.from(text)
      const answer = await engine.push({ table: { ingest }, operation, form: 'array', body, partial: false, key: null }, 'stored')
      assert.notEqual(answer.position, null)
    }
    const count = async (engine: Engine, table: string): Promise<string> =>
      Buffer.from((await engine.execute(`select count(*), sum(id) from ${table}`, { wait: 'now' })).body).toString()
    const left = async (): Promise<Record<string, string>> => {
      const [name] = await readdir(join(spool, 'detached'))
      assert.match(name, /^app\.sick-[0-9a-f-]{36}$/)
      const files = await readdir(join(spool, 'detached', name))
      const texts = await Promise.all(files.map((file) => readFile(join(spool, 'detached', name, file), 'utf8')))
      return Object.fromEntries(files.map((file, i) => [file.replaceAll(/0{5,}/g, ''), texts[i]]))
    }

    let engine = await start()
    try {
      for (const name of ['sick', 'well']) {
        const fields = [{ id: 0, name: 'id', type: { kind: 'long' }, required: true }] as const
        await engine.createTable({ namespace: 'app', name, ingest: name, fields, key: [0], evolves: false })
        await push(engine, name, 'insert', '[{"id":1}]')
      }
      await engine.flush()
      await push(engine, 'sick', 'insert', '[{"id":2},\n {"id":\n3}]')
      await push(engine, 'well', 'insert', '[{"id":5}]')
      await push(engine, 'sick', 'upsert', '[{"id":4}]')
      await push(engine, 'sick', 'delete', '[{"id":2}]')
      await push(engine, 'sick', 'delete', '[{"id":3}]')
      const copy = join(folder, 'copy')
      await cp(lake, copy, { recursive: true })
      await engine.close()
      await rm(lake, { recursive: true })
      await rename(copy, lake)
      await change(spool, 5, '{"id":"four"}')

      engine = await start()
      assert.equal(await count(engine, 'app.well'), '[[2,6]]')
      await engine.flush()
      assert.deepEqual(errors, ['app.sick spool-row'])
      assert.equal(await count(engine, 'app.sick'), '[[1,1]]')
      const expected = {
        '3-3.insert.ndjson': '{"id":2}\n{"id": 3}\n',
        '5-5.upsert.ndjson': '{"id":"four"}\n',
        '6-7.delete.ndjson': '{"id":2}\n{"id":3}\n',
      }
      assert.deepEqual(await left(), expected)
      await assert.rejects(push(engine, 'sick', 'insert', '[{"id":9}]'), { code: 'table-detached' })
      await push(engine, 'well', 'insert', '[{"id":6}]')
      await engine.close()

      // Nothing comes twice, whatever was left in the spool.
      engine = await start()
      await push(engine, 'well', 'insert', '[{"id":7}]')
      await engine.flush()
      assert.deepEqual(await left(), expected)
      assert.equal(await count(engine, 'app.well'), '[[4,19]]')
    } finally {
      await engine.close()
      await rm(folder, { recursive: true })
    }
  },
)
