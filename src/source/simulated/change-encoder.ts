import { assert } from '../../base/index.ts'
import { Segment, appendRow } from '../../data/index.ts'
import type { Change, Field, SourceTable, Value } from '../../data/index.ts'
import type { SourceParts } from '../source.ts'
import { keyOf } from './history.ts'
import type { SimulatedChange } from './history.ts'

/** Bytes of a heap for each row that a segment has room for. */
const heapBytesPerRow = 64

/** One segment after another, as a source fills them. */
class Lane {
  readonly #fields: readonly Field[]
  readonly #parts: SourceParts
  readonly #deletable: boolean
  readonly #capacity: number
  #segment: Segment | null = null
  readonly #retired: Segment[] = []

  constructor(fields: readonly Field[], parts: SourceParts, deletable: boolean, capacity: number) {
    this.#fields = fields
    this.#parts = parts
    this.#deletable = deletable
    this.#capacity = capacity
  }

  /** Appends a row, in another segment when the current one is full or not wanted any more. Null when there is no memory now. */
  append(row: readonly Value[]): { segment: Segment; row: number } | null {
    if (this.#segment?.sealed) this.#retire()
    if (this.#segment && appendRow(this.#segment, row)) return { segment: this.#segment, row: this.#segment.rows - 1 }
    this.#retire()
    this.#segment = Segment.create(this.#parts.pool, {
      id: this.#parts.nextSegmentId(),
      fields: this.#fields,
      capacity: this.#capacity,
      heapBytes: this.#capacity * heapBytesPerRow,
      deletable: this.#deletable,
      baseCommit: this.#parts.currentCommit(),
    })
    if (!this.#segment) return null
    assert(appendRow(this.#segment, row), 'an empty segment has room for a row')
    return { segment: this.#segment, row: 0 }
  }

  #retire(): void {
    if (this.#segment) this.#retired.push(this.#segment)
    this.#segment = null
  }

  /** The events with these rows were taken: whoever needs a segment has pinned it. A sealed one is given up, too. */
  taken(): void {
    if (this.#segment?.sealed) this.#retire()
    for (const segment of this.#retired.splice(0)) segment.unpin()
  }

  close(): void {
    this.#retire()
    this.taken()
  }
}

/** Writes the changes of one table into segments of the pool. */
export class ChangeEncoder {
  readonly table: SourceTable
  readonly #rows: Lane
  readonly #keys: Lane

  constructor(table: SourceTable, parts: SourceParts, capacity: number) {
    this.table = table
    this.#rows = new Lane(table.fields, parts, parts.deletable(table), capacity)
    this.#keys = new Lane(keyFieldsOf(table), parts, false, capacity)
  }

  /** Null when there is no memory now; what was written for the change by then is never looked at. */
  encode(change: Exclude<SimulatedChange, { op: 'fail' }>): Change | null {
    const table = this.table.id
    if (change.op === 'truncate') return { type: 'truncate', table }
    const unchanged = change.op === 'upsert' || change.op === 'update' ? (change.unchanged ?? []) : []
    const partial = unchanged.length > 0 ? { unchanged } : null
    const added = change.op === 'delete' ? null : this.#rows.append(without(change.row, unchanged))
    const old = change.op === 'delete' || change.op === 'update' ? this.#keys.append(keyOf(this.table, change.old)) : null
    if (change.op === 'delete') {
      return old && { type: 'delete', table, keys: old.segment, from: old.row, to: old.row + 1, mustExist: change.mustExist }
    }
    if (!added) return null
    const rows = { table, segment: added.segment, from: added.row, to: added.row + 1 }
    if (change.op === 'insert') return { type: 'insert', ...rows }
    if (change.op === 'upsert') return { type: 'upsert', ...rows, mustExist: change.mustExist, ...partial }
    return old && { type: 'update', ...rows, keys: old.segment, keysFrom: old.row, ...partial }
  }

  /** One row of an initial copy. */
  copyRow(row: readonly Value[]): { segment: Segment; row: number } | null {
    return this.#rows.append(row)
  }

  taken(): void {
    this.#rows.taken()
    this.#keys.taken()
  }

  close(): void {
    this.#rows.close()
    this.#keys.close()
  }
}

function without(row: readonly Value[], unchanged: readonly number[]): readonly Value[] {
  return unchanged.length === 0 ? row : row.map((value, i) => (unchanged.includes(i) ? null : value))
}

function isSameList(a: readonly number[] = [], b: readonly number[] = []): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i])
}

function keyFieldsOf(table: SourceTable): readonly Field[] {
  return table.key.kind === 'columns' ? table.key.columns.map((i) => table.fields[i]) : table.fields
}

/** `next` joined to `last` when it goes on with the same rows, else null. */
export function joined(last: Change, next: Change): Change | null {
  if (last.type === 'truncate' || next.type === 'truncate' || last.table !== next.table) return null
  if (last.streamed?.transaction !== next.streamed?.transaction || last.streamed?.part !== next.streamed?.part) return null
  if (last.type === 'insert' && next.type === 'insert') {
    return last.segment === next.segment && last.to === next.from ? { ...last, to: next.to } : null
  }
  if (last.type === 'upsert' && next.type === 'upsert') {
    const isNext = last.segment === next.segment && last.to === next.from && last.mustExist === next.mustExist
    return isNext && isSameList(last.unchanged, next.unchanged) ? { ...last, to: next.to } : null
  }
  if (last.type === 'delete' && next.type === 'delete') {
    const isNext = last.keys === next.keys && last.to === next.from && last.mustExist === next.mustExist
    return isNext ? { ...last, to: next.to } : null
  }
  if (last.type === 'update' && next.type === 'update') {
    const isNext = last.segment === next.segment && last.to === next.from && last.keys === next.keys
    return isNext && isSameList(last.unchanged, next.unchanged) && last.keysFrom + last.to - last.from === next.keysFrom
      ? { ...last, to: next.to }
      : null
  }
  return null
}
