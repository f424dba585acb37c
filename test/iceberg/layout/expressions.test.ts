import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError } from '../../../src/base/index.ts'
import type { Field } from '../../../src/data/index.ts'
import { checkExpression, parsePartition, parseSort } from '../../../src/iceberg/layout/expression.ts'
import { transformText } from '../../../src/iceberg/layout/transform.ts'

const fields: Field[] = [
  { id: 1, name: 'id', type: { kind: 'long' }, required: true },
  { id: 2, name: 'created_at', type: { kind: 'timestamptz' }, required: false },
  { id: 3, name: 'Odd, (name)', type: { kind: 'double' }, required: false },
]

function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof FrazilError && error.code === 'layout-invalid' && error.kind === 'config', String(error))
    return `${error.message} | ${error.hint}`
  }
  assert.fail('it was taken')
}

describe('partition-by and sort-by', () => {
  test('partition fields', () => {
    const parsed = (text: string): string[] => {
      const { transform, column } = parsePartition(text)
      return [transformText(transform), column]
    }
    assert.deepEqual(parsed('region'), ['identity', 'region'])
    assert.deepEqual(parsed(' "Odd, (name)" '), ['identity', 'Odd, (name)'])
    assert.deepEqual(parsed('"a""b"'), ['identity', 'a"b'])
    assert.deepEqual(parsed('day(created_at)'), ['day', 'created_at'])
    assert.deepEqual(parsed('HOURS( created_at )'), ['hour', 'created_at'])
    assert.deepEqual(parsed('bucket(16, id)'), ['bucket[16]', 'id'])
    assert.deepEqual(parsed('truncate("Odd, (name)",8)'), ['truncate[8]', 'Odd, (name)'])
    assert.deepEqual(parsed('bucket(4, 8)'), ['bucket[4]', '8'])
    assert.deepEqual(parsed('void(id)'), ['void', 'id'])
    assert.deepEqual(parsed('day'), ['identity', 'day'])
    assert.deepEqual(parsed('größe'), ['identity', 'größe'])
  })

  test('sort fields', () => {
    const parsed = (text: string): unknown[] => {
      const { transform, column, descending, nullsFirst } = parseSort(text)
      return [transformText(transform), column, descending, nullsFirst]
    }
    assert.deepEqual(parsed('customer_id'), ['identity', 'customer_id', false, true])
    assert.deepEqual(parsed('customer_id DESC'), ['identity', 'customer_id', true, false])
    assert.deepEqual(parsed('customer_id desc nulls first'), ['identity', 'customer_id', true, true])
    assert.deepEqual(parsed('day(created_at) nulls last'), ['day', 'created_at', false, false])
    assert.deepEqual(parsed('desc'), ['identity', 'desc', false, true])
  })

  test('what is wrong is said, with what was meant', () => {
    assert.match(
      refusal(() => parsePartition('dya(created_at)')),
      /no transform dya \| Did you mean day\?/,
    )
    assert.match(
      refusal(() => parsePartition('bucket(id)')),
      /takes a number and a column \| For example bucket\(16, id\)/,
    )
    assert.match(
      refusal(() => parsePartition('bucket(0, id)')),
      /a whole number above 0/,
    )
    assert.match(
      refusal(() => parsePartition('bucket(16; id)')),
      /takes a number and a column/,
    )
    assert.match(
      refusal(() => parsePartition('day(a, b)')),
      /day takes a column/,
    )
    assert.match(
      refusal(() => parsePartition('day(')),
      /is no partition field/,
    )
    assert.match(
      refusal(() => parsePartition('id desc')),
      /is no partition field/,
    )
    assert.match(
      refusal(() => parsePartition('')),
      /is no partition field/,
    )
    assert.match(
      refusal(() => parseSort('id descending')),
      /is no sort field/,
    )
    assert.match(
      refusal(() => parseSort('id desc nulls')),
      /is no sort field/,
    )
    assert.match(
      refusal(() => parseSort('id, v')),
      /is no sort field/,
    )
    const check = (text: string) => () => checkExpression(parsePartition(text), fields, 'shop.orders')
    assert.equal(check('day(created_at)')().id, 2)
    assert.match(refusal(check('day(created)')), /shop.orders has no column "created".*\| Its columns are id, created_at/)
    assert.match(refusal(check('day(createdat)')), /Did you mean "created_at"\?/)
    assert.match(
      refusal(check('bucket(4, "Odd, (name)")')),
      /does not fit column "Odd, \(name\)", which is double \| bucket takes int, long/,
    )
  })

  test('any text is taken or refused', () => {
    const pieces = fc.constantFrom('bucket', 'day', '(', ')', ',', '"', 'a', ' ', '16', '-1', 'desc', 'nulls', 'last', 'ü', '\n')
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(pieces).map((parts) => parts.join('')),
        ),
        (text) => {
          for (const parse of [parsePartition, parseSort]) {
            try {
              parse(text)
            } catch (error) {
              assert.ok(error instanceof FrazilError)
            }
          }
        },
      ),
    )
  })
})
