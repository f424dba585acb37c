import { execFileSync } from 'node:child_process'
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Lake } from '../../query/lake.ts'
import { pythonOf } from '../support/readers.ts'

type Columns = Record<string, { readonly type: string; readonly batches: number; readonly values: readonly (string | null)[] }>

/** SQL value, Arrow's type, and the value as Python prints it. */
const cases: readonly (readonly [sql: string, type: string, value: string])[] = [
  ['true', 'bool', 'True'],
  ['(-128)::TINYINT', 'int8', '-128'],
  ['255::UTINYINT', 'uint8', '255'],
  ['(-32768)::SMALLINT', 'int16', '-32768'],
  ['65535::USMALLINT', 'uint16', '65535'],
  ['7::INTEGER', 'int32', '7'],
  ['4294967295::UINTEGER', 'uint32', '4294967295'],
  ['9223372036854775807', 'int64', '9223372036854775807'],
  ['18446744073709551615::UBIGINT', 'uint64', '18446744073709551615'],
  ['(-99999999999999999999999999999999999999)::HUGEINT', 'decimal128(38, 0)', '-99999999999999999999999999999999999999'],
  ['99999999999999999999999999999999999999::UHUGEINT', 'decimal128(38, 0)', '99999999999999999999999999999999999999'],
  ['-0.5::FLOAT', 'float', '-0.5'],
  [`'-inf'::DOUBLE`, 'double', '-inf'],
  ['-1.50::DECIMAL(4,2)', 'decimal128(4, 2)', '-1.50'],
  ['-12345.678::DECIMAL(9,3)', 'decimal128(9, 3)', '-12345.678'],
  ['-9999999999999999.99::DECIMAL(18,2)', 'decimal128(18, 2)', '-9999999999999999.99'],
  ['-999999999999999999999999999999.12345678::DECIMAL(38,8)', 'decimal128(38, 8)', '-999999999999999999999999999999.12345678'],
  [`DATE '0001-02-03'`, 'date32[day]', '0001-02-03'],
  [`TIME '23:59:59.5'`, 'time64[us]', '23:59:59.500000'],
  [`TIMESTAMP '1969-12-31 23:59:59.000004'`, 'timestamp[us]', '1969-12-31 23:59:59.000004'],
  [`TIMESTAMP_S '2026-11-30 01:02:03'`, 'timestamp[s]', '2026-11-30 01:02:03'],
  [`TIMESTAMP_MS '2026-11-30 01:02:03.004'`, 'timestamp[ms]', '2026-11-30 01:02:03.004000'],
  [`TIMESTAMP_NS '2026-11-30 01:02:03.000004'`, 'timestamp[ns]', '2026-11-30 01:02:03.000004'],
  [`TIMESTAMPTZ '2026-11-30 01:02:03+02'`, 'timestamp[us, tz=UTC]', '2026-11-29 23:02:03+00:00'],
  [`TIMETZ '01:02:03-07:30'`, 'string', '01:02:03.000000-07:30'],
  [`INTERVAL '14 months 3 days'`, 'string', 'P1Y2M3D'],
  [`'10110'::BIT`, 'string', '10110'],
  [`uuid 'f1234567-89ab-cdef-0123-456789abcdef'`, 'extension<arrow.uuid>', 'f1234567-89ab-cdef-0123-456789abcdef'],
  [`'b'::ENUM ('a', 'b')`, 'string', 'b'],
  [`union_value(n := 5)`, 'string', '5'],
  [`'a\\x00b'::BLOB`, 'binary', String.raw`b'a\x00b'`],
  [`'é😀 a longer text than twelve bytes'`, 'string', 'é😀 a longer text than twelve bytes'],
  ['[1, NULL, 3]', 'list<item: int32>', '[1, None, 3]'],
  ['[1, 2]::BIGINT[2]', 'fixed_size_list<item: int64>[2]', '[1, 2]'],
  [`{'a': 1, 'b': [{'c': 'x'}]}`, 'struct<a: int32, b: list<item: struct<c: string>>>', `{'a': 1, 'b': [{'c': 'x'}]}`],
  [`row(1, 'x')`, 'struct<1: int32, 2: string>', `{'1': 1, '2': 'x'}`],
  [`MAP {'k': 1.5, 'l': NULL}`, 'map<string, decimal128(2, 1)>', `[('k', Decimal('1.5')), ('l', None)]`],
]

test('PyArrow reads answers of every type, with nulls, over many batches', { timeout: 600_000 }, async () => {
  const python = await pythonOf('python')
  const lake = new Lake()
  const engine = lake.open()
  const read = async (sql: string): Promise<Columns> => {
    const { body } = await engine.query({ sql, format: 'arrow', timeoutMs: 120_000 })
    const script = join(import.meta.dirname, 'read_arrow.py')
    return JSON.parse(execFileSync(python, [script], { input: body, encoding: 'utf8', maxBuffer: 2 ** 28 })) as Columns
  }
  try {
    const named = cases.map(([sql], i) => `${sql} AS c${i}`).join(', ')
    const nulls = cases.map(() => 'NULL').join(', ')
    const small = await read(`SELECT 0 AS part, ${named} UNION ALL SELECT 1, ${nulls} UNION ALL SELECT 2, ${named} ORDER BY part`)
    for (const [i, [sql, type, value]] of cases.entries()) {
      assert.deepEqual(small[`c${i}`], { type, batches: 1, values: [value, null, value] }, sql)
    }
    const many = await read(
      `SELECT i, CASE WHEN i % 3 > 0 THEN 'text ' || i END t, range(i % 4) l FROM range(200000) r(i) ORDER BY i`,
    )
    assert(many['i'].batches > 1)
    assert.equal(many['i'].values.length, 200_000)
    for (let i = 0; i < 200_000; i++) {
      const list = `[${[0, 1, 2].slice(0, i % 4).join(', ')}]`
      const expected = [String(i), i % 3 > 0 ? `text ${i}` : null, list]
      assert.deepEqual([many['i'].values[i], many['t'].values[i], many['l'].values[i]], expected)
    }
    assert.deepEqual(Object.keys(await read('SELECT 1 AS a, 2 AS b WHERE false')), ['a', 'b'])
  } finally {
    await engine.close()
    lake.remove()
  }
})
