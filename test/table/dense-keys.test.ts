import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError, SlabPool } from '../../src/base/index.ts'
import { sortKeys } from '../../src/table/key-order.ts'
import { KeyRunBuilder } from '../../src/table/key-run-builder.ts'
import { KeyRun } from '../../src/table/key-run.ts'

const runs = Number(process.env['FRAZIL_SEEDS'] ?? 1)
const folder = mkdtempSync(join(tmpdir(), 'frazil-dense-'))
after(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'keys.run')

function wordsOf(keys: readonly bigint[]): Int32Array {
  return new Int32Array(BigInt64Array.from(keys).buffer)
}

function write(keys: readonly bigint[], mostRows?: number): void {
  const builder = new KeyRunBuilder(path, 2, mostRows)
  const all = wordsOf(keys)
  for (let from = 0; from < keys.length; from += 100) {
    const { words, at } = builder.reserve(Math.min(100, keys.length - from))
    words.set(all.subarray(2 * from, 2 * (from + 100)), at)
  }
  builder.write()
  assert.equal(builder.rows, keys.length)
}

function positionsOf(run: KeyRun, key: bigint): number[] {
  const found: number[] = []
  run.find(wordsOf([key]), 0, (position) => {
    found.push(position)
    return false
  })
  return found
}

/** The same rows, alone and together with others, as a map has them. */
function check(run: KeyRun, keys: readonly bigint[], asked: readonly bigint[]): void {
  const model = new Map<bigint, number[]>()
  for (const [position, key] of keys.entries()) {
    const positions = model.get(key)
    if (positions) positions.push(position)
    else model.set(key, [position])
  }
  for (const key of asked) {
    assert.deepEqual(positionsOf(run, key), model.get(key) ?? [], `key ${key}`)
  }
  const words = wordsOf(asked)
  const numbers = Int32Array.from(asked.keys())
  sortKeys(words, 2, numbers)
  const order = [...numbers]
  // Every third one is taken at its last row, the others are left.
  const seen = asked.map((): number[] => [])
  const isTaken = (key: number): boolean => key % 3 === 0 && model.has(asked[key])
  const left = run.findEach(words, numbers, (key, position) => {
    seen[key].push(position)
    return isTaken(key) && position === model.get(asked[key])?.at(-1)
  })
  assert.deepEqual(
    [...numbers.subarray(0, left)],
    order.filter((key) => !isTaken(key)),
  )
  assert.deepEqual(
    seen,
    asked.map((key) => model.get(key) ?? []),
  )
  const met = new Uint8Array(keys.length)
  for (const { entries, count } of run.blocks()) {
    for (let i = 0; i < 3 * count; i += 3) {
      const key = (BigInt(entries[i + 1]) << 32n) | BigInt(entries[i] >>> 0)
      if (keys[entries[i + 2]] !== key) assert.fail(`row ${entries[i + 2]} has another key than ${key}`)
      met[entries[i + 2]]++
    }
  }
  assert.ok(
    met.every((times) => times === 1),
    'all rows come once',
  )
}

/** A number of rows whose keys ascend by small steps, now and then with one from elsewhere between them. */
const part = fc.record({
  start: fc.oneof(
    fc.constantFrom(-(2n ** 63n), 2n ** 63n - 20_000_000n, -(2n ** 32n) - 300n, 2n ** 32n - 700n, -500n, 2n ** 31n - 600n),
    fc.bigInt({ min: -5000n, max: 5000n }),
    fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }),
  ),
  rows: fc.oneof(fc.integer({ min: 500, max: 1500 }), fc.integer({ min: 0, max: 20 })),
  steps: fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 12 }), fc.constantFrom(256, 4096, 4097)), {
    minLength: 1,
    maxLength: 40,
  }),
  strays: fc.array(fc.tuple(fc.nat(1500), fc.bigInt({ min: -6000n, max: 6000n })), { maxLength: 3 }),
})

function keysOf({ start, rows, steps, strays }: typeof part extends fc.Arbitrary<infer T> ? T : never): bigint[] {
  const keys: bigint[] = []
  let key = start
  for (let row = 0; row < rows; row++) {
    keys.push(...strays.flatMap(([at, stray]) => (at === row ? [stray] : [])), key)
    key += BigInt(steps[row % steps.length])
  }
  return keys
}

describe('dense keys', () => {
  it('are found as a map finds them, one by one and together, with and without room, sorted at once and in pieces', () => {
    const noRoom = new SlabPool({ budget: 0, beside: 0, slabBytes: 1 << 16 })
    const property = fc.property(
      fc.array(part, { maxLength: 4 }),
      fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { maxLength: 5 }),
      fc.constantFrom(undefined, 700, 100),
      (parts, others, mostRows) => {
        const keys = parts.flatMap(keysOf)
        write(keys, mostRows)
        const near = keys.flatMap((key, i) => (i % 7 === 0 ? [key, key + 1n, key - 1n] : []))
        const asked = [...near.map((key) => BigInt.asIntN(64, key)), ...others]
        for (const pool of [null, noRoom]) {
          const run = KeyRun.open(path, 2, keys.length, pool)
          check(run, keys, asked)
          run.close()
        }
        assert.equal(noRoom.held, 0)
      },
    )
    fc.assert(property, { numRuns: 60 * runs })
  })

  it('take little more than a bit each when they are serial, and at most nine when they are not', () => {
    for (const [step, bytes] of [
      [1, 0.15],
      [8, 1.15],
    ] as const) {
      const keys = Array.from({ length: 100_000 }, (_, i) => BigInt(i * step))
      write(keys)
      assert.ok(readFileSync(path).length < bytes * keys.length, `${readFileSync(path).length} bytes`)
      const pool = new SlabPool({ budget: 1 << 20 })
      const run = KeyRun.open(path, 2, keys.length, pool)
      assert.ok(run.memoryBytes < bytes * keys.length + 1000, `${run.memoryBytes} bytes`)
      assert.ok(pool.held > 0.9 * run.memoryBytes)
      run.close()
      assert.equal(pool.held, 0)
    }
  })

  it('are read from the file until there is room for them', () => {
    const keys = Array.from({ length: 10_000 }, (_, i) => BigInt(2 * i))
    write(keys)
    const pool = new SlabPool({ budget: 0, beside: 20_000, slabBytes: 1 << 16 })
    assert.ok(pool.hold(20_000))
    const run = KeyRun.open(path, 2, keys.length, pool)
    assert.ok(run.memoryBytes < 500)
    const asked = [0n, 1n, 2n, 9998n, 19_998n, 19_999n]
    check(run, keys, asked)
    pool.letGo(20_000)
    const absent = wordsOf([5n])
    for (let i = 0; i < 20_000; i++) run.find(absent, 0, () => false)
    assert.ok(pool.held > 2000 && run.memoryBytes > 2000)
    check(run, keys, asked)
    run.close()
    assert.equal(pool.held, 0)
  })

  it('are refused when they are damaged', () => {
    const keys = Array.from({ length: 2000 }, (_, i) => BigInt(3 * i + (i === 1000 ? 100_000 : 0)))
    write(keys)
    const good = readFileSync(path)
    for (let at = 0; at < good.length; at++) {
      const bytes = Buffer.from(good)
      bytes[at] ^= 1 << (at & 7)
      writeFileSync(path, bytes)
      assert.throws(
        () => KeyRun.open(path, 2, keys.length),
        (error) => error instanceof FrazilError && error.kind === 'corrupt',
        `a bit flipped at ${at} of ${good.length}`,
      )
    }
  })
})
