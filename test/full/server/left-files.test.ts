import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../../../src/base/index.ts'
import { SqliteCatalog } from '../../../src/iceberg/catalog/index.ts'
import { openStore } from '../../../src/storage/index.ts'
import { Daemon } from '../../support/daemon.ts'
import { ForeignEngine } from '../../support/foreign-engine.ts'
import { logRecord, request } from '../../support/otlp/encode.ts'

const docs = join(import.meta.dirname, '../../../docs')
const skip = spawnSync('curl', ['--version']).status === 0 ? false : 'there is no curl'

/** The commands that a page has for files of one kind, as they stand there, with another port. */
async function commands(page: string, of: string, from: string, to: string): Promise<string> {
  const blocks = (await readFile(join(docs, page), 'utf8')).matchAll(/^ *```sh\n([^]*?)^ *```$/gm)
  const found = [...blocks].map(([, text]) => text).filter((text) => text.includes(of))
  assert.equal(found.length, 1, `one place of ${page} has ${of}`)
  assert(found[0].includes(from), from)
  return found[0].replace(from, to)
}

test('the documented commands send rows of a detached table again, once', { timeout: 240_000, skip }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-left-'))
  const sources = { telemetry: { type: 'otlp', http: '127.0.0.1:0' } }
  const daemon = await Daemon.spawn({ folder, config: { warehouse: './lake', commit: { every: '1h' }, sources } })
  let catalog: SqliteCatalog | null = null
  try {
    await daemon.ready()
    const post = async (path: string, body: object): Promise<void> => {
      const { status, text } = await daemon.post(path, body)
      assert.equal(status, 200, text)
    }
    const schema = [{ name: 'id', data_type: 'int64', nullable: false }]
    for (const [table, table_config] of [
      ['users', {}],
      ['keyed', { key: ['id'] }],
    ] as const) {
      await post(`/tables/${table}`, { database: 'app', table, schema, table_config })
    }
    const [, otlp] = /OTLP over HTTP at (127\.0\.0\.1:\d+)/.exec(daemon.log) ?? assert.fail(daemon.log)
    const lake = join(folder, 'lake')
    catalog = await SqliteCatalog.open(join(lake, 'catalog.db'))
    const other = new ForeignEngine({ store: openStore(lake), catalog, random: seededRandom(1) })
    const ingest = (table: string, operation: string, id: number): Promise<void> =>
      post(`/ingest/${table}`, { operation, request_mode: 'async', data: { id } })
    const more = { name: 'more', type: { kind: 'string' }, required: false } as const
    for (const [namespace, name] of [
      ['app', 'users'],
      ['app', 'keyed'],
      ['telemetry', 'otel_logs'],
    ] as const) {
      if (name === 'users') await ingest(name, 'insert', 1)
      else if (name === 'keyed') {
        await ingest(name, 'insert', 2)
        await ingest(name, 'delete', 2)
        await ingest(name, 'upsert', 3)
      } else {
        const body = request([
          { resource: { attributes: [] }, scopes: [{ scope: {}, records: [logRecord({ body: { int: 4n } })] }] },
        ])
        const headers = { 'content-type': 'application/x-protobuf' }
        assert.equal((await fetch(`http://${otlp}/v1/logs`, { method: 'POST', headers, body })).status, 200)
      }
      await other.addColumn(namespace, name, more)
      await daemon.until(`${name} is detached`, async () => {
        await daemon.commit(namespace, name).catch(() => undefined)
        const { tables } = JSON.parse((await daemon.get('/tables')).text) as { tables: { table: string; health: string }[] }
        return tables.find(({ table }) => table === name)?.health === 'detached'
      })
      await post(`/tables/${name}/resync`, { database: namespace, table: name })
    }

    const run = async (script: string): Promise<void> => {
      const shell = spawn('sh', ['-euc', script], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
      assert.deepEqual(await once(shell, 'exit'), [0, null])
    }
    const ids = async (table: string, column: string): Promise<unknown> =>
      (await daemon.query(`SELECT ${column} FROM ${table}`)).rows
    const spool = join(folder, '.frazil', 'spool')
    const copy = join(folder, 'copy')
    await cp(spool, copy, { recursive: true })
    for (const table of ['users', 'keyed']) {
      const script = (await commands('operations.md', 'idempotency-key', 'localhost:3030', daemon.url)).replaceAll('users', table)
      await run(script)
      const left = join('http', 'detached')
      const own = (await readdir(join(copy, left))).find((name) => name.startsWith(`app.${table}-`)) ?? assert.fail(table)
      assert.deepEqual(await readdir(join(spool, left, own)), [])
      // As if the answers had been lost.
      await cp(join(copy, left, own), join(spool, left, own), { recursive: true })
      await run(script)
      assert.deepEqual(await readdir(join(spool, left, own)), [])
    }
    await run(await commands('otlp.md', '.logs.pb', 'localhost:4318', otlp))
    assert.deepEqual(await readdir(join(spool, 'telemetry', 'detached', 'telemetry.otel_logs-otel_logs')), [])
    await daemon.until('all is there', async () => {
      assert.deepEqual(await ids('app.users', 'id'), [['1']])
      assert.deepEqual(await ids('app.keyed', 'id'), [['3']])
      assert.deepEqual(await ids('telemetry.otel_logs', 'body'), [['4']])
      return true
    })
  } finally {
    await catalog?.close()
    await daemon.kill()
    await rm(folder, { recursive: true })
  }
})
