import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError, SlabPool } from '../../src/base/index.ts'
import {
  Segment,
  appendRow,
  assignFieldIds,
  columnOf,
  decodeValue,
  encodeValue,
  isPresent,
  readBytes,
  readRow,
  readValue,
  sameType,
  typeText,
} from '../../src/data/index.ts'
import type { Field, Type, Value } from '../../src/data/index.ts'
import { anyFields, anyType, cellOf, valueOf } from './any-field.ts'

const runs = Number(process.env['FRAZIL_SEEDS'] ?? 1)

function segmentOf(pool: SlabPool, fields: readonly Field[], capacity: number, heapBytes: number): Segment {
  return Segment.create(pool, { id: 1, fields, capacity, heapBytes, deletable: true, baseCommit: 0 }) ?? assert.fail('fits')
}

function refused(type: Type, value: Exclude<Value, null>, code: string): void {
  assert.throws(
    () => encodeValue(type, value),
    (error) => error instanceof FrazilError && error.kind === 'request' && error.code === code,
    `${typeText(type)} refuses`,
  )
}

describe('values', () => {
  it('come back from their bytes as they were, for every type', () => {
    const typed = anyType.chain((type) => fc.tuple(fc.constant(type), valueOf(type), fc.nat(9)))
    const property = fc.property(typed, ([type, value, offset]) => {
      const bytes = encodeValue(type, value)
      const around = new Uint8Array(bytes.length + offset + 5).fill(0xa5)
      around.set(bytes, offset)
      assert.deepEqual(decodeValue(type, around, offset, offset + bytes.length), value)
    })
    fc.assert(property, { numRuns: 500 * runs })
  })

  it('come back from a row of a segment', () => {
    const table = anyFields.chain((fields) =>
      fc.tuple(fc.constant(fields), fc.array(fc.tuple(...fields.map(cellOf)), { minLength: 1, maxLength: 70 })),
    )
    const property = fc.property(table, ([fields, rows]) => {
      const pool = new SlabPool({ budget: 8 << 20 })
      const segment = segmentOf(pool, fields, 63, 1 << 16)
      const written = rows.filter((row) => appendRow(segment, row))
      assert.equal(written.length, Math.min(rows.length, 63))
      assert.equal(segment.rows, written.length)
      for (const [i, row] of written.entries()) {
        assert.deepEqual(readRow(segment, i), row)
        for (const [c, column] of segment.columns.entries()) {
          assert.equal(isPresent(column, i), row[c] !== null)
          const cell = row[c]
          assert.deepEqual(readBytes(column, i), cell === null ? null : new Uint8Array(encodeValue(fields[c].type, cell)))
        }
      }
      for (const [c, field] of fields.entries()) {
        const column = columnOf(
          field,
          written.map((row) => row[c]),
        )
        for (const [i, row] of written.entries()) assert.deepEqual(readValue(column, i), row[c])
      }
      segment.unpin()
      assert.equal(pool.used, 0)
    })
    fc.assert(property, { numRuns: 100 * runs })
  })

  it('leave a full segment as it was', () => {
    const pool = new SlabPool({ budget: 1 << 20 })
    const fields: Field[] = [
      { id: 0, name: 'a', type: { kind: 'int' }, required: true },
      { id: 0, name: 'b', type: { kind: 'string' }, required: false },
    ]
    const segment = segmentOf(pool, fields, 63, 256)
    assert.ok(appendRow(segment, [1, 'x'.repeat(200)]))
    assert.equal(appendRow(segment, [2, 'y'.repeat(60)]), false)
    assert.equal(segment.rows, 1)
    assert.ok(appendRow(segment, [3, 'z'.repeat(48)]), 'what fits exactly still goes in')
    assert.deepEqual(readRow(segment, 1), [3, 'z'.repeat(48)])
    assert.ok(appendRow(segment, [4, null]))
    assert.deepEqual(readRow(segment, 2), [4, null])
  })

  it('are refused where they do not fit, never changed', () => {
    refused({ kind: 'int' }, 2 ** 31, 'out-of-range')
    refused({ kind: 'int' }, -(2 ** 31) - 1, 'out-of-range')
    refused({ kind: 'int' }, 1.5, 'wrong-type')
    refused({ kind: 'long' }, 2n ** 63n, 'out-of-range')
    refused({ kind: 'boolean' }, 1, 'wrong-type')
    refused({ kind: 'string' }, 1, 'wrong-type')
    refused({ kind: 'binary' }, 'text', 'wrong-type')
    refused({ kind: 'uuid' }, new Uint8Array(15), 'wrong-type')
    refused({ kind: 'fixed', length: 3 }, new Uint8Array(4), 'wrong-type')
    refused({ kind: 'list', elementId: 0, element: { kind: 'int' }, elementRequired: false }, [1, 'x'], 'wrong-type')
    refused({ kind: 'list', elementId: 0, element: { kind: 'int' }, elementRequired: false }, 5, 'wrong-type')
  })

  it('refuses decimals with more digits than their type has', () => {
    for (const [precision, scale] of [
      [1, 0],
      [3, 2],
      [9, 0],
      [10, 4],
      [18, 18],
      [19, 0],
      [38, 10],
    ]) {
      const type: Type = { kind: 'decimal', precision, scale }
      const limit = 10n ** BigInt(precision)
      assert.equal(decodeValue(type, encodeValue(type, limit - 1n), 0, 16), limit - 1n)
      refused(type, limit, 'out-of-range')
      refused(type, -limit, 'out-of-range')
    }
  })

  it('refuses times of day outside the day', () => {
    refused({ kind: 'time' }, -1n, 'out-of-range')
    refused({ kind: 'time' }, 86_400_000_000n, 'out-of-range')
    assert.equal(decodeValue({ kind: 'time' }, encodeValue({ kind: 'time' }, 86_399_999_999n), 0, 8), 86_399_999_999n)
  })

  it('refuses text that UTF-8 cannot hold, and finite numbers that a float turns into infinity', () => {
    refused({ kind: 'string' }, 'a\uD800b', 'out-of-range')
    refused({ kind: 'float' }, 1e300, 'out-of-range')
    assert.equal(decodeValue({ kind: 'float' }, encodeValue({ kind: 'float' }, Infinity), 0, 4), Infinity)
  })

  it('refuses nothing for a required column and rows of another length', () => {
    const pool = new SlabPool({ budget: 1 << 20 })
    const fields: Field[] = [
      { id: 0, name: 'a', type: { kind: 'int' }, required: true },
      { id: 0, name: 'b', type: { kind: 'string' }, required: false },
    ]
    const segment = segmentOf(pool, fields, 63, 256)
    assert.throws(() => appendRow(segment, [null, 'x']), { code: 'missing-value' })
    assert.throws(() => appendRow(segment, [1]))
    assert.throws(() => appendRow(segment, [1, 'x', 'y']))
    assert.equal(segment.rows, 0)
  })
})

describe('types', () => {
  const leaf = (name: string, type: Type, required = false): Field => ({ id: 0, name, type, required })

  it('get ids level by level, as catalogs give them', () => {
    const point: Type = { kind: 'struct', fields: [leaf('x', { kind: 'int' }), leaf('y', { kind: 'int' })] }
    const { fields, last } = assignFieldIds([
      leaf('a', { kind: 'list', elementId: 0, element: point, elementRequired: true }),
      leaf('m', { kind: 'map', keyId: 0, key: { kind: 'string' }, valueId: 0, value: point, valueRequired: false }),
      leaf('b', { kind: 'int' }),
    ])
    assert.deepEqual(
      fields.map(({ id }) => id),
      [1, 2, 3],
    )
    const [list, map] = fields.map(({ type }) => type)
    assert.ok(list.kind === 'list' && map.kind === 'map')
    assert.equal(list.elementId, 4)
    assert.ok(list.element.kind === 'struct')
    assert.deepEqual(
      list.element.fields.map(({ id }) => id),
      [5, 6],
    )
    assert.deepEqual([map.keyId, map.valueId], [7, 8])
    assert.ok(map.value.kind === 'struct')
    assert.deepEqual(
      map.value.fields.map(({ id }) => id),
      [9, 10],
    )
    assert.equal(last, 10)
    assert.deepEqual(assignFieldIds(fields, last), { fields, last })
  })

  it('are the same apart from ids', () => {
    const one: Type = { kind: 'struct', fields: [leaf('a: int, b', { kind: 'int' })] }
    const two: Type = { kind: 'struct', fields: [leaf('a', { kind: 'int' }), leaf('b', { kind: 'int' })] }
    assert.equal(sameType(one, { kind: 'struct', fields: [{ ...leaf('a: int, b', { kind: 'int' }), id: 7 }] }), true)
    assert.equal(sameType(one, two), false, 'a field name cannot imitate two fields')
    assert.equal(sameType({ kind: 'decimal', precision: 5, scale: 2 }, { kind: 'decimal', precision: 5, scale: 3 }), false)
  })
})
