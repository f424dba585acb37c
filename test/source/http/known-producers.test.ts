import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { KnownProducers } from '../../../src/source/http/known-producers.ts'

const day = 86_400_000
const hour = 3_600_000

function add(producers: KnownProducers, id: string, sequence: number, position: number, timeMs: number): void {
  const head = JSON.stringify({ producer: { id, sequence } })
  const body = new Uint8Array(0)
  producers.add({ table: 't', operation: 'insert', key: '', digest: 7, head, body, sequence: position, timeMs, rows: 1 })
}

/** Whether a request would be stored. */
function isNew(producers: KnownProducers, id: string, sequence: number, now: number): boolean {
  return producers.find('t', { id, sequence }, 7, now) === null
}

suite('producers', () => {
  test('are told to the lake as of its position, however often it asks', () => {
    const producers = new KnownProducers()
    for (let i = 1; i <= 6; i++) add(producers, i % 2 === 0 ? 'even' : 'odd', Math.ceil(i / 2), i, 1000)
    for (const position of [3, 3, 4]) {
      const memo = producers.memo(position)
      const restarted = new KnownProducers()
      restarted.load(memo, () => true)
      // The lake has requests 1 to `position`.
      assert.equal(isNew(restarted, 'odd', 2, 1000), false)
      assert.equal(isNew(restarted, 'odd', 3, 1000), true)
      assert.equal(isNew(restarted, 'even', 2, 1000), position < 4)
      // What the spool still has is found behind that, what is in both once.
      for (let i = 1; i <= 6; i++) add(restarted, i % 2 === 0 ? 'even' : 'odd', Math.ceil(i / 2), i, 1000)
      assert.equal(isNew(restarted, 'odd', 4, 1000), true)
      assert.equal(isNew(restarted, 'even', 1, 1000), false)
      assert.throws(() => isNew(restarted, 'even', 5, 1000), { code: 'producer-sequence-gap' })
    }
    const other = new KnownProducers()
    other.load(producers.memo(6), () => false)
    assert.equal(isNew(other, 'odd', 9, 1000), true)
    producers.forget('t')
    assert.equal(producers.memo(6), '{}')
    assert.throws(() => other.load('{"format":2}', () => true), { code: 'newer-format' })
  })

  test('are forgotten after seven days of silence', () => {
    const producers = new KnownProducers()
    add(producers, 'a', 5, 1, 0)
    assert.equal(isNew(producers, 'a', 5, 7 * day), false)
    assert.equal(isNew(producers, 'a', 5, 7 * day + 1), true)
    add(producers, 'a', 5, 2, 8 * day)
    assert.throws(() => isNew(producers, 'a', 4, 8 * day), { code: 'producer-sequence-unknown' })
    add(producers, 'b', 1, 3, 20 * day)
    assert.doesNotMatch(producers.memo(3), /"a"/)
  })

  test('are a thousand at most: one that is silent for an hour makes room, else no other is let in', () => {
    const producers = new KnownProducers()
    for (let i = 0; i < 1000; i++) add(producers, `p${i}`, 1, i + 1, i)
    assert.throws(() => isNew(producers, 'more', 1, hour), { code: 'too-many-producers', kind: 'unavailable' })
    assert.equal(isNew(producers, 'p5', 2, hour), true)
    assert.equal(isNew(producers, 'more', 1, hour + 1), true)
    add(producers, 'more', 1, 1001, hour + 1)
    assert.equal(isNew(producers, 'p1', 1, hour + 1), false)
    assert.equal(isNew(producers, 'p0', 9, 2 * hour), true)
    assert.equal((JSON.parse(producers.memo(1001)) as { producers: { t: unknown[] } }).producers.t.length, 1000)
  })

  test('are turned away while the lake takes nothing, but what is stored is known', () => {
    const producers = new KnownProducers()
    for (let i = 1; i <= 100_000; i++) add(producers, 'a', i, i, 0)
    assert.throws(() => isNew(producers, 'a', 100_001, 0), { code: 'overloaded', kind: 'unavailable' })
    assert.throws(() => isNew(producers, 'b', 1, 0), { code: 'overloaded', kind: 'unavailable' })
    assert.equal(isNew(producers, 'a', 100_000, 0), false)
    producers.memo(1)
    assert.equal(isNew(producers, 'a', 100_001, 0), true)
  })
})
