import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { SlabPool } from '../../src/base/index.ts'
import type { Block } from '../../src/base/index.ts'

const slabBytes = 4096
const smallest = 256

type Step = { readonly bytes: number; readonly over: boolean } | { readonly free: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ bytes: fc.integer({ min: 0, max: slabBytes }), over: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ bytes: fc.constantFrom(1, smallest, smallest + 1, slabBytes), over: fc.constant(false) }) },
  { weight: 4, arbitrary: fc.record({ free: fc.nat() }) },
)

/** What a block really takes: the next power of two. */
function held(bytes: number): number {
  let size = smallest
  while (size < bytes) size *= 2
  return size
}

describe('slab pool', () => {
  it('hands out blocks that never overlap, within the budget, and merges what comes back', () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 6 * slabBytes }),
      fc.array(step, { maxLength: 300 }),
      (budget, steps) => {
        const pool = new SlabPool({ budget, slabBytes })
        const live: { block: Block; mark: number; size: number }[] = []
        let used = 0
        let refused = 0
        let pressed = 0
        pool.onPressure = () => pressed++
        for (const [i, action] of steps.entries()) {
          if ('free' in action) {
            if (live.length === 0) continue
            const [gone] = live.splice(action.free % live.length, 1)
            assert.ok(
              gone.block.bytes.every((byte) => byte === gone.mark),
              'nobody else wrote into the block',
            )
            pool.free(gone.block)
            used -= gone.size
          } else {
            const size = held(action.bytes)
            const block = pool.allocate(action.bytes, { overBudget: action.over })
            if (block) {
              assert.ok(action.over || used + size <= budget, 'the budget is respected')
              assert.equal(block.bytes.length, action.bytes)
              const mark = (i % 255) + 1
              block.bytes.fill(mark)
              live.push({ block, mark, size })
              used += size
            } else {
              assert.ok(!action.over, 'what cannot wait is never refused')
              assert.ok(used + size > budget, 'nothing is refused that fits the budget')
              refused++
            }
          }
          assert.equal(pool.used, used)
          assert.equal(pool.available, budget - used)
        }
        assert.equal(pressed, refused, 'the owner is told of each refusal')
        for (const { block } of live) pool.free(block)
        assert.equal(pool.used, 0)
        // Everything merged: whole slabs come out of the memory that is there, without growing it.
        const whole = Array.from({ length: Math.floor(budget / slabBytes) }, () => pool.allocate(slabBytes))
        assert.ok(whole.every((block) => block !== null && block.offset === 0))
        assert.equal(new Set(whole.map((block) => block?.bytes.buffer)).size, whole.length)
      },
    )
    fc.assert(property, { numRuns: 150 * Number(process.env['FRAZIL_SEEDS'] ?? 1) })
  })

  it('uses the same memory again after everything came back', () => {
    const pool = new SlabPool({ budget: 4 * slabBytes, slabBytes })
    const buffers = new Set<SharedArrayBuffer>()
    for (let round = 0; round < 50; round++) {
      const sizes = [1, 300, 700, 1500, 256, slabBytes, 2048, 257]
      const blocks = sizes.map((bytes) => pool.allocate(bytes) ?? assert.fail('fits'))
      for (const { bytes } of blocks) buffers.add(bytes.buffer)
      for (let i = 0; i < blocks.length; i++) pool.free(blocks[(i * 3 + round) % blocks.length])
    }
    assert.ok(buffers.size <= 4, `${buffers.size} slabs`)
  })

  it('counts what goes over the budget', () => {
    const pool = new SlabPool({ budget: 1024, slabBytes })
    const over = pool.allocate(2048, { overBudget: true })
    assert.ok(over)
    assert.equal(pool.used, 2048)
    assert.equal(pool.available, -1024)
    assert.equal(pool.allocate(1), null)
    pool.free(over)
    assert.ok(pool.allocate(1))
  })

  it('catches a block that is given back twice, also after it was merged', () => {
    const pool = new SlabPool({ budget: slabBytes, slabBytes })
    const one = pool.allocate(256) ?? assert.fail('fits')
    const two = pool.allocate(256) ?? assert.fail('fits')
    pool.free(one)
    assert.throws(() => pool.free(one), /freed once/)
    pool.free(two)
    assert.throws(() => pool.free(two), /freed once/)
    assert.throws(() => pool.free(one), /freed once/)
    assert.equal(pool.used, 0)
  })

  it('wakes who waits for memory, once', async () => {
    const pool = new SlabPool({ budget: 256, slabBytes })
    const block = pool.allocate(1) ?? assert.fail('fits')
    let woken = 0
    const waiters = [pool.freed(), pool.freed()].map((promise) => promise.then(() => woken++))
    await Promise.resolve()
    assert.equal(woken, 0)
    pool.free(block)
    await Promise.all(waiters)
    assert.equal(woken, 2)
  })

  it('hands out less when more is held beside it than was set aside, but never less than half', async () => {
    const pool = new SlabPool({ budget: 4 * slabBytes, slabBytes, beside: slabBytes })
    assert.ok(pool.hold(slabBytes))
    assert.equal(pool.available, pool.budget)
    assert.ok(pool.hold(slabBytes))
    assert.equal(pool.available, 3 * slabBytes)
    assert.ok(pool.hold(slabBytes))
    assert.ok(!pool.hold(1), 'half of the budget is for blocks')
    assert.equal(pool.held, 3 * slabBytes)
    const blocks = [pool.allocate(slabBytes), pool.allocate(slabBytes)]
    assert.ok(blocks.every((block) => block !== null))
    assert.equal(pool.allocate(1), null)
    const freed = pool.freed()
    pool.letGo(slabBytes)
    await freed
    assert.ok(pool.allocate(slabBytes))
    assert.throws(() => pool.letGo(3 * slabBytes), /no more is let go/)
  })

  it('has slabs that fit small budgets', () => {
    for (const megabytes of [1, 3, 24, 48, 384, 4096]) {
      const pool = new SlabPool({ budget: megabytes << 20 })
      assert.ok(pool.slabBytes <= 32 << 20 && pool.slabBytes >= 1 << 20)
      assert.ok(pool.slabBytes * 4 <= pool.budget || pool.slabBytes === 1 << 20)
    }
  })

  it('says that a block larger than a slab is a bug', () => {
    const pool = new SlabPool({ budget: 10 * slabBytes, slabBytes })
    assert.throws(() => pool.allocate(slabBytes + 1), /exceeds the slab size/)
  })

  it('wakes nobody with what is given back because the rest was refused', async () => {
    const pool = new SlabPool({ budget: slabBytes, slabBytes })
    const kept = pool.allocate(slabBytes / 2)
    let tries = 0
    // Two that need more than there is: as long as one wakes the other, nobody else has a turn.
    const seek = async (): Promise<void> => {
      for (;;) {
        if (++tries > 1000) throw new Error('they wake each other')
        const half = pool.allocate(slabBytes / 2)
        const rest = half && pool.allocate(slabBytes / 2)
        if (half && rest) {
          pool.free(half)
          pool.free(rest)
          return
        }
        if (half) pool.free(half, false)
        await pool.freed()
      }
    }
    const seekers = [seek(), seek()]
    await new Promise((resolve) => setImmediate(resolve))
    assert.ok(kept)
    pool.free(kept)
    await Promise.all(seekers)
  })
})
