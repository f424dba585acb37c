import { Buffer } from 'node:buffer'
import type { SourceEvent } from '../../data/index.ts'
import type { ChangeRuns } from './change-runs.ts'
import { readLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import { corrupt } from './messages.ts'
import type { Relation } from './relation.ts'
import type { BoundTable } from './stream-table.ts'

interface OpenTransaction {
  readonly xid: number
  /** Whether it has told anything. */
  changed: boolean
  /** Tables of which only the end can tell whether its changes are in their copy already. */
  readonly doubtful: Set<BoundTable>
  /** The last Relation message of each table in it. */
  readonly relations: Map<BoundTable, Relation>
}

/** How a streamed transaction has ended. */
export interface StreamedEnd {
  readonly transaction: number
  /** Where the log goes on behind it. */
  readonly end: Lsn
  /** Whether it has changed anything that was not given out before. */
  readonly commits: boolean
}

/**
 * Large transactions that the server sends before their end is known (`streaming 'on'`; PostgreSQL documentation, "Streaming
 * Replication Protocol"): in segments, of one transaction each, between which whole transactions and segments of others lie. Each
 * change names the subtransaction that it belongs to.
 */
export class StreamedTransactions {
  readonly #open = new Map<number, OpenTransaction>()
  readonly #runs: ChangeRuns
  /** The transaction of the segment that is being read. */
  #segment: OpenTransaction | null = null

  constructor(runs: ChangeRuns) {
    this.#runs = runs
  }

  /** Whether a segment is being read: changes then have a number of four bytes more, and no end that is known. */
  get inSegment(): boolean {
    return this.#segment !== null
  }

  /** The transaction of that segment. */
  get xid(): number {
    return this.#segment?.xid ?? 0
  }

  /** Forgets all: the next connection begins them again. */
  clear(): void {
    this.#open.clear()
    this.#segment = null
    this.#runs.enter(null, 0)
  }

  /** Stream Start. */
  start(bytes: Buffer, at: number, to: number): void {
    if (to - at !== 6 || this.#segment) throw corrupt('Stream Start', at, to)
    const xid = bytes.readUInt32BE(at + 1)
    const isFirst = bytes[at + 5] === 1
    const known = this.#open.get(xid)
    if (!isFirst && !known) throw corrupt('Stream Start', at, to)
    if (isFirst && known) this.#forget(known)
    const fresh = { xid, changed: false, doubtful: new Set<BoundTable>(), relations: new Map<BoundTable, Relation>() }
    const transaction = isFirst || !known ? fresh : known
    this.#open.set(xid, transaction)
    this.#segment = transaction
  }

  /** Stream Stop. */
  stop(at: number, to: number): void {
    if (to - at !== 1 || !this.#segment) throw corrupt('Stream Stop', at, to)
    this.#segment = null
    this.#runs.enter(null, 0)
  }

  /** The number of its subtransaction, which follows the first byte of a message in a segment: the next changes are its. */
  enter(bytes: Buffer, at: number, to: number): void {
    if (to - at < 5 || !this.#segment) throw corrupt('change', at, to)
    this.#runs.enter(this.#segment.xid, bytes.readUInt32BE(at + 1))
  }

  /** A Relation message is in the open segment. */
  relation(table: BoundTable, relation: Relation): void {
    this.#segment?.relations.set(table, relation)
  }

  /** The transaction of a Stream Commit, and what its tables looked like in it; none when it is not wanted any more. */
  ending(bytes: Buffer, at: number, to: number, position: Lsn): { xid: number; relations: ReadonlyMap<BoundTable, Relation> } {
    if (to - at !== 30 || this.#segment) throw corrupt('Stream Commit', at, to)
    const xid = bytes.readUInt32BE(at + 1)
    const isOld = readLsn(bytes, at + 6) < position
    return { xid, relations: isOld ? new Map() : (this.#open.get(xid)?.relations ?? new Map()) }
  }

  /** A change of a table is in the open segment. */
  changed(table: BoundTable): void {
    const segment = this.#segment
    if (!segment) return
    segment.changed = true
    if (!table.live) segment.doubtful.add(table)
  }

  /** Stream Abort: of a transaction, or of a subtransaction of it. */
  abort(bytes: Buffer, at: number, to: number): void {
    // Postgres 18 tells of aborted subtransactions also where nothing was streamed.
    if (to - at < 9 || this.#segment) throw corrupt('Stream Abort', at, to)
    const transaction = this.#open.get(bytes.readUInt32BE(at + 1))
    if (!transaction) return
    const part = bytes.readUInt32BE(at + 5)
    if (part === transaction.xid) this.#forget(transaction)
    else if (transaction.changed) this.#rollback(transaction.xid, part, null)
  }

  /**
   * Stream Commit: takes back what is not wanted of the transaction, which is all when it ended before `position`. Returns where it
   * ends, and whether it has changed anything.
   */
  commit(bytes: Buffer, at: number, to: number, position: Lsn): StreamedEnd {
    if (to - at !== 30 || this.#segment) throw corrupt('Stream Commit', at, to)
    const xid = bytes.readUInt32BE(at + 1)
    const finalLsn = readLsn(bytes, at + 6)
    const end = readLsn(bytes, at + 14)
    const transaction = this.#open.get(xid)
    if (!transaction) throw corrupt('Stream Commit', at, to)
    if (finalLsn < position) {
      this.#forget(transaction)
      return { transaction: xid, end, commits: false }
    }
    for (const table of transaction.doubtful) {
      if (finalLsn < table.floor) this.#rollback(xid, null, table.id)
      else table.live = true
    }
    this.#open.delete(xid)
    return { transaction: xid, end, commits: transaction.changed }
  }

  #forget(transaction: OpenTransaction): void {
    this.#open.delete(transaction.xid)
    if (transaction.changed) this.#rollback(transaction.xid, null, null)
  }

  #rollback(transaction: number, part: number | null, table: string | null): void {
    this.#runs.push({ type: 'rollback', transaction, part, table } satisfies SourceEvent)
  }
}
