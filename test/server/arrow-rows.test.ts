import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { cp, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { resolveConfig } from '../../src/engine/index.ts'
import type { Engine } from '../../src/engine/index.ts'
import { createLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openEngine } from '../support/engine.ts'

const log = createLog({ level: 'error', format: 'json', write: () => undefined })

const streams = new Map(
  readFileSync(join(import.meta.dirname, '../format/arrow-streams.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; stream: string })
    .map(({ name, stream }) => [name, Buffer.from(stream, 'base64')]),
)

const made = [
  'int32',
  'float16',
  'decimal38',
  'fixed',
  'time ns',
  'timestamp us UTC',
  'struct',
  'map',
  'list of structs of lists',
  'dictionary int8',
  'compressed lz4',
  'no rows',
]

test('Arrow streams make tables, fill them, change them, and outlive a crash in the spool', { timeout: 300_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-arrow-'))
  const lake = join(folder, 'lake')
  let engine: Engine
  let server: HttpServer
  const start = async (): Promise<void> => {
    engine = await openEngine(resolveConfig({ commit: { every: '1h' } }, { folder: lake, env: {} }), { takeOver: true })
    server = await startHttpServer({ listen: { host: '127.0.0.1', port: 0 }, info: { version: '0', warehouse: lake }, log })
    server.attach(engine)
  }
  const stop = async (): Promise<void> => {
    await server.close()
    await engine.close()
  }
  const send = async (path: string, body: string | Buffer): Promise<{ status: number; body: Record<string, unknown> }> => {
    const type = typeof body === 'string' ? 'application/json' : 'application/vnd.apache.arrow.stream'
    const response = await fetch(`${server.url}${path}`, {
      method: 'POST',
      body: typeof body === 'string' ? body : new Uint8Array(body),
      headers: { 'content-type': type },
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const arrow = (path: string, name: string): ReturnType<typeof send> => {
    const stream = streams.get(name)
    assert(stream, name)
    return send(path, stream)
  }
  const rows = async (sql: string): Promise<unknown> => {
    const { body, status } = await send('/query', JSON.stringify({ sql, wait: 'now' }))
    assert.equal(status, 200, JSON.stringify(body))
    return body['rows']
  }

  await start()
  try {
    for (const name of made) {
      const ingest = name.replaceAll(/\W/g, '_')
      const answer = await arrow(`/ingest/${ingest}?create=true&database=a`, name)
      assert.deepEqual([answer.status, answer.body['code']], [200, undefined], `${name}: ${JSON.stringify(answer.body)}`)
    }
    assert.deepEqual(await rows('select v from a.struct'), [
      [{ a: 1, b: { c: 'x' } }],
      [null],
      [{ a: null, b: null }],
      [{ a: 2, b: { c: null } }],
    ])
    assert.deepEqual(await rows('select count(*), sum(v) from a.compressed_lz4'), [[5002, 12_497_501]])

    // A table with a key, rows that do not fit, deletes by key.
    const schema = [
      { name: 'v', data_type: 'int32', nullable: false },
      { name: 'note', data_type: 'string' },
    ]
    const make = (config: unknown): unknown => ({ database: 'k', table: 'keyed', schema, table_config: config })
    assert.equal((await send('/tables/keyed', JSON.stringify(make({ key: ['v'] })))).status, 200)
    const refused = await arrow('/ingest/keyed', 'int64')
    assert.deepEqual([refused.status, refused.body['code'], refused.body['refused']], [422, 'rows-refused', 3])
    assert.deepEqual(
      (refused.body['rows'] as { row: number; code: string }[]).map(({ row, code }) => [row, code]),
      [
        [1, 'missing-value'],
        [2, 'out-of-range'],
        [5, 'out-of-range'],
      ],
    )
    assert.equal((await arrow('/ingest/keyed', 'utf8')).body['code'], 'wrong-columns')
    const partial = await arrow('/ingest/keyed?partial=true', 'int64')
    assert.deepEqual([partial.status, partial.body['rows'], partial.body['refused']], [200, 2, 3])
    assert.equal((await send('/ingest/keyed', '{"operation":"insert","data":{"v":7,"note":"json"}}')).status, 200)
    assert.deepEqual(await rows('select v, note from k.keyed order by v'), [
      [-1, null],
      [0, null],
      [7, 'json'],
    ])
    const deleted = await arrow('/ingest/keyed?operation=delete&partial=true', 'int8')
    assert.deepEqual([deleted.status, deleted.body['rows']], [200, 4])
    assert.deepEqual(await rows('select v, note from k.keyed'), [[7, 'json']])

    // Evolving: a wider type.
    assert.equal((await arrow('/ingest/int32', 'uint32')).status, 200)
    assert.deepEqual(await rows('select count(*), max(v) from a.int32'), [[9, 4_294_967_295]])

    const before = await rows(
      'select (select count(*) from a.int32), (select count(*) from k.keyed), (select max(v) from a.int32)',
    )
    const copy = join(folder, 'copy')
    await cp(lake, copy, { recursive: true })
    await stop()
    await rm(lake, { recursive: true })
    await rename(copy, lake)
    await start()
    assert.deepEqual(
      await rows('select (select count(*) from a.int32), (select count(*) from k.keyed), (select max(v) from a.int32)'),
      before,
    )
    assert.deepEqual(await rows('select v, note from k.keyed'), [[7, 'json']])
  } finally {
    await stop()
    await rm(folder, { recursive: true })
  }
})
