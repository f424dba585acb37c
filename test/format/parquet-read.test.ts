import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import * as fc from 'fast-check'
import { DuckDBInstance } from '@duckdb/node-api'
import type { DuckDBConnection } from '@duckdb/node-api'
import { FrazilError } from '../../src/base/index.ts'
import { assignFieldIds, encodeValue } from '../../src/data/index.ts'
import type { Field, Type, Value } from '../../src/data/index.ts'
import { ParquetReader } from '../../src/format/parquet/index.ts'
import { decodeLz4Block, decodeSnappy } from '../../src/format/compression/index.ts'
import { allRows, anyRows, everyType, inMemory, openMapped, rowsOf, writeRows } from './parquet-cases.ts'
import { duckRows, sameRows } from './parquet-duckdb.ts'

let folder: string
let instance: DuckDBInstance
let connection: DuckDBConnection
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'frazil-parquet-'))
  instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  connection = await instance.connect()
  await connection.run("SET TimeZone = 'UTC'")
})
after(() => {
  connection.closeSync()
  instance.closeSync()
  rmSync(folder, { recursive: true, force: true })
})

let files = 0
async function copied(sql: string, options: string): Promise<Uint8Array> {
  const path = join(folder, `${files++}.parquet`)
  await connection.run(`COPY (${sql}) TO '${path}' (FORMAT parquet, ${options})`)
  return new Uint8Array(readFileSync(path))
}

const many = `
  SELECT
    i AS id,
    CASE WHEN i % 7 = 0 THEN NULL ELSE (i * 7919) % 1000 - 500 END::INTEGER AS small,
    (hash(i) >> 1)::BIGINT AS wide,
    i % 3 = 0 AS flag,
    CASE WHEN i % 11 = 0 THEN 'NaN'::DOUBLE ELSE i / 3.0 END::DOUBLE AS d,
    (i / 7.0)::FLOAT AS f,
    CASE WHEN i % 5 = 0 THEN NULL ELSE 'value ' || (i % 20) END AS few,
    'prefix/' || (i * 1000003) || '/🦀' AS different,
    encode('bytes' || i) AS raw,
    DATE '1960-02-29' + (i % 20000)::INTEGER AS day,
    TIME '00:00:00' + INTERVAL (i % 86400) SECOND AS clock,
    TIMESTAMP '1999-12-31 23:59:59.999999' + INTERVAL (i) MINUTE AS ts,
    TIMESTAMPTZ '2020-01-01 00:00:00Z' + INTERVAL (i) SECOND AS tz,
    (i % 999)::DECIMAL(4, 1) AS d4,
    (i * 123)::DECIMAL(9, 2) AS d9,
    (i * 123456789)::DECIMAL(18, 4) AS d18,
    (-i)::DECIMAL(38, 10) * 1000000007 AS d38,
    md5(i::VARCHAR)::UUID AS u,
    CASE WHEN i % 4 = 0 THEN NULL ELSE [CASE WHEN j % 3 = 0 THEN NULL ELSE j + i END FOR j IN range(i % 5)] END AS list,
    CASE WHEN i % 6 = 0 THEN NULL ELSE {'a': i, 'b': CASE WHEN i % 3 = 0 THEN NULL ELSE ['x' || i, NULL, ''] END} END AS struct,
    MAP {i % 3: {'k': [[i], [], NULL]}, 99: NULL} AS map,
    NULL::INTEGER AS nothing
  FROM range(ROWS) t(i)`

describe('files that DuckDB wrote', () => {
  for (const codec of ['uncompressed', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4_raw'])
    for (const version of ['V1', 'V2'])
      test(`${codec}, ${version}`, async () => {
        const sql = many.replace('ROWS', '900')
        const bytes = await copied(sql, `CODEC ${codec}, PARQUET_VERSION ${version}, ROW_GROUP_SIZE 2048`)
        const { reader, fields } = await openMapped(bytes)
        sameRows(await rowsOf(reader, fields), await duckRows(connection, sql))
      })
  for (const version of ['V1', 'V2'])
    test(`several row groups, some columns, ranges and single rows, ${version}`, async () => {
      const sql = many.replace('ROWS', '7000')
      const bytes = await copied(sql, `CODEC snappy, PARQUET_VERSION ${version}, ROW_GROUP_SIZE 2048`)
      const { reader, fields } = await openMapped(bytes)
      assert.deepEqual(reader.rowGroupStarts, [0, 2048, 4096, 6144])
      const expected = await duckRows(connection, sql)
      const chosen = [18, 0, 6, 17, 20]
      const some = chosen.map((i) => fields[i])
      const pick = (rows: readonly Value[][]): Value[][] => rows.map((row) => chosen.map((i) => row[i]))
      sameRows(await rowsOf(reader, some, 2000, 6200), pick(expected.slice(2000, 6200)))
      sameRows(await rowsOf(reader, some, 6999), pick(expected.slice(6999)))
      const positions = [0, 1, 2, 500, 2047, 2048, 4095, 6143, 6144, 6999]
      sameRows(allRows(await reader.readRows(some, positions)), pick(positions.map((position) => expected[position])))
    })
  test('integers of other widths', async () => {
    const sql = `SELECT i::TINYINT AS a, i::USMALLINT AS b, (4294967000 + i)::UINTEGER AS c, (18446744073709551000 + i)::UBIGINT AS d FROM range(100) t(i)`
    const { reader, fields } = await openMapped(await copied(sql, 'CODEC snappy'))
    assert.deepEqual(
      fields.map((field) => field.type.kind),
      ['int', 'int', 'long', 'decimal'],
    )
    const expected = (await duckRows(connection, sql)).map(([a, b, c, d]): Value[] => [a, b, BigInt(Number(c)), d])
    sameRows(await rowsOf(reader, fields), expected)
  })
  test('dictionaries of each width', async () => {
    const sql = `SELECT 'v' || (i % ROWS) AS v FROM range(20000) t(i)`
    for (const distinct of ['1', '2', '3', '255', '257', '1500']) {
      const query = sql.replace('ROWS', distinct)
      const { reader, fields } = await openMapped(await copied(query, 'CODEC zstd'))
      sameRows(await rowsOf(reader, fields), await duckRows(connection, query))
    }
  })
  test('milliseconds become microseconds, nanoseconds are refused', async () => {
    const sql = `SELECT TIMESTAMP '2001-02-03 04:05:06.789'::TIMESTAMP_NS AS ns`
    const { reader, fields } = await openMapped(await copied(sql, 'CODEC zstd'))
    await assert.rejects(rowsOf(reader, fields), { name: 'FrazilError', kind: 'unsupported', code: 'parquet-conversion' })
  })
})

describe('files of ours', () => {
  const fields = everyType(false)
  const rows = anyRows(fields, 600, 3)
  const { bytes } = writeRows(fields, rows, { pageRows: 50, rowGroupRows: 250 })

  test('the schema that the file has is the one it was written with', async () => {
    assert.deepEqual((await ParquetReader.open(inMemory(bytes))).fields, fields)
  })
  test('any range and any positions (property)', async () => {
    const reader = await ParquetReader.open(inMemory(bytes))
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 0, max: 599 }), { minLength: 1, maxLength: 12 }), async (numbers) => {
        const positions = numbers.toSorted((a, b) => a - b)
        sameRows(
          allRows(await reader.readRows(fields, positions)),
          positions.map((position) => rows[position]),
        )
        const [from] = positions
        const to = positions.at(-1) ?? from
        sameRows(await rowsOf(reader, fields, from, to), rows.slice(from, to))
      }),
      { numRuns: 20 },
    )
  })
  test('a single row costs its pages, not the file', async () => {
    const wide = assignFieldIds([
      { id: 0, name: 'id', type: { kind: 'long' }, required: true },
      { id: 0, name: 'text', type: { kind: 'string' }, required: true },
    ] satisfies Field[]).fields
    const written = writeRows(
      wide,
      Array.from({ length: 40_000 }, (_, i) => [BigInt(i) * 7919n, `text ${i} ${'.'.repeat(i % 50)}`]),
      { pageRows: 1000, codec: 'none' },
    )
    const file = inMemory(written.bytes)
    const reader = await ParquetReader.open(file)
    file.reads = 0
    sameRows(allRows(await reader.readRows(wide, [20_500])), [[20_500n * 7919n, `text 20500 ${'.'.repeat(0)}`]])
    assert.ok(file.reads < written.bytes.length / 15, `${file.reads} of ${written.bytes.length} bytes`)
  })
  test('positions that are not there or not ascending are refused', async () => {
    const reader = await ParquetReader.open(inMemory(bytes))
    for (const positions of [[600], [-1], [3, 3], [5, 4], [0.5]])
      await assert.rejects(reader.readRows(fields, positions), { name: 'FrazilError', code: 'row-out-of-range' })
    await assert.rejects(rowsOf(reader, fields, 0, 601), { name: 'FrazilError', code: 'row-out-of-range' })
    assert.equal((await reader.readRows(fields, [])).capacity, 0)
  })
})

describe('check 63: fields by id after the schema has changed', () => {
  const int: Type = { kind: 'int' }
  const old: Field[] = [
    { id: 1, name: 'a', type: int, required: true },
    { id: 2, name: 'b', type: { kind: 'float' }, required: false },
    {
      id: 3,
      name: 's',
      type: {
        kind: 'struct',
        fields: [
          { id: 4, name: 'x', type: int, required: false },
          { id: 5, name: 'y', type: int, required: true },
        ],
      },
      required: false,
    },
    { id: 6, name: 'd', type: { kind: 'decimal', precision: 9, scale: 2 }, required: false },
    { id: 7, name: 'e', type: { kind: 'decimal', precision: 18, scale: 2 }, required: false },
    { id: 8, name: 'day', type: { kind: 'date' }, required: false },
  ]
  const { bytes } = writeRows(old, [
    [-5, 1.5, [1, 2], -123n, 456n, -1],
    [7, null, null, null, null, null],
  ])

  test('renamed, reordered, added, dropped, promoted', async () => {
    const now: Field[] = [
      { id: 6, name: 'D', type: { kind: 'decimal', precision: 38, scale: 2 }, required: false },
      { id: 2, name: 'b2', type: { kind: 'double' }, required: false },
      { id: 9, name: 'new', type: { kind: 'string' }, required: false },
      { id: 1, name: 'renamed', type: { kind: 'long' }, required: true },
      {
        id: 3,
        name: 's',
        type: {
          kind: 'struct',
          fields: [
            { id: 10, name: 'added', type: int, required: false },
            { id: 5, name: 'z', type: { kind: 'long' }, required: true },
          ],
        },
        required: false,
      },
      { id: 7, name: 'e', type: { kind: 'decimal', precision: 20, scale: 2 }, required: false },
      { id: 8, name: 'at', type: { kind: 'timestamp' }, required: false },
    ]
    const reader = await ParquetReader.open(inMemory(bytes))
    sameRows(await rowsOf(reader, now), [
      [-123n, 1.5, null, -5n, [null, 2n], 456n, -86_400_000_000n],
      [null, null, null, 7n, null, null, null],
    ])
  })
  test('a struct of added fields only is still null where it was null', async () => {
    const now: Field[] = [
      {
        id: 3,
        name: 's',
        type: { kind: 'struct', fields: [{ id: 10, name: 'added', type: int, required: false }] },
        required: false,
      },
    ]
    sameRows(await rowsOf(await ParquetReader.open(inMemory(bytes)), now), [[[null]], [null]])
  })
  test('also when what the file has of it is a list, in a list', async () => {
    const element = (field: Field): Type => ({
      kind: 'list',
      elementId: 2,
      element: { kind: 'struct', fields: [field] },
      elementRequired: false,
    })
    const ints: Field = {
      id: 3,
      name: 'ints',
      type: { kind: 'list', elementId: 4, element: int, elementRequired: false },
      required: false,
    }
    const added: Field = { id: 5, name: 'added', type: int, required: false }
    const column = (field: Field): Field[] => [{ id: 1, name: 'l', type: element(field), required: false }]
    const written = writeRows(column(ints), [[[[[1, 2, 3]], null, [[]], [null], [[4, 5]]]], [null], [[]], [[[[6, 7]]]]], {
      pageRows: 2,
    })
    const reader = await ParquetReader.open(inMemory(written.bytes))
    sameRows(await rowsOf(reader, column(added)), [[[[null], null, [null], [null], [null]]], [null], [[]], [[[null]]]])
  })
  test('check 66: a missing field reads as its initial default', async () => {
    const now: Field[] = [{ id: 9, name: 'n', type: { kind: 'string' }, required: true }, old[0]]
    const missing = (field: Field): Uint8Array | null => (field.id === 9 ? encodeValue(field.type, 'default') : null)
    sameRows(await rowsOf(await ParquetReader.open(inMemory(bytes), { missing }), now), [
      ['default', -5],
      ['default', 7],
    ])
    await assert.rejects(rowsOf(await ParquetReader.open(inMemory(bytes)), now), { name: 'FrazilError', code: 'missing-column' })
  })
  test('what would lose something is refused', async () => {
    const reader = await ParquetReader.open(inMemory(bytes))
    for (const type of [
      { kind: 'string' },
      { kind: 'boolean' },
      { kind: 'double' },
      { kind: 'decimal', precision: 9, scale: 0 },
    ] satisfies Type[])
      await assert.rejects(rowsOf(reader, [{ id: 1, name: 'a', type, required: true }]), {
        name: 'FrazilError',
        code: 'parquet-conversion',
      })
    await assert.rejects(rowsOf(reader, [{ ...old[1], required: true }]), { name: 'FrazilError', code: 'missing-value' })
  })
})

describe('malformed files are refused, whatever they say (property)', () => {
  /** Reads everything; only errors of ours, and only of these kinds, may come out. */
  async function survives(bytes: Uint8Array): Promise<void> {
    try {
      const { reader, fields } = await openMapped(bytes)
      assert.ok(reader.rowCount >= 0)
      for await (const segment of reader.read(fields, 0, Math.min(reader.rowCount, 5000))) assert.ok(segment.capacity > 0)
      if (reader.rowCount > 0) await reader.readRows(fields, [Math.min(reader.rowCount - 1, 100)])
    } catch (error) {
      assert.ok(error instanceof FrazilError, error instanceof Error ? error.stack : String(error))
      assert.ok(error.kind === 'corrupt' || error.kind === 'unsupported', error.kind)
    }
  }

  async function damage(name: string, bytes: Uint8Array): Promise<void> {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
            byte: fc.integer({ min: 0, max: 255 }),
          }),
          { minLength: 1, maxLength: 3 },
        ),
        fc.boolean(),
        async (changes, nearEnd) => {
          const damaged = bytes.slice()
          // Half of the time in the metadata at the end.
          const span = nearEnd ? Math.min(damaged.length, 3000) : damaged.length
          for (const { at, byte } of changes) damaged[damaged.length - span + Math.floor(at * span)] = byte
          await survives(damaged)
        },
      ),
      { numRuns: 150 },
    )
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: bytes.length - 1 }), async (length) => {
        await survives(bytes.subarray(0, length))
        // Cut in the middle, the footer still there.
        await survives(new Uint8Array(Buffer.concat([bytes.subarray(0, length >> 1), bytes.subarray(length)])))
      }),
      { numRuns: 40 },
    )
    assert.ok(name)
  }

  for (const options of [
    'CODEC uncompressed, PARQUET_VERSION V1',
    'CODEC snappy, PARQUET_VERSION V2',
    'CODEC lz4_raw, PARQUET_VERSION V2',
    'CODEC zstd, PARQUET_VERSION V1',
  ])
    test(`DuckDB's, ${options}`, async () => damage(options, await copied(many.replace('ROWS', '120'), options)))
  test('ours', () => {
    const fields = everyType(false)
    return damage('ours', writeRows(fields, anyRows(fields, 60, 9), { codec: 'none', pageRows: 16 }).bytes)
  })
  test('a changed byte in a page of ours is always seen', async () => {
    const { fields } = assignFieldIds([{ id: 0, name: 'v', type: { kind: 'double' }, required: true }] satisfies Field[])
    const { bytes } = writeRows(
      fields,
      Array.from({ length: 100 }, (_, i) => [i / 7]),
      { codec: 'none', dictionaryBytes: 0 },
    )
    bytes[400] ^= 1
    await assert.rejects(rowsOf(await ParquetReader.open(inMemory(bytes)), fields), {
      name: 'FrazilError',
      code: 'parquet-checksum',
    })
  })
  test('any bytes at all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), (bytes) => survives(bytes)),
      { numRuns: 200 },
    )
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const tail = Buffer.alloc(8)
        tail.writeUInt32LE(bytes.length)
        tail.write('PAR1', 4)
        return survives(new Uint8Array(Buffer.concat([Buffer.from('PAR1'), bytes, tail])))
      }),
      { numRuns: 300 },
    )
  })
})

describe('snappy and lz4 blocks', () => {
  const refused = (error: unknown): boolean => error instanceof FrazilError && error.kind === 'corrupt'
  test('literals, near and far copies', () => {
    // "abcd", then 8 bytes from 4 back, overlapping.
    assert.equal(Buffer.from(decodeSnappy(Uint8Array.of(12, 12, 97, 98, 99, 100, 0b0001_0001, 4), 12)).toString(), 'abcdabcdabcd')
    assert.equal(Buffer.from(decodeLz4Block(Uint8Array.of(0x44, 97, 98, 99, 100, 4, 0, 0), 12)).toString(), 'abcdabcdabcd')
  })
  test('any bytes are decoded or refused (property)', () => {
    for (const decode of [decodeSnappy, decodeLz4Block])
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 0, max: 300 }), (bytes, size) => {
          try {
            assert.equal(decode(bytes, size).length, size)
          } catch (error) {
            assert.ok(refused(error))
          }
        }),
        { numRuns: 2000 },
      )
  })
})
