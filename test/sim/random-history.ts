import type { Random } from '../../src/base/index.ts'
import type { SourceTable, Value } from '../../src/data/index.ts'
import { SimulatedHistory } from '../../src/source/simulated/index.ts'
import type { SimulatedChange } from '../../src/source/simulated/index.ts'
import { keyColumnsOf, tableOf } from '../table/history.ts'
import type { KeyKind } from '../table/history.ts'

const kinds: readonly KeyKind[] = ['long', 'composite', 'row', 'none']

/** A database with a table of each kind of key and something in them already. */
export function newHistory(random: Random, transactions: number): SimulatedHistory {
  const history = new SimulatedHistory(kinds.map(tableOf).map(withoutIds))
  for (let i = 0; i < transactions; i++) history.add(someTransaction(history, random))
  return history
}

/** As sources tell of their tables: the lake gives the ids. */
function withoutIds(table: SourceTable): SourceTable {
  return { ...table, fields: table.fields.map((field) => ({ ...field, id: 0 })) }
}

/** A transaction that fits what the history holds now; most touch several tables. */
export function someTransaction(history: SimulatedHistory, random: Random): SimulatedChange[] {
  const changes: SimulatedChange[] = []
  const live = new Map(history.tables.map((table) => [table.id, [...rowsOf(history, table)]]))
  const count = random.below(12) === 0 ? 60 : 1 + random.below(8)
  for (let i = 0; i < count; i++) {
    const table = history.tables[random.below(history.tables.length)]
    const rows = live.get(table.id) ?? []
    someChange(table, rows, random, changes)
  }
  return changes
}

function* rowsOf(history: SimulatedHistory, table: SourceTable): Generator<readonly Value[]> {
  for (const { row, count } of history.rowsAt(table.id, history.transactions.length).values()) {
    for (let i = 0; i < count; i++) yield row
  }
}

/** One change; `rows` is kept up to date. */
function someChange(table: SourceTable, rows: (readonly Value[])[], random: Random, changes: SimulatedChange[]): void {
  const { id: name, key } = table
  const keys = keyColumnsOf(table)
  const at = rows.length === 0 ? -1 : random.below(rows.length)
  const withKey = (row: readonly Value[]): number => rows.findIndex((other) => keys.every((i) => Object.is(other[i], row[i])))
  const choice = random.below(20)
  const row = newRow(table, random)
  if (choice === 0 && random.below(5) === 0) {
    changes.push({ op: 'truncate', table: name })
    rows.length = 0
  } else if (key.kind === 'none' || at < 0 || choice < 8) {
    if (key.kind === 'columns' && withKey(row) >= 0) return
    changes.push({ op: 'insert', table: name, row })
    rows.push(row)
  } else if (choice < 11) {
    changes.push({ op: 'delete', table: name, old: rows[at], mustExist: true })
    rows.splice(at, 1)
  } else if (choice < 14 && key.kind === 'columns') {
    const old = withKey(row)
    const unchanged = old >= 0 ? kept(table, rows[old], row, random) : []
    changes.push({ op: 'upsert', table: name, row, mustExist: old >= 0, unchanged })
    if (old >= 0) rows.splice(old, 1)
    rows.push(row)
  } else {
    const taken = key.kind === 'columns' ? withKey(row) : -1
    if (taken >= 0 && taken !== at) return
    changes.push({ op: 'update', table: name, old: rows[at], row, unchanged: kept(table, rows[at], row, random) })
    rows.splice(at, 1, row)
  }
}

/** Has some columns of a row keep the values of the row before; returns those that a source may leave out. */
function kept(table: SourceTable, old: readonly Value[], row: Value[], random: Random): number[] {
  if (table.key.kind !== 'columns' || random.below(2) === 0) return []
  const keys = keyColumnsOf(table)
  const others = table.fields.map((_, i) => i).filter((i) => !keys.includes(i) && random.below(2) === 0)
  for (const i of others) row[i] = old[i]
  return others
}

function newRow(table: SourceTable, random: Random): Value[] {
  const n = random.below(80)
  const text = ['', 'a', 'bc', null][random.below(4)]
  return table.fields.map(({ name, type }): Value => {
    if (name === 'v') return table.key.kind === 'row' ? String(n % 3) : text
    if (type.kind === 'long') return BigInt(n) - 5n
    if (type.kind === 'string') return ['', 'a', 'ab'][n % 3]
    return type.kind === 'int' ? n >> 1 : n % 4
  })
}
