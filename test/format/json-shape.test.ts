import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { typeText } from '../../src/data/index.ts'
import type { Field, Type } from '../../src/data/index.ts'
import { JsonRowDecoder, RowShape, oneCell, outcomes } from '../../src/format/json/index.ts'

function shapeOf(rows: readonly string[], fields: readonly Field[] = [], fixed: readonly string[] = []): RowShape {
  const shape = new RowShape(fields, fixed)
  for (const row of rows) add(shape, row)
  return shape
}

function add(shape: RowShape, row: string): boolean {
  const bytes = Buffer.from(row)
  return shape.add(bytes, 0, bytes.length)
}

function columns(...rows: readonly string[]): string {
  return (shapeOf(rows).grown() ?? []).map(({ name, type }) => `${name} ${typeText(type)}`).join('; ')
}

const grownType = (type: Type, value: string, fixed: readonly string[] = []): string | null => {
  const grown = shapeOf([`{"v":${value}}`], [{ id: 7, name: 'v', type, required: true }], fixed).grown()
  if (!grown) return null
  assert.deepEqual([grown[0].id, grown[0].required], [7, true])
  return typeText(grown[0].type)
}

suite('columns from rows of JSON', () => {
  test('each kind of value', () => {
    assert.equal(
      columns('{"a":1,"b":1.0,"c":1e2,"d":true,"e":"2026-01-31","f":{"x":1,"y":{"z":"t"}},"g":[1,2.5]}'),
      'a long; b double; c double; d boolean; e string; f struct<x: long, y: struct<z: string>>; g list<double>',
    )
    assert.equal(columns('{"a":-9223372036854775808}'), 'a long')
  })

  test('rows add to each other; what says nothing waits, inside of structs and lists it is text', () => {
    assert.equal(columns('{"a":null,"b":[],"c":{},"d":[[],null]}'), '')
    assert.equal(columns('{"a":null,"b":[]}', '{"a":1}', '{"b":[null,"x"]}', '{"a":0.5}'), 'a double; b list<string>')
    assert.equal(columns('{"s":{"n":null,"l":[],"o":{}}}'), 's struct<n: string, l: list<string>, o: map<string, string>>')
    assert.equal(columns('{"s":{"n":null}}', '{"s":{"m":1}}', '{"s":{"n":true}}'), 's struct<n: boolean, m: long>')
  })

  test('whole numbers beyond 64 bits are double when that is what they were', () => {
    assert.equal(
      columns('{"a":100000000000000000000,"b":9223372036854776000,"c":9223372036854775808}'),
      'a double; b double; c double',
    )
    assert.equal(columns('{"a":9007199254740994}', '{"a":0.5}'), 'a double')
    // The decoder refuses it: nothing has all its digits.
    assert.equal(columns('{"a":12345678901234567890}'), 'a long')
  })

  test('a row that does not go together with those before it changes nothing', () => {
    const shape = shapeOf(['{"a":1,"l":[1]}'])
    for (const row of [
      '{"new":1,"a":"x"}',
      '{"new":1,"l":["x"]}',
      '{"new":1,"l":{}}',
      '{"new":[1,"x"]}',
      '{"new":{"x":1,"x":2}}',
      '{"new":{"":1}}',
      '[]',
      '{"new":1',
      '{"new":01}',
      '',
    ]) {
      assert.equal(add(shape, row), false, row)
    }
    // No number is rounded for the sake of one type.
    assert.equal(add(shapeOf(['{"a":0.5}']), '{"a":9007199254740993}'), false)
    assert.equal(add(shapeOf(['{"a":9007199254740993}']), '{"a":0.5}'), false)
    assert.equal((shape.grown() ?? []).map(({ name }) => name).join(), 'a,l')
  })

  test('names that cannot be a column make none, nor what is nested too deeply or has too many fields', () => {
    assert.equal(columns('{"":1,"a\\u0000":1,"Name":1,"name":2,"__proto__":3}'), 'Name long; __proto__ long')
    assert.equal(columns(`{"${'x'.repeat(256)}":1}`), '')
    const deep = (depth: number): string => `{"a":${'['.repeat(depth)}1${']'.repeat(depth)}}`
    assert.notEqual(columns(deep(15)), '')
    assert.equal(columns(deep(16)), '')
    const wide = Object.fromEntries(Array.from({ length: 1500 }, (_, i) => [`m${i}`, 1]))
    assert.match(columns(JSON.stringify({ a: wide, b: wide, c: 1 })), /^a struct<.*>; c long$/)
  })

  test('columns that are there grow as Iceberg can, and no further', () => {
    const decimal: Type = { kind: 'decimal', precision: 5, scale: 2 }
    const cases: [Type, string, string | null][] = [
      [{ kind: 'int' }, '2147483648', 'long'],
      [{ kind: 'int' }, '-2147483649', 'long'],
      [{ kind: 'int' }, '2147483647', null],
      [{ kind: 'int' }, '-2147483648', null],
      [{ kind: 'int' }, '1.5', null],
      [{ kind: 'int' }, '"x"', null],
      [{ kind: 'int' }, '1e9', null],
      [{ kind: 'long' }, '9223372036854775808', null],
      [{ kind: 'float' }, '1e39', 'double'],
      [{ kind: 'float' }, '1e38', null],
      [{ kind: 'float' }, '1e999', null],
      [decimal, '1234.5', 'decimal(6, 2)'],
      [decimal, '001', null],
      [decimal, '123.45', null],
      [decimal, '1234.567', null],
      [decimal, '9'.repeat(36), 'decimal(38, 2)'],
      [decimal, '9'.repeat(37), null],
    ]
    for (const [type, value, expected] of cases) assert.equal(grownType(type, value), expected, value)
    assert.equal(grownType({ kind: 'int' }, '2147483648', ['v']), null)
  })

  test('whatever rows are accepted, their columns take each of them', () => {
    const scalar = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.string({ unit: 'grapheme', maxLength: 4 }),
      fc.integer(),
      fc.maxSafeInteger(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
    )
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        scalar,
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('value'), { maxKeys: 3, noNullPrototype: true }),
      ),
    }))
    const row = fc.dictionary(fc.constantFrom('x', 'y', 'z'), value, { maxKeys: 3, noNullPrototype: true })
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 5 }), (rows) => {
        const shape = new RowShape([])
        const taken = rows.map((each) => JSON.stringify(each)).filter((text) => add(shape, text))
        const decoder = new JsonRowDecoder(shape.grown() ?? [])
        decoder.skipsOpen = true
        decoder.bind((shape.grown() ?? []).map((field) => oneCell(field, 1 << 16)))
        for (const text of taken) {
          const bytes = Buffer.from(text)
          const after = decoder.decode(bytes, 0, bytes.length, 0)
          assert.notEqual(after, outcomes.full)
          assert.equal(after, bytes.length, `${text}: ${JSON.stringify(decoder.problem)}`)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('bytes that are no JSON are refused, never followed', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...Array.from('{}[]":,0123.eE-tnull\\ ')), maxLength: 30 }), (text) => {
        let isObject = false
        try {
          const parsed: unknown = JSON.parse(text)
          isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
        } catch {
          // No JSON.
        }
        const isTaken = add(new RowShape([]), text)
        assert(isObject || !isTaken, text)
      }),
      { numRuns: 2000 },
    )
  })
})
