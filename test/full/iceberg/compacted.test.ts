import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { seededRandom } from '../../../src/base/index.ts'
import type { SimulatedChange } from '../../../src/source/simulated/index.ts'
import { Gate } from '../../sim/faults.ts'
import { newHistory } from '../../sim/random-history.ts'
import { World } from '../../sim/world.ts'
import { Spark, readDuckDb, readPyIceberg } from './readers.ts'
import type { Row } from './readers.ts'

const columns = ['k0', 'v', 'n', '_row_id', '_last_updated_sequence_number']

let folder: string
let spark: Spark

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'frazil-compacted-'))
  spark = await Spark.start(`file://${folder}/spark`)
})

after(async () => {
  await spark[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

function byKey(rows: readonly Row[]): Row[] {
  return [...rows].sort((a, b) => Number(a['k0']) - Number(b['k0']))
}

/** What Spark and DuckDB read, which is the same; PyIceberg has the same rows without their lineage. */
async function readByAll(world: World): Promise<Row[]> {
  const metadata = (await world.table('long')).metadataLocation
  assert.ok(metadata !== null)
  const rows = byKey(await spark.sql(`SELECT ${columns.join(', ')} FROM {table}`, { metadata }))
  assert.deepEqual(byKey(await readDuckDb(metadata, columns)), rows)
  const plain = (row: Row): Row => ({ k0: row['k0'], v: row['v'], n: row['n'] })
  assert.deepEqual(byKey(await readPyIceberg(metadata)).map(plain), rows.map(plain))
  const deletes = await spark.sql('SELECT count(*) AS n FROM {table}.position_deletes', { metadata })
  const files = await (await world.table('long')).files()
  const deleted = files.reduce((sum, { deletionVector }) => sum + (deletionVector?.cardinality ?? 0), 0)
  assert.deepEqual(deletes, [{ n: deleted }])
  return rows
}

test('iceberg checks 20, 21, 88: other engines see the same rows and the same lineage before and after compactions', async () => {
  const random = seededRandom(1)
  using world = new World(newHistory(random, 0), random)
  const process = await world.start(new Gate())
  const row = (i: number, v: string) => [v, BigInt(i), i / 2]
  const upsert = (i: number, v: string): SimulatedChange => ({ op: 'upsert', table: 'long', row: row(i, v), mustExist: true })
  const settle = async (changes: SimulatedChange[]): Promise<Row[]> => {
    world.history.add(changes)
    assert.ok(await process.catchUp(), process.failure?.stack)
    return readByAll(world)
  }
  const all = Array.from({ length: 200 }, (_, i) => i)
  for (let i = 0; i < 200; i += 50) {
    world.history.add(all.slice(i, i + 50).map((k): SimulatedChange => ({ op: 'insert', table: 'long', row: row(k, 'new') })))
    assert.ok(await process.catchUp(), process.failure?.stack)
  }
  const first = await settle(all.filter((i) => i % 3 === 0).map((i) => upsert(i, 'changed')))
  assert.equal(first.length, 200)
  await process.pipeline.optimize('shop', 'long')
  assert.deepEqual(await readByAll(world), first)
  const second = await settle(all.filter((i) => i % 7 === 0).map((i) => upsert(i, 'again')))
  for (const [i, seen] of second.entries()) if (i % 7 !== 0) assert.deepEqual(seen, first[i])
  // A file whose rows have ids of their own, and one whose rows have its.
  await process.pipeline.optimize('shop', 'long')
  assert.deepEqual(await readByAll(world), second)
  const third = await settle(all.filter((i) => i % 11 === 0).map((i) => upsert(i, 'with a vector')))
  for (const [i, seen] of third.entries()) if (i % 11 !== 0) assert.deepEqual(seen, second[i])
  assert.equal(new Set(third.map((each) => each['_row_id'])).size, 200)
  await process.close()
})
