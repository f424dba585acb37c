import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { decodeValue, defaultText, encodeValue, initialBytes, initialValue, isNested } from '../../src/data/index.ts'
import type { Field, Type } from '../../src/data/index.ts'
import { anyType, valueOf } from './any-field.ts'

function fieldWith(type: Type, initialDefault: string): Field {
  return { id: 1, name: 'c', type, required: false, initialDefault }
}

describe('defaults of fields', () => {
  it('are what they were, for every value that has a single-value form', () => {
    const cases = anyType.chain((type) => fc.tuple(fc.constant(type), valueOf(type)))
    fc.assert(
      fc.property(cases, ([type, value]) => {
        // As the column would hold it: a float is a rounded number.
        const bytes = encodeValue(type, value)
        const stored = decodeValue(type, bytes, 0, bytes.length)
        assert.ok(stored !== null)
        const text = defaultText(type, stored)
        if (text === null) {
          const [days, far] = [719_162, 2_932_896]
          const day = type.kind === 'date' ? Number(stored) : Math.floor(Number(stored) / 86_400_000_000)
          const isFar = /^(?:date|timestamp)/.test(type.kind) && (day < -days || day > far)
          assert.ok(isNested(type) || isFar || !Number.isFinite(stored), `${type.kind} ${String(stored)} has a text`)
          return
        }
        assert.doesNotThrow(() => void JSON.parse(text))
        assert.deepEqual(initialValue(fieldWith(type, text)), stored)
        assert.deepEqual(initialBytes(fieldWith(type, text)), bytes)
      }),
      { numRuns: 500 },
    )
  })

  it('have the forms of Appendix D', () => {
    const forms: [Type, Exclude<Parameters<typeof defaultText>[1], null>, string][] = [
      [{ kind: 'boolean' }, true, 'true'],
      [{ kind: 'int' }, 34, '34'],
      [{ kind: 'long' }, 9_223_372_036_854_775_807n, '9223372036854775807'],
      [{ kind: 'float' }, 1.5, '1.5'],
      [{ kind: 'decimal', precision: 4, scale: 2 }, -5n, '"-0.05"'],
      [{ kind: 'decimal', precision: 9, scale: 0 }, 12n, '"12"'],
      [{ kind: 'date' }, 17_486, '"2017-11-16"'],
      [{ kind: 'time' }, 81_068_123_456n, '"22:31:08.123456"'],
      [{ kind: 'timestamp' }, 1_510_871_468_123_456n, '"2017-11-16T22:31:08.123456"'],
      [{ kind: 'timestamptz' }, 1_510_871_468_123_456n, '"2017-11-16T22:31:08.123456+00:00"'],
      [{ kind: 'string' }, 'a"b', '"a\\"b"'],
      [{ kind: 'uuid' }, new Uint8Array(16).fill(0xf7), '"f7f7f7f7-f7f7-f7f7-f7f7-f7f7f7f7f7f7"'],
      [{ kind: 'binary' }, new Uint8Array([0, 1, 255]), '"0001ff"'],
    ]
    for (const [type, value, text] of forms) assert.equal(defaultText(type, value), text)
  })

  it('that are malformed are an error, never a null', () => {
    const malformed: [Type, string][] = [
      [{ kind: 'int' }, '"1"'],
      [{ kind: 'long' }, '1.5'],
      [{ kind: 'double' }, '"NaN"'],
      [{ kind: 'boolean' }, '1'],
      [{ kind: 'decimal', precision: 4, scale: 2 }, '"1.234"'],
      [{ kind: 'date' }, '"2017-13-01"'],
      [{ kind: 'time' }, '"25"'],
      [{ kind: 'timestamp' }, '"2017-11-16"'],
      [{ kind: 'timestamptz' }, '"2017-11-16T00:00:00+01:00"'],
      [{ kind: 'uuid' }, '"xyz"'],
      [{ kind: 'binary' }, '"0"'],
      [{ kind: 'string' }, 'abc'],
    ]
    for (const [type, text] of malformed) {
      assert.throws(() => initialValue(fieldWith(type, text)), { kind: 'corrupt', code: 'default-value' }, `${type.kind} ${text}`)
    }
    const list: Type = { kind: 'list', elementId: 2, element: { kind: 'int' }, elementRequired: false }
    assert.throws(() => initialValue(fieldWith(list, '[1]')), { kind: 'unsupported', code: 'default-value' })
    assert.equal(initialBytes({ id: 1, name: 'c', type: list, required: false }), null)
  })
})
