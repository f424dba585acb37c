import type { Client } from 'pg'
import type { Clock } from '../../base/index.ts'
import type { SourceLag } from '../source.ts'
import { parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'

export interface SlotWatchOptions {
  readonly source: string
  readonly slot: string
  readonly clock: Clock
  /** Asks on the connection for SQL. */
  ask<T>(question: (client: Client) => Promise<T>): Promise<T>
  /** The log ended there. */
  onHead(head: Lsn): void
  onWarning(message: string, hint: string): void
}

interface Observation {
  readonly atMs: number
  readonly head: Lsn
  readonly restart: Lsn | null
  readonly status: string | null
  readonly safeBytes: number | null
  readonly xminAge: number | null
}

const askEveryMs = 10_000
/** The rate at which the log grows is taken over as many observations. */
const observationsKept = 30
/** Warned again after this time, while it lasts. */
const warnAgainMs = 10 * 60_000
/** With less time left than this, at the rate of the last minutes, it is said. */
const shortMs = 60 * 60_000
/** Transactions that a catalogue may be held back by; Postgres warns of wraparound at about two thousand million. */
const oldXminAge = 500_000_000

/** Asks the server, now and then, how far its log is and how much of it our slot keeps, and warns before the slot is lost. */
export class SlotWatch {
  readonly #options: SlotWatchOptions
  #observations: Observation[] = []
  #stale = false
  #warnedAt = Number.NEGATIVE_INFINITY

  constructor(options: SlotWatchOptions) {
    this.#options = options
  }

  /** Until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!signal.aborted) {
      try {
        const observation = await this.#options.ask((client) => this.#observe(client))
        if (signal.aborted) return
        this.#stale = false
        if (observation) this.#take(observation)
      } catch {
        // Whoever reads the slot says it.
        this.#stale = true
      }
      await clock.sleep(askEveryMs, signal)
    }
  }

  /** The source contract's `lag`. */
  lag(visible: Lsn, committed: Lsn): SourceLag | null {
    const last = this.#observations.at(-1)
    if (!last) return null
    return {
      visibleBytes: Math.max(0, last.head - visible),
      committedBytes: Math.max(0, last.head - committed),
      retainedBytes: last.restart === null ? null : Math.max(0, last.head - last.restart),
      safeBytes: last.safeBytes,
      retention: last.status,
      xminAge: last.xminAge,
      stale: this.#stale,
    }
  }

  async #observe(client: Client): Promise<Observation | null> {
    interface Row {
      head: string
      restart: string | null
      status: string | null
      safe: string | null
      xmin_age: number | null
    }
    const { rows } = await client.query<Row>(
      `select pg_catalog.pg_current_wal_flush_lsn()::text as head, restart_lsn::text as restart, wal_status as status,
         safe_wal_size::text as safe, pg_catalog.age(catalog_xmin) as xmin_age
       from pg_catalog.pg_replication_slots where slot_name = $1`,
      [this.#options.slot],
    )
    if (rows.length === 0) return null
    const [{ head, restart, status, safe, xmin_age }] = rows
    return {
      atMs: this.#options.clock.monotonic(),
      head: parseLsn(head),
      restart: restart === null ? null : parseLsn(restart),
      status,
      safeBytes: safe === null ? null : Number(safe),
      xminAge: xmin_age,
    }
  }

  #take(observation: Observation): void {
    this.#observations = [...this.#observations, observation].slice(-observationsKept)
    this.#options.onHead(observation.head)
    if (observation.atMs - this.#warnedAt < warnAgainMs) return
    const warning = this.#warning(observation)
    if (warning === null) return
    this.#warnedAt = observation.atMs
    this.#options.onWarning(...warning)
  }

  #warning({ status, safeBytes, xminAge, head, restart }: Observation): [message: string, hint: string] | null {
    const { source, slot } = this.#options
    if (status === 'unreserved' || status === 'lost') {
      return [
        `replication slot ${slot} of source ${source} needs log that the server removes at its next checkpoint`,
        `raise max_slot_wal_keep_size now: ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf()`,
      ]
    }
    const leftMs = this.#timeLeft(safeBytes)
    if (leftMs !== null && leftMs < shortMs) {
      const kept = restart === null ? '' : ` (${megabytes(head - restart)} are kept)`
      return [
        `the server gives up replication slot ${slot} of source ${source} in about ${Math.max(1, Math.round(leftMs / 60_000))} minutes if it goes on like this${kept}`,
        'raise max_slot_wal_keep_size, or find out what holds the source back: frazil tables',
      ]
    }
    if (xminAge !== null && xminAge > oldXminAge) {
      return [
        `replication slot ${slot} of source ${source} has kept old catalogue rows for ${xminAge.toLocaleString('en-US')} transactions`,
        'the source has to catch up, or frazil drop it: VACUUM cannot remove those rows meanwhile',
      ]
    }
    return null
  }

  /** Until what the server still may write is written; null when there is no limit, or the log does not grow. */
  #timeLeft(safeBytes: number | null): number | null {
    const [first] = this.#observations
    const last = this.#observations.at(-1)
    if (safeBytes === null || !last || last.head <= first.head) return null
    // What we acknowledge gives as much back: only the rest counts.
    const used = (first.safeBytes ?? safeBytes) - safeBytes
    return used > 0 ? (safeBytes / used) * (last.atMs - first.atMs) : null
  }
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6).toLocaleString('en-US')} MB`
}
