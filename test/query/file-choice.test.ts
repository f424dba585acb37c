import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { Type, Value } from '../../src/data/index.ts'
import type { QueryAnswer, SqlEngine } from '../../src/query/index.ts'
import { packStats } from '../../src/table/index.ts'
import { Lake, columns } from './lake.ts'

/** A type, some values of it, and constants of any type that it can be compared with. */
interface Domain {
  readonly type: Type
  readonly values: readonly Value[]
  readonly constants: readonly string[]
  /** The same as values of parameters. */
  readonly params: readonly unknown[]
}

const long = 'the same sixteen characters, and then '
const uuid = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll('-', ''), 'hex'))
const domains: readonly Domain[] = [
  {
    type: { kind: 'int' },
    values: [-(2 ** 31), -3, 0, 1, 2, 3, 2 ** 31 - 1],
    constants: ['1', '-3', '2.5', "'2'", '2e0', '99999999999', '-170141183460469231731687303715884105727', 'true', "'x'", 'NULL'],
    params: [1, 2.5, '2', 2 ** 40, null],
  },
  {
    type: { kind: 'long' },
    values: [-(2n ** 63n), -1n, 0n, 9007199254740993n, 9007199254740995n, 2n ** 63n - 1n],
    constants: ['9007199254740993', '9007199254740994', '0.5', '9007199254740993.5', '1e16', '-9223372036854775808', "'0'"],
    params: [9007199254740993n, -1, 9e15, '9007199254740995'],
  },
  {
    type: { kind: 'float' },
    values: [NaN, Infinity, -Infinity, -0, 0, Math.fround(0.1), 1.5],
    constants: ["'NaN'::FLOAT", "'nan'", '0', '-0.0', '0.1', '1e-1', "'Infinity'::DOUBLE", '1'],
    params: [0, 0.1, 1.5, 'NaN'],
  },
  {
    type: { kind: 'double' },
    values: [NaN, Infinity, -Infinity, -0, 0, 0.1, 1e300],
    constants: ["'NaN'::DOUBLE", '0', '-0.0', '0.1', "'0.1'::FLOAT", '1e300', "'-Infinity'::DOUBLE", '3'],
    params: [0, 0.1, 1e300],
  },
  {
    type: { kind: 'decimal', precision: 9, scale: 2 },
    values: [-99999999999n % 10n ** 9n, -150n, 0n, 127n, 128n, 32768n, 999999999n],
    constants: ['1.27', '1.275', '1.28', '-1.5', '3', '1e1', "'1.27'", '9999999.99', '327.68::DECIMAL(18,4)'],
    params: [1.27, 3, '1.28'],
  },
  {
    type: { kind: 'decimal', precision: 38, scale: 10 },
    values: [-(10n ** 37n), -1n, 0n, 10n ** 20n, 10n ** 37n + 1n],
    constants: ['10000000000', '10000000000.0000000001', '-1', '1e10'],
    params: [10000000000, '-0.0000000001'],
  },
  {
    type: { kind: 'date' },
    values: [-800_000, -1, 0, 1, 20_000, 30_000],
    constants: [
      "DATE '1970-01-01'",
      "'1970-01-02'",
      "TIMESTAMP '1970-01-01 12:00'",
      "TIMESTAMPTZ '1970-01-01 23:00-05'",
      "'2024-10-04'::DATE",
      "'2024-13-04'",
    ],
    params: ['1970-01-01', '1969-12-31'],
  },
  {
    type: { kind: 'time' },
    values: [0n, 1n, 43_200_000_000n, 86_399_999_999n],
    constants: ["TIME '12:00'", "'00:00:00.000001'", "'23:59:59.999999'"],
    params: ['12:00'],
  },
  {
    type: { kind: 'timestamp' },
    values: [-62_135_596_800_000_000n, -1n, 0n, 1n, 86_400_000_000n, 1_700_000_000_000_000n],
    constants: [
      "'1970-01-01'",
      "DATE '1970-01-02'",
      "TIMESTAMP '1970-01-01 00:00:00.000001'",
      "TIMESTAMPTZ '1970-01-01 02:00+02'",
      "'2023-11-14 22:13:20'",
    ],
    params: ['1970-01-01', '1969-12-31 23:59:59.999999'],
  },
  {
    type: { kind: 'timestamptz' },
    values: [-62_135_596_800_000_000n, -1n, 0n, 1n, 86_400_000_000n, 1_700_000_000_000_000n],
    constants: [
      "'1970-01-01 02:00+02'",
      "DATE '1970-01-02'",
      "TIMESTAMP '1970-01-01'",
      "TIMESTAMPTZ '1970-01-01 00:00:00.000001Z'",
      "'1970-01-01'",
    ],
    params: ['1970-01-01 00:00:00-01', '1970-01-02'],
  },
  {
    type: { kind: 'string' },
    values: ['', 'a', 'B', 'b', 'é', '\u{ffff}', '\u{10000}', `${long}a`, `${long}b`, '\u{10ffff}'.repeat(17), '10', '9'],
    constants: [
      "''",
      "'a'",
      "'B'",
      "'é'",
      "'\u{ffff}'",
      "'\u{10000}'",
      `'${long}a'`,
      `'${long.slice(0, 16)}'`,
      "'\u{10ffff}'",
      "'9'",
      '9',
      "DATE '2020-01-01'",
    ],
    params: ['a', `${long}b`, '10', 10],
  },
  {
    type: { kind: 'uuid' },
    values: [
      uuid('00000000-0000-0000-0000-000000000000'),
      uuid('7fffffff-ffff-4fff-bfff-ffffffffffff'),
      uuid('80000000-0000-4000-8000-000000000000'),
      uuid('ffffffff-ffff-ffff-ffff-ffffffffffff'),
    ],
    constants: ["'80000000-0000-4000-8000-000000000000'", "'00000000-0000-0000-0000-000000000001'::UUID", "'x'"],
    params: ['7fffffff-ffff-4fff-bfff-ffffffffffff'],
  },
  {
    type: { kind: 'binary' },
    values: [
      Uint8Array.of(),
      Uint8Array.of(0),
      Uint8Array.of(127),
      Uint8Array.of(128),
      new Uint8Array(20).fill(255),
      new Uint8Array(20).fill(7),
    ],
    constants: ["''::BLOB", "'\\x7F'::BLOB", "'\\x80'::BLOB", "'\\xFF\\xFF'::BLOB", "'\\x07'"],
    params: [],
  },
  {
    type: { kind: 'boolean' },
    values: [false, true],
    constants: ['true', 'false', '1', "'t'"],
    params: [true, false],
  },
]

interface Term {
  readonly sql: string
  readonly params: readonly unknown[]
}

const comparison = fc.constantFrom('=', '<', '<=', '>', '>=', '<>', 'IS DISTINCT FROM')

function constantOf({ constants, params }: Domain): fc.Arbitrary<Term> {
  const literal = fc.constantFrom(...constants).map((sql) => ({ sql, params: [] }))
  if (params.length === 0) return literal
  const parameter = fc.constantFrom(...params).map((value) => ({ sql: '?', params: [value] }))
  return fc.oneof({ weight: 3, arbitrary: literal }, { weight: 1, arbitrary: parameter })
}

function join(parts: readonly (string | Term)[]): Term {
  return {
    sql: parts.map((part) => (typeof part === 'string' ? part : part.sql)).join(' '),
    params: parts.flatMap((part) => (typeof part === 'string' ? [] : part.params)),
  }
}

function simpleTerm(domain: Domain, column: string): fc.Arbitrary<Term> {
  const constant = constantOf(domain)
  return fc.oneof(
    fc.tuple(comparison, constant).map(([op, value]) => join([column, op, value])),
    fc
      .tuple(
        comparison.filter((op) => op.length < 3),
        constant,
      )
      .map(([op, value]) => join([value, op, column])),
    fc.tuple(constant, constant).map(([low, high]) => join([column, 'BETWEEN', low, 'AND', high])),
    fc.array(constant, { minLength: 1, maxLength: 3 }).map((values) => {
      const list = values.flatMap((value, i) => (i === 0 ? [value] : [',', value]))
      return join([column, 'IN (', ...list, ')'])
    }),
    fc.constantFrom(`${column} IS NULL`, `${column} IS NOT NULL`).map((sql) => ({ sql, params: [] })),
  )
}

function anyTerm(simple: fc.Arbitrary<Term>): fc.Arbitrary<Term> {
  return fc.oneof(
    { weight: 3, arbitrary: simple },
    { weight: 1, arbitrary: fc.tuple(simple, simple).map(([a, b]) => join(['(', a, 'AND', b, ')'])) },
    { weight: 1, arbitrary: fc.tuple(simple, simple).map(([a, b]) => join(['(', a, 'OR', b, ')'])) },
    { weight: 1, arbitrary: simple.map((term) => join(['NOT (', term, ')'])) },
  )
}

const scene = fc.tuple(fc.constantFrom(...domains), fc.constantFrom(...domains)).chain(([a, b]) =>
  fc.record({
    types: fc.constant([a.type, b.type]),
    files: fc.array(
      fc.array(
        fc.tuple(fc.option(fc.constantFrom(...a.values), { freq: 6 }), fc.option(fc.constantFrom(...b.values), { freq: 6 })),
        { minLength: 1, maxLength: 3 },
      ),
      { minLength: 4, maxLength: 9 },
    ),
    terms: fc.array(anyTerm(fc.oneof(simpleTerm(a, 'a'), simpleTerm(a, 't.a'), simpleTerm(b, 'b'))), {
      minLength: 4,
      maxLength: 4,
    }),
  }),
)

/** Types of which a text is or is not, whatever rows it is compared with. */
function isStrict({ kind }: Type): boolean {
  return ['uuid', 'date', 'time', 'timestamp', 'timestamptz', 'string'].includes(kind)
}

describe('files that queries leave out', () => {
  let lake: Lake
  let engine: SqlEngine

  before(() => {
    lake = new Lake()
    engine = lake.open()
  })

  after(async () => {
    await engine.close()
    lake.remove()
  })

  async function ask(sql: string, params: readonly unknown[] = []): Promise<QueryAnswer & { text: string }> {
    const answer = await engine.query({ sql, params, format: 'json', timeoutMs: 20_000 })
    return { ...answer, text: Buffer.from(answer.body).toString() }
  }

  it('make no difference to any answer', async () => {
    let skipped = 0
    let answered = 0
    await fc.assert(
      fc.asyncProperty(scene, async ({ types: [a, b], files, terms }) => {
        lake.drop()
        const fields = columns({ n: { kind: 'int' }, a, b })
        let n = 0
        const written = files.map((rows) =>
          lake.file(
            fields,
            rows.map((row) => [n++, ...row]),
            rows.length > 2 ? [1] : [],
          ),
        )
        lake.put('t', fields, { files: written })
        lake.put('p', fields, { files: written.map((file) => ({ ...file, stats: null })) })
        for (const { sql, params } of terms) {
          const outcome = async (table: string) => {
            try {
              return await ask(`SELECT n, a, b FROM ${table} AS t WHERE ${sql} ORDER BY n`, params)
            } catch (error) {
              return error as Error
            }
          }
          const [plain, chosen] = [await outcome('p'), await outcome('t')]
          // A number that does not fit its column is not noticed where no row is compared with it.
          if (isStrict(a) && isStrict(b)) assert.equal(chosen instanceof Error, plain instanceof Error, sql)
          if (chosen instanceof Error) assert.ok(plain instanceof Error, `${sql}: ${chosen.message}`)
          if (plain instanceof Error || chosen instanceof Error) {
            continue
          }
          assert.equal(
            chosen.text,
            plain.text,
            `${sql} ${JSON.stringify(params, (_, v) => (typeof v === 'bigint' ? String(v) : v))}`,
          )
          assert.deepEqual(plain.files, { read: written.length, skipped: 0 })
          answered++
          skipped += chosen.files.skipped
        }
      }),
      { numRuns: 40 },
    )
    assert.ok(skipped > answered, `${skipped} files were left out of ${answered} answers`)
  })

  it('hide no error: a text that is none of its column is refused, whatever files and rows there are', async () => {
    lake.drop()
    const fields = columns({ n: { kind: 'int' }, u: { kind: 'uuid' }, d: { kind: 'date' }, t: { kind: 'timestamptz' } })
    const files = Array.from({ length: 6 }, (_, i) => lake.file(fields, [[i, null, null, null]]))
    lake.put('nulls', fields, { files })
    lake.put('none', fields, {})
    lake.put('hot', fields, { hot: [lake.hot(fields, [[1, uuid('00000000-0000-0000-0000-000000000000'), 0, 0n]])] })
    const wrong: readonly (readonly [string, unknown[]?])[] = [
      ["u = 'x'"],
      ["'x' < u"],
      ["u IN ('00000000-0000-0000-0000-000000000000', 'x')"],
      ['u = $1', ['x']],
      ["u = 'x' AND n = 100"],
      ["d = '2020-13-01'"],
      ["t BETWEEN '2020-01-01' AND 'tomorrow or so'"],
    ]
    for (const table of ['nulls', 'none', 'hot']) {
      // Twice: nothing of it may be remembered wrongly.
      for (const [sql, params] of [...wrong, ...wrong]) {
        await assert.rejects(
          ask(`SELECT n FROM ${table} WHERE ${sql}`, params),
          { kind: 'request', code: 'sql' },
          `${table}: ${sql}`,
        )
      }
      for (const sql of ["u = '00000000-0000-0000-0000-000000000001'", "d = '2020-12-01'", "t >= '2020-01-01 12:00:00+02'"]) {
        assert.equal((await ask(`SELECT n FROM ${table} WHERE ${sql}`)).text, '[]')
      }
    }
  })

  it('are those that bounds, null counts and conditions on every reading of the table say', async () => {
    lake.drop()
    const fields = columns({ n: { kind: 'int' }, s: { kind: 'string' } })
    const tens = Array.from({ length: 10 }, (_, i) =>
      lake.file(
        fields,
        Array.from({ length: 10 }, (_, k) => [i * 10 + k, i === 7 ? null : `s${i}`]),
      ),
    )
    const hot = lake.hot(fields, [[1000, 'hot']])
    lake.put('t', fields, { files: tens, hot: [hot] })
    lake.put('u', columns({ m: { kind: 'int' } }), { files: [lake.file(columns({ m: { kind: 'int' } }), [[15], [25]])] })
    const cases: readonly (readonly [string, number, number, unknown[]?])[] = [
      ['SELECT count(*) FROM t WHERE n = 35', 1, 1],
      ['SELECT count(*) FROM shop.t WHERE t.n = 35', 1, 1],
      ['SELECT count(*) FROM t x WHERE X.N BETWEEN 30 AND 39', 10, 1],
      ['SELECT count(*) FROM t WHERE n >= $1 AND n < $2', 20, 2, [20, 40]],
      ["SELECT count(*) FROM t WHERE s = 's3'", 10, 1],
      ['SELECT count(*) FROM t WHERE s IS NULL', 10, 1],
      ['SELECT count(*) FROM t WHERE s IS NOT NULL', 91, 9],
      ['SELECT count(*) FROM t WHERE n IN (5, 95, 1000)', 3, 2],
      ['SELECT count(*) FROM t WHERE n = 5 OR n > 84', 17, 3],
      ['SELECT count(*) FROM t WHERE n = 2000', 0, 0],
      ['SELECT count(*) FROM t WHERE n = 5 OR length(s) = 2', 91 - 1, 10],
      ['SELECT count(*) FROM t WHERE NOT n = 5', 100, 10],
      // Every reading counts.
      ['SELECT (SELECT count(*) FROM t WHERE n = 5) + (SELECT count(*) FROM t WHERE n = 95)', 2, 2],
      ['SELECT (SELECT count(*) FROM t WHERE n = 5) + (SELECT count(*) FROM t)', 102, 10],
      ['SELECT count(*) FROM t JOIN t AS other USING (n) WHERE t.n = 5', 1, 10],
      ['WITH t AS (SELECT * FROM shop.t WHERE n < 10) SELECT count(*) FROM t WHERE n = 95', 0, 1],
      // Not where it is only joined from outside, or named like something else.
      ['SELECT count(*) FROM u LEFT JOIN t ON t.n = u.m WHERE t.n IS NULL', 0, 11],
      ['SELECT count(*) FROM u, t WHERE t.n = 15 AND u.m = 15', 1, 2],
      ['SELECT count(*) FROM (SELECT -n AS n FROM t) x WHERE n = -35', 1, 10],
      ['SELECT count(*) FROM t AS x(s, n) WHERE s = 35', 1, 10],
      ['SELECT n AS s FROM t WHERE n = 35', 35, 1],
      ['SELECT count(*) FROM u WHERE EXISTS (SELECT 1 FROM t WHERE n = m)', 2, 11],
    ]
    for (const [sql, expected, read, params] of cases) {
      const answer = await ask(sql, params)
      assert.equal(answer.text, `[[${expected}]]`, sql)
      assert.equal(answer.files.read, read, sql)
      const { text: plan } = await ask(`EXPLAIN ${sql}`, params)
      if (read === 0) assert.doesNotMatch(plan, /READ_PARQUET/, sql)
    }
  })

  it('are those of the columns as they are now, also where the files stay', async () => {
    lake.drop()
    const fields = columns({ n: { kind: 'int' }, a: { kind: 'double' }, b: { kind: 'float' } })
    const rows = [0, 1, 2, 3, 4, 5].map((i) => [i, i, i === 3 ? Math.fround(100.3) : 0])
    const files = rows.map((row) => lake.file(fields, [row]))
    lake.put('t', fields, { files })
    const answers = async () => [
      (await ask('SELECT a FROM t WHERE b > 100.3')).text,
      (await ask('SELECT a FROM t WHERE a > 0.5 AND b > 50.5')).text,
    ]
    assert.deepEqual(await answers(), ['[]', '[[3]]'])
    // A column grows: this float is a bit more than 100.3.
    const grown: typeof fields = [fields[0], fields[1], { ...fields[2], type: { kind: 'double' } }]
    lake.put('t', grown, { files })
    assert.deepEqual(await answers(), ['[[3]]', '[[3]]'])
    // A column before them goes.
    lake.put('t', grown.slice(1), { files })
    assert.deepEqual(await answers(), ['[[3]]', '[[3]]'])
  })

  it('are all where bounds are NaN, as old writers have them: those say nothing', async () => {
    lake.drop()
    const fields = columns({ a: { kind: 'double' }, b: { kind: 'float' } })
    const bounds = [new Uint8Array(new Float64Array([NaN]).buffer), new Uint8Array(new Float32Array([NaN]).buffer)]
    const metrics = fields.map(({ id }, i) => {
      return { fieldId: id, columnSize: 8, valueCount: 2, nullCount: 0, lower: bounds[i], upper: bounds[i] }
    })
    const files = [0, 1, 2, 3, 4].map((i) => {
      const file = lake.file(fields, [
        [i, i],
        [NaN, NaN],
      ])
      return { ...file, stats: packStats({ path: file.path, recordCount: 2, fileSize: 100, splitOffsets: [], metrics }) }
    })
    lake.put('t', fields, { files })
    for (const column of ['a', 'b']) {
      for (const [condition, rows] of [
        ['< 3', 3],
        ['= 3', 1],
        ['>= 3', 7],
        ["= 'NaN'", 5],
      ] as const) {
        assert.equal(
          (await ask(`SELECT count(*) FROM t WHERE ${column} ${condition}`)).text,
          `[[${rows}]]`,
          `${column} ${condition}`,
        )
      }
    }
  })

  it('change with the files and their deletes', async () => {
    lake.drop()
    const fields = columns({ n: { kind: 'int' } })
    const file = (from: number, deleted: number[] = []) =>
      lake.file(
        fields,
        Array.from({ length: 10 }, (_, k) => [from + k]),
        deleted,
      )
    for (let round = 0; round < 12; round++) {
      lake.put('t', fields, { files: Array.from({ length: 6 }, (_, i) => file((i + round) * 10, [round % 10])) })
      for (let i = 0; i < 12; i++) {
        const { text: answer, files } = await ask('SELECT count(*) FROM t WHERE n >= $1 AND n < $2', [i * 10, i * 10 + 10])
        const isThere = i >= round && i < round + 6
        assert.equal(answer, isThere ? '[[9]]' : '[[0]]')
        assert.equal(files.read, isThere ? 1 : 0)
      }
    }
  })
})
