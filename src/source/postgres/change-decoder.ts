import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import type { SourceEvent } from '../../data/index.ts'
import { ChangeRuns } from './change-runs.ts'
import { lsnToText, readLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import { corrupt, keyTuple, newTuple, oldTuple, tag, timeMs, unknownKind } from './messages.ts'
import { refusal } from './refusals.ts'
import { noOldRow, refusedColumn, refusedError } from './refused-rows.ts'
import { readRelation } from './relation.ts'
import type { Relation } from './relation.ts'
import type { SegmentWriter } from './segment-writer.ts'
import { isAsKnown } from './shape-change.ts'
import type { BoundTable } from './stream-table.ts'
import { StreamTables } from './stream-tables.ts'
import type { StreamTablesOptions } from './stream-tables.ts'
import { sameKey, skipTuple } from './stream-tuple.ts'
import { StreamedCheck } from './streamed-check.ts'
import { StreamedTransactions } from './streamed-transactions.ts'
import { WholeTransactions } from './whole-transactions.ts'

/** Bytes of the number that messages in a segment of a streamed transaction have after their first byte. */
const streamedBytes = 4

/**
 * Decodes the messages of pgoutput into events: in binary or text form, protocol 1 to 4, large transactions before they end
 * (PostgreSQL documentation, "Logical Replication Message Formats"). It lives for one source and several connections: after a
 * lost one, {@link reconnect}.
 */
export class ChangeDecoder {
  /** End of the last transaction, or of the log, that was given out. */
  position: Lsn
  /** The furthest that the server has told of on this connection. */
  received: Lsn
  /** Those whose changes are given out. */
  readonly tables: StreamTables
  readonly #options: StreamTablesOptions
  readonly #runs = new ChangeRuns()
  readonly #streamed = new StreamedTransactions(this.#runs)
  readonly #whole = new WholeTransactions()
  #inTransaction = false
  /** Whether the open transaction has told anything. */
  #changed = false
  #skip = false
  #finalLsn: Lsn = 0
  /** Number of the open transaction. */
  #transaction = 0
  /** What the catalogue says about the tables of a streamed transaction that ends. */
  #checking: StreamedCheck | null = null

  constructor(start: Lsn, options: StreamTablesOptions) {
    this.position = start
    this.received = start
    this.#options = options
    this.tables = new StreamTables(options, this.#runs)
  }

  /** The stream is asked for values in binary form where their types have one. */
  get binary(): boolean {
    return this.tables.binary
  }

  /** The stream is asked for large transactions before they end. */
  get streaming(): boolean {
    return this.#whole.streaming
  }

  /** After a message that could not go on: an answer of the catalogue; null: memory. */
  get waitsFor(): Promise<void> | null {
    return this.#checking?.answered ?? this.tables.waitsFor
  }

  /**
   * Before the first connection: goes on at the lowest floor, since nothing that ends before is wanted. Nor may it be asked for: a transaction
   * that was open while the slot was made may be one that the server cannot decode (docs/postgres-faults.md).
   */
  skipToFloors(): SourceEvent[] {
    this.#progress(this.tables.lowestFloor)
    this.received = Math.max(this.received, this.position)
    return this.events()
  }

  /** Forgets the open transaction, and what a connection knows; the next one starts behind {@link position}. */
  reconnect(): SourceEvent[] {
    const events = this.events()
    events.push({ type: 'abort' })
    this.#inTransaction = false
    this.#streamed.clear()
    this.#whole.reconnect()
    this.received = this.position
    this.#checking = null
    this.tables.reconnect()
    return events
  }

  /** The events since it was last asked, as an array to keep. */
  events(): SourceEvent[] {
    return this.#runs.take()
  }

  /** Between transactions: the server has nothing more before `end`. */
  reached(end: Lsn): void {
    if (end > this.received) this.received = end
    if (this.#inTransaction || this.#streamed.inSegment) return
    this.#progress(end)
    this.#takeSightings()
  }

  /** Between transactions: tables that look otherwise from here on are a commit of their own. */
  #takeSightings(): void {
    const isAny = this.tables.takeSightings(this.position)
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
      this.tables.committed(this.#finalLsn)
    } else {
      this.#progress(end)
    }
    this.#skip = false
    this.#takeSightings()
    this.#whole.ended(this.#transaction)
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
    const table = this.tables.find(bytes.readUInt32BE(at + 1))
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
      const table = this.tables.find(bytes.readUInt32BE(at + 6 + i * 4))
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
    if (this.#streamed.inSegment) throw this.#whole.needed(this.#streamed.xid, error)
    this.tables.fail(table, error)
    return true
  }

  /** What it means is asked when a change needs it: the position decides whether one does. */
  #relation(bytes: Buffer, at: number, to: number): void {
    const relation = readRelation(bytes, at, to)
    const table = this.tables.told(relation)
    if (!table) return
    if (this.#streamed.inSegment) {
      this.#streamedRelation(table, relation)
    } else {
      table.news = relation
      table.answer = null
    }
  }

  /** The catalogue does not show yet what an open transaction did: {@link #checkStreamed} asks when it has ended. */
  #streamedRelation(table: BoundTable, relation: Relation): void {
    if (!isAsKnown(table.known, relation) || this.tables.hasToTell(table))
      throw this.#reshapedWhileOpen(this.#streamed.xid, table)
    this.#streamed.relation(table, relation)
    this.tables.readOpen(table, relation)
  }

  #reshapedWhileOpen(transaction: number, { known: { table } }: BoundTable): FrazilError {
    const message = `table ${table.sourceName} is changed by a large transaction`
    return this.#whole.needed(transaction, new FrazilError('unsupported', 'schema-changed', message))
  }

  /** Whether the tables of a streamed transaction are what its rows were read as. False: the catalogue has not answered yet. */
  #checkStreamed(transaction: number, relations: ReadonlyMap<BoundTable, Relation>): boolean {
    if (relations.size === 0) return true
    if (this.#checking === null) {
      const describe = this.#options.describe.bind(this.#options)
      this.#checking = new StreamedCheck(relations, (known, relation) => describe(known, relation, transaction))
      return false
    }
    const check = this.#checking
    if (!check.isAnswered) return false
    this.#checking = null
    const changed = check.changed(this.#options)
    if (changed) throw this.#reshapedWhileOpen(transaction, changed)
    return true
  }

  /** Whether a change of the table can be read. False: the catalogue has not answered yet. */
  #isReady(table: BoundTable): boolean {
    return (
      table.news === null || this.#streamed.inSegment || this.tables.learn(table, table.news, this.#transaction, this.#finalLsn)
    )
  }
}
