import { Buffer } from 'node:buffer'
import { isNested } from '../../data/index.ts'
import type { Column, Field } from '../../data/index.ts'
import { cellText, setNull } from './cells.ts'
import type { CellReader, Fault } from './cells.ts'
import { isOpenValue } from './infer.ts'
import { QuickColumn, quickKind, readQuickly } from './quick-cells.ts'
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
class Target {
  readonly index: number
  readonly field: Field
  readonly read: CellReader
  /** See `quickKind`. */
  readonly kind: number
  /** The name as JSON writes it, with its quotes and the colon. */
  readonly name: Buffer
  readonly nameLength: number
  /** The first and the last four bytes of it. */
  readonly nameStart: number
  readonly nameEnd: number
  column: Column
  quick: QuickColumn
  valid: Uint8Array | null
  /** The row in which it was seen last. */
  seen = 0

  constructor(field: Field, index: number) {
    this.index = index
    this.field = field
    this.read = readerOf(field.type)
    this.kind = quickKind(field.type)
    this.name = Buffer.from(`${JSON.stringify(field.name)}:`)
    this.nameLength = this.name.length
    const isLong = this.nameLength >= 4
    this.nameStart = isLong ? this.name.readInt32LE(0) : 0
    this.nameEnd = isLong ? this.name.readInt32LE(this.nameLength - 4) : 0
    this.column = noColumn
    this.quick = noQuickColumn
    this.valid = null
  }

  bind(column: Column): void {
    this.column = column
    this.quick = new QuickColumn(column)
    this.valid = column.valid
  }

  /** Whether the name is at `at`. */
  isAt(view: DataView, at: number, end: number): boolean {
    const { nameLength } = this
    if (end - at < nameLength || nameLength < 4) return false
    if (view.getInt32(at, true) !== this.nameStart || view.getInt32(at + nameLength - 4, true) !== this.nameEnd) return false
    return nameLength <= 8 || this.#isMiddleAt(view, at)
  }

  #isMiddleAt(view: DataView, at: number): boolean {
    const last = this.nameLength - 4
    for (let i = 4; i < last; i++) if (view.getUint8(at + i) !== this.name[i]) return false
    return true
  }
}

const longestNameShown = 100

/** What is said of a value, by its fault and what its column wants. */
const faultTexts: Readonly<Record<Fault, (wants: string) => string>> = {
  'wrong-type': (wants) => `needs ${wants}`,
  'out-of-range': (wants) => `does not fit ${wants}`,
  'unknown-field': (wants) => `has a field that is none of ${wants}`,
  'duplicate-field': (wants) => `gives a field of ${wants} twice`,
  'missing-value': (wants) => `lacks what ${wants} requires`,
}

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
  /** After {@link decodeLines}: rows decoded. */
  count = 0
  /** A line feed was skipped, between two tokens or with a value. */
  #sawLine = false
  /** White space inside of values is skipped without being seen here. */
  readonly #isDeep: boolean
  /** After `full`: the column without room, and the bytes that its value needs with its length. */
  target = 0
  needed = 0

  constructor(fields: readonly Field[], ignored: readonly string[] = []) {
    this.#targets = fields.map((field, index) => new Target(field, index))
    this.#byName = new Map(fields.map(({ name }, i) => [name, i]))
    this.#ignored = new Set(ignored)
    this.#isDeep = fields.some(({ type }) => isNested(type))
    this.#next = Int32Array.from({ length: fields.length + 1 }, (_, i) => (i < fields.length ? i : 0))
  }

  /** Rows go to these columns from now on; one for each field. */
  bind(columns: readonly Column[]): void {
    for (const target of this.#targets) target.bind(columns[target.index])
  }

  /**
   * Decodes the object at or behind `from` as row `row` of the columns. Returns the place behind it, or one of {@link outcomes}: the
   * row then counts for nothing and can be written again.
   */
  decode(bytes: Uint8Array, from: number, end: number, row: number): number {
    return this.#decode(bytes, viewOf(bytes), from, end, row)
  }

  /**
   * Decodes lines, an object on each, from the one at `from` on, as rows from `row` on: at most `most`, and none longer than `longest`
   * bytes. Returns the place behind the last one that was decoded, and their number in `count`. The line there, if it is not the end,
   * was not decoded for whatever reason: {@link decode} tells which.
   */
  decodeLines(bytes: Uint8Array, from: number, end: number, row: number, most: number, longest: number): number {
    const view = viewOf(bytes)
    this.count = 0
    let at = from
    while (at < end && this.count < most) {
      const to = this.#isDeep ? lineEnd(bytes, at, end) : end
      this.#sawLine = false
      let after = this.#decode(bytes, view, at, to, row + this.count)
      if (after < 0 || this.#sawLine || after - at > longest) break
      if (after < end) {
        if (bytes[after] === 0x0d) after++
        if (after >= end || bytes[after] !== 0x0a) break
        after++
      }
      at = after
      this.count++
    }
    return at
  }

  #decode(bytes: Uint8Array, view: DataView, from: number, end: number, row: number): number {
    let at = from
    if (at < end && bytes[at] <= 0x20) at = this.#space(bytes, from, end)
    if (at >= end || bytes[at] !== 0x7b) return this.#refuse('not-an-object', null, 'a row is a JSON object')
    at = at + 1 < end && bytes[at + 1] <= 0x20 ? this.#space(bytes, at + 1, end) : at + 1
    const stamp = ++this.#row
    const targets = this.#targets
    const next = this.#next
    let count = 0
    let before = 0
    if (at < end && bytes[at] === 0x7d) return this.#complete(at + 1, row, count)
    for (;;) {
      let index = next[before]
      if (index < targets.length && targets[index].isAt(view, at, end)) at += targets[index].nameLength
      else {
        const name = this.#space(bytes, at, end)
        if (name > at) {
          at = name
          continue
        }
        if (at >= end || bytes[at] !== 0x22) return this.#malformed()
        const quote = stringEnd(bytes, at + 1, end)
        if (quote < 0) return this.#malformed()
        const text = cellText(bytes, at + 1, quote)
        if (text === null) return this.#malformed()
        const found = this.#byName.get(text)
        if (found === undefined && !this.#ignored.has(text) && !this.#isOpen(bytes, quote + 1, end)) {
          return this.#refuse('unknown-field', text.slice(0, longestNameShown), 'is no column of the table')
        }
        index = found ?? -1
        at = this.#space(bytes, quote + 1, end)
        if (at >= end || bytes[at] !== 0x3a) return this.#malformed()
        at++
      }
      if (at < end && bytes[at] <= 0x20) at = this.#space(bytes, at, end)
      if (index < 0) {
        const after = skipValue(bytes, at, end)
        if (after < 0) return this.#malformed()
        this.#noteLines(bytes, at, after)
        at = after
      } else {
        const target = targets[index]
        if (target.seen === stamp) return this.#refuse('duplicate-field', target.field.name, 'is given twice')
        target.seen = stamp
        next[before] = index
        before = index + 1
        count++
        const after = at < end ? readQuickly(target.kind, bytes, view, at, end, target.quick, row) : -1
        if (after < 0) {
          at = this.#value(bytes, at, end, row, target)
          if (at < 0) return at
        } else {
          at = after
          const { valid } = target
          if (valid !== null) valid[row >> 3] |= 1 << (row & 7)
        }
      }
      if (at < end && bytes[at] <= 0x20) at = this.#space(bytes, at, end)
      if (at >= end) return this.#malformed()
      const byte = bytes[at++]
      if (byte === 0x7d) return this.#complete(at, row, count)
      if (byte !== 0x2c) return this.#malformed()
    }
  }

  /** Whether the value behind the name that ends at `at` may be given to no column. */
  #isOpen(bytes: Uint8Array, at: number, end: number): boolean {
    const colon = this.skipsOpen ? skipSpace(bytes, at, end) : end
    return colon < end && bytes[colon] === 0x3a && isOpenValue(bytes, skipSpace(bytes, colon + 1, end), end)
  }

  #space(bytes: Uint8Array, from: number, end: number): number {
    const at = skipSpace(bytes, from, end)
    this.#noteLines(bytes, from, at)
    return at
  }

  #noteLines(bytes: Uint8Array, from: number, to: number): void {
    for (let i = from; i < to; i++) if (bytes[i] === 0x0a) this.#sawLine = true
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
    return this.#refuse(read.fault, field.name, faultTexts[read.fault](read.wants))
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

const noQuickColumn = new QuickColumn(noColumn)

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Behind the line feed, or the end. */
function lineEnd(bytes: Uint8Array, from: number, end: number): number {
  const at = bytes.indexOf(0x0a, from)
  return at < 0 || at >= end ? end : at + 1
}
