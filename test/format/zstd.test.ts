import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { decompressZstd, zstdCompressor } from '../../src/format/compression/index.ts'

const compress = zstdCompressor(1)
const sizes = [0, 1, 100, 8192, 131_072, 131_073, 1 << 20, (2 << 20) + 1]

/** Bytes of which a quarter says something new. */
function sample(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size)
  let state = seed + 1
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    bytes[i] = (state >>> 28) * (i % 4 === 0 ? 1 : 0)
  }
  return bytes
}

/** What the documented function makes of it: bytes, or the code of its error. */
function documented(bytes: Uint8Array, size: number): Uint8Array | string {
  return outcome(() => zstdDecompressSync(bytes, { maxOutputLength: size, chunkSize: size + 64 }))
}

function outcome(run: () => Uint8Array): Uint8Array | string {
  try {
    return new Uint8Array(run())
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'none'
  }
}

test('what is compressed one after another comes back, by the documented functions too', () => {
  for (const [i, size] of [...sizes, ...sizes.toReversed()].entries()) {
    const bytes = sample(size, i)
    const packed = compress(bytes)
    assert.deepEqual(new Uint8Array(zstdDecompressSync(packed)), bytes)
    assert.deepEqual(decompressZstd(packed, size), bytes)
    assert.deepEqual(decompressZstd(zstdCompressSync(bytes), size), bytes)
  }
})

test('results have memory of their own', () => {
  const bytes = sample(10_000, 1)
  const [first, second] = [compress(bytes), compress(sample(10_000, 2))]
  assert.equal(first.buffer.byteLength, first.length)
  assert.notEqual(first.buffer, second.buffer)
  const read = decompressZstd(first, bytes.length)
  decompressZstd(second, bytes.length)
  assert.deepEqual(read, bytes)
})

test('what does not decompress is refused as the documented function does, and the next frame is read all the same', () => {
  const good = sample(5000, 3)
  const packed = compress(good)
  const checked = zstdCompressSync(good, { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
  fc.assert(
    fc.property(
      fc.constantFrom(packed, checked),
      fc.nat({ max: checked.length }),
      fc.option(fc.record({ at: fc.nat({ max: checked.length - 1 }), bits: fc.integer({ min: 1, max: 255 }) })),
      fc.nat({ max: 3 }),
      fc.constantFrom(0, 4999, 5000, 5001, 9000),
      (frame, length, change, more, size) => {
        const bytes = new Uint8Array([...frame.subarray(0, length), ...new Uint8Array(more)])
        if (change && change.at < bytes.length) bytes[change.at] ^= change.bits
        assert.deepEqual(
          outcome(() => decompressZstd(bytes, size)),
          documented(bytes, size),
        )
        assert.deepEqual(decompressZstd(packed, good.length), good)
      },
    ),
    { numRuns: 300 },
  )
})
