import { FrazilError } from '../../base/index.ts'

/** First bytes of pgoutput's messages (PostgreSQL documentation, "Logical Replication Message Formats"). */
export const tag = {
  begin: 0x42, // B
  commit: 0x43, // C
  origin: 0x4f, // O
  relation: 0x52, // R
  type: 0x59, // Y
  insert: 0x49, // I
  update: 0x55, // U
  delete: 0x44, // D
  truncate: 0x54, // T
  message: 0x4d, // M
  streamStart: 0x53, // S
  streamStop: 0x45, // E
  streamCommit: 0x63, // c
  streamAbort: 0x41, // A
} as const

/** Kinds of tuples in a change. */
export const newTuple = 0x4e // N
export const keyTuple = 0x4b // K
export const oldTuple = 0x4f // O

/** A message that does not have the form that it should have. */
export function corrupt(what: string, from: number, to: number): FrazilError {
  return new FrazilError('corrupt', 'bad-message', `the replication stream has a malformed ${what} of ${to - from} bytes`)
}

export function unknownKind(kind: number): FrazilError {
  return new FrazilError('corrupt', 'bad-message', `the replication stream has a message of unknown kind ${kind}`)
}

const epochMs = 946_684_800_000

/** Microseconds since 2000 as milliseconds since 1970. */
export function timeMs(bytes: Buffer, at: number): number {
  return Math.floor((bytes.readInt32BE(at) * 4294967296 + bytes.readUInt32BE(at + 4)) / 1000) + epochMs
}
