import { crc32 } from 'node:zlib'
import { FrazilError, assert } from '../../base/index.ts'
import type { Change, Position, SourceEvent, SourceTable } from '../../data/index.ts'
import { Spool } from '../push/index.ts'
import type { SpoolRecord } from '../push/index.ts'
import type { PushReceipt, PushRequest, PushSource, SourceParts, SourceState } from '../source.ts'
import { decodeBatch, grownFields } from './batch.ts'
import type { Batch } from './batch.ts'
import { KnownKeys } from './known-keys.ts'
import { laneOutcomes, letGo } from './lane.ts'
import type { Rows } from './lane.ts'
import { LeftRows } from './left-rows.ts'
import { PushedTable } from './pushed-table.ts'
import { decodeHead, encodeHead } from './record-head.ts'

export interface HttpSourceOptions {
  readonly name: string
  /** Folder of the spool. */
  readonly spool: string
}

/** Rows that wait to be taken, above which requests are turned away: the engine cannot keep up. */
const mostWaitingRows = 2_000_000
/** Replayed rows of one array of events. */
const replayRows = 65_536

/** A request that is durable and not taken yet. */
interface Stored {
  readonly table: PushedTable
  /** The table as the rows were decoded. */
  readonly shape: SourceTable
  readonly operation: PushRequest['operation']
  readonly rows: readonly Rows[]
  readonly count: number
  readonly sequence: number
}

/**
 * The source of rows that programs send: checks and decodes them at once, keeps them in a spool until the lake has them, and gives them
 * out in the order in which they were accepted, all requests that became durable together as one source commit. Positions are the
 * numbers of requests.
 */
export class HttpSource implements PushSource {
  readonly name: string
  readonly #options: HttpSourceOptions
  readonly #parts: SourceParts
  readonly #keys: KnownKeys
  readonly #tables = new Map<string, PushedTable>()
  readonly #left: LeftRows
  #spool: Spool | null = null
  /** Requests under way, by table and key: a repeated one waits for the first. */
  readonly #underWay = new Map<string, { readonly digest: number; readonly receipt: Promise<PushReceipt> }>()
  /** Number of the last request that was given one. */
  #last = 0
  /** The last request that is durable, and the last that was given out. */
  #durable = 0
  #given = 0
  #stored: Stored[] = []
  #waitingRows = 0
  /** Tables to announce. */
  #arriving: { readonly table: SourceTable; readonly arrived: () => void }[] = []
  /** To be called when the events that were given out last were taken. */
  #announced: (() => void)[] = []
  /** Rows of the events that were given out last: whoever wants them has pinned them when more is asked for. */
  #handedOut: Rows[] = []
  #wake: () => void = () => undefined
  /** Set when the spool has been replayed: requests wait until then. */
  #opened: Spool | null = null
  readonly #opening = Promise.withResolvers<Spool>()
  #isStopped = false

  constructor(options: HttpSourceOptions, parts: SourceParts) {
    this.name = options.name
    this.#options = options
    this.#parts = parts
    this.#keys = new KnownKeys(options.spool)
    this.#left = new LeftRows(options.spool)
    // Nobody may be waiting when it fails.
    this.#opening.promise.catch(() => undefined)
  }

  async *open(state: SourceState | null): AsyncIterableIterator<readonly SourceEvent[]> {
    for (const { table } of state?.tables ?? []) this.#tables.set(table.id, new PushedTable(table, this.#parts))
    for (const { position, ...table } of state?.left ?? []) this.#left.add(table, Number(position ?? 0))
    const committed = Number(state?.position ?? 0)
    await this.#keys.load()
    this.#spool = await Spool.open(this.#options.spool, (record) => {
      if (record.key !== '') this.#keys.add(record)
    })
    this.#last = Math.max(committed, this.#spool.last)
    this.#durable = this.#last
    this.#given = committed
    try {
      yield [this.#progress()]
      for (const table of this.#tables.values()) table.skipsOpen = true
      yield* this.#replay(this.#spool, committed)
      for (const table of this.#tables.values()) table.skipsOpen = table.evolves
      this.#given = this.#last
      this.#opened = this.#spool
      this.#opening.resolve(this.#spool)
      yield [this.#progress(), { type: 'streaming' }]
      while (!this.#isStopped) {
        const events = this.#events()
        if (events.length > 0) {
          yield events
          this.#taken()
        } else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      this.#opening.reject(new FrazilError('unavailable', 'closed', 'the engine is closing'))
      this.#taken()
      for (const { rows } of this.#stored.splice(0)) letGo(rows)
      for (const table of this.#tables.values()) table.release()
    }
  }

  /** Gives out again what the lake does not have. */
  async *#replay(spool: Spool, committed: number): AsyncIterableIterator<readonly SourceEvent[]> {
    let events: SourceEvent[] = []
    let rows = 0
    for await (const record of spool.records(committed)) {
      if (this.#isStopped) return
      const table = this.#tables.get(record.table)
      // A table that was dropped.
      if (table) yield* this.#replayRecord(table, record, events)
      events.push({ type: 'commit', position: String(record.sequence), timeMs: record.timeMs })
      rows += record.rows
      if (rows < replayRows) continue
      yield events
      this.#taken()
      events = []
      rows = 0
    }
    if (events.length === 0) return
    yield events
    this.#taken()
  }

  async *#replayRecord(
    table: PushedTable,
    { body, operation, head }: SpoolRecord,
    events: SourceEvent[],
  ): AsyncIterableIterator<readonly SourceEvent[]> {
    const { fields, form } = decodeHead(head)
    if (fields && table.restore(fields)) events.push({ type: 'table', table: table.table })
    const lane = table.lane(operation)
    let rows: Rows[] = []
    const handOver = (): void => {
      for (const part of rows) events.push(table.change(operation, part))
      for (const part of rows) this.#handedOut.push(part)
      rows = []
    }
    const isArrow = form === 'arrow'
    const count = isArrow ? lane.useArrow(body) : 0
    let at = 0
    while (isArrow ? at < count : hasRow(body, at)) {
      const after = lane.append(body, at, isArrow ? count : body.length, rows)
      if (after >= 0) at = after
      else if (isArrow && after === laneOutcomes.refused) at++
      else if (after === laneOutcomes.wait) {
        handOver()
        if (events.length > 0) {
          yield events.splice(0)
          this.#taken()
        }
        await Promise.race([this.#parts.pool.freed(), new Promise<void>((resolve) => (this.#wake = resolve))])
        if (this.#isStopped) return
      } else {
        letGo(rows)
        const error = new FrazilError('corrupt', 'spool-row', 'the spool has a row that the table cannot take', {
          hint: 'This should not happen: the row was checked when it was accepted.',
        })
        events.push({ type: 'failed', table: table.table.id, error })
        return
      }
    }
    if (isArrow) lane.useArrow(null)
    handOver()
  }

  /** What there is to give out. */
  #events(): SourceEvent[] {
    const events: SourceEvent[] = []
    for (const { table, arrived } of this.#arriving.splice(0)) {
      this.#announced.push(arrived)
      const floor = String(this.#given)
      events.push({ type: 'table', table, copying: { estimatedRows: 0 } }, { type: 'copied', table: table.id, floor, rows: 0 })
    }
    if (this.#stored.length === 0) return events
    const stored = this.#stored
    this.#stored = []
    for (const { table, shape, operation, rows, count } of stored) {
      this.#waitingRows -= count
      if (table.tells(shape)) events.push({ type: 'table', table: shape })
      for (const part of rows) {
        const change = table.change(operation, part)
        const last = events.at(-1)
        const both = last ? joined(last, change) : null
        if (both) events[events.length - 1] = both
        else events.push(change)
        this.#handedOut.push(part)
      }
    }
    this.#given = stored[stored.length - 1].sequence
    events.push({ type: 'commit', position: String(this.#given), timeMs: this.#parts.clock.now() })
    return events
  }

  /** The events that were given out last were taken. */
  #taken(): void {
    letGo(this.#handedOut)
    this.#handedOut = []
    for (const arrived of this.#announced.splice(0)) arrived()
  }

  #progress(): SourceEvent {
    return { type: 'progress', position: String(this.#given) }
  }

  // ---- rows ----------------------------------------------------------------------------------------------------------------

  async push(request: PushRequest): Promise<PushReceipt> {
    const spool = this.#opened ?? (await this.#opening.promise)
    if (this.#isStopped) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
    const table = this.#find(request.table)
    if (request.key === null) return this.#store(spool, table, request, 0)
    const digest = crc32(request.body)
    const known = this.#keys.find(table.table.id, request.key, this.#parts.clock.now())
    if (known) {
      if (known.digest !== digest) throw reusedKey()
      return { position: String(known.sequence), rows: known.rows, refused: 0, refusals: [], replayed: true }
    }
    const id = `${table.table.id}\n${request.key}`
    const underWay = this.#underWay.get(id)
    if (underWay) {
      if (underWay.digest !== digest) throw reusedKey()
      return { ...(await underWay.receipt), replayed: true }
    }
    const receipt = this.#store(spool, table, request, digest)
    this.#underWay.set(id, { digest, receipt })
    try {
      return await receipt
    } finally {
      this.#underWay.delete(id)
    }
  }

  async #store(spool: Spool, table: PushedTable, request: PushRequest, digest: number): Promise<PushReceipt> {
    if (spool.full || this.#waitingRows > mostWaitingRows) {
      throw new FrazilError('unavailable', 'overloaded', 'more rows come than can be stored', { hint: 'Send it again later.' })
    }
    const { operation } = request
    const { rows, count, refused, refusals, body } = this.#decode(table, request)
    if (count === 0) return { position: refused > 0 ? null : String(this.#durable), rows: 0, refused, refusals, replayed: false }
    const sequence = ++this.#last
    const { table: shape } = table
    const newShape = table.storing()
    const record: SpoolRecord = {
      sequence,
      timeMs: this.#parts.clock.now(),
      table: table.table.id,
      operation,
      rows: count,
      key: request.key ?? '',
      digest,
      head: encodeHead({ fields: newShape?.fields, ...(request.form === 'arrow' ? { form: 'arrow' } : {}) }),
      body,
    }
    this.#waitingRows += count
    try {
      await spool.append(record)
    } catch (error) {
      this.#waitingRows -= count
      letGo(rows)
      table.notStored()
      throw error
    }
    table.stored(newShape)
    if (request.key !== null) this.#keys.add(record)
    this.#durable = sequence
    if (this.#isStopped) letGo(rows)
    else this.#stored.push({ table, shape, operation, rows, count, sequence })
    this.#wake()
    return { position: String(sequence), rows: count, refused, refusals, replayed: false }
  }

  /** Decodes the rows of a request; if they have other columns than their table, and it may have them, it has them then. */
  #decode(table: PushedTable, request: PushRequest): Batch {
    const { operation } = request
    const { budget } = this.#parts.pool
    const decode = (sent: PushRequest): Batch => decodeBatch(sent, table.table.fields, table.lane(operation), budget)
    const mayEvolve = operation !== 'delete' && table.evolves
    // What Arrow needs is seen before its rows are.
    const isArrow = request.form === 'arrow'
    const first = isArrow && mayEvolve ? null : decode(request)
    if (first && (first.refused === 0 || !mayEvolve)) return first
    const before = table.table
    const grow = (sent: Parameters<typeof grownFields>[0]): SourceTable | null => {
      const fields = grownFields(sent, before.fields, table.keyNames)
      return fields && { ...before, fields }
    }
    const grown = grow(request)
    if (!grown) return first ?? decode(request)
    if (first) letGo(first.rows)
    try {
      table.reshape(grown)
      const second = decode(request)
      if (second.refused === 0) return second
      if (second.count === 0) {
        table.reshape(before)
        return second
      }
      if (isArrow) return second
      // The table gets the columns only that the good rows have.
      letGo(second.rows)
      table.reshape(grow({ body: second.body, form: 'lines' }) ?? before)
      return decode(request)
    } catch (error) {
      table.reshape(before)
      throw error
    }
  }

  #find(wanted: PushRequest['table']): PushedTable {
    for (const known of this.#tables.values()) {
      const { sourceName, namespace, name } = known.table
      if ('ingest' in wanted ? sourceName === wanted.ingest : namespace === wanted.namespace && name === wanted.name) return known
    }
    const text = 'ingest' in wanted ? wanted.ingest : `${wanted.namespace}.${wanted.name}`
    throw new FrazilError('request', 'unknown-table', `there is no table ${text} that takes rows`)
  }

  // ---- tables --------------------------------------------------------------------------------------------------------------

  async addTable(table: SourceTable): Promise<void> {
    if (!this.#opened) await this.#opening.promise
    assert(!this.#tables.has(table.id), 'ids of tables are new')
    await new Promise<void>((arrived) => {
      this.#arriving.push({ table, arrived })
      this.#wake()
    })
    const pushed = new PushedTable(table, this.#parts)
    pushed.skipsOpen = pushed.evolves
    this.#tables.set(table.id, pushed)
  }

  closeTable(id: string): void {
    const closed = this.#tables.get(id)
    if (closed) this.#left.add(closed.table, null)
    this.removeTable(id)
  }

  leaveTable(id: string, committed: Position | null): void {
    this.#left.know(id, Number(committed ?? 0))
    // What cannot be done now is done before anything leaves the spool.
    if (this.#spool) this.#left.save(this.#spool).catch(() => undefined)
  }

  removeTable(id: string): void {
    this.#tables.get(id)?.release()
    this.#tables.delete(id)
  }

  // ---- the contract of sources ---------------------------------------------------------------------------------------------

  memo(): string {
    return '{}'
  }

  reached(a: Position, b: Position): boolean {
    return Number(a) >= Number(b)
  }

  checkPosition(text: string): Position {
    if (/^\d{1,15}$/.test(text)) return text
    throw new FrazilError('request', 'bad-position', 'a position of the source of HTTP events is a whole number')
  }

  async head(): Promise<Position> {
    return String(this.#durable)
  }

  acknowledge(position: Position): void {
    const spool = this.#spool
    spool?.release(Number(position), async () => {
      await this.#left.save(spool)
      await this.#keys.store()
    })
  }

  async recopy(): Promise<void> {
    throw new FrazilError(
      'request',
      'nothing-to-copy',
      'rows that programs have sent are in the lake only: there is nothing to copy again',
    )
  }

  pause(): void {}

  resume(): void {}

  reach(): void {}

  lag(): null {
    return null
  }

  stop(): void {
    this.#isStopped = true
    this.#wake()
  }

  async close(): Promise<void> {
    this.stop()
    this.#opening.reject(new FrazilError('unavailable', 'closed', 'the engine is closing'))
    await this.#spool?.close()
  }
}

function reusedKey(): FrazilError {
  return new FrazilError('request', 'idempotency-key-reused', 'another request was stored with this Idempotency-Key', {
    hint: 'A new request needs a new key.',
  })
}

function hasRow(body: Uint8Array, from: number): boolean {
  for (let at = from; at < body.length; at++) {
    const byte = body[at]
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return true
  }
  return false
}

/** `last` together with `next`, where both are the same kind of change of rows that lie together. */
function joined(last: SourceEvent, next: Change): Change | null {
  if (next.type === 'insert') {
    return last.type === 'insert' && last.segment === next.segment && last.to === next.from ? { ...last, to: next.to } : null
  }
  if (next.type === 'upsert') {
    return last.type === 'upsert' && last.segment === next.segment && last.to === next.from ? { ...last, to: next.to } : null
  }
  if (next.type !== 'delete') return null
  return last.type === 'delete' && last.keys === next.keys && last.to === next.from ? { ...last, to: next.to } : null
}
