import type { Clock, SlabPool } from '../../base/index.ts'
import type { SourceEvent } from '../../data/index.ts'
import { BacklogDecoder } from './backlog-decoder.ts'
import type { ChangeDecoder } from './change-decoder.ts'
import { RawConnection } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { EventPump } from './event-pump.ts'
import { quoteName, quoteText } from './identifiers.ts'
import type { Lsn } from './lsn.ts'
import { copyName } from './ownership.ts'
import type { ServerFacts, SlotFacts } from './preflight.ts'
import { query } from './replication-stream.ts'
import type { RetiredSegments } from './segment-writer.ts'

export interface BacklogOptions {
  readonly endpoint: Endpoint
  readonly slot: string
  readonly publication: string
  readonly decoder: ChangeDecoder
  /** End of the server's log when this begins. */
  readonly head: Lsn
  readonly pool: SlabPool
  readonly clock: Clock
  readonly retired: RetiredSegments
  readonly maxFrameBytes: number
  /** Log that one round decodes at least; default 256 MiB. */
  readonly roundBytes?: number
  /** Moves the slot itself: what is before the position is in the lake. */
  advance(position: Lsn): Promise<void>
}

/** A slot that is so far behind is read by SQL first. */
export const farBehindBytes = 64 << 20
/** Log between the slot's `restart_lsn` and its position, beyond which rounds do not pay: each reads it again. */
const mostReadAgainBytes = 2 * 2 ** 30
/** This part of a round is near enough to the end for the stream to go on. */
const nearShare = 1 / 16
/** Log that one round decodes at least, unless told otherwise. */
const usualRoundBytes = 256 << 20
/** Changes of a round at most, for the server keeps them in a temporary file; a transaction is never cut. */
const roundChanges = 2_000_000
/** The slot itself is moved at most this often: the server reads its log for that. */
const advanceEveryMs = 30_000

/**
 * Whether a backlog may be read by SQL: not when only the stream waits for standbys that must not fall behind us, nor when an old
 * transaction would make the server read too much log again in each round.
 */
export function mayReadBySql(slot: SlotFacts | null, facts: ServerFacts): boolean {
  if (!slot || slot.confirmed === null || slot.restart === null) return false
  return !(slot.failover && facts.waitsForStandbys) && slot.confirmed - slot.restart <= mostReadAgainBytes
}

/**
 * Reads what waits in a slot by SQL, from the decoder's position until it is near the end of the log. A walsender makes a system
 * call for each row; `pg_logical_slot_get_binary_changes` in a `COPY` delivers the same messages several times as fast.
 *
 * It reads temporary copies of the slot, which the server removes with their connections: the slot itself moves only to what is in
 * the lake. Two connections take turns: while one round is decoded here, the next one is decoded at the server.
 */
export class Backlog {
  readonly #options: BacklogOptions
  readonly #first: Lane
  #second: Lane | null = null
  #reading: Lane
  /** Set when the next round is being decoded already. */
  #ahead: Lane | null = null
  #opening: Promise<void> | null = null
  #head: Lsn
  #advancedAt: number
  #closed = false

  private constructor(first: Lane, options: BacklogOptions) {
    this.#options = options
    this.#first = first
    this.#reading = first
    this.#head = options.head
    this.#advancedAt = options.clock.monotonic()
  }

  /** Copies the slot and begins. Throws what the server says: it may not allow it. */
  static async open(options: BacklogOptions): Promise<Backlog> {
    const lane = await Lane.open(options)
    const backlog = new Backlog(lane, options)
    backlog.#begin(lane, lane.slot)
    return backlog
  }

  /** The next events; null when the stream should go on, or after {@link close}. */
  async take(): Promise<SourceEvent[] | null> {
    for (;;) {
      const events = await this.#reading.pump.take()
      if (events !== null || this.#closed) return events
      const lane = this.#reading
      const { roundEnd } = lane.decoder
      if (roundEnd === null) return null
      this.#head = roundEnd.head
      await this.#opening
      if (this.#closed) return null
      if (this.#ahead) {
        this.#reading = this.#ahead
        this.#ahead = null
        this.#prefetch(this.#reading)
        this.#reading.pump.resume()
      } else if (roundEnd.head - roundEnd.end > this.#roundBytes * nearShare) {
        this.#begin(lane, lane.slot)
      } else {
        return null
      }
    }
  }

  /** What is before `position` is in the lake. */
  acknowledge(position: Lsn): void {
    const now = this.#options.clock.monotonic()
    if (now - this.#advancedAt < advanceEveryMs) return
    this.#advancedAt = now
    // The stream says it again.
    this.#options.advance(position).catch(() => {})
  }

  close(): void {
    this.#closed = true
    this.#first.close()
    this.#second?.close()
  }

  get #roundBytes(): number {
    return this.#options.roundBytes ?? usualRoundBytes
  }

  /** Lets a lane read the round behind what `from`, a slot or a copy of it, has read. */
  #begin(lane: Lane, from: string): void {
    lane.begin(from, this.#roundBytes)
    this.#prefetch(lane)
  }

  /** As soon as the server has decoded the round of `lane`, the other lane's connection can decode the next one. */
  #prefetch(lane: Lane): void {
    lane.decoder.onDecoded = () => {
      if (this.#closed || this.#ahead || this.#options.decoder.position + this.#roundBytes * (1 + nearShare) > this.#head) return
      if (lane !== this.#first) this.#goAhead(this.#first, lane)
      else if (this.#second) this.#goAhead(this.#second, lane)
      else
        this.#opening ??= Lane.open(this.#options)
          .then((second) => {
            this.#second = second
            if (this.#closed) second.close()
            else this.#goAhead(second, lane)
          })
          // No slot or connection is left for a second one: one does it alone.
          .catch(() => {})
    }
  }

  #goAhead(lane: Lane, from: Lane): void {
    lane.pump.pause()
    lane.begin(from.slot, this.#roundBytes)
    this.#ahead = lane
  }
}

/** One connection with its copy of the slot. */
class Lane {
  readonly slot: string
  readonly decoder: BacklogDecoder
  readonly pump: EventPump
  readonly #publication: string
  readonly #changes: ChangeDecoder
  #copied = false

  private constructor(slot: string, connection: RawConnection, options: BacklogOptions) {
    const { pool, clock, retired, maxFrameBytes } = options
    this.slot = slot
    this.decoder = new BacklogDecoder(options.decoder)
    this.pump = new EventPump(connection, this.decoder, { pool, clock, retired, maxFrameBytes, pace: false })
    this.#publication = options.publication
    this.#changes = options.decoder
  }

  static async open(options: BacklogOptions): Promise<Lane> {
    const connection = await RawConnection.open(options.endpoint, 'sql')
    try {
      const { rows } = await connection.client.query<{ pid: number }>('select pg_catalog.pg_backend_pid() as pid')
      const name = copyName(options.slot, 'b', rows[0].pid)
      // Whether it is allowed shows before anything is read.
      await connection.client.query('select pg_catalog.pg_copy_logical_replication_slot($1, $2, true)', [options.slot, name])
      const lane = new Lane(name, connection, options)
      lane.#copied = true
      return lane
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  begin(from: string, bytes: number): void {
    this.decoder.begin()
    const own = quoteText(this.slot)
    const statements: string[] = []
    if (from !== this.slot) {
      if (this.#copied) statements.push(`SELECT pg_catalog.pg_drop_replication_slot(${own})`)
      statements.push(`SELECT pg_catalog.pg_copy_logical_replication_slot(${quoteText(from)}, ${own}, true)`)
    }
    this.#copied = true
    // Each round reads the log again from restart_lsn: it goes on for as long as that was, so that most of the work is new.
    statements.push(
      `COPY (SELECT c.data FROM pg_catalog.pg_replication_slots s, LATERAL pg_catalog.pg_logical_slot_get_binary_changes(s.slot_name,
         s.confirmed_flush_lsn + greatest(${bytes}, s.confirmed_flush_lsn - s.restart_lsn), ${roundChanges}, 'proto_version', '1',
         'publication_names', ${quoteText(quoteName(this.#publication))}, 'binary', '${this.#changes.binary}') c
       WHERE s.slot_name = ${own}) TO STDOUT (FORMAT binary)`,
      `SELECT confirmed_flush_lsn::text, pg_catalog.pg_current_wal_flush_lsn()::text FROM pg_catalog.pg_replication_slots WHERE slot_name = ${own}`,
    )
    this.pump.write(query(statements.join('; ')))
  }

  close(): void {
    this.pump.close()
  }
}
