import { Buffer } from 'node:buffer'
import { FrazilError, assert } from '../../base/index.ts'
import type { Clock, SlabPool } from '../../base/index.ts'
import type { SourceEvent } from '../../data/index.ts'
import type { ChangeDecoder } from './change-decoder.ts'
import { RawConnection, setDecodingMemory } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { EventPump } from './event-pump.ts'
import { quoteName, quoteText } from './identifiers.ts'
import { lsnToText, writeLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import type { RetiredSegments } from './segment-writer.ts'
import { StreamDecoder } from './stream-decoder.ts'

export interface ReplicationOptions {
  readonly endpoint: Endpoint
  readonly slot: string
  readonly publication: string
  readonly version: number
  readonly decoder: ChangeDecoder
  /** What is durable already. */
  readonly acknowledged: Lsn
  readonly pool: SlabPool
  readonly clock: Clock
  readonly retired: RetiredSegments
  readonly maxFrameBytes: number
  /** How long the server waits for a sign of life; null: a minute, or what it is set to if that is longer. */
  readonly senderTimeoutMs: number | null
}

const statusEveryMs = 10_000
const generousTimeoutMs = 60_000
const askAgainMs = 50
/** CopyDone and Terminate. */
const farewell = Buffer.from([0x63, 0, 0, 0, 4, 0x58, 0, 0, 0, 4])
const farewellMs = 2_000
const epochMs = 946_684_800_000

/** One connection that reads a slot from the decoder's position on, and says how far the lake is. */
export class ReplicationStream {
  readonly #options: ReplicationOptions
  /** Resolves when the server has begun to send. */
  readonly started: Promise<void>
  readonly #frames: StreamDecoder
  readonly #pump: EventPump
  readonly #ended = new AbortController()
  #acknowledged: Lsn
  /** Somebody waits until the server has told of everything before this. */
  #target: Lsn = 0
  #asking = false

  private constructor(connection: RawConnection, options: ReplicationOptions, timeoutMs: number) {
    this.#options = options
    this.#acknowledged = options.acknowledged
    const { decoder, pool, clock, retired, maxFrameBytes } = options
    this.#frames = new StreamDecoder(decoder)
    this.#frames.onReplyRequested = () => this.#status(false)
    this.started = new Promise((resolve) => (this.#frames.onStarted = resolve))
    this.#pump = new EventPump(connection, this.#frames, { pool, clock, retired, maxFrameBytes, pace: true })
    void this.#signsOfLife(timeoutMs)
  }

  /** Starts reading. Throws what the connection or the server says. */
  static async open(options: ReplicationOptions): Promise<ReplicationStream> {
    const connection = await RawConnection.open(options.endpoint, 'replication')
    let stream: ReplicationStream
    try {
      const timeoutMs = await agreeTimeout(connection, options.senderTimeoutMs)
      if (options.decoder.streaming) await setDecodingMemory(connection.client, 'least', decodingMemoryKb)
      stream = new ReplicationStream(connection, options, timeoutMs)
    } catch (error) {
      await connection.close()
      throw error
    }
    const { slot, publication, version, decoder } = options
    const protocol = version >= 160_000 ? 4 : version >= 150_000 ? 3 : 2
    const names = quoteText(quoteName(publication))
    const at = lsnToText(decoder.position)
    stream.#pump.write(
      query(
        `START_REPLICATION SLOT ${quoteName(slot)} LOGICAL ${at} (proto_version '${protocol}', publication_names ${names}, binary '${decoder.binary}'${decoder.streaming ? ", streaming 'on'" : ''})`,
      ),
    )
    return stream
  }

  /** The next events; null after {@link close}. */
  take(): Promise<SourceEvent[] | null> {
    return this.#pump.take()
  }

  /** Tells the server what it may forget. */
  acknowledge(lsn: Lsn): void {
    if (lsn <= this.#acknowledged) return
    this.#acknowledged = lsn
    this.#status(false)
  }

  /** Has the server say when it has sent everything before `target`; `again`: also when it has said so already. */
  reach(target: Lsn, again = false): void {
    const { decoder } = this.#options
    if (again && this.#frames.started && decoder.received >= target) this.#status(true)
    this.#target = Math.max(this.#target, target)
    void this.#ask()
  }

  /** Reads no more; acknowledgements still go out. */
  stop(): void {
    this.#pump.stop()
  }

  /** Resolves when the server has heard the last acknowledgement and let go of the slot, or does not answer. */
  async close(): Promise<void> {
    this.#ended.abort()
    if (!this.#frames.started) return this.#pump.close()
    this.#status(false)
    await this.#pump.finish(farewell, farewellMs)
  }

  async #ask(): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    const { decoder, clock } = this.#options
    const { signal } = this.#ended
    while (!signal.aborted && decoder.received < this.#target) {
      if (this.#frames.started) this.#status(true)
      await clock.sleep(askAgainMs, signal)
    }
    this.#asking = false
  }

  /** Goes on while reading is paused: a server that hears nothing cuts the connection. Notices a server that is silent. */
  async #signsOfLife(timeoutMs: number): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#ended
    const every = timeoutMs > 0 ? Math.min(statusEveryMs, timeoutMs / 3) : statusEveryMs
    const silence = timeoutMs > 0 ? Math.max(2 * timeoutMs, generousTimeoutMs) : Number.POSITIVE_INFINITY
    for (;;) {
      await clock.sleep(every, signal)
      if (signal.aborted) return
      const quietMs = this.#pump.reading ? clock.monotonic() - this.#pump.lastReadMs : 0
      // As long as it hears from us the server says nothing of its own accord: ask, so that only one that is gone is silent.
      if (this.#frames.started) this.#status(quietMs >= every)
      if (quietMs > silence) {
        this.#pump.fail(new FrazilError('unavailable', 'silent-server', 'Postgres has said nothing for too long'))
      }
      if (this.#pump.ended) return
    }
  }

  /** Standby status update: written, flushed and applied position, our clock, whether an answer is wanted. */
  #status(replyWanted: boolean): void {
    const { decoder, clock } = this.#options
    const received = Math.max(decoder.received, decoder.position)
    assert(this.#acknowledged <= received, 'nothing is acknowledged that was not received')
    const bytes = Buffer.alloc(39)
    bytes[0] = 0x64
    bytes.writeInt32BE(38, 1)
    bytes[5] = 0x72
    writeLsn(bytes, received, 6)
    writeLsn(bytes, this.#acknowledged, 14)
    writeLsn(bytes, this.#acknowledged, 22)
    bytes.writeBigInt64BE(BigInt(Math.round((clock.now() - epochMs) * 1000)), 30)
    bytes[38] = replyWanted ? 1 : 0
    this.#pump.write(bytes)
  }
}

/** A Query message. */
export function query(sql: string): Buffer {
  const text = Buffer.from(sql, 'utf8')
  const bytes = Buffer.alloc(text.length + 6)
  bytes[0] = 0x51
  bytes.writeInt32BE(text.length + 5, 1)
  text.copy(bytes, 5)
  return bytes
}

async function agreeTimeout(connection: RawConnection, wanted: number | null): Promise<number> {
  const { rows } = await connection.client.query<{ ms: string }>(
    "select setting as ms from pg_catalog.pg_settings where name = 'wal_sender_timeout'",
  )
  const set = Number(rows[0]?.ms ?? 0)
  const timeout = wanted ?? (set === 0 ? 0 : Math.max(set, generousTimeoutMs))
  if (timeout !== set) await connection.client.query(`SET wal_sender_timeout = ${timeout}`)
  return timeout
}

/**
 * The server sends a transaction before it ends once those that are open take more memory than this. The less it keeps back, the
 * sooner a large transaction is here after its commit; the more, the fewer are sent that are rolled back. The default is 64 MB.
 */
const decodingMemoryKb = 8192
