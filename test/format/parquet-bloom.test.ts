import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import type { DuckDBConnection } from '@duckdb/node-api'
import * as fc from 'fast-check'
import { SlabPool } from '../../src/base/index.ts'
import { assignFieldIds } from '../../src/data/index.ts'
import type { Field, Type, Value } from '../../src/data/index.ts'
import { ParquetEncoder } from '../../src/format/parquet/index.ts'
import type { ParquetEncoderOptions } from '../../src/format/parquet/index.ts'
import { hashHigh, hashLow, xxHash64 } from '../../src/format/parquet/xxhash64.ts'
import { segmentWith } from '../table/rows.ts'

/** The hash as its authors wrote it down, with numbers without bounds. */
function reference(bytes: Uint8Array): bigint {
  const mask = (1n << 64n) - 1n
  const [p1, p2, p3, p4, p5] = [
    0x9e3779b185ebca87n,
    0xc2b2ae3d27d4eb4fn,
    0x165667b19e3779f9n,
    0x85ebca77c2b2ae63n,
    0x27d4eb2f165667c5n,
  ]
  const rotate = (x: bigint, r: bigint): bigint => ((x << r) | (x >> (64n - r))) & mask
  const round = (sum: bigint, lane: bigint): bigint => (rotate((sum + lane * p2) & mask, 31n) * p1) & mask
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let at = 0
  let hash: bigint
  if (bytes.length >= 32) {
    const lanes = [(p1 + p2) & mask, p2, 0n, -p1 & mask]
    for (; at + 32 <= bytes.length; at += 32)
      for (let i = 0; i < 4; i++) lanes[i] = round(lanes[i], view.getBigUint64(at + i * 8, true))
    hash = (rotate(lanes[0], 1n) + rotate(lanes[1], 7n) + rotate(lanes[2], 12n) + rotate(lanes[3], 18n)) & mask
    for (const lane of lanes) hash = ((hash ^ round(0n, lane)) * p1 + p4) & mask
  } else hash = p5
  hash = (hash + BigInt(bytes.length)) & mask
  for (; at + 8 <= bytes.length; at += 8) hash = (rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * p1 + p4) & mask
  if (at + 4 <= bytes.length) {
    hash = (rotate(hash ^ ((BigInt(view.getUint32(at, true)) * p1) & mask), 23n) * p2 + p3) & mask
    at += 4
  }
  for (; at < bytes.length; at++) hash = (rotate(hash ^ ((BigInt(bytes[at]) * p5) & mask), 11n) * p1) & mask
  hash = ((hash ^ (hash >> 33n)) * p2) & mask
  hash = ((hash ^ (hash >> 29n)) * p3) & mask
  return hash ^ (hash >> 32n)
}

function hashOf(bytes: Uint8Array): bigint {
  xxHash64(bytes, 0, bytes.length)
  return (BigInt(hashHigh >>> 0) << 32n) | BigInt(hashLow >>> 0)
}

describe('bloom filters of Parquet files', () => {
  let folder = ''
  let duckdb: DuckDBConnection

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'frazil-bloom-'))
    duckdb = await (await DuckDBInstance.create(':memory:')).connect()
  })

  after(() => {
    duckdb.closeSync()
    rmSync(folder, { recursive: true })
  })

  test('hashes are those of xxHash64', () => {
    const of = (text: string): string => hashOf(new TextEncoder().encode(text)).toString(16)
    assert.equal(of(''), 'ef46db3751d8e999')
    assert.equal(of('a'), 'd24ec4f1a98c6e5b')
    assert.equal(of('abc'), '44bc2cf5ad770999')
    assert.equal(of('Nobody inspects the spammish repetition'), 'fbcea83c8a378bf1')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        assert.equal(hashOf(bytes), reference(bytes))
      }),
      { numRuns: 500 },
    )
  })

  let count = 0
  function write(types: readonly Type[], rows: readonly (readonly Value[])[], options: Partial<ParquetEncoderOptions>): string {
    const { fields } = assignFieldIds(types.map((type, i): Field => ({ id: 0, name: `c${i}`, type, required: false })))
    const path = join(folder, `${count++}.parquet`)
    const chunks: Uint8Array[] = []
    const encoder = new ParquetEncoder({ fields, createdBy: 'test', emit: (bytes) => chunks.push(bytes), ...options })
    const pool = new SlabPool({ budget: 64 << 20 })
    for (let from = 0; from < rows.length; from += 16_383) {
      const part = rows.slice(from, from + 16_383)
      const segment = segmentWith(pool, fields, part, { capacity: 16_383, heapBytes: 4 << 20 })
      encoder.append(segment.share(), 0, part.length, null)
    }
    encoder.finish()
    writeFileSync(path, Buffer.concat(chunks))
    return path
  }

  const ask = async (sql: string): Promise<unknown[][]> => (await duckdb.runAndReadAll(sql)).getRows()

  /** Row groups that DuckDB cannot exclude by the filter. */
  async function kept(path: string, column: string, literal: string): Promise<number> {
    const rows = await ask(`SELECT * FROM parquet_bloom_probe('${path}', '${column}', ${literal})`)
    return rows.filter((row) => row.at(-1) === false).length
  }

  test('a rate that no filter can have takes the largest one', async () => {
    const bloomFilter = (): { falsePositives: number; maxBytes: number } => ({ falsePositives: 1e-300, maxBytes: 1 << 10 })
    const path = write([{ kind: 'int' }], [[1], [2], [3]], { bloomFilter })
    assert.equal(await kept(path, 'c0', '2::INT'), 1)
  })

  test('DuckDB finds every value by them, with and without a dictionary, and few others', async () => {
    const total = 20_000
    const rows = Array.from({ length: total }, (_, i): Value[] => [
      i * 7,
      BigInt(i) * 1_000_003n,
      `name ${i}`,
      `word ${i % 50}`,
      i % 3 === 0 ? null : i / 8,
    ])
    const types: Type[] = [{ kind: 'int' }, { kind: 'long' }, { kind: 'string' }, { kind: 'string' }, { kind: 'double' }]
    const path = write(types, rows, { rowGroupRows: 5000, bloomFilter: () => ({ falsePositives: 0.01, maxBytes: 1 << 20 }) })
    assert.deepEqual(
      await ask(
        `SELECT count(*), count(bloom_filter_offset), count(DISTINCT bloom_filter_offset) FROM parquet_metadata('${path}')`,
      ),
      [[20n, 20n, 20n]],
    )
    assert.deepEqual(await ask(`SELECT count(*), sum(c0) FROM read_parquet('${path}')`), [[20_000n, 1_399_930_000n]])
    const literals = (i: number): string[] => [
      `${i * 7}::INT`,
      `${i * 1_000_003}::BIGINT`,
      `'name ${i}'`,
      `'word ${i % 50}'`,
      `${i / 8}::DOUBLE`,
    ]
    for (const i of [1, 4999, 5000, 12_346, 19_999]) {
      for (const [column, literal] of literals(i).entries()) {
        if (column === 4 && i % 3 === 0) continue
        assert.ok((await kept(path, `c${column}`, literal)) >= 1, `${literal} is there`)
      }
    }
    let wrong = 0
    for (let i = 0; i < 200; i++) wrong += await kept(path, 'c2', `'nobody ${i}'`)
    assert.ok(wrong < 800 * 0.03, `${wrong} of 800 are not excluded`)
  })

  test('columns without one, and bounds of their size', async () => {
    const rows = Array.from({ length: 4000 }, (_, i): Value[] => [i, `v${i}`, i % 2 === 0])
    const types: Type[] = [{ kind: 'int' }, { kind: 'string' }, { kind: 'boolean' }]
    const path = write(types, rows, { bloomFilter: (id) => (id === 1 ? null : { falsePositives: 0.01, maxBytes: 1000 }) })
    const sizes = await ask(`SELECT bloom_filter_length FROM parquet_metadata('${path}') ORDER BY column_id`)
    assert.deepEqual(
      sizes.map(([size]) => size !== null),
      [false, true, false],
    )
    assert.ok(Number(sizes[1][0]) > 512 && Number(sizes[1][0]) < 600)
    for (const i of [0, 1999, 3999]) assert.equal(await kept(path, 'c1', `'v${i}'`), 1)
  })

  test('zeros of either sign find each other, and NaN is one value, for SQL has them equal', async () => {
    const types: Type[] = [{ kind: 'double' }, { kind: 'float' }]
    // A NaN of other bits.
    const odd = new Float64Array(new BigUint64Array([0xfff8_0000_0000_0001n]).buffer)[0]
    const oddFloat = new Float32Array(new Uint32Array([0xffc0_0001]).buffer)[0]
    const bloomFilter = (): { falsePositives: number; maxBytes: number } => ({ falsePositives: 0.01, maxBytes: 1 << 20 })
    for (const useDictionary of [true, false]) {
      for (const [value, other, literal] of [
        [-0, -0, '0.0'],
        [0, 0, '-0.0'],
        [odd, oddFloat, "'NaN'"],
      ] as const) {
        // Others on both sides, so that no bounds decide; without a dictionary where there are too many of them.
        const rows = Array.from({ length: useDictionary ? 3 : 40_000 }, (_, i): Value[] => [1e6 - i, -1e6 + i])
        rows.push([-5, 5], [value, other])
        const path = write(types, rows, { bloomFilter })
        for (const [column, type] of ['DOUBLE', 'FLOAT'].entries()) {
          const answer = await ask(`SELECT count(*) FROM read_parquet('${path}') WHERE c${column} = ${literal}::${type}`)
          assert.deepEqual(answer, [[1n]], `${literal}::${type} is there`)
        }
      }
    }
  })

  test('a column of nulls has none', async () => {
    const path = write([{ kind: 'int' }], [[null], [null]], { bloomFilter: () => ({ falsePositives: 0.01, maxBytes: 1000 }) })
    assert.deepEqual(await ask(`SELECT bloom_filter_offset FROM parquet_metadata('${path}')`), [[null]])
  })
})
