import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from 'pg'
import { SqliteCatalog } from '../../src/iceberg/catalog/index.ts'
import type { Frazil } from '../../src/index.ts'
import { localPath } from '../../src/storage/index.ts'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'

test('iceberg check 86: a table that another program rolled back is told, and nothing is written', async () => {
  await using server = await startPostgres()
  const client = new Client({ connectionString: server.url })
  await client.connect()
  const folder = mkdtempSync(join(tmpdir(), 'frazil-rollback-'))
  const start = (): Promise<Frazil> =>
    open({
      warehouse: join(folder, 'lake'),
      local: join(folder, 'local'),
      sources: { s: { type: 'postgres', url: server.url, tables: ['public.t'] } },
    })
  try {
    await client.query('CREATE TABLE t (id int PRIMARY KEY)')
    const engine = await start()
    for (const id of [1, 2, 3]) {
      await client.query('INSERT INTO t VALUES ($1)', [id])
      await engine.query('select 1', { wait: 'now' })
      await engine.flush()
    }
    await engine.close()
    await rollBack(join(folder, 'lake', 'catalog.db'))
    await assert.rejects(start(), { kind: 'config', code: 'rolled-back', table: 's.t' })
  } finally {
    await client.end()
    rmSync(folder, { recursive: true })
  }
})

/** What `rollback_to_snapshot` of Spark does: main is the parent of what it was, in a new metadata file. */
async function rollBack(catalogPath: string): Promise<void> {
  const catalog = await SqliteCatalog.open(catalogPath)
  const pointer = await catalog.load({ namespace: 's', name: 't' })
  assert.ok(pointer)
  const path = localPath(pointer.metadataLocation)
  const text = readFileSync(path, 'utf8')
  const head = /"current-snapshot-id":\s*(\d+)/.exec(text)?.[1]
  const parent = new RegExp(`"snapshot-id":\\s*${head},\\s*"parent-snapshot-id":\\s*(\\d+)`).exec(text)?.[1]
  assert.ok(head && parent, 'a snapshot with a parent')
  const moved = text
    .replace(new RegExp(`("current-snapshot-id":\\s*)${head}`), `$1${parent}`)
    .replace(new RegExp(`("main":\\s*\\{[^}]*"snapshot-id":\\s*)${head}`), `$1${parent}`)
  const next = path.replace(/[^/]+$/, '00099-00000000-0000-4000-8000-000000000000.metadata.json')
  writeFileSync(next, moved)
  await catalog.commit({
    tables: [{ namespace: 's', name: 't', base: pointer.metadataLocation, next: `file://${next}` }],
    states: [],
  })
  await catalog.close()
}
