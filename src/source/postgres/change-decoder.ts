import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import type { Segment, SourceEvent, SourceTable } from '../../data/index.ts'
import type { SourceParts } from '../source.ts'
import type { PlannedColumn } from './catalogue.ts'
import type { Codec } from './codecs.ts'
import { locate, tupleDecoder } from './decoder.ts'
import type { TupleDecoder, WireColumn } from './decoder.ts'
import { readServerMessage, serverError } from './errors.ts'
import type { FrameDecoder } from './event-pump.ts'
import { lsnToText, readLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import { refusal, refusalHint, refusalText } from './refusals.ts'
import { SegmentWriter } from './segment-writer.ts'
import type { RetiredSegments } from './segment-writer.ts'

/** A table of the stream: its changes count in transactions that end at or after `floor`. */
export interface StreamTable {
  readonly table: SourceTable
  readonly columns: readonly PlannedColumn[]
  readonly floor: Lsn
}

export interface ChangeDecoderOptions {
  readonly tables: readonly StreamTable[]
  readonly parts: SourceParts
  readonly retired: RetiredSegments
  codecOf(typeOid: number, modifier: number): Codec | null
  /** How the tuple decoders are made; tests pass the plain one. */
  readonly makeDecoder?: (columns: readonly WireColumn[]) => TupleDecoder
}

/** A table with what its changes are written by; made at its Relation message. */
interface BoundTable {
  readonly id: string
  readonly table: SourceTable
  readonly columns: readonly PlannedColumn[]
  readonly floor: Lsn
  /** True once a transaction at or past the floor has come: all later ones are. */
  live: boolean
  failed: boolean
  shape: Shape | null
}

interface Shape {
  /** Names and types as the Relation message has them. */
  readonly signature: string
  readonly rows: SegmentWriter
  readonly keys: SegmentWriter | null
  /** Places of the key's columns in a tuple; null when all of the row is the key. */
  readonly keyPlaces: readonly number[] | null
  readonly width: number
}

const kinds = { none: 0, insert: 1, upsert: 2, update: 3, delete: 4 } as const
type RunKind = (typeof kinds)[keyof typeof kinds]

const epochMs = 946_684_800_000

const tag = {
  begin: 0x42, // B
  commit: 0x43, // C
  origin: 0x4f, // O
  relation: 0x52, // R
  type: 0x59, // Y
  insert: 0x49, // I
  update: 0x55, // U
  delete: 0x44, // D
  truncate: 0x54, // T
  message: 0x4d, // M
  streamAbort: 0x41, // A
} as const

const newTuple = 0x4e // N
const keyTuple = 0x4b // K
const oldTuple = 0x4f // O

/**
 * Decodes a replication stream: pgoutput in binary form, protocol 1 to 4 without streaming of open transactions
 * (PostgreSQL documentation, "Logical Replication Message Formats"). It lives for one source and several connections: after a
 * lost one, {@link reconnect}.
 */
export class ChangeDecoder implements FrameDecoder {
  readonly finished = false
  /** End of the last transaction, or of the log, that was given out. */
  position: Lsn
  /** The furthest that the server has told of on this connection. */
  received: Lsn
  /** The stream is open. */
  started = false
  /** The server wants a status at once. */
  onReplyRequested: () => void = () => {}
  onStarted: () => void = () => {}

  readonly #options: ChangeDecoderOptions
  readonly #tables = new Map<number, BoundTable>()
  #events: SourceEvent[] = []
  #inTransaction = false
  /** Whether the open transaction has told anything. */
  #changed = false
  #skip = false
  #finalLsn: Lsn = 0
  #lastOid = -1
  #last: BoundTable | null = null
  // The run of equal changes that is being extended.
  #runKind: RunKind = kinds.none
  #runTable: BoundTable | null = null
  #runSegment: Segment | null = null
  #runFrom = 0
  #runTo = 0
  #runKeys: Segment | null = null
  #runKeysFrom = 0

  constructor(start: Lsn, options: ChangeDecoderOptions) {
    this.position = start
    this.received = start
    this.#options = options
    for (const { table, columns, floor } of options.tables) {
      this.#tables.set(Number(table.id), { id: table.id, table, columns, floor, live: false, failed: false, shape: null })
    }
  }

  /** Forgets the open transaction, and what a connection knows; the next one starts behind {@link position}. */
  reconnect(): SourceEvent[] {
    this.#closeRun()
    const events = this.events()
    events.push({ type: 'abort' })
    this.#inTransaction = false
    this.started = false
    this.received = this.position
    return events
  }

  /** Gives up all segments. */
  release(): void {
    for (const { shape } of this.#tables.values()) {
      shape?.rows.release()
      shape?.keys?.release()
    }
  }

  releaseSealed(): void {
    for (const { shape } of this.#tables.values()) {
      shape?.rows.releaseSealed()
      shape?.keys?.releaseSealed()
    }
  }

  events(): SourceEvent[] {
    this.#closeRun()
    const events = this.#events
    this.#events = []
    return events
  }

  frame(type: number, bytes: Buffer, from: number, to: number): boolean {
    switch (type) {
      case 0x64: // CopyData
        if (bytes[from] === 0x77 && from < to) {
          if (to - from < 26) throw corrupt('XLogData', from, to)
          return this.#message(bytes, from + 25, to)
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
        this.#notice(bytes, from, to)
        return true
      case 0x63: // CopyDone
        throw new FrazilError('unavailable', 'stream-ended', 'Postgres ended the replication stream')
      default:
        return true
    }
  }

  #keepalive(bytes: Buffer, from: number, to: number): void {
    if (to - from < 18) throw corrupt('keepalive', from, to)
    const end = readLsn(bytes, from + 1)
    if (end > this.received) this.received = end
    if (!this.#inTransaction) this.#progress(end)
    if (bytes[from + 17] === 1) this.onReplyRequested()
  }

  #progress(end: Lsn): void {
    if (end <= this.position) return
    this.#closeRun()
    this.position = end
    const event: SourceEvent = { type: 'progress', position: lsnToText(end) }
    if (this.#events.at(-1)?.type === 'progress') this.#events[this.#events.length - 1] = event
    else this.#events.push(event)
  }

  #notice(bytes: Buffer, from: number, to: number): void {
    const { code, message } = readServerMessage(bytes, from, to)
    // From 18 on the server goes on without a publication that it cannot load, which would lose its changes.
    if (code === '55000' && message.includes('publication')) {
      throw new FrazilError('corrupt', 'publication-missing', `Postgres skips changes: ${message}`, {
        hint: 'the publication was dropped after the slot was made: frazil drop the source, then resync its tables',
      })
    }
  }

  #message(bytes: Buffer, at: number, to: number): boolean {
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
      case tag.origin:
      case tag.type:
      case tag.message:
      // Postgres 18 tells of aborted subtransactions also where no streaming was asked for; nothing of them was sent.
      case tag.streamAbort:
        return true
      default:
        throw new FrazilError('corrupt', 'bad-message', `the replication stream has a message of unknown kind ${bytes[at]}`)
    }
  }

  #begin(bytes: Buffer, at: number, to: number): void {
    if (to - at !== 21 || this.#inTransaction) throw corrupt('Begin', at, to)
    this.#finalLsn = readLsn(bytes, at + 1)
    this.#inTransaction = true
    this.#changed = false
    // The server repeats nothing before the position asked for; if it does, we do not.
    this.#skip = this.#finalLsn < this.position
  }

  #commit(bytes: Buffer, at: number, to: number): void {
    if (to - at !== 26 || !this.#inTransaction) throw corrupt('Commit', at, to)
    this.#closeRun()
    const end = readLsn(bytes, at + 10)
    if (end > this.received) this.received = end
    this.#inTransaction = false
    if (this.#changed) {
      const micros = bytes.readInt32BE(at + 18) * 4294967296 + bytes.readUInt32BE(at + 22)
      this.position = end
      this.#events.push({ type: 'commit', position: lsnToText(end), timeMs: Math.floor(micros / 1000) + epochMs })
    } else {
      this.#progress(end)
    }
    this.#skip = false
  }

  /** The table of a change, or null when its changes are not wanted. */
  #wanted(bytes: Buffer, at: number, to: number): BoundTable | null {
    if (to - at < 8 || !this.#inTransaction) throw corrupt('change', at, to)
    const oid = bytes.readUInt32BE(at + 1)
    let table = this.#last
    if (oid !== this.#lastOid) {
      table = this.#tables.get(oid) ?? null
      this.#last = table
      this.#lastOid = oid
    }
    if (table === null || table.failed) return null
    if (!table.live) {
      if (this.#finalLsn < table.floor) return null
      table.live = true
    }
    if (table.shape === null)
      throw new FrazilError('corrupt', 'no-relation', 'the replication stream has a change before its Relation')
    return table
  }

  #insert(bytes: Buffer, at: number, to: number): boolean {
    const table = this.#wanted(bytes, at, to)
    if (!table?.shape) return true
    if (bytes[at + 5] !== newTuple) throw corrupt('Insert', at, to)
    const { rows } = table.shape
    const end = rows.decode(bytes, at + 6, to, -1, -1)
    if (end < 0) return this.#refused(table, rows, end)
    if (end !== to) throw corrupt('Insert', at, to)
    this.#add(table, kinds.insert, rows, null)
    return true
  }

  #update(bytes: Buffer, at: number, to: number): boolean {
    const table = this.#wanted(bytes, at, to)
    if (!table?.shape) return true
    const { rows, keys, keyPlaces, width } = table.shape
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
    if (keyPlaces === null && oldRow < 0) return this.#fail(table, 'corrupt', 'no-old-row', 'sent an UPDATE without the old row')
    if (keyed) {
      const end = keys.decode(bytes, oldKey, to, -1, -1)
      if (end < 0) return this.#refused(table, keys, end)
    }
    const end = rows.decode(bytes, next + 1, to, oldRow, oldKey)
    if (end < 0) return this.#refused(table, rows, end)
    if (end !== to) throw corrupt('Update', at, to)
    if (keyed) this.#add(table, kinds.update, rows, keys)
    else this.#add(table, kinds.upsert, rows, null)
    return true
  }

  #delete(bytes: Buffer, at: number, to: number): boolean {
    const table = this.#wanted(bytes, at, to)
    if (!table?.shape) return true
    const { keys, keyPlaces } = table.shape
    const kind = bytes[at + 5]
    if (kind !== keyTuple && kind !== oldTuple) throw corrupt('Delete', at, to)
    if (keys === null || (keyPlaces === null && kind === keyTuple)) {
      return this.#fail(table, 'corrupt', 'no-old-row', 'sent a DELETE without the old row')
    }
    const end = keys.decode(bytes, at + 6, to, -1, -1)
    if (end < 0) return this.#refused(table, keys, end)
    if (end !== to) throw corrupt('Delete', at, to)
    this.#add(table, kinds.delete, keys, null)
    return true
  }

  #truncate(bytes: Buffer, at: number, to: number): void {
    if (to - at < 6 || !this.#inTransaction) throw corrupt('Truncate', at, to)
    const count = bytes.readUInt32BE(at + 1)
    if (to - at !== 6 + count * 4) throw corrupt('Truncate', at, to)
    this.#closeRun()
    for (let i = 0; i < count; i++) {
      const table = this.#tables.get(bytes.readUInt32BE(at + 6 + i * 4))
      if (!table || table.failed || (!table.live && this.#finalLsn < table.floor)) continue
      this.#events.push({ type: 'truncate', table: table.id })
      this.#changed = true
    }
  }

  /** Counts the row decoded last and makes it part of the run, or begins one. */
  #add(table: BoundTable, kind: RunKind, rows: SegmentWriter, keys: SegmentWriter | null): void {
    const { segment } = rows
    const row = rows.accept()
    const keySegment = keys === null ? null : keys.segment
    const keyRow = keys === null ? 0 : keys.accept()
    if (kind !== this.#runKind || table !== this.#runTable || segment !== this.#runSegment || keySegment !== this.#runKeys) {
      this.#closeRun()
      this.#changed = true
      this.#runKind = kind
      this.#runTable = table
      this.#runSegment = segment
      this.#runFrom = row
      this.#runKeys = keySegment
      this.#runKeysFrom = keyRow
    }
    this.#runTo = row + 1
  }

  #closeRun(): void {
    const segment = this.#runSegment
    if (this.#runKind === kinds.none || segment === null || this.#runTable === null) return
    const run = { table: this.#runTable.id, from: this.#runFrom, to: this.#runTo }
    if (this.#runKind === kinds.insert) this.#events.push({ type: 'insert', ...run, segment })
    else if (this.#runKind === kinds.upsert) this.#events.push({ type: 'upsert', ...run, segment, mustExist: true })
    else if (this.#runKind === kinds.delete) this.#events.push({ type: 'delete', ...run, keys: segment, mustExist: true })
    else if (this.#runKeys)
      this.#events.push({ type: 'update', ...run, segment, keys: this.#runKeys, keysFrom: this.#runKeysFrom })
    this.#runKind = kinds.none
    this.#runTable = null
    this.#runSegment = null
    this.#runKeys = null
  }

  /** False: wait for memory and come again. Otherwise the table cannot go on. */
  #refused(table: BoundTable, writer: SegmentWriter, code: number): boolean {
    if (code === refusal.wait) return false
    const { column } = refusedColumn(table.table, writer)
    return this.#failWith(table, refusedError(table.table, column, code))
  }

  #fail(table: BoundTable, kind: 'corrupt' | 'unsupported', code: string, what: string, hint?: string): boolean {
    const { table: source } = table
    const name = `${source.namespace}.${source.name}`
    return this.#failWith(table, new FrazilError(kind, code, `table ${source.sourceName} ${what}`, { table: name, hint }))
  }

  #failWith(table: BoundTable, error: FrazilError): boolean {
    this.#closeRun()
    table.failed = true
    table.shape?.rows.release()
    table.shape?.keys?.release()
    this.#changed = true
    this.#events.push({ type: 'failed', table: table.id, error })
    return true
  }

  #relation(bytes: Buffer, at: number, to: number): void {
    const relation = readRelation(bytes, at, to)
    const table = this.#tables.get(relation.oid)
    if (!table || table.failed) return
    const difference = this.#difference(table, relation)
    if (difference !== null) {
      const hint = 'frazil resync the table: it is copied anew in its new shape'
      this.#fail(table, 'unsupported', 'schema-changed', difference, hint)
      return
    }
    const signature = JSON.stringify(relation.columns.map((column) => column.name))
    if (table.shape?.signature === signature) return
    this.#closeRun()
    table.shape?.rows.release()
    table.shape?.keys?.release()
    table.shape = this.#shape(table, relation, signature)
  }

  /** How the table at the source differs from the one we know, as the rest of a sentence. */
  #difference(table: BoundTable, relation: Relation): string | null {
    const known = new Map(table.columns.map((column) => [column.name, column]))
    for (const { name, typeOid, modifier } of relation.columns) {
      const column = known.get(name)
      if (!column) return `has a new column "${name}"`
      const same = typeOid === column.typeOid && modifier === column.modifier
      if (!same && this.#options.codecOf(typeOid, modifier)?.signature !== column.codec.signature) {
        return `has another type for column "${name}"`
      }
      known.delete(name)
    }
    const [gone] = known.keys()
    if (gone !== undefined) return `does not have column "${gone}" any more`
    const { key, fields } = table.table
    const flagged = relation.columns.filter((column) => column.key).map((column) => column.name)
    if (key.kind !== 'columns' || relation.identity === 'f') return null
    const names = key.columns.map((i) => fields[i].name)
    const same = flagged.length === names.length && names.every((name) => flagged.includes(name))
    return same ? null : 'has another replica identity'
  }

  #shape(table: BoundTable, relation: Relation, signature: string): Shape {
    const { parts, retired } = this.#options
    const { fields, key } = table.table
    const make = this.#options.makeDecoder ?? ((columns: readonly WireColumn[]) => tupleDecoder('stream', columns))
    const places = relation.columns.map((column) => fields.findIndex((field) => field.name === column.name))
    const keyColumns = key.kind === 'columns' ? key.columns : null
    const codec = (place: number): Codec => table.columns[place].codec
    const rowColumns = places.map((place): WireColumn => {
      return { codec: codec(place), target: place, key: keyColumns?.includes(place) ?? true }
    })
    const keyWire = places.map((place): WireColumn => {
      return { codec: codec(place), target: keyColumns ? keyColumns.indexOf(place) : place, key: true }
    })
    const keyFields = keyColumns ? keyColumns.map((place) => fields[place]) : fields
    const rowDecoder = make(rowColumns)
    return {
      signature,
      rows: new SegmentWriter(fields, table.table, rowDecoder, parts, retired),
      keys: key.kind === 'none' ? null : new SegmentWriter(keyFields, null, make(keyWire), parts, retired),
      keyPlaces: keyColumns ? keyColumns.map((place) => places.indexOf(place)) : null,
      width: relation.columns.length,
    }
  }
}

/** The field that a refused value belongs to. */
export function refusedColumn(table: SourceTable, writer: SegmentWriter): { column: string } {
  const { target } = writer.outcome
  return { column: target < 0 ? '' : (writer.fields[target]?.name ?? table.fields[target]?.name ?? '') }
}

export function refusedError(table: SourceTable, column: string, code: number): FrazilError {
  const corruptBytes = code === refusal.malformed || code === refusal.asText
  return new FrazilError(
    corruptBytes ? 'corrupt' : 'unsupported',
    code === refusal.unchanged ? 'unchanged-value' : 'value-refused',
    `table ${table.sourceName}: ${column === '' ? 'a row' : `column "${column}"`} ${refusalText(code)}`,
    { table: `${table.namespace}.${table.name}`, hint: refusalHint(code, table.sourceName) },
  )
}

interface Relation {
  readonly oid: number
  readonly identity: string
  readonly columns: readonly { name: string; key: boolean; typeOid: number; modifier: number }[]
}

function readRelation(bytes: Buffer, start: number, to: number): Relation {
  let at = start + 1
  const take = (size: number): number => {
    const from = at
    at += size
    if (at > to) throw corrupt('Relation', start, to)
    return from
  }
  const text = (): string => {
    const end = bytes.indexOf(0, at)
    if (end < 0 || end >= to) throw corrupt('Relation', start, to)
    const value = bytes.toString('utf8', at, end)
    at = end + 1
    return value
  }
  const oid = bytes.readUInt32BE(take(4))
  text() // schema
  text() // name
  const identity = String.fromCharCode(bytes[take(1)])
  const count = bytes.readUInt16BE(take(2))
  const columns: Relation['columns'][number][] = []
  for (let i = 0; i < count; i++) {
    const key = (bytes[take(1)] & 1) === 1
    const name = text()
    columns.push({ name, key, typeOid: bytes.readUInt32BE(take(4)), modifier: bytes.readInt32BE(take(4)) })
  }
  if (at !== to) throw corrupt('Relation', start, to)
  return { oid, identity, columns }
}

/** Where the stream tuple at `from` ends, −1 when it does not end before `to` or has another width. */
function skipTuple(bytes: Buffer, from: number, to: number, width: number): number {
  if (to - from < 2 || bytes.readUInt16BE(from) !== width) return -1
  let at = from + 2
  for (let i = 0; i < width; i++) {
    const kind = bytes[at++]
    if (kind !== 0x62 && kind !== 0x74) continue
    if (at + 4 > to) return -1
    const size = bytes.readInt32BE(at)
    if (size < 0 || size > to - at - 4) return -1
    at += 4 + size
  }
  return at <= to ? at : -1
}

/** Whether two tuples have the same bytes in the key's columns; an unchanged value is the same. */
function sameKey(bytes: Buffer, oldAt: number, newAt: number, places: readonly number[]): boolean {
  for (const place of places) {
    const a = locate(bytes, oldAt, place)
    const b = locate(bytes, newAt, place)
    if (bytes[b] === 0x75) continue
    if (bytes[a] !== 0x62 || bytes[b] !== 0x62) return false
    const size = bytes.readInt32BE(a + 1)
    if (size !== bytes.readInt32BE(b + 1) || bytes.compare(bytes, a + 5, a + 5 + size, b + 5, b + 5 + size) !== 0) return false
  }
  return true
}

function corrupt(what: string, from: number, to: number): FrazilError {
  return new FrazilError('corrupt', 'bad-message', `the replication stream has a malformed ${what} of ${to - from} bytes`)
}
