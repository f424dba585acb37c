import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import type pg from 'pg'
import { seededRandom } from '../../src/base/index.ts'
import { dropSource, requestResync, resolveConfig } from '../../src/engine/index.ts'
import { EventBus } from '../../src/index.ts'
import type { ConfigInput, Frazil } from '../../src/index.ts'
import { walPosition } from '../support/compare.ts'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { connect } from '../support/workload.ts'

let server: EmbeddedPostgres
let client: pg.Client
let folder: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'frazil-borrowed-'))
  server = await startPostgres()
  client = await connect(server.url)
})
after(async () => {
  await client.end()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

test('a publication of somebody else: hot and cold rows equal Postgres under the same filter, over restarts; drop leaves it', async (t) => {
  const { rows: versions } = await client.query<{ version: number }>(
    "SELECT current_setting('server_version_num')::int AS version",
  )
  if (versions[0].version < 150_000) return t.skip('row filters came with Postgres 15')
  await client.query(`
    CREATE TABLE people (region int, id int, secret text, note text, PRIMARY KEY (region, id));
    INSERT INTO people SELECT i % 3, i, 'hidden', 'copied' FROM generate_series(1, 60) i;
    CREATE TABLE entries (id int, note text);
    INSERT INTO entries SELECT i, 'copied' FROM generate_series(1, 20) i;
    CREATE PUBLICATION dba FOR TABLE people (region, id, note) WHERE (region <> 0);
    CREATE PUBLICATION dba_inserts FOR TABLE entries WITH (publish = 'insert')`)
  const source = { type: 'postgres' as const, url: server.url }
  const input: ConfigInput = {
    warehouse: join(folder, 'lake'),
    local: join(folder, 'local'),
    memory: '64MB',
    commit: { every: '100ms' },
    sources: {
      people: { ...source, tables: ['people'], publication: 'dba' },
      entries: { ...source, tables: ['entries'], publication: 'dba_inserts' },
    },
  }
  const random = seededRandom(4)
  let inserted = 20
  for (let round = 0; round < 2; round++) {
    const engine = await open(input)
    try {
      // What was deleted before the copy's snapshot was never there.
      for (;;) {
        const { tables } = await engine.status()
        if (tables.length === 2 && tables.every(({ health }) => health === 'streaming')) break
        await setTimeout(20)
      }
      for (let step = 0; step < 8; step++) {
        await client.query('BEGIN')
        for (let n = random.below(6); n >= 0; n--) {
          const [region, id, other] = [random.below(3), random.below(80), random.below(3)]
          const kind = random.below(5)
          if (kind === 0) await client.query(`DELETE FROM people WHERE id = ${id} AND region = ${region}`)
          else if (kind === 1) await client.query(`UPDATE people SET note = 'step ${step}' WHERE id % 7 = ${id % 7}`)
          else if (kind === 2)
            await client.query(
              `UPDATE people p SET region = ${other} WHERE id % 9 = ${id % 9} AND region = ${region} AND NOT EXISTS (SELECT FROM people q WHERE q.id = p.id AND q.region = ${other})`,
            )
          else await client.query(`INSERT INTO people VALUES (${region}, ${id}, 's', 'new') ON CONFLICT DO NOTHING`)
        }
        await client.query(
          `COMMIT; INSERT INTO entries VALUES (${step}, 'streamed'), (${step}, 'streamed'); DELETE FROM entries WHERE id > 3`,
        )
        inserted += 2
        if (random.below(2) === 0) await engine.engine.flush()
        const at = await walPosition(client)
        const answer = await engine.query('SELECT region, id, note FROM people.people ORDER BY region, id', {
          wait: { people: at },
        })
        const expected = await client.query<unknown[]>({
          text: 'SELECT region, id, note FROM people WHERE region <> 0 ORDER BY region, id',
          rowMode: 'array',
        })
        assert.deepEqual(answer.rows, expected.rows, `round ${round}, step ${step}`)
        assert.equal(answer.columns.length, 3)
        const count = await engine.query('SELECT count(*)::int FROM entries.entries', { wait: { entries: at } })
        assert.deepEqual(count.rows, [[inserted]])
      }
      const { tables } = await engine.status()
      assert.deepEqual(
        tables.map(({ health }) => health),
        ['streaming', 'streaming'],
      )
    } finally {
      await engine.close()
    }
  }
  const config = resolveConfig(input, { env: {}, folder })
  assert.deepEqual(await dropSource(config, 'people'), ['replication slot frazil_people'])
  assert.deepEqual(await dropSource(config, 'entries'), ['replication slot frazil_entries'])
  const left = await client.query<{ name: string }>(
    'SELECT pubname::text AS name FROM pg_publication UNION ALL SELECT slot_name::text FROM pg_replication_slots ORDER BY 1',
  )
  assert.deepEqual(
    left.rows.map(({ name }) => name),
    ['dba', 'dba_inserts'],
  )
})

test('a source beside a publication of somebody else that is to begin anew knows its slot: it makes another, and drop takes it', async () => {
  await client.query(`
    CREATE TABLE anew (id int PRIMARY KEY);
    INSERT INTO anew VALUES (1), (2);
    CREATE PUBLICATION dba_anew FOR TABLE anew`)
  const input: ConfigInput = {
    warehouse: join(folder, 'anew'),
    local: join(folder, 'anew-local'),
    memory: '64MB',
    commit: { every: '100ms' },
    sources: { s: { type: 'postgres', url: server.url, tables: ['anew'], publication: 'dba_anew' } },
  }
  const config = resolveConfig(input, { env: {}, folder })
  const rows = async (): Promise<readonly (readonly unknown[])[]> => {
    const engine = await open(input)
    try {
      await engine.query('SELECT 1', { wait: { s: await walPosition(client) } })
      for (;;) {
        const { tables } = await engine.status()
        if (tables.length === 1 && tables[0].health === 'streaming') break
        await setTimeout(20)
      }
      await engine.engine.flush()
      return (await engine.query('SELECT id FROM s.anew ORDER BY id')).rows
    } finally {
      await engine.close()
    }
  }
  assert.deepEqual(await rows(), [[1], [2]])
  await client.query('INSERT INTO anew VALUES (3)')
  await requestResync(config, 's')
  assert.deepEqual(await rows(), [[1], [2], [3]])
  await requestResync(config, 's')
  assert.deepEqual(await dropSource(config, 's'), ['replication slot frazil_s'])
})

/** A source of one table beside a publication, looked at often. */
function lent(name: string, publication: string, every = '100ms'): ConfigInput {
  return {
    warehouse: join(folder, name),
    local: join(folder, `${name}-local`),
    memory: '64MB',
    sources: { [name]: { type: 'postgres', url: server.url, tables: [name], slot: name, publication, 'find-tables': every } },
  }
}

/** Waits until the lake has these columns, with the rows that the source has in them. */
async function shows(engine: Frazil, name: string, columns: string): Promise<void> {
  for (;;) {
    const { rows } = await client.query<unknown[]>({ text: `SELECT ${columns} FROM ${name} ORDER BY 1`, rowMode: 'array' })
    const wait = { [name]: await walPosition(client) }
    const answer = await engine.query(`SELECT * FROM ${name}.${name} ORDER BY 1`, { wait }).catch(() => null)
    const [{ health, copy }] = (await engine.status()).tables
    const isThere = answer?.columns.map((column) => column.name).join(', ') === columns
    if (isThere && isDeepStrictEqual(answer.rows, rows) && health === 'streaming' && copy === null) return
    await setTimeout(20)
  }
}

for (const every of ['100ms', '1h']) {
  test(`a list of columns that changes has its table copied anew, looked at every ${every}`, { timeout: 120_000 }, async (t) => {
    if (Number(process.env['FRAZIL_POSTGRES'] ?? 18) < 15) return t.skip('column lists came with Postgres 15')
    const name = `listed_${every}`
    const list = async (columns: string): Promise<void> => {
      await client.query(`ALTER PUBLICATION dba_${name} SET TABLE ${name} (${columns})`)
    }
    await client.query(`
      CREATE TABLE ${name} (id int PRIMARY KEY, a text, b text);
      INSERT INTO ${name} SELECT i, 'a' || i, 'b' || i FROM generate_series(1, 20) i;
      CREATE PUBLICATION dba_${name} FOR TABLE ${name} (id, a)`)
    let copies = 0
    const events = new EventBus()
    events.on(({ type }) => {
      if (type === 'copied') copies++
    })
    let engine = await open(lent(name, `dba_${name}`, every), { events })
    try {
      await shows(engine, name, 'id, a')
      // Columns that nobody is to see.
      await client.query(
        `ALTER TABLE ${name} ADD c int DEFAULT 5; CREATE INDEX ON ${name} (b); INSERT INTO ${name} VALUES (21, 'a', 'b', 6)`,
      )
      await setTimeout(300)
      await shows(engine, name, 'id, a')
      assert.equal(copies, 1)
      await list('id, b')
      await client.query(`INSERT INTO ${name} VALUES (22, 'a', 'b', 6)`)
      await shows(engine, name, 'id, b')
      await list('id, b, c')
      await client.query(`INSERT INTO ${name} VALUES (23, 'a', 'b', 7)`)
      await shows(engine, name, 'id, b, c')
      await client.query(`ALTER TABLE ${name} RENAME b TO d; UPDATE ${name} SET d = 'e' WHERE id < 5`)
      await shows(engine, name, 'id, d, c')
      await engine.close()
      await list('id, a')
      await client.query(`INSERT INTO ${name} VALUES (24, 'a', 'b', 7)`)
      engine = await open(lent(name, `dba_${name}`, every), { events })
      await shows(engine, name, 'id, a')
      assert.equal(copies, 4)
    } finally {
      await engine.close()
    }
  })
}

const leaving = [
  { what: 'a publication of ours', made: '', out: 'DROP TABLE T', back: 'ADD TABLE T' },
  { what: 'one of somebody else', made: 'FOR TABLE T', out: 'DROP TABLE T', back: 'ADD TABLE T' },
  {
    what: 'a filter',
    made: 'FOR TABLE T WHERE (id < 90)',
    out: 'SET TABLE T WHERE (id < 2)',
    back: 'SET TABLE T WHERE (id < 90)',
  },
  {
    what: 'a schema',
    made: 'FOR TABLES IN SCHEMA public',
    out: 'DROP TABLES IN SCHEMA public',
    back: 'ADD TABLES IN SCHEMA public',
  },
]

for (const [number, { what, made, out, back }] of leaving.entries()) {
  for (const mode of ['down', 'up'] as const) {
    test(
      `${what}: a table that leaves it and comes back is detached, while frazil is ${mode}`,
      { timeout: 120_000 },
      async (t) => {
        if (Number(process.env['FRAZIL_POSTGRES'] ?? 18) < 15) return t.skip('filters and schemas came with Postgres 15')
        const name = `leaves_${number}_${mode}`
        const run = (sql: string): Promise<unknown> => client.query(sql.replaceAll(/\bT\b/g, name))
        await run('CREATE TABLE T (id int PRIMARY KEY); INSERT INTO T VALUES (1)')
        if (made !== '') await run(`CREATE PUBLICATION T ${made}`)
        let engine = await open(lent(name, name))
        const detached = async (): Promise<void> => {
          for (;;) {
            const [table] = (await engine.status()).tables
            if (table.health === 'detached')
              return assert.match(table.reason ?? '', /was not in the publication of source .* all the time/)
            await setTimeout(20)
          }
        }
        try {
          await shows(engine, name, 'id')
          if (mode === 'down') await engine.close()
          await run(`ALTER PUBLICATION T ${out}`)
          await run('INSERT INTO T VALUES (2)')
          if (mode === 'up') await detached()
          await run(`ALTER PUBLICATION T ${back}`)
          await run('INSERT INTO T VALUES (3)')
          if (mode === 'down') engine = await open(lent(name, name))
          await detached()
          await engine.table(`${name}.${name}`).resync()
          await shows(engine, name, 'id')
          // Nothing of before counts any more.
          await setTimeout(300)
          await engine.close()
          engine = await open(lent(name, name))
          await run('INSERT INTO T VALUES (4)')
          await shows(engine, name, 'id')
        } finally {
          await engine.close()
        }
      },
    )
  }
}
