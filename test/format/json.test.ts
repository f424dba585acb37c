import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { encodeJson, isJsonObject, parseJson } from '../../src/format/json/index.ts'

test('iceberg check 2: integers beyond 2^53 keep their digits, unquoted', () => {
  const text = '{"snapshot-id":9223372036854775807,"negative":-9007199254740993,"small":42,"zero":0}'
  const value = parseJson(text)
  assert.ok(isJsonObject(value))
  assert.equal(value['snapshot-id'], 9223372036854775807n)
  assert.equal(value.negative, -9007199254740993n)
  assert.equal(value.small, 42)
  assert.equal(encodeJson(value), text)
})

test('what JavaScript would print differently stays as it was', () => {
  const text = '[1.0,1e3,-0,0.1,1E-7,123456789012345678901234567890,3.0000000000000001]'
  assert.equal(encodeJson(parseJson(text)), text)
})

test('any JSON comes back as it was', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (text) => {
      const canonical = JSON.stringify(JSON.parse(text))
      assert.deepEqual(JSON.parse(encodeJson(parseJson(canonical))), JSON.parse(canonical))
    }),
  )
})

test('keys of every kind survive', () => {
  const text = '{"__proto__":{"a":1},"constructor":2,"":3,"10":4}'
  assert.deepEqual(JSON.parse(encodeJson(parseJson(text))), JSON.parse(text))
})

test('malformed JSON is refused without repeating it', () => {
  for (const text of ['', '{', '{"secret":tru}', '[1,]', '01', '"\u0001"', '[1] x', '['.repeat(200_000)]) {
    assert.throws(
      () => parseJson(text),
      (error: Error & { kind?: string; code?: string }) => {
        assert.equal(error.kind, 'corrupt')
        assert.equal(error.code, 'bad-json')
        assert.ok(!error.message.includes('secret'))
        return true
      },
    )
  }
})
