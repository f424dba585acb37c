import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freeBytes } from '../../src/base/index.ts'

test('memory is given back that an array has for itself, and no other', () => {
  const own = Buffer.alloc(10_000, 1)
  freeBytes(own)
  freeBytes(own)
  assert.equal(own.length, 0)
  const whole = new Uint8Array(new ArrayBuffer(20_000)).fill(1)
  for (const part of [whole.subarray(0, 10_000), whole.subarray(1)]) freeBytes(part)
  const small = Buffer.from('x'.repeat(100))
  const shared = new Uint8Array(new SharedArrayBuffer(10_000)).fill(1)
  freeBytes(small)
  freeBytes(shared)
  assert.deepEqual([whole.length, small.length, shared.length], [20_000, 100, 10_000])
  assert([...whole, ...shared].every((byte) => byte === 1))
})
