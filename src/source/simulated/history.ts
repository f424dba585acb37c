import { assert } from '../../base/index.ts'
import type { Position, SourceTable, Value } from '../../data/index.ts'

/**
 * What happens to one row, as plain values. `key` and `old` are whole rows of the table; only the key's columns count. The source leaves
 * out the values of `unchanged` columns, which the row before it had as well.
 */
export type SimulatedChange =
  | { readonly op: 'insert'; readonly table: string; readonly row: readonly Value[] }
  | {
      readonly op: 'upsert'
      readonly table: string
      readonly row: readonly Value[]
      readonly mustExist: boolean
      readonly unchanged?: readonly number[]
    }
  | {
      readonly op: 'update'
      readonly table: string
      readonly old: readonly Value[]
      readonly row: readonly Value[]
      readonly unchanged?: readonly number[]
    }
  | { readonly op: 'delete'; readonly table: string; readonly old: readonly Value[]; readonly mustExist: boolean }
  | { readonly op: 'truncate'; readonly table: string }
  /** From here on the source cannot decode the table. */
  | { readonly op: 'fail'; readonly table: string }

/** A table's rows: text of a row → the row and how often it is there. */
export type SimulatedRows = ReadonlyMap<string, { readonly row: readonly Value[]; readonly count: number }>

/**
 * The database behind simulated sources: tables and all that ever happened to them. Position `n` lies after the nth
 * transaction, "0" before the first.
 */
export class SimulatedHistory {
  readonly tables: readonly SourceTable[]
  readonly transactions: (readonly SimulatedChange[])[] = []
  /** The highest position that any source was told is durable: what lies before may be forgotten. */
  acknowledged = 0
  #waiting: (() => void)[] = []

  constructor(tables: readonly SourceTable[]) {
    this.tables = tables
  }

  get head(): Position {
    return String(this.transactions.length)
  }

  add(transaction: readonly SimulatedChange[]): void {
    this.transactions.push(transaction)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Resolves with the next {@link add}. */
  grown(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** The rows of a table after the first `count` transactions. */
  rowsAt(id: string, count: number): SimulatedRows {
    const table = this.tables.find((one) => one.id === id)
    assert(table, 'a table of the history')
    const rows = new Map<string, { row: readonly Value[]; count: number }>()
    const textByKey = new Map<string, string>()
    const add = (row: readonly Value[]): void => {
      const text = valueText(row)
      rows.set(text, { row, count: (rows.get(text)?.count ?? 0) + 1 })
      textByKey.set(valueText(keyOf(table, row)), text)
    }
    const remove = (old: readonly Value[]): void => {
      const text = textByKey.get(valueText(keyOf(table, old)))
      const found = text === undefined ? undefined : rows.get(text)
      if (text === undefined || !found) return
      if (found.count > 1) rows.set(text, { ...found, count: found.count - 1 })
      else rows.delete(text)
      if (table.key.kind === 'columns') textByKey.delete(valueText(keyOf(table, old)))
    }
    for (const change of this.transactions.slice(0, count).flat()) {
      if (change.table !== id) continue
      if (change.op === 'truncate') {
        rows.clear()
        textByKey.clear()
      }
      if (change.op === 'upsert') remove(change.row)
      if (change.op === 'update' || change.op === 'delete') remove(change.old)
      if (change.op === 'insert' || change.op === 'upsert' || change.op === 'update') add(change.row)
    }
    return rows
  }
}

/** The values of a row's key, in key order; the row itself where it has no other key. */
export function keyOf(table: SourceTable, row: readonly Value[]): readonly Value[] {
  return table.key.kind === 'columns' ? table.key.columns.map((i) => row[i]) : row
}

/** Equal for equal values only. */
export function valueText(values: readonly Value[]): string {
  return JSON.stringify(values, (_key, value: unknown) => {
    if (typeof value === 'bigint') return `${value}n`
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
    return typeof value === 'number' && !Number.isInteger(value) ? String(value) : Object.is(value, -0) ? '-0' : value
  })
}
