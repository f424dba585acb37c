import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { after, before, describe, test } from 'node:test'
import * as fc from 'fast-check'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { DuckDBInstance } from '@duckdb/node-api'
import type { DuckDBConnection } from '@duckdb/node-api'
import { FrazilError, seededRandom } from '../../src/base/index.ts'
import { assignFieldIds, columnOf } from '../../src/data/index.ts'
import type { Field, Type, Value } from '../../src/data/index.ts'
import { ParquetEncoder, ParquetReader } from '../../src/format/parquet/index.ts'
import type { ParquetEncoderOptions } from '../../src/format/parquet/index.ts'
import { anyRows, everyType, inMemory, rowsOf, segmentsOf, write, writeRows } from './parquet-cases.ts'
import type { Written } from './parquet-cases.ts'
import { duckRows, sameRows } from './parquet-duckdb.ts'

let folder: string
let instance: DuckDBInstance
let connection: DuckDBConnection
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'frazil-parquet-'))
  instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  connection = await instance.connect()
})
after(() => {
  connection.closeSync()
  instance.closeSync()
  rmSync(folder, { recursive: true, force: true })
})

let files = 0
function saved({ bytes }: Written): string {
  const path = join(folder, `${files++}.parquet`)
  writeFileSync(path, bytes)
  return path
}

/** The file read back by DuckDB and by our reader is `rows`. */
async function readsBack(written: Written, fields: readonly Field[], rows: readonly Value[][]): Promise<void> {
  assert.equal(written.summary.recordCount, rows.length)
  assert.equal(written.summary.fileSize, written.bytes.length)
  sameRows(await duckRows(connection, `SELECT * FROM read_parquet('${saved(written)}')`), rows)
  sameRows(await rowsOf(await ParquetReader.open(inMemory(written.bytes)), fields), rows)
}

function metadataOf({ bytes }: Written): ReturnType<typeof parquetMetadata> {
  return parquetMetadata(bytes.buffer)
}

const idAndText = assignFieldIds([
  { id: 0, name: 'id', type: { kind: 'long' }, required: true },
  { id: 0, name: 'text', type: { kind: 'string' }, required: false },
] satisfies Field[]).fields

describe('every type is read back value by value by DuckDB', () => {
  for (const required of [false, true]) {
    const fields = everyType(required)
    const name = required ? 'required' : 'optional'
    test(`${name}: an empty file`, () => readsBack(writeRows(fields, []), fields, []))
    test(`${name}: one row`, () => {
      const rows = anyRows(fields, 1, 7)
      return readsBack(writeRows(fields, rows), fields, rows)
    })
    test(`${name}: many pages in many row groups`, () => {
      const rows = anyRows(fields, 700, 11)
      return readsBack(writeRows(fields, rows, { pageRows: 64, rowGroupRows: 150 }), fields, rows)
    })
    for (const codec of ['none', 'gzip', 'brotli'] as const)
      test(`${name}: codec ${codec}`, () => {
        const rows = anyRows(fields, 50, 13)
        return readsBack(writeRows(fields, rows, { codec }), fields, rows)
      })
    test(`${name}: without dictionaries`, () => {
      const rows = anyRows(fields, 300, 17)
      return readsBack(writeRows(fields, rows, { dictionaryBytes: 0 }), fields, rows)
    })
    test(`${name}: every dictionary overflows`, () => {
      const rows = Array.from({ length: 600 }, (_, i) => anyRows(fields, 1, i < 400 ? i % 5 : i)[0])
      const written = writeRows(fields, rows, { dictionaryBytes: 200, pageRows: 100 })
      return readsBack(written, fields, rows)
    })
    test(`${name}: dead rows are left out, and an order is kept`, async () => {
      const rows = anyRows(fields, 500, 19)
      const segments = segmentsOf(fields, rows, 255)
      const chosen = (capacity: number): Int32Array =>
        Int32Array.from({ length: capacity }, (_, i) => i).filter((i) => i % 7 !== 3 && i % 11 !== 0)
      const expected: Value[][] = []
      let first = 0
      for (const { capacity } of segments) {
        for (const row of chosen(capacity)) expected.push(rows[first + row])
        first += capacity
      }
      await readsBack(
        write(fields, segments, { pageRows: 50 }, (segment) => chosen(segment.capacity)),
        fields,
        expected,
      )
      const backwards = segments.map(({ capacity }) => Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i))
      const [segment] = segments
      await readsBack(
        write(fields, [segment], {}, () => backwards[0]),
        fields,
        rows.slice(0, segment.capacity).toReversed(),
      )
    })
  }
  test('all null', () => {
    const fields = everyType(false)
    const rows = Array.from({ length: 100 }, () => fields.map(() => null))
    return readsBack(writeRows(fields, rows, { pageRows: 32 }), fields, rows)
  })
})

test('every type is read back by hyparquet', async () => {
  const fields = everyType(false).filter(
    (field) => !/decimal|float|uuid|struct|deep|map/.test(JSON.stringify(field.type) + field.name),
  )
  const rows = anyRows(fields, 300, 23)
  const { bytes } = writeRows(fields, rows, { pageRows: 100, rowGroupRows: 120 })
  const same = <T>(value: T): T => value
  const objects = await parquetReadObjects({
    file: bytes.buffer,
    utf8: false,
    compressors: { ZSTD: (input) => new Uint8Array(zstdDecompressSync(input)) },
    parsers: {
      timestampFromMicroseconds: same,
      dateFromDays: same,
      timestampFromMilliseconds: same,
      timestampFromNanoseconds: same,
      stringFromBytes: (text: Uint8Array) => new TextDecoder().decode(text),
      geometryFromBytes: same,
      geographyFromBytes: same,
      uuidFromBytes: same,
      jsonFromBytes: same,
    },
  })
  const plain = (value: unknown): unknown =>
    value instanceof Uint8Array ? new Uint8Array(value) : Array.isArray(value) ? value.map(plain) : (value ?? null)
  sameRows(
    objects.map((object) => fields.map((field) => plain(object[field.name]) as Value)),
    rows,
  )
})

test('sums of many rows in large segments agree with DuckDB', async () => {
  const rows = Array.from({ length: 70_000 }, (_, i): Value[] => [
    BigInt(i),
    i % 10 === 0 ? null : `${i % 3 === 0 ? 'often' : i}`,
  ])
  const written = write(idAndText, segmentsOf(idAndText, rows, 65535))
  const [sums] = await duckRows(
    connection,
    `SELECT count(*), sum(id)::BIGINT, count(text), count(DISTINCT text), min(text), max(text), sum(length(text))::BIGINT FROM read_parquet('${saved(written)}')`,
  )
  const texts = rows.flatMap(([, text]) => (text === null ? [] : [String(text)])).toSorted()
  const expected = [
    70_000n,
    (70_000n * 69_999n) / 2n,
    BigInt(texts.length),
    BigInt(new Set(texts).size),
    texts[0],
    texts.at(-1),
    BigInt(texts.join('').length),
  ]
  assert.deepEqual(sums, expected)
})

test('a column with few values is written by codes, one with many is not, one that becomes many changes', async () => {
  const rows = Array.from({ length: 30_000 }, (_, i): Value[] => [BigInt(i % 3), i < 10_000 ? 'same' : `different ${i}`])
  const written = writeRows(idAndText, rows, { pageRows: 5000, dictionaryBytes: 50_000 })
  const [id, text] = metadataOf(written).row_groups[0].columns
  assert.ok(id.meta_data?.dictionary_page_offset)
  assert.ok(Number(id.meta_data.total_compressed_size) < 5000)
  assert.deepEqual(text.meta_data?.encodings, ['PLAIN', 'RLE', 'RLE_DICTIONARY'])
  await readsBack(written, idAndText, rows)
  const distinct = metadataOf(
    writeRows(
      idAndText,
      Array.from({ length: 9000 }, (_, i) => [BigInt(i), `text ${i}`]),
    ),
  )
  assert.deepEqual(
    distinct.row_groups[0].columns.map((column) => column.meta_data?.encodings),
    [
      ['PLAIN', 'RLE'],
      ['PLAIN', 'RLE'],
    ],
  )
})

test('values made to collide in the dictionary are written without it, in linear time', async () => {
  // The product of each half with its factor is the same, so that all have one hash: 0x85ebca6b⁻¹ · 0x9e3779b1 is the ratio.
  let inverse = 1
  for (let i = 0; i < 5; i++) inverse = Math.imul(inverse, 2 - Math.imul(0x85ebca6b, inverse))
  const ratio = Math.imul(0x9e3779b1, inverse)
  const collide = (i: number): bigint => BigInt.asIntN(64, (BigInt(Math.imul(i, ratio) >>> 0) << 32n) | BigInt(i))
  const rows = Array.from({ length: 20_000 }, (_, i): Value[] => [collide(i % 1300), null])
  const written = writeRows(idAndText, rows)
  assert.deepEqual(metadataOf(written).row_groups[0].columns[0].meta_data?.encodings, ['PLAIN', 'RLE'])
  await readsBack(written, idAndText, rows)
})

test('values larger than a page have a page each', async () => {
  const rows = Array.from({ length: 5 }, (_, i): Value[] => [BigInt(i), `${i}`.repeat(100_000)])
  await readsBack(write(idAndText, segmentsOf(idAndText, rows, 1023), { pageBytes: 4096, dictionaryBytes: 0 }), idAndText, rows)
})

test('checks 61 and 62: field ids everywhere but on repeated groups; physical and logical types', () => {
  const decimals = [9, 10, 18, 19, 38].map((precision): Field => ({
    id: 0,
    name: `d${precision}`,
    type: { kind: 'decimal', precision, scale: 1 },
    required: true,
  }))
  const nested: Type = {
    kind: 'map',
    keyId: 0,
    key: { kind: 'string' },
    valueId: 0,
    value: { kind: 'list', elementId: 0, element: { kind: 'int' }, elementRequired: true },
    valueRequired: false,
  }
  const { fields } = assignFieldIds([
    ...decimals,
    { id: 0, name: 'u', type: { kind: 'uuid' }, required: true },
    { id: 0, name: 'ts', type: { kind: 'timestamp' }, required: false },
    { id: 0, name: 'tz', type: { kind: 'timestamptz' }, required: false },
    { id: 0, name: 't', type: { kind: 'time' }, required: false },
    { id: 0, name: 'm', type: nested, required: false },
  ] satisfies Field[])
  const { schema } = metadataOf(writeRows(fields, []))
  const text = schema
    .slice(1)
    .map((e) =>
      [
        e.name,
        e.field_id ?? '-',
        e.repetition_type,
        e.type ?? 'group',
        e.type_length ?? '',
        e.converted_type ?? '',
        JSON.stringify(e.logical_type) ?? '',
      ].join(' '),
    )
  const micros = (type: string, utc: boolean): string => `{"type":"${type}","isAdjustedToUTC":${utc},"unit":"MICROS"}`
  const decimal = (precision: number): string => `DECIMAL {"type":"DECIMAL","scale":1,"precision":${precision}}`
  assert.deepEqual(text, [
    `d9 1 REQUIRED INT32  ${decimal(9)}`,
    `d10 2 REQUIRED INT64  ${decimal(10)}`,
    `d18 3 REQUIRED INT64  ${decimal(18)}`,
    `d19 4 REQUIRED FIXED_LEN_BYTE_ARRAY 9 ${decimal(19)}`,
    `d38 5 REQUIRED FIXED_LEN_BYTE_ARRAY 16 ${decimal(38)}`,
    'u 6 REQUIRED FIXED_LEN_BYTE_ARRAY 16  {"type":"UUID"}',
    `ts 7 OPTIONAL INT64  TIMESTAMP_MICROS ${micros('TIMESTAMP', false)}`,
    `tz 8 OPTIONAL INT64  TIMESTAMP_MICROS ${micros('TIMESTAMP', true)}`,
    `t 9 OPTIONAL INT64  TIME_MICROS ${micros('TIME', false)}`,
    'm 10 OPTIONAL group  MAP {"type":"MAP"}',
    'key_value - REPEATED group   ',
    'key 11 REQUIRED BYTE_ARRAY  UTF8 {"type":"STRING"}',
    'value 12 OPTIONAL group  LIST {"type":"LIST"}',
    'list - REPEATED group   ',
    'element 13 REQUIRED INT32   ',
  ])
})

test('check 64: split offsets are where row groups begin, ascending', () => {
  const rows = anyRows(idAndText, 1000, 3)
  const written = writeRows(idAndText, rows, { rowGroupRows: 128 })
  const { splitOffsets } = written.summary
  assert.equal(splitOffsets.length, 8)
  assert.deepEqual(
    splitOffsets,
    metadataOf(written).row_groups.map(({ columns }) =>
      Number(columns[0].meta_data?.dictionary_page_offset ?? columns[0].meta_data?.data_page_offset),
    ),
  )
  assert.ok(splitOffsets.every((offset, i) => i === 0 || offset > splitOffsets[i - 1]))
  assert.deepEqual(writeRows(idAndText, []).summary.splitOffsets, [])
})

test('row groups end by bytes too', () => {
  const rows = Array.from({ length: 5000 }, (_, i): Value[] => [BigInt(i) * 2654435761n, String(i).padStart(8)])
  const { summary } = writeRows(idAndText, rows, { rowGroupBytes: 10_000, pageRows: 500, codec: 'none' })
  assert.equal(summary.splitOffsets.length, 10)
})

test('check 65: odd names become names that every reader takes, and stay apart', async () => {
  const names = ['a.b', 'with space', '1digit', 'größe', 'Case', 'case', '', '日本', 'quote"', '\u{1F980}', 'a_x2Eb']
  const { fields } = assignFieldIds(names.map((name): Field => ({ id: 0, name, type: { kind: 'int' }, required: true })))
  const rows = [names.map((_, i) => i)]
  const written = writeRows(fields, rows)
  assert.deepEqual(
    metadataOf(written)
      .schema.slice(1)
      .map((element) => element.name),
    ['a_x2Eb', 'with_x20space', '_1digit', 'größe', 'Case', 'case', '_', '日本', 'quote_x22', '_xD83E_xDD80', 'a_x2Eb_r11'],
  )
  await readsBack(written, fields, rows)
})

test('key-values and the writer are in the footer', async () => {
  const { bytes } = writeRows(idAndText, [], {
    keyValues: { 'iceberg.schema': '{"type":"struct"}', other: 'ünï' },
    createdBy: 'frazil version 1',
  })
  const reader = await ParquetReader.open(inMemory(bytes))
  assert.deepEqual(
    [...reader.keyValues],
    [
      ['iceberg.schema', '{"type":"struct"}'],
      ['other', 'ünï'],
    ],
  )
  assert.equal(reader.createdBy, 'frazil version 1')
})

test('DuckDB skips by statistics and still finds every row', async () => {
  const rows = Array.from({ length: 4000 }, (_, i): Value[] => [BigInt(i - 2000), `${String.fromCodePoint(97 + (i % 26))}${i}`])
  const path = saved(writeRows(idAndText, rows, { rowGroupRows: 500, pageRows: 100 }))
  for (const id of [-2000, -1, 0, 1999]) {
    const found = await duckRows(connection, `SELECT text FROM read_parquet('${path}') WHERE id = ${id}`)
    assert.deepEqual(found, [[rows[id + 2000][1]]])
  }
  assert.deepEqual(await duckRows(connection, `SELECT id FROM read_parquet('${path}') WHERE text = 'b1'`), [[-1999n]])
})

test('what Parquet cannot hold is refused with a reason', () => {
  const { fields } = assignFieldIds([
    { id: 0, name: 's', type: { kind: 'struct', fields: [] }, required: false },
  ] satisfies Field[])
  assert.throws(
    () => writeRows(fields, []),
    (error) => error instanceof FrazilError && error.kind === 'unsupported' && error.code === 'empty-struct',
  )
})

test('a null in a required column is refused', () => {
  const optionalText: Field[] = idAndText.map((field) => ({ ...field, required: false }))
  const segments = segmentsOf(optionalText, [[1n, null]])
  const required: Field[] = idAndText.map((field) => ({ ...field, required: true }))
  assert.throws(
    () => write(required, segments),
    (error) => error instanceof FrazilError && error.code === 'missing-value',
  )
})

test('emitted pieces are never touched again', () => {
  const rows = anyRows(idAndText, 3000, 5)
  const pieces: { piece: Uint8Array; copy: Uint8Array }[] = []
  const options: ParquetEncoderOptions = {
    fields: idAndText,
    createdBy: 'frazil test',
    pageRows: 100,
    rowGroupRows: 500,
    codec: 'none',
    emit: (piece) => pieces.push({ piece, copy: piece.slice() }),
  }
  const encoder = new ParquetEncoder(options)
  for (const segment of segmentsOf(idAndText, rows, 255)) encoder.append(segment, 0, segment.capacity, null)
  encoder.finish()
  for (const { piece, copy } of pieces) assert.deepEqual(piece, copy)
})

test('columns whose rows come again and again are the same bytes as if each row had its own (property)', () => {
  const fields = assignFieldIds([
    { id: 0, name: 'text', type: { kind: 'string' }, required: false },
    { id: 0, name: 'needed', type: { kind: 'string' }, required: true },
    { id: 0, name: 'number', type: { kind: 'long' }, required: false },
    { id: 0, name: 'uuid', type: { kind: 'uuid' }, required: false },
    {
      id: 0,
      name: 'list',
      type: { kind: 'list', elementId: 0, element: { kind: 'string' }, elementRequired: false },
      required: false,
    },
  ]).fields
  fc.assert(
    fc.property(
      fc.record({
        seed: fc.integer(),
        different: fc.integer({ min: 1, max: 30 }),
        // By append: the rows of each, and whether they are given as rows that come again and again.
        appends: fc.array(fc.record({ count: fc.integer({ min: 1, max: 200 }), repeats: fc.boolean() }), { maxLength: 6 }),
        pageRows: fc.integer({ min: 1, max: 60 }),
        pageBytes: fc.constantFrom(64, 1 << 20),
        dictionaryBytes: fc.constantFrom(0, 60, 1 << 20),
        rowGroupRows: fc.integer({ min: 1, max: 150 }),
      }),
      ({ seed, different, appends, ...limits }) => {
        const random = seededRandom(seed)
        const values = anyRows(fields, different, seed)
        const files = [false, true].map(() => {
          const chunks: Uint8Array[] = []
          const emit = (bytes: Uint8Array): void => void chunks.push(bytes)
          const encoder = new ParquetEncoder({ fields, createdBy: 'frazil test', emit, codec: 'none', ...limits })
          return { chunks, encoder }
        })
        const columns = fields.map((field, i) =>
          columnOf(
            field,
            values.map((row) => row[i]),
          ),
        )
        for (const { count, repeats } of appends) {
          const rows = fields.map(() => Int32Array.from({ length: count }, () => random.below(different)))
          const single = fields.map((field, i) => ({
            column: columnOf(
              field,
              Array.from(rows[i], (row) => values[row][i]),
            ),
            rows: null,
          }))
          files[0].encoder.appendColumns(single, count)
          files[1].encoder.appendColumns(repeats ? columns.map((column, i) => ({ column, rows: rows[i] })) : single, count)
        }
        for (const { encoder } of files) encoder.finish()
        const [expected, found] = files.map(({ chunks }) => Buffer.concat(chunks))
        assert.ok(expected.equals(found))
      },
    ),
    { numRuns: 60 },
  )
})

test('any rows in any pages and row groups come back (property)', async () => {
  const fields = everyType(false).slice(-5)
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.integer(),
        count: fc.integer({ min: 0, max: 120 }),
        pageRows: fc.integer({ min: 1, max: 40 }),
        rowGroupRows: fc.integer({ min: 1, max: 60 }),
      }),
      async ({ seed, count, pageRows, rowGroupRows }) => {
        const rows = anyRows(fields, count, seed)
        const written = writeRows(fields, rows, { pageRows, rowGroupRows, codec: 'none' })
        sameRows(await rowsOf(await ParquetReader.open(inMemory(written.bytes)), fields), rows)
      },
    ),
    { numRuns: 40 },
  )
})

test('nested texts that are the same again come back, whatever becomes of their dictionaries (property)', async () => {
  const text: Type = { kind: 'string' }
  const types: Type[] = [
    { kind: 'map', keyId: 0, key: text, valueId: 0, value: text, valueRequired: false },
    { kind: 'list', elementId: 0, element: text, elementRequired: false },
    {
      kind: 'struct',
      fields: [
        { id: 0, name: 'a', type: text, required: false },
        { id: 0, name: 'b', type: { kind: 'int' }, required: false },
      ],
    },
  ]
  const { fields } = assignFieldIds(types.map((type, i): Field => ({ id: 0, name: `f${i}`, type, required: false })))
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.integer(),
        /** How often each of some rows comes, one behind the other; and all of it once more. */
        times: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 30 }),
        again: fc.integer({ min: 1, max: 3 }),
        pageRows: fc.integer({ min: 1, max: 60 }),
        rowGroupRows: fc.integer({ min: 1, max: 200 }),
        dictionaryBytes: fc.constantFrom(0, 20, 60, 200, 1 << 20),
      }),
      async ({ seed, times, again, pageRows, rowGroupRows, dictionaryBytes }) => {
        const some = anyRows(fields, times.length, seed)
        const once = some.flatMap((row, i) => Array.from({ length: times[i] }, () => row))
        const rows = Array.from({ length: again }, () => once).flat()
        // Segments end elsewhere than pages do.
        const segments = segmentsOf(fields, rows, 31)
        const written = write(fields, segments, { pageRows, rowGroupRows, dictionaryBytes, codec: 'none' })
        sameRows(await rowsOf(await ParquetReader.open(inMemory(written.bytes)), fields), rows)
      },
    ),
    { numRuns: 60 },
  )
  // So many that most are different among the first, and few after that.
  const pairs = (i: number): Value => [[`key ${i % 3}`, `value ${i}`]]
  for (const [distinct, copies] of [
    [9000, 1],
    [3000, 4],
    [5000, 8],
  ]) {
    const rows = Array.from({ length: distinct * copies }, (_, i): Value[] => [pairs(Math.floor(i / copies)), null, null])
    await readsBack(writeRows(fields, rows), fields, rows)
  }
})
