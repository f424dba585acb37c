import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError, SlabPool, seededRandom } from '../../src/base/index.ts'
import { compareKeys, sortedOrder } from '../../src/table/key-order.ts'
import { KeyRunBuilder } from '../../src/table/key-run-builder.ts'
import { KeyRun } from '../../src/table/key-run.ts'
import { OpenRuns } from '../../src/table/open-runs.ts'

const runs = Number(process.env['FRAZIL_SEEDS'] ?? 1)
const folder = mkdtempSync(join(tmpdir(), 'frazil-runs-'))
after(() => rmSync(folder, { recursive: true }))
let nextFile = 0

type Width = 2 | 4

/** A file is asked for at each read of a block. */
class CountedReads extends OpenRuns {
  count = 0

  override descriptor(path: string): number {
    this.count++
    return super.descriptor(path)
  }
}

function builderOf(path: string, keys: readonly (readonly number[])[], width: Width, mostRows?: number): KeyRunBuilder {
  const builder = new KeyRunBuilder(path, width, mostRows)
  for (let from = 0; from < keys.length; from += 100) {
    const part = keys.slice(from, from + 100)
    const { words, at } = builder.reserve(part.length)
    part.forEach((key, i) => words.set(key, at + i * width))
  }
  assert.equal(builder.rows, keys.length)
  return builder
}

function written(keys: readonly (readonly number[])[], width: Width, mostRows?: number): string {
  const path = join(folder, 'deeper', `${nextFile++}.run`)
  const size = builderOf(path, keys, width, mostRows).write()
  assert.equal(readFileSync(path).length, size)
  return path
}

function positionsOf(run: KeyRun, key: readonly number[]): number[] {
  const words = Int32Array.from([9, ...key])
  const found: number[] = []
  const stopped = run.find(words, 1, (position) => {
    found.push(position)
    return false
  })
  assert.equal(stopped, false)
  return found
}

function checkAgainstModel(keys: readonly (readonly number[])[], width: Width, absent: readonly (readonly number[])[]): void {
  const path = written(keys, width)
  const run = KeyRun.open(path, width, keys.length)
  const model = new Map<string, number[]>()
  for (const [position, key] of keys.entries()) model.set(key.join(), [...(model.get(key.join()) ?? []), position])
  for (const [text, positions] of model) {
    const key = text.split(',').map(Number)
    // Long groups forget the rows that were refused: a fresh look sees them all.
    const fresh = KeyRun.open(path, width, keys.length)
    assert.deepEqual(positionsOf(fresh, key), positions)
    fresh.close()
  }
  for (const key of absent) {
    if (!model.has(key.join())) assert.deepEqual(positionsOf(run, key), [])
  }
  run.close()
  run.close()
}

const extremes = [-(2 ** 31), -1, 0, 1, 2 ** 31 - 1]
const lane = fc.oneof(
  fc.constantFrom(...extremes),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.integer({ min: -3, max: 3 }),
)

function keyOf(width: Width): fc.Arbitrary<number[]> {
  return fc.array(lane, { minLength: width, maxLength: width })
}

function exactWords(value: bigint): number[] {
  return [Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(64, value) >> 32n)]
}

describe('key run', () => {
  for (const width of [2, 4] as const) {
    it(`finds every row by its key, ${width} words`, () => {
      const table = fc
        .array(keyOf(width), { minLength: 1, maxLength: 60 })
        .chain((pool) =>
          fc.tuple(fc.array(fc.constantFrom(...pool), { maxLength: 900 }), fc.array(keyOf(width), { maxLength: 20 })),
        )
      const property = fc.property(table, ([keys, absent]) => checkAgainstModel(keys, width, absent))
      fc.assert(property, { numRuns: 60 * runs })
    })
  }

  for (const rows of [0, 1, 2, 255, 256, 257, 511, 512, 513, 16_384, 16_385]) {
    it(`of ${rows} rows, sorted, backwards and shuffled`, () => {
      const random = seededRandom(rows)
      const values = Array.from({ length: rows }, (_, i) => BigInt(i - (rows >> 1)) * 0x1_2345_6789n)
      const sorted = values.map(exactWords)
      for (const keys of [
        sorted,
        sorted.toReversed(),
        sorted
          .map((key) => ({ key, at: random.next() }))
          .toSorted((a, b) => a.at - b.at)
          .map(({ key }) => key),
      ]) {
        const run = KeyRun.open(written(keys, 2), 2, rows)
        const step = Math.max(1, Math.floor(rows / 600))
        for (let i = 0; i < rows; i += step) assert.deepEqual(positionsOf(run, keys[i]), [i])
        const between = rows === 0 ? [] : [values[0] - 1n, values[rows - 1] + 1n]
        for (const other of [-(2n ** 63n), 2n ** 63n - 1n, 7n, ...between]) {
          if (!values.includes(other)) assert.deepEqual(positionsOf(run, exactWords(other)), [])
        }
        run.close()
      }
    })
  }

  it('is ordered by signed 64-bit numbers', () => {
    const values = [2n ** 63n - 1n, -(2n ** 63n), -1n, 0n, 1n, 2n ** 31n, -(2n ** 31n), 2n ** 32n, -(2n ** 32n), 2n ** 32n - 1n]
    const words = Int32Array.from(values.flatMap(exactWords))
    const order = sortedOrder(words, 2, values.length) ?? assert.fail('not sorted')
    assert.deepEqual(
      [...order].map((i) => values[i]),
      values.toSorted((a, b) => (a < b ? -1 : 1)),
    )
    for (const [a, x] of values.entries()) {
      for (const [b, y] of values.entries())
        assert.equal(Math.sign(compareKeys(words, 2 * a, words, 2 * b, 2)), x < y ? -1 : x > y ? 1 : 0)
    }
  })

  it('remembers dead rows of long groups, across blocks, and finds the first live one', () => {
    const groups = [1, 7, 8, 9, 255, 256, 257, 700, 1]
    const keys = groups.flatMap((count, group) => Array.from({ length: count }, () => exactWords(BigInt(group))))
    const run = KeyRun.open(written(keys, 2), 2, keys.length)
    const dead = new Set<number>()
    const random = seededRandom(3)
    const live = groups.map((count, group) => {
      const from = groups.slice(0, group).reduce((sum, n) => sum + n, 0)
      return Array.from({ length: count }, (_, i) => from + i)
    })
    let visits = 0
    const kill = (position: number): boolean => {
      visits++
      if (dead.has(position)) return false
      dead.add(position)
      return true
    }
    let left = keys.length
    while (left > 0) {
      const group = random.below(groups.length)
      const words = Int32Array.from(exactWords(BigInt(group)))
      const isAlive = (position: number): boolean => !dead.has(position)
      assert.equal(run.find(words, 0, isAlive), live[group].length > 0, 'looking does not kill')
      const found = run.find(words, 0, kill)
      assert.equal(found, live[group].length > 0)
      const position = live[group].shift()
      if (position === undefined) continue
      assert.ok(dead.has(position), 'rows go in their order')
      left--
    }
    for (let group = 0; group < groups.length; group++) {
      assert.equal(run.find(Int32Array.from(exactWords(BigInt(group))), 0, kill), false)
    }
    assert.ok(visits < keys.length * 20, `${visits} visits for ${keys.length} rows`)
    run.close()
  })

  it('refuses damage wherever it is', () => {
    for (const [rows, width] of [
      [1, 2],
      [300, 2],
      [300, 4],
      [0, 4],
    ] as const) {
      const random = seededRandom(rows)
      const keys = Array.from({ length: rows }, () => Array.from({ length: width }, () => random.below(2 ** 32) | 0))
      const path = written(keys, width)
      const good = readFileSync(path)
      const refused = (bytes: Uint8Array, what: string): void => {
        const bad = join(folder, 'bad.run')
        writeFileSync(bad, bytes)
        let run: KeyRun
        try {
          run = KeyRun.open(bad, width, rows)
        } catch (error) {
          assert.ok(error instanceof FrazilError && error.kind === 'corrupt', what)
          return
        }
        // Other blocks than the last are checked when they are read; the file is built anew then.
        assert.throws(() => [...run.blocks()], { kind: 'unavailable', code: 'key-run' }, what)
        assert.ok(!existsSync(bad), what)
        run.close()
      }
      for (let at = 0; at < good.length; at += good.length > 1000 && at < good.length - 60 ? 37 : 1) {
        const bytes = Buffer.from(good)
        bytes[at] ^= 1 << (at & 7)
        refused(bytes, `a bit flipped at ${at} of ${good.length}`)
      }
      for (let length = 0; length < good.length; length += good.length > 1000 ? 41 : 1)
        refused(good.subarray(0, length), `cut at ${length}`)
      refused(good.subarray(0, -1), 'without its last byte')
      refused(Buffer.concat([good, Buffer.alloc(1)]), 'with a byte too many')
      refused(Buffer.concat([good, good]), 'twice')
      const other = (otherWidth: Width, otherRows: number): void => {
        assert.throws(() => KeyRun.open(path, otherWidth, otherRows), { kind: 'corrupt', code: 'key-run' })
      }
      other(width, rows + 1)
      if (rows > 0) other(width, rows - 1)
      other(width === 2 ? 4 : 2, rows)
      KeyRun.open(path, width, rows).close()
    }
    assert.throws(() => KeyRun.open(join(folder, 'none.run'), 2, 1), { code: 'ENOENT' })
  })

  it('is the same when its keys were sorted in pieces, and nothing else is left', () => {
    const random = seededRandom(7)
    for (const width of [2, 4] as const) {
      for (const rows of [100, 101, 999, 30_000]) {
        // Few different keys, so that equal ones lie in many pieces; and growing ones.
        const keys = Array.from({ length: rows }, (_, i) =>
          Array.from({ length: width }, () =>
            rows === 999 ? i : random.below(2) === 0 ? random.below(7) - 3 : random.below(2 ** 32) | 0,
          ),
        )
        const whole = readFileSync(written(keys, width))
        for (const most of [1, 250, 8192])
          assert(readFileSync(written(keys, width, most)).equals(whole), `${rows} rows, ${most} at a time`)
      }
    }
    const given = builderOf(
      join(folder, 'deeper', 'given-up.run'),
      Array.from({ length: 500 }, (_, i) => [i, 0]),
      2,
      100,
    )
    const left = (): string[] => readdirSync(join(folder, 'deeper')).filter((name) => !name.endsWith('.run'))
    assert.equal(left().length, 1)
    given.discard()
    assert.deepEqual(left(), [])
  })

  it('has few files open, whatever the number of runs, and says when one is gone', () => {
    const files = new OpenRuns(3)
    const keys = Array.from({ length: 600 }, (_, i) => [9 * i, 0])
    const opened = Array.from({ length: 10 }, () => KeyRun.open(written(keys, 2), 2, keys.length, null, files))
    const random = seededRandom(3)
    for (let i = 0; i < 300; i++) {
      const key = random.below(keys.length)
      assert.deepEqual(positionsOf(opened[random.below(10)], keys[key]), [key])
      assert.ok(files.size <= 3)
    }
    for (const run of opened.slice(0, 9)) run.close()
    const [last] = opened.slice(9)
    assert.deepEqual([positionsOf(last, [0, 0]), files.size], [[0], 1])
    files.close(last.path)
    rmSync(last.path)
    assert.throws(() => positionsOf(last, [9 * 599, 0]), { kind: 'unavailable', code: 'key-run' })
    last.close()
    assert.equal(files.size, 0)
  })

  it('keeps 1.4 bytes of a key in memory, and counts its filter', () => {
    const pool = new SlabPool({ budget: 1 << 20, beside: 1 << 20 })
    const keys = Array.from({ length: 200_000 }, (_, i) => [9 * i, 0])
    const run = KeyRun.open(written(keys, 2), 2, keys.length, pool)
    assert.ok(run.memoryBytes < 1.4 * keys.length, `${run.memoryBytes} bytes`)
    assert.ok(pool.held > 1.2 * keys.length && pool.held < run.memoryBytes)
    run.close()
    run.close()
    assert.equal(pool.held, 0)
  })

  it('finds the same without a filter, which it asks for again when others have gone', () => {
    const pool = new SlabPool({ budget: 256 << 10 })
    const keys = Array.from({ length: 100_000 }, (_, i) => [20 * i, 0])
    const path = written(keys, 2)
    const firstReads = new CountedReads()
    const first = KeyRun.open(path, 2, keys.length, pool, firstReads)
    const full = pool.held
    assert.ok(full > keys.length)
    const secondReads = new CountedReads()
    const second = KeyRun.open(written(keys, 2), 2, keys.length, pool, secondReads)
    assert.equal(pool.held, full, 'there is room for one')
    assert.ok(second.memoryBytes < 0.1 * keys.length)
    // One in the middle of each block but the last one, which is shorter.
    const absent = Array.from({ length: 390 }, (_, block) => Int32Array.from([20 * (256 * block + 128) + 1, 0]))
    const readsFor = (run: KeyRun, reads: CountedReads, words: readonly Int32Array[] = absent): number => {
      const before = reads.count
      for (const key of words)
        assert.equal(
          run.find(key, 0, () => assert.fail('the key is absent')),
          false,
        )
      return reads.count - before
    }
    assert.ok(readsFor(first, firstReads) < 39)
    assert.equal(readsFor(second, secondReads), absent.length)
    assert.equal(readsFor(second, secondReads, [Int32Array.from([-1, 0]), Int32Array.from([2_000_000, 0])]), 0)
    for (const position of [0, 1, 77_777, 99_999]) assert.deepEqual(positionsOf(second, keys[position]), [position])
    assert.deepEqual(positionsOf(second, [1, 0]), [])
    first.close()
    for (let round = 0; round < 45; round++) readsFor(second, secondReads)
    assert.equal(pool.held, full)
    const withFilter = new CountedReads()
    const other = KeyRun.open(path, 2, keys.length, null, withFilter)
    assert.equal(readsFor(second, secondReads), readsFor(other, withFilter), 'the filter is the one of the file')
    other.close()
    for (const position of [0, 1, 77_777, 99_999]) assert.deepEqual(positionsOf(second, keys[position]), [position])
    second.close()
    assert.equal(pool.held, 0)
  })

  it('leaves no half-written file behind', () => {
    assert.throws(() => builderOf(folder, [[1, 2]], 2).write())
    assert.deepEqual(
      readdirSync(tmpdir()).filter((name) => name.startsWith(`${folder.split('/').at(-1)}.`)),
      [],
    )
  })
})

describe('sorted order', () => {
  it('is the stable sort', () => {
    for (const width of [2, 4] as const) {
      const property = fc.property(
        fc.array(fc.oneof(keyOf(width), fc.constant(Array.from({ length: width }, () => 5))), { maxLength: 300 }),
        (keys) => {
          const words = Int32Array.from(keys.flat())
          const expected = keys.map((_, i) => i).sort((a, b) => compareKeys(words, a * width, words, b * width, width) || a - b)
          const order = sortedOrder(words, width, keys.length)
          assert.deepEqual(order === null ? keys.map((_, i) => i) : [...order], expected)
          assert.equal(
            order === null,
            expected.every((row, i) => row === i),
            'null exactly when in order',
          )
        },
      )
      fc.assert(property, { numRuns: 150 * runs })
    }
  })
})
