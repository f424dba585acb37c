import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
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

/** Written by fastavro. */
const files = new Map(
  readFileSync(join(import.meta.dirname, '../format/avro-files.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; file: string })
    .map(({ name, file }) => [name, Buffer.from(file, 'base64')]),
)

test('Avro files fill tables, make them and change them, row by row, and outlive a crash', { timeout: 240_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-avro-'))
  let engine: Engine
  let server: HttpServer
  const start = async (): Promise<void> => {
    engine = await openEngine(resolveConfig({ commit: { every: '1h' } }, { folder, env: {} }), { takeOver: true })
    server = await startHttpServer({ listen: { host: '127.0.0.1', port: 0 }, info: { version: '0', warehouse: folder }, log })
    server.attach(engine)
  }
  const stop = async (): Promise<void> => {
    await server.close()
    await engine.close()
  }
  const send = async (path: string, body: string | Buffer, type = 'avro/binary') => {
    const response = await fetch(`${server.url}${path}`, {
      method: 'POST',
      body: typeof body === 'string' ? body : new Uint8Array(body),
      headers: { 'content-type': typeof body === 'string' ? 'application/json' : type },
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const avro = (path: string, name: string, type?: string): ReturnType<typeof send> => {
    const file = files.get(name)
    assert(file, name)
    return send(path, file, type)
  }
  const rows = async (sql: string): Promise<unknown> => {
    const { body, status } = await send('/query', JSON.stringify({ sql, wait: 'now' }))
    assert.equal(status, 200, JSON.stringify(body))
    return body['rows']
  }
  const makeTable = async (table: string, more: Record<string, unknown>): Promise<void> => {
    const { status, body } = await send(`/tables/${table}`, JSON.stringify({ database: 'a', table, ...more }))
    assert.equal(status, 200, JSON.stringify(body))
  }

  await start()
  try {
    // A table of an Avro schema, whose rows come by another one: fields are found by their names.
    const fields = [
      { name: 'text', type: 'string' },
      { name: 'extra', type: ['null', 'double'] },
      { name: 'id', type: 'int' },
    ]
    await makeTable('declared', { avro_schema: { type: 'record', name: 'T', fields }, table_config: { key: ['id'] } })
    for (const [i, type] of ['avro/binary', 'application/avro', 'application/vnd.apache.avro+binary'].entries()) {
      const answer = await avro('/ingest/declared?operation=upsert', 'blocks deflate', type)
      assert.deepEqual([answer.status, answer.body['rows']], [200, 100], `${i} ${JSON.stringify(answer.body)}`)
    }
    const expected = [[100, 4950, 450, 0]]
    const counted = 'select count(*), sum(id), sum(length(text)), count(extra) from a.declared'
    assert.deepEqual(await rows(counted), expected)

    // Rows that do not fit, by their numbers.
    const schema = [
      { name: 'int', data_type: 'int32', nullable: false },
      { name: 'long', data_type: 'int32' },
    ]
    const others = ['boolean', 'float', 'double', 'string', 'bytes'].map((name) => ({
      name,
      data_type: { boolean: 'boolean', float: 'float32', double: 'float64', string: 'string', bytes: 'binary' }[name],
    }))
    await makeTable('narrow', { schema: [...schema, ...others] })
    const refused = await avro('/ingest/narrow', 'plain types')
    assert.deepEqual([refused.status, refused.body['code'], refused.body['refused']], [422, 'rows-refused', 3])
    assert.deepEqual(
      (refused.body['rows'] as { row: number; code: string; column: string }[]).map(({ row, column }) => [row, column]),
      [
        [1, 'long'],
        [2, 'long'],
        [3, 'int'],
      ],
    )
    const unknown = await avro('/ingest/narrow?partial=true', 'blocks null')
    assert.deepEqual([unknown.status, unknown.body['refused']], [422, 100])
    assert.deepEqual(await rows('select count(*) from a.narrow'), [[0]])

    // Tables that rows make have the types of the schema, and evolve.
    for (const name of ['logical types', 'nested types', 'plain types', 'no rows']) {
      const answer = await avro(`/ingest/${name.replace(' ', '_')}?create=true&database=m`, name)
      assert.deepEqual([answer.status, answer.body['code']], [200, undefined], `${name}: ${JSON.stringify(answer.body)}`)
    }
    const described = (await rows('describe m.logical_types')) as string[][]
    assert.deepEqual(
      described.map(([name, type]) => `${name} ${type}`),
      [
        'date DATE',
        'time_ms TIME',
        'time TIME',
        'zoned_ms TIMESTAMP WITH TIME ZONE',
        'zoned TIMESTAMP WITH TIME ZONE',
        'local TIMESTAMP',
        'uuid UUID',
        'decimal DECIMAL(20,2)',
        'fixed DECIMAL(20,0)',
      ],
    )
    const nested = 'select point, more, map, color, again from m.nested_types order by point.x'
    const values = [
      [{ x: 1, tag: 'a' }, [{ x: 2, tag: null }, null], { k: 1.5 }, 'GREEN', 'RED'],
      [{ x: 3, tag: null }, [], {}, 'RED', null],
    ]
    assert.deepEqual(await rows(nested), values)
    await makeTable('grows', { schema: [{ name: 'id', data_type: 'int32' }], table_config: { on_schema_change: 'evolve' } })
    assert.equal((await avro('/ingest/grows', 'blocks zstandard')).body['rows'], 100)
    assert.deepEqual(await rows(`select typeof(id), typeof(text) from a.grows limit 1`), [['BIGINT', 'VARCHAR']])

    const wrong = await send('/ingest/declared', Buffer.from('{"id":1}'))
    assert.deepEqual([wrong.status, wrong.body['code']], [400, 'bad-avro'])

    // All of it is in the spool only.
    await stop()
    await start()
    assert.deepEqual(await rows(counted), expected)
    assert.deepEqual(await rows(nested), values)
    assert.deepEqual(await rows('select count(*), max(text) from a.grows'), [[100, 'xxxxxxxxx']])
  } finally {
    await stop()
    await rm(folder, { recursive: true, force: true })
  }
})
