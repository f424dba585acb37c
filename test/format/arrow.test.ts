import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError } from '../../src/base/index.ts'
import type { Field, Type } from '../../src/data/index.ts'
import { checkCase, decodeArrow, ownFields } from './arrow-cases.ts'
import type { ArrowCase } from './arrow-cases.ts'

const cases = readFileSync(join(import.meta.dirname, 'arrow-streams.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as ArrowCase)

function streamOf(name: string): Buffer {
  const found = cases.find((one) => one.name === name)
  assert(found, name)
  return Buffer.from(found.stream, 'base64')
}

const v = (type: Type, required = false): Field[] => [{ id: 1, name: 'v', type, required }]

suite('Arrow IPC streams', () => {
  test('what PyArrow wrote is read as it is: every type, layout and compression', () => {
    for (const one of cases) checkCase(one)
  })

  test('columns of a table take what fits without loss, value by value', () => {
    assert.deepEqual(decodeArrow(streamOf('int32'), v({ kind: 'long' })), [[null], [-(2n ** 31n)], [-1n], [0n], [2n ** 31n - 1n]])
    assert.deepEqual(decodeArrow(streamOf('uint32'), v({ kind: 'long' })), [[null], [0n], [1n], [2n ** 32n - 1n]])
    assert.equal(decodeArrow(streamOf('uint32'), v({ kind: 'int' })), 'out-of-range')
    assert.equal(decodeArrow(streamOf('int64'), v({ kind: 'int' })), 'out-of-range')
    assert.equal(decodeArrow(streamOf('int32'), v({ kind: 'int' }, true)), 'missing-value')
    assert.equal(decodeArrow(streamOf('decimal5'), v({ kind: 'decimal', precision: 4, scale: 2 })), 'out-of-range')
    assert.deepEqual((decodeArrow(streamOf('float32'), v({ kind: 'double' })) as unknown[][])[3], [1.5])
    const list: Type = { kind: 'list', elementId: 0, element: { kind: 'long' }, elementRequired: true }
    assert.equal(decodeArrow(streamOf('list'), v(list)), 'missing-value')
    const wide: Type = { kind: 'list', elementId: 0, element: { kind: 'long' }, elementRequired: false }
    assert.deepEqual(decodeArrow(streamOf('fixed_size_list'), v(wide)), [[[1n, 2n]], [null], [[3n, null]]])
  })

  test('columns that are others are refused, with the name', () => {
    for (const [name, type] of [
      ['int32', { kind: 'string' }],
      ['int32', { kind: 'double' }],
      ['float64', { kind: 'float' }],
      ['utf8', { kind: 'binary' }],
      ['timestamp us UTC', { kind: 'timestamp' }],
      ['timestamp us None', { kind: 'timestamptz' }],
      ['decimal5', { kind: 'decimal', precision: 5, scale: 1 }],
      ['fixed', { kind: 'uuid' }],
      ['struct', { kind: 'struct', fields: [{ id: 2, name: 'a', type: { kind: 'int' }, required: false }] }],
    ] satisfies [string, Type][]) {
      assert.throws(() => decodeArrow(streamOf(name), v(type)), { code: 'wrong-columns', message: /the column "v"/ }, name)
    }
    const [other] = v({ kind: 'int' })
    assert.throws(() => decodeArrow(streamOf('int32'), [{ ...other, name: 'w' }]), {
      code: 'wrong-columns',
      message: /no column "v"/,
    })
    assert.throws(() => decodeArrow(streamOf('int32'), [...v({ kind: 'int' }), { ...other, name: 'w', required: true }]), {
      code: 'wrong-columns',
      message: /"w" is required/,
    })
    assert.deepEqual(decodeArrow(streamOf('bool').subarray(), [...v({ kind: 'boolean' }), { ...other, name: 'w' }]).slice(0, 1), [
      [true, null],
    ])
  })

  test('nanoseconds that are no microseconds are refused, not rounded', () => {
    const stream = streamOf('timestamp ns None')
    const exact = 1_700_000_000_000_001_000n
    const at = stream.indexOf(Buffer.from(new BigInt64Array([exact]).buffer))
    assert(at > 0)
    stream.writeBigInt64LE(exact + 1n, at)
    assert.equal(decodeArrow(stream), 'out-of-range')
  })

  test('a stream that ends anywhere is refused, or ends where a message does', () => {
    for (const name of ['struct', 'replaced dictionaries', 'compressed zstd']) {
      const whole = streamOf(name)
      const rows = decodeArrow(whole).length
      for (let length = 0; length < whole.length; length += name === 'compressed zstd' ? 37 : 1) {
        try {
          assert(decodeArrow(whole.subarray(0, length), ownFields(whole)).length <= rows)
        } catch (error) {
          assert(error instanceof FrazilError && error.code === 'bad-arrow', `${name} cut at ${length}: ${String(error)}`)
        }
      }
    }
  })

  test('bytes that were changed are refused with a code, or are other values; never a crash', () => {
    const small = cases.filter(({ stream }) => stream.length < 4000)
    const change = fc.record({ at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), byte: fc.nat(255) })
    fc.assert(
      fc.property(fc.constantFrom(...small), fc.array(change, { minLength: 1, maxLength: 4 }), ({ stream }, changes) => {
        const bytes = Buffer.from(stream, 'base64')
        for (const { at, byte } of changes) bytes[Math.floor(at * bytes.length)] = byte
        try {
          decodeArrow(bytes)
        } catch (error) {
          const codes = ['bad-arrow', 'unsupported-arrow', 'wrong-columns', 'body-too-large']
          assert(
            (error instanceof FrazilError && codes.includes(error.code)) || error instanceof assert.AssertionError,
            error as Error,
          )
        }
      }),
      { numRuns: 3000 },
    )
  })

  test('what is no stream', () => {
    for (const bytes of ['', 'ARROW1\0\0', '{"id":1}', '\xff\xff\xff\xff\0\0\0\0', '\xff\xff\xff\xff\xff\xff\xff\x7f']) {
      assert.throws(() => decodeArrow(Buffer.from(bytes, 'latin1'), []), { code: 'bad-arrow' })
    }
  })
})
