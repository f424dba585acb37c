import { FrazilError } from '../../base/index.ts'
import { sameType } from '../../data/index.ts'
import type { SourceTable } from '../../data/index.ts'
import { beginsAnew } from './beside-copies.ts'
import type { ChangeRuns } from './change-runs.ts'
import type { Lsn } from './lsn.ts'
import type { Relation } from './relation.ts'
import { settleShape } from './shape-change.ts'
import type { ColumnRules, KnownTable } from './shape-change.ts'
import type { ShapeMemo } from './shape-memo.ts'
import { Sightings } from './sightings.ts'
import { boundTable, dropShape, lowestFloor, makeShape, needsText, textNeeded } from './stream-table.ts'
import type { Answer, BoundTable, ShapeOptions, StreamTable } from './stream-table.ts'
import type { TableDescription } from './table-description.ts'
import type { TablePlan } from './table-plan.ts'

export interface StreamTablesOptions extends ShapeOptions, ColumnRules {
  readonly tables: readonly StreamTable[]
  /** No table that is read, or is going to be, needs the stream in text form. */
  readonly binary: boolean
  /** Asks the catalogue for the table of a message as it is at the time of the question, but not before `transaction` is visible. */
  describe(known: KnownTable, relation: Relation, transaction: number): Promise<TableDescription | null>
}

/**
 * The tables whose changes a stream tells of: which are wanted, and what each looks like where the stream is, by its Relation messages and
 * the catalogue. It outlives connections. New shapes and failures go to the events, where they belong among the changes.
 */
export class StreamTables {
  /** The stream is asked for values in binary form where their types have one. */
  binary: boolean
  /** An answer of the catalogue, after {@link learn} had to wait. */
  waitsFor: Promise<void> | null = null
  /** Shapes of tables that the stream may never tell of. */
  readonly sightings: Sightings
  readonly #options: StreamTablesOptions
  readonly #runs: ChangeRuns
  readonly #tables = new Map<number, BoundTable>()
  /** The last Relation messages of this connection, also of tables that nobody has asked for yet: the server does not repeat them. */
  readonly #relations = new Map<number, Relation>()
  /** Tables whose shape the open transaction has changed. */
  readonly #reshaped = new Set<BoundTable>()
  #lastOid = -1
  #last: BoundTable | null = null

  constructor(options: StreamTablesOptions, runs: ChangeRuns) {
    this.#options = options
    this.#runs = runs
    this.binary = options.binary
    this.sightings = new Sightings(this.#tables)
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

  /** Where changes begin to count; 0 without any table. */
  get lowestFloor(): Lsn {
    return lowestFloor(this.#tables.values())
  }

  /** The changes of this table are not wanted any more. */
  forget(id: string): void {
    const table = this.#tables.get(Number(id))
    if (table) giveUp(table)
  }

  /** A table was copied again while it was published like `member`: what was missing before is in the copy. */
  copied(id: string, member: string | undefined): void {
    const table = this.#tables.get(Number(id))
    if (!table || table.failed || table.known.memo.member === member) return
    const isSettled = table.settled === table.known
    table.known = { ...table.known, memo: { ...table.known.memo, member } }
    table.settled = isSettled ? table.known : { ...table.settled, memo: { ...table.settled.memo, member } }
  }

  /** Changes of this table are missing, unless it was copied anew since it was published so. */
  miss(id: string, { member }: ShapeMemo, error: FrazilError): void {
    const table = this.#tables.get(Number(id))
    if (table && !table.failed && table.known.memo.member === member) this.fail(table, error)
  }

  /** Tables whose changes are or were wanted, as they were last. */
  get known(): SourceTable[] {
    return Array.from(this.#tables.values(), ({ known }) => known.table)
  }

  /** Whether the changes of this table are given out. */
  reads(id: string): boolean {
    return this.#tables.get(Number(id))?.failed === false
  }

  /** A copy of a table begins whose changes are given out and go on to be. */
  copyBeside(table: SourceTable): void {
    this.#tables.get(Number(table.id))?.copies.begin(table)
  }

  /** The copy that began last has what was committed before `floor`. */
  setCopyFloor(id: string, floor: Lsn): void {
    this.#tables.get(Number(id))?.copies.setFloor(floor)
  }

  /** The copy that began last has failed. */
  giveUpCopy(id: string): void {
    this.#tables.get(Number(id))?.copies.giveUp()
  }

  /** Whether the changes of this table come with columns that its source does not have any more, or with other values than its copy. */
  comesOtherwise({ source, columns }: TablePlan): boolean {
    const table = this.#tables.get(Number(source.id))
    if (!table || table.failed) return false
    const { known } = table
    if (keepsColumns(known)) return true
    return columns.some(({ id, typeOid, modifier, codec }) => {
      const before = known.columns.find(
        (column) => column.id === id && column.typeOid === typeOid && column.modifier === modifier,
      )
      return before !== undefined && !sameType(before.codec.type, codec.type)
    })
  }

  /** Whether a copy does not know how rows look now. */
  hasToTell({ copies, known }: BoundTable): boolean {
    return copies.differ(known.table)
  }

  /** The table of a change, also one that has failed. */
  find(oid: number): BoundTable | null {
    if (oid === this.#lastOid) return this.#last
    this.#last = this.#tables.get(oid) ?? null
    this.#lastOid = oid
    return this.#last
  }

  /** A Relation message has come. Returns its table, when that is wanted. */
  told(relation: Relation): BoundTable | null {
    this.#relations.set(relation.oid, relation)
    const table = this.#tables.get(relation.oid)
    if (!table || table.failed) return null
    this.sightings.forget(table)
    return table
  }

  /** Reads the rows of an open transaction, in which the table looks as it is known. */
  readOpen(table: BoundTable, relation: Relation): void {
    // Once this transaction has ended the server takes the message for sent, and does not repeat it: one from before is outdated.
    if (table.news) table.news = relation
    if (this.binary && needsText(table)) throw textNeeded(table)
    this.#makeShape(table, relation, false)
  }

  /** Understands a table's last Relation message, in `transaction` that ends at `end`. False: the catalogue has not answered yet. */
  learn(table: BoundTable, relation: Relation, transaction: number, end: Lsn): boolean {
    if (table.answer === null) {
      const answer: Answer = { description: 'awaited' }
      table.answer = answer
      this.waitsFor = this.#options.describe(table.known, relation, transaction).then((description) => {
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
    if (!known || this.#leavesCopyBehind(table, known, end)) return true
    const isNew = known.table !== table.known.table || table.copies.differ(known.table)
    table.known = known
    this.#reshaped.add(table)
    if (this.binary && needsText(table)) throw textNeeded(table)
    if (isNew) this.#runs.push({ type: 'table', table: known.table })
    this.#makeShape(table, relation, isNew)
    return true
  }

  /** The transaction that was open, which ended at `end`, is given out: what it changed stays. */
  committed(end: Lsn): void {
    for (const table of this.#reshaped) {
      table.settled = table.known
      table.copies.told(end)
    }
    this.#reshaped.clear()
  }

  /** Between transactions: tables that look otherwise from `position` on. Returns whether there is one. */
  takeSightings(position: Lsn): boolean {
    let isAny = false
    for (const [table, { relation, description, at }] of this.sightings.due(position)) {
      // A copy that was planned since knows better.
      if (at <= table.copies.floor) continue
      const known = this.#settle(table, relation, description, true)
      if (known && this.#leavesCopyBehind(table, known, at)) continue
      if (known && (known.table !== table.known.table || table.copies.differ(known.table))) {
        isAny = true
        table.known = known
        if (this.binary && needsText(table)) throw textNeeded(table)
        dropShape(table)
        table.news = relation
        table.answer = null
        this.#runs.push({ type: 'table', table: known.table })
      }
      if (known) table.copies.told(at)
      if (known) table.known = known
      table.settled = table.known
    }
    return isAny
  }

  /** The table cannot go on. */
  fail(table: BoundTable, error: FrazilError): void {
    giveUp(table)
    this.#runs.push({ type: 'failed', table: table.id, error })
  }

  /** Forgets the open transaction, and what a connection knows: the next one sends a Relation before the first change of each table. */
  reconnect(): void {
    this.binary &&= ![...this.#tables.values()].some((table) => !table.failed && needsText(table))
    this.waitsFor = null
    for (const table of this.#tables.values()) {
      table.known = table.settled
      table.news = null
      table.answer = null
      dropShape(table)
    }
    this.#reshaped.clear()
    this.sightings.clear()
    this.#relations.clear()
  }

  /** Gives up all segments. */
  release(): void {
    for (const table of this.#tables.values()) dropShape(table)
  }

  releaseSealed(): void {
    for (const { shape } of this.#tables.values()) shape?.writers.forEach((writer) => writer.releaseSealed())
  }

  /** The table as it is from here on; null when it cannot go on. */
  #settle(table: BoundTable, relation: Relation, description: TableDescription | null, isLatest = false): KnownTable | null {
    try {
      return settleShape(table.known, relation, description, this.#options, isLatest)
    } catch (error) {
      if (!(error instanceof FrazilError) || error.kind !== 'unsupported') throw error
      this.fail(table, error)
      return null
    }
  }

  /**
   * Fails a table that comes with values of former types (see `KeptColumns`) which a copy does not have, because it was planned behind the change
   * that the stream tells of now. It has to be copied by itself.
   */
  #leavesCopyBehind(table: BoundTable, known: KnownTable, end: Lsn): boolean {
    const { copies } = table
    if (!copies.any || !keepsColumns(known)) return false
    if (end >= copies.floor && !copies.differ(table.known.table)) return false
    this.fail(table, beginsAnew(known.table))
    return true
  }

  #makeShape(table: BoundTable, relation: Relation, isNew: boolean): void {
    const signature = JSON.stringify(relation.columns.map((column) => column.name))
    if (!isNew && table.shape?.signature === signature) return
    dropShape(table)
    table.shape = makeShape(table, relation, signature, this.#options)
  }
}

function keepsColumns({ table, columns }: KnownTable): boolean {
  return table.fields.length > columns.length
}

/** Nothing of the table is given out from here on. */
function giveUp(table: BoundTable): void {
  table.failed = true
  table.news = null
  dropShape(table)
}
