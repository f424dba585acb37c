import { Buffer } from 'node:buffer'
import type { Column, Field } from '../../data/index.ts'
import { cellText, setNull } from './cells.ts'
import type { CellReader } from './cells.ts'
import { isOpenValue } from './infer.ts'
import { readerOf } from './readers.ts'
import { isWord, skipSpace, skipValue, stringEnd } from './scan.ts'

/** What {@link JsonRowDecoder.decode} returns beside places: see `problem`, or `needed` and `target`. */
export const outcomes = { refused: -1, full: -2 } as const

/** Why a row is refused. Column names only, never values. */
export interface RowProblem {
  readonly code: string
  /** The column concerned, null where it is none. */
  readonly column: string | null
  readonly message: string
}

/** A column as the decoder sees it. */
interface Target {
  readonly index: number
  readonly field: Field
  /** The name as JSON writes it, quotes included. */
  readonly quoted: Uint8Array
  readonly read: CellReader
  column: Column
  /** The row in which it was seen last. */
  seen: number
}

const longestNameShown = 100

/**
 * Decodes JSON objects straight into columns: no object, string or number is made for a row. Names are expected in the order in
 * which the row before had them. Bytes have to be UTF-8 (see `isUtf8`).
 *
 * A missing or null value of an optional column is null. Refused: a missing or null value of a required one, a name that is no column,
 * a name twice, a value that is not of the column's type or does not fit it.
 */
export class JsonRowDecoder {
  readonly #targets: Target[]
  readonly #byName: Map<string, number>
  /** Columns that may be given and are not looked at. */
  readonly #ignored: ReadonlySet<string>
  /** Which target came behind which, in the row before; the first is at 0, the one behind target i at i + 1. */
  readonly #next: Int32Array
  #row = 0
  /** Whether names that are no columns may be given null, `[]` or `{}`, which say nothing (see `RowShape`). */
  skipsOpen = false
  /** After `refused`. */
  problem: RowProblem = { code: '', column: null, message: '' }
  /** After `full`: the column without room, and the bytes that its value needs with its length. */
  target = 0
  needed = 0

  constructor(fields: readonly Field[], ignored: readonly string[] = []) {
    this.#targets = fields.map((field, index) => ({
      index,
      field,
      quoted: Buffer.from(JSON.stringify(field.name)),
      read: readerOf(field.type),
      column: noColumn,
      seen: 0,
    }))
    this.#byName = new Map(fields.map(({ name }, i) => [name, i]))
    this.#ignored = new Set(ignored)
    this.#next = Int32Array.from({ length: fields.length + 1 }, (_, i) => (i < fields.length ? i : 0))
  }

  /** Rows go to these columns from now on; one for each field. */
  bind(columns: readonly Column[]): void {
    for (const target of this.#targets) target.column = columns[target.index]
  }

  /**
   * Decodes the object at or behind `from` as row `row` of the columns. Returns the place behind it, or one of {@link outcomes}: the
   * row then counts for nothing and can be written again.
   */
  decode(bytes: Uint8Array, from: number, end: number, row: number): number {
    let at = skipSpace(bytes, from, end)
    if (bytes[at] !== 0x7b || at >= end) return this.#refuse('not-an-object', null, 'a row is a JSON object')
    at = skipSpace(bytes, at + 1, end)
    const stamp = ++this.#row
    const targets = this.#targets
    let count = 0
    let before = 0
    if (at < end && bytes[at] === 0x7d) return this.#complete(at + 1, row, count)
    for (;;) {
      if (at >= end || bytes[at] !== 0x22) return this.#malformed()
      let index = this.#next[before]
      if (index < targets.length && isAt(bytes, at, end, targets[index].quoted)) at += targets[index].quoted.length
      else {
        const quote = stringEnd(bytes, at + 1, end)
        if (quote < 0) return this.#malformed()
        const name = cellText(bytes, at + 1, quote)
        if (name === null) return this.#malformed()
        at = quote + 1
        const found = this.#byName.get(name)
        if (found === undefined && !this.#ignored.has(name) && !this.#isOpen(bytes, at, end)) {
          return this.#refuse('unknown-field', name.slice(0, longestNameShown), 'the table has no such column')
        }
        index = found ?? -1
      }
      at = skipSpace(bytes, at, end)
      if (at >= end || bytes[at] !== 0x3a) return this.#malformed()
      at = skipSpace(bytes, at + 1, end)
      if (index < 0) {
        at = skipValue(bytes, at, end)
        if (at < 0) return this.#malformed()
      } else {
        const target = targets[index]
        if (target.seen === stamp) return this.#refuse('duplicate-field', target.field.name, 'is given twice')
        target.seen = stamp
        this.#next[before] = index
        before = index + 1
        count++
        at = this.#value(bytes, at, end, row, target)
        if (at < 0) return at
      }
      at = skipSpace(bytes, at, end)
      if (at >= end) return this.#malformed()
      if (bytes[at] === 0x7d) return this.#complete(at + 1, row, count)
      if (bytes[at] !== 0x2c) return this.#malformed()
      at = skipSpace(bytes, at + 1, end)
    }
  }

  /** Whether the value behind the name that ends at `at` may be given to no column. */
  #isOpen(bytes: Uint8Array, at: number, end: number): boolean {
    const colon = this.skipsOpen ? skipSpace(bytes, at, end) : end
    return colon < end && bytes[colon] === 0x3a && isOpenValue(bytes, skipSpace(bytes, colon + 1, end), end)
  }

  #value(bytes: Uint8Array, at: number, end: number, row: number, target: Target): number {
    const { column, field } = target
    if (at < end && bytes[at] === 0x6e) {
      if (!isWord(bytes, at, end, 'null')) return this.#malformed()
      if (field.required) return this.#refuse('missing-value', field.name, 'is required and cannot be null')
      setNull(column, row)
      return at + 4
    }
    const { read } = target
    const after = read.read(bytes, at, end, column, row)
    if (after >= 0) {
      const { valid } = column
      if (valid !== null) valid[row >> 3] |= 1 << (row & 7)
      return after
    }
    if (after === outcomes.full) {
      this.target = target.index
      this.needed = read.needed
      return after
    }
    // What does not have the form of the type may be no JSON at all.
    if (skipValue(bytes, at, end) === -1) return this.#malformed()
    return this.#refuse(
      read.fault,
      field.name,
      read.fault === 'wrong-type' ? `needs ${read.wants}` : `does not fit ${read.wants}`,
    )
  }

  /** The object is whole: columns that it does not name are null. */
  #complete(at: number, row: number, count: number): number {
    const targets = this.#targets
    if (count === targets.length) return at
    for (const target of targets) {
      if (target.seen === this.#row) continue
      if (target.field.required) return this.#refuse('missing-value', target.field.name, 'is required and is missing')
      setNull(target.column, row)
    }
    return at
  }

  #malformed(): number {
    return this.#refuse('bad-json', null, 'the row is not JSON')
  }

  #refuse(code: string, column: string | null, message: string): number {
    this.problem = { code, column, message }
    return outcomes.refused
  }
}

const noColumn: Column = {
  field: { id: 0, name: '', type: { kind: 'int' }, required: true },
  layout: 'i32',
  width: 4,
  valid: null,
  data: new Uint8Array(0),
  words: new Int32Array(0),
  ends: new Int32Array(0),
  heap: new Uint8Array(0),
}

function isAt(bytes: Uint8Array, at: number, end: number, wanted: Uint8Array): boolean {
  if (end - at < wanted.length) return false
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false
  return true
}
