import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { seededRandom } from '../../../src/base/index.ts'
import { open } from '../../support/engine.ts'
import { checkLake } from '../../support/check-lake.ts'
import { runDifferential } from '../../support/differential.ts'
import type { OtherEngine } from '../../support/differential.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'
import { workloadSettings } from '../../support/workload.ts'
import { workloadTables } from '../../support/workload-tables.ts'
import { Spark } from '../support/readers.ts'

// Spark commits through Iceberg's JDBC catalog into the same SQLite file, while we do.

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: workloadSettings })
})

after(() => server.stop())

/**
 * What an engine of Iceberg says when another one was faster. All else is a fault. The last two are Java's ways of saying so when a partition spec
 * has come between: a commit that is tried again knows the specs of its first attempt only (`ManifestFilterManager.specsById`), and a
 * rewrite groups files by the spec that the table has then, but writes them by the one it had before (`BinPackRewriteFilePlanner`).
 */
const overtaken =
  /CommitFailedException|ValidationException|Cannot commit|Missing required files|Found (new|conflicting|concurrently)|Failed to commit|CommitStateUnknown|NotFoundException|FileNotFoundException|Failed to open input stream|table has been|has been updated|PartitionSpec\.partitionType\(\)\W+because the return value|records are clustered by spec/i

/** Runs a statement until it is not overtaken; gives up after so many attempts. Returns whether it ran. */
async function attempt(spark: Spark, catalog: string, sql: string, attempts: number): Promise<boolean> {
  for (let i = 0; i < attempts; i++) {
    try {
      await spark.sql(catalog, sql)
      return true
    } catch (error) {
      if (!overtaken.test(String(error))) throw error
    }
  }
  return false
}

test('Spark rewrites data files and manifests and expires snapshots while everything happens', { timeout: 400_000 }, async () => {
  const done = new Map<string, number>()
  const spark = await Spark.start()
  try {
    await runDifferential({
      seed: 77,
      url: server.url,
      pipelines: 'inline',
      phases: 2,
      transactions: 100,
      writers: 1,
      mostRows: 5000,
      layouts: true,
      other: async (warehouse) => procedures(spark, join(warehouse, 'catalog.db'), done),
    })
  } finally {
    spark.close()
  }
  assert.ok((done.get('rewrite_data_files') ?? 0) > 0, 'some files were rewritten by Spark')
})

function procedures(spark: Spark, catalog: string, done: Map<string, number>): OtherEngine {
  const random = seededRandom(78)
  // Spark refuses the whole table that has a column of type time.
  const readable = new Set(workloadTables.filter(({ columns }) => columns.every(({ compared }) => compared !== 'time')))
  return {
    async act(table) {
      if (!readable.has(table)) return
      const name = `\`${table.lakeName.replaceAll('`', '``')}\``.replaceAll("'", "\\'")
      const of = `table => 'shop.${name}'`
      const [procedure, call] = [
        ['rewrite_data_files', `rewrite_data_files(${of}, options => map('rewrite-all', 'true'))`],
        ['rewrite_manifests', `rewrite_manifests(${of})`],
        ['expire_snapshots', `expire_snapshots(${of}, retain_last => 5)`],
      ][random.below(5) % 3]
      if (await attempt(spark, catalog, `CALL frazil.system.${call}`, 1)) done.set(procedure, (done.get(procedure) ?? 0) + 1)
    },
    close: async () => undefined,
  }
}

test('rows that Spark adds, changes and deletes', { timeout: 300_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'frazil-other-'))
  const client = new Client({ connectionString: server.url })
  await client.connect()
  const spark = await Spark.start()
  const random = seededRandom(1)
  try {
    await client.query('CREATE TABLE stock (id int PRIMARY KEY, what text, n bigint NOT NULL)')
    await client.query("INSERT INTO stock SELECT i, 'thing ' || i, i FROM generate_series(1, 1000) i")
    const engine = await open({
      warehouse: join(folder, 'lake'),
      local: join(folder, 'local'),
      commit: { every: '1s' },
      tables: { 's.stock': { 'partition-by': ['bucket(2, id)'] } },
      sources: { s: { type: 'postgres', url: server.url, tables: ['public.stock'], slot: 'stock', publication: 'stock' } },
    })
    const catalog = join(folder, 'lake', 'catalog.db')
    const settled = async (): Promise<void> => {
      await engine.query('select 1', { wait: 'now' })
      await engine.flush()
    }
    const ours = async (): Promise<readonly unknown[]> => (await engine.query('select id, what, n from s.stock order by id')).rows
    try {
      await settled()
      const isolation = "'write.delete.isolation-level' = 'snapshot', 'write.update.isolation-level' = 'snapshot'"
      assert.ok(await attempt(spark, catalog, `ALTER TABLE frazil.s.stock SET TBLPROPERTIES (${isolation})`, 10))
      for (let round = 0; round < 6; round++) {
        await settled()
        const rest = random.below(10)
        const ends = new AbortController()
        // Changes of other rows go on all the time.
        const streaming = (async () => {
          for (let i = 0; !ends.signal.aborted; i++) {
            await client.query('UPDATE stock SET n = n + 1 WHERE id % 10 = $1', [(rest + 5) % 10])
            await client.query('INSERT INTO stock VALUES ($1, $2, 0)', [10_000 * (round + 1) + i, 'new'])
            if (i % 3 === 0) await ours()
          }
        })()
        try {
          const statement = [
            `DELETE FROM frazil.s.stock WHERE id % 10 = ${rest} AND id <= 1000`,
            `UPDATE frazil.s.stock SET what = 'spark' WHERE id % 10 = ${rest} AND id <= 1000`,
            `INSERT INTO frazil.s.stock SELECT id + 100000 * ${round + 1}, 'spark', 1L FROM range(1, 50) AS r(id)`,
          ][round % 3]
          // We commit more often than Spark can take: in the end it needs a quiet moment.
          if (!(await attempt(spark, catalog, statement, 3))) {
            ends.abort()
            await streaming
            await settled()
            assert.ok(await attempt(spark, catalog, statement, 10), statement)
          }
          await attempt(
            spark,
            catalog,
            "CALL frazil.system.rewrite_data_files(table => 's.stock', options => map('rewrite-all', 'true'))",
            1,
          )
        } finally {
          ends.abort()
          await streaming
        }
        await settled()
        const rows = await ours()
        const bySpark = await spark.sql(catalog, 'SELECT id, what, n FROM frazil.s.stock ORDER BY id')
        assert.deepEqual(
          rows.map((row) => Object.values(row as object).map(String)),
          bySpark.map((row) => Object.values(row).map(String)),
          `round ${round}: Spark and we see the same`,
        )
        await checkLake(join(folder, 'lake'))
        // Then the source says something of the same rows: the last word is its.
        if (round % 3 === 0) await client.query('UPDATE stock SET n = -1 WHERE id % 10 = $1 AND id <= 500', [rest])
        if (round % 3 === 0) await client.query('DELETE FROM stock WHERE id % 10 = $1 AND id BETWEEN 501 AND 1000', [rest])
        if (round % 3 === 1) await client.query("UPDATE stock SET what = 'source' WHERE id % 10 = $1", [rest])
        if (round % 3 === 2) {
          const values = 'SELECT i + 100000 * $1, $2, 7 FROM generate_series(1, 49) i'
          await client.query(`INSERT INTO stock ${values}`, [round + 1, 'source'])
        }
        await settled()
        const { rows: wanted } = await client.query('SELECT id, what, n FROM stock ORDER BY id')
        const text = (row: unknown): string[] => Object.values(row as object).map(String)
        // What Spark deleted beyond that stays deleted.
        assert.deepEqual((await ours()).map(text), wanted.map(text), `round ${round}: everything is as in Postgres again`)
      }
    } finally {
      await engine.close()
    }
  } finally {
    spark.close()
    await client.end()
    rmSync(folder, { recursive: true, force: true })
  }
})
