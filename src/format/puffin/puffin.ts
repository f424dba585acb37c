import { FrazilError } from '../../base/index.ts'
import { encodeJson, isJsonArray, isJsonObject, parseJson } from '../json/index.ts'
import type { JsonObject } from '../json/index.ts'

/** A blob to be written, with what the footer says about it besides offset and length. */
export interface PuffinBlob {
  readonly type: string
  readonly fields: readonly number[]
  readonly snapshotId: bigint
  readonly sequenceNumber: bigint
  readonly properties: Readonly<Record<string, string>>
  readonly bytes: Uint8Array
}

/** What the footer says about one blob. */
export interface PuffinBlobInfo {
  readonly type: string
  readonly offset: number
  readonly length: number
  readonly compression: string | null
  readonly properties: Readonly<Record<string, string>>
}

const magic = Uint8Array.of(0x50, 0x46, 0x41, 0x31) // PFA1
const trailer = 12 // payload size, flags, magic

/** A Puffin file (Puffin specification, "Format"): never compressed, because several readers refuse a compressed footer. */
export function writePuffin(
  blobs: readonly PuffinBlob[],
  properties: Readonly<Record<string, string>>,
): { bytes: Uint8Array; offsets: number[] } {
  const offsets: number[] = []
  let offset = magic.length
  const described: JsonObject[] = []
  for (const blob of blobs) {
    offsets.push(offset)
    described.push({
      type: blob.type,
      fields: blob.fields,
      'snapshot-id': blob.snapshotId,
      'sequence-number': blob.sequenceNumber,
      offset,
      length: blob.bytes.length,
      properties: blob.properties,
    })
    offset += blob.bytes.length
  }
  const footer: JsonObject =
    Object.keys(properties).length === 0 ? { blobs: described } : { blobs: described, properties: { ...properties } }
  const payload = Buffer.from(encodeJson(footer))
  const size = Buffer.alloc(8) // payload size, then four flag bytes that are all zero
  size.writeInt32LE(payload.length)
  const bytes = Buffer.concat([magic, ...blobs.map((blob) => blob.bytes), magic, payload, size, magic])
  return { bytes, offsets }
}

/** The footer of a whole Puffin file. Throws `corrupt` (code `bad-puffin`), `unsupported` for a compressed footer. */
export function readPuffin(bytes: Uint8Array): { blobs: PuffinBlobInfo[]; properties: Readonly<Record<string, string>> } {
  const end = bytes.length - trailer
  if (end < 2 * magic.length || !hasMagic(bytes, 0) || !hasMagic(bytes, bytes.length - 4)) throw malformed('its magic is missing')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const size = view.getInt32(end, true)
  const flags = view.getUint32(end + 4, true)
  if (flags === 1) throw new FrazilError('unsupported', 'compressed-puffin', 'the footer of a Puffin file is compressed')
  if (flags !== 0) throw malformed('it has unknown flags')
  const start = end - size
  if (size < 0 || start < 2 * magic.length || !hasMagic(bytes, start - 4)) throw malformed('its footer size is wrong')
  const footer = parseJson(Buffer.from(bytes.buffer, bytes.byteOffset + start, size).toString())
  if (!isJsonObject(footer) || !isJsonArray(footer.blobs)) throw malformed('its footer lists no blobs')
  const blobs = footer.blobs.map((blob) => {
    if (!isJsonObject(blob)) throw malformed('its footer has a blob that is no object')
    const { type, offset, length } = blob
    const compression = blob['compression-codec'] ?? null
    if (typeof type !== 'string' || typeof offset !== 'number' || typeof length !== 'number')
      throw malformed('a blob lacks a field')
    if (offset < magic.length || length < 0 || offset + length > start - 4) throw malformed('a blob lies outside the file')
    if (compression !== null && typeof compression !== 'string') throw malformed('a blob has a bad compression codec')
    return { type, offset, length, compression, properties: texts(blob.properties) }
  })
  return { blobs, properties: texts(footer.properties) }
}

function texts(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}

function hasMagic(bytes: Uint8Array, at: number): boolean {
  return magic.every((byte, i) => bytes[at + i] === byte)
}

function malformed(why: string): FrazilError {
  return new FrazilError('corrupt', 'bad-puffin', `malformed Puffin file: ${why}`)
}
