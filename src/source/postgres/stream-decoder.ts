import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import type { SourceEvent } from '../../data/index.ts'
import type { ChangeDecoder } from './change-decoder.ts'
import { checkNotice, serverError } from './errors.ts'
import type { FrameDecoder } from './event-pump.ts'
import { readLsn } from './lsn.ts'
import { corrupt } from './messages.ts'

/** Bytes of XLogData before the message of pgoutput in it. */
const headerBytes = 25

/**
 * Decodes the frames of one replication connection (PostgreSQL documentation, "Streaming Replication Protocol"). The messages of pgoutput
 * in them go to the decoder of changes, which outlives the connection.
 */
export class StreamDecoder implements FrameDecoder {
  readonly finished = false
  /** The stream is open. */
  started = false
  onStarted: () => void = () => {}
  /** The server wants a status at once. */
  onReplyRequested: () => void = () => {}
  readonly #changes: ChangeDecoder

  constructor(changes: ChangeDecoder) {
    this.#changes = changes
  }

  get waitsFor(): Promise<void> | null {
    return this.#changes.waitsFor
  }

  events(): SourceEvent[] {
    return this.#changes.events()
  }

  frame(type: number, bytes: Buffer, from: number, to: number): boolean {
    switch (type) {
      case 0x64: // CopyData
        if (bytes[from] === 0x77 && from < to) {
          if (to - from <= headerBytes) throw corrupt('XLogData', from, to)
          return this.#changes.change(bytes, from + headerBytes, to)
        }
        if (bytes[from] === 0x6b && from < to) this.#keepalive(bytes, from, to)
        return true // other kinds are for newer protocols, and say nothing to us
      case 0x57: // CopyBothResponse
        this.started = true
        this.onStarted()
        return true
      case 0x45: // ErrorResponse
        throw serverError(bytes, from, to)
      case 0x4e: // NoticeResponse
        checkNotice(bytes, from, to)
        return true
      case 0x63: // CopyDone
        throw new FrazilError('unavailable', 'stream-ended', 'Postgres ended the replication stream')
      default:
        return true
    }
  }

  #keepalive(bytes: Buffer, from: number, to: number): void {
    if (to - from < 18) throw corrupt('keepalive', from, to)
    this.#changes.reached(readLsn(bytes, from + 1))
    if (bytes[from + 17] === 1) this.onReplyRequested()
  }
}
