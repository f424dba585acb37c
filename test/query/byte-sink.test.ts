import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteSink } from '../../src/query/byte-sink.ts'
import { appendEscaped } from '../../src/query/json-text.ts'

const tooLarge = { kind: 'request', code: 'result-too-large' }

test('a value that is too large for an answer is refused before there is memory for it', () => {
  const large = new Uint8Array(10 << 20).fill(0x61)
  const sink = new ByteSink(1 << 20)
  assert.throws(() => sink.append(large), tooLarge)
  assert.throws(() => sink.expect(large.length), tooLarge)
  assert.ok(sink.bytes.length <= 1 << 20, `${sink.bytes.length} bytes`)
  sink.append(large.subarray(0, 1 << 20))
  assert.equal(sink.finish().length, 1 << 20)
})

test('escaping a large text takes what the escaped text has', () => {
  const size = 4 << 20
  const lines = new Uint8Array(size).fill(0x0a)
  lines[5] = 0x01
  const sink = new ByteSink(Infinity)
  appendEscaped(lines, sink)
  assert.equal(JSON.parse(`"${Buffer.from(sink.finish()).toString()}"`), Buffer.from(lines).toString())
  assert.ok(sink.bytes.length <= size * 2 + 4, `${sink.bytes.length} bytes`)
  assert.throws(() => appendEscaped(lines, new ByteSink(size)), tooLarge)
})
