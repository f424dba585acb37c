import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { systemClock, systemRandom } from '../../../src/base/index.ts'
import { SqliteCatalog, loadTable } from '../../../src/iceberg/index.ts'
import type { IcebergTable, TableUpdate } from '../../../src/iceberg/index.ts'
import { LocalStore } from '../../../src/storage/index.ts'
import { Lab } from '../../iceberg/lab.ts'
import { ParquetFiles } from '../../iceberg/parquet.ts'
import { Spark, python, readDuckDb, readPyIceberg } from './readers.ts'
import type { Row } from './readers.ts'

const ids = { id: 1, v: 2 }
const lineage = ['id', 'v', '_row_id', '_last_updated_sequence_number']

function byId(rows: readonly Row[]): Row[] {
  return [...rows].sort((a, b) => Number(a.id) - Number(b.id))
}

function without(rows: readonly Row[], ...columns: readonly string[]): Row[] {
  return rows.map((row) => Object.fromEntries(Object.entries(row).filter(([name]) => !columns.includes(name))))
}

const update: TableUpdate = {
  added: [],
  removed: [],
  deletionVectors: [],
  summary: {},
  properties: {},
  retention: { maxSnapshots: 600, maxAgeMs: 3_600_000 },
}

describe('other engines and our tables', () => {
  let folder = ''
  let spark: Spark
  let parquet: ParquetFiles

  before(async () => {
    // A space in the path: locations are URIs that nobody escapes.
    folder = await mkdtemp(join(tmpdir(), 'frazil interop-'))
    ;[spark, parquet] = await Promise.all([Spark.start(`file://${folder}/spark`), ParquetFiles.open()])
  })

  after(async () => {
    await spark[Symbol.asyncDispose]()
    await parquet.close()
    await rm(folder, { recursive: true })
  })

  async function lab(name: string): Promise<Lab> {
    return new Lab({ store: new LocalStore(join(folder, 'lake')), name })
  }

  const file = (to: Lab, start: number, count: number) =>
    parquet.write(to, `SELECT (${start} + range)::BIGINT AS id, 'v' || (${start} + range) AS v FROM range(${count})`, ids)

  /** All readers see these rows: [id, row id, sequence number of the last change]. */
  async function seenByAll(to: Lab, expected: readonly (readonly [number, number, number])[]): Promise<void> {
    const metadata = to.pointer.metadataLocation
    const wanted = expected.map(([id, row, seq]) => ({ id, v: `v${id}`, _row_id: row, _last_updated_sequence_number: seq }))
    assert.deepEqual(byId(await spark.sql(`SELECT ${lineage.join(', ')} FROM {table}`, { metadata })), wanted)
    assert.deepEqual(byId(await readDuckDb(metadata, lineage)), wanted)
    assert.deepEqual(byId(await readPyIceberg(metadata)), without(wanted, '_row_id', '_last_updated_sequence_number'))
  }

  test('iceberg check 88: rows, deletes and lineage of a table with vectors', async () => {
    const to = await lab('vectors')
    const [a, b] = [await file(to, 0, 100), await file(to, 100, 50)]
    await to.commit({ added: [a] })
    // iceberg check 56: a vector together with its data file
    await to.commit({ added: [b], deletionVectors: [await to.vector(a, [0, 5, 99]), await to.vector(b, [1])] })
    // iceberg check 52: a second delete on the same file
    await to.commit({ deletionVectors: [await to.vector(a, [0, 5, 6, 99])] })
    const rows = [
      ...Array.from({ length: 100 }, (_, i) => [i, i, 1] as const).filter(([i]) => ![0, 5, 6, 99].includes(i)),
      ...Array.from({ length: 50 }, (_, i) => [100 + i, 100 + i, 2] as const).filter(([i]) => i !== 101),
    ]
    await seenByAll(to, rows)
    const files = await spark.sql(
      'SELECT content, count(*) AS n, sum(record_count) AS rows FROM {table}.files GROUP BY 1 ORDER BY 1',
      {
        metadata: to.pointer.metadataLocation,
      },
    )
    assert.deepEqual(files, [
      { content: 0, n: 2, rows: 150 },
      { content: 1, n: 2, rows: 5 },
    ])
    const deletes = await spark.sql('SELECT file_path, pos FROM {table}.position_deletes', {
      metadata: to.pointer.metadataLocation,
    })
    assert.equal(deletes.length, 5)
  })

  test('iceberg check 88: after merges of manifests, removals and expiry', async () => {
    const to = await lab('merged')
    const retention = { maxSnapshots: 3, maxAgeMs: 1e9 }
    const files = []
    for (let i = 0; i < 70; i++) {
      files.push(await file(to, i * 10, 10))
      const commit = await to.commit({ added: [files[i]], retention })
      await to.store.delete(commit.unreferenced)
    }
    for (const i of [3, 40]) {
      const marked = { ...update, removed: [files[i].path], deletionVectors: [await to.vector(files[i + 1], [2])], retention }
      await to.store.delete((await to.commit(marked)).unreferenced)
    }
    const rows = Array.from({ length: 700 }, (_, id) => id).filter(
      (id) => ![3, 40].includes(Math.floor(id / 10)) && ![42, 412].includes(id),
    )
    const json = JSON.parse(await to.metadataJson()) as { 'next-row-id': number }
    assert.ok(json['next-row-id'] > 700, 'merged manifests take ids of their own, which no row uses')
    const metadata = to.pointer.metadataLocation
    const seen = byId(await spark.sql(`SELECT ${lineage.join(', ')} FROM {table}`, { metadata }))
    assert.deepEqual(
      seen.map((row) => row.id),
      rows,
    )
    assert.equal(new Set(seen.map((row) => row._row_id)).size, rows.length)
    // iceberg check 23: what our own plan says is what readers see.
    const firstRowIds = new Map((await to.live()).map((each) => [each.path, each.firstRowId]))
    for (const row of seen) {
      const i = Math.floor(Number(row.id) / 10)
      assert.equal(BigInt(Number(row._row_id)), (firstRowIds.get(files[i].path) ?? 0n) + BigInt(Number(row.id) % 10))
      assert.equal(row._last_updated_sequence_number, i + 1)
    }
    assert.deepEqual(byId(await readDuckDb(metadata, lineage)), seen)
    assert.equal((await readPyIceberg(metadata)).length, rows.length)
  })

  test('iceberg check 26: a generic Avro reader reads our manifests and lists', async () => {
    const to = await lab('avro')
    const a = await file(to, 0, 10)
    await to.commit({ added: [{ ...a, metrics: to.file(10).metrics }], deletionVectors: [await to.vector(a, [1])] })
    const { snapshots } = await to.metadata()
    const paths = [snapshots[0].manifestList, ...(await to.manifests()).map((manifest) => manifest.file.path)]
    const program = `
import fastavro, json, sys
for path in sys.argv[1:]:
    with open(path.removeprefix("file://"), "rb") as file:
        print(json.dumps(list(fastavro.reader(file)), default=lambda value: value.hex()))
`
    const lines = execFileSync(await python('python'), ['-c', program, ...paths], { encoding: 'utf8' })
      .trim()
      .split('\n')
    const [list, data, deletes] = lines.map((line) => JSON.parse(line) as Record<string, unknown>[])
    assert.deepEqual(
      list.map((row) => [row.content, row.added_files_count, row.added_rows_count, row.first_row_id, row.partitions]),
      [
        [0, 1, 10, 0, []],
        [1, 1, 1, null, []],
      ],
    )
    assert.partialDeepStrictEqual(data[0], {
      status: 1,
      sequence_number: null,
      data_file: {
        file_path: a.path,
        record_count: 10,
        first_row_id: null,
        lower_bounds: [{ key: 1, value: '01'.repeat(8) }],
        split_offsets: [4],
      },
    })
    assert.partialDeepStrictEqual(deletes[0], {
      data_file: { content: 1, file_format: 'PUFFIN', referenced_data_file: a.path, record_count: 1, content_offset: 4 },
    })
  })

  test('PyIceberg and Spark open catalog.db', async () => {
    const to = await lab('cataloged')
    const path = join(folder, 'catalog.db')
    const catalog = await SqliteCatalog.open(path)
    const { commit } = await to.prepare({ added: [await file(to, 0, 10)] })
    await catalog.createNamespace('db')
    await catalog.commit({
      tables: [{ namespace: 'db', name: 'cataloged', base: null, next: commit.metadataLocation }],
      states: [],
    })
    await catalog.close()
    assert.equal((await readPyIceberg('--catalog', path, 'db.cataloged')).length, 10)
    assert.deepEqual(await spark.sql('SELECT count(*) AS n FROM frazil.db.cataloged', { catalog: path }), [{ n: 10 }])
  })

  test('iceberg check 59: incremental expiry by Java removes no Puffin file that is live', async () => {
    const to = await lab('expired')
    const files = [await file(to, 0, 10), await file(to, 10, 10), await file(to, 20, 10)]
    await to.commit({ added: files })
    // One commit with three vectors, then each is replaced or not: what is replaced must not take the others with it.
    await to.commit({ deletionVectors: await Promise.all(files.map((each) => to.vector(each, [0]))) })
    const replace = async (i: number, positions: readonly number[]): Promise<void> => {
      const old = (await to.live()).find(({ path }) => path === files[i].path)?.deletionVector?.path
      await to.commit({ deletionVectors: [await to.vector(files[i], positions, old)] })
    }
    await replace(0, [0, 1])
    await replace(0, [0, 1, 2])
    await replace(1, [0, 5])
    const vectors = async (): Promise<string[]> =>
      (await readdir(join(folder, 'lake/db/expired'), { recursive: true })).filter((name) => name.endsWith('.puffin'))
    assert.equal((await vectors()).length, 6)

    const path = join(folder, 'catalog.db')
    const catalog = await SqliteCatalog.open(path)
    const { namespace, name, metadataLocation } = to.pointer
    await catalog.createNamespace(namespace)
    await catalog.commit({ tables: [{ namespace, name, base: null, next: metadataLocation }], states: [] })
    await spark.expire(path, 'db.expired')
    const after = await catalog.load({ namespace, name })
    await catalog.close()
    assert.ok(after !== null && after.metadataLocation !== metadataLocation, 'Java has committed')

    const [{ n }] = await spark.sql('SELECT count(*) AS n FROM frazil.db.expired.snapshots', { catalog: path })
    assert.equal(n, 1)
    const remaining = await vectors()
    const live = (await to.live()).map(({ deletionVector }) => deletionVector?.path ?? '')
    assert.ok(live.every((vector) => remaining.some((name) => vector.endsWith(`/${name}`))))
    assert.ok(remaining.length < 6, 'Java has removed some of those replaced')
    const dead = new Set([0, 1, 2, 10, 15, 20])
    const left = Array.from({ length: 30 }, (_, id) => id).filter((id) => !dead.has(id))
    const ids = async (rows: Promise<Row[]>): Promise<unknown[]> => byId(await rows).map((row) => row.id)
    assert.deepEqual(await ids(readPyIceberg(after.metadataLocation)), left)
    assert.deepEqual(await ids(readDuckDb(after.metadataLocation)), left)
    assert.deepEqual(await ids(spark.sql('SELECT id FROM frazil.db.expired', { catalog: path })), left)
  })

  describe('tables that Spark has written', () => {
    const parts = () => ({ store: new LocalStore(join(folder, 'spark')), clock: systemClock, random: systemRandom })

    async function load(name: string): Promise<IcebergTable> {
      const metadata = join(folder, 'spark/db', name, 'metadata')
      const versions = (await readdir(metadata)).flatMap((each) => /^v(\d+)\.metadata\.json$/.exec(each)?.[1] ?? [])
      const newest = Math.max(...versions.map(Number))
      return loadTable(parts(), { namespace: 'db', name, metadataLocation: `file://${metadata}/v${newest}.metadata.json` })
    }

    const mergeOnRead = `'format-version'='3','write.delete.mode'='merge-on-read','write.update.mode'='merge-on-read'`

    test('appends, vectors and lineage are understood and continued', async () => {
      await spark.sql(`CREATE TABLE lab.db.theirs (id bigint, v string) USING iceberg TBLPROPERTIES (${mergeOnRead})`)
      await spark.sql(`INSERT INTO lab.db.theirs SELECT id, 'v' || id FROM range(1000)`)
      await spark.sql('DELETE FROM lab.db.theirs WHERE id % 10 = 3')
      const theirs = await load('theirs')
      const [found] = await theirs.files()
      assert.equal(found.deletionVector?.cardinality, 100)
      assert.equal(found.firstRowId, 0n)
      assert.ok(found.metrics.some((metric) => metric.fieldId === 1 && metric.valueCount === 1000))

      const to = new Lab({ store: parts().store, name: 'theirs' })
      to.table = theirs
      const added = await file(to, 5000, 10)
      const marked = Array.from({ length: 1000 }, (_, i) => i).filter((i) => i % 10 === 3 || i < 5)
      const both = { ...update, added: [added], deletionVectors: [await to.vector(found, marked, found.deletionVector?.path)] }
      to.table = (await theirs.prepare(both)).next
      const metadata = to.pointer.metadataLocation
      const seen = byId(await spark.sql(`SELECT ${lineage.join(', ')} FROM {table}`, { metadata }))
      assert.equal(seen.length, 1000 - marked.length + 10)
      assert.partialDeepStrictEqual(seen[0], { id: 5, _row_id: 5, _last_updated_sequence_number: 1 })
      assert.partialDeepStrictEqual(seen.at(-1), { id: 5009, _row_id: 1009, _last_updated_sequence_number: 3 })
      assert.deepEqual(byId(await readDuckDb(metadata, lineage)), seen)
      assert.equal((await readPyIceberg(metadata)).length, seen.length)
    })

    test('a partitioned table: vectors and removals keep the partitions', async () => {
      await spark.sql(
        `CREATE TABLE lab.db.parted (id bigint, v string, d date, p decimal(20,2)) USING iceberg
         PARTITIONED BY (days(d), bucket(4, id), truncate(2, v), p) TBLPROPERTIES (${mergeOnRead})`,
      )
      for (const day of [1, 2]) {
        await spark.sql(
          `INSERT INTO lab.db.parted SELECT id, 'v' || id, date '2026-01-0${day}', cast(1.5 as decimal(20,2)) FROM range(20)`,
        )
      }
      const theirs = await load('parted')
      const files = await theirs.files()
      const to = new Lab({ store: parts().store, name: 'parted' })
      to.table = theirs
      const marked = files.find((each) => each.recordCount > 1)
      assert.ok(marked !== undefined)
      const removed = files.find((each) => each !== marked) ?? marked
      to.table = (
        await theirs.prepare({ ...update, removed: [removed.path], deletionVectors: [await to.vector(marked, [0])] })
      ).next
      const metadata = to.pointer.metadataLocation
      const count = 40 - removed.recordCount - 1
      const filtered = `SELECT count(*) AS n FROM {table} WHERE d IN (date '2026-01-01', date '2026-01-02') AND p = 1.5`
      assert.deepEqual(await spark.sql('SELECT count(*) AS n FROM {table}', { metadata }), [{ n: count }])
      assert.deepEqual(await spark.sql(filtered, { metadata }), [{ n: count }])
      assert.equal((await readDuckDb(metadata)).length, count)
      assert.equal((await readPyIceberg(metadata)).length, count)
    })

    test('iceberg check 53, as far as it goes: version 2 with position deletes is refused with a sentence', async () => {
      await spark.sql(
        `CREATE TABLE lab.db.old (id bigint, v string) USING iceberg
         TBLPROPERTIES ('format-version'='2','write.delete.mode'='merge-on-read')`,
      )
      await spark.sql(`INSERT INTO lab.db.old SELECT id, 'v' || id FROM range(100)`)
      assert.equal((await (await load('old')).files())[0].firstRowId, null)
      await spark.sql('DELETE FROM lab.db.old WHERE id = 3')
      await assert.rejects((await load('old')).files(), { kind: 'unsupported', code: 'delete-files' })
    })
  })
})
