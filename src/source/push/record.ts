import { Buffer } from 'node:buffer'
import { crc32 } from 'node:zlib'
import { FrazilError, assert } from '../../base/index.ts'

/** What is to be done with the rows of a request. */
export type RowOperation = 'insert' | 'upsert' | 'delete'

const operations: readonly RowOperation[] = ['insert', 'upsert', 'delete']

/** One accepted request: rows that become visible together. */
export interface SpoolRecord {
  /** Its place in the order of all requests, from 1 on without end: the source's position. */
  readonly sequence: number
  /** When it was accepted. */
  readonly timeMs: number
  /** What the body is for: the id of a table, or as its source writes it. */
  readonly table: string
  readonly operation: RowOperation
  readonly rows: number
  /** What the client called the request, or ''. */
  readonly key: string
  /** With a key, or a producer in the head: CRC-32 of the body as it came, to know a repeated request from another one. Else 0. */
  readonly digest: number
  /** What its source has to know to read the body, as text; absent: nothing. */
  readonly head?: string
  /** The rows as their source wants to read them again; it has checked them. */
  readonly body: Uint8Array
}

/*
 * A spool file is 16 bytes of head (magic, format version as uint32, 0) and records: uint32 length and uint32 CRC-32 of what follows; then
 *   uint8 operation, uint8 1 with a head or 0, 2 bytes 0, uint32 rows, float64 sequence, float64 time, uint32 digest, uint16 length of
 *   the table's id and of the key, table, key, with a head its length as uint32 and the head, body
 * All little-endian. Format 1 is the same without heads.
 */
const magic = 'FRAZSPOL'
const format = 2
export const headBytes = 16
const frameBytes = 8
const fixedBytes = 32
const headFlag = 0x100
/** Bytes before a record's head. */
const headFrame = 4

export function fileHead(): Buffer {
  const head = Buffer.alloc(headBytes)
  head.write(magic, 0, 'latin1')
  head.writeUInt32LE(format, magic.length)
  return head
}

/** Whether a spool file begins with `bytes`; false for a head that was cut short. Throws for a newer format and for other files. */
export function checkHead(bytes: Buffer, path: string): boolean {
  if (bytes.length < headBytes) return false
  const version = bytes.readUInt32LE(magic.length)
  if (bytes.toString('latin1', 0, magic.length) !== magic) {
    throw new FrazilError('corrupt', 'spool-damaged', `${path} is not a spool file`)
  }
  if (version === format || version === 1) return true
  throw new FrazilError('config', 'newer-format', `${path} was written by a newer version (spool format ${version})`, {
    hint: 'Install the newer version of frazil again.',
  })
}

/** The record in two parts: the second is its body, which is not copied. */
export function encodeRecord(record: SpoolRecord): [Buffer, Buffer] {
  const table = Buffer.byteLength(record.table)
  const key = Buffer.byteLength(record.key)
  assert(table <= 0xffff && key <= 0xffff, 'ids and keys are short')
  const { head } = record
  const headLength = head === undefined ? 0 : headFrame + Buffer.byteLength(head)
  const { buffer, byteOffset, byteLength } = record.body
  const body = Buffer.from(buffer, byteOffset, byteLength)
  const bytes = Buffer.allocUnsafe(frameBytes + fixedBytes + table + key + headLength)
  let at = frameBytes
  at = bytes.writeUInt32LE(operations.indexOf(record.operation) | (head === undefined ? 0 : headFlag), at)
  at = bytes.writeUInt32LE(record.rows, at)
  at = bytes.writeDoubleLE(record.sequence, at)
  at = bytes.writeDoubleLE(record.timeMs, at)
  at = bytes.writeUInt32LE(record.digest, at)
  at = bytes.writeUInt16LE(table, at)
  at = bytes.writeUInt16LE(key, at)
  at += bytes.write(record.table, at)
  at += bytes.write(record.key, at)
  if (head !== undefined) {
    at = bytes.writeUInt32LE(headLength - headFrame, at)
    at += bytes.write(head, at)
  }
  bytes.writeUInt32LE(bytes.length - frameBytes + byteLength, 0)
  bytes.writeUInt32LE(crc32(body, crc32(bytes.subarray(frameBytes))), 4)
  return [bytes, body]
}

/** The record at `at` and where the next one is; null when there is no whole one. */
export function decodeRecord(bytes: Buffer, at: number): { readonly record: SpoolRecord; readonly next: number } | null {
  if (bytes.length - at < frameBytes + fixedBytes) return null
  const length = bytes.readUInt32LE(at)
  const from = at + frameBytes
  if (length < fixedBytes || length > bytes.length - from) return null
  const next = from + length
  if (crc32(bytes.subarray(from, next)) !== bytes.readUInt32LE(at + 4)) return null
  const tableAt = from + fixedBytes
  const keyAt = tableAt + bytes.readUInt16LE(from + 28)
  const keyEnd = keyAt + bytes.readUInt16LE(from + 30)
  const flags = bytes.readUInt32LE(from)
  const hasHead = (flags & headFlag) !== 0
  const operation = operations.at(flags & ~headFlag)
  if (operation === undefined || keyEnd + (hasHead ? headFrame : 0) > next) return null
  const bodyAt = hasHead ? keyEnd + headFrame + bytes.readUInt32LE(keyEnd) : keyEnd
  if (bodyAt > next) return null
  const record = {
    operation,
    rows: bytes.readUInt32LE(from + 4),
    sequence: bytes.readDoubleLE(from + 8),
    timeMs: bytes.readDoubleLE(from + 16),
    digest: bytes.readUInt32LE(from + 24),
    table: bytes.toString('utf8', tableAt, keyAt),
    key: bytes.toString('utf8', keyAt, keyEnd),
    ...(hasHead ? { head: bytes.toString('utf8', keyEnd + headFrame, bodyAt) } : {}),
    body: bytes.subarray(bodyAt, next),
  }
  return { record, next }
}
