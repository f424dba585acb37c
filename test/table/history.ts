import assert from 'node:assert/strict'
import type { Random, SlabPool } from '../../src/base/index.ts'
import type { Change, Field, Segment, SourceTable, Type, Value } from '../../src/data/index.ts'
import { assignFieldIds } from '../../src/data/index.ts'
import { field, rowText, segmentWith } from './rows.ts'

/** Rows as a multiset: text of a row → the row and how often it is there. */
export type Rows = Map<string, { readonly row: readonly Value[]; readonly count: number }>

export function addRow(rows: Rows, row: readonly Value[], count = 1): void {
  const text = rowText(row)
  const left = (rows.get(text)?.count ?? 0) + count
  if (left === 0) rows.delete(text)
  else rows.set(text, { row, count: left })
}

/** Rows sorted as text, each as often as it is there. */
export function listed(rows: Rows): string[] {
  return [...rows].flatMap(([text, { count }]) => Array.from({ length: count }, () => text)).sort()
}

export type KeyKind = 'long' | 'int' | 'composite' | 'row' | 'none'

const valueColumns: Field[] = [field('v', { kind: 'string' }), field('n', { kind: 'double' })]

export function tableOf(kind: KeyKind): SourceTable {
  const keyTypes: Record<KeyKind, Type[]> = {
    long: [{ kind: 'long' }],
    int: [{ kind: 'int' }],
    composite: [{ kind: 'string' }, { kind: 'int' }],
    row: [],
    none: [],
  }
  // The key is not at the front: its columns are found by position.
  const keys = keyTypes[kind].map((type, i) => field(`k${i}`, type, true))
  const { fields } = assignFieldIds([valueColumns[0], ...keys, valueColumns[1]])
  const columns = keys.map((_, i) => i + 1)
  return {
    id: kind,
    sourceName: `public.${kind}`,
    namespace: 'shop',
    name: kind,
    fields,
    key:
      kind === 'row' || kind === 'none'
        ? { kind }
        : { kind: 'columns', columns: kind === 'composite' ? columns.toReversed() : columns },
  }
}

/** Positions of the key's columns, in key order; all columns for rows that are their own key. */
export function keyColumnsOf(table: SourceTable): readonly number[] {
  return table.key.kind === 'columns' ? table.key.columns : table.fields.map((_, i) => i)
}

export function keyOf(table: SourceTable, row: readonly Value[]): Value[] {
  return keyColumnsOf(table).map((i) => row[i])
}

/** One segment after another, as a source fills them. */
class Lane {
  readonly #open: () => Segment
  readonly #retired: Segment[] = []
  #segment: Segment | null = null

  constructor(open: () => Segment) {
    this.#open = open
  }

  take(append: (segment: Segment) => boolean, rotate: boolean): { segment: Segment; row: number } {
    if (this.#segment && (rotate || this.#segment.sealed)) this.retire()
    this.#segment ??= this.#open()
    if (!append(this.#segment)) {
      this.retire()
      this.#segment = this.#open()
      assert.ok(append(this.#segment), 'an empty segment has room')
    }
    return { segment: this.#segment, row: this.#segment.rows - 1 }
  }

  retire(): void {
    if (this.#segment) this.#retired.push(this.#segment)
    this.#segment = null
  }

  /** The changes were handed over: whoever needs a segment has pinned it. */
  letGo(): void {
    for (const segment of this.#retired.splice(0)) segment.unpin()
  }
}

/** What a source that leaves out unchanged values writes. */
function without(row: readonly Value[], unchanged: readonly number[]): readonly Value[] {
  return unchanged.length === 0 ? row : row.map((value, i) => (unchanged.includes(i) ? null : value))
}

function asPart(unchanged: readonly number[]): { unchanged?: readonly number[] } {
  return unchanged.length === 0 ? {} : { unchanged }
}

function isSameList(a: readonly number[] = [], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}

type Append = (segment: Segment, row: readonly Value[]) => boolean

/** Turns what happens to rows into a source's changes: runs of rows in segments of the pool. */
export class ChangeWriter {
  readonly #table: SourceTable
  readonly #random: Random
  readonly #append: Append
  readonly #capacity: number
  readonly #rows: Lane
  readonly #keys: Lane
  #changes: Change[] = []

  constructor(table: SourceTable, pool: SlabPool, random: Random, currentCommit: () => number, capacity: number, append: Append) {
    this.#table = table
    this.#random = random
    this.#append = append
    this.#capacity = capacity
    const heapBytes = capacity * 24 + 256
    this.#rows = new Lane(() =>
      segmentWith(pool, table.fields, [], {
        capacity,
        heapBytes,
        deletable: table.key.kind !== 'none',
        baseCommit: currentCommit(),
      }),
    )
    const keyFields = keyColumnsOf(table).map((i) => table.fields[i])
    this.#keys = new Lane(() => segmentWith(pool, keyFields, [], { capacity, heapBytes, deletable: false }))
  }

  insert(row: readonly Value[]): void {
    const { segment, row: from } = this.#row(row)
    const last = this.#changes.at(-1)
    if (last?.type === 'insert' && last.segment === segment && last.to === from) this.#replace({ ...last, to: from + 1 })
    else this.#changes.push({ type: 'insert', table: this.#table.id, segment, from, to: from + 1 })
  }

  /** `unchanged`: columns whose values are not written. */
  upsert(row: readonly Value[], mustExist: boolean, unchanged: readonly number[] = []): void {
    const { segment, row: from } = this.#row(without(row, unchanged))
    const last = this.#changes.at(-1)
    if (
      last?.type === 'upsert' &&
      last.segment === segment &&
      last.to === from &&
      last.mustExist === mustExist &&
      isSameList(last.unchanged, unchanged)
    ) {
      this.#replace({ ...last, to: from + 1 })
    } else
      this.#changes.push({ type: 'upsert', table: this.#table.id, segment, from, to: from + 1, mustExist, ...asPart(unchanged) })
  }

  update(old: readonly Value[], row: readonly Value[], unchanged: readonly number[] = []): void {
    const { segment: keys, row: keysFrom } = this.#key(old)
    const { segment, row: from } = this.#row(without(row, unchanged))
    const last = this.#changes.at(-1)
    if (
      last?.type === 'update' &&
      last.segment === segment &&
      last.to === from &&
      last.keys === keys &&
      last.keysFrom + last.to - last.from === keysFrom &&
      isSameList(last.unchanged, unchanged)
    ) {
      this.#replace({ ...last, to: from + 1 })
    } else {
      const table = this.#table.id
      this.#changes.push({ type: 'update', table, segment, from, to: from + 1, keys, keysFrom, ...asPart(unchanged) })
    }
  }

  delete(row: readonly Value[], mustExist: boolean): void {
    const { segment: keys, row: from } = this.#key(row)
    const last = this.#changes.at(-1)
    if (last?.type === 'delete' && last.keys === keys && last.to === from && last.mustExist === mustExist) {
      this.#replace({ ...last, to: from + 1 })
    } else this.#changes.push({ type: 'delete', table: this.#table.id, keys, from, to: from + 1, mustExist })
  }

  truncate(): void {
    this.#changes.push({ type: 'truncate', table: this.#table.id })
  }

  /** Hands the changes over and lets go of the segments that are full. */
  send(receive: (change: Change) => void, foresee: (changes: readonly Change[]) => void = () => undefined): void {
    foresee(this.#changes)
    for (const change of this.#changes) receive(change)
    this.#changes = []
    this.#rows.letGo()
    this.#keys.letGo()
  }

  close(): void {
    this.#rows.retire()
    this.#keys.retire()
    this.send(() => undefined)
  }

  #row(row: readonly Value[]): { segment: Segment; row: number } {
    return this.#rows.take((segment) => this.#append(segment, row), this.#random.below(this.#capacity) === 0)
  }

  #key(row: readonly Value[]): { segment: Segment; row: number } {
    const key = keyOf(this.#table, row)
    return this.#keys.take((segment) => this.#append(segment, key), this.#random.below(this.#capacity) === 0)
  }

  #replace(change: Change): void {
    this.#changes[this.#changes.length - 1] = change
  }
}

/** What happens to a table, kept beside it as plain rows. */
export class TableModel {
  readonly table: SourceTable
  readonly #kind: KeyKind
  readonly #random: Random
  /** Number of different keys, or of different rows. */
  readonly #domain: number
  /** By source commit. */
  readonly #history = new Map<number, Rows>()
  #draft: Rows = new Map()
  #byKey = new Map<string, readonly Value[]>()
  /** Until {@link remember} or {@link forget}: what the open transaction began with. */
  #before: { draft: Rows; byKey: Map<string, readonly Value[]> } | null = null

  constructor(kind: KeyKind, random: Random, domain: number) {
    this.table = tableOf(kind)
    this.#kind = kind
    this.#random = random
    this.#domain = domain
    this.#history.set(0, new Map())
  }

  get keyed(): boolean {
    return this.table.key.kind === 'columns'
  }

  get current(): Rows {
    return this.#draft
  }

  at(commit: number): Rows {
    return this.#history.get(commit) ?? assert.fail(`commit ${commit} is known`)
  }

  begin(): void {
    this.#before = { draft: new Map(this.#draft), byKey: new Map(this.#byKey) }
  }

  remember(commit: number): void {
    this.#before = null
    this.#history.set(commit, new Map(this.#draft))
  }

  forget(): void {
    if (this.#before) ({ draft: this.#draft, byKey: this.#byKey } = this.#before)
    this.#before = null
  }

  /** Begins again with the rows as of `commit`, which is number 0 from now on. */
  restart(commit: number): void {
    const rows = this.at(commit)
    this.#history.clear()
    this.#history.set(0, rows)
    this.#draft = new Map(rows)
    this.#byKey = new Map()
    if (this.keyed) for (const { row } of rows.values()) this.#byKey.set(rowText(keyOf(this.table, row)), row)
  }

  byKey(key: readonly Value[]): readonly Value[] | null {
    return this.#byKey.get(rowText(key)) ?? null
  }

  anyRow(): Value[] {
    const n = this.#random.below(this.#domain)
    const v = ['', 'a', 'b', null, 'longer text é'][this.#random.below(5)]
    const number = [0, -0, 1.5, null, Number.NaN][this.#random.below(5)]
    switch (this.#kind) {
      case 'long':
        return [v, [-(2n ** 63n), 2n ** 63n - 1n, -1n, 2n ** 32n][n] ?? BigInt(n) * 4_294_967_295n, number]
      case 'int':
        return [v, [-(2 ** 31), 2 ** 31 - 1][n] ?? n - 10, number]
      case 'composite':
        return [v, ['', 'a', 'ab', 'abc'][n % 4], n >> 2, number]
      case 'row':
      case 'none':
        return [[v, String(n)][n % 2], n < 5 ? null : n % 7]
    }
  }

  existingRow(): readonly Value[] | null {
    const { size } = this.#draft
    if (size === 0) return null
    let skip = this.#random.below(Math.min(size, 200))
    for (const { row } of this.#draft.values()) if (skip-- === 0) return row
    return null
  }

  insert(row: readonly Value[]): void {
    addRow(this.#draft, row)
    if (this.keyed) this.#byKey.set(rowText(keyOf(this.table, row)), row)
  }

  delete(row: readonly Value[]): void {
    addRow(this.#draft, row, -1)
    if (this.keyed) this.#byKey.delete(rowText(keyOf(this.table, row)))
  }

  truncate(): void {
    this.#draft.clear()
    this.#byKey.clear()
  }
}

/** Some changes of one transaction, made to the model and written as a source would. */
export function someChanges(model: TableModel, writer: ChangeWriter, random: Random, count: number): void {
  const { table } = model
  const { kind } = table.key
  /** Columns of an update that keep their values, some of which a source may leave out. */
  const kept = (old: readonly Value[], row: Value[]): number[] => {
    if (!model.keyed || random.below(2) === 0) return []
    const others = table.fields.map((_, i) => i).filter((i) => !keyColumnsOf(table).includes(i) && random.below(3) > 0)
    for (const i of others) row[i] = old[i]
    return others.filter(() => random.below(4) > 0)
  }
  const insertNew = (): void => {
    const row = model.anyRow()
    if (model.keyed && model.byKey(keyOf(table, row))) return
    writer.insert(row)
    model.insert(row)
  }
  for (let left = count; left > 0; left--) {
    const choice = random.below(100)
    const existing = model.existingRow()
    if (choice === 0 && random.below(2) === 0) {
      writer.truncate()
      model.truncate()
    } else if (kind === 'none' || existing === null || choice < 35) {
      insertNew()
    } else if (choice < 55) {
      writer.delete(existing, random.below(2) === 0)
      model.delete(existing)
      // At once again, with the same key or as the same row.
      if (random.below(4) === 0) {
        writer.insert(existing)
        model.insert(existing)
      }
    } else if (choice < 60) {
      const absent = model.anyRow()
      if (model.keyed ? model.byKey(keyOf(table, absent)) : model.current.has(rowText(absent))) continue
      writer.delete(absent, false)
    } else if (choice < 75 && model.keyed) {
      const row = model.anyRow()
      const old = model.byKey(keyOf(table, row))
      writer.upsert(row, old !== null && random.below(2) === 0, old ? kept(old, row) : [])
      if (old) model.delete(old)
      model.insert(row)
    } else if (choice < 90 || !model.keyed) {
      const row = model.anyRow()
      // A key that is taken by another row: first out of the way with it, as a swap has to.
      const taken = model.keyed ? model.byKey(keyOf(table, row)) : null
      if (taken && taken !== existing) {
        writer.delete(taken, true)
        model.delete(taken)
      }
      writer.update(existing, row, kept(existing, row))
      model.delete(existing)
      model.insert(row)
      if (taken && taken !== existing) {
        const swapped = taken.map((value, i) => (keyColumnsOf(table).includes(i) ? existing[i] : value))
        if (model.byKey(keyOf(table, swapped))) continue
        writer.insert(swapped)
        model.insert(swapped)
      }
    } else {
      // One key several times over.
      let row = existing
      for (let times = 1 + random.below(4); times > 0; times--) {
        const next = row.map((value, i) => (keyColumnsOf(table).includes(i) ? value : model.anyRow()[i]))
        const unchanged = kept(row, next)
        if (random.below(2) === 0) writer.upsert(next, true, unchanged)
        else writer.update(row, next, unchanged)
        model.delete(row)
        model.insert(next)
        row = next
      }
    }
  }
}
