import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import type pg from 'pg'
import { fromReader, rowText } from '../../support/canonical.ts'
import { difference, postgresRows } from '../../support/compare.ts'
import { runDifferential } from '../../support/differential.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'
import { SchemaDrift } from '../../support/schema-drift.ts'
import { workloadSettings } from '../../support/workload.ts'
import { workloadTables } from '../../support/workload-tables.ts'
import type { WorkloadTable } from '../../support/workload-tables.ts'
import { Spark } from '../support/readers.ts'

// Spark refuses the whole table that has a column of type time.
const readable = workloadTables.filter(({ columns }) => columns.every(({ compared }) => compared !== 'time'))

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: workloadSettings })
})

after(() => server.stop())

test('Spark reads every value, deletion vectors and _row_id included', { timeout: 900_000 }, () =>
  runDifferential({
    seed: 4242,
    url: server.url,
    pipelines: 'inline',
    phases: 2,
    transactions: 80,
    writers: 1,
    mostRows: 10_000,
    layouts: true,
    keepsVectors: true,
    async after(warehouse, client) {
      const spark = await Spark.start()
      try {
        let vectors = 0
        for (const table of readable) vectors += await sparkAgrees(spark, warehouse, await SchemaDrift.now(client, table), client)
        assert.ok(vectors > 0, 'some table has a deletion vector')
      } finally {
        spark.close()
      }
    },
  }),
)

/** Gives back how many deletion vectors the table has. */
async function sparkAgrees(spark: Spark, warehouse: string, table: WorkloadTable, client: pg.Client): Promise<number> {
  const metadata = metadataLocation(warehouse, 'shop', table.lakeName)
  const columns = [...table.columns.map((column) => column.name), '_row_id'].map((name) => `\`${name.replaceAll('`', '``')}\``)
  const rows = await spark.rows(metadata, `SELECT ${columns.join(', ')} FROM {table}`)
  const read = rows
    .map((row) =>
      rowText(
        table,
        table.columns.map((column) => row[column.name]),
        fromReader,
      ),
    )
    .sort()
  const fault = difference(table, 'Postgres', await postgresRows(client, table), 'Spark', read)
  assert.equal(fault, null, fault ?? '')
  assert.equal(new Set(rows.map((row) => row['_row_id'])).size, rows.length, `${table.lakeName}: each row has its own _row_id`)
  assert.ok(
    rows.every((row) => row['_row_id'] !== null),
    `${table.lakeName}: each row has a _row_id`,
  )
  // What Iceberg's metadata tables count is what its scan returns.
  const [counts] = await spark.rows(
    metadata,
    `SELECT count_if(content = 0) AS files, coalesce(sum(record_count) FILTER (WHERE content = 0), 0) AS in_files,
       count_if(content = 1) AS vectors, coalesce(sum(record_count) FILTER (WHERE content = 1), 0) AS in_vectors FROM {table}.files`,
  )
  const [deletes] = await spark.rows(
    metadata,
    'SELECT count(*) AS all, count(DISTINCT file_path, pos) AS different FROM {table}.position_deletes',
  )
  assert.equal(Number(counts['in_files']) - Number(counts['in_vectors']), rows.length, `${table.lakeName}: counts in manifests`)
  assert.equal(deletes['all'], counts['in_vectors'], `${table.lakeName}: cardinality of vectors`)
  assert.equal(deletes['all'], deletes['different'], `${table.lakeName}: a position is deleted once`)
  assert.ok(Number(counts['vectors']) <= Number(counts['files']), `${table.lakeName}: at most one vector a file`)
  return Number(counts['vectors'])
}

/** Where the catalog says that a table is, read as the plain sqlite file that it is. */
function metadataLocation(warehouse: string, namespace: string, name: string): string {
  using catalog = new DatabaseSync(join(warehouse, 'catalog.db'), { readOnly: true })
  const row = catalog
    .prepare('SELECT metadata_location FROM iceberg_tables WHERE table_namespace = ? AND table_name = ?')
    .get(namespace, name)
  assert.ok(row, `${namespace}.${name} is in the catalog`)
  return String(row['metadata_location'])
}
