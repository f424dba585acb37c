import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError, SlabPool, systemClock } from '../../../src/base/index.ts'
import { Segment } from '../../../src/data/index.ts'
import type { Column, Field, SourceEvent, SourceTable } from '../../../src/data/index.ts'
import type { SourceParts } from '../../../src/source/index.ts'
import { ChangeDecoder } from '../../../src/source/postgres/change-decoder.ts'
import { CopyDecoder } from '../../../src/source/postgres/copy-decoder.ts'
import { generatedDecoder, plainDecoder, tupleDecoder } from '../../../src/source/postgres/decoder.ts'
import type { TupleForm, WireColumn } from '../../../src/source/postgres/decoder.ts'
import { FrameReader } from '../../../src/source/postgres/frames.ts'
import { refusal } from '../../../src/source/postgres/refusals.ts'
import { RetiredSegments, SegmentWriter } from '../../../src/source/postgres/segment-writer.ts'
import { StreamDecoder } from '../../../src/source/postgres/stream-decoder.ts'
import type { PlannedColumn } from '../../../src/source/postgres/table-plan.ts'
import { utf8Checked } from '../../../src/source/postgres/types/codec.ts'
import type { Codec } from '../../../src/source/postgres/types/codec.ts'
import {
  arrayCodec,
  compositeCodec,
  hstoreCodec,
  multirangeCodec,
  rangeCodec,
} from '../../../src/source/postgres/types/nested.ts'
import { withRule } from '../../../src/source/postgres/types/out-of-range.ts'
import { codecs, decimalCodec, moneyCodec } from '../../../src/source/postgres/types/scalars.ts'
import { describedAs } from './described.ts'

const some: readonly Codec[] = [
  codecs.bool,
  codecs.int2,
  codecs.int4,
  codecs.int8,
  codecs.oid,
  codecs.float4,
  codecs.float8,
  codecs.date,
  codecs.time,
  codecs.timestamp,
  codecs.timestamptz,
  codecs.uuid,
  codecs.text,
  codecs.bytea,
  codecs.versioned,
  codecs.numericText,
  utf8Checked(codecs.text),
  decimalCodec(9, 2),
  decimalCodec(18, 6),
  decimalCodec(38, 10),
  arrayCodec(codecs.int4, 23),
  arrayCodec(codecs.text, 25),
  codecs.printedText,
  compositeCodec([
    { name: 'a', typeOid: 23, codec: codecs.int4 },
    { name: 'b', typeOid: 25, codec: codecs.text },
  ]),
  rangeCodec(codecs.int4),
  multirangeCodec(codecs.date),
  hstoreCodec(codecs.text),
  codecs.xid8,
  moneyCodec(2),
  withRule(codecs.date, 'null', { count: 0 }),
  withRule(codecs.timestamp, 'clamp', { count: 0 }),
  withRule(codecs.time, 'clamp', { count: 0 }),
  withRule(decimalCodec(9, 2), 'null', { count: 0 }),
]

const sizes: Partial<Record<Codec['kind'], number>> = {
  bool: 1,
  int2: 2,
  int4: 4,
  oid: 4,
  float4: 4,
  date: 4,
  int8: 8,
  float8: 8,
  time: 8,
  timestamp: 8,
  uuid: 16,
}

/** Bytes that a value of this codec may have: mostly right, sometimes not. */
function wireValue(codec: Codec): fc.Arbitrary<Uint8Array> {
  // Long values are copied in another way than short ones.
  const long = fc.integer({ min: 500, max: 530 }).map((length) => Uint8Array.from({ length }, (_, i) => 1 + (i % 251)))
  const any = fc.oneof({ weight: 15, arbitrary: fc.uint8Array({ maxLength: 40 }) }, { weight: 1, arbitrary: long })
  const size = sizes[codec.kind]
  if (size !== undefined) {
    const exact = fc.uint8Array({ minLength: size, maxLength: size })
    const edge = fc.constantFrom(0x00, 0x7f, 0x80, 0xff).map((byte) => new Uint8Array(size).fill(0xff).with(0, byte))
    return fc.oneof({ weight: 8, arbitrary: exact }, { weight: 2, arbitrary: edge }, { weight: 1, arbitrary: any })
  }
  if (codec.kind === 'decimal' || codec.signature === 'numeric-text') {
    const numeric = fc
      .tuple(
        fc.array(fc.integer({ min: 0, max: 9999 }), { maxLength: 12 }),
        fc.integer({ min: -5, max: 10 }),
        fc.constantFrom(0, 0x4000, 0xc000, 0xd000),
        fc.integer({ min: 0, max: 30 }),
      )
      .map(([digits, weight, sign, scale]) => {
        const bytes = Buffer.alloc(8 + 2 * digits.length)
        bytes.writeUInt16BE(digits.length, 0)
        bytes.writeInt16BE(weight, 2)
        bytes.writeUInt16BE(sign, 4)
        bytes.writeUInt16BE(scale, 6)
        digits.forEach((digit, i) => bytes.writeUInt16BE(digit, 8 + 2 * i))
        return new Uint8Array(bytes)
      })
    return fc.oneof({ weight: 8, arbitrary: numeric }, { weight: 1, arbitrary: any })
  }
  if (codec.kind === 'versioned')
    return fc.tuple(fc.constantFrom(1, 1, 1, 2), any).map(([version, rest]) => new Uint8Array([version, ...rest]))
  if (codec.signature.startsWith('array')) {
    const oid = codec.signature === 'array(int4)' ? 23 : 25
    const item = oid === 23 ? fc.uint8Array({ minLength: 4, maxLength: 4 }) : any
    return fc.tuple(fc.array(fc.option(item), { maxLength: 5 }), fc.constantFrom(1, 1, 1, 0, 2)).map(([items, dimensions]) => {
      const head = Buffer.alloc(20)
      head.writeInt32BE(dimensions, 0)
      head.writeUInt32BE(oid, 8)
      head.writeInt32BE(items.length, 12)
      return new Uint8Array(
        Buffer.concat([head, ...items.flatMap((bytes) => [int32(bytes?.length ?? -1), bytes ?? Buffer.alloc(0)])]),
      )
    })
  }
  return fc.oneof(any, fc.uint8Array({ minLength: 60, maxLength: 200 }))
}

/** A value in text form. */
class Text {
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}

/** Texts that fit one type or another, whole and cut. */
const anyText: fc.Arbitrary<Text> = fc
  .tuple(
    fc.constantFrom(
      't',
      '-12',
      '9223372036854775807',
      '1.50',
      'NaN',
      '1e-7',
      '2000-01-01',
      '0044-03-15 BC',
      'infinity',
      '12:00:00.5',
      '24:00:00',
      '2000-01-01 10:00:00.25',
      '0001-01-01 00:00:00+00 BC',
      'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
      '\\x00ff',
      '{1,NULL,"3"}',
      '{{1},{2}}',
      '[2:3]={7,8}',
      '(1,"a ""b\\\\c")',
      '[1,5)',
      'empty',
      '{[2000-01-01,)}',
      '"a"=>"1", "b"=>NULL',
      '$1,234.56',
      '(,)',
      '',
      '{"a":1}',
      'x'.repeat(300),
    ),
    fc.nat({ max: 12 }),
  )
  .map(([text, cut]) => new Text(Buffer.from(cut === 0 ? text.slice(0, -1) : text)))

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value, 0)
  return bytes
}

function tuple(form: TupleForm, values: readonly (Uint8Array | Text | null | 'unchanged')[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from([values.length >> 8, values.length & 255])]
  for (const value of values) {
    if (value instanceof Uint8Array)
      parts.push(form === 'stream' ? Buffer.from('b') : Buffer.alloc(0), int32(value.length), value)
    else if (value instanceof Text && form === 'stream') parts.push(Buffer.from('t'), int32(value.bytes.length), value.bytes)
    else if (form === 'copy') parts.push(int32(-1))
    else parts.push(Buffer.from(value === 'unchanged' ? 'u' : 'n'))
  }
  return Buffer.concat(parts)
}

function segmentFor(columns: readonly { codec: Codec; required: boolean }[], heapBytes: number): Segment {
  const fields = columns.map(({ codec, required }, i): Field => ({ id: 0, name: `c${i}`, type: codec.type, required }))
  const segment = Segment.create(new SlabPool({ budget: 64 << 20 }), {
    id: 1,
    fields,
    capacity: 63,
    heapBytes,
    deletable: false,
    baseCommit: 0,
  })
  assert.ok(segment)
  for (const { data } of segment.columns) data.fill(0xee)
  return segment
}

/** What row `row` and those before it look like in memory. */
function memory(columns: readonly Column[], rows: number): unknown {
  return columns.map((column) => ({
    valid: column.valid ? Buffer.from(column.valid.subarray(0, (rows + 7) >> 3)).toString('hex') : null,
    data: Buffer.from(column.data.subarray(0, rows * column.width)).toString('hex'),
    ends: Array.from(column.ends.subarray(0, rows + 1)),
    heap: Buffer.from(column.heap.subarray(0, column.ends[rows] ?? 0)).toString('hex'),
  }))
}

const anySchema = fc.array(
  fc.record({ codec: fc.constantFrom(...some), required: fc.boolean(), skipped: fc.boolean(), key: fc.boolean() }),
  { minLength: 1, maxLength: 8 },
)

test('the generated decoder writes what the plain one writes, and refuses the same bytes for the same reason', () => {
  const property = fc.property(
    anySchema.chain((schema) => {
      const row = fc.tuple(
        ...schema.map(({ codec }) =>
          fc.oneof(
            { weight: 6, arbitrary: wireValue(codec) },
            { weight: 3, arbitrary: anyText },
            { weight: 1, arbitrary: fc.constantFrom(null, 'unchanged' as const) },
          ),
        ),
      )
      return fc.tuple(
        fc.constant(schema),
        fc.constantFrom<TupleForm>('copy', 'stream'),
        fc.array(fc.tuple(row, row), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 0, max: 300 }),
        fc.constantFrom(256, 65536),
      )
    }),
    ([schema, form, rows, damage, heapBytes]) => {
      const kept = schema.filter(({ skipped }) => !skipped)
      const columns = schema.map((column): WireColumn => ({
        codec: column.codec,
        target: column.skipped ? -1 : kept.indexOf(column),
        key: column.key,
      }))
      const made = [generatedDecoder(form, columns), plainDecoder(form, columns)].map((decoder) => ({
        decoder,
        segment: segmentFor(kept, heapBytes),
        rows: 0,
      }))
      for (const { decoder, segment } of made) decoder.bind(segment.columns)
      rows.forEach(([row, old], i) => {
        const before = form === 'stream' ? tuple('stream', old) : Buffer.alloc(0)
        let bytes = Buffer.concat([before, tuple(form, row)])
        if (damage > 0 && i % 5 === 0) bytes[before.length + (damage % (bytes.length - before.length))] ^= damage & 255
        if (damage > 200 && i % 7 === 0) bytes = Buffer.from(bytes.subarray(0, bytes.length - 1))
        const to = bytes.length
        const oldAt = form === 'stream' && i % 2 === 0 ? 0 : -1
        const ends = made.map(({ decoder, rows: n }) => decoder.decode(bytes, before.length, to, n, oldAt, oldAt))
        assert.equal(ends[0], ends[1], `row ${i}`)
        if (ends[0] < 0 && ends[0] !== refusal.malformed)
          assert.equal(made[0].decoder.outcome.column, made[1].decoder.outcome.column)
        if (ends[0] === refusal.full) assert.equal(made[0].decoder.outcome.needed, made[1].decoder.outcome.needed)
        if (ends[0] >= 0) {
          const [told, expected] = made.map(({ decoder: { outcome } }) => [
            ...outcome.unchanged.subarray(0, outcome.unchangedCount),
          ])
          assert.deepEqual(told, expected)
          for (const one of made) one.rows++
        }
      })
      assert.deepEqual(memory(made[0].segment.columns, made[0].rows), memory(made[1].segment.columns, made[1].rows))
    },
  )
  fc.assert(property, { numRuns: 300 })
})

test('messages come out whole however the bytes are cut, also when the sink asks to wait', () => {
  const property = fc.property(
    fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 30 }),
    fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 50 }),
    fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }),
    (bodies, cuts, waits) => {
      const stream = Buffer.concat(bodies.map((body) => Buffer.concat([Buffer.from([0x64]), int32(body.length + 4), body])))
      const got: string[] = []
      let turn = 0
      const reader = new FrameReader((type, bytes, from, to) => {
        if (waits[turn++ % waits.length]) return false
        assert.equal(type, 0x64)
        got.push(bytes.toString('hex', from, to))
        return true
      }, 1 << 20)
      const buffer = Buffer.alloc(100)
      for (let at = 0, i = 0; at < stream.length; i++) {
        const length = Math.min(cuts[i % cuts.length], stream.length - at)
        stream.copy(buffer, 0, at, at + length)
        let done = reader.push(buffer, length)
        buffer.fill(0xaa) // the buffer is used again
        for (let tries = 0; !done && tries < 1000; tries++) done = reader.resume()
        at += length
        if (waits.every(Boolean)) return
      }
      assert.deepEqual(
        got,
        bodies.map((body) => Buffer.from(body).toString('hex')),
      )
    },
  )
  fc.assert(property, { numRuns: 300 })
  const reader = new FrameReader(() => true, 1000)
  for (const size of [-1, 3, 2000]) {
    assert.throws(() => reader.push(Buffer.concat([Buffer.from([0x64]), int32(size)]), 5), { kind: 'corrupt', code: 'bad-frame' })
  }
})

const table: SourceTable = {
  id: '77',
  sourceName: 'public.t',
  namespace: 'shop',
  name: 't',
  fields: [
    { id: 0, name: 'id', type: { kind: 'int' }, required: true },
    { id: 0, name: 'v', type: { kind: 'string' }, required: false },
  ],
  key: { kind: 'columns', columns: [0] },
}

function parts(): SourceParts {
  return {
    pool: new SlabPool({ budget: 8 << 20 }),
    clock: systemClock,
    nextSegmentId: () => 1,
    currentCommit: () => 0,
    deletable: () => true,
    onSchemaChange: () => null,
  }
}

function changeDecoder(floor = 0): ChangeDecoder {
  const columns = [
    { id: 1, name: 'id', typeOid: 23, modifier: -1, codec: codecs.int4, setting: null },
    { id: 2, name: 'v', typeOid: 25, modifier: -1, codec: codecs.text, setting: null },
  ]
  return decoderOf(columns, floor)
}

function decoderOf(columns: readonly PlannedColumn[], floor = 0): ChangeDecoder {
  return new ChangeDecoder(0, {
    binary: !columns.some(({ codec }) => codec.textOnly),
    tables: [{ table, columns, memo: { storage: '1', highest: 2, ignored: [] }, floor }],
    parts: parts(),
    retired: new RetiredSegments(),
    codecOf: (typeOid) => columns.find((column) => column.typeOid === typeOid)?.codec ?? null,
    settingOf: () => null,
    leavesBehind: () => false,
    describe: async () => describedAs(columns),
  })
}

function xlog(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from('w'), Buffer.alloc(24), body])
}

function relation(): Buffer {
  const describe = (name: string, key: number, oid: number): Buffer =>
    Buffer.concat([Buffer.from([key]), Buffer.from(`${name}\0`), int32(oid), int32(-1)])
  return Buffer.concat([
    Buffer.from('R'),
    int32(77),
    Buffer.from('public\0t\0d'),
    Buffer.from([0, 2]),
    describe('id', 1, 23),
    describe('v', 0, 25),
  ])
}

/** A transaction with one of each, as messages. */
function transaction(): Buffer[] {
  const lsn = (value: number): Buffer => Buffer.concat([int32(0), int32(value)])
  const row = (id: number, v: string | null): Buffer => tuple('stream', [int32(id), v === null ? null : Buffer.from(v)])
  return [
    Buffer.concat([Buffer.from('B'), lsn(100), lsn(5), int32(9)]),
    relation(),
    Buffer.concat([Buffer.from('I'), int32(77), Buffer.from('N'), row(1, 'a')]),
    Buffer.concat([Buffer.from('U'), int32(77), Buffer.from('N'), row(1, 'b')]),
    Buffer.concat([Buffer.from('U'), int32(77), Buffer.from('K'), row(1, null), Buffer.from('N'), row(2, null)]),
    Buffer.concat([Buffer.from('D'), int32(77), Buffer.from('K'), row(2, null)]),
    Buffer.concat([Buffer.from('T'), int32(1), Buffer.from([0]), int32(77)]),
    Buffer.concat([Buffer.from('C'), Buffer.from([0]), lsn(100), lsn(120), lsn(5)]),
  ].map(xlog)
}

const xid = 0xfedcba98

/** The same as a streamed one, in two segments; the second is of subtransaction 7, which is rolled back. */
function streamedTransaction(finalLsn = 100): Buffer[] {
  const inSegment = (message: Buffer, part: number): Buffer =>
    Buffer.concat([message.subarray(0, 26), int32(part), message.subarray(26)])
  const changes = transaction().slice(1, -1)
  const lsn = (value: number): Buffer => Buffer.concat([int32(0), int32(value)])
  const start = (first: number): Buffer => xlog(Buffer.concat([Buffer.from('S'), int32(xid | 0), Buffer.from([first])]))
  const stop = xlog(Buffer.from('E'))
  return [
    start(1),
    ...changes.map((change) => inSegment(change, xid | 0)),
    stop,
    start(0),
    inSegment(changes[1], 7),
    stop,
    xlog(Buffer.concat([Buffer.from('A'), int32(xid | 0), int32(7)])),
    xlog(Buffer.concat([Buffer.from('c'), int32(xid | 0), Buffer.from([0]), lsn(finalLsn), lsn(finalLsn + 20), lsn(5)])),
  ]
}

async function feed(
  decoder: ChangeDecoder,
  bodies: readonly Buffer[],
  onReplyRequested = (): void => {},
): Promise<SourceEvent[]> {
  const frames = new StreamDecoder(decoder)
  frames.onReplyRequested = onReplyRequested
  for (const body of bodies) while (!frames.frame(0x64, body, 0, body.length)) await frames.waitsFor
  return frames.events()
}

test('a transaction of one change of each kind', async () => {
  const events = await feed(changeDecoder(), transaction())
  assert.deepEqual(
    events.map((event) => event.type),
    ['insert', 'upsert', 'update', 'delete', 'truncate', 'commit'],
  )
  const commit = events.at(-1)
  assert.ok(commit?.type === 'commit' && commit.position === '0/78' && commit.timeMs === 946_684_800_000)
})

test('transactions before the position are not told again; a keepalive tells progress only between transactions', async () => {
  const decoder = changeDecoder()
  await feed(decoder, transaction())
  assert.deepEqual(await feed(decoder, transaction()), [])
  const keepalive = (lsn: number): Buffer =>
    Buffer.concat([Buffer.from('k'), int32(0), int32(lsn), Buffer.alloc(8), Buffer.from([1])])
  let asked = 0
  const count = (): void => void asked++
  assert.deepEqual(await feed(decoder, [keepalive(0x90), keepalive(0xa0), keepalive(0x80)], count), [
    { type: 'progress', position: '0/A0' },
  ])
  const begin = Buffer.from(transaction()[0])
  begin.writeUInt32BE(0xb0, 30)
  assert.deepEqual(await feed(decoder, [begin, keepalive(0xc0)], count), [])
  assert.equal(asked, 4)
  assert.deepEqual(decoder.reconnect(), [{ type: 'abort' }])
})

test('a type of which only the text is read has a binary stream opened again as text', async () => {
  const columns = [
    { id: 1, name: 'id', typeOid: 23, modifier: -1, codec: codecs.int4, setting: null },
    { id: 2, name: 'v', typeOid: 25, modifier: -1, codec: codecs.printedText, setting: null },
  ]
  const decoder = decoderOf(columns)
  assert.equal(decoder.binary, false)
  decoder.tables.binary = true // as if the table had come later
  await assert.rejects(feed(decoder, transaction()), { kind: 'unavailable', code: 'text-needed' })
  decoder.reconnect()
  assert.equal(decoder.binary, false)
  const [begin, shape] = transaction()
  const asText = xlog(Buffer.from('I\0\0\0MN\0\x02t\0\0\0\x02-7t\0\0\0\x01x', 'latin1'))
  assert.deepEqual(
    (await feed(decoder, [begin, shape, asText, transaction()[7]])).map((event) => event.type),
    ['insert', 'commit'],
  )
  const asBinary = xlog(Buffer.from('I\0\0\0MN\0\x02t\0\0\0\x02-7b\0\0\0\x01x', 'latin1'))
  decoder.position = 0
  const [failed] = await feed(decoder, [begin, shape, asBinary])
  assert.ok(failed.type === 'failed' && failed.error.kind === 'corrupt')
})

test('a streamed transaction: what belongs to it, its parts and its end', async () => {
  const streamed = { transaction: xid, part: xid }
  const decoder = changeDecoder()
  const events = await feed(decoder, streamedTransaction())
  assert.deepEqual(
    events.map((event) => [event.type, 'streamed' in event ? event.streamed : null]),
    [
      ...['insert', 'upsert', 'update', 'delete', 'truncate'].map((type) => [type, streamed]),
      ['insert', { transaction: xid, part: 7 }],
      ['rollback', null],
      ['commit', null],
    ],
  )
  assert.deepEqual(events.at(-2), { type: 'rollback', transaction: xid, part: 7, table: null })
  assert.deepEqual(events.at(-1), { type: 'commit', position: '0/78', timeMs: 946_684_800_000, transaction: xid })
  // Told before: taken back as a whole.
  assert.deepEqual((await feed(decoder, streamedTransaction())).at(-1), {
    type: 'rollback',
    transaction: xid,
    part: null,
    table: null,
  })
  // Begun again behind a lost connection, and as the server begins it again by itself.
  await feed(decoder, streamedTransaction(200).slice(0, 4))
  assert.deepEqual(decoder.reconnect(), [{ type: 'abort' }])
  await assert.rejects(feed(decoder, streamedTransaction(200).slice(8)), { kind: 'corrupt', code: 'bad-message' })
  decoder.reconnect()
  await feed(decoder, streamedTransaction(200).slice(0, 8))
  assert.deepEqual((await feed(decoder, streamedTransaction(200)))[0], {
    type: 'rollback',
    transaction: xid,
    part: null,
    table: null,
  })
  assert.equal(decoder.position, 220)
})

test('a streamed transaction that ended before the copy of a table began is none of its', async () => {
  const decoder = changeDecoder(150)
  assert.deepEqual((await feed(decoder, streamedTransaction())).slice(-2), [
    { type: 'rollback', transaction: xid, part: null, table: table.id },
    { type: 'commit', position: '0/78', timeMs: 946_684_800_000, transaction: xid },
  ])
  assert.deepEqual((await feed(decoder, streamedTransaction(150))).at(-1)?.type, 'commit')
})

test('postgres faults 34 and 35: a flood of keepalives is one progress; what is unknown is passed over or refused', async () => {
  const decoder = changeDecoder()
  const keepalives = Array.from({ length: 10_000 }, (_, i) =>
    Buffer.concat([Buffer.from('k'), int32(0), int32(i + 1), Buffer.alloc(9)]),
  )
  assert.deepEqual(await feed(decoder, keepalives), [{ type: 'progress', position: '0/2710' }])
  assert.deepEqual(await feed(decoder, [Buffer.from('s-of-a-newer-protocol')]), [])
  // Positions of frames are 0/0 here, and nothing depends on them.
  for (const which of [0, 1, 2, 7]) {
    const messages = transaction()
    messages[which] = Buffer.concat([messages[which], Buffer.from([0])])
    await assert.rejects(feed(changeDecoder(), messages), { kind: 'corrupt' }, `a byte too much in message ${which}`)
  }
  await assert.rejects(feed(changeDecoder(), [xlog(Buffer.from('?'))]), { kind: 'corrupt', code: 'bad-message' })
})

test('a damaged stream ends with `corrupt` or stops the table, and nothing else', async () => {
  const property = fc.asyncProperty(
    fc.integer({ min: 0, max: 20 }),
    fc.nat(),
    fc.integer({ min: 1, max: 255 }),
    fc.boolean(),
    async (any, at, bits, cut) => {
      const messages = any < 8 ? transaction() : streamedTransaction()
      const which = any < 8 ? any : any - 8
      const message = messages[which]
      const place = 25 + (at % (message.length - 25))
      if (cut) messages[which] = message.subarray(0, place)
      else message[place] ^= bits
      const decoder = changeDecoder()
      try {
        for (const event of await feed(decoder, messages)) {
          if (event.type === 'failed') assert.ok(['corrupt', 'unsupported'].includes(event.error.kind))
        }
      } catch (error) {
        // In a streamed transaction nothing makes a table fail: it is asked for as a whole.
        const isFine = error instanceof FrazilError && (error.kind === 'corrupt' || error.code === 'whole-needed')
        assert.ok(isFine, String(error))
      }
    },
  )
  await fc.assert(property, { numRuns: 4000 })
})

test('rows of a copy may lie across messages; a copy that does not end is refused', () => {
  const header = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), int32(0), int32(0)])
  const rows = Array.from({ length: 40 }, (_, i) => tuple('copy', [int32(i), i % 3 === 0 ? null : Buffer.from(`v${i}`)]))
  const stream = Buffer.concat([header, ...rows, Buffer.from([0xff, 0xff])])
  const copy = (): CopyDecoder => {
    const decoder = tupleDecoder(
      'copy',
      [codecs.int4, codecs.text].map((codec, target) => ({ codec, target, key: false })),
    )
    return new CopyDecoder(table, new SegmentWriter(table.fields, table, decoder, parts(), new RetiredSegments()))
  }
  const property = fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (cuts) => {
    const decoder = copy()
    for (let at = 0, i = 0; at < stream.length; i++) {
      const next = Math.min(at + cuts[i % cuts.length], stream.length)
      assert.ok(decoder.data(stream, at, next))
      at = next
    }
    decoder.done()
    assert.equal(decoder.rows, rows.length)
  })
  fc.assert(property, { numRuns: 200 })
  const broken = copy()
  broken.data(stream, 0, stream.length - 5)
  assert.throws(() => broken.done(), { kind: 'corrupt', code: 'bad-copy' })
  assert.throws(() => copy().data(Buffer.alloc(30), 0, 30), { kind: 'corrupt' })
})
