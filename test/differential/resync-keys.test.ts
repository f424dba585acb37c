import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type pg from 'pg'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { SchemaCase } from '../support/schema-case.ts'
import { connect } from '../support/workload.ts'

let server: EmbeddedPostgres
let client: pg.Client

before(async () => {
  server = await startPostgres()
  client = await connect(server.url)
})

after(async () => {
  await client.end()
  await server.stop()
})

/** Rows 1 to 70 of which `other` is `id` times 7: what is one row's key by one column is another's by the other. */
async function withTable(name: string, work: (one: SchemaCase) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-resync-keys-'))
  const one = new SchemaCase({ url: server.url, client }, name, folder, { every: '1h' })
  try {
    await one.run(
      `CREATE TABLE T (id int NOT NULL, other int NOT NULL, v text, CONSTRAINT ${name}_key PRIMARY KEY (id));` +
        'INSERT INTO T SELECT g, g * 7, g FROM generate_series(1, 70) g',
    )
    await one.start()
    await work(one)
  } finally {
    await one.end()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Changes rows in every way; the lake has them as the source has, also in files and after a restart. */
async function follows(one: SchemaCase, name: string): Promise<void> {
  const same = async (): Promise<void> => {
    const { rows } = await client.query({ text: `SELECT * FROM ${name} ORDER BY 1, 2`, rowMode: 'array' })
    assert.deepEqual((await one.read('*', 'id, other')).rows, rows)
    assert.equal((await one.engine.status()).tables[0].health, 'streaming')
  }
  await same()
  for (const rest of [0, 1]) {
    await one.run(
      `UPDATE T SET v = 'a${rest}' WHERE id % 3 = ${rest}; UPDATE T SET other = -other WHERE id % 5 = ${rest};` +
        `UPDATE T SET id = -id WHERE id % 11 = ${rest}; DELETE FROM T WHERE id % 7 = ${rest};` +
        `INSERT INTO T VALUES (${1000 + rest}, ${5000 + rest})`,
    )
    await same()
    await one.engine.flush()
    await same()
    await one.stop()
    await one.start()
    await same()
  }
}

const otherKey = (name: string): string =>
  `ALTER TABLE T DROP CONSTRAINT ${name}_key, ADD CONSTRAINT ${name}_key PRIMARY KEY (other)`

test('a table whose whole old rows are sent, and whose key was another, is copied again', { timeout: 180_000 }, () =>
  withTable('whole_rows', async (one) => {
    await one.run(`ALTER TABLE T REPLICA IDENTITY FULL; ${otherKey('whole_rows')}; INSERT INTO T VALUES (100, 700)`)
    await one.read()
    await one.engine.table('shop.whole_rows').resync()
    await one.copied(2)
    await follows(one, 'whole_rows')
  }),
)

test('the same, asked for just before a stop', { timeout: 180_000 }, () =>
  withTable('whole_later', async (one) => {
    await one.run(`ALTER TABLE T REPLICA IDENTITY FULL; ${otherKey('whole_later')}; INSERT INTO T VALUES (100, 700)`)
    await one.read()
    await one.engine.flush()
    await one.engine.table('shop.whole_later').resync()
    await one.stop()
    await one.start()
    await one.copied(2)
    await follows(one, 'whole_later')
  }),
)

test('a key that changes between the plan of a copy and its snapshot', { timeout: 180_000 }, () =>
  withTable('between', async (one) => {
    const other = await connect(server.url)
    try {
      // A slot, and so its snapshot, waits for the transactions that are open.
      await other.query('BEGIN; SELECT pg_current_xact_id()')
      await one.engine.table('shop.between').resync()
      for (;;) {
        const { rows } = await client.query("SELECT FROM pg_replication_slots WHERE temporary AND slot_name LIKE 'between%'")
        if (rows.length > 0) break
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      await one.run(`${otherKey('between')}; UPDATE T SET v = 'told' WHERE id = 1`)
      await one.read()
      await other.query('COMMIT')
      await one.whole()
      await one.copied(2)
      await follows(one, 'between')
    } finally {
      await other.end()
    }
  }),
)

test('a key that went and came again while nobody read, with rows that were equal by it meanwhile', { timeout: 180_000 }, () =>
  withTable('again', async (one) => {
    await one.run("ALTER TABLE T REPLICA IDENTITY FULL; UPDATE T SET v = 'b' WHERE id = 2")
    await one.read()
    await one.engine.flush()
    await one.stop()
    await one.run(
      'ALTER TABLE T DROP CONSTRAINT again_key; INSERT INTO T SELECT id, other + 1000, v FROM T WHERE id % 2 = 0;' +
        'DELETE FROM T WHERE id % 2 = 0 AND other < 1000; ALTER TABLE T ADD CONSTRAINT again_key PRIMARY KEY (id)',
    )
    await one.start()
    await follows(one, 'again')
  }),
)
