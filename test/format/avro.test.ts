import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import {
  ByteReader,
  ByteWriter,
  ContainerReader,
  compileDecoder,
  compileEncoder,
  resolveSchema,
  sameEncoding,
  writeContainer,
} from '../../src/format/avro/index.ts'
import type { AvroCodec, AvroSchema, AvroValue, FieldNames } from '../../src/format/avro/index.ts'

const none: FieldNames = new Map()

function roundTrip(schema: AvroSchema, value: AvroValue): AvroValue {
  const type = resolveSchema(schema)
  const out = new ByteWriter(1)
  compileEncoder(type, none)(out, value)
  const input = new ByteReader(out.take())
  const back = compileDecoder(type, none)(input)
  assert.equal(input.remaining, 0)
  return back
}

test('longs of 64 bits survive, as numbers while they are safe', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      const back = roundTrip('long', value)
      assert.equal(BigInt(back as number | bigint), value)
      assert.equal(typeof back, Number.isSafeInteger(Number(value)) ? 'number' : 'bigint')
    }),
  )
  fc.assert(fc.property(fc.maxSafeInteger(), (value) => assert.equal(roundTrip('long', value), value)))
  const bytes = (value: number) => {
    const out = new ByteWriter()
    out.long(value)
    return [...out.take()]
  }
  // Examples of the Avro specification.
  assert.deepEqual([0, -1, 1, -2, 2, -64, 64].map(bytes), [[0], [1], [2], [3], [4], [0x7f], [0x80, 0x01]])
})

test('every type survives', () => {
  assert.equal(roundTrip('string', 'zażółć 🙂'), 'zażółć 🙂')
  assert.equal(roundTrip('boolean', true), true)
  assert.equal(roundTrip('float', 1.5), 1.5)
  assert.equal(roundTrip('double', Math.PI), Math.PI)
  assert.deepEqual(roundTrip('bytes', Uint8Array.of(1, 2)), Uint8Array.of(1, 2))
  assert.deepEqual(roundTrip({ type: 'fixed', name: 'f', size: 2 }, Uint8Array.of(1, 2)), Uint8Array.of(1, 2))
  assert.deepEqual(roundTrip({ type: 'array', items: ['null', 'int'] }, [1, null, 3]), [1, null, 3])
  assert.deepEqual(roundTrip({ type: 'map', values: 'long' }, [['a', 1]]), [['a', 1]])
})

const recordSchema = (names: readonly [string, string, string]): AvroSchema => ({
  type: 'record',
  name: 'r',
  fields: [
    { name: names[0], type: 'long', 'field-id': 1 },
    { name: names[1], type: ['null', 'string'], default: null, 'field-id': 2 },
    { name: names[2], type: { type: 'array', items: 'bytes', 'element-id': 4 }, 'field-id': 3 },
  ],
})
const names: FieldNames = new Map([
  [1, 'first'],
  [2, 'second'],
])

test('fields are found by id, whatever their names are; unknown ones are skipped', () => {
  const write = compileEncoder(resolveSchema(recordSchema(['a', 'b', 'c'])), none)
  const out = new ByteWriter()
  write(out, { a: 7, b: 'x', c: [Uint8Array.of(1)] })
  const read = compileDecoder(resolveSchema(recordSchema(['old_a', 'old_b', 'old_c'])), names)
  assert.deepEqual(read(new ByteReader(out.take())), { first: 7, second: 'x' })
})

test('a field kept as bytes is translated when its writer used another encoding', () => {
  const wanted = resolveSchema(['null', { type: 'array', items: 'long' }])
  const schema: AvroSchema = {
    type: 'record',
    name: 'r',
    fields: [{ name: 'x', type: [{ type: 'array', items: 'int' }, 'null'], 'field-id': 1 }],
  }
  const type = resolveSchema(schema)
  const out = new ByteWriter()
  out.long(0) // the array's branch comes first here
  out.long(-2) // a block of two items that says its size
  out.long(2)
  out.long(5)
  out.long(6)
  out.long(0)
  const record = compileDecoder(type, names, new Map([[1, wanted]]))(new ByteReader(out.take())) as { first: Uint8Array }
  assert.deepEqual(compileDecoder(wanted, none)(new ByteReader(record.first)), [5, 6])
  assert.ok(!sameEncoding(type, wanted))
  assert.ok(sameEncoding(resolveSchema(['null', 'int']), resolveSchema(['null', 'long'])))
})

const schema = recordSchema(['first', 'second', 'third'])
const rows = Array.from({ length: 30_000 }, (_, i) => ({
  first: i,
  second: i % 3 === 0 ? null : `row ${i}`,
  third: [Uint8Array.of(i & 255)],
}))

async function container(codec: AvroCodec, count: number): Promise<Uint8Array> {
  const encode = compileEncoder(resolveSchema(schema), none)
  return writeContainer({ schema, metadata: { content: 'data', 'tricky key': 'ü' }, encode, values: rows.slice(0, count), codec })
}

test('containers of both codecs and many blocks come back with their metadata', async () => {
  for (const codec of ['deflate', 'null'] as const) {
    for (const count of [0, 1, 30_000]) {
      const bytes = await container(codec, count)
      const { header, values } = new ContainerReader((type) => compileDecoder(type, none)).read(bytes)
      assert.deepEqual([header.metadata.get('content'), header.metadata.get('tricky key')], ['data', 'ü'])
      assert.deepEqual(header.schema, schema)
      assert.equal(values.length, count)
    }
  }
  const bytes = await container('deflate', 100)
  const { values } = new ContainerReader((type) => compileDecoder(type, new Map([[1, 'first']]))).read(bytes)
  assert.deepEqual(values[99], { first: 99 })
  assert.deepEqual(await container('deflate', 100), bytes)
})

test('one decoder serves all files with its schema, and files of other writers come between', async () => {
  const other: AvroSchema = { type: 'record', name: 'other', fields: [{ name: 'text', type: 'string', 'field-id': 1 }] }
  const named = new Map([[1, 'first']])
  const texts = await writeContainer({
    schema: other,
    metadata: { content: 'texts' },
    encode: compileEncoder(resolveSchema(other), named),
    values: [{ first: 'one' }],
  })
  let compiled = 0
  const reader = new ContainerReader((type) => {
    compiled++
    return compileDecoder(type, named)
  })
  for (const count of [1, 3, 2]) {
    assert.equal(reader.read(await container('deflate', count)).values.length, count)
    const { header, values } = reader.read(texts)
    assert.deepEqual([header.schema, header.metadata.get('content'), values], [other, 'texts', [{ first: 'one' }]])
  }
  assert.equal(compiled, 2)
  // However many there are, it keeps some of them only.
  for (let i = 0; i < 100; i++) {
    const one: AvroSchema = { type: 'record', name: `r${i}`, fields: [{ name: 'n', type: 'long', 'field-id': 1 }] }
    const encode = compileEncoder(resolveSchema(one), named)
    assert.deepEqual(reader.read(await writeContainer({ schema: one, metadata: {}, encode, values: [{ first: i }] })).values, [
      { first: i },
    ])
  }
  assert.deepEqual(reader.read(texts).values, [{ first: 'one' }])
  assert.equal(compiled, 103)
})

test('cut or changed containers are refused with a kind, never crash', async () => {
  for (const codec of ['deflate', 'null'] as const) {
    const bytes = await container(codec, 50)
    const reader = new ContainerReader((type) => compileDecoder(type, none))
    const read = (input: Uint8Array) => reader.read(input)
    // A file cut right behind its header is a whole one without records.
    const empty = (await container(codec, 0)).length
    for (let length = 0; length < bytes.length; length++) {
      if (length !== empty) assert.throws(() => read(bytes.subarray(0, length)), { kind: 'corrupt' }, String(length))
    }
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = bytes.slice()
        changed[at] ^= change
        try {
          read(changed)
        } catch (error) {
          assert.ok(
            error instanceof Error && 'kind' in error && ['corrupt', 'unsupported'].includes(String(error.kind)),
            String(error),
          )
        }
      }),
      { numRuns: 300 },
    )
  }
})

test('bad schemas are refused', () => {
  const nested = (depth: number): AvroSchema => (depth === 0 ? 'int' : { type: 'array', items: nested(depth - 1) })
  const self = { type: 'record', name: 'r', fields: [{ name: 'x', type: ['null', 'r'] }] }
  for (const bad of [null, 5, 'unknown', { type: 'record', name: 'r' }, { type: 'fixed', name: 'f' }, nested(100), self]) {
    assert.throws(() => resolveSchema(bad), { kind: 'corrupt', code: 'bad-avro' })
  }
})
