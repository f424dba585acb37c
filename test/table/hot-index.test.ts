import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { SlabPool, seededRandom } from '../../src/base/index.ts'
import { bloomAdd, bloomBytes, bloomHas } from '../../src/table/bloom.ts'
import { HotIndex } from '../../src/table/hot-index.ts'
import { mixWords } from '../../src/table/key-codec.ts'

describe('hot index', () => {
  it('finds what was set, also when many keys share a hash', () => {
    // A key is a number; its hash has few bits, so that shards, probes and growth are all met.
    const hashes = [
      (key: number): number => key | 0,
      (key: number): number => (key % 3) << 30,
      (key: number): number => Math.imul(key % 100, 0x9e3779b1) | 0,
      (): number => -1,
    ]
    const property = fc.property(
      fc.constantFrom(...hashes),
      fc.array(fc.tuple(fc.nat(400), fc.boolean()), { maxLength: 800 }),
      (hashOf, steps) => {
        const pool = new SlabPool({ budget: 1 << 20 })
        const index = new HotIndex(pool)
        const model = new Map<number, number>()
        const keyOf: number[] = []
        for (const [key, isSet] of steps) {
          const found = index.find(hashOf(key), (ref) => keyOf[ref] === key)
          assert.equal(found, model.get(key) ?? -1)
          if (!isSet) continue
          keyOf.push(key)
          index.set(hashOf(key), keyOf.length - 1)
          model.set(key, keyOf.length - 1)
        }
        assert.equal(index.size, model.size)
        for (const [key, ref] of model)
          assert.equal(
            index.find(hashOf(key), (other) => keyOf[other] === key),
            ref,
          )
        index.release()
        assert.equal(pool.used, 0)
        assert.equal(index.size, 0)
        assert.equal(
          index.find(hashOf(1), () => true),
          -1,
        )
        index.set(hashOf(1), 0)
        assert.equal(
          index.find(hashOf(1), () => true),
          0,
          'usable again',
        )
        index.release()
        assert.equal(pool.used, 0)
      },
    )
    fc.assert(property, { numRuns: 60 * Number(process.env['FRAZIL_SEEDS'] ?? 1) })
  })

  it('holds the largest reference', () => {
    const index = new HotIndex(new SlabPool({ budget: 1 << 20 }))
    const largest = (32766 << 16) | 65534
    index.find(5, () => false)
    index.set(5, largest)
    assert.equal(
      index.find(5, () => true),
      largest,
    )
  })

  it('takes no more than 64 bytes a key once it is large, at a hash of growing numbers', () => {
    const pool = new SlabPool({ budget: 64 << 20 })
    const index = new HotIndex(pool)
    const words = new Int32Array(2)
    const keys = 100_000
    let looked = 0
    for (let key = 0; key < keys; key++) {
      words[0] = key
      const hash = mixWords(words, 0, 2)
      assert.equal(
        index.find(hash, () => (looked++, false)),
        -1,
      )
      index.set(hash, key)
    }
    assert.equal(index.size, keys)
    assert.ok(pool.used <= keys * 64, `${pool.used / keys} bytes a key`)
    assert.ok(looked < keys / 100, `${looked} keys compared in vain`)
  })
})

describe('bloom filter', () => {
  const kinds: Record<string, (n: number, words: Int32Array, at: number) => void> = {
    growing(n, words, at) {
      words[at] = n
      words[at + 1] = 0
    },
    'growing by 1024'(n, words, at) {
      words[at] = n << 10
      words[at + 1] = n >>> 22
    },
    'times in microseconds'(n, words, at) {
      const value = 1_760_000_000_000_000n + BigInt(n) * 1_000_000n
      words[at] = Number(BigInt.asIntN(32, value))
      words[at + 1] = Number(value >> 32n)
    },
    'high halves'(n, words, at) {
      words[at] = 0
      words[at + 1] = n
    },
    'negative numbers'(n, words, at) {
      words[at] = ~n
      words[at + 1] = -1
    },
  }
  for (const [name, put] of Object.entries(kinds)) {
    it(`has every key, and few others: ${name}`, () => {
      for (const keys of [1, 50, 5000, 100_000]) {
        const filter = new Int32Array(bloomBytes(keys) / 4)
        const words = new Int32Array(2)
        for (let n = 0; n < keys; n++) {
          put(n, words, 0)
          bloomAdd(filter, words, 0, 2)
        }
        for (let n = 0; n < keys; n++) {
          put(n, words, 0)
          assert.ok(bloomHas(filter, words, 0, 2), 'no key is missed')
        }
        let wrong = 0
        const others = 20_000
        for (let n = keys; n < keys + others; n++) {
          put(n, words, 0)
          if (bloomHas(filter, words, 0, 2)) wrong++
        }
        assert.ok(wrong / others < 0.03, `${((100 * wrong) / others).toFixed(2)} % of absent keys pass at ${keys}`)
      }
    })
  }

  it('has every key, and few others: hashes', () => {
    const random = seededRandom(7)
    const keys = 50_000
    const words = new Int32Array(keys * 2 * 4).map(() => random.below(2 ** 32) | 0)
    const filter = new Int32Array(bloomBytes(keys) / 4)
    for (let n = 0; n < keys; n++) bloomAdd(filter, words, n * 4, 4)
    let wrong = 0
    for (let n = 0; n < keys; n++) {
      assert.ok(bloomHas(filter, words, n * 4, 4))
      if (bloomHas(filter, words, (keys + n) * 4, 4)) wrong++
    }
    assert.ok(wrong / keys < 0.03, `${((100 * wrong) / keys).toFixed(2)} % of absent keys pass`)
  })
})
