import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { EventBus } from '../../../src/index.ts'
import { open } from '../../support/engine.ts'
import { walPosition } from '../../support/compare.ts'
import { completeParts, createPartedTable, partedRowsSql } from '../../support/part-copy.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'
import { TcpProxy } from '../../support/tcp-proxy.ts'
import { connect } from '../../support/workload.ts'

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: { max_replication_slots: '20' } })
})

after(() => server.stop())

const fresh = (name: string): string =>
  `INSERT INTO ${name} SELECT g, 7, repeat('z', 440), NULL FROM generate_series(1, 6000, 3) AS g`

// Parts are ranges of a table's pages: complete ones are worth nothing once its rows lie elsewhere.
for (const [what, statements] of Object.entries({
  'VACUUM FULL': (name: string) => [`DELETE FROM ${name} WHERE id % 3 = 0`, `VACUUM FULL ${name}`],
  CLUSTER: (name: string) => [`UPDATE ${name} SET id = -id WHERE id % 5 = 0`, `CLUSTER ${name} USING ${name}_pkey`],
  TRUNCATE: (name: string) => [`TRUNCATE ${name}`, fresh(name)],
  'TRUNCATE that is rolled back': (name: string) => [`BEGIN; TRUNCATE ${name}; ROLLBACK`, `DELETE FROM ${name} WHERE id > 20000`],
  'a table exchanged by name': (name: string) => [
    `BEGIN; ALTER TABLE ${name} RENAME TO ${name}_old; CREATE TABLE ${name} (LIKE ${name}_old INCLUDING ALL); COMMIT`,
    fresh(name),
  ],
})) {
  test(`${what} while the copy of a table is interrupted`, { timeout: 300_000 }, async () => {
    const name = what.toLowerCase().replaceAll(/\W+/g, '_')
    const client = await connect(server.url)
    const folder = await mkdtemp(join(tmpdir(), 'frazil-rewritten-'))
    const proxy = await TcpProxy.before(Number(new URL(server.url).port))
    const events = new EventBus()
    let goneOn = 0
    events.on((event) => {
      if (event.type === 'notice' && /goes on: \d+ of its parts/.test(event.message)) goneOn++
    })
    try {
      await createPartedTable(client, name)
      // Each connection ends before the table does.
      proxy.cutAfter = () => 3_000_000
      const copy = { connections: 1, part: '1MB' }
      const url = proxy.through(server.url)
      const sources = {
        shop: { type: 'postgres' as const, url, tables: [`public.${name}`], slot: name, publication: name, copy },
      }
      const lake = join(folder, 'lake')
      const opening = open({ warehouse: lake, local: join(folder, 'local'), sources }, { events })
      opening.catch(() => {})
      while (completeParts(lake, name).size < 2) await setTimeout(5)
      // No connection lasts for a byte while the table changes.
      proxy.cutAfter = () => 0
      proxy.cut()
      const parts = completeParts(lake, name).size
      for (const statement of statements(name)) await client.query(statement)
      proxy.cutAfter = null
      await using engine = await opening
      for (let copied = false; !copied; await setTimeout(20)) {
        const { tables } = await engine.status()
        copied = tables.length === 1 && tables[0].health === 'streaming' && tables[0].copy === null
      }
      await client.query(`UPDATE ${name} SET v = v + 1 WHERE id % 7 = 0`)
      const answer = await engine.query(partedRowsSql(`shop.${name}`), { wait: { shop: await walPosition(client) } })
      const { rows } = await client.query<Record<string, unknown>>(partedRowsSql(name))
      const text = (values: readonly unknown[]): string => values.map(String).join(' ')
      assert.ok(parts > 0)
      assert.deepEqual(
        answer.rows.map(text),
        rows.map((row) => text(Object.values(row))),
      )
      if (what.endsWith('back')) assert.ok(goneOn > 0, 'complete parts are kept')
    } finally {
      await proxy.close()
      await client.end()
      await rm(folder, { recursive: true, force: true })
    }
  })
}
