import type { Field } from '../../data/index.ts'
import type { Producer } from '../source.ts'

/** What a record of the spool says of its rows, where that is not what is usual: written by us alone, as JSON. */
export interface RecordHead {
  /** The columns of the table from these rows on. */
  readonly fields?: readonly Field[]
  /** The body is an Arrow IPC stream; else it is JSON. Rows of it that do not fit were refused. */
  readonly form?: 'arrow'
  /** Who sent them, and with which number. */
  readonly producer?: Producer
  /** Rows of the request that were refused, for whoever asks for its answer again. */
  readonly refused?: number
}

export function encodeHead(head: RecordHead): string | undefined {
  return head.fields || head.form || head.producer || head.refused ? JSON.stringify(head) : undefined
}

export function decodeHead(text: string | undefined): RecordHead {
  // Checked by the record's checksum, and its format by the file's.
  return text === undefined ? {} : (JSON.parse(text) as RecordHead)
}
