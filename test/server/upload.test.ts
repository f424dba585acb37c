import assert from 'node:assert/strict'
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import type { DuckDBConnection } from '@duckdb/node-api'
import { systemClock, systemRandom } from '../../src/base/index.ts'
import { FrazilClient } from '../../src/client/index.ts'
import { resolveConfig } from '../../src/engine/index.ts'
import type { Engine } from '../../src/engine/index.ts'
import { SqliteCatalog, loadTable } from '../../src/iceberg/index.ts'
import type { IcebergTable } from '../../src/iceberg/index.ts'
import { EventBus, silentLog } from '../../src/observe/index.ts'
import { startHttpServer } from '../../src/server/index.ts'
import type { HttpServer } from '../../src/server/index.ts'
import { openStore } from '../../src/storage/index.ts'
import { openEngine } from '../support/engine.ts'
import { checkLake } from '../support/check-lake.ts'

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly headers: Headers
}

const id = { name: 'id', data_type: 'int64', nullable: false }
const note = { name: 'note', data_type: 'string', nullable: true }

suite('Parquet files over HTTP', { timeout: 300_000 }, () => {
  let folder: string
  let incoming: string
  let engine: Engine
  let server: HttpServer
  let duckdb: DuckDBInstance
  let duck: DuckDBConnection
  const errors: string[] = []

  async function start(pipelines: 'inline' | 'worker' = 'inline'): Promise<void> {
    const events = new EventBus()
    events.on((event) => {
      if (event.type === 'error') errors.push(event.message)
    })
    const tables = { 'app.parts': { 'partition-by': ['region'] } }
    const config = {
      commit: { every: '1h' },
      pipelines,
      tables,
      compaction: { automatic: false },
      http: { upload: ['./incoming'] },
    }
    engine = await openEngine(resolveConfig(config, { folder, env: {} }), { events })
    server = await startHttpServer({
      listen: { host: '127.0.0.1', port: 0 },
      info: { version: '0', warehouse: folder },
      log: silentLog,
    })
    server.attach(engine)
  }

  async function stop(): Promise<void> {
    await server.close()
    await engine.close()
  }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'frazil-upload-'))
    incoming = join(folder, 'incoming')
    await mkdir(incoming)
    duckdb = await DuckDBInstance.create(':memory:')
    duck = await duckdb.connect()
    await start()
  })
  after(async () => {
    await stop()
    duck.closeSync()
    duckdb.closeSync()
    const rows = await checkLake(join(folder, 'lake'))
    assert(rows.size > 5)
    await rm(folder, { recursive: true })
    assert.deepEqual(errors, [])
  })

  async function send(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(`${server.url}${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown>, headers: response.headers }
  }

  async function rows(sql: string): Promise<unknown> {
    const { body, status } = await send('/query', { sql, wait: 'now' })
    assert.equal(status, 200, JSON.stringify(body))
    return body['rows']
  }

  async function makeTable(name: string, schema: readonly unknown[], config: unknown = {}): Promise<void> {
    const answer = await send(`/tables/${name}`, { database: 'app', table: name, schema, table_config: config })
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
  }

  /** A file that DuckDB has written. */
  async function file(name: string, select: string, options = ''): Promise<string> {
    const path = join(incoming, name)
    await duck.run(`COPY (${select}) TO '${path}' (FORMAT parquet${options})`)
    return path
  }

  function upload(
    name: string,
    operation: string,
    files: readonly string[],
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    return send(`/upload/${name}`, { operation, files }, headers)
  }

  async function refused(answer: Answer, status: number, code: string, message: RegExp): Promise<void> {
    assert.deepEqual([answer.status, answer.body['code']], [status, code], JSON.stringify(answer.body))
    assert.match(String(answer.body['message']), message)
  }

  async function table(name: string): Promise<IcebergTable> {
    const catalog = await SqliteCatalog.open(join(folder, 'lake', 'catalog.db'))
    try {
      const pointer = (await catalog.load({ namespace: 'app', name })) ?? assert.fail('the table is in the catalog')
      return await loadTable({ store: openStore(join(folder, 'lake')), clock: systemClock, random: systemRandom }, pointer)
    } finally {
      await catalog.close()
    }
  }

  test("Moonlink's request: a file becomes a data file as it is, and stays where it was", async () => {
    await makeTable('plain', [id, note, { name: 'time', data_type: 'timestamp' }])
    const path = await file(
      'plain.parquet',
      "SELECT range id, 'n' || range note, TIMESTAMP '2026-01-31 12:00:00' AS time FROM range(1000)",
    )
    const before = await readFile(path)
    const answer = await send('/upload/plain', {
      operation: 'upload',
      files: [path],
      storage_config: { fs: { root_directory: incoming } },
      request_mode: 'sync',
    })
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
    const { position, lsn, ...rest } = answer.body
    assert.deepEqual(rest, { table: 'plain', operation: 'upload', files: 1, rows: 1000, durability: 'committed' })
    assert.equal(lsn, Number(position))
    assert.deepEqual(await rows("SELECT count(*), sum(id), max(note), min(time) FROM app.plain WHERE note <> 'n7'"), [
      [999, 499493, 'n999', '2026-01-31T12:00:00.000000'],
    ])
    assert.deepEqual(await readFile(path), before)
    const [adopted, ...others] = await (await table('plain')).files()
    assert.deepEqual([others.length, adopted.recordCount, adopted.fileSize], [0, 1000, before.length])
    assert.deepEqual(await readFile(adopted.path.slice('file://'.length)), before)
    // Bounds and counts are Iceberg's.
    const [ids, notes] = adopted.metrics
    assert.deepEqual([ids.fieldId, ids.valueCount, ids.nullCount, ids.lower?.[0], ids.upper?.[0]], [1, 1000, 0, 0, 999 & 255])
    assert.equal(Buffer.from(notes.upper ?? []).toString(), 'n999')
    assert(ids.columnSize > 0 && adopted.splitOffsets.length > 0)
  })

  test('files without field ids: the table has a name mapping', async () => {
    const mapping = JSON.parse((await table('plain')).properties['schema.name-mapping.default'] ?? '[]') as unknown[]
    assert.deepEqual(mapping, [
      { 'field-id': 1, names: ['id'] },
      { 'field-id': 2, names: ['note'] },
      { 'field-id': 3, names: ['time'] },
    ])
  })

  test('files with field ids: columns are told by them, not by name', async () => {
    await makeTable('ids', [id, note])
    const path = await file('ids.parquet', "SELECT 'a' id, 1::BIGINT other", ', FIELD_IDS {id: 2, other: 1}')
    assert.equal((await upload('ids', 'upload', [path])).status, 200)
    assert.deepEqual(await rows('SELECT id, note FROM app.ids'), [[1, 'a']])
    assert.equal((await table('ids')).properties['schema.name-mapping.default'], undefined)
    await refused(
      await upload('ids', 'upload', [await file('odd.parquet', 'SELECT 1::BIGINT id, 2 x', ', FIELD_IDS {id: 1, x: 9}')]),
      422,
      'file-refused',
      /odd\.parquet is not taken: column "x" is none of the table/,
    )
  })

  test('insert writes the rows anew', async () => {
    await makeTable('anew', [id, note])
    const paths = [
      await file('a.parquet', "SELECT range::INTEGER id, 'x' note FROM range(70000)"),
      await file('b.parquet', 'SELECT 70000::BIGINT id', ', COMPRESSION snappy'),
    ]
    const answer = await upload('anew', 'insert', paths)
    assert.deepEqual([answer.status, answer.body['rows'], answer.body['files']], [200, 70001, 2], JSON.stringify(answer.body))
    assert.deepEqual(await rows('SELECT count(*), sum(id), count(note) FROM app.anew'), [[70001, 2450035000, 70000]])
    const current = await table('anew')
    assert.equal(current.properties['schema.name-mapping.default'], undefined)
    assert.equal((await current.files()).length, 2)
  })

  test('a table with a key: rows of files take the place of rows with the same key, before and after a restart', async () => {
    await makeTable('keyed', [id, note], { key: ['id'] })
    await send(
      '/ingest/keyed?request_mode=sync',
      [1, 2, 3].map((n) => ({ id: n, note: 'lake' })),
    )
    await send(
      '/ingest/keyed?wait=visible',
      [3, 4, 5].map((n) => ({ id: n, note: 'hot' })),
    )
    const adopted = await file('adopted.parquet', "SELECT range id, 'file' note FROM range(2, 5)")
    const inserted = await file('inserted.parquet', "SELECT range id, 'second' note FROM range(4, 7)")
    assert.equal((await upload('keyed', 'upload', [adopted])).status, 200)
    const expected = [
      [1, 'lake'],
      [2, 'file'],
      [3, 'file'],
      [4, 'second'],
      [5, 'second'],
      [6, 'second'],
      [7, 'row'],
    ]
    assert.equal((await upload('keyed', 'insert', [inserted])).status, 200)
    await send('/ingest/keyed', [{ id: 7, note: 'row' }])
    assert.deepEqual(await rows('SELECT * FROM app.keyed ORDER BY id'), expected)
    await stop()
    await start('worker')
    assert.deepEqual(await rows('SELECT * FROM app.keyed ORDER BY id'), expected)
    // Rows of adopted files are found by their keys: for changes, look-ups, and rewrites.
    await send('/ingest/keyed?wait=visible', [{ id: 2, note: 'changed' }])
    await send('/ingest/keyed?operation=delete&wait=visible', [{ id: 3 }])
    const found = await fetch(`${server.url}/tables/app/keyed/rows/4`)
    assert.deepEqual(await found.json(), { id: 4, note: 'second' })
    const changed = expected.filter(([key]) => key !== 3).map(([key, text]) => [key, key === 2 ? 'changed' : text])
    assert.deepEqual(await rows('SELECT * FROM app.keyed ORDER BY id'), changed)
    assert.equal((await send('/tables/keyed/optimize', { database: 'app', table: 'keyed' })).status, 200)
    assert.deepEqual(await rows('SELECT * FROM app.keyed ORDER BY id'), changed)
    assert.equal((await (await table('keyed')).files()).length, 1)
    assert.equal((await upload('keyed', 'upload', [adopted])).status, 200)
    assert.deepEqual(await rows("SELECT id FROM app.keyed WHERE note = 'file' ORDER BY id"), [[2], [3], [4]])
  })

  test('partitions: a file that lies in one is taken as it is, the rows of others anew', async () => {
    await makeTable('parts', [id, { name: 'region', data_type: 'string' }], { key: ['id'] })
    const one = await file('one.parquet', "SELECT range id, 'north' region FROM range(10)")
    const two = await file(
      'two.parquet',
      "SELECT range id, CASE WHEN range < 5 THEN 'north' ELSE 'south' END region FROM range(10)",
    )
    assert.equal((await upload('parts', 'upload', [one])).status, 200)
    const [adopted] = await (await table('parts')).files()
    assert.equal(Buffer.from(adopted.partition.values[0] ?? []).toString(), 'north')
    await refused(await upload('parts', 'upload', [two]), 422, 'file-refused', /two\.parquet.*several partitions/)
    assert.equal((await upload('parts', 'insert', [two])).status, 200)
    assert.deepEqual(await rows('SELECT region, count(*) FROM app.parts GROUP BY 1 ORDER BY 1'), [
      ['north', 5],
      ['south', 5],
    ])
  })

  test('nested columns, and every type that a table may have', async () => {
    await makeTable('types', [
      id,
      ...['boolean', 'int32', 'float32', 'float64', 'decimal(20,2)', 'date32', 'time', 'timestamptz', 'uuid', 'binary'].map(
        (data_type, i) => ({ name: `c${i}`, data_type }),
      ),
      { name: 'tags', data_type: 'list', item: { data_type: 'string' } },
      { name: 'who', data_type: 'struct', fields: [{ name: 'age', data_type: 'int64' }] },
    ])
    const select = `SELECT 1::BIGINT id, true c0, 2::INTEGER c1, 1.5::FLOAT c2, 2.5::DOUBLE c3, 3.25::DECIMAL(20,2) c4, DATE '2026-01-31' c5,
      TIME '12:34:56.789' c6, TIMESTAMPTZ '2026-01-31 12:00:00Z' c7, UUID '00112233-4455-6677-8899-aabbccddeeff' c8, 'ab'::BLOB c9,
      ['x', NULL] tags, {age: 3::BIGINT} who`
    const path = await file('types.parquet', select)
    for (const operation of ['upload', 'insert']) {
      const answer = await upload('types', operation, [path])
      assert.equal(answer.status, 200, JSON.stringify(answer.body))
    }
    const [first, second] = (await rows('SELECT * FROM app.types')) as unknown[]
    assert.deepEqual(first, second)
    assert.match(JSON.stringify(first), /3\.25.*2026-01-31.*12:34:56\.789.*0011.*"x",null/)
  })

  test('what does not fit is refused as a whole, and says why', async () => {
    await makeTable('strict', [id, note, { name: 'n', data_type: 'int32' }], { key: ['id'] })
    const good = await file('good.parquet', 'SELECT 100::BIGINT id')
    const cases: [string, string, RegExp][] = [
      ['type', "SELECT 1::BIGINT id, 'x' n", /column "n" is string, and of the table int/],
      ['wider', 'SELECT 1::BIGINT id, 1::BIGINT n', /column "n" is long, and of the table int/],
      ['extra', 'SELECT 1::BIGINT id, 1 more', /column "more" is none of the table/],
      ['missing', "SELECT 'x' note", /column "id" is required and missing/],
      ['nulls', "SELECT NULL::BIGINT id, 'x' note", /no value in the required column id/],
      ['twice', 'SELECT unnest([1, 2, 1])::BIGINT id', /rows 1 and 3 have the same key/],
      ['unsigned', 'SELECT 1::BIGINT id, 1::UINTEGER n', /column "n"/],
    ]
    for (const [name, select, message] of cases) {
      const path = await file(`${name}.parquet`, select)
      for (const operation of name === 'nulls' || name === 'twice' ? ['upload', 'insert'] : ['upload']) {
        const answer = await upload('strict', operation, [good, path])
        await refused(answer, 422, 'file-refused', message)
        assert(String(answer.body['message']).includes(path))
      }
    }
    const bytes = await readFile(good)
    for (const [name, content] of Object.entries({
      text: Buffer.from('id\n1\n'),
      empty: Buffer.alloc(0),
      short: bytes.subarray(0, bytes.length - 20),
      torn: Buffer.concat([bytes.subarray(0, 4), Buffer.alloc(40, 0xff), bytes.subarray(44)]),
    })) {
      const path = join(incoming, `damaged-${name}.parquet`)
      await writeFile(path, content)
      await refused(await upload('strict', name === 'torn' ? 'insert' : 'upload', [good, path]), 422, 'file-refused', /damaged/)
    }
    assert.deepEqual(await rows('SELECT count(*) FROM app.strict'), [[0]])
    assert.deepEqual(await (await table('strict')).files(), [])
    const left = await readdir(join((await table('strict')).location.slice('file://'.length), 'data')).catch(() => [])
    assert.deepEqual(left, [])
    // Values in other units are converted for `insert`, and are not Iceberg's as they are.
    await makeTable('units', [id, { name: 'time', data_type: 'timestamp' }])
    const millis = await file('millis.parquet', "SELECT 1::BIGINT id, TIMESTAMP_MS '2026-01-31 12:00:00.123' AS time")
    await refused(await upload('units', 'upload', [millis]), 422, 'file-refused', /column "time" is in milliseconds/)
    assert.equal((await upload('units', 'insert', [millis])).status, 200)
    assert.deepEqual(await rows('SELECT time FROM app.units'), [['2026-01-31T12:00:00.123000']])
  })

  test('only files in allowed folders', async () => {
    await makeTable('safe', [id])
    const outside = join(folder, 'outside.parquet')
    const inside = await file('inside.parquet', 'SELECT 1::BIGINT id')
    await copyFile(inside, outside)
    await symlink(outside, join(incoming, 'link.parquet'))
    await symlink(folder, join(incoming, 'up'))
    await mkdir(join(folder, 'incoming-2'))
    await copyFile(inside, join(folder, 'incoming-2', 'x.parquet'))
    const others = [
      outside,
      join(incoming, 'link.parquet'),
      join(incoming, 'up', 'outside.parquet'),
      `${incoming}/../outside.parquet`,
      `file://${outside}`,
      join(folder, 'incoming-2', 'x.parquet'),
      join(folder, 'nowhere.parquet'),
      '/etc/passwd',
      incoming,
    ]
    for (const path of others) {
      await refused(await upload('safe', 'upload', [inside, path]), 403, 'file-not-allowed', /is not in a folder/)
    }
    await refused(await upload('safe', 'upload', [join(incoming, 'nowhere.parquet')]), 404, 'file-missing', /there is no file/)
    await mkdir(join(incoming, 'sub'))
    await refused(await upload('safe', 'upload', [join(incoming, 'sub')]), 404, 'file-missing', /is not a file/)
    await refused(await upload('safe', 'upload', ['s3://bucket/x.parquet']), 501, 'not-available-yet', /folders of this machine/)
    await refused(await upload('safe', 'upload', ['x.parquet']), 400, 'bad-body', /absolute/)
    await refused(await upload('safe', 'upload', []), 400, 'bad-body', /at least one file/)
    await refused(await upload('safe', 'append', [inside]), 400, 'bad-body', /"upload" or "insert"/)
    await refused(await upload('nobody', 'upload', [inside]), 404, 'unknown-table', /no table nobody/)
    assert.deepEqual(await rows('SELECT count(*) FROM app.safe'), [[0]])
    const relative = {
      operation: 'upload',
      files: ['inside.parquet', `file://${inside}`],
      storage_config: { fs: { root_directory: incoming } },
    }
    assert.equal((await send('/upload/safe', relative)).status, 200)
    assert.deepEqual(await rows('SELECT count(*) FROM app.safe'), [[2]])
  })

  test('under one key files are taken once, also after a restart', async () => {
    await makeTable('once', [id])
    const path = await file('once.parquet', 'SELECT 1::BIGINT id')
    const both = await Promise.all([1, 2].map(() => upload('once', 'upload', [path], { 'idempotency-key': 'k' })))
    assert.deepEqual(
      both.map(({ status }) => status),
      [200, 200],
    )
    assert.equal(both.filter(({ headers }) => headers.get('idempotency-replayed') === 'true').length, 1)
    await stop()
    await start()
    const again = await upload('once', 'upload', [path], { 'idempotency-key': 'k' })
    assert.deepEqual([again.status, again.headers.get('idempotency-replayed'), again.body['rows']], [200, 'true', 1])
    await refused(
      await upload('once', 'insert', [path], { 'idempotency-key': 'k' }),
      422,
      'idempotency-key-reused',
      /another upload/,
    )
    assert.deepEqual(await rows('SELECT count(*) FROM app.once'), [[1]])
    const client = new FrazilClient({ url: server.url })
    assert.equal((await client.upload('once', { operation: 'insert', files: [path, path] })).rows, 2)
    assert.deepEqual(await rows('SELECT count(*) FROM app.once'), [[3]])
  })

  test('while rows come, and columns with them', async () => {
    await makeTable('busy', [id, note], { key: ['id'], on_schema_change: 'evolve' })
    const paths = await Promise.all(
      Array.from({ length: 4 }, (_, i) =>
        file(`busy-${i}.parquet`, `SELECT range id, 'file' note FROM range(${i * 100}, ${i * 100 + 100})`),
      ),
    )
    const done = new AbortController()
    const ingesting = (async () => {
      for (let i = 0; !done.signal.aborted || i < 20; i++) {
        const answer = await send('/ingest/busy', [{ id: 1000 + i, note: 'row', ...(i % 5 === 4 ? { [`c${i % 3}`]: i } : {}) }])
        assert.equal(answer.status, 200, JSON.stringify(answer.body))
      }
    })()
    for (const path of paths) assert.equal((await upload('busy', 'upload', [path])).status, 200)
    done.abort()
    await ingesting
    assert.deepEqual(await rows("SELECT count(*), count(DISTINCT id) FROM app.busy WHERE note = 'file'"), [[400, 400]])
  })
})

test('nothing is taken where no folder is configured', { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-upload-off-'))
  const engine = await openEngine(resolveConfig({}, { folder, env: {} }))
  try {
    const fields = [{ id: 0, name: 'id', type: { kind: 'long' }, required: true }] as const
    await engine.createTable({ namespace: 'app', name: 't', ingest: 't', fields, key: [], evolves: false })
    const request = { namespace: 'app', name: 't', operation: 'upload', files: [join(folder, 'x.parquet')], key: null } as const
    await assert.rejects(engine.upload(request), { code: 'file-not-allowed', message: /no folder is configured/ })
  } finally {
    await engine.close()
    await rm(folder, { recursive: true })
  }
})
