import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { parquetMetadata } from 'hyparquet'
import { assignFieldIds, encodeValue } from '../../src/data/index.ts'
import type { Field, PrimitiveType, Type, Value } from '../../src/data/index.ts'
import type { ColumnMetrics, MetricsMode, ParquetEncoderOptions } from '../../src/format/parquet/index.ts'
import { anyRows, everyType, primitives, writeRows } from './parquet-cases.ts'

function metricsOf(type: Type, values: readonly Value[], options: Partial<ParquetEncoderOptions> = {}): ColumnMetrics {
  const { fields } = assignFieldIds([{ id: 0, name: 'v', type, required: false }] satisfies Field[])
  const [metrics] = writeRows(
    fields,
    values.map((value) => [value]),
    { pageRows: 3, rowGroupRows: 7, ...options },
  ).summary.metrics
  return metrics
}

const hex = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString('hex')
const bounds = (type: Type, values: readonly Value[], options?: Partial<ParquetEncoderOptions>): [string?, string?] => {
  const { lower, upper } = metricsOf(type, values, options)
  return [hex(lower), hex(upper)]
}
const text = (value: string): string => Buffer.from(value).toString('hex')

describe('check 39: bounds in single-value binary form', () => {
  const decimal = (precision: number, scale = 0): PrimitiveType => ({ kind: 'decimal', precision, scale })
  const nines = 10n ** 38n - 1n
  const cases: [string, Type, Value[], [string, string]][] = [
    ['boolean', { kind: 'boolean' }, [true, false], ['00', '01']],
    ['one boolean', { kind: 'boolean' }, [true, true], ['01', '01']],
    ['int', { kind: 'int' }, [34, -1, 0, 2 ** 31 - 1], ['ffffffff', 'ffffff7f']],
    ['least int', { kind: 'int' }, [-(2 ** 31), 0], ['00000080', '00000000']],
    ['long', { kind: 'long' }, [34n, -1n, 2n ** 40n], ['ffffffffffffffff', '0000000000010000']],
    [
      'longs that differ in the low word only',
      { kind: 'long' },
      [2n ** 31n, 2n ** 31n - 1n, 2n ** 32n - 1n],
      ['ffffff7f00000000', 'ffffffff00000000'],
    ],
    ['extreme longs', { kind: 'long' }, [-(2n ** 63n), 2n ** 63n - 1n, 0n], ['0000000000000080', 'ffffffffffffff7f']],
    ['float', { kind: 'float' }, [1.5, -2], ['000000c0', '0000c03f']],
    ['double', { kind: 'double' }, [1.5, -Infinity], ['000000000000f0ff', '000000000000f83f']],
    ['date', { kind: 'date' }, [-1, 17486], ['ffffffff', '4e440000']],
    ['time', { kind: 'time' }, [0n, 81_068_000_000n], ['0000000000000000', '008307e012000000']],
    ['timestamp', { kind: 'timestamp' }, [-1n, 1n], ['ffffffffffffffff', '0100000000000000']],
    ['timestamptz', { kind: 'timestamptz' }, [-1n, 1n], ['ffffffffffffffff', '0100000000000000']],
    ['uuid', { kind: 'uuid' }, [new Uint8Array(16).fill(1), new Uint8Array(16).fill(255)], ['01'.repeat(16), 'ff'.repeat(16)]],
    [
      'fixed',
      { kind: 'fixed', length: 20 },
      [new Uint8Array(20).fill(127), new Uint8Array(20).fill(128)],
      ['7f'.repeat(20), '80'.repeat(20)],
    ],
    ['decimals of 4 bytes', decimal(9, 2), [0n, -1n, 127n, 128n], ['ff', '0080']],
    ['decimals of 8 bytes', decimal(18), [-129n, -128n, 32768n], ['ff7f', '008000']],
    ['wide decimals', decimal(38), [0n, -1n], ['ff', '00']],
    ['38 digits', decimal(38), [nines, -nines], ['b4c4b357a5793b85f675ddc000000001', '4b3b4ca85a86c47a098a223fffffffff']],
    ['wide decimals of either sign', decimal(19), [-129n, 128n, -128n, 127n], ['ff7f', '0080']],
  ]
  for (const [name, type, values, expected] of cases) test(name, () => assert.deepEqual(bounds(type, values), expected))

  test('of any values of any type, found the slow way', () => {
    const fields = everyType(false).slice(0, primitives.length)
    const rows = anyRows(fields, 200, 31)
    const { metrics } = writeRows(fields, rows, { pageRows: 7, rowGroupRows: 50, metrics: () => 'full' }).summary
    fields.forEach((field, i) => {
      const { kind } = field.type
      const values = rows.flatMap((row) => (row[i] === null ? [] : [row[i]]))
      const usable = values.filter((value) => !Number.isNaN(value))
      const order = (a: Value, b: Value): number =>
        a instanceof Uint8Array && b instanceof Uint8Array
          ? Buffer.compare(a, b)
          : typeof a === 'string' && typeof b === 'string'
            ? Buffer.compare(Buffer.from(a), Buffer.from(b))
            : Number(a ?? 0) === Number(b ?? 0)
              ? Number(typeof a === 'bigint' && typeof b === 'bigint' && a > b) -
                Number(typeof a === 'bigint' && typeof b === 'bigint' && a < b)
              : Number(a) - Number(b)
      const sorted = usable.toSorted(order)
      const found = metrics[i]
      assert.equal(found.fieldId, field.id)
      assert.equal(found.valueCount, 200)
      assert.equal(found.nullCount, 200 - values.length)
      assert.equal(found.nanCount, kind === 'float' || kind === 'double' ? values.length - usable.length : undefined)
      if (kind === 'decimal') return
      const low = sorted[0]
      const high = sorted.at(-1)
      assert.ok(low !== undefined && low !== null && high !== undefined && high !== null)
      assert.equal(hex(found.lower), hex(encodeValue(field.type, Object.is(low, 0) ? -0 : low)), `lower of ${field.name}`)
      assert.equal(hex(found.upper), hex(encodeValue(field.type, Object.is(high, -0) ? 0 : high)), `upper of ${field.name}`)
    })
  })
})

describe('check 40: zeros and NaN', () => {
  for (const [kind, negative, positive] of [
    ['float', '00000080', '00000000'],
    ['double', '0000000000000080', '0000000000000000'],
  ] as const) {
    test(`${kind}: a smallest zero is −0.0, a largest is +0.0`, () => {
      assert.deepEqual(bounds({ kind }, [0]), [negative, positive])
      assert.deepEqual(bounds({ kind }, [-0]), [negative, positive])
      assert.equal(bounds({ kind }, [0, 1])[0], negative)
      assert.equal(bounds({ kind }, [-0, -1])[1], positive)
    })
    test(`${kind}: only NaN`, () => {
      const { lower, upper, nanCount, nullCount, valueCount } = metricsOf({ kind }, [NaN, null, NaN, NaN])
      assert.deepEqual(
        { lower, upper, nanCount, nullCount, valueCount },
        { lower: undefined, upper: undefined, nanCount: 3, nullCount: 1, valueCount: 4 },
      )
    })
    test(`${kind}: NaN beside values, in other pages too`, () => {
      const { nanCount, ...rest } = metricsOf({ kind }, [NaN, NaN, NaN, 1, NaN, 2, null])
      assert.equal(nanCount, 4)
      assert.deepEqual([rest.lower, rest.upper].map(hex), [encodeValue({ kind }, 1), encodeValue({ kind }, 2)].map(hex))
    })
    test(`${kind}: infinities`, () => {
      assert.deepEqual(
        bounds({ kind }, [Infinity]),
        [Infinity, Infinity].map((value) => hex(encodeValue({ kind }, value))),
      )
      assert.deepEqual(
        bounds({ kind }, [-Infinity, Infinity]),
        [-Infinity, Infinity].map((value) => hex(encodeValue({ kind }, value))),
      )
    })
  }
  test('statistics in the file never say NaN either, nor extrema beside it: for SQL engines it is the greatest', () => {
    const { fields } = assignFieldIds([{ id: 0, name: 'v', type: { kind: 'double' }, required: false }] satisfies Field[])
    const { bytes } = writeRows(fields, [[NaN], [1]])
    const [column] = parquetMetadata(bytes.buffer).row_groups[0].columns
    assert.deepEqual([column.meta_data?.statistics?.min_value, column.meta_data?.statistics?.max_value], [undefined, undefined])
    assert.equal(column.column_index_offset, undefined)
    const onlyNan = parquetMetadata(writeRows(fields, [[NaN]]).bytes.buffer).row_groups[0].columns[0]
    assert.equal(onlyNan.meta_data?.statistics?.max_value, undefined)
    // A page index has no way to say "only NaN".
    assert.equal(onlyNan.column_index_offset, undefined)
  })
})

describe('check 41: text bounds are cut by code points', () => {
  const string: Type = { kind: 'string' }
  const last = '\u{10FFFF}'
  test('17 × U+10FFFF has no upper bound', () => {
    assert.deepEqual(bounds(string, [last.repeat(17)]), [text(last.repeat(16)), undefined])
  })
  test('U+D7FF is followed by U+E000', () => {
    assert.equal(bounds(string, [`${'a'.repeat(15)}\uD7FFz`])[1], text(`${'a'.repeat(15)}\uE000`))
  })
  test('a last code point that cannot be raised makes the one before it be raised', () => {
    assert.equal(bounds(string, [`a${last.repeat(16)}`])[1], text('b'))
  })
  test('16 code points are not changed', () => {
    const exact = '\u{1F980}'.repeat(16)
    assert.deepEqual(bounds(string, [exact]), [text(exact), text(exact)])
  })
  test('astral characters count as one', () => {
    assert.deepEqual(bounds(string, ['\u{1F980}'.repeat(17)]), [
      text('\u{1F980}'.repeat(16)),
      text(`${'\u{1F980}'.repeat(15)}\u{1F981}`),
    ])
  })
  test('the empty text', () => assert.deepEqual(bounds(string, ['', null]), ['', '']))
  test('full and other lengths', () => {
    const long = 'x'.repeat(1000)
    assert.deepEqual(bounds(string, [long], { metrics: () => 'full' }), [text(long), text(long)])
    assert.deepEqual(bounds(string, [long], { metrics: () => ({ truncate: 3 }) }), [text('xxx'), text('xxy')])
  })
  test('U+FEFF at the front is a letter as any other, and U+007F is followed by one of two bytes', () => {
    const cut = { metrics: (): MetricsMode => ({ truncate: 3 }) }
    assert.deepEqual(bounds(string, ['\u{FEFF}xxxx'], cut), [text('\u{FEFF}xx'), text('\u{FEFF}xy')])
    assert.equal(bounds(string, ['\u{7F}'.repeat(4)], cut)[1], text('\u{7F}\u{7F}\u{80}'))
  })
})

test('check 42: binary bounds', () => {
  const binary: Type = { kind: 'binary' }
  assert.deepEqual(bounds(binary, [new Uint8Array(17).fill(255)]), ['ff'.repeat(16), undefined])
  assert.deepEqual(bounds(binary, [new Uint8Array(16).fill(255)]), ['ff'.repeat(16), 'ff'.repeat(16)])
  const cut = new Uint8Array(17).fill(255)
  cut[3] = 1
  assert.equal(bounds(binary, [cut])[1], 'ffffff02')
})

test('check 43: text is ordered by UTF-8 bytes, not by UTF-16', () => {
  assert.deepEqual(bounds({ kind: 'string' }, ['\u{10000}', '\uFFFD']), [text('\uFFFD'), text('\u{10000}')])
  assert.deepEqual(bounds({ kind: 'string' }, ['ab', 'a', 'abc', 'aa']), [text('a'), text('abc')])
})

test('bounds of one page are the smallest and largest value (property)', () => {
  const word = fc.array(fc.constantFrom('a', 'b', 'é', '\u{1F980}'), { maxLength: 4 }).map((letters) => letters.join(''))
  const narrow = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 2, maxLength: 2 })
  const decimal: Type = { kind: 'decimal', precision: 30, scale: 0 }
  const page = { pageRows: 1000, rowGroupRows: 1000, metrics: (): MetricsMode => 'full' }
  fc.assert(
    fc.property(
      fc.array(word, { minLength: 1, maxLength: 12 }),
      fc.array(narrow, { minLength: 1, maxLength: 12 }),
      fc.boolean(),
      (words, pairs, codes) => {
        // Repeated, so that codes pay where they are tried.
        const repeated = <T>(values: T[]): T[] => Array.from({ length: codes ? 40 : 1 }, () => values).flat()
        const options = { ...page, dictionaryBytes: codes ? 1 << 20 : 0 }
        const ordered = words.map((value) => Buffer.from(value)).toSorted((a, b) => Buffer.compare(a, b))
        assert.deepEqual(bounds({ kind: 'string' }, repeated(words), options), [hex(ordered[0]), hex(ordered.at(-1))])
        const numbers = pairs.map(([high, low]) => BigInt(high - 2) * 2n ** 32n + BigInt(low) * 2n ** 31n)
        const least = numbers.reduce((a, b) => (a < b ? a : b))
        const most = numbers.reduce((a, b) => (a > b ? a : b))
        const long: Type = { kind: 'long' }
        assert.deepEqual(
          bounds(long, repeated(numbers), options),
          [least, most].map((value) => hex(encodeValue(long, value))),
        )
        const found = bounds(decimal, repeated(numbers), options).map((bytes) =>
          BigInt.asIntN(bytes === undefined ? 0 : bytes.length * 4, BigInt(`0x${bytes}`)),
        )
        assert.deepEqual(found, [least, most])
      },
    ),
    { numRuns: 150 },
  )
})

describe('check 44', () => {
  test('nothing but the size for columns inside lists and maps', () => {
    const { fields } = assignFieldIds([
      {
        id: 0,
        name: 'l',
        type: { kind: 'list', elementId: 0, element: { kind: 'int' }, elementRequired: false },
        required: false,
      },
      {
        id: 0,
        name: 'm',
        type: { kind: 'map', keyId: 0, key: { kind: 'string' }, valueId: 0, value: { kind: 'double' }, valueRequired: false },
        required: false,
      },
    ] satisfies Field[])
    const { metrics } = writeRows(fields, [[[1, 2], [['a', 1]]]]).summary
    assert.deepEqual(
      metrics.map((m) => Object.keys(m)),
      [
        ['fieldId', 'columnSize'],
        ['fieldId', 'columnSize'],
        ['fieldId', 'columnSize'],
      ],
    )
  })
  test('the 101st column has none by default, a mode of its own brings them back', () => {
    const { fields } = assignFieldIds(
      Array.from({ length: 101 }, (_, i): Field => ({ id: 0, name: `c${i}`, type: { kind: 'int' }, required: true })),
    )
    const rows = [fields.map((_, i) => i)]
    assert.deepEqual(
      writeRows(fields, rows).summary.metrics.map((m) => m.fieldId),
      fields.slice(0, 100).map((field) => field.id),
    )
    assert.equal(writeRows(fields, rows, { metrics: () => 'full' }).summary.metrics.length, 101)
  })
  test('modes', () => {
    const keys = (mode: MetricsMode): string[] => Object.keys(metricsOf({ kind: 'double' }, [1], { metrics: () => mode }) ?? {})
    assert.deepEqual(keys('none'), [])
    assert.deepEqual(keys('counts'), ['fieldId', 'columnSize', 'valueCount', 'nullCount', 'nanCount'])
    assert.deepEqual(keys('full'), [...keys('counts'), 'lower', 'upper'])
  })
})

test('check 45: counts inside null structs', () => {
  const { fields } = assignFieldIds([
    {
      id: 0,
      name: 's',
      type: {
        kind: 'struct',
        fields: [
          { id: 0, name: 'r', type: { kind: 'int' }, required: true },
          { id: 0, name: 'o', type: { kind: 'string' }, required: false },
        ],
      },
      required: false,
    },
  ] satisfies Field[])
  const { metrics } = writeRows(fields, [[null], [[1, 'a']], [[2, null]], [null]], { pageRows: 2 }).summary
  assert.deepEqual(
    metrics.map(({ valueCount, nullCount, lower, upper }) => [valueCount, nullCount, hex(lower), hex(upper)]),
    [
      [4, 2, '01000000', '02000000'],
      [4, 3, '61', '61'],
    ],
  )
})

test('column sizes add up to the row groups', () => {
  const fields = everyType(false)
  const { bytes, summary } = writeRows(fields, anyRows(fields, 300, 41), { rowGroupRows: 100, metrics: () => 'counts' })
  const stored = new Map<number, number>()
  for (const { columns } of parquetMetadata(bytes.buffer).row_groups)
    columns.forEach((column, i) => stored.set(i, (stored.get(i) ?? 0) + Number(column.meta_data?.total_compressed_size)))
  assert.deepEqual(
    summary.metrics.map((m) => m.columnSize),
    [...stored.values()],
  )
})

test('all null: counts, no bounds', () => {
  for (const type of primitives) {
    const { valueCount, nullCount, lower, upper } = metricsOf(type, [null, null, null, null])
    assert.deepEqual([valueCount, nullCount, lower, upper], [4, 4, undefined, undefined])
  }
})
