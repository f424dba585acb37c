import { FrazilError, overloaded } from '../../base/index.ts'
import type { Position, SourceEvent, SourceTable } from '../../data/index.ts'
import { checkNumber, reachedNumber } from '../numbered-positions.ts'
import type { SentSource, SourceParts, SourceState } from '../source.ts'
import { LeftRows } from './left-rows.ts'
import type { KeptRequest, LeftTable } from './left-rows.ts'
import type { SpoolRecord } from './record.ts'
import { letGo } from './rows.ts'
import type { Rows } from './rows.ts'
import { Spool } from './spool.ts'

/** Rows that wait to be taken, above which requests are turned away: the engine cannot keep up. */
const mostWaitingRows = 2_000_000
/** Replayed rows of one array of events. */
const replayRows = 65_536
/** What a restart may count as having passed since the last request: the wall clock may have been set meanwhile. */
const mostAwayMs = 3_600_000

/** The decoded rows of a request. */
export interface RequestRows {
  readonly rows: readonly Rows[]
  readonly count: number
}

/**
 * A source of requests that nobody sends twice: what subclasses have decoded is kept in a spool until the lake has it, and given out in
 * the order in which it was accepted, all requests that became durable together as one source commit. Positions are the numbers of
 * requests. Subclasses say what a request is, and how it is decoded: now, and again at the next start if the lake does not have it.
 */
export abstract class SpooledSource<Request extends RequestRows> implements SentSource {
  readonly name: string
  readonly #folder: string
  protected readonly parts: SourceParts
  readonly #left: LeftRows
  #spool: Spool | null = null
  readonly #opening = Promise.withResolvers<void>()
  #isOpen = false
  #isStopped = false
  /** Number of the last request that was given one. */
  #last = 0
  /** The last request that is durable, and the last that was given out. */
  #durable = 0
  #given = 0
  /** The latest time that a request was stored at, as far as it is known; 0: none was. */
  #lastMs = 0
  /** The time of this source when it was opened, by the clock that does not jump, and how far the wall clock was before it. */
  #opened = { atMs: 0, monotonic: 0, behindMs: 0 }
  #stored: { readonly sequence: number; readonly request: Request }[] = []
  #waitingRows = 0
  /** Rows of the events that were given out last: whoever wants them has pinned them when more is asked for. */
  #handedOut: Rows[] = []
  #wake: () => void = () => undefined

  /** @param folder of the spool */
  constructor(name: string, folder: string, parts: SourceParts) {
    this.name = name
    this.#folder = folder
    this.parts = parts
    this.#left = new LeftRows(folder, (record, table) => this.kept(record, table))
    // Nobody may be waiting when it fails.
    this.#opening.promise.catch(() => undefined)
  }

  // ---- what subclasses say -------------------------------------------------------------------------------------------------

  /** Gets ready, before the spool is looked at. */
  protected abstract begin(state: SourceState | null): Promise<void>

  /** A request is in the spool; it may be in the lake, too. */
  protected found(_record: SpoolRecord): void {}

  /** What is to be said beside the requests; `position` is the last that was given out. */
  protected abstract news(position: Position): SourceEvent[]

  /**
   * Adds the changes of a request that the lake does not have to `events`, and gives them out before when there is no memory left ({@link
   * handOver}, {@link room}).
   */
  protected abstract replay(record: SpoolRecord, events: SourceEvent[]): AsyncIterableIterator<readonly SourceEvent[]>

  /** All requests of the spool have been given out; from now on programs send them. */
  protected replayed(): void {}

  /** Adds the changes of requests that became durable together. */
  protected abstract changes(requests: readonly Request[], events: SourceEvent[]): void

  /** The events that were given out last were taken. */
  protected taken(): void {}

  /** The source has ended. */
  protected abstract release(): void

  /** Everything that a part of the spool has must be kept elsewhere before that part goes, if it is to be kept; rows of tables that were
   * detached are. */
  protected async beforeRemoval(): Promise<void> {}

  /** What a request has for the detached table of an id, as it can be sent again; null: nothing. */
  protected abstract kept(record: SpoolRecord, table: string): KeptRequest | null

  abstract closeTable(id: string): void

  /** A closed table is to take rows again, as it is now. */
  protected abstract attached(table: SourceTable): void

  // ---- what subclasses may use ---------------------------------------------------------------------------------------------

  protected get isStopped(): boolean {
    return this.#isStopped
  }

  /** Whether the spool has been replayed: requests wait until then ({@link opened}), or are turned away. */
  protected get isOpen(): boolean {
    return this.#isOpen
  }

  /** Resolves when it is; rejects with `unavailable` (`closed`) when it never will be. */
  protected get opened(): Promise<void> {
    return this.#opening.promise
  }

  /** The last request that is durable. */
  protected get durable(): Position {
    return String(this.#durable)
  }

  /** Rows of a table that was detached stay until they are in files. `after`: what the lake has of it; null: that is not known yet. */
  protected leave(table: LeftTable, after: number | null): void {
    this.#left.add(table, after)
  }

  /**
   * What time it is, for the ages of requests: it goes on steadily while the source is open, and from where it was when it is opened again,
   * so that a wall clock that is set forward makes nothing old.
   */
  protected get timeMs(): number {
    const { atMs, monotonic } = this.#opened
    return atMs + Math.floor(this.parts.clock.monotonic() - monotonic)
  }

  /** A request is known that was stored then. To be said before the spool is opened, of what is kept beside it. */
  protected wasAt(timeMs: number): void {
    this.#lastMs = Math.max(this.#lastMs, timeMs)
  }

  /** Throws `unavailable` (`closed`) when no more requests are taken. */
  protected demandRunning(): void {
    if (this.#isStopped) throw closed()
  }

  /** Throws `unavailable` (`overloaded`) when no more requests can be taken now. */
  protected demandRoom(): void {
    if (this.#spool?.full || this.#waitingRows > mostWaitingRows) throw overloaded()
  }

  /** There is {@link news}, or memory, or an end. */
  protected wake(): void {
    this.#wake()
  }

  /** These rows are in events that are about to be given out. */
  protected handOver(rows: readonly Rows[]): void {
    for (const part of rows) this.#handedOut.push(part)
  }

  /** The events that were given out have been taken: their rows are let go. To be called behind each `yield`. */
  protected wereTaken(): void {
    letGo(this.#handedOut)
    this.#handedOut = []
    this.taken()
  }

  /** Resolves when there may be memory again, or the source ends. */
  protected async room(): Promise<void> {
    await Promise.race([this.parts.pool.freed(), new Promise<void>((resolve) => (this.#wake = resolve))])
  }

  /**
   * Resolves, with the record as it is in the spool, when a request is durable; it is given out then. Rejects as {@link Spool.append} does:
   * its rows have been let go.
   */
  protected async store(record: Omit<SpoolRecord, 'sequence' | 'timeMs' | 'rows'>, request: Request): Promise<SpoolRecord> {
    const spool = this.#spool
    if (!spool) throw closed()
    const sequence = ++this.#last
    const { rows, count } = request
    const whole: SpoolRecord = { ...record, sequence, timeMs: this.timeMs, rows: count }
    this.#waitingRows += count
    try {
      await spool.append(whole)
    } catch (error) {
      this.#waitingRows -= count
      letGo(rows)
      throw error
    }
    this.found(whole)
    this.#durable = sequence
    if (this.#isStopped) letGo(rows)
    else this.#stored.push({ sequence, request })
    this.#wake()
    return whole
  }

  // ---- events --------------------------------------------------------------------------------------------------------------

  async *open(state: SourceState | null): AsyncIterableIterator<readonly SourceEvent[]> {
    await this.begin(state)
    const committed = Number(state?.position ?? 0)
    const spool = await Spool.open(this.#folder, (record) => {
      this.wasAt(record.timeMs)
      this.found(record)
    })
    this.#start()
    this.#spool = spool
    this.#last = Math.max(committed, spool.last)
    this.#durable = this.#last
    this.#given = committed
    try {
      yield [this.#progress(), ...this.news(String(committed))]
      yield* this.#replay(spool, committed)
      this.#given = this.#last
      this.replayed()
      this.#isOpen = true
      this.#opening.resolve()
      yield [this.#progress(), { type: 'streaming' }]
      while (!this.#isStopped) {
        const events = this.#events()
        if (events.length > 0) {
          yield events
          this.wereTaken()
        } else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      this.#isOpen = false
      this.#opening.reject(closed())
      this.wereTaken()
      for (const { request } of this.#stored.splice(0)) letGo(request.rows)
      this.release()
    }
  }

  #start(): void {
    const { clock } = this.parts
    const now = clock.now()
    const last = this.#lastMs
    const atMs = last === 0 ? now : Math.min(Math.max(now, last), last + mostAwayMs)
    this.#opened = { atMs, monotonic: clock.monotonic(), behindMs: now - atMs }
  }

  /** Gives out again what the lake does not have. */
  async *#replay(spool: Spool, committed: number): AsyncIterableIterator<readonly SourceEvent[]> {
    let events: SourceEvent[] = []
    let rows = 0
    for await (const record of spool.records(committed)) {
      if (this.#isStopped) return
      yield* this.replay(record, events)
      if (this.#isStopped) return
      events.push({ type: 'commit', position: String(record.sequence), timeMs: record.timeMs + this.#opened.behindMs })
      rows += record.rows
      if (rows < replayRows) continue
      yield events
      this.wereTaken()
      events = []
      rows = 0
    }
    if (events.length === 0) return
    yield events
    this.wereTaken()
  }

  #events(): SourceEvent[] {
    const events = this.news(String(this.#given))
    if (this.#stored.length === 0) return events
    const stored = this.#stored
    this.#stored = []
    const requests = stored.map(({ request }) => request)
    for (const { count } of requests) this.#waitingRows -= count
    this.changes(requests, events)
    this.#given = stored[stored.length - 1].sequence
    events.push({ type: 'commit', position: String(this.#given), timeMs: this.parts.clock.now() })
    return events
  }

  #progress(): SourceEvent {
    return { type: 'progress', position: String(this.#given) }
  }

  // ---- the contract of sources ---------------------------------------------------------------------------------------------

  memo(_position: Position | null): string {
    return '{}'
  }

  reached(a: Position, b: Position): boolean {
    return reachedNumber(a, b)
  }

  checkPosition(text: string): Position {
    return checkNumber(text, this.name)
  }

  async head(): Promise<Position> {
    return this.durable
  }

  acknowledge(position: Position): void {
    const spool = this.#spool
    spool?.release(Number(position), async () => {
      await this.#left.save(spool)
      await this.beforeRemoval()
    })
  }

  leaveTable(id: string, committed: Position | null): void {
    this.#left.know(id, Number(committed ?? 0))
    // What cannot be done now is done before anything leaves the spool.
    if (this.#spool) this.#left.save(this.#spool).catch(() => undefined)
  }

  async saveLeft(): Promise<void> {
    if (!this.#spool) return
    await this.#left.save(this.#spool).catch((cause: unknown) => {
      throw new FrazilError('unavailable', 'spool-failed', 'rows of tables that were detached cannot be taken out of the spool', {
        cause,
      })
    })
  }

  async attachTable(table: SourceTable): Promise<string | null> {
    this.attached(table)
    return this.#left.folderOf(table)
  }

  async recopy(): Promise<void> {
    throw new FrazilError(
      'request',
      'nothing-to-copy',
      'what programs have sent is in the lake only: there is nothing to copy again',
    )
  }

  stop(): void {
    this.#isStopped = true
    this.#wake()
  }

  async close(): Promise<void> {
    this.stop()
    this.#opening.reject(closed())
    await this.#spool?.close()
  }
}

function closed(): FrazilError {
  return new FrazilError('unavailable', 'closed', 'the engine is closing')
}
