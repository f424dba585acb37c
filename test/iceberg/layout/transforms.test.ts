import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { columnOf, decodeValue } from '../../../src/data/index.ts'
import type { PrimitiveType, Value } from '../../../src/data/index.ts'
import { singleValueAt, transformColumn } from '../../../src/iceberg/layout/apply-transform.ts'
import { integerBucket } from '../../../src/iceberg/layout/buckets.ts'
import { murmur3, murmur3Long } from '../../../src/iceberg/layout/murmur3.ts'
import { parseTransform, resultType, transformText } from '../../../src/iceberg/layout/transform.ts'
import type { Transform } from '../../../src/iceberg/layout/transform.ts'
import { anyPrimitive, valueOf } from '../../data/any-field.ts'

function transform(text: string): Transform {
  const parsed = parseTransform(text)
  assert.ok(parsed, text)
  return parsed
}

/** The transformed values, through what is stored. */
function apply(text: string, type: PrimitiveType, values: readonly Value[]): Value[] {
  const column = columnOf({ id: 1, name: 'c', type, required: false }, values)
  const how = transform(text)
  const result = resultType(how, type)
  assert.ok(result, `${text} of ${type.kind}`)
  const out = transformColumn(
    how,
    column,
    Int32Array.from(values, (_, i) => i),
  )
  return values.map((_, i) => {
    if (out.present[i] === 0) return null
    if (out.width === 0) return decodeValue(result, out.data, out.starts[i], out.ends[i])
    return decodeValue(result, out.data, i * out.width, (i + 1) * out.width)
  })
}

const decimal = { kind: 'decimal', precision: 9, scale: 2 } as const
const day = (text: string): number => Date.parse(`${text}T00:00:00Z`) / 86_400_000
const time = (text: string, us = 0n): bigint => BigInt(Date.parse(`${text}Z`)) * 1000n + us

describe('partition transforms', () => {
  test('iceberg check 46: hash vectors of the specification', () => {
    const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll('-', ''), 'hex'))
    const vectors: (readonly [PrimitiveType, Value, number])[] = [
      [{ kind: 'int' }, 34, 2017239379],
      [{ kind: 'long' }, 34n, 2017239379],
      [decimal, 1420n, -500754589],
      [{ kind: 'decimal', precision: 18, scale: 2 }, 1420n, -500754589],
      [{ kind: 'decimal', precision: 38, scale: 2 }, 1420n, -500754589],
      [{ kind: 'date' }, day('2017-11-16'), -653330422],
      [{ kind: 'time' }, time('1970-01-01T22:31:08'), -662762989],
      [{ kind: 'timestamp' }, time('2017-11-16T22:31:08'), -2047944441],
      [{ kind: 'timestamptz' }, time('2017-11-16T22:31:08', 1n), -1207196810],
      [{ kind: 'string' }, 'iceberg', 1210000089],
      [{ kind: 'uuid' }, bytes('f79c3e09-677c-4bbd-a479-3f349cb785e7'), 1488055340],
      [{ kind: 'fixed', length: 4 }, bytes('00010203'), -188683207],
      [{ kind: 'binary' }, bytes('00010203'), -188683207],
    ]
    for (const [type, value, hash] of vectors) {
      // A bucket of 2^31 − 1 shows all bits of the hash but the sign and the highest value.
      assert.deepEqual(apply('bucket[2147483647]', type, [value, null]), [(hash & 0x7fffffff) % 2147483647, null], type.kind)
      assert.deepEqual(apply('bucket[16]', type, [value]), [(hash & 0x7fffffff) % 16], type.kind)
    }
    assert.equal(murmur3(new TextEncoder().encode('iceberg')), 1210000089)
    assert.equal(murmur3Long(34, 0), 2017239379)
    assert.equal(murmur3(new Uint8Array(0)), 0)
  })

  test('iceberg check 46: a query finds the bucket of an integer that its file is in', () => {
    assert.equal(integerBucket(34n, 2147483647), 2017239379)
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.integer({ min: 1, max: 2147483647 }), (value, of) => {
        assert.deepEqual(apply(`bucket[${of}]`, { kind: 'long' }, [value]), [integerBucket(value, of)])
        const int = BigInt.asIntN(32, value)
        assert.deepEqual(apply(`bucket[${of}]`, { kind: 'int' }, [Number(int)]), [integerBucket(int, of)])
      }),
    )
  })

  test('iceberg check 46: truncation of numbers goes towards negative infinity', () => {
    assert.deepEqual(apply('truncate[10]', { kind: 'int' }, [1, -1, 0, 9, 10, null]), [0, -10, 0, 0, 10, null])
    assert.deepEqual(apply('truncate[10]', { kind: 'long' }, [1n, -1n, 2n ** 40n + 7n]), [0n, -10n, 1_099_511_627_780n])
    assert.deepEqual(apply('truncate[50]', decimal, [1065n, -1n]), [1050n, -50n])
    assert.deepEqual(apply('truncate[3]', { kind: 'string' }, ['iceberg', 'ab', '🧊🧊🧊🧊', '']), ['ice', 'ab', '🧊🧊🧊', ''])
    assert.deepEqual(apply('truncate[2]', { kind: 'binary' }, [Uint8Array.of(1, 2, 3), Uint8Array.of(1)]), [
      Uint8Array.of(1, 2),
      Uint8Array.of(1),
    ])
  })

  test('truncation equals arithmetic without bounds, in every width', () => {
    const types: readonly PrimitiveType[] = [
      { kind: 'int' },
      { kind: 'long' },
      decimal,
      { kind: 'decimal', precision: 18, scale: 3 },
      { kind: 'decimal', precision: 38, scale: 3 },
    ]
    fc.assert(
      fc.property(
        fc.constantFrom(...types).chain((type) => fc.tuple(fc.constant(type), fc.array(valueOf(type), { maxLength: 20 }))),
        fc.integer({ min: 1, max: 0x7fffffff }),
        ([type, values], width) => {
          const bits =
            type.kind === 'int' || (type.kind === 'decimal' && type.precision <= 9)
              ? 32
              : type.kind === 'decimal' && type.precision > 18
                ? 128
                : 64
          const by = BigInt(width)
          const expected = values.map((value) => {
            const v = BigInt(value as number | bigint)
            return BigInt.asIntN(bits, v - (((v % by) + by) % by))
          })
          assert.deepEqual(
            apply(`truncate[${width}]`, type, values).map((value) => BigInt(value as number | bigint)),
            expected,
          )
        },
      ),
    )
  })

  test('years, months, days and hours, before 1970 too', () => {
    const moments = [
      '1969-12-31T23:59:59',
      '1970-01-01T00:00:00',
      '2017-11-16T22:31:08',
      '1600-02-29T05:00:00',
      '0001-01-01T00:00:00',
    ]
    for (const kind of ['timestamp', 'timestamptz'] as const) {
      const values = moments.map((text) => time(text))
      assert.deepEqual(apply('year', { kind }, values), [-1, 0, 47, -370, -1969])
      assert.deepEqual(apply('month', { kind }, values), [-1, 0, 574, -370 * 12 + 1, -1969 * 12])
      assert.deepEqual(
        apply('day', { kind }, values),
        moments.map((text) => day(text.slice(0, 10))),
      )
      assert.deepEqual(
        apply('hour', { kind }, values),
        moments.map((text) => Math.floor(Date.parse(`${text}Z`) / 3_600_000)),
      )
    }
    assert.deepEqual(apply('year', { kind: 'date' }, [day('1969-12-31'), day('2024-02-29'), null]), [-1, 54, null])
    assert.deepEqual(apply('month', { kind: 'date' }, [day('1969-12-31'), day('2024-02-29')]), [-1, 649])
    assert.deepEqual(apply('day', { kind: 'date' }, [day('1969-12-31')]), [-1])
  })

  test('dates of all times a Date can hold', () => {
    fc.assert(
      fc.property(fc.bigInt(-8_640_000_000_000_000_000n, 8_640_000_000_000_000_000n), (us) => {
        const floor = (by: bigint): number => Number((us - (((us % by) + by) % by)) / by)
        const date = new Date(floor(1000n))
        const year = date.getUTCFullYear() - 1970
        const type = { kind: 'timestamp' } as const
        // Hours beyond an int wrap, as in the reference implementation.
        assert.deepEqual(apply('hour', type, [us]), [floor(3_600_000_000n) | 0])
        assert.deepEqual(apply('day', type, [us]), [floor(86_400_000_000n)])
        assert.deepEqual(apply('month', type, [us]), [year * 12 + date.getUTCMonth()])
        assert.deepEqual(apply('year', type, [us]), [year])
      }),
      { numRuns: 1000 },
    )
  })

  test('identity keeps every value, void none', () => {
    fc.assert(
      fc.property(
        anyPrimitive.chain((type) =>
          fc.tuple(fc.constant(type), fc.array(fc.option(valueOf(type), { freq: 4 }), { maxLength: 12 })),
        ),
        ([type, values]) => {
          assert.deepEqual(apply('identity', type, values), values)
          assert.deepEqual(
            apply('void', type, values),
            values.map(() => null),
          )
        },
      ),
    )
  })

  test('single values: decimals are big-endian and as short as possible', () => {
    const single = (type: PrimitiveType, value: Value): string | null => {
      const column = columnOf({ id: 1, name: 'c', type, required: false }, [value])
      const values = transformColumn({ kind: 'identity' }, column, Int32Array.of(0))
      const bytes = singleValueAt(values, 0)
      return bytes && Buffer.from(bytes).toString('hex')
    }
    for (const precision of [9, 18, 38]) {
      const type = { kind: 'decimal', precision, scale: 0 } as const
      const of = [0n, -1n, 127n, 128n, -129n].map((value) => single(type, value))
      assert.deepEqual(of, ['00', 'ff', '7f', '0080', 'ff7f'])
    }
    assert.equal(single({ kind: 'int' }, -2), 'feffffff')
    assert.equal(single({ kind: 'string' }, 'né'), '6ec3a9')
    assert.equal(single({ kind: 'string' }, ''), '')
    assert.equal(single({ kind: 'string' }, null), null)
  })

  test('transforms as text; unknown ones are none', () => {
    for (const text of ['identity', 'void', 'year', 'month', 'day', 'hour', 'bucket[16]', 'truncate[2147483647]']) {
      assert.equal(transformText(transform(text)), text)
    }
    for (const text of ['zorder', 'bucket', 'bucket[0]', 'bucket[-1]', 'truncate[2147483648]', 'bucket[16', '']) {
      assert.equal(parseTransform(text), null)
    }
    assert.equal(resultType({ kind: 'hour' }, { kind: 'date' }), null)
    assert.equal(resultType({ kind: 'bucket', buckets: 2 }, { kind: 'double' }), null)
    assert.equal(resultType({ kind: 'truncate', width: 2 }, { kind: 'uuid' }), null)
    assert.deepEqual(resultType({ kind: 'day' }, { kind: 'timestamptz' }), { kind: 'date' })
  })
})
