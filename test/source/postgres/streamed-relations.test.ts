import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlabPool, systemClock } from '../../../src/base/index.ts'
import type { SourceEvent } from '../../../src/data/index.ts'
import { ChangeDecoder } from '../../../src/source/postgres/change-decoder.ts'
import type { KnownTable } from '../../../src/source/postgres/shape-change.ts'
import { StreamDecoder } from '../../../src/source/postgres/stream-decoder.ts'
import type { TableDescription } from '../../../src/source/postgres/table-description.ts'
import { RetiredSegments } from '../../../src/source/postgres/segment-writer.ts'
import { describedAs } from './described.ts'
import { codecs } from '../../../src/source/postgres/types/scalars.ts'

const oid = 77
const xid = 9

const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255])
const int32 = (value: number): Buffer => Buffer.from([value >>> 24, value >>> 16, value >>> 8, value].map((byte) => byte & 255))
const lsn = (value: number): Buffer => Buffer.concat([int32(0), int32(value)])
const message = (kind: string, ...parts: Buffer[]): Buffer =>
  Buffer.concat([Buffer.from('w'), Buffer.alloc(24), Buffer.from(kind), ...parts])

const begin = (end: number): Buffer => message('B', lsn(end), lsn(5), int32(end))
const commit = (end: number): Buffer => message('C', Buffer.from([0]), lsn(end), lsn(end + 1), lsn(5))
const streamStart = message('S', int32(xid), Buffer.from([1]))
const streamStop = message('E')
const streamCommit = (end: number): Buffer => message('c', int32(xid), Buffer.from([0]), lsn(end), lsn(end + 1), lsn(5))

/** A table of the columns `id` and, from some day on, `v`. */
function relation(columns: number, ...segment: Buffer[]): Buffer {
  return typedRelation([23, 23].slice(0, columns), ...segment)
}

function typedRelation(types: readonly number[], ...segment: Buffer[]): Buffer {
  const columns = types.length
  const names = ['id', 'v'].slice(0, columns)
  return message(
    'R',
    ...segment,
    int32(oid),
    Buffer.from('public\0t\0d'),
    int16(columns),
    ...names.map((name, i) =>
      Buffer.concat([Buffer.from([i === 0 ? 1 : 0]), Buffer.from(`${name}\0`), int32(types[i]), int32(0xffffffff)]),
    ),
  )
}

function insert(id: number, columns: number, ...segment: Buffer[]): Buffer {
  const value = Buffer.concat([Buffer.from('b'), int32(4), int32(id)])
  return message('I', ...segment, int32(oid), Buffer.from('N'), int16(columns), ...Array<Buffer>(columns).fill(value))
}

function decoderOf(floor: number, described?: TableDescription): { decoder: ChangeDecoder; asked: () => number } {
  const columns = ['id', 'v'].map((name, i) => ({
    id: i + 1,
    name,
    typeOid: 23,
    modifier: -1,
    codec: codecs.int4,
    setting: null,
  }))
  let asked = 0
  const decoder = new ChangeDecoder(0, {
    binary: true,
    tables: [
      {
        table: {
          id: String(oid),
          sourceName: 'public.t',
          namespace: 'shop',
          name: 't',
          fields: columns.map(({ name }, i) => ({ id: 0, name, type: { kind: 'int' }, required: i === 0 })),
          key: { kind: 'columns', columns: [0] },
          columnIds: [1, 2],
        },
        columns,
        memo: { storage: '1', highest: 2, ignored: [] },
        floor,
      },
    ],
    parts: {
      pool: new SlabPool({ budget: 64 << 20 }),
      clock: systemClock,
      nextSegmentId: () => 1,
      currentCommit: () => 0,
      deletable: () => true,
      onSchemaChange: () => null,
    },
    retired: new RetiredSegments(),
    codecOf: () => codecs.int4,
    settingOf: () => null,
    leavesBehind: () => false,
    describe: async () => {
      asked++
      return described ?? describedAs(columns)
    },
  })
  return { decoder, asked: () => asked }
}

/** The table as it is known when the catalogue is asked about it. */
function asked({ tables, position }: ChangeDecoder): KnownTable {
  return tables.sightings.watched(position).get(String(oid)) ?? assert.fail('it is asked about')
}

async function feed(decoder: ChangeDecoder, bodies: readonly Buffer[]): Promise<SourceEvent[]> {
  const frames = new StreamDecoder(decoder)
  for (const body of bodies) while (!frames.frame(0x64, body, 0, body.length)) await frames.waitsFor
  return frames.events()
}

test('behind a streamed transaction the server does not repeat its Relation: an earlier one that nobody needed is outdated', async () => {
  const { decoder, asked } = decoderOf(100)
  // Before the table's copy: nothing of it is wanted, so nobody asks what its message means.
  assert.deepEqual(await feed(decoder, [begin(10), relation(1), insert(1, 1), commit(10)]), [
    { type: 'progress', position: '0/B' },
  ])
  const segment = int32(xid)
  const events = await feed(decoder, [
    streamStart,
    relation(2, segment),
    insert(2, 2, segment),
    streamStop,
    streamCommit(120),
    begin(130),
    insert(3, 2),
    commit(130),
  ])
  assert.deepEqual(
    events.map(({ type }) => type),
    ['insert', 'commit', 'insert', 'commit'],
  )
  assert.ok(asked() > 0, 'what the message means was asked')
})

test('what the catalogue says of a table holds behind all that was in the log, unless the stream tells of the table before', async () => {
  const { decoder } = decoderOf(0)
  const third = { id: 3, name: 'w', typeOid: 23, modifier: -1 }
  const columns = ['id', 'v'].map((name, i) => ({ id: i + 1, name, typeOid: 23, modifier: -1 }))
  const description = describedAs([...columns, third])
  const sighted = (known: KnownTable, at: number): void => {
    const seen = [...columns, third].map((column, i) => ({ ...column, key: i === 0 }))
    decoder.tables.sightings.add(String(oid), { known, description, at, relation: { oid, identity: 'd', columns: seen } })
  }
  const types = async (bodies: readonly Buffer[]): Promise<string[]> => (await feed(decoder, bodies)).map(({ type }) => type)
  const keepalive = (end: number): Buffer => Buffer.concat([Buffer.from('k'), lsn(end), Buffer.alloc(8), Buffer.from([0])])
  await types([begin(10), relation(2), insert(1, 2), commit(10)])
  sighted(asked(decoder), 100)
  assert.equal(decoder.tables.sightings.watched(decoder.position).size, 0)
  // Rows of the old shape that are still under way.
  assert.deepEqual(await types([begin(50), insert(2, 2), commit(50), keepalive(99)]), ['insert', 'commit', 'progress'])
  // In the middle of a transaction, and between the segments of one that is streamed.
  assert.deepEqual(await types([begin(98), keepalive(100)]), [])
  assert.deepEqual(await types([commit(98), keepalive(100)]), ['progress', 'table', 'commit'])
  assert.deepEqual(
    decoder.tables.known[0].fields.map(({ name }) => name),
    ['id', 'v', 'w'],
  )
  assert.deepEqual(await types([keepalive(101)]), ['progress'])
  // The stream tells of it: what was said of it before is nothing any more.
  decoder.reconnect()
  sighted(asked(decoder), 200)
  await types([begin(150), relation(2), commit(150)])
  assert.deepEqual(await types([keepalive(300)]), ['progress'])
  // It tells of it while the catalogue is asked: the answer may be of before.
  const known = asked(decoder)
  await types([begin(302), relation(2), insert(3, 2), commit(302)])
  sighted(known, 305)
  assert.deepEqual(await types([keepalive(309)]), ['progress'])
  sighted(asked(decoder), 310)
  decoder.reconnect()
  assert.deepEqual(await types([keepalive(400)]), ['progress'])
})

test('an answer about a table as it was known before the stream told of the same change is nothing any more', async () => {
  const columns = [23, 20].map((typeOid, i) => ({ id: i + 1, name: ['id', 'v'][i], typeOid, modifier: -1 }))
  // Another type explains that its rows were written anew, once.
  const description = { ...describedAs(columns), storage: '2', rewritten: true }
  const { decoder } = decoderOf(0, description)
  const types = async (bodies: readonly Buffer[]): Promise<string[]> => (await feed(decoder, bodies)).map(({ type }) => type)
  const keepalive = (end: number): Buffer => Buffer.concat([Buffer.from('k'), lsn(end), Buffer.alloc(8), Buffer.from([0])])
  await types([begin(10), typedRelation([23, 20])])
  // Asked between the message and the first change that needs it.
  const known = asked(decoder)
  assert.deepEqual(await types([insert(1, 2), commit(10)]), ['table', 'insert', 'commit'])
  assert.notEqual(asked(decoder), known)
  const seen = columns.map((column, i) => ({ ...column, key: i === 0 }))
  decoder.tables.sightings.add(String(oid), { known, description, at: 20, relation: { oid, identity: 'd', columns: seen } })
  assert.deepEqual(await types([keepalive(30)]), ['progress'])
  assert.notEqual(asked(decoder), known)
})
