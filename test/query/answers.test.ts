import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { SqlEngine } from '../../src/query/index.ts'
import { Lake, columns, failing, rows, text } from './lake.ts'

describe('answers', () => {
  const lake = new Lake()
  let engine: SqlEngine
  before(() => {
    engine = lake.open({ maxResultBytes: 1 << 20 })
    const fields = columns({ id: { kind: 'long' }, word: { kind: 'string' } })
    const some = (word: string) => ({ hot: [lake.hot(fields, [[1n, word]])] })
    lake.put('orders', fields, some('shop'))
    lake.put('orders', fields, { ...some('web'), namespace: 'web' })
    lake.put('clicks', fields, { ...some('clicks'), namespace: 'web' })
    lake.put('Odd Name', fields, some('odd'))
    lake.put('Größe', fields, { ...some('size'), namespace: 'Ünïcode' })
    lake.put('Case', fields, some('upper'))
    lake.put('case', fields, some('lower'))
    lake.put('empty', fields, {})
  })
  after(async () => {
    await engine.close()
    assert.equal(lake.pinned, 0)
    lake.remove()
  })

  it('finds tables by their names', async () => {
    const word = async (from: string): Promise<unknown> => (await rows(engine, `SELECT word FROM ${from}`))[0][0]
    assert.equal(await word('shop.orders'), 'shop')
    assert.equal(await word('web.orders'), 'web')
    assert.equal(await word('clicks'), 'clicks')
    assert.equal(await word('CLICKS'), 'clicks')
    assert.equal(await word('"Web"."Clicks"'), 'clicks')
    assert.equal(await word('"Odd Name"'), 'odd')
    assert.equal(await word('shop."odd name"'), 'odd')
    assert.equal(await word('"Ünïcode"."Größe"'), 'size')
    assert.equal(await word('größe'), 'size')
    assert.equal(await word('shop."Case"'), 'upper')
    assert.equal(await word('shop."case"'), 'lower')
    assert.equal(await word('"Case"'), 'upper')
    assert.equal(await word('(WITH orders AS (SELECT 7 AS word) SELECT * FROM orders)'), 7)
    assert.equal(await word('(WITH clicks AS (SELECT upper(word) AS word FROM clicks) SELECT * FROM clicks)'), 'CLICKS')
    assert.deepEqual(
      await rows(engine, 'SELECT shop.orders.word, web.orders.word, clicks.id FROM shop.orders, web.orders, clicks'),
      [['shop', 'web', 1]],
    )
    await assert.rejects(word('orders'), failing('ambiguous-table', /shop\.orders, web\.orders/))
    await assert.rejects(word('shop."CASE"'), failing('ambiguous-table'))
    await assert.rejects(word('shop."Case", shop."case"'), failing('ambiguous-table', /case only/))
  })

  it('asks for the views of a statement once, and not at all without tables', async () => {
    const before = lake.asked
    await rows(engine, 'SELECT * FROM shop.orders a, shop.orders b, Shop.Orders c, clicks')
    assert.equal(lake.asked, before + 1)
    await rows(engine, 'SELECT 1')
    assert.equal(lake.asked, before + 1)
    const answer = await engine.query({ sql: 'FROM clicks', format: 'json', timeoutMs: 5000 })
    assert.deepEqual(answer.positions, { lake: String(before + 2) })
    assert.equal(answer.rowCount, 1)
    assert.deepEqual(answer.columns, [
      { name: 'id', type: 'BIGINT' },
      { name: 'word', type: 'VARCHAR' },
    ])
  })

  it('lists and describes tables', async () => {
    const listed = await rows(engine, 'SHOW TABLES')
    assert.equal(listed.length, 8)
    assert.deepEqual(listed[0], ['shop', 'Case'])
    assert.deepEqual(
      (await rows(engine, 'DESCRIBE shop.orders')).map((row) => row.slice(0, 2)),
      [
        ['id', 'BIGINT'],
        ['word', 'VARCHAR'],
      ],
    )
    assert.equal((await rows(engine, 'SUMMARIZE clicks')).length, 2)
    assert.match(String((await rows(engine, '-- why\nEXPLAIN SELECT * FROM clicks'))[0][1]), /FRAZIL_HOT/)
  })

  it('keeps tables apart that take turns under one bare name', async () => {
    const turns = new Lake()
    const fields = columns({ word: { kind: 'string' } })
    const other = turns.open()
    try {
      for (const namespace of ['a', 'b', 'main', 'a', 'main', 'b']) {
        turns.drop()
        turns.put('t', fields, { namespace, hot: [turns.hot(fields, [[namespace]])] })
        assert.deepEqual(await rows(other, 'FROM t'), [[namespace]])
        assert.deepEqual(await rows(other, `FROM ${namespace}.t`), [[namespace]])
      }
    } finally {
      await other.close()
      turns.remove()
    }
  })

  it('explains a query over deletes without their bits, and then answers it right', async () => {
    const fields = columns({ id: { kind: 'int' } })
    lake.put('deletes', fields, { files: [lake.file(fields, [[1], [2], [3]], [1])] })
    const sql = 'SELECT sum(id) FROM deletes'
    assert.deepEqual(await rows(engine, sql), [[4]])
    assert.doesNotMatch(String((await rows(engine, `EXPLAIN ${sql}`))[0][1]), /010/)
    assert.deepEqual(await rows(engine, sql), [[4]])
  })

  it('writes JSON with all digits', async () => {
    const sql = `SELECT 9223372036854775807, (-9007199254740993)::BIGINT, 18446744073709551615::UBIGINT, -12::TINYINT,
      170141183460469231731687303715884105727::HUGEINT, 1.50::DECIMAL(9,2), -0.05::DECIMAL(3,2), 'NaN'::DOUBLE, '-inf'::FLOAT, 0.1::FLOAT, 1e300, true, NULL`
    assert.equal(
      await text(engine, sql),
      '[[9223372036854775807,-9007199254740993,18446744073709551615,-12,170141183460469231731687303715884105727,1.50,-0.05,"NaN","-Infinity",0.1,1e+300,true,null]]',
    )
    assert.equal(
      await text(engine, sql, { numbersAsStrings: true }),
      '[["9223372036854775807","-9007199254740993","18446744073709551615",-12,"170141183460469231731687303715884105727","1.50","-0.05","NaN","-Infinity",0.1,1e+300,true,null]]',
    )
  })

  it('writes moments, texts and nested values', async () => {
    const sql = `SELECT DATE '2026-11-30', DATE '0044-03-15 (BC)', TIMESTAMP '2026-11-30 01:02:03.000004', TIMESTAMPTZ '2026-11-30 01:02:03+02',
      TIMESTAMP_S '2026-11-30 01:02:03', TIMESTAMP_NS '2026-11-30 01:02:03.123456789', 'infinity'::TIMESTAMP, TIME '23:59:59.5', TIMETZ '01:02:03-07:30',
      INTERVAL '14 months 3 days 4 hours -5.25 seconds', INTERVAL 0 DAY`
    assert.equal(
      await text(engine, sql),
      '[["2026-11-30","-000043-03-15","2026-11-30T01:02:03.000004","2026-11-29T23:02:03.000000Z","2026-11-30T01:02:03.000000","2026-11-30T01:02:03.123456789","infinity","23:59:59.500000","01:02:03.000000-07:30","P1Y2M3DT3H59M54.750000S","PT0S"]]',
    )
    assert.equal(
      await text(
        engine,
        String.raw`SELECT E'a"b\\c\n\x01é😀', 'ab'::BLOB, '10110'::BIT, uuid '01234567-89ab-cdef-0123-456789abcdef', [1, NULL, 3], {'a': 1, 'b': [{'c': 'x'}]},
        MAP {'k"': 1.5, 'l': NULL}, MAP {1: DATE '2026-01-01'}, [1, 2]::INT[2], 'b'::ENUM ('a', 'b'), row(1, 'x'), union_value(n := 5)`,
      ),
      String.raw`[["a\"b\\c\n\u0001é😀","YWI=","10110","01234567-89ab-cdef-0123-456789abcdef",[1,null,3],{"a":1,"b":[{"c":"x"}]},{"k\"":1.5,"l":null},{"1":"2026-01-01"},[1,2],"b",[1,"x"],5]]`,
    )
  })

  it('writes NDJSON and CSV', async () => {
    const sql = `SELECT 1 AS a, 'x,"y"' AS "b ""c""", NULL AS a, '' AS e, [1, 2] AS l UNION ALL SELECT 2, E'line\\nend', 3, 'é', NULL ORDER BY 1`
    assert.equal(
      await text(engine, sql, { format: 'ndjson' }),
      '{"a":1,"b \\"c\\"":"x,\\"y\\"","a_1":null,"e":"","l":[1,2]}\n{"a":2,"b \\"c\\"":"line\\nend","a_1":3,"e":"é","l":null}\n',
    )
    assert.equal(
      await text(engine, sql, { format: 'csv' }),
      'a,"b ""c""",a,e,l\r\n1,"x,""y""",,"","[1,2]"\r\n2,"line\nend",3,é,\r\n',
    )
    assert.equal(await text(engine, 'SELECT * FROM empty', { format: 'csv' }), 'id,word\r\n')
    assert.equal(await text(engine, 'SELECT * FROM empty', { format: 'ndjson' }), '')
    assert.equal(await text(engine, 'SELECT * FROM empty'), '[]')
  })

  it('reports types by the names that DuckDB prints', async () => {
    const sql = `SELECT 1::UTINYINT a, 1.5::DECIMAL(5,1) b, [TIMESTAMPTZ '2026-01-01'] c, MAP {'a': {'x y': 1}} d, [1]::INT[1] e, TIMETZ '00:00' f, union_value(n := 1) g, NULL h`
    const { columns } = await engine.query({ sql, format: 'json', timeoutMs: 5000 })
    const described = await rows(engine, `DESCRIBE ${sql}`)
    assert.deepEqual(
      columns.map(({ name, type }) => [name, type]),
      described.map((row) => row.slice(0, 2)),
    )
  })

  it('takes parameters', async () => {
    assert.equal(
      await text(engine, 'SELECT ?, ?, ?, ?, ?::BIGINT, ?', { params: [1, 'x', null, true, 2n ** 62n, 0.5] }),
      '[[1,"x",null,true,4611686018427387904,0.5]]',
    )
    assert.deepEqual(await rows(engine, 'SELECT $2, $1', ['a', 'b']), [['b', 'a']])
    for (const [value, found] of [
      [1, 1],
      ['1', 1],
      [2, 0],
      [1n, 1],
      [null, 0],
    ]) {
      assert.deepEqual(await rows(engine, 'SELECT count(*) FROM clicks WHERE id = ?', [value]), [[found]])
    }
    assert.deepEqual(await rows(engine, 'SELECT count(*) FROM clicks WHERE word = ? LIMIT ?', ["cli' OR 1=1 --", 1]), [[0]])
  })

  it('bounds the result', async () => {
    await assert.rejects(text(engine, 'SELECT * FROM range(10000000)'), failing('result-too-large', /1048576 bytes/))
    await assert.rejects(text(engine, "SELECT repeat('x', 2000000)"), failing('result-too-large'))
    assert.equal((await rows(engine, 'SELECT * FROM range(100000)')).length, 100_000)
  })

  it('gives a query that needs too much memory a clear end', async () => {
    const small = lake.open({ memoryBytes: 8 << 20 })
    try {
      await assert.rejects(rows(small, 'SELECT list(range) FROM range(20000000)'), failing('query-memory'))
      assert.deepEqual(await rows(small, 'SELECT 1'), [[1]])
    } finally {
      await small.close()
    }
  })
})
