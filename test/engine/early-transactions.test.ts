import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { EarlyTransactions } from '../../src/engine/early-transactions.ts'
import { reachedNumber } from '../../src/source/numbered-positions.ts'

/** One by one: the parts by the transactions that have them; null for a transaction that needs none. */
class Model {
  readonly early: EarlyTransactions
  readonly kept: { readonly part: number | null; readonly position: number }[] = []

  constructor(floors: readonly number[]) {
    this.early = new EarlyTransactions(floors.map(String), reachedNumber)
  }

  add(position: number): void {
    this.kept.push({ part: this.early.add(String(position)), position })
  }

  /** Each transaction is said to be behind as many moments as it is. */
  check(moments: readonly number[]): void {
    const settled = this.early.settle(moments.map(String))
    for (const { part, position } of this.kept) {
      const behind = moments.filter((moment) => moment < position).length
      const found = part === null ? [] : settled.filter(({ from, to }) => from <= part && part <= to)
      if (part === null) assert.equal(behind, 0, `the transaction at ${position} is in the copy`)
      else assert.deepEqual([found.length, found[0]?.before], [1, behind], `the transaction at ${position}`)
    }
    assert.equal(this.early.size, 0)
  }
}

/** A snapshot: transactions before it is asked for, while it is taken (before and behind its floor), and beside its rows. */
const session = fc.record({
  told: fc.integer({ min: 0, max: 9 }).map((n) => n > 1),
  before: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 12 }),
  meanwhile: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 12 }),
  // Of the transactions meanwhile; beyond them the stream is behind the snapshot.
  floor: fc.integer({ min: 0, max: 24 }),
  isUsed: fc.boolean(),
})

test('every transaction is told from others by the floors that a copy has in the end', () => {
  fc.assert(
    fc.property(
      fc.array(session, { minLength: 1, maxLength: 5 }),
      fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
      fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 30 }),
      // Sources need not give out transactions in the order of their positions.
      fc.integer({ min: 0, max: 3 }),
      (sessions, complete, last, shuffle) => {
        let position = 10
        let known = 10
        const first = [...new Set(complete.map((step) => (known += step)))]
        const model = new Model(first)
        const moments = new Set(first)
        let highest = position
        const give = (step: number): void => {
          position += step
          const at = shuffle === 0 && step === 3 ? Math.max(10, position - 2) : position
          highest = Math.max(highest, at)
          model.add(at)
        }
        for (const [i, { told, before, meanwhile, floor, isUsed }] of sessions.entries()) {
          for (const step of before) give(step)
          model.early.begin()
          // It has all that was given out so far, and is not before an earlier one.
          const least = Math.max(highest, ...moments)
          const at = least + floor
          for (const step of meanwhile) give(step)
          if (told) model.early.tell([...moments, at].map(String))
          if (isUsed || i === sessions.length - 1) moments.add(at)
        }
        for (const step of last) give(step)
        model.check([...moments].sort((a, b) => a - b))
      },
    ),
    { numRuns: 20_000 },
  )
})

test('a million transactions beside a copy are a few runs, also behind interruptions', () => {
  const model = new EarlyTransactions([], reachedNumber)
  let position = 0
  let most = 0
  const give = (count: number): void => {
    for (let i = 0; i < count; i++) {
      model.add(String(++position))
      most = Math.max(most, model.size)
    }
  }
  give(100)
  model.tell([String(position + 100_000)])
  give(400_000)
  model.begin()
  give(100)
  model.tell([String(position - 50)])
  give(300_000)
  model.begin()
  model.tell([String(position + 100_000)])
  give(300_000)
  assert.ok(most < 110, `${most} are remembered`)
  const befores = model.settle(['100100', '800200']).map(({ before }) => before)
  assert.deepEqual(befores, [0, 1, 2])
})

test('a floor that would tell apart what is one is refused', () => {
  const behind = new EarlyTransactions([], reachedNumber)
  behind.tell(['10'])
  for (let i = 11; i < 20; i++) behind.add(String(i))
  assert.throws(() => behind.tell(['15']), /given out before/)
  assert.throws(() => behind.settle(['15']), /given out before/)

  const before = new EarlyTransactions([], reachedNumber)
  before.tell(['10'])
  assert.equal(before.add('8'), null)
  assert.throws(() => before.tell(['7']), /given out before/)
  assert.throws(() => before.settle(['7', '10']), /given out before/)
})
