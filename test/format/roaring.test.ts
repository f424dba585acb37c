import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { FrazilError } from '../../src/base/index.ts'
import { deserializeBitmap, serializeBitmap } from '../../src/format/roaring/index.ts'

const corrupt = { kind: 'corrupt', code: 'bad-bitmap' }

function bitset(length: number, positions: Iterable<number>): Uint8Array {
  const bits = new Uint8Array(Math.ceil(length / 8))
  for (const position of positions) bits[Math.floor(position / 8)] |= 1 << (position % 8)
  return bits
}

function* range(start: number, end: number, step = 1): Generator<number> {
  for (let i = start; i < end; i += step) yield i
}

test('iceberg check 48: containers of every kind and at every border survive', () => {
  const cases: Record<string, Iterable<number>> = {
    'array of 4096': range(0, 8192, 2),
    'bitset of 4097': range(0, 8194, 2),
    'one run': range(10, 60_000),
    'a run over containers': range(60_000, 200_000),
    'full container': range(65_536, 131_072),
    'last bit': [999_999],
    'five containers with runs': [...range(0, 100), 65_537, ...range(131_072, 131_300), 200_000, ...range(262_144, 262_150)],
  }
  for (const [name, positions] of Object.entries(cases)) {
    const bits = bitset(1_000_000, positions)
    const { bytes, cardinality } = serializeBitmap(bits)
    const back = deserializeBitmap(bytes, 1_000_000)
    assert.deepEqual(back.bits, bits, name)
    assert.equal(back.cardinality, cardinality, name)
  }
})

test('iceberg check 48: the offset header is there without runs, and with runs from four containers on', () => {
  const header = (containers: number, withRun: boolean) => {
    const positions = [...range(0, containers)].flatMap((i) => [i * 65_536])
    if (withRun) positions.push(...range(1, 100))
    return serializeBitmap(bitset(containers * 65_536, positions)).bytes.length
  }
  // count, key, cookie, container count, key and cardinality, offsets, values
  assert.equal(header(3, false), 8 + 4 + 8 + 12 + 12 + 6)
  // count, key, cookie, flags, key and cardinality, run container, values
  assert.equal(header(3, true), 8 + 4 + 4 + 1 + 12 + 6 + 4)
  assert.equal(header(4, true), 8 + 4 + 4 + 1 + 16 + 16 + 6 + 6)
})

test('any bitset comes back as it was', () => {
  const positions = fc.oneof(
    fc.uniqueArray(fc.integer({ min: 0, max: 299_999 }), { maxLength: 500 }),
    fc
      .array(fc.tuple(fc.integer({ min: 0, max: 299_000 }), fc.integer({ min: 1, max: 1000 })), { maxLength: 40 })
      .map((runs) => runs.flatMap(([start, length]) => [...range(start, start + length)])),
  )
  fc.assert(
    fc.property(positions, (chosen) => {
      const bits = bitset(300_000, chosen)
      const { bytes, cardinality } = serializeBitmap(bits)
      assert.equal(cardinality, new Set(chosen).size)
      assert.deepEqual(deserializeBitmap(bytes, 300_000), { bits, cardinality })
    }),
    { numRuns: 100 },
  )
})

test('positions beyond the last row are refused', () => {
  for (const positions of [[100], [...range(50, 101)], [...range(0, 101, 2)]]) {
    const { bytes } = serializeBitmap(bitset(200, positions))
    assert.throws(() => deserializeBitmap(bytes, 100), corrupt)
    deserializeBitmap(bytes, 101)
  }
  const { bytes } = serializeBitmap(bitset(10_000, range(0, 9_999, 2)))
  assert.throws(() => deserializeBitmap(bytes, 9_998), corrupt)
})

test('iceberg check 49: cut and changed bytes are refused or give some other bitmap, never anything else', () => {
  const { bytes } = serializeBitmap(bitset(300_000, [...range(0, 5000), ...range(70_000, 90_000, 2), 200_000]))
  for (let length = 0; length < bytes.length; length += 1 + Math.floor(length / 50)) {
    assert.throws(() => deserializeBitmap(bytes.subarray(0, length), 300_000), corrupt)
  }
  assert.throws(() => deserializeBitmap(Buffer.concat([bytes, Buffer.alloc(1)]), 300_000), corrupt)
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const changed = bytes.slice()
      changed[at] ^= change
      try {
        deserializeBitmap(changed, 300_000)
      } catch (error) {
        assert.ok(error instanceof FrazilError && error.code === corrupt.code, String(error))
      }
    }),
  )
})
