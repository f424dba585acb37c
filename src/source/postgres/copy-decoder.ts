import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import type { SourceEvent, SourceTable } from '../../data/index.ts'
import { refusedColumn, refusedError } from './refused-rows.ts'
import { refusal } from './refusals.ts'
import type { SegmentWriter } from './segment-writer.ts'

const signature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')
const headerBytes = 19
const emptyBytes = Buffer.alloc(0)

/**
 * Decodes `COPY … TO STDOUT (FORMAT binary)` into `copy` events. Rows may lie across messages, though Postgres sends one a
 * message. Throws `unsupported` for a value that cannot be represented, and what the server says.
 */
export class CopyDecoder {
  /** Rows decoded. */
  rows = 0
  readonly #table: SourceTable
  readonly #part: number | null
  readonly #writer: SegmentWriter
  #events: SourceEvent[] = []
  #runFrom = -1
  #headerRead = false
  #trailerRead = false
  /** Start of a row that goes on in the next message. */
  #begun: Buffer = emptyBytes
  /** Where to go on in the message at hand, after waiting for memory. */
  #continueAt = 0

  constructor(table: SourceTable, writer: SegmentWriter, part: number | null = null) {
    this.#table = table
    this.#part = part
    this.#writer = writer
  }

  /** The body of a CopyData message. False: there is no memory now; the same message has to be given again. */
  data(given: Buffer, givenFrom: number, givenTo: number): boolean {
    const joined = this.#begun.length > 0
    const bytes = joined ? Buffer.concat([this.#begun, given.subarray(givenFrom, givenTo)]) : given
    const from = joined ? 0 : givenFrom
    const to = joined ? bytes.length : givenTo
    let at = from + this.#continueAt
    if (!this.#headerRead) {
      const end = readHeader(bytes, from, to)
      if (end === -2) throw this.#corrupt('does not begin as it must')
      if (end === -1) {
        this.#begun = Buffer.from(bytes.subarray(from, to))
        return true
      }
      this.#headerRead = true
      at = end
    }
    while (at < to) {
      if (this.#trailerRead) throw this.#corrupt('goes on behind its end')
      if (to - at >= 2 && bytes[at] === 0xff && bytes[at + 1] === 0xff) {
        this.#trailerRead = true
        at += 2
        continue
      }
      const end = this.#writer.decode(bytes, at, to, -1, -1)
      if (end >= 0) {
        this.#accept()
        at = end
      } else if (end === refusal.wait) {
        this.#continueAt = at - from
        return false
      } else if (end === refusal.malformed && incomplete(bytes, at, to)) {
        break
      } else {
        throw refusedError(this.#table, refusedColumn(this.#table, this.#writer).column, end)
      }
    }
    this.#continueAt = 0
    this.#begun = at < to ? Buffer.from(bytes.subarray(at, to)) : emptyBytes
    return true
  }

  /** CopyDone. */
  done(): void {
    if (this.#begun.length > 0) throw this.#corrupt('ends in the middle of a row')
    if (!this.#trailerRead) throw this.#corrupt('has no end')
  }

  events(): SourceEvent[] {
    this.#closeRun()
    const events = this.#events
    this.#events = []
    return events
  }

  #accept(): void {
    const { segment } = this.#writer
    if (this.#runFrom >= 0 && segment !== this.#segment) this.#closeRun()
    const row = this.#writer.accept()
    if (this.#runFrom < 0) {
      this.#runFrom = row
      this.#segment = segment
    }
    this.#runTo = row + 1
    this.rows++
  }

  #segment: SegmentWriter['segment'] | null = null
  #runTo = 0

  #closeRun(): void {
    if (this.#runFrom < 0 || this.#segment === null) return
    const run = { table: this.#table.id, segment: this.#segment, from: this.#runFrom, to: this.#runTo }
    this.#events.push({ type: 'copy', ...run, ...(this.#part !== null && { part: this.#part }) })
    this.#runFrom = -1
    this.#segment = null
  }

  #corrupt(what: string): FrazilError {
    return new FrazilError('corrupt', 'bad-copy', `the copy of table ${this.#table.sourceName} ${what}`, {
      table: `${this.#table.namespace}.${this.#table.name}`,
    })
  }
}

/** Where the rows begin; −1 when more bytes are needed, −2 when it is not a header. */
function readHeader(bytes: Buffer, from: number, to: number): number {
  if (to - from < headerBytes) return -1
  if (bytes.compare(signature, 0, signature.length, from, from + signature.length) !== 0) return -2
  const end = from + headerBytes + bytes.readUInt32BE(from + 15)
  return end <= to ? end : -1
}

/** Whether a row that begins at `from` needs more bytes than there are. */
function incomplete(bytes: Buffer, from: number, to: number): boolean {
  if (to - from < 2) return true
  const count = bytes.readInt16BE(from)
  let at = from + 2
  for (let i = 0; i < count; i++) {
    if (at + 4 > to) return true
    const size = bytes.readInt32BE(at)
    if (size < -1) return false
    at += 4 + Math.max(size, 0)
    if (at > to) return true
  }
  return false
}
