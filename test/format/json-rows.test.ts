import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { SlabPool } from '../../src/base/index.ts'
import { Segment, readRow } from '../../src/data/index.ts'
import type { Field, Type, Value } from '../../src/data/index.ts'
import { JsonRowDecoder, outcomes } from '../../src/format/json/index.ts'

const heapBytes = 1 << 14

const pool = new SlabPool({ budget: 4 << 20, slabBytes: 1 << 20 })

/** One row of JSON as values, or why it is refused. */
function decode(fields: readonly Field[], text: string | Uint8Array): readonly Value[] | string {
  const segment = Segment.create(pool, {
    id: 1,
    fields,
    capacity: 63,
    heapBytes,
    deletable: false,
    baseCommit: 0,
  })
  assert(segment)
  try {
    const decoder = new JsonRowDecoder(fields)
    decoder.bind(segment.columns)
    const bytes = typeof text === 'string' ? Buffer.from(text) : text
    const after = decoder.decode(bytes, 0, bytes.length, 0)
    if (after === outcomes.refused) return decoder.problem.code
    if (after === outcomes.full) return 'full'
    assert.equal(after, bytes.length)
    return readRow(segment, 0)
  } finally {
    segment.unpin()
  }
}

function one(type: Type, json: string, required = false): Value | string {
  const decoded = decode([{ id: 1, name: 'v', type, required }], `{"v":${json}}`)
  return typeof decoded === 'string' ? `!${decoded}` : decoded[0]
}

const kinds = ['boolean', 'int', 'long', 'double', 'string'] as const

suite('rows of JSON into columns', () => {
  test('what JSON.parse reads is what lands in the columns, in any order of names, with any white space', () => {
    const value = {
      boolean: fc.boolean(),
      int: fc.integer(),
      long: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
      double: fc.oneof(
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.integer().map((n) => n / 100),
      ),
      string: fc.string({ unit: 'grapheme', maxLength: 60 }),
    }
    const column = fc
      .record({ kind: fc.constantFrom(...kinds), name: fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }) })
      .chain(({ kind, name }) => fc.option(value[kind] as fc.Arbitrary<Value>).map((cell) => ({ kind, name, cell })))
    const columns = fc.uniqueArray(column, { minLength: 1, maxLength: 8, selector: ({ name }) => name })
    const spaces = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 2 })
    fc.assert(
      fc.property(columns, fc.infiniteStream(fc.nat()), spaces, (columns, order, space) => {
        const fields = columns.map(({ kind, name }, i): Field => ({ id: i + 1, name, type: { kind }, required: false }))
        const shuffled = columns.map((column) => ({ column, at: order.next().value ?? 0 })).sort((a, b) => a.at - b.at)
        const members = shuffled
          .filter(({ column: { cell }, at }) => cell !== null || at % 2 === 0)
          .map(({ column: { name, cell } }) => {
            const text = typeof cell === 'bigint' ? String(cell) : Object.is(cell, -0) ? '-0' : JSON.stringify(cell)
            return `${space}${JSON.stringify(name)}${space}:${space}${text}${space}`
          })
        const decoded = decode(fields, `{${members.length > 0 ? members.join(',') : space}}`)
        assert.deepEqual(
          decoded,
          columns.map(({ kind, cell }) => (kind === 'int' && Object.is(cell, -0) ? 0 : cell)),
        )
      }),
      { numRuns: 150 },
    )
  })

  test('decimals keep all their digits, as numbers and as text', () => {
    const decimals = fc
      .record({ precision: fc.integer({ min: 1, max: 38 }), share: fc.double({ min: 0, max: 1, noNaN: true }) })
      .chain(({ precision, share }) => {
        const limit = 10n ** BigInt(precision) - 1n
        return fc.bigInt(-limit, limit).map((unscaled) => ({ precision, scale: Math.floor(share * precision), unscaled }))
      })
    fc.assert(
      fc.property(decimals, fc.boolean(), fc.boolean(), ({ precision, scale, unscaled }, isText, withZeros) => {
        const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0')
        const point = digits.length - scale
        const plain = `${unscaled < 0n ? '-' : ''}${digits.slice(0, point)}${scale > 0 ? `.${digits.slice(point)}` : ''}`
        const text = withZeros && scale > 0 ? `${plain}00` : plain
        const json = isText ? `"${text}"` : text
        assert.equal(one({ kind: 'decimal', precision, scale }, json), unscaled)
      }),
    )
    assert.equal(one({ kind: 'decimal', precision: 5, scale: 2 }, '1.5e2'), 15_000n)
    assert.equal(one({ kind: 'decimal', precision: 5, scale: 2 }, '1.005'), '!out-of-range')
    assert.equal(one({ kind: 'decimal', precision: 5, scale: 2 }, '1000'), '!out-of-range')
    assert.equal(one({ kind: 'decimal', precision: 5, scale: 2 }, '1e100000'), '!out-of-range')
    assert.equal(one({ kind: 'decimal', precision: 38, scale: 0 }, '9'.repeat(39)), '!out-of-range')
  })

  test('times are exact to the microsecond from the year 1 to 9999', () => {
    const micros = fc.bigInt(-62_135_596_800_000_000n, 253_402_300_799_999_999n)
    fc.assert(
      fc.property(micros, fc.integer({ min: -839, max: 839 }), (at, offset) => {
        const inSecond = ((at % 1_000_000n) + 1_000_000n) % 1_000_000n
        const seconds = Number((at - inSecond) / 1_000_000n)
        const local = new Date(seconds * 1000 + offset * 60_000)
        if (local.getUTCFullYear() < 1 || local.getUTCFullYear() > 9999) return
        const zone = `${offset < 0 ? '-' : '+'}${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`
        const text = (date: Date): string => `${date.toISOString().slice(0, 19)}.${String(inSecond).padStart(6, '0')}`
        assert.equal(one({ kind: 'timestamptz' }, `"${text(local)}${zone}"`), at)
        assert.equal(one({ kind: 'timestamp' }, `"${text(new Date(seconds * 1000))}"`), at)
      }),
    )
    assert.equal(one({ kind: 'date' }, '"2024-02-29"'), 19_782)
    for (const wrong of ['"2023-02-29"', '"2024-1-1"', '"0000-01-01"', '19782', '"2024-02-29T00:00:00"', '""']) {
      assert.equal(one({ kind: 'date' }, wrong), '!wrong-type')
    }
    assert.equal(one({ kind: 'time' }, '"23:59:59.999999"'), 86_399_999_999n)
    assert.equal(one({ kind: 'time' }, '"24:00:00"'), '!wrong-type')
    assert.equal(one({ kind: 'timestamptz' }, '"2024-01-01T00:00:00"'), '!wrong-type')
    assert.equal(one({ kind: 'timestamp' }, '"2024-01-01T00:00:00Z"'), '!wrong-type')
    assert.equal(one({ kind: 'timestamp' }, '"2024-01-01 10:20"'), 1_704_104_400_000_000n)
    assert.equal(one({ kind: 'timestamp' }, '"2024-01-01T00:00:00.1234567"'), '!wrong-type')
  })

  test('limits of numbers', () => {
    const cases: [Type, string, Value | string][] = [
      [{ kind: 'int' }, '2147483647', 2_147_483_647],
      [{ kind: 'int' }, '-2147483648', -2_147_483_648],
      [{ kind: 'int' }, '2147483648', '!out-of-range'],
      [{ kind: 'int' }, '-2147483649', '!out-of-range'],
      [{ kind: 'int' }, '99999999999999', '!wrong-type'],
      [{ kind: 'int' }, '1.0', '!wrong-type'],
      [{ kind: 'int' }, '1e3', '!wrong-type'],
      [{ kind: 'int' }, '01', '!wrong-type'],
      [{ kind: 'int' }, '"1"', '!wrong-type'],
      [{ kind: 'int' }, 'true', '!wrong-type'],
      [{ kind: 'long' }, '9223372036854775807', 2n ** 63n - 1n],
      [{ kind: 'long' }, '9223372036854775808', '!out-of-range'],
      [{ kind: 'long' }, '-9223372036854775808', -(2n ** 63n)],
      [{ kind: 'long' }, '-9223372036854775809', '!out-of-range'],
      [{ kind: 'long' }, '9007199254740993', 9_007_199_254_740_993n],
      [{ kind: 'long' }, '100000000000000000000', '!out-of-range'],
      [{ kind: 'double' }, '1e400', '!out-of-range'],
      [{ kind: 'double' }, '-0', -0],
      [{ kind: 'double' }, '"NaN"', Number.NaN],
      [{ kind: 'double' }, '"Infinity"', Infinity],
      [{ kind: 'double' }, 'NaN', '!bad-json'],
      [{ kind: 'float' }, '3.4028235677973366e38', '!out-of-range'],
      [{ kind: 'float' }, '0.1', Math.fround(0.1)],
      [{ kind: 'boolean' }, '1', '!wrong-type'],
    ]
    for (const [type, json, expected] of cases) assert.deepEqual(one(type, json), expected, `${type.kind} ${json}`)
  })

  test('texts: escapes, surrogates, base64, UUIDs', () => {
    assert.equal(one({ kind: 'string' }, String.raw`"\ud83d\ude00\n\u00e9\/"`), '😀\né/')
    assert.equal(one({ kind: 'string' }, String.raw`"\ud83d"`), '!out-of-range')
    assert.equal(one({ kind: 'string' }, String.raw`"\x41"`), '!out-of-range')
    assert.equal(one({ kind: 'string' }, '"a\nb"'), '!bad-json')
    assert.equal(one({ kind: 'string' }, '"a'), '!bad-json')
    assert.deepEqual(one({ kind: 'binary' }, '"AP8="'), new Uint8Array([0, 255]))
    assert.deepEqual(one({ kind: 'binary' }, '"AP8"'), new Uint8Array([0, 255]))
    assert.equal(one({ kind: 'binary' }, '"A"'), '!wrong-type')
    assert.equal(one({ kind: 'binary' }, '"A*8="'), '!wrong-type')
    const uuid = one({ kind: 'uuid' }, '"0123ABCD-89ab-cdef-0123-456789abcdef"')
    assert(uuid instanceof Uint8Array)
    assert.equal(Buffer.from(uuid).toString('hex'), '0123abcd89abcdef0123456789abcdef')
    assert.equal(one({ kind: 'uuid' }, '"0123abcd89abcdef0123456789abcdef"'), '!wrong-type')
    assert.equal(one({ kind: 'string' }, `"${'x'.repeat(heapBytes)}"`), '!full')
  })

  test('nested values', () => {
    const list: Type = { kind: 'list', elementId: 2, element: { kind: 'int' }, elementRequired: false }
    const struct: Type = {
      kind: 'struct',
      fields: [
        { id: 3, name: 'a', type: { kind: 'long' }, required: true },
        { id: 4, name: 'b', type: list, required: false },
      ],
    }
    const map: Type = {
      kind: 'map',
      keyId: 5,
      key: { kind: 'string' },
      valueId: 6,
      value: { kind: 'string' },
      valueRequired: false,
    }
    assert.deepEqual(one(list, '[1, null ,3]'), [1, null, 3])
    assert.deepEqual(one(list, '[]'), [])
    assert.equal(one(list, '[1,"2"]'), '!wrong-type')
    assert.equal(one(list, '[1,2147483648]'), '!out-of-range')
    assert.equal(one(list, '[1,]'), '!bad-json')
    assert.deepEqual(one(struct, '{"b":[7], "a":9007199254740993}'), [9_007_199_254_740_993n, [7]])
    assert.deepEqual(one(struct, '{"a":1}'), [1n, null])
    assert.equal(one(struct, '{"b":[7]}'), '!missing-value')
    assert.equal(one(struct, '{"a":1,"c":2}'), '!unknown-field')
    assert.equal(one(struct, '{"a":1,"a":2}'), '!duplicate-field')
    assert.deepEqual(one(map, '{"x":"1","y":null}'), [
      ['x', '1'],
      ['y', null],
    ])
    const long = 'y'.repeat(5000)
    assert.deepEqual(one(map, `{"x":"${long}"}`), [['x', long]])
  })

  test('a row that is not quite right is refused for a reason', () => {
    const fields: Field[] = [
      { id: 1, name: 'id', type: { kind: 'int' }, required: true },
      { id: 2, name: '__proto__', type: { kind: 'string' }, required: false },
    ]
    const cases: [string, string | readonly Value[]][] = [
      ['{"id":1}', [1, null]],
      ['{"__proto__":"x","id":1}', [1, 'x']],
      ['{"\\u0069d":1}', [1, null]],
      ['{}', 'missing-value'],
      ['{"id":null}', 'missing-value'],
      ['{"id":1,"id":1}', 'duplicate-field'],
      ['{"id":1,"ID":1}', 'unknown-field'],
      ['{"id":1,"constructor":1}', 'unknown-field'],
      ['{"id":1,}', 'bad-json'],
      ['{"id":1 "x":2}', 'bad-json'],
      ['{"id" 1}', 'bad-json'],
      ['{"id":1', 'bad-json'],
      ['{"id":', 'bad-json'],
      ['{', 'bad-json'],
      ['', 'not-an-object'],
      ['[1]', 'not-an-object'],
      ['null', 'not-an-object'],
      ['{id:1}', 'bad-json'],
    ]
    for (const [text, expected] of cases) assert.deepEqual(decode(fields, text), expected, text)
    // A struct is as strict as a row, wherever it is.
    const id: Field = { id: 2, name: 'id', type: { kind: 'int' }, required: true }
    const struct: Type = { kind: 'struct', fields: [id] }
    const list: Type = { kind: 'list', elementId: 3, element: struct, elementRequired: true }
    const nested: Field[] = [{ id: 1, name: 'a', type: list, required: false }]
    const faults: [string, string][] = [
      ['{"b":1,"id":1}', 'unknown-field'],
      ['{"id":1,"id":1}', 'duplicate-field'],
      ['{}', 'missing-value'],
      ['{"id":null}', 'missing-value'],
      ['null', 'missing-value'],
      ['{"id":"x"}', 'wrong-type'],
      ['{"id":3000000000}', 'out-of-range'],
      ['{"b":', 'bad-json'],
    ]
    for (const [text, expected] of faults) assert.equal(decode(nested, `{"a":[{"id":1},${text}]}`), expected, text)
  })

  test('bytes of any kind are refused or decoded, never more', () => {
    const fields = [...kinds, 'date', 'time', 'timestamptz', 'uuid', 'binary', 'float'].map(
      // Each a kind without parameters.
      (kind, i): Field => ({ id: i + 1, name: kind, type: { kind } as Type, required: false }),
    )
    const good =
      '{"int":-12,"string":"a\\u00e9","double":1.5e3,"date":"2024-01-01","boolean":true,"timestamptz":"2024-01-01T00:00:00Z"}'
    fc.assert(
      fc.property(fc.nat(good.length), fc.uint8Array({ maxLength: 4 }), fc.nat(3), (at, noise, cut) => {
        const bytes = Buffer.concat([Buffer.from(good.slice(0, at)), noise, Buffer.from(good.slice(at + cut))])
        // The decoder is only ever given these.
        fc.pre(isUtf8(bytes))
        let decoded: readonly Value[] | string
        try {
          decoded = decode(fields, bytes)
        } catch (error) {
          // Something may follow a good row.
          assert(error instanceof assert.AssertionError)
          return
        }
        if (typeof decoded !== 'string') JSON.parse(bytes.toString())
      }),
      { numRuns: 1000 },
    )
  })
})

function two(number: number): string {
  return String(Math.floor(number)).padStart(2, '0')
}
