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

test('a key whose index has another order than the table, and a copy beside the stream', { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-key-order-'))
  const one = new SchemaCase({ url: server.url, client }, 'reordered', folder)
  try {
    await one.run(
      `CREATE TABLE T (id int NOT NULL, other bigint NOT NULL UNIQUE, v text, CONSTRAINT T_key PRIMARY KEY (id));
       INSERT INTO T (id, other) SELECT g, g * 7 FROM generate_series(1, 100) g`,
    )
    await one.start()
    // The stream tells of the key's columns; their order in the index it does not tell. The type has the table copied anew.
    await one.run(
      `ALTER TABLE T DROP CONSTRAINT T_key, ADD CONSTRAINT T_key PRIMARY KEY (other, id);
       ALTER TABLE T ALTER v TYPE int USING length(v);
       INSERT INTO T (id, other) SELECT g, g * 7 FROM generate_series(130, 164) g`,
    )
    await one.copied(2)
    await one.run('INSERT INTO T (id, other) SELECT g, g * 7 FROM generate_series(200, 240) g')
    await one.agree()
    await one.run('UPDATE T SET id = -id WHERE id % 11 = 9; DELETE FROM T WHERE id % 13 = 0')
    await one.agree()
    await one.everywhere()
  } finally {
    await one.end()
    await rm(folder, { recursive: true, force: true })
  }
})
