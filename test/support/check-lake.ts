import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { asyncBufferFromFile, parquetMetadataAsync } from 'hyparquet'
import { systemClock, systemRandom } from '../../src/base/index.ts'
import { SqliteCatalog, loadTable, readDeletionVector } from '../../src/iceberg/index.ts'
import type { TableParts, TablePointer } from '../../src/iceberg/index.ts'
import { localPath, openStore } from '../../src/storage/index.ts'

/**
 * What must hold in every table of a lake, whatever its rows: files exist and are as long as manifests say, Parquet's own row counts
 * are theirs, at most one deletion vector a file with the stated cardinality, no path twice, row ids disjoint, totals of the
 * summary true. Returns how many rows each table has, by `namespace.name`.
 */
export async function checkLake(warehouse: string): Promise<ReadonlyMap<string, number>> {
  const catalog = await SqliteCatalog.open(join(warehouse, 'catalog.db'))
  const parts: TableParts = { store: openStore(warehouse), clock: systemClock, random: systemRandom }
  const rows = new Map<string, number>()
  try {
    for (const pointer of await catalog.list()) rows.set(`${pointer.namespace}.${pointer.name}`, await checkTable(parts, pointer))
  } finally {
    await catalog.close()
  }
  return rows
}

async function checkTable(parts: TableParts, pointer: TablePointer): Promise<number> {
  const called = `${pointer.namespace}.${pointer.name}`
  const table = await loadTable(parts, pointer)
  const files = await table.files()
  assert.equal(new Set(files.map((file) => file.path)).size, files.length, `${called}: a data file is listed once`)
  const vectors = files.flatMap((file) => (file.deletionVector ? [file.deletionVector] : []))
  let deleted = 0
  let records = 0
  for (const file of files) {
    const path = localPath(file.path)
    assert.equal((await stat(path)).size, file.fileSize, `${called}: size of ${path}`)
    const { num_rows } = await parquetMetadataAsync(await asyncBufferFromFile(path))
    assert.equal(Number(num_rows), file.recordCount, `${called}: rows of ${path}`)
    records += file.recordCount
    const vector = file.deletionVector
    if (!vector) continue
    assert.equal(vector.dataFile, file.path, `${called}: a vector names its file`)
    assert.equal((await stat(localPath(vector.path))).size, vector.fileSize, `${called}: size of ${vector.path}`)
    await readDeletionVector(parts.store, vector, file.recordCount) // compares the cardinality
    assert.ok(vector.cardinality > 0 && vector.cardinality <= file.recordCount, `${called}: cardinality`)
    deleted += vector.cardinality
  }
  const ranges = files
    .map(({ firstRowId, recordCount }): readonly [bigint, bigint] => {
      assert.ok(firstRowId !== null, `${called}: every file has a first row id`)
      return [firstRowId, firstRowId + BigInt(recordCount)]
    })
    .sort((x, y) => (x[0] < y[0] ? -1 : 1))
  for (let i = 1; i < ranges.length; i++) assert.ok(ranges[i][0] >= ranges[i - 1][1], `${called}: row ids are disjoint`)
  const { summary } = table
  if (summary) {
    const total = (name: string): number => Number(summary[name] ?? 0)
    assert.equal(total('total-data-files'), files.length, `${called}: total-data-files`)
    assert.equal(total('total-records'), records, `${called}: total-records`)
    assert.equal(total('total-delete-files'), vectors.length, `${called}: total-delete-files`)
    assert.equal(total('total-position-deletes'), deleted, `${called}: total-position-deletes`)
  }
  return records - deleted
}
