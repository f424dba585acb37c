import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import type { SourceEvent, SourceTable } from '../../data/index.ts'
import { ChangeRuns } from './change-runs.ts'
import { checkNotice, serverError } from './errors.ts'
import type { FrameDecoder } from './event-pump.ts'
import { lsnToText, readLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import { corrupt, keyTuple, newTuple, oldTuple, tag, timeMs, unknownKind } from './messages.ts'
import { refusal } from './refusals.ts'
import { noOldRow, refusedColumn, refusedError } from './refused-rows.ts'
import { readRelation } from './relation.ts'
import type { SegmentWriter } from './segment-writer.ts'
import { Sightings } from './sightings.ts'
import { StreamedCheck } from './streamed-check.ts'
import { StreamedTransactions } from './streamed-transactions.ts'
import type { Relation } from './relation.ts'
import { isAsKnown, settleShape } from './shape-change.ts'
import type { ColumnRules, KnownTable } from './shape-change.ts'
import { boundTable, dropShape, lowestFloor, makeShape, needsText, textNeeded } from './stream-table.ts'
import type { Answer, BoundTable, ShapeOptions, StreamTable } from './stream-table.ts'
import type { TableDescription } from './table-description.ts'
import { sameKey, skipTuple } from './stream-tuple.ts'

export interface ChangeDecoderOptions extends ShapeOptions, ColumnRules {
  readonly tables: readonly StreamTable[]
  /** No table that is read, or is going to be, needs the stream in text form. */
  readonly binary: boolean
  /** Asks the catalogue for the table of a message as it is at the time of the question, but not before `transaction` is visible. */
  describe(known: KnownTable, relation: Relation, transaction: number): Promise<TableDescription | null>
}

/** Bytes of the number that messages in a segment of a streamed transaction have after their first byte. */
const streamedBytes = 4

/**
 * Decodes a replication stream: pgoutput in binary or text form, protocol 1 to 4, large transactions before they end
 * (PostgreSQL documentation, "Logical Replication Message Formats"). It lives for one source and several connections: after a
 * lost one, {@link reconnect}.
 */
export class ChangeDecoder implements FrameDecoder {
  readonly finished = false
  /** An answer of the catalogue. */
  waitsFor: Promise<void> | null = null
  /** End of the last transaction, or of the log, that was given out. */
  position: Lsn
  /** The furthest that the server has told of on this connection. */
  received: Lsn
  /** The stream is open. */
  started = false
  /** The stream is asked for values in binary form where their types have one. */
  binary: boolean
  /** The stream is asked for large transactions before they end. */
  streaming = true
  /** The server wants a status at once. */
  onReplyRequested: () => void = () => {}
  onStarted: () => void = () => {}

  readonly #options: ChangeDecoderOptions
  readonly #tables = new Map<number, BoundTable>()
  /** The last Relation messages of this connection, also of tables that nobody has asked for yet: the server does not repeat them. */
  readonly #relations = new Map<number, Relation>()
  readonly #runs = new ChangeRuns()
  readonly #streamed = new StreamedTransactions(this.#runs)
  /** The transaction because of which the next connection is to give out whole ones only. */
  #wantsWhole: number | null = null
  /** The one because of which this connection does: behind it, they may come before they end again. */
  #wholeUntil: number | null = null
  #inTransaction = false
  /** Whether the open transaction has told anything. */
  #changed = false
  #skip = false
  #finalLsn: Lsn = 0
  /** Number of the open transaction. */
  #transaction = 0
  /** What the catalogue says about the tables of a streamed transaction that ends. */
  #checking: StreamedCheck | null = null
  /** Tables whose shape the open transaction has changed. */
  readonly #reshaped = new Set<BoundTable>()
  /** Shapes of tables that the stream may never tell of. */
  readonly sightings = new Sightings(this.#tables)
  #lastOid = -1
  #last: BoundTable | null = null

  constructor(start: Lsn, options: ChangeDecoderOptions) {
    this.position = start
    this.received = start
    this.#options = options
    this.binary = options.binary
    for (const table of options.tables) this.admit(table)
  }

  /** Changes of this table are wanted from here on; of one that it has they are wanted again, in the shape that is given. */
  admit(table: StreamTable): void {
    const oid = Number(table.table.id)
    const before = this.#tables.get(oid)
    if (before) dropShape(before)
    if (before) this.sightings.forget(before)
    this.#tables.set(oid, boundTable(table, this.#relations.get(oid) ?? null))
    this.#lastOid = -1
  }

  /** Of an admitted table: its changes count in transactions that end at or after `floor`. */
  setFloor(id: string, floor: Lsn): void {
    const table = this.#tables.get(Number(id))
    if (!table) return
    table.floor = floor
    table.live = false
  }

  /**
   * Before the first connection: goes on at the lowest floor, since nothing that ends before is wanted. Nor may it be asked for: a transaction
   * that was open while the slot was made may be one that the server cannot decode (docs/postgres-faults.md).
   */
  skipToFloors(): SourceEvent[] {
    this.#progress(lowestFloor(this.#tables.values()))
    this.received = Math.max(this.received, this.position)
    return this.events()
  }

  /** The changes of this table are not wanted any more. */
  forget(id: string): void {
    const table = this.#tables.get(Number(id))
    if (!table) return
    table.failed = true
    table.news = null
    dropShape(table)
  }

  /** Tables whose changes are or were wanted, as they were last. */
  get known(): SourceTable[] {
    return Array.from(this.#tables.values(), ({ known }) => known.table)
  }

  /** Whether the changes of this table are given out. */
  reads(id: string): boolean {
    return this.#tables.get(Number(id))?.failed === false
  }

  /** Forgets the open transaction, and what a connection knows; the next one starts behind {@link position}. */
  reconnect(): SourceEvent[] {
    this.binary &&= ![...this.#tables.values()].some((table) => !table.failed && needsText(table))
    const events = this.events()
    events.push({ type: 'abort' })
    this.#inTransaction = false
    this.#streamed.clear()
    this.streaming = this.#wantsWhole === null
    this.#wholeUntil = this.#wantsWhole
    this.#wantsWhole = null
    this.started = false
    this.received = this.position
    this.waitsFor = null
    this.#checking = null
    // The next connection sends a Relation before the first change of each table.
    for (const table of this.#tables.values()) {
      table.known = table.settled
      table.news = null
      table.answer = null
      dropShape(table)
    }
    this.#reshaped.clear()
    this.sightings.clear()
    this.#relations.clear()
    return events
  }

  /** Gives up all segments. */
  release(): void {
    for (const table of this.#tables.values()) dropShape(table)
  }

  releaseSealed(): void {
    for (const { shape } of this.#tables.values()) shape?.writers.forEach((writer) => writer.releaseSealed())
  }

  events(): SourceEvent[] {
    return this.#runs.take()
  }

  frame(type: number, bytes: Buffer, from: number, to: number): boolean {
    switch (type) {
      case 0x64: // CopyData
        if (bytes[from] === 0x77 && from < to) {
          if (to - from < 26) throw corrupt('XLogData', from, to)
          return this.change(bytes, from + 25, to)
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
    this.reached(readLsn(bytes, from + 1))
    if (bytes[from + 17] === 1) this.onReplyRequested()
  }

  /** Between transactions: the server has nothing more before `end`. */
  reached(end: Lsn): void {
    if (end > this.received) this.received = end
    if (this.#inTransaction || this.#streamed.inSegment) return
    this.#progress(end)
    this.#takeSightings()
  }

  /** Between transactions: tables that look otherwise from here on. */
  #takeSightings(): void {
    let isAny = false
    for (const [table, { relation, description }] of this.sightings.due(this.position)) {
      const known = this.#settle(table, relation, description, true)
      if (known && known.table !== table.known.table) {
        isAny = true
        table.known = known
        if (this.binary && needsText(table)) throw textNeeded(table)
        dropShape(table)
        table.news = relation
        table.answer = null
        this.#runs.push({ type: 'table', table: known.table })
      }
      if (known) table.known = known
      table.settled = table.known
    }
    const timeMs = this.#options.parts.clock.now()
    if (isAny) this.#runs.push({ type: 'commit', position: lsnToText(this.position), timeMs })
  }

  #progress(end: Lsn): void {
    if (end <= this.position) return
    this.position = end
    this.#runs.progress({ type: 'progress', position: lsnToText(end) })
  }

  /** One message of pgoutput, bytes [at, to). False: it cannot go on now, and wants to be asked again with the same message. */
  change(bytes: Buffer, at: number, to: number): boolean {
    if (this.#streamed.inSegment) return this.#streamedChange(bytes, at, to)
    switch (bytes[at]) {
      case tag.insert:
        return this.#skip || this.#insert(bytes, at, to)
      case tag.update:
        return this.#skip || this.#update(bytes, at, to)
      case tag.delete:
        return this.#skip || this.#delete(bytes, at, to)
      case tag.begin:
        this.#begin(bytes, at, to)
        return true
      case tag.commit:
        this.#commit(bytes, at, to)
        return true
      case tag.relation:
        this.#relation(bytes, at, to)
        return true
      case tag.truncate:
        if (!this.#skip) this.#truncate(bytes, at, to)
        return true
      case tag.streamStart:
        if (this.#inTransaction) throw corrupt('Stream Start', at, to)
        this.#streamed.start(bytes, at, to)
        return true
      case tag.streamCommit:
        return this.#streamCommit(bytes, at, to)
      case tag.streamAbort:
        this.#streamed.abort(bytes, at, to)
        return true
      case tag.origin:
      case tag.type:
      case tag.message:
        return true
      default:
        throw unknownKind(bytes[at])
    }
  }

  /** A message between Stream Start and Stream Stop: as others, but for the number of the subtransaction after its first byte. */
  #streamedChange(bytes: Buffer, at: number, to: number): boolean {
    const kind = bytes[at]
    if (kind === tag.streamStop) {
      this.#streamed.stop(at, to)
      return true
    }
    this.#streamed.enter(bytes, at, to)
    const from = at + streamedBytes
    switch (kind) {
      case tag.insert:
        return this.#insert(bytes, from, to)
      case tag.update:
        return this.#update(bytes, from, to)
      case tag.delete:
        return this.#delete(bytes, from, to)
      case tag.relation:
        this.#relation(bytes, from, to)
        return true
      case tag.truncate:
        this.#truncate(bytes, from, to)
        return true
      case tag.origin:
      case tag.type:
      case tag.message:
        return true
      default:
        throw unknownKind(kind)
    }
  }

  #begin(bytes: Buffer, at: number, to: number): void {
    if (to - at !== 21 || this.#inTransaction) throw corrupt('Begin', at, to)
    this.#finalLsn = readLsn(bytes, at + 1)
    this.#transaction = bytes.readUInt32BE(at + 17)
    this.#inTransaction = true
    this.#changed = false
    // The server repeats nothing before the position asked for; if it does, we do not.
    this.#skip = this.#finalLsn < this.position
  }

  #commit(bytes: Buffer, at: number, to: number): void {
    if (to - at !== 26 || !this.#inTransaction) throw corrupt('Commit', at, to)
    const end = readLsn(bytes, at + 10)
    if (end > this.received) this.received = end
    this.#inTransaction = false
    if (this.#changed) {
      this.position = end
      this.#runs.push({ type: 'commit', position: lsnToText(end), timeMs: timeMs(bytes, at + 18) })
      for (const table of this.#reshaped) table.settled = table.known
      this.#reshaped.clear()
    } else {
      this.#progress(end)
    }
    this.#skip = false
    this.#takeSightings()
    if (this.#transaction !== this.#wholeUntil) return
    this.#wholeUntil = null
    const message = 'the stream is opened again, for large transactions before they end'
    throw new FrazilError('unavailable', 'streaming-again', message)
  }

  #streamCommit(bytes: Buffer, at: number, to: number): boolean {
    if (this.#inTransaction) throw corrupt('Stream Commit', at, to)
    const { xid, relations } = this.#streamed.ending(bytes, at, to, this.position)
    if (!this.#checkStreamed(xid, relations)) return false
    const { transaction, end, commits } = this.#streamed.commit(bytes, at, to, this.position)
    if (end > this.received) this.received = end
    if (commits) {
      this.position = end
      this.#runs.push({ type: 'commit', position: lsnToText(end), timeMs: timeMs(bytes, at + 22), transaction })
    } else {
      this.#progress(end)
    }
    this.#takeSightings()
    return true
  }

  /** The table of a change, or null when its changes are not wanted. */
  #wanted(bytes: Buffer, at: number, to: number): BoundTable | null {
    const { inSegment } = this.#streamed
    if (to - at < 8 || !(this.#inTransaction || inSegment)) throw corrupt('change', at, to)
    const oid = bytes.readUInt32BE(at + 1)
    let table = this.#last
    if (oid !== this.#lastOid) {
      table = this.#tables.get(oid) ?? null
      this.#last = table
      this.#lastOid = oid
    }
    if (table === null || table.failed) return null
    if (!table.live && !inSegment) {
      if (this.#finalLsn < table.floor) return null
      table.live = true
    }
    if (table.shape === null && table.news === null)
      throw new FrazilError('corrupt', 'no-relation', 'the replication stream has a change before its Relation')
    if (inSegment) this.#streamed.changed(table)
    else this.#changed = true
    return table
  }

  #insert(bytes: Buffer, at: number, to: number): boolean {
    const table = this.#wanted(bytes, at, to)
    if (table && !this.#isReady(table)) return false
    if (!table?.shape) return true
    if (bytes[at + 5] !== newTuple) throw corrupt('Insert', at, to)
    const { rows } = table.shape
    const end = rows.decode(bytes, at + 6, to, -1, -1)
    if (end < 0) return this.#refused(table, rows, end)
    if (end !== to) throw corrupt('Insert', at, to)
    if (rows.outcome.unchangedCount > 0) {
      // An UPDATE by which the row passes the filter of its publication; the values were never sent.
      if (!table.loose) throw corrupt('Insert', at, to)
      const column = rows.fields[rows.outcome.unchanged[0]].name
      return this.#fail(table, refusedError(table.known.table, column, refusal.unchanged))
    }
    this.#runs.add(table.id, table.loose && table.known.table.key.kind === 'columns' ? 'put' : 'insert', rows, null)
    return true
  }

  #update(bytes: Buffer, at: number, to: number): boolean {
    const table = this.#wanted(bytes, at, to)
    if (table && !this.#isReady(table)) return false
    if (!table?.shape) return true
    const { keys, keyPlaces, width } = table.shape
    let next = at + 5
    let oldKey = -1
    let oldRow = -1
    if (bytes[next] === keyTuple || bytes[next] === oldTuple) {
      oldKey = next + 1
      if (bytes[next] === oldTuple) oldRow = oldKey
      next = skipTuple(bytes, oldKey, to, width)
      if (next >= 0 && next < to && skipTuple(bytes, next + 1, to, width) !== to) throw corrupt('Update', at, to)
    }
    if (next < 0 || next >= to || bytes[next] !== newTuple) throw corrupt('Update', at, to)
    // A key may be sent although it did not change (when it is stored out of line).
    const keyed = oldKey >= 0 && keys !== null && (keyPlaces === null || !sameKey(bytes, oldKey, next + 1, keyPlaces))
    if (keyPlaces === null && oldRow < 0) return this.#fail(table, noOldRow(table.known.table, 'UPDATE'))
    if (keyed) {
      const end = keys.decode(bytes, oldKey, to, -1, -1)
      if (end < 0) return this.#refused(table, keys, end)
    }
    let { rows } = table.shape
    let end = rows.decode(bytes, next + 1, to, oldRow, oldKey)
    if (end >= 0 && rows.outcome.unchangedCount > 0) {
      rows = table.shape.partial()
      end = rows.decode(bytes, next + 1, to, oldRow, oldKey)
    }
    if (end < 0) return this.#refused(table, rows, end)
    if (end !== to) throw corrupt('Update', at, to)
    // A row that says which values it takes from the one before it has to find that one.
    if (table.loose && rows.outcome.unchangedCount === 0) {
      if (keyed) this.#runs.add(table.id, 'remove', keys, null)
      this.#runs.add(table.id, keyPlaces === null ? 'insert' : 'put', rows, null)
    } else if (keyed) this.#runs.add(table.id, 'update', rows, keys)
    else this.#runs.add(table.id, 'upsert', rows, null)
    return true
  }

  #delete(bytes: Buffer, at: number, to: number): boolean {
    const table = this.#wanted(bytes, at, to)
    if (table && !this.#isReady(table)) return false
    if (!table?.shape) return true
    const { keys, keyPlaces } = table.shape
    const kind = bytes[at + 5]
    if (kind !== keyTuple && kind !== oldTuple) throw corrupt('Delete', at, to)
    if (keys === null || (keyPlaces === null && kind === keyTuple)) {
      return this.#fail(table, noOldRow(table.known.table, 'DELETE'))
    }
    const end = keys.decode(bytes, at + 6, to, -1, -1)
    if (end < 0) return this.#refused(table, keys, end)
    if (end !== to) throw corrupt('Delete', at, to)
    this.#runs.add(table.id, table.loose ? 'remove' : 'delete', keys, null)
    return true
  }

  #truncate(bytes: Buffer, at: number, to: number): void {
    const { inSegment } = this.#streamed
    if (to - at < 6 || !(this.#inTransaction || inSegment)) throw corrupt('Truncate', at, to)
    const count = bytes.readUInt32BE(at + 1)
    if (to - at !== 6 + count * 4) throw corrupt('Truncate', at, to)
    for (let i = 0; i < count; i++) {
      const table = this.#tables.get(bytes.readUInt32BE(at + 6 + i * 4))
      if (!table || table.failed || (!table.live && !inSegment && this.#finalLsn < table.floor)) continue
      this.#runs.truncate(table.id)
      if (inSegment) this.#streamed.changed(table)
      else this.#changed = true
    }
  }

  /** False: wait for memory and come again. Otherwise the table cannot go on. */
  #refused(table: BoundTable, writer: SegmentWriter, code: number): boolean {
    if (code === refusal.wait) return false
    const { column } = refusedColumn(table.known.table, writer)
    return this.#fail(table, refusedError(table.known.table, column, code))
  }

  #fail(table: BoundTable, error: FrazilError): boolean {
    // It may never have happened: only whole transactions make a table fail, or change its shape.
    if (this.#streamed.inSegment) throw this.#wholeNeeded(this.#streamed.xid, error)
    table.failed = true
    table.news = null
    dropShape(table)
    this.#changed = true
    this.#runs.push({ type: 'failed', table: table.id, error })
    return true
  }

  #wholeNeeded(transaction: number, cause: FrazilError): FrazilError {
    this.#wantsWhole = transaction
    const message = 'the stream is opened again for whole transactions, because an open one changes more than rows'
    return new FrazilError('unavailable', 'whole-needed', message, { cause })
  }

  /** What it means is asked when a change needs it: the position decides whether one does. */
  #relation(bytes: Buffer, at: number, to: number): void {
    const relation = readRelation(bytes, at, to)
    this.#relations.set(relation.oid, relation)
    const table = this.#tables.get(relation.oid)
    if (!table || table.failed) return
    this.sightings.forget(table)
    if (this.#streamed.inSegment) {
      this.#streamedRelation(table, relation)
    } else {
      table.news = relation
      table.answer = null
    }
  }

  /** The catalogue does not show yet what an open transaction did: {@link #checkStreamed} asks when it has ended. */
  #streamedRelation(table: BoundTable, relation: Relation): void {
    if (!isAsKnown(table.known, relation)) throw this.#reshapedWhileOpen(this.#streamed.xid, table)
    this.#streamed.relation(table, relation)
    // Once this transaction has ended the server takes the message for sent, and does not repeat it: one from before is outdated.
    if (table.news) table.news = relation
    if (this.binary && needsText(table)) throw textNeeded(table)
    this.#makeShape(table, relation, false)
  }

  #reshapedWhileOpen(transaction: number, { known: { table } }: BoundTable): FrazilError {
    const message = `table ${table.sourceName} is changed by a large transaction`
    return this.#wholeNeeded(transaction, new FrazilError('unsupported', 'schema-changed', message))
  }

  /** Whether the tables of a streamed transaction are what its rows were read as. False: the catalogue has not answered yet. */
  #checkStreamed(transaction: number, relations: ReadonlyMap<BoundTable, Relation>): boolean {
    if (relations.size === 0) return true
    if (this.#checking === null) {
      const describe = this.#options.describe.bind(this.#options)
      this.#checking = new StreamedCheck(relations, (known, relation) => describe(known, relation, transaction))
      this.waitsFor = this.#checking.answered
      return false
    }
    const check = this.#checking
    if (!check.isAnswered) return false
    this.waitsFor = null
    this.#checking = null
    const changed = check.changed(this.#options)
    if (changed) throw this.#reshapedWhileOpen(transaction, changed)
    return true
  }

  /** Whether a change of the table can be read. False: the catalogue has not answered yet. */
  #isReady(table: BoundTable): boolean {
    return table.news === null || this.#streamed.inSegment || this.#learn(table, table.news)
  }

  /** Understands a table's last Relation message. False: the catalogue has not answered yet. */
  #learn(table: BoundTable, relation: Relation): boolean {
    if (table.answer === null) {
      const answer: Answer = { description: 'awaited' }
      table.answer = answer
      this.waitsFor = this.#options.describe(table.known, relation, this.#transaction).then((description) => {
        answer.description = description
      })
      return false
    }
    const { description } = table.answer
    if (description === 'awaited') return false
    this.waitsFor = null
    table.news = null
    table.answer = null
    const known = this.#settle(table, relation, description)
    if (!known) return true
    const isNew = known.table !== table.known.table
    table.known = known
    this.#reshaped.add(table)
    if (this.binary && needsText(table)) throw textNeeded(table)
    if (isNew) this.#runs.push({ type: 'table', table: known.table })
    this.#makeShape(table, relation, isNew)
    return true
  }

  /** The table as it is from here on; null when it cannot go on. */
  #settle(table: BoundTable, relation: Relation, description: TableDescription | null, isLatest = false): KnownTable | null {
    try {
      return settleShape(table.known, relation, description, this.#options, isLatest)
    } catch (error) {
      if (!(error instanceof FrazilError) || error.kind !== 'unsupported') throw error
      this.#fail(table, error)
      return null
    }
  }

  #makeShape(table: BoundTable, relation: Relation, isNew: boolean): void {
    const signature = JSON.stringify(relation.columns.map((column) => column.name))
    if (!isNew && table.shape?.signature === signature) return
    dropShape(table)
    table.shape = makeShape(table, relation, signature, this.#options)
  }
}
