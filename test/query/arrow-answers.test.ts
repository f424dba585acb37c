import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { fieldOfArrow, readArrowFields } from '../../src/format/arrow/index.ts'
import type { Field } from '../../src/data/index.ts'
import type { SqlEngine } from '../../src/query/index.ts'
import { rowText } from '../../src/server/values.ts'
import { decodeArrow, ownFields } from '../format/arrow-cases.ts'
import { Lake, columns, failing, text } from './lake.ts'

/** The answer as Arrow, read back, as lines of JSON. */
async function linesOfArrow(engine: SqlEngine, sql: string): Promise<string[]> {
  const { body, rowCount } = await engine.query({ sql, format: 'arrow', timeoutMs: 60_000 })
  const fields = ownFields(body).map((field): Field => {
    const isUuid = field.type.kind === 'fixed' && field.type.length === 16
    return isUuid ? { ...field, type: { kind: 'uuid' } } : field
  })
  const rows = decodeArrow(body, fields)
  assert(typeof rows !== 'string', String(rows))
  assert.equal(rows.length, rowCount)
  return rows.map((row) => rowText(fields, row, { numbersAsStrings: false }))
}

async function checkSame(engine: SqlEngine, sql: string): Promise<void> {
  const lines = (await text(engine, sql, { format: 'ndjson' })).split('\n').slice(0, -1)
  assert.deepEqual(await linesOfArrow(engine, sql), lines, sql)
}

describe('answers as Arrow', { timeout: 240_000 }, () => {
  const lake = new Lake()
  let engine: SqlEngine
  before(() => {
    engine = lake.open({ maxResultBytes: 4 << 20 })
  })
  after(async () => {
    await engine.close()
    assert.equal(lake.pinned, 0)
    lake.remove()
  })

  it('have each value that JSON has', async () => {
    await checkSame(
      engine,
      `SELECT * FROM (VALUES
        (true, (-128)::TINYINT, 255::UTINYINT, (-32768)::SMALLINT, 65535::USMALLINT, (-2147483648)::INTEGER, 4294967295::UINTEGER,
         (-9223372036854775807)::BIGINT, 12::UBIGINT, -0.5::FLOAT, 0.1::DOUBLE, 'NaN'::DOUBLE, '-inf'::FLOAT),
        (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (false, 127, 0, 32767, 0, 2147483647, 0, 9223372036854775807, 0, 2.5, 1.5, '-7'::DOUBLE, 'inf'))
        AS t(a, b, c, d, e, f, g, h, i, j, k, l, m)`,
    )
    await checkSame(
      engine,
      `SELECT 1.50::DECIMAL(4,2) a, -12345.678::DECIMAL(9,3) b, -9999999999999999.99::DECIMAL(18,2) c,
        (-99999999999999999999999999999999999999)::DECIMAL(38,0) d, sum(x)::HUGEINT e, (-170)::HUGEINT f
        FROM (VALUES (9223372036854775807), (9223372036854775807)) AS t(x)`,
    )
    await checkSame(
      engine,
      `SELECT DATE '0044-03-15 (BC)' a, DATE '2026-11-30' b, TIME '23:59:59.5' c, TIMESTAMP '1969-12-31 23:59:59.000004' d,
        TIMESTAMPTZ '2026-11-30 01:02:03+02' e, TIMETZ '01:02:03-07:30' f, INTERVAL '14 months -5.25 seconds' g, '10110'::BIT h,
        uuid '01234567-89ab-cdef-0123-456789abcdef' AS i, uuid 'ffffffff-89ab-cdef-0123-456789abcdef' AS j, 'b'::ENUM ('a', 'b') k,
        'ab'::BLOB l, ''::BLOB m, 'é😀 a longer text than twelve bytes' n, '' o`,
    )
  })

  it('have nested values', async () => {
    await checkSame(
      engine,
      `SELECT * FROM (VALUES
        ([1, NULL, 3], [['a'], NULL, []], {'a': 1, 'b': [{'c': 'x'}]}, MAP {'k': 1.5, 'l': NULL}, [1, 2]::INT[2]),
        (NULL, NULL, NULL, NULL, NULL),
        ([], [[NULL, 'b']], {'a': NULL, 'b': NULL}, MAP {}, [NULL, 4]))
        AS t(a, b, c, d, e)`,
    )
  })

  it('have as many rows as there are, in batches', async () => {
    const fields = columns({
      id: { kind: 'long' },
      word: { kind: 'string' },
      list: { kind: 'list', elementId: 0, element: { kind: 'int' }, elementRequired: false },
    })
    const row = (i: number): [bigint, string | null, (number | null)[] | null] => [
      BigInt(i),
      i % 7 === 0 ? null : 'w'.repeat(i % 40),
      i % 11 === 0 ? null : Array.from({ length: i % 5 }, (_, k) => (k === 3 ? null : i + k)),
    ]
    const all = Array.from({ length: 6000 }, (_, i) => row(i))
    lake.put('many', fields, {
      hot: [lake.hot(fields, all.slice(0, 3000))],
      files: [lake.file(fields, all.slice(3000), [5, 2900])],
    })
    await checkSame(engine, 'SELECT * FROM many ORDER BY id')
    // Rows that were left out lie between those that are answered, and lists of one vector in several orders.
    await checkSame(engine, 'SELECT list, word FROM many WHERE id % 3 = 1 ORDER BY word, id DESC')
    await checkSame(engine, 'SELECT list(word ORDER BY id) words, id % 9 k FROM many GROUP BY k ORDER BY k')
    const { body, rowCount } = await engine.query({
      sql: `SELECT i, CASE WHEN i % 2 = 0 THEN i END even FROM range(150000) t(i)`,
      format: 'arrow',
      timeoutMs: 60_000,
    })
    assert.equal(rowCount, 150_000)
    const rows = decodeArrow(body)
    assert(typeof rows !== 'string')
    assert.deepEqual(
      rows.findIndex(([i, even], at) => i !== BigInt(at) || even !== (at % 2 === 0 ? BigInt(at) : null)),
      -1,
    )
  })

  it('have the columns also without rows, each by a name of its own', async () => {
    const { body } = await engine.query({ sql: 'SELECT 1 AS a, 2 AS A, true AS b WHERE false', format: 'arrow', timeoutMs: 5000 })
    assert.deepEqual(
      readArrowFields(body).map(({ name, type }) => [name, type.kind]),
      [
        ['a', 'int'],
        ['A_1', 'int'],
        ['b', 'bool'],
      ],
    )
    assert.deepEqual(body.subarray(-8), new Uint8Array([255, 255, 255, 255, 0, 0, 0, 0]))
    assert.equal(fieldOfArrow(readArrowFields(body)[0])?.required, false)
  })

  it('are bounded, and refuse what Arrow has no number for', async () => {
    const ask = (sql: string): Promise<unknown> => engine.query({ sql, format: 'arrow', timeoutMs: 60_000 })
    await assert.rejects(ask('SELECT range FROM range(1000000)'), failing('result-too-large'))
    await assert.rejects(ask(`SELECT repeat('x', 100000) FROM range(100)`), failing('result-too-large'))
    await assert.rejects(ask('SELECT 170141183460469231731687303715884105727::HUGEINT'), failing('result-type', /38 digits/))
    await assert.rejects(ask('SELECT 340282366920938463463374607431768211455::UHUGEINT'), failing('result-type'))
    await checkSame(
      engine,
      'SELECT 99999999999999999999999999999999999999::UHUGEINT a, -99999999999999999999999999999999999999::HUGEINT b',
    )
  })
})
