import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type pg from 'pg'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { SchemaCase } from '../support/schema-case.ts'
import type { SchemaCaseOptions } from '../support/schema-case.ts'
import { walPosition } from '../support/compare.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { connect } from '../support/workload.ts'

let server: EmbeddedPostgres
let client: pg.Client

before(async () => {
  server = await startPostgres({ settings: { logical_decoding_work_mem: '64kB' } })
  client = await connect(server.url)
})

after(async () => {
  await client.end()
  await server.stop()
})

/** A table of which only the stream tells: nobody looks at the catalogue meanwhile. */
async function withTable(
  name: string,
  work: (one: SchemaCase) => Promise<void>,
  { url = server.url, ...options }: SchemaCaseOptions & { url?: string } = {},
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-resync-beside-'))
  const one = new SchemaCase({ url, client }, name, folder, { every: '1h', findTables: '1h', ...options })
  try {
    await one.run(
      `CREATE TABLE T (id int NOT NULL, other int NOT NULL, v text, w text, CONSTRAINT ${name}_key PRIMARY KEY (id));` +
        'INSERT INTO T SELECT g, g * 7, g, -g FROM generate_series(1, 70) g',
    )
    await one.start()
    await one.run("UPDATE T SET v = 'x' WHERE id = 3")
    await one.read()
    await work(one)
  } finally {
    await one.end()
    await rm(folder, { recursive: true, force: true })
  }
}

/** The lake has the columns and the rows of the source, also in files and after a restart. */
async function agrees(one: SchemaCase, name: string): Promise<void> {
  const same = async (): Promise<void> => {
    const { rows, fields } = await client.query({ text: `SELECT * FROM ${name} ORDER BY 1, 2`, rowMode: 'array' })
    const lake = await one.read('*', 'id, other')
    assert.deepEqual(
      lake.columns,
      fields.map((field) => field.name),
    )
    assert.deepEqual(lake.rows, rows)
    assert.equal((await one.engine.status()).tables[0].health, 'streaming')
  }
  await same()
  await one.engine.flush()
  await same()
  await one.stop()
  await one.start()
  await same()
}

/** Changes the table, copies it, and changes it back: its copy has a shape of which the stream never tells. */
async function thereAndBack(one: SchemaCase, name: string, there: string, back: string): Promise<void> {
  await one.run(there)
  await one.engine.table(`shop.${name}`).resync()
  await one.copied(2)
  await one.run(back)
  await agrees(one, name)
}

const keyBy = (name: string, column: string): string =>
  `ALTER TABLE T DROP CONSTRAINT ${name}_key, ADD CONSTRAINT ${name}_key PRIMARY KEY (${column});`

test('a key that is another while the table is copied again, and then the former one', { timeout: 180_000 }, () =>
  withTable('back', (one) =>
    thereAndBack(one, 'back', keyBy('back', 'other'), `${keyBy('back', 'id')} DELETE FROM T WHERE id = 7`),
  ),
)

test('the same, told by a transaction that is streamed', { timeout: 180_000 }, () =>
  withTable('streamed', (one) =>
    thereAndBack(
      one,
      'streamed',
      keyBy('streamed', 'other'),
      `${keyBy('streamed', 'id')} DELETE FROM T WHERE id = 7; INSERT INTO T SELECT g, g * 7, g FROM generate_series(1000, 9000) g`,
    ),
  ),
)

test('names that are swapped while the table is copied again, and back', { timeout: 180_000 }, () => {
  const swap = 'ALTER TABLE T RENAME v TO x; ALTER TABLE T RENAME w TO v; ALTER TABLE T RENAME x TO w;'
  return withTable('names', (one) => thereAndBack(one, 'names', swap, `${swap} UPDATE T SET v = 'y' WHERE id = 7`))
})

test('a column that is there only while the table is copied again', { timeout: 180_000 }, () =>
  withTable('gone', (one) =>
    thereAndBack(
      one,
      'gone',
      'ALTER TABLE T ADD z int DEFAULT 5',
      "ALTER TABLE T DROP z; UPDATE T SET v = 'y' WHERE id = 7; DELETE FROM T WHERE id = 14",
    ),
  ),
)

test('a type that values do not follow, while the stream is behind the copy', { timeout: 180_000 }, () =>
  withTable(
    'behind',
    async (one) => {
      await one.engine.flush()
      const other = await connect(server.url)
      // A slot, and so the copy, waits for the transactions that are open.
      await other.query('BEGIN; SELECT pg_current_xact_id()')
      await one.engine.table('shop.behind').resync()
      await one.stop()
      await other.query('COMMIT')
      await other.end()
      await one.run("ALTER TABLE T ALTER w TYPE int USING w::int; INSERT INTO T VALUES (100, 700, 'a', 5)")
      await one.start()
      await one.copied(2)
      await one.run("INSERT INTO T VALUES (101, 701, 'a', 6); UPDATE T SET w = 9 WHERE id = 4")
      await one.whole()
      await agrees(one, 'behind')
    },
    { onSchemaChange: 'new-column' },
  ),
)

test('a type that values do not follow, of which the stream tells behind the copy', { timeout: 180_000 }, () =>
  withTable(
    'later',
    async (one) => {
      await one.run("ALTER TABLE T ALTER w TYPE bigint USING w::bigint; UPDATE T SET v = 'y' WHERE id = 3")
      await one.read()
      await one.engine.table('shop.later').resync()
      await one.copied(2)
      await one.run('ALTER TABLE T ALTER w TYPE int')
      await one.engine.table('shop.later').resync()
      await one.copied(3)
      await one.run('UPDATE T SET w = 9 WHERE id = 4')
      await one.copied(4)
      await agrees(one, 'later')
    },
    { onSchemaChange: 'new-column' },
  ),
)

test('a column that comes while a table is copied again that is not to change', { timeout: 180_000 }, async () => {
  const proxy = await TcpProxy.before(Number(new URL(server.url).port))
  try {
    await withTable(
      'refused',
      async (one) => {
        // A page for each row, so that one connection has to ask for several ranges. Before it asks for the second it stands still.
        await one.run(
          "ALTER TABLE T SET (fillfactor = 10); INSERT INTO T SELECT g, g, repeat('x', 600) FROM generate_series(1000, 10000) g",
        )
        await one.read()
        let ranges = 0
        proxy.holdAt = (bytes) => bytes.includes('SAVEPOINT range; LOCK TABLE') && ++ranges === 2
        await one.engine.table('shop.refused').resync()
        while (proxy.held === 0) await new Promise((resolve) => setTimeout(resolve, 5))
        await one.run("ALTER TABLE T ADD z int; INSERT INTO T VALUES (-1, 0, 'n', 'n', 5); UPDATE T SET z = 4 WHERE id = 9")
        for (let i = 10; i < 50; i++) await one.run(`INSERT INTO T VALUES (${-i}, 0, 'n', 'n', 5)`)
        await one.engine.query('SELECT 1', { wait: { shop: await walPosition(client) } })
        assert.equal(one.copies, 1)
        proxy.release()
        await one.whole()
        await agrees(one, 'refused')
      },
      { url: proxy.through(server.url), onSchemaChange: 'detach', copyConnections: 1 },
    )
  } finally {
    await proxy.close()
  }
})
