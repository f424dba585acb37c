import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../../../src/base/index.ts'
import { open } from '../../support/engine.ts'
import { answeredRows, difference, postgresRows, walPosition } from '../../support/compare.ts'
import { startPostgres } from '../../support/postgres.ts'
import { connect } from '../../support/workload.ts'
import { column, quoted, workloadSchema } from '../../support/workload-tables.ts'
import type { WorkloadColumn, WorkloadTable } from '../../support/workload-tables.ts'
import { LakeReader } from '../support/readers.ts'

const types = [
  'boolean', 'smallint', 'integer', 'bigint', 'oid', 'real', 'double precision', 'numeric(9,2)', 'numeric(18,4)', 'numeric(38,10)', 'numeric',
  'text', 'varchar(300)', 'char(8)', 'date', 'time', 'timestamp', 'timestamptz', 'uuid', 'bytea', 'jsonb', 'interval', 'mood', 'inet',
  'text[]', 'bigint[]', 'numeric(18,4)[]', 'timestamptz[]', 'uuid[]', 'int4range', 'nummultirange', 'pair', 'pair[]', 'hstore',
] // prettier-ignore
// PyIceberg reads a list of structs that is null as an empty one (apache/arrow#38809).
const listsOfStructs = ['nummultirange', 'pair[]']

const columns = Array.from({ length: 300 }, (_, i) => {
  const type = types[i % types.length]
  return column(`c${i}`, type, !listsOfStructs.includes(type))
})
const wide: WorkloadTable = {
  schema: 'public',
  name: 'wide',
  sqlName: 'public.wide',
  lakeName: 'wide',
  columns: [column('id', 'integer', false), ...columns],
  unique: [{ columns: [{ name: 'id', expression: (g) => g }] }],
  ddl: [
    `CREATE TABLE public.wide (id integer PRIMARY KEY, ${columns.map(({ name, sqlType, nullable }) => `${name} ${sqlType}${nullable ? '' : ' NOT NULL'}`).join(', ')})`,
  ],
  mostRows: 200,
}

test('PyIceberg and DuckDB read rows of 300 columns of all kinds, changed and compacted', { timeout: 480_000 }, async () => {
  const random = seededRandom(300)
  const server = await startPostgres()
  const client = await connect(server.url)
  const folder = await mkdtemp(join(tmpdir(), 'frazil-wide-rows-'))
  const readers: LakeReader[] = []
  const value = ({ literal, sqlType }: WorkloadColumn): string => `(${literal(random)})::${sqlType}`
  const insert = (id: number): string => `INSERT INTO wide VALUES (${[id, ...columns.map(value)].join(', ')})`
  const update = (id: number): string => {
    const changed = columns.filter(() => random.below(3) === 0).map((each) => `${quoted(each.name)} = ${value(each)}`)
    return `UPDATE wide SET ${changed.join(', ')} WHERE id = ${id}`
  }
  const ids = (from: number, to: number, step = 1): number[] =>
    Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => from + i * step)
  try {
    for (const statement of [...workloadSchema([]), ...wide.ddl]) await client.query(statement)
    for (const id of ids(0, 60)) await client.query(insert(id))
    await using engine = await open({
      warehouse: join(folder, 'lake'),
      local: join(folder, 'local'),
      sources: { shop: { type: 'postgres', url: server.url, tables: ['public.wide'] } },
    })
    while (!(await engine.status()).ready) await new Promise((resolve) => setTimeout(resolve, 20))
    readers.push(await LakeReader.open('pyiceberg', join(folder, 'lake')), await LakeReader.open('duckdb', join(folder, 'lake')))
    const check = async (): Promise<void> => {
      const wait = { shop: await walPosition(client) }
      const expected = await postgresRows(client, wide)
      const ours = await answeredRows((sql) => engine.query(sql, { wait }), wide)
      assert.equal(difference(wide, 'Postgres', expected, 'frazil', ours), null)
      await engine.flush()
      for (const reader of readers) {
        assert.equal(difference(wide, 'Postgres', expected, reader.name, await reader.rows(wide)), null)
      }
    }
    await check()
    for (const id of ids(60, 90)) await client.query(insert(id))
    for (const id of ids(0, 90, 3)) await client.query(update(id))
    await client.query('DELETE FROM wide WHERE id % 10 = 7')
    await check()
    await engine.table('shop.wide').optimize()
    await check()
    // On top of rewritten files: with deletion vectors again, and in a second rewrite.
    for (const id of ids(1, 90, 5)) await client.query(update(id))
    await check()
    await engine.table('shop.wide').optimize()
    await check()
  } finally {
    for (const reader of readers) await reader.close()
    await client.end()
    await server.stop()
    await rm(folder, { recursive: true })
  }
})
