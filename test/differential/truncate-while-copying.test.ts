import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { EventBus } from '../../src/index.ts'
import { open } from '../support/engine.ts'
import { walPosition } from '../support/compare.ts'
import { startPostgres } from '../support/postgres.ts'
import { connect } from '../support/workload.ts'

// TRUNCATE is not MVCC-safe: a snapshot from before it finds the table empty, so the copy lacks rows that the stream then changes.
test('a table that is truncated between the snapshot and its copy', { timeout: 180_000 }, async () => {
  const server = await startPostgres()
  const client = await connect(server.url)
  const folder = await mkdtemp(join(tmpdir(), 'frazil-truncate-'))
  try {
    await client.query('CREATE TABLE first (id int PRIMARY KEY, v text); CREATE TABLE second (id int PRIMARY KEY, v text)')
    await client.query(`INSERT INTO first SELECT g, repeat('x', 200) FROM generate_series(1, 200000) AS g`)
    await client.query(`INSERT INTO second SELECT g, 'old' FROM generate_series(1, 100) AS g`)
    const events = new EventBus()
    const changed = new Promise<void>((resolve, reject) => {
      events.on((event) => {
        if (event.type !== 'table' || event.table !== 'shop.first' || event.health !== 'copying') return
        const statements = [
          'DELETE FROM second WHERE id <= 10',
          'UPDATE second SET id = -id WHERE id <= 20',
          "UPDATE second SET v = 'new' WHERE id > 90",
          'TRUNCATE second',
          "INSERT INTO second VALUES (1, 'first'), (2, 'second')",
          "UPDATE second SET v = 'third' WHERE id = 2",
        ]
        client.query(statements.join('; BEGIN; COMMIT; ')).then(() => resolve(), reject)
      })
    })
    const sources = { shop: { type: 'postgres' as const, url: server.url, tables: ['public.first', 'public.second'] } }
    await using engine = await open({ warehouse: join(folder, 'lake'), local: join(folder, 'local'), sources }, { events })
    await changed
    const wait = { shop: await walPosition(client) }
    const answer = await engine.query('SELECT id, v FROM shop.second ORDER BY id', { wait })
    assert.deepEqual(answer.rows, [
      [1, 'first'],
      [2, 'third'],
    ])
    const { tables } = await engine.status()
    assert.deepEqual(
      tables.map(({ health }) => health),
      ['streaming', 'streaming'],
    )
  } finally {
    await client.end()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
})
