import type { SourceEvent } from '../../data/index.ts'
import { FrazilError } from '../../base/index.ts'
import type { ChangeDecoder } from './change-decoder.ts'
import { checkNotice, serverError } from './errors.ts'
import type { FrameDecoder } from './event-pump.ts'
import { parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'

const headerBytes = 19
const rowHeaderBytes = 6

/** What the server says behind a round's changes. */
export interface RoundEnd {
  /** The slot's copy has been read up to here: every transaction that ended before was given out. */
  readonly end: Lsn
  /** End of the log then. */
  readonly head: Lsn
}

/**
 * Decodes a round of {@link Backlog}: `COPY` in binary form with one pgoutput message in each row, then a row of two positions.
 * The messages go to the stream's own decoder, which does not notice where they come from.
 */
export class BacklogDecoder implements FrameDecoder {
  finished = true
  roundEnd: RoundEnd | null = null
  /** The first bytes of the round are here, so the server has decoded all of it. */
  onDecoded: () => void = () => {}
  readonly #changes: ChangeDecoder
  #headerRead = false
  #trailerRead = false
  /** Where to go on in the message at hand, after it had to wait. */
  #continueAt = 0

  constructor(changes: ChangeDecoder) {
    this.#changes = changes
  }

  get waitsFor(): Promise<void> | null {
    return this.#changes.waitsFor
  }

  /** Expects a round. */
  begin(): void {
    this.finished = false
    this.roundEnd = null
    this.#headerRead = false
    this.#trailerRead = false
  }

  events(): SourceEvent[] {
    return this.#changes.events()
  }

  frame(type: number, bytes: Buffer, from: number, to: number): boolean {
    switch (type) {
      case 0x64: // CopyData
        return this.#data(bytes, from, to)
      case 0x44: // DataRow
        if (this.#trailerRead) this.#end(bytes, from, to)
        return true
      case 0x5a: // ReadyForQuery
        if (this.roundEnd === null) throw corrupt('has no end')
        this.#changes.reached(this.roundEnd.end)
        this.finished = true
        return true
      case 0x45: // ErrorResponse
        throw serverError(bytes, from, to)
      case 0x4e: // NoticeResponse
        checkNotice(bytes, from, to)
        return true
      default:
        return true
    }
  }

  /** Rows lie whole in a message: Postgres sends one in each, the first with the header, the trailer alone. */
  #data(bytes: Buffer, from: number, to: number): boolean {
    let at = from + this.#continueAt
    if (!this.#headerRead) {
      if (to - at < headerBytes) throw corrupt('begins in the middle')
      this.#headerRead = true
      at += headerBytes + bytes.readUInt32BE(at + 15)
      this.#continueAt = at - from
      this.onDecoded()
    }
    while (at < to) {
      if (to - at < 2) throw corrupt('ends in the middle of a row')
      const fields = bytes.readInt16BE(at)
      if (fields === -1) {
        this.#trailerRead = true
        at += 2
        continue
      }
      const size = to - at < rowHeaderBytes ? -1 : bytes.readInt32BE(at + 2)
      const end = at + rowHeaderBytes + size
      if (fields !== 1 || size < 1 || end > to || this.#trailerRead) throw corrupt('has a malformed row')
      if (!this.#changes.change(bytes, at + rowHeaderBytes, end)) {
        this.#continueAt = at - from
        return false
      }
      at = end
    }
    this.#continueAt = 0
    return true
  }

  /** Two positions as text: how far the slot's copy is, and the end of the log. */
  #end(bytes: Buffer, from: number, to: number): void {
    const positions: Lsn[] = []
    let at = from + 2
    while (at + 4 <= to) {
      const size = bytes.readInt32BE(at)
      at += 4
      if (size < 1 || size > to - at) break
      positions.push(parseLsn(bytes.toString('latin1', at, at + size)))
      at += size
    }
    if (positions.length !== 2) throw corrupt('has no end')
    this.roundEnd = { end: positions[0], head: positions[1] }
  }
}

function corrupt(what: string): FrazilError {
  return new FrazilError('corrupt', 'bad-copy', `the backlog read by SQL ${what}`)
}
