import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type pg from 'pg'
import { isDamagedOnPurpose } from '../support/check-lake.ts'
import { open } from '../support/engine.ts'
import { walPosition } from '../support/compare.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { connect } from '../support/workload.ts'

// Values that Iceberg cannot hold: the table stops with a sentence, never with a null, and the others go on.
const poisons = [
  { what: 'an infinite date', type: 'date', value: "'infinity'" },
  { what: 'an infinite timestamp', type: 'timestamptz', value: "'-infinity'" },
  { what: 'NaN in a numeric', type: 'numeric(10,2)', value: "'NaN'" },
  { what: '24:00:00', type: 'time', value: "'24:00:00'" },
  { what: 'an array of two dimensions', type: 'integer[]', value: "'{{1,2},{3,4}}'" },
]

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

for (const when of ['copied', 'streamed'] as const) {
  test(
    `values that cannot be represented, ${when}: their tables stop and say why, the healthy one goes on`,
    { timeout: 180_000 },
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'frazil-sick-'))
      const names = poisons.map((_, i) => `sick_${when}_${i}`)
      const well = `well_${when}`
      for (const [i, name] of names.entries())
        await client.query(
          `CREATE TABLE ${name} (id int PRIMARY KEY, v ${poisons[i].type}); INSERT INTO ${name} VALUES (1, NULL)`,
        )
      await client.query(`CREATE TABLE ${well} (id int PRIMARY KEY); INSERT INTO ${well} VALUES (1)`)
      const poison = async (): Promise<void> => {
        for (const [i, name] of names.entries()) await client.query(`INSERT INTO ${name} VALUES (2, ${poisons[i].value})`)
      }
      if (when === 'copied') await poison()
      const slot = `sick_${when}`
      const engine = await open({
        warehouse: join(folder, 'lake'),
        local: join(folder, 'local'),
        memory: '64MB',
        commit: { every: '100ms' },
        sources: {
          shop: {
            type: 'postgres',
            url: server.url,
            tables: [...names, well].map((name) => `public.${name}`),
            slot,
            publication: slot,
          },
        },
      })
      try {
        await engine.query('SELECT 1', { wait: 'now' })
        if (when === 'streamed') await poison()
        await client.query(`INSERT INTO ${well} VALUES (2)`)
        const wait = { shop: await walPosition(client) }
        const answer = await engine.query(`SELECT count(*)::integer AS n FROM shop.${well}`, { wait })
        assert.deepEqual(answer.rows, [[2]])
        const { tables } = await engine.status()
        for (const [i, name] of names.entries()) {
          const status = tables.find(({ table }) => table === name)
          assert.ok(status?.health === 'stopped' || status?.health === 'detached', `${poisons[i].what}: ${status?.health}`)
          assert.match(status.reason ?? '', /\bv\b/, `${poisons[i].what}: the reason names the column: ${status.reason}`)
        }
        assert.equal(tables.find(({ table }) => table === well)?.health, 'streaming')
      } finally {
        await engine.close()
        await client.query(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '${slot}'`)
        await rm(folder, { recursive: true, force: true })
      }
    },
  )
}

test(
  'a table whose files cannot be read for its new key stops and says why, the healthy one goes on',
  { timeout: 180_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-sick-'))
    const warehouse = join(folder, 'lake')
    for (const name of ['sick_key', 'well_key']) {
      await client.query(`CREATE TABLE ${name} (id int, other int NOT NULL, CONSTRAINT ${name}_pkey PRIMARY KEY (id))`)
      await client.query(`INSERT INTO ${name} SELECT i, i FROM generate_series(1, 100) i`)
    }
    const engine = await open({
      warehouse,
      local: join(folder, 'local'),
      memory: '64MB',
      sources: {
        shop: {
          type: 'postgres',
          url: server.url,
          tables: ['public.sick_key', 'public.well_key'],
          slot: 'sick_key',
          publication: 'sick_key',
        },
      },
    })
    try {
      await engine.query('SELECT 1', { wait: 'now' })
      await engine.flush()
      const data = (await readdir(warehouse, { recursive: true })).filter((path) => /sick_key.*\.parquet$/.test(path))
      assert.ok(data.length > 0)
      isDamagedOnPurpose(warehouse)
      for (const path of data) await writeFile(join(warehouse, path), 'not a data file any more')
      await client.query(
        `BEGIN; ALTER TABLE sick_key DROP CONSTRAINT sick_key_pkey, ADD PRIMARY KEY (other); UPDATE sick_key SET id = 0 WHERE other = 7;
       UPDATE well_key SET other = 0 WHERE id = 7; COMMIT`,
      )
      await client.query('INSERT INTO well_key VALUES (101, 101)')
      const wait = { shop: await walPosition(client) }
      const answer = await engine.query('SELECT count(*)::integer, sum(other)::integer FROM shop.well_key', { wait })
      assert.deepEqual(answer.rows, [[101, 5050 - 7 + 101]])
      const health = (await engine.status()).tables.map(({ table, health }) => `${table} ${health}`)
      assert.deepEqual(health.sort(), ['sick_key detached', 'well_key streaming'])
      await engine.flush()
    } finally {
      await engine.close()
      await client.query(`SELECT pg_drop_replication_slot('sick_key')`)
      await rm(folder, { recursive: true, force: true })
    }
  },
)
