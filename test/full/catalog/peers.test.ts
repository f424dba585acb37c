import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, it } from 'node:test'
import { SqliteCatalog } from '../../../src/iceberg/catalog/index.ts'
import { localPath, locationSegment, openStore } from '../../../src/storage/index.ts'
import { rejectsWith } from '../../conformance/store.ts'
import { pythonOf } from '../support/readers.ts'

const scratch = mkdtempSync(join(tmpdir(), 'frazil-peers-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

/** Everything that the warehouse path may contain and that could go wrong; `"`, `#`, `?`, `%` and `\` are refused by openStore. */
const oddDirectory = "it's [my] *lake* ünï 日本 {a}+&=;~"
const oddName = 'Odd "Name" #1? 100%'

interface Lake {
  readonly warehouse: string
  readonly path: string
  readonly root: string
}

function newLake(directory: string): Lake {
  const warehouse = join(scratch, directory)
  mkdirSync(warehouse, { recursive: true })
  return { warehouse, path: join(scratch, `${locationSegment(directory)}.db`), root: openStore(warehouse).root }
}

function tableLocation(lake: Lake, namespace: string, name: string): string {
  return `${lake.root}/${locationSegment(namespace)}/${locationSegment(name)}`
}

/** PyIceberg's answers to requests, see pyiceberg_catalog.py. */
async function pyiceberg(lake: Lake, ...requests: (string | number)[][]): Promise<unknown[]> {
  const script = join(import.meta.dirname, 'pyiceberg_catalog.py')
  const input = JSON.stringify(requests)
  return JSON.parse(
    execFileSync(await pythonOf('python'), [script, lake.path, lake.warehouse], { input, encoding: 'utf8' }),
  ) as unknown[]
}

it('iceberg check 77: a catalog of ours is one of PyIceberg, both ways, with odd names in an odd directory', async () => {
  const lake = newLake(oddDirectory)
  const catalog = await SqliteCatalog.open(lake.path)
  await catalog.createNamespace('shop')
  await catalog.createNamespace('empty')
  await catalog.createNamespace(oddName)
  const made = (await pyiceberg(
    lake,
    ['create', 'shop', 'orders', tableLocation(lake, 'shop', 'orders'), 10],
    ['create', oddName, oddName, tableLocation(lake, oddName, oddName), 20],
  )) as string[]
  assert.deepEqual(await catalog.namespaces(), [oddName, 'empty', 'shop'])
  assert.deepEqual(await catalog.list(), [
    { namespace: oddName, name: oddName, metadataLocation: made[1] },
    { namespace: 'shop', name: 'orders', metadataLocation: made[0] },
  ])

  // Our store finds what they wrote under the locations that we gave.
  const store = openStore(lake.warehouse)
  const files = await Array.fromAsync(store.list(tableLocation(lake, oddName, oddName)))
  assert.ok(files.some((file) => file.uri === made[1]))
  assert.ok(files.some((file) => file.uri.endsWith('.parquet')))

  // They see what we commit: a moved pointer, and a table of ours.
  const next = made[0].replace(/[^/]*$/, 'moved.metadata.json')
  copyFileSync(localPath(made[0]), localPath(next))
  await catalog.commit({
    tables: [
      { namespace: 'shop', name: 'orders', base: made[0], next },
      { namespace: 'shop', name: 'copy', base: null, next: made[1] },
    ],
    states: [{ key: 'source/shop', expected: null, value: '{}' }],
  })
  const [listed] = await pyiceberg(lake, ['list'])
  assert.deepEqual(listed, {
    shop: { orders: [next, 10], copy: [made[1], 20] },
    empty: {},
    [oddName]: { [oddName]: [made[1], 20] },
  })

  // Whoever commits second is refused.
  const [appended] = await pyiceberg(lake, ['append', 'shop', 'orders', 5])
  const stale = { namespace: 'shop', name: 'orders', base: next, next: made[0] }
  await rejectsWith(catalog.commit({ tables: [stale], states: [] }), 'conflict', 'table-changed')
  assert.equal((await catalog.load({ namespace: 'shop', name: 'orders' }))?.metadataLocation, appended)
  await catalog.close()
})

it('iceberg check 77: a catalog made by PyIceberg opens with ours', async () => {
  const lake = newLake('made by pyiceberg')
  const [made] = await pyiceberg(lake, ['create', 'a', 't', tableLocation(lake, 'a', 't'), 3])
  const catalog = await SqliteCatalog.open(lake.path)
  assert.deepEqual(await catalog.namespaces(), ['a'])
  assert.deepEqual(await catalog.list(), [{ namespace: 'a', name: 't', metadataLocation: made }])
  await catalog.commit({ tables: [{ namespace: 'b', name: 't', base: null, next: String(made) }], states: [] })
  await catalog.close()
  assert.deepEqual(await pyiceberg(lake, ['list']), [{ a: { t: [made, 3] }, b: { t: [made, 3] } }])
})

it('iceberg check 77: a catalog of form V0 serves PyIceberg and us', async () => {
  const lake = newLake('v0')
  const database = new DatabaseSync(lake.path)
  database.exec(`
    CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
      table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
      PRIMARY KEY (catalog_name, table_namespace, table_name));
    CREATE TABLE iceberg_namespace_properties (catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL,
      property_key VARCHAR(255), property_value VARCHAR(1000), PRIMARY KEY (catalog_name, namespace, property_key))`)
  database.close()
  const catalog = await SqliteCatalog.open(lake.path)
  const [made] = await pyiceberg(lake, ['create', 'a', 't', tableLocation(lake, 'a', 't'), 3])
  assert.deepEqual(await catalog.list('a'), [{ namespace: 'a', name: 't', metadataLocation: made }])
  await catalog.commit({ tables: [{ namespace: 'a', name: 'u', base: null, next: String(made) }], states: [] })
  assert.deepEqual(await pyiceberg(lake, ['list']), [{ a: { t: [made, 3], u: [made, 3] } }])
  await catalog.close()
})

it("Java's JdbcCatalog reads and writes a catalog of ours, and DuckDB and Spark open locations in an odd directory", async () => {
  const lake = newLake(`${oddDirectory} java`)
  const catalog = await SqliteCatalog.open(lake.path)
  await catalog.createNamespace('shop')
  const made = (await pyiceberg(
    lake,
    ['create', 'shop', 'orders', tableLocation(lake, 'shop', 'orders'), 10],
    ['create', 'odd', oddName, tableLocation(lake, 'odd', oddName), 20],
  )) as string[]

  const duckdb = `
import duckdb, importlib.util, json, sys
connection = duckdb.connect()
for name in ('avro', 'iceberg'):
    folder = importlib.util.find_spec(f'duckdb_extension_{name}').submodule_search_locations[0]
    connection.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")
counts = [connection.execute('SELECT count(*) FROM iceberg_scan(?)', [location]).fetchone()[0] for location in sys.argv[1:]]
print(json.dumps(counts))`
  const counts = execFileSync(await pythonOf('python'), ['-c', duckdb, ...made], { encoding: 'utf8' })
  assert.deepEqual(JSON.parse(counts), [10, 20])

  const python = await pythonOf('spark')
  const folder = join(dirname(dirname(python)), 'jars')
  const jars = readdirSync(folder)
    .filter((name) => name.endsWith('.jar'))
    .map((name) => join(folder, name))
  jars.push(execFileSync(join(import.meta.dirname, 'sqlite-jdbc.sh'), { encoding: 'utf8' }).trim())
  const freshPath = join(scratch, 'fresh.db')
  const script = join(import.meta.dirname, 'spark_catalog.py')
  const output = execFileSync(python, [script, jars.join(','), lake.path, lake.warehouse, freshPath], {
    encoding: 'utf8',
    env: { ...process.env, SPARK_LOCAL_IP: '127.0.0.1', PYTHONIOENCODING: 'utf-8' },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 300_000,
  })
  assert.deepEqual(JSON.parse(output.trim().split('\n').at(-1) ?? ''), { shop: { orders: 10 }, odd: { [oddName]: 20 } })

  const table = { namespace: 'made', name: 'by_java' }
  const found = await catalog.load(table)
  assert.match(found?.metadataLocation ?? '', /metadata\.json$/)
  assert.deepEqual(await catalog.namespaces(), ['made', 'odd', 'shop'])
  await catalog.commit({ tables: [{ ...table, base: found?.metadataLocation ?? null, next: made[0] }], states: [] })
  await catalog.close()

  // Made by Java from nothing: form V0.
  const database = new DatabaseSync(freshPath)
  assert.ok(
    database
      .prepare('PRAGMA table_info(iceberg_tables)')
      .all()
      .every((column) => column.name !== 'iceberg_type'),
  )
  database.close()
  const fresh = await SqliteCatalog.open(freshPath, { name: 'fresh' })
  assert.deepEqual(
    (await fresh.list()).map((entry) => entry.name),
    ['by_java'],
  )
  assert.deepEqual(await fresh.namespaces(), ['made'])
  await fresh.commit({ tables: [{ namespace: 'made', name: 'by_frazil', base: null, next: made[0] }], states: [] })
  await fresh.close()
})
