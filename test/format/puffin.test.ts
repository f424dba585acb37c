import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeDeletionVector, encodeDeletionVector, readPuffin, writePuffin } from '../../src/format/puffin/index.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

function bitset(length: number, positions: readonly number[]): Uint8Array {
  const bits = new Uint8Array(Math.ceil(length / 8))
  for (const position of positions) bits[Math.floor(position / 8)] |= 1 << (position % 8)
  return bits
}

/** Written by Java (apache/iceberg, core/src/test/resources/org/apache/iceberg/deletes). */
const golden = {
  empty: '0000000c d1d33964 0000000000000000 bf18480c',
  small: `0000002a d1d33964 0100000000000000 00000000 3a300000 01000000 0000 0400 10000000
    0100 0300 0500 0700 0900 b3fb20be`,
  large: `00000030 d1d33964 0100000000000000 00000000 3a300000 02000000 0000 0100 0080 0100 18000000 1c000000
    6400 6500 6300 6400 15eb1c7c`,
  containers: `00000056 d1d33964 0200000000000000
    00000000 3b300200 06 0000 0100 0100 e603 0200 fdff 0500 0700 0100 0100 e603 0100 0100 fdff
    01000000 3b300200 06 0000 0100 0100 e901 0200 fdff 0a00 1400 0100 0a00 e901 0100 0100 fdff c89be397`,
}
const blobs = Object.fromEntries(Object.entries(golden).map(([name, text]) => [name, hex(text.replaceAll('\n', ''))]))

test('iceberg check 47: golden vectors are written byte for byte', () => {
  const write = (bits: Uint8Array) => Buffer.from(encodeDeletionVector(bits).blob).toString('hex')
  assert.equal(write(new Uint8Array(100)), blobs.empty.toString('hex'))
  assert.equal(write(bitset(10, [1, 3, 5, 7, 9])), blobs.small.toString('hex'))
  assert.equal(write(bitset(2 ** 31 + 101, [100, 101, 2147483747, 2147483748])), blobs.large.toString('hex'))
})

test('iceberg check 47: golden vectors are read', () => {
  const positions = (blob: Uint8Array, rows: number) => {
    const { bits, cardinality } = decodeDeletionVector(blob, rows)
    const found: number[] = []
    for (let i = 0; i < bits.length; i++) {
      if (bits[i] !== 0) for (let bit = 0; bit < 8; bit++) if ((bits[i] >> bit) & 1) found.push(i * 8 + bit)
    }
    assert.equal(found.length, cardinality)
    return found
  }
  assert.deepEqual(positions(blobs.empty, 10), [])
  assert.deepEqual(positions(blobs.small, 10), [1, 3, 5, 7, 9])
  assert.deepEqual(positions(blobs.large, 2147483749), [100, 101, 2147483747, 2147483748])
})

test('iceberg check 48: array and run containers over two keys are read, and written again byte for byte', () => {
  const { bits, cardinality } = decodeDeletionVector(blobs.containers, 2 ** 32 + 196_607)
  const isSet = (position: number) => (bits[Math.floor(position / 8)] >> (position % 8)) & 1
  assert.equal(cardinality, 2 + 999 + 65_534 + 2 + 490 + 65_534)
  for (const base of [0, 2 ** 32]) {
    for (const [start, end] of [[131_073, 196_607], base === 0 ? [65_537, 66_536] : [65_546, 66_036]]) {
      assert.deepEqual(
        [start - 1, start, end - 1, end].map((at) => (base + at === bits.length * 8 ? 0 : isSet(base + at))),
        [0, 1, 1, 0],
      )
    }
  }
  assert.equal(Buffer.from(encodeDeletionVector(bits).blob).toString('hex'), blobs.containers.toString('hex'))
})

test('iceberg check 49: a wrong length, magic, checksum or cut vector is refused', () => {
  const corrupt = { kind: 'corrupt', code: 'bad-deletion-vector' }
  for (let at = 0; at < blobs.small.length; at++) {
    const changed = Uint8Array.from(blobs.small)
    changed[at] ^= 1
    assert.throws(() => decodeDeletionVector(changed, 10), corrupt)
  }
  for (let length = 0; length < blobs.small.length; length++) {
    assert.throws(() => decodeDeletionVector(blobs.small.subarray(0, length), 10), corrupt)
  }
})

const footer = {
  type: 'deletion-vector-v1',
  fields: [2147483645],
  snapshotId: -1n,
  sequenceNumber: -1n,
  properties: { 'referenced-data-file': 's3://b/t/data/f.parquet', cardinality: '5' },
}

test('iceberg check 47: an empty Puffin file is written and read byte for byte', () => {
  const { bytes } = writePuffin([], {})
  assert.equal(Buffer.from(bytes).toString('hex'), '50464131504641317b22626c6f6273223a5b5d7d0c0000000000000050464131')
  assert.deepEqual(readPuffin(bytes), { blobs: [], properties: {} })
})

test('iceberg check 51: flags are zero, ids are -1, and the vector is where the footer says', () => {
  const { bytes, offsets } = writePuffin([{ ...footer, bytes: blobs.small }], { 'created-by': 'example' })
  assert.equal(bytes.length, 314)
  assert.equal(Buffer.from(bytes.subarray(0, 12)).toString('hex'), '504641310000002ad1d33964')
  assert.equal(Buffer.from(bytes.subarray(-12)).toString('hex'), 'f40000000000000050464131')
  assert.deepEqual(offsets, [4])
  const payload = JSON.parse(Buffer.from(bytes.subarray(-12 - 244, -12)).toString())
  assert.equal(payload.blobs[0]['snapshot-id'], -1)
  assert.equal(payload.blobs[0]['sequence-number'], -1)
  const [blob] = readPuffin(bytes).blobs
  assert.deepEqual([blob.offset, blob.length, blob.properties.cardinality], [4, 50, '5'])
  assert.deepEqual(Buffer.from(bytes.subarray(blob.offset, blob.offset + blob.length)), blobs.small)
})

test('a cut or changed Puffin file is refused', () => {
  const { bytes } = writePuffin([{ ...footer, bytes: blobs.small }], {})
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => readPuffin(bytes.subarray(0, length)), { kind: 'corrupt' })
  }
  const compressed = Uint8Array.from(bytes)
  compressed[bytes.length - 8] = 1
  assert.throws(() => readPuffin(compressed), { kind: 'unsupported', code: 'compressed-puffin' })
  const outside = Buffer.from(Buffer.from(bytes).toString('latin1').replace('"length":50', '"length":99'), 'latin1')
  assert.throws(() => readPuffin(outside), { kind: 'corrupt', code: 'bad-puffin' })
})
