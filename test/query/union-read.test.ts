import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import * as fc from 'fast-check'
import { assignFieldIds } from '../../src/data/index.ts'
import type { Field, Type, Value } from '../../src/data/index.ts'
import type { SqlEngine } from '../../src/query/index.ts'
import { anyFields, cellOf } from '../data/any-field.ts'
import { expectedJson } from './expected-json.ts'
import { Lake, bitmap, columns, rows, text } from './lake.ts'

/** Where a row is, and whether the view (at commit 10) sees it. */
const places = ['hot', 'hot, deleted later', 'hot, deleted', 'cold', 'cold, deleted'] as const
type Place = (typeof places)[number]
const isVisible = (place: Place): boolean => !place.endsWith('deleted')

interface Scene {
  readonly fields: readonly Field[]
  readonly rows: readonly { readonly place: Place; readonly part: number; readonly values: readonly Value[] }[]
}

const scenes: fc.Arbitrary<Scene> = anyFields.chain((anyColumns) => {
  const number: Field = { id: 0, name: 'n', type: { kind: 'int' }, required: true }
  const { fields } = assignFieldIds([number, ...anyColumns])
  const row = fc.record({
    place: fc.constantFrom(...places),
    part: fc.integer({ min: 0, max: 2 }),
    values: fc.tuple(...fields.slice(1).map(cellOf)),
  })
  return fc.array(row, { maxLength: 40 }).map((generated) => ({
    fields,
    rows: generated.map(({ place, part, values }, i) => ({ place, part, values: [i, ...values] })),
  }))
})

/** Puts a scene's rows where they belong: up to three segments and three files. */
function place(lake: Lake, name: string, { fields, rows }: Scene): void {
  const hot = []
  const files = []
  for (let part = 0; part < 3; part++) {
    const here = rows.filter((row) => row.part === part)
    const inHot = here.filter((row) => row.place.startsWith('hot'))
    const inFile = here.filter((row) => row.place.startsWith('cold'))
    const deletedAt: Record<number, number> = {}
    inHot.forEach((row, i) => {
      if (row.place === 'hot, deleted') deletedAt[i] = 8 + (i % 3)
      if (row.place === 'hot, deleted later') deletedAt[i] = 11 + i
    })
    if (inHot.length > 0)
      hot.push(
        lake.hot(
          fields,
          inHot.map((row) => row.values),
          deletedAt,
          { baseCommit: part * 3 },
        ),
      )
    const deleted = inFile.flatMap((row, i) => (isVisible(row.place) ? [] : [i]))
    if (inFile.length > 0)
      files.push(
        lake.file(
          fields,
          inFile.map((row) => row.values),
          deleted,
        ),
      )
  }
  lake.put(name, fields, { hot, files })
}

describe('union read', () => {
  const lake = new Lake()
  let engine: SqlEngine
  before(() => (engine = lake.open()))
  after(async () => {
    await engine.close()
    assert.equal(lake.pinned, 0)
    lake.remove()
  })

  it('shows each row alive at the commit once, exactly as it was, hot or cold, of any type', async () => {
    let number = 0
    await fc.assert(
      fc.asyncProperty(scenes, async (scene) => {
        const name = `any_${number++}`
        place(lake, name, scene)
        const expected = scene.rows
          .filter((row) => isVisible(row.place))
          .map(({ values }) => `[${values.map((value, i) => expectedJson(scene.fields[i].type, value)).join(',')}]`)
        assert.equal(await text(engine, `SELECT * FROM ${name} ORDER BY n`), `[${expected.join(',')}]`)
        assert.deepEqual(await rows(engine, `SELECT count(*) FROM ${name}`), [[expected.length]])
      }),
      { numRuns: 60 },
    )
  })

  it('answers like a plain table of the same rows', async () => {
    const fields = columns({
      n: { kind: 'int' },
      id: { kind: 'long' },
      word: { kind: 'string' },
      amount: { kind: 'decimal', precision: 12, scale: 2 },
      ratio: { kind: 'double' },
      moment: { kind: 'timestamptz' },
      tags: { kind: 'list', elementId: 0, element: { kind: 'string' }, elementRequired: false },
    })
    const row = fc.record({
      place: fc.constantFrom(...places),
      part: fc.integer({ min: 0, max: 2 }),
      values: fc.tuple(
        fc.bigInt(-5n, 5n),
        fc.option(fc.constantFrom('', 'é', 'a', 'b', 'a much longer word', "it's")),
        fc.option(fc.bigInt(-999n, 999n)),
        fc.constantFrom(0.5, -1.25, 1e300, null),
        fc.bigInt(0n, 10n ** 15n),
        fc.option(fc.array(fc.option(fc.constantFrom('x', 'a tag that is long')), { maxLength: 3 })),
      ),
    })
    const queries = [
      'SELECT word, count(*), sum(amount), max(moment) FROM t GROUP BY word',
      'SELECT id, n FROM t WHERE id = 3 OR word IS NULL',
      'SELECT a.n, b.n FROM t a JOIN t b ON a.id = b.id AND a.n < b.n',
      'SELECT tag, count(*) FROM t, unnest(tags) AS u(tag) GROUP BY tag',
      'SELECT n, row_number() OVER (PARTITION BY word ORDER BY moment, n) FROM t',
      "SELECT date_trunc('day', moment) AS day, avg(ratio) FROM t GROUP BY ALL",
      'WITH t2 AS (SELECT * FROM t WHERE amount > 0) SELECT min(n), max(n), count(DISTINCT word) FROM t2',
      'SELECT n FROM t WHERE amount BETWEEN -2.5 AND 2.5 AND ratio < 1',
      'SELECT id, len(tags), word FROM t ORDER BY n DESC LIMIT 5',
    ]
    const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
    const plain = await instance.connect()
    try {
      await plain.run("SET TimeZone = 'UTC'")
      await fc.assert(
        fc.asyncProperty(fc.array(row, { maxLength: 60 }), async (generated) => {
          const scene: Scene = { fields, rows: generated.map((r, i) => ({ ...r, values: [i, ...r.values] })) }
          place(lake, 't', scene)
          await plain.run(
            'CREATE OR REPLACE TABLE t (n INTEGER, id BIGINT, word VARCHAR, amount DECIMAL(12,2), ratio DOUBLE, moment TIMESTAMPTZ, tags VARCHAR[])',
          )
          const visible = scene.rows.filter((r) => isVisible(r.place))
          const values = visible.map((r) => `(${r.values.map((value, i) => literal(fields[i].type, value)).join(', ')})`)
          if (values.length > 0) await plain.run(`INSERT INTO t VALUES ${values.join(', ')}`)
          for (const query of queries) {
            const asText = `SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (${query}) ORDER BY ALL`
            const expected = (await plain.runAndReadAll(asText)).getRows()
            assert.deepEqual(await rows(engine, asText), expected, query)
          }
        }),
        { numRuns: 15 },
      )
    } finally {
      plain.closeSync()
      instance.closeSync()
    }
  })

  it('reads many rows in chunks: dense, thinned out by deletes, and in several segments', async () => {
    const fields = columns({ n: { kind: 'int' }, word: { kind: 'string' }, flag: { kind: 'boolean' } })
    const values = (from: number, to: number): Value[][] =>
      Array.from({ length: to - from }, (_, i) => {
        const n = from + i
        return [n, n % 7 === 0 ? null : `word ${'x'.repeat(n % 40)} ${n}`, n % 3 === 0]
      })
    const thinned: Record<number, number> = {}
    for (let i = 0; i < 5000; i++) if (i % 10 > 0) thinned[i] = 3
    const some: Record<number, number> = { 0: 2, 2047: 2, 2048: 2, 4999: 2 }
    const hot = [
      lake.hot(fields, values(0, 5000), some),
      lake.hot(fields, values(5000, 10_000), thinned),
      lake.hot(fields, values(10_000, 12_500), {}, { deletable: false }),
    ]
    const clipped = { ...hot[2], from: 3, to: 2403 }
    lake.put('many', fields, { hot: [hot[0], hot[1], clipped] })
    const alive = [
      ...values(0, 5000).filter((_, i) => !(i in some)),
      ...values(5000, 10_000).filter((_, i) => !(i in thinned)),
      ...values(10_003, 12_403),
    ]
    const expected = alive.map((row) => `[${row.map((value, i) => expectedJson(fields[i].type, value)).join(',')}]`)
    assert.equal(await text(engine, 'SELECT * FROM many ORDER BY n'), `[${expected.join(',')}]`)
    assert.deepEqual(await rows(engine, 'SELECT count(*), count(word), count(*) FILTER (flag) FROM many'), [
      [alive.length, alive.filter((row) => row[1] !== null).length, alive.filter((row) => row[2]).length],
    ])
  })

  it('follows a table as it grows, loses rows, is flushed, and gets a column', async () => {
    const one = columns({ n: { kind: 'int' }, v: { kind: 'string' } })
    const hot = lake.hot(one, [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ])
    const query = 'SELECT * FROM moving ORDER BY n'
    lake.put('moving', one, { commit: 1, hot: [{ ...hot, to: 2 }] })
    assert.equal(await text(engine, query), '[[1,"a"],[2,"b"]]')
    lake.put('moving', one, { commit: 2, hot: [hot] })
    assert.equal(await text(engine, query), '[[1,"a"],[2,"b"],[3,"c"]]')
    assert.ok(hot.segment.deletedAt)
    hot.segment.deletedAt[1] = 3
    assert.equal(await text(engine, query), '[[1,"a"],[2,"b"],[3,"c"]]', 'an older commit still sees the row')
    lake.put('moving', one, { commit: 3, hot: [hot] })
    assert.equal(await text(engine, query), '[[1,"a"],[3,"c"]]')
    const file = lake.file(one, [
      [1, 'a'],
      [3, 'c'],
    ])
    lake.put('moving', one, { commit: 4, files: [file] })
    assert.equal(await text(engine, query), '[[1,"a"],[3,"c"]]')
    lake.put('moving', one, { commit: 5, files: [{ ...file, deleted: Uint8Array.of(1) }] })
    assert.equal(await text(engine, query), '[[3,"c"]]')
    const two: Field[] = [
      { ...one[0], type: { kind: 'long' } },
      { ...one[1], name: 'renamed' },
      { id: 9, name: 'v', type: { kind: 'date' }, required: false },
    ]
    const newer = lake.hot(two, [[4n, 'd', 0]])
    lake.put('moving', two, { commit: 6, hot: [{ ...hot, from: 2 }, newer], files: [{ ...file, deleted: Uint8Array.of(2) }] })
    assert.equal(await text(engine, query), '[[1,"a",null],[3,"c",null],[4,"d","1970-01-01"]]')
    assert.deepEqual(await rows(engine, 'DESCRIBE moving').then((all) => all.map((row) => row.slice(0, 2))), [
      ['n', 'BIGINT'],
      ['renamed', 'VARCHAR'],
      ['v', 'DATE'],
    ])
  })

  it('reads older types of a column: wider numbers, structs with further fields', async () => {
    const inner = (id: number, name: string, type: Type): Field => ({ id, name, type, required: false })
    const older: Field[] = [
      inner(1, 'n', { kind: 'int' }),
      inner(2, 'f', { kind: 'float' }),
      inner(3, 'd', { kind: 'decimal', precision: 5, scale: 2 }),
      inner(4, 's', { kind: 'struct', fields: [inner(5, 'a', { kind: 'int' })] }),
    ]
    const newer: Field[] = [
      inner(1, 'n', { kind: 'long' }),
      inner(2, 'f', { kind: 'double' }),
      inner(3, 'd', { kind: 'decimal', precision: 30, scale: 2 }),
      inner(4, 's', { kind: 'struct', fields: [inner(5, 'a', { kind: 'long' }), inner(6, 'b', { kind: 'string' })] }),
    ]
    const sample: Value[][] = [
      [-1, 0.5, -12345n, [-7]],
      [2, -2.25, 1n, null],
      [null, null, null, [null]],
    ]
    lake.put('older', newer, { hot: [lake.hot(older, sample)] })
    const expected = '[[-1,0.5,-123.45,{"a":-7,"b":null}],[2,-2.25,0.01,null],[null,null,null,{"a":null,"b":null}]]'
    assert.equal(await text(engine, 'SELECT * FROM older'), expected)
    lake.put('older', newer, { files: [lake.file(older, sample)] })
    assert.equal(await text(engine, 'SELECT * FROM older'), expected)
  })

  it('reads many files with deletes, and columns and paths with hard names', async () => {
    const fields = columns({
      n: { kind: 'int' },
      file_row_number: { kind: 'string' },
      'a "quoted" one': { kind: 'int' },
      Größe: { kind: 'int' },
      A: { kind: 'int' },
      a: { kind: 'int' },
    })
    const files = Array.from({ length: 12 }, (_, i) =>
      lake.file(
        fields,
        [0, 1, 2].map((j) => [i * 3 + j, 'own', 1, 2, 3, 4]),
        i % 3 === 0 ? [] : [i % 3],
        { name: `k=${i} [x]*?'${i}.parquet` },
      ),
    )
    lake.put('hard', fields, { files, hot: [lake.hot(fields, [[99, 'hot', 1, 2, 3, 4]])] })
    const expected = [99]
    for (let i = 0; i < 36; i++) if (Math.floor(i / 3) % 3 === 0 || i % 3 !== Math.floor(i / 3) % 3) expected.push(i)
    assert.deepEqual(
      await rows(engine, 'SELECT n FROM hard ORDER BY n'),
      expected.sort((a, b) => a - b).map((n) => [n]),
    )
    assert.deepEqual(await rows(engine, `SELECT "a ""quoted"" one", "Größe", "A", a_1, file_row_number FROM hard WHERE n = 5`), [
      [1, 2, 3, 4, 'own'],
    ])
  })

  it('leaves deleted rows out of large files, which are read alone, beside small ones and files without deletes', async () => {
    const fields = columns({ n: { kind: 'int' } })
    const sizes = [140_000, 10, 33_000, 50, 35_000, 20, 132_000, 60_000, 65_000, 64_000, 300, 65_500]
    const isDeleted = (file: number, row: number): boolean => file !== 4 && (row * 7 + file) % 5 === 0
    let from = 0
    const alive: number[] = []
    const files = sizes.map((size, file) => {
      const numbers = Array.from({ length: size }, (_, row) => from + row)
      const deleted = numbers.flatMap((_, row) => (isDeleted(file, row) ? [row] : []))
      alive.push(...numbers.filter((_, row) => !isDeleted(file, row)))
      from += size
      return lake.file(
        fields,
        numbers.map((n) => [n]),
        deleted,
      )
    })
    lake.put('large', fields, { files })
    // Which numbers there are, told by their sum and that of their squares.
    const sum = (of: (n: number) => bigint): string => String(alive.reduce((total, n) => total + of(n), 0n))
    const asked = 'SELECT count(*), sum(n)::VARCHAR, sum(n::HUGEINT * n)::VARCHAR FROM large'
    assert.deepEqual(await rows(engine, asked), [[alive.length, sum((n) => BigInt(n)), sum((n) => BigInt(n) ** 2n)]])
  })

  it('leaves deleted rows out of a file with more rows than one constant has bits, and goes on with other deletes', async () => {
    const fields = columns({ n: { kind: 'int' } })
    const [size, times] = [60_001, 37]
    const numbers = Array.from({ length: size }, (_, n) => [n])
    const edges = [2, 2 ** 20, 2 ** 21 - 1, 2 ** 21, size * times - 1]
    const some = Array.from({ length: 50_000 }, (_, i) => ((i + 1) * 44_351) % (size * times))
    const positions = [...new Set([...edges, ...some])]
    const first = lake.file(fields, numbers, positions, { times })
    const other = edges.map((row) => row ^ 2).filter((row) => row < size * times)
    const small = lake.file(fields, [[1], [2]], [0])
    for (const deleted of [positions, other]) {
      const file = { ...first, deleted: bitmap(first.rows, deleted) }
      lake.put('long', fields, { files: [small, file] })
      const total = (of: (n: number) => number): number => {
        const all = numbers.reduce((sum, [n]) => sum + of(n), 0) * times
        return all - deleted.reduce((sum, row) => sum + of(row % size), 0) + of(2)
      }
      assert.deepEqual(await rows(engine, 'SELECT count(*), sum(n), sum(n % 1009) FROM long'), [
        [total(() => 1), total((n) => n), total((n) => n % 1009)],
      ])
      const left = times - deleted.filter((row) => row % size === 57_118).length
      assert.deepEqual(await rows(engine, 'SELECT count(*) FROM long WHERE n = 57118'), [[left]])
    }
  })

  function literal(type: Type, value: Value): string {
    if (value === null) return 'NULL'
    if (Array.isArray(value)) return `[${value.map((item: Value) => literal({ kind: 'string' }, item)).join(', ')}]`
    if (type.kind === 'string') return `'${String(value).replaceAll("'", "''")}'`
    if (type.kind === 'decimal') return `(${String(value)}::DECIMAL(12,2) / 100)::DECIMAL(12,2)`
    if (type.kind === 'timestamptz') return `make_timestamptz(${String(value)})`
    return String(value)
  }
})
