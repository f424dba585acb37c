import { FrazilError, overloaded } from '../../base/index.ts'
import type { SpoolRecord } from '../push/index.ts'
import type { Producer, PushReceipt } from '../source.ts'
import { latest } from './known-keys.ts'
import { decodeHead } from './record-head.ts'

/** A producer that has sent nothing for so long is forgotten. */
const keptMs = 7 * 24 * 3_600_000
/** Producers known at one time, of all tables: the lake keeps them in the state record, which each commit writes. */
const mostKept = 1000
/** Requests that the lake does not have yet, while it takes no commits: more are turned away. */
const mostUncommitted = 100_000
/** When there are so many, one that has been silent for so long makes room; without one, no other is let in. */
const silentMs = 3_600_000

/** What is known of a producer, per table: its requests `first` to `last` are stored. */
interface KnownProducer {
  readonly table: string
  readonly id: string
  readonly first: number
  readonly last: number
  /** Of the last one: CRC-32 of its body, its number in the spool, its rows, when it was stored, how many rows were refused. */
  readonly digest: number
  readonly position: number
  readonly rows: number
  readonly timeMs: number
  readonly refused: number
}

/** As it is kept: {@link KnownProducer} without the table. */
type KeptProducer = readonly [
  id: string,
  first: number,
  last: number,
  digest: number,
  position: number,
  rows: number,
  timeMs: number,
  /** Absent: 0. */
  refused?: number,
]

/**
 * Producers that number their requests one by one. The lake has them as of its position, in the state record, and the records of the spool
 * have what came later: so no number is known without its rows, nor are rows without their number, whatever is lost.
 */
export class KnownProducers {
  /** In the order in which they sent last. */
  readonly #known = new Map<string, KnownProducer>()
  /** As of the last position that was asked for, and what became of them since. */
  readonly #kept = new Map<string, KnownProducer>()
  #since: KnownProducer[] = []

  /** Takes what {@link memo} said, for the tables that there are. Throws `config` when a newer version said it. */
  load(memo: string | null, isTable: (id: string) => boolean): void {
    // Written by us alone; its format version is checked.
    const { format, producers = {} } = JSON.parse(memo || '{}') as { format?: number; producers?: Record<string, KeptProducer[]> }
    if (format !== undefined && format !== 1) {
      throw new FrazilError('config', 'newer-format', 'the lake has a state record that was written by a newer version', {
        hint: 'Install the newer version of frazil again.',
      })
    }
    const all = Object.entries(producers).flatMap(([table, kept]) =>
      kept.map(([id, first, last, digest, position, rows, timeMs, refused = 0]) => ({
        table,
        id,
        first,
        last,
        digest,
        position,
        rows,
        timeMs,
        refused,
      })),
    )
    for (const known of all.sort((a, b) => a.position - b.position)) {
      if (!isTable(known.table)) continue
      this.#known.set(idOf(known.table, known.id), known)
      this.#kept.set(idOf(known.table, known.id), known)
    }
  }

  /** When the last of their requests was stored; 0: there is none. */
  get lastMs(): number {
    return latest(this.#known.values())
  }

  /**
   * What has become of this request: the answer that it had, or one without rows for an earlier one of the same producer; null when it is
   * the next to be stored. Throws `request` for one that cannot be the next, and `unavailable` when there are too many producers, or too many of
   * their requests are not in the lake yet.
   */
  find(table: string, { id, sequence }: Producer, digest: number, now: number): PushReceipt | null {
    const known = this.#known.get(idOf(table, id))
    if (!known || now - known.timeMs > keptMs) {
      this.#demandRoom(now)
      this.#demandCommit()
      return null
    }
    if (sequence === known.last + 1) {
      this.#demandCommit()
      return null
    }
    if (sequence > known.last) {
      throw new FrazilError('request', 'producer-sequence-gap', `the next request of this producer is number ${known.last + 1}`, {
        hint: 'Send the requests in between first; one that was refused has not used its number up.',
      })
    }
    if (sequence < known.first) {
      throw new FrazilError(
        'request',
        'producer-sequence-unknown',
        `the requests of this producer are known from number ${known.first} on: nobody knows whether this one was stored`,
        { hint: 'Look into the table; send what is missing as another producer.' },
      )
    }
    const isLast = sequence === known.last
    if (isLast && digest !== known.digest) {
      throw new FrazilError('request', 'producer-sequence-reused', 'another request was stored with this Producer-Sequence', {
        hint: 'A new request needs the next number.',
      })
    }
    const { rows, refused } = isLast ? known : { rows: 0, refused: 0 }
    return { position: String(known.position), rows, refused, refusals: [], replayed: true }
  }

  /** A request of a producer is stored. */
  add({ table, head, digest, sequence: position, rows, timeMs }: SpoolRecord): void {
    const { producer, refused = 0 } = decodeHead(head)
    if (!producer) return
    const { id, sequence: last } = producer
    const key = idOf(table, id)
    const before = this.#known.get(key)
    // What the lake's record said already.
    if (before && before.position >= position) return
    const isNext = before !== undefined && last === before.last + 1
    const known = { table, id, first: isNext ? before.first : last, last, digest, position, rows, timeMs, refused }
    put(this.#known, known)
    this.#since.push(known)
    limit(this.#known, timeMs)
  }

  /** The table has gone. */
  forget(table: string): void {
    this.#since = this.#since.filter((known) => known.table !== table)
    for (const all of [this.#known, this.#kept]) {
      for (const [key, known] of all) if (known.table === table) all.delete(key)
    }
  }

  /** Everything that is to be known when the lake has the requests up to `position`, which never decreases. */
  memo(position: number): string {
    const count = this.#since.findIndex((known) => known.position > position)
    for (const known of this.#since.splice(0, count < 0 ? this.#since.length : count)) {
      put(this.#kept, known)
      limit(this.#kept, known.timeMs)
    }
    if (this.#kept.size === 0) return '{}'
    const producers: Record<string, KeptProducer[]> = {}
    for (const { table, id, first, last, digest, position: at, rows, timeMs, refused } of this.#kept.values()) {
      ;(producers[table] ??= []).push([id, first, last, digest, at, rows, timeMs, refused])
    }
    return JSON.stringify({ format: 1, producers })
  }

  #demandCommit(): void {
    if (this.#since.length >= mostUncommitted) throw overloaded()
  }

  #demandRoom(now: number): void {
    if (this.#known.size < mostKept) return
    const [longestSilent] = this.#known.values()
    if (now - longestSilent.timeMs > silentMs) return
    throw new FrazilError(
      'unavailable',
      'too-many-producers',
      `there are ${mostKept} producers, all of which have sent in the last hour`,
      {
        hint: 'Let each program keep its Producer-Id, and send by fewer.',
      },
    )
  }
}

function put(all: Map<string, KnownProducer>, known: KnownProducer): void {
  const key = idOf(known.table, known.id)
  all.delete(key)
  all.set(key, known)
}

/** Lets those go that have been silent for so long that they are forgotten, or make room when there are too many. */
function limit(all: Map<string, KnownProducer>, now: number): void {
  for (const [key, { timeMs }] of all) {
    if (now - timeMs <= (all.size > mostKept ? silentMs : keptMs)) return
    all.delete(key)
  }
}

function idOf(table: string, id: string): string {
  return `${table}\n${id}`
}
