import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import type { Field, Type, Value } from '../../src/data/index.ts'
import { jsonText, rowText } from '../../src/server/index.ts'

const plain = { numbersAsStrings: false }

function field(name: string, type: Type): Field {
  return { id: 0, name, type, required: false }
}

suite('values as JSON', () => {
  const cases: [string, Type, Value, string][] = [
    ['null', { kind: 'long' }, null, 'null'],
    ['boolean', { kind: 'boolean' }, true, 'true'],
    ['largest int64', { kind: 'long' }, 9223372036854775807n, '9223372036854775807'],
    [
      'decimal',
      { kind: 'decimal', precision: 38, scale: 2 },
      12345678901234567890123456789012345678n,
      '123456789012345678901234567890123456.78',
    ],
    ['small decimal', { kind: 'decimal', precision: 9, scale: 4 }, -5n, '-0.0005'],
    ['decimal without scale', { kind: 'decimal', precision: 9, scale: 0 }, -5n, '-5'],
    ['float is short', { kind: 'float' }, Math.fround(0.1), '0.1'],
    ['float limits', { kind: 'float' }, Math.fround(3.4028235e38), '3.4028235e+38'],
    ['double', { kind: 'double' }, 0.1, '0.1'],
    ['NaN', { kind: 'double' }, Number.NaN, '"NaN"'],
    ['infinity', { kind: 'float' }, Number.NEGATIVE_INFINITY, '"-Infinity"'],
    ['negative zero', { kind: 'double' }, -0, '-0.0'],
    ['date', { kind: 'date' }, 19782, '"2024-02-29"'],
    ['first day of Postgres', { kind: 'date' }, -2440588, '"-004713-11-24"'],
    ['last day of Postgres', { kind: 'date' }, 2145042905, '"+5874897-12-31"'],
    ['time', { kind: 'time' }, 86_399_999_999n, '"23:59:59.999999"'],
    ['timestamp', { kind: 'timestamp' }, 1709210096123456n, '"2024-02-29T12:34:56.123456"'],
    ['timestamptz before 1970', { kind: 'timestamptz' }, -1n, '"1969-12-31T23:59:59.999999Z"'],
    ['string', { kind: 'string' }, 'a"\n\u2028', JSON.stringify('a"\n\u2028')],
    ['uuid', { kind: 'uuid' }, Uint8Array.from({ length: 16 }, (_, i) => i), '"00010203-0405-0607-0809-0a0b0c0d0e0f"'],
    ['binary', { kind: 'binary' }, Uint8Array.of(255, 0), '"/wA="'],
    ['list', { kind: 'list', elementId: 0, element: { kind: 'long' }, elementRequired: false }, [1n, null, -1n], '[1,null,-1]'],
    [
      'map by text',
      { kind: 'map', keyId: 0, key: { kind: 'string' }, valueId: 0, value: { kind: 'int' }, valueRequired: false },
      [['a', 1]],
      '{"a":1}',
    ],
    [
      'map by number',
      { kind: 'map', keyId: 0, key: { kind: 'int' }, valueId: 0, value: { kind: 'string' }, valueRequired: false },
      [[1, null]],
      '{"1":null}',
    ],
    [
      'struct',
      { kind: 'struct', fields: [field('x', { kind: 'date' }), field('"', { kind: 'int' })] },
      [0, 1],
      '{"x":"1970-01-01","\\"":1}',
    ],
  ]
  for (const [name, type, value, expected] of cases) {
    test(name, () => {
      const text = jsonText(type, value, plain)
      assert.equal(text, expected)
      JSON.parse(text)
    })
  }

  test('int64 and decimal as strings when asked, nested ones too', () => {
    const strings = { numbersAsStrings: true }
    const fields = [
      field('a', { kind: 'long' }),
      field('b', { kind: 'list', elementId: 0, element: { kind: 'decimal', precision: 5, scale: 1 }, elementRequired: false }),
      field('c', { kind: 'int' }),
    ]
    assert.equal(rowText(fields, [1n, [15n], 3], strings), '{"a":"1","b":["1.5"],"c":3}')
  })

  test('dates and timestamps agree with the platform', () => {
    const limit = 8_640_000_000_000_000n
    fc.assert(
      fc.property(fc.bigInt({ min: -limit, max: limit }), fc.nat(999), (ms, micros) => {
        const iso = new Date(Number(ms)).toISOString()
        const text = jsonText({ kind: 'timestamptz' }, ms * 1000n + BigInt(micros), plain)
        assert.equal(text, `"${iso.slice(0, -1)}${String(micros).padStart(3, '0')}Z"`)
        const day = Number(ms) < 0 ? Math.floor(Number(ms) / 86_400_000) : Math.trunc(Number(ms) / 86_400_000)
        assert.equal(jsonText({ kind: 'date' }, day, plain), `"${iso.slice(0, iso.indexOf('T'))}"`)
      }),
    )
  })

  test('floats read back as they were', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
        assert.equal(Math.fround(Number(jsonText({ kind: 'float' }, value, plain))), value)
      }),
    )
  })
})
