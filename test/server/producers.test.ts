import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { resolveConfig } from '../../src/engine/index.ts'
import type { Engine } from '../../src/engine/index.ts'
import { FrazilClient } from '../../src/client/index.ts'
import { createLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openEngine } from '../support/engine.ts'

const log = createLog({ level: 'error', format: 'json', write: () => undefined })

interface Answer {
  readonly status: number
  readonly replayed: boolean
  readonly body: Record<string, unknown>
}

suite('rows of producers that number their requests', { timeout: 240_000 }, () => {
  let folder: string
  let engine: Engine
  let server: HttpServer

  async function start(): Promise<void> {
    engine = await openEngine(resolveConfig({ commit: { every: '1h' } }, { folder, env: {} }), {})
    server = await startHttpServer({ listen: { host: '127.0.0.1', port: 0 }, info: { version: '0', warehouse: folder }, log })
    server.attach(engine)
  }

  async function restart(between: () => Promise<void> = async () => undefined): Promise<void> {
    await server.close()
    await engine.close()
    await between()
    await start()
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-producers-'))
    await start()
  })
  after(async () => {
    await server.close()
    await engine.close()
    await rm(folder, { recursive: true })
  })

  async function send(path: string, body: string, headers: Record<string, string> = {}): Promise<Answer> {
    const type = { 'content-type': 'application/json', ...headers }
    const response = await fetch(`${server.url}${path}`, { method: 'POST', body, headers: type })
    const replayed = response.headers.get('idempotency-replayed') === 'true'
    return { status: response.status, replayed, body: (await response.json()) as Record<string, unknown> }
  }

  const numbered = (table: string, sequence: number, body: string, producer = 'one', parameters = ''): Promise<Answer> =>
    send(`/ingest/${table}${parameters}`, body, { 'producer-id': producer, 'producer-sequence': String(sequence) })

  async function makeTable(name: string): Promise<void> {
    const schema = [{ name: 'id', data_type: 'int64', nullable: false }]
    const { status } = await send(`/tables/${name}`, JSON.stringify({ database: 'app', table: name, schema, table_config: {} }))
    assert.equal(status, 200)
  }

  async function ids(table: string): Promise<unknown> {
    const { body } = await send('/query', JSON.stringify({ sql: `select id from app.${table} order by id`, wait: 'now' }))
    return (body['rows'] as number[][]).flat()
  }

  test('each number is stored once: repeated, out of turn, under way, refused', async () => {
    await makeTable('turns')
    const first = await numbered('turns', 7, '[{"id":1},{"id":2}]')
    assert.deepEqual([first.status, first.replayed, first.body['rows']], [200, false, 2])
    const again = await numbered('turns', 7, '[{"id":1},{"id":2}]')
    assert.deepEqual([again.status, again.replayed, again.body], [200, true, first.body])
    const others: [number, string, number, string][] = [
      [7, '[{"id":9}]', 422, 'producer-sequence-reused'],
      [9, '[{"id":9}]', 409, 'producer-sequence-gap'],
      [6, '[{"id":9}]', 409, 'producer-sequence-unknown'],
      [8, '[{"id":9},{"id":"x"}]', 422, 'rows-refused'],
    ]
    for (const [number, body, status, code] of others) {
      const answer = await numbered('turns', number, body)
      assert.deepEqual([answer.status, answer.body['code']], [status, code])
    }
    // One that was refused has not used its number up, one without rows has.
    assert.equal((await numbered('turns', 8, '[]')).status, 200)
    const partial = await numbered('turns', 9, '[{"id":3},{"id":"x"}]', 'one', '?partial=true')
    assert.deepEqual([partial.status, partial.body['rows'], partial.body['refused']], [200, 1, 1])
    const repeated = await numbered('turns', 9, '[{"id":3},{"id":"x"}]', 'one', '?partial=true')
    assert.deepEqual([repeated.replayed, repeated.body['rows'], repeated.body['refused']], [true, 1, 1])
    const older = await numbered('turns', 7, '[{"id":1},{"id":2}]')
    assert.deepEqual([older.status, older.replayed, older.body['rows']], [200, true, 0])
    assert.equal(older.body['position'], partial.body['position'])
    // Those of one producer that are sent at the same time are taken in turn; others do not wait for them.
    const many = await Promise.all([
      numbered('turns', 10, '{"operation":"insert","data":{"id":10}}'),
      numbered('turns', 10, '{"operation":"insert","data":{"id":10}}'),
      numbered('turns', 11, '{"operation":"insert","data":{"id":11}}'),
      numbered('turns', 1, '{"operation":"insert","data":{"id":12}}', 'two'),
    ])
    assert.deepEqual(
      many.map(({ status, replayed }) => [status, replayed]),
      [
        [200, false],
        [200, true],
        [200, false],
        [200, false],
      ],
    )
    assert.deepEqual(await ids('turns'), [1, 2, 3, 10, 11, 12])
  })

  test('headers that say something else are refused', async () => {
    await makeTable('headers')
    const wrong: Record<string, string>[] = [
      { 'producer-id': 'a' },
      { 'producer-sequence': '1' },
      { 'producer-id': '', 'producer-sequence': '1' },
      { 'producer-id': 'a'.repeat(65), 'producer-sequence': '1' },
      { 'producer-id': 'a', 'producer-sequence': '-1' },
      { 'producer-id': 'a', 'producer-sequence': '1.5' },
      { 'producer-id': 'a', 'producer-sequence': '1'.repeat(16) },
      { 'producer-id': 'a', 'producer-sequence': '1', 'idempotency-key': 'k' },
    ]
    for (const headers of wrong) {
      const { status, body } = await send('/ingest/headers', '[{"id":1}]', headers)
      assert.deepEqual([status, body['code']], [400, 'bad-producer'], JSON.stringify(headers))
    }
    assert.deepEqual(await ids('headers'), [])
  })

  test('numbers outlive restarts, the spool, and the loss of the spool', async () => {
    await makeTable('kept')
    assert.equal((await numbered('kept', 1, '[{"id":1}]')).status, 200)
    assert.equal((await numbered('kept', 2, '[{"id":2},{"id":3}]')).status, 200)
    const spool = join(folder, '.frazil', 'spool')
    const shapes: [string, () => Promise<void>][] = [
      ['in the spool', async () => undefined],
      ['in the lake', () => engine.flush().then(() => undefined)],
    ]
    for (const [shape, before] of shapes) {
      await before()
      await restart()
      const last = await numbered('kept', 2, '[{"id":2},{"id":3}]')
      assert.deepEqual([last.status, last.replayed, last.body['rows']], [200, true, 2], shape)
      assert.deepEqual((await numbered('kept', 1, '[{"id":1}]')).replayed, true, shape)
      assert.deepEqual((await numbered('kept', 4, '[{"id":9}]')).body['code'], 'producer-sequence-gap', shape)
      assert.deepEqual(await ids('kept'), [1, 2, 3], shape)
    }
    await engine.flush()
    await restart(() => rm(spool, { recursive: true }))
    assert.equal((await numbered('kept', 2, '[{"id":2},{"id":3}]')).replayed, true)
    assert.equal((await numbered('kept', 3, '[{"id":4}]')).replayed, false)
    assert.deepEqual(await ids('kept'), [1, 2, 3, 4])
  })

  test('a table that is made anew knows none; client and library number their batches', async () => {
    await makeTable('anew')
    assert.equal((await numbered('anew', 5, '[{"id":1}]')).status, 200)
    const dropped = await fetch(`${server.url}/tables/anew`, {
      method: 'DELETE',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ database: 'app', table: 'anew' }),
    })
    assert.equal(dropped.status, 200)
    await makeTable('anew')
    const client = new FrazilClient({ url: server.url })
    const rows = [{ id: 1 }, { id: 2 }, { id: 3 }]
    for (let time = 0; time < 2; time++) {
      const { batches } = await client.ingest('anew', rows, { producer: { id: 'one', sequence: 1 }, batchRows: 2 })
      assert.deepEqual(
        batches.map((batch) => batch.rows),
        time === 0 ? [2, 1] : [0, 1],
      )
    }
    assert.deepEqual(await ids('anew'), [1, 2, 3])
  })
})
