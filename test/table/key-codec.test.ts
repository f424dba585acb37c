import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { SlabPool } from '../../src/base/index.ts'
import { assignFieldIds, columnOf, encodeValue } from '../../src/data/index.ts'
import type { Column, Field, Value } from '../../src/data/index.ts'
import { ParquetEncoder, ParquetReader } from '../../src/format/parquet/index.ts'
import { keyReader, keySpecOf, keyWords, keysEqual, mixWords } from '../../src/table/key-codec.ts'
import type { KeySpec } from '../../src/table/key-codec.ts'
import { anyPrimitive, cellOf } from '../data/any-field.ts'
import { field, segmentWith } from './rows.ts'

const runs = Number(process.env['FRAZIL_SEEDS'] ?? 1)

function wordsOf(spec: KeySpec, columns: readonly Column[], rows: number): string[] {
  const read = keyReader(spec, columns)
  const width = keyWords(spec)
  const out = new Int32Array(rows * width)
  for (let row = 0; row < rows; row++) read(row, out, row * width)
  return Array.from({ length: rows }, (_, row) => out.subarray(row * width, (row + 1) * width).join())
}

/** The stored bytes of a key, each part with its presence: what equality means. */
function identity(fields: readonly Field[], row: readonly Value[]): string {
  return fields
    .map(({ type }, i) => (row[i] === null ? 'null' : Buffer.from(encodeValue(type, row[i])).toString('hex')))
    .join('/')
}

function specFor(fields: readonly Field[]): KeySpec {
  return keySpecOf(fields, { kind: 'columns', columns: fields.map((_, i) => i) }) ?? assert.fail('has a key')
}

/** Few different values, so that equal keys come up. */
const keyTable = fc
  .array(fc.tuple(anyPrimitive, fc.boolean()), { minLength: 1, maxLength: 3 })
  .map((columns) => assignFieldIds(columns.map(([type, required], i) => field(`k${i}`, type, required))).fields)
  .chain((fields) =>
    fc.tuple(
      fc.constant(fields),
      fc
        .tuple(...fields.map((one) => fc.array(cellOf(one), { minLength: 2, maxLength: 3 })))
        .chain((choices) =>
          fc.array(fc.tuple(...choices.map((values) => fc.constantFrom(...values))), { minLength: 2, maxLength: 24 }),
        ),
    ),
  )

describe('keys', () => {
  it('have equal words exactly when their stored values are equal, wherever they are read from', async () => {
    const property = fc.asyncProperty(keyTable, fc.integer({ min: 0, max: 2 }), async ([fields, rows], before) => {
      const spec = specFor(fields)
      const pool = new SlabPool({ budget: 8 << 20 })
      // A table's segment has other columns around the key and its rows may begin anywhere.
      const wide = [field('x', { kind: 'string' }), ...fields, field('y', { kind: 'int' })]
      const shifted = [...Array.from({ length: before }, () => rows[0]), ...rows]
      const table = segmentWith(
        pool,
        wide,
        shifted.map((row) => ['x', ...row, 1]),
      )
      const inTable = table.columns.slice(1, -1)
      const keys = segmentWith(pool, fields, rows)
      const single = fields.map((one, i) =>
        columnOf(
          one,
          rows.map((row) => row[i]),
        ),
      )
      const words = wordsOf(spec, keys.columns, rows.length)
      assert.deepEqual(wordsOf(spec, inTable, shifted.length).slice(before), words, 'in the table')
      assert.deepEqual(wordsOf(spec, single, rows.length), words, 'single columns')
      assert.deepEqual(wordsOf(spec, await throughParquet(fields, rows), rows.length), words, 'in a data file')
      // The words do not depend on whether the column could be null.
      if (spec.kind === 'hash') {
        const nullable = fields.map((one, i) =>
          columnOf(
            { ...one, required: false },
            rows.map((row) => row[i]),
          ),
        )
        assert.deepEqual(wordsOf(spec, nullable, rows.length), words, 'nullable columns')
      }
      const texts = rows.map((row) => identity(fields, row))
      for (let a = 0; a < rows.length; a++) {
        for (let b = 0; b < rows.length; b++) {
          const equal = texts[a] === texts[b]
          assert.equal(words[a] === words[b], equal, 'words')
          assert.equal(keysEqual(inTable, a + before, keys.columns, b), equal, 'compared')
        }
      }
    })
    await fc.assert(property, { numRuns: 150 * runs })
  })

  it('of several columns are not run together', () => {
    const text = (name: string): Field => field(name, { kind: 'string' })
    const fields = [text('a'), text('b'), text('c')]
    const rows: Value[][] = [
      ['ab', 'c', ''],
      ['a', 'bc', ''],
      ['abc', '', ''],
      ['', 'abc', ''],
      ['', '', 'abc'],
      ['abc', null, ''],
      [null, 'abc', ''],
      ['abc', '', null],
      [null, null, null],
      ['', '', ''],
      ['', null, null],
      [null, '', null],
      ['\0', '', ''],
      ['', '\0', ''],
      ['\0\0', '', ''],
      ['\u0001\0\0\0', '', ''],
    ]
    const columns = fields.map((one, i) =>
      columnOf(
        one,
        rows.map((row) => row[i]),
      ),
    )
    assert.equal(new Set(wordsOf(specFor(fields), columns, rows.length)).size, rows.length)
  })

  it('tell −0 from 0 and NaN from nothing else, as their bytes do', () => {
    for (const kind of ['float', 'double'] as const) {
      const fields = [field('f', { kind })]
      const values = [0, -0, Number.NaN, Number.NaN, null, 1, Infinity]
      const columns = [columnOf(fields[0], values)]
      const words = wordsOf(specFor(fields), columns, values.length)
      assert.equal(new Set(words).size, values.length - 1)
      assert.equal(words[2], words[3])
      assert.ok(keysEqual(columns, 2, columns, 3))
      assert.ok(!keysEqual(columns, 0, columns, 1))
    }
  })

  it('differ where only the end of a long value differs', () => {
    const fields = [field('t', { kind: 'binary' })]
    const values = Array.from({ length: 70 }, (_, length) => new Uint8Array(length))
    for (let length = 1; length < 70; length++) values.push(new Uint8Array(length).fill(1, length - 1))
    const columns = [columnOf(fields[0], values)]
    assert.equal(new Set(wordsOf(specFor(fields), columns, values.length)).size, values.length)
  })

  it('are exact for one required number of at most 8 bytes, hashed otherwise', () => {
    const exact = (one: Field): boolean => specFor([one]).kind === 'exact'
    assert.ok(exact(field('a', { kind: 'int' }, true)))
    assert.ok(exact(field('a', { kind: 'timestamptz' }, true)))
    assert.ok(exact(field('a', { kind: 'decimal', precision: 18, scale: 2 }, true)))
    assert.ok(!exact(field('a', { kind: 'int' }, false)))
    assert.ok(!exact(field('a', { kind: 'decimal', precision: 19, scale: 2 }, true)))
    assert.ok(!exact(field('a', { kind: 'double' }, true)))
    const two = [field('a', { kind: 'int' }, true), field('b', { kind: 'int' }, true)]
    assert.equal(specFor(two).kind, 'hash')
    assert.deepEqual(keySpecOf(two, { kind: 'row' }), { kind: 'hash', columns: [0, 1], multiset: true })
    assert.equal(keySpecOf(two, { kind: 'none' }), null)
  })
})

async function throughParquet(fields: readonly Field[], rows: readonly (readonly Value[])[]): Promise<Column[]> {
  const pool = new SlabPool({ budget: 8 << 20 })
  const chunks: Uint8Array[] = []
  const encoder = new ParquetEncoder({ fields, createdBy: 'test', emit: (bytes) => chunks.push(bytes) })
  const segment = segmentWith(pool, fields, rows)
  encoder.append(segment.share(), 0, rows.length, null)
  encoder.finish()
  const file = Buffer.concat(chunks)
  const reader = await ParquetReader.open({
    size: file.length,
    read: async (offset, length) => new Uint8Array(file.subarray(offset, offset + length)),
  })
  for await (const batch of reader.read(fields, 0, rows.length)) return [...batch.columns]
  return assert.fail('has rows')
}

describe('hashes of numbers in memory', () => {
  const hashOf = (value: bigint): number =>
    mixWords(Int32Array.of(Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))), 0, 2)

  it('eight neighbours are within one line of the cache, each at its own place', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 60n), max: 2n ** 60n - 1n }), (block) => {
        const hashes = Array.from({ length: 8 }, (_, i) => hashOf(block * 8n + BigInt(i)))
        assert.equal(new Set(hashes.map((hash) => hash >>> 3)).size, 1)
        assert.equal(new Set(hashes).size, 8)
      }),
    )
  })

  for (const stride of [1n, 2n, 8n, 10n, 1000n, 4096n, 1n << 22n, 1n << 32n, (1n << 40n) + 1n]) {
    it(`numbers in steps of ${stride} are spread over shards and lines`, () => {
      const keys = 1 << 15
      const hashes = Array.from({ length: keys }, (_, i) => hashOf(BigInt(i) * stride))
      assert.ok(new Set(hashes).size > keys * 0.999, 'hardly two are the same')
      const shards = new Map<number, number>()
      const lines = new Map<number, number>()
      for (const hash of hashes) {
        shards.set(hash >>> 28, (shards.get(hash >>> 28) ?? 0) + 1)
        // A shard of 8192 slots has 1024 lines of eight.
        const line = ((hash >>> 28) << 10) | ((hash >>> 3) & 1023)
        lines.set(line, (lines.get(line) ?? 0) + 1)
      }
      for (const count of shards.values()) assert.ok(Math.abs(count / (keys / 16) - 1) < 0.25, `a shard has ${count}`)
      assert.ok(Math.max(...lines.values()) <= 7 * 8, 'no line is wanted by very many')
    })
  }
})
