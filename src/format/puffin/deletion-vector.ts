import { crc32 } from 'node:zlib'
import { FrazilError } from '../../base/index.ts'
import { deserializeBitmap, serializeBitmap } from '../roaring/index.ts'

const magic = 0xd1d33964
const overhead = 12 // length, magic, checksum

/**
 * A `deletion-vector-v1` blob (Puffin specification, "Blob types"): length, magic, 64-bit roaring bitmap, CRC-32.
 * `bits` has bit `p % 8` of byte `p / 8` set for each deleted row position `p`.
 */
export function encodeDeletionVector(bits: Uint8Array): { blob: Uint8Array; cardinality: number } {
  const { bytes, cardinality } = serializeBitmap(bits)
  const blob = new Uint8Array(bytes.length + overhead)
  const view = new DataView(blob.buffer)
  view.setUint32(0, bytes.length + 4)
  view.setUint32(4, magic)
  blob.set(bytes, 8)
  view.setUint32(blob.length - 4, crc32(blob.subarray(4, blob.length - 4)))
  return { blob, cardinality }
}

/** The bitset over the `rows` rows of the data file. Throws `corrupt` (code `bad-deletion-vector`, `bad-bitmap`). */
export function decodeDeletionVector(blob: Uint8Array, rows: number): { bits: Uint8Array; cardinality: number } {
  if (blob.length < overhead + 8) throw malformed('it is too short')
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength)
  if (view.getUint32(0) !== blob.length - 8) throw malformed('its length does not match')
  if (view.getUint32(4) !== magic) throw malformed('its magic number is wrong')
  if (view.getUint32(blob.length - 4) !== crc32(blob.subarray(4, blob.length - 4))) throw malformed('its checksum is wrong')
  return deserializeBitmap(blob.subarray(8, blob.length - 4), rows)
}

function malformed(why: string): FrazilError {
  return new FrazilError('corrupt', 'bad-deletion-vector', `malformed deletion vector: ${why}`)
}
