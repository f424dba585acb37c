import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeValue } from '../../../src/data/index.ts'
import type { Value } from '../../../src/data/index.ts'
import { resolveType } from '../../../src/source/postgres/types/index.ts'
import type { Codec, TypeRow } from '../../../src/source/postgres/types/index.ts'
import { float4 } from '../../../src/source/postgres/types/text-numbers.ts'

/** The codec of a type of an extension, which is known by its name. */
function extensionCodec(name: string, modifier = -1): Codec {
  const row: TypeRow = {
    oid: 90_000,
    name,
    kind: 'b',
    category: 'U',
    baseOid: 0,
    baseModifier: -1,
    elementOid: 0,
    delimiter: ',',
    boundOid: 0,
    attributes: [],
  }
  const context = {
    types: new Map([[row.oid, row]]),
    checkText: false,
    moneyScale: 2,
    outOfRange: 'error',
    replaced: { count: 0 },
  } as const
  return resolveType(row.oid, modifier, context) ?? assert.fail(name)
}

function read(codec: Codec, form: 'binary' | 'text', bytes: Buffer): Value {
  const out = Buffer.alloc(codec[form].bound(bytes, 0, bytes.length))
  const end = codec[form].store(bytes, 0, bytes.length, out, 0)
  assert.ok(end >= 0, `${codec.signature} ${form}: ${end}`)
  return decodeValue(codec.type, out, 0, end)
}

const hex = (value: Value): string => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : 'no bytes')

/** geometry(Point, 4326) as PostGIS packs it. */
const point4326 = (4326 << 8) | (1 << 2)

test('PostGIS: WKB without the SRID that the column is declared with; another SRID stays', () => {
  // POINT(1 2): order, type, [SRID], x, y.
  const xy = '000000000000f03f0000000000000040'
  const plain = `0101000000${xy}`
  const with4326 = `0101000020e6100000${xy}`
  const bigEndian = `0020000001000010e63ff00000000000004000000000000000`
  const cases: [type: string, modifier: number, given: string, expected: string][] = [
    ['geometry', -1, plain, plain],
    ['geometry', -1, with4326, with4326],
    ['geometry', point4326, with4326, plain],
    ['geometry', (3857 << 8) | 4, with4326, with4326],
    ['geometry', point4326, bigEndian, '00000000013ff00000000000004000000000000000'],
    ['geography', -1, with4326, plain],
    ['geography', point4326, with4326, plain],
  ]
  for (const [type, modifier, given, expected] of cases) {
    const codec = extensionCodec(type, modifier)
    assert.equal(hex(read(codec, 'binary', Buffer.from(given, 'hex'))), expected, `${type} ${modifier}`)
    assert.equal(hex(read(codec, 'text', Buffer.from(given.toUpperCase()))), expected, `${type} ${modifier} as text`)
  }
  assert.ok(extensionCodec('geometry').binary.store(Buffer.from('05', 'hex'), 0, 1, Buffer.alloc(9), 0) < 0)
})

test('pgvector: lists of floats; its sparse vectors are their text', () => {
  const vector = extensionCodec('vector', 3)
  assert.deepEqual(read(vector, 'binary', Buffer.from('000300003f800000bf000000 3dcccccd'.replace(' ', ''), 'hex')), [
    1,
    -0.5,
    Math.fround(0.1),
  ])
  assert.deepEqual(read(vector, 'text', Buffer.from('[1,-0.5,0.1]')), [1, -0.5, Math.fround(0.1)])
  const half = extensionCodec('halfvec')
  const halves = Buffer.from('000600003c00b8007bff00010400fc00', 'hex')
  assert.deepEqual(read(half, 'binary', halves), [1, -0.5, 65504, 2 ** -24, 2 ** -14, Number.NEGATIVE_INFINITY])
  assert.equal(extensionCodec('sparsevec').textOnly, true)
})

test('money in the text of other locales has the same digits', () => {
  const money = resolveType(790, -1, {
    types: new Map(),
    checkText: false,
    moneyScale: 2,
    outOfRange: 'error',
    replaced: { count: 0 },
  })
  assert.ok(money)
  for (const [text, value] of [
    ['-$1,234.56', -123456n],
    ['($1,234.56)', -123456n],
    ['1.234,56 €', 123456n],
    ['Kr. 0,05', 5n],
    ['-92.233.720.368.547.758,08', -(2n ** 63n)],
    ['$0.00', 0n],
  ] as const) {
    assert.equal(read(money, 'text', Buffer.from(text)), value, text)
  }
})

test('a float4 is rounded once: a text beyond the middle of two floats goes to the side where it is', () => {
  // 1 + 2^-24 is the middle between 1 and the next float; doubles near it round to it.
  for (const [text, value] of [
    ['1.000000059604644775390625', 1],
    ['1.00000005960464477539062500000000000000001', 1 + 2 ** -23],
    ['1.00000005960464477539062499999999999999999', 1],
    ['-1.00000005960464477539062500000000000000001', -1 - 2 ** -23],
    ['1.00000017881393432617187500000000000000001', 1 + 2 ** -22],
    ['1.00000017881393432617187499999999999999999', 1 + 2 ** -23],
    ['3.4028235e+38', 3.4028234663852886e38],
    ['1e-45', 2 ** -149],
  ] as const) {
    assert.equal(float4(Buffer.from(text), 0, text.length), value, text)
  }
})
