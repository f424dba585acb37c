import { isOpenType } from './schema.ts'
import type { ArrowField } from './schema.ts'
import { FrazilError } from '../../base/index.ts'
import { maxValueBytes, typeText } from '../../data/index.ts'
import type { Column, Field } from '../../data/index.ts'
import { outcomes, setNull } from '../json/index.ts'
import type { RowProblem } from '../json/index.ts'
import { cellsOf, faults } from './cells.ts'
import type { CellSource } from './cells.ts'
import { fieldOf } from './schema.ts'
import { readArrowStream } from './stream.ts'
import type { ArrowBatch, ArrowStream } from './stream.ts'

export interface ArrowRowsOptions {
  /** Columns that may be given and are not looked at. */
  readonly ignored?: readonly string[]
  /** Columns of type null that the table does not have may be given. */
  readonly skipsOpen?: boolean
}

interface Target {
  readonly field: Field
  /** Of the batch at hand; null when the stream has no such column. */
  cells: CellSource | null
  column: Column | null
}

/**
 * The rows of a stream of Arrow record batches, decoded one by one into columns of a table, found by their names; like
 * `JsonRowDecoder`, with the number of a row for its place. A column that the stream does not have is null.
 */
export class ArrowRows {
  readonly #stream: ArrowStream
  readonly #targets: Target[]
  #batch: ArrowBatch | null = null
  #next = 0
  /** Rows before the batch at hand. */
  #before = 0
  readonly rows: number
  /** After `refused`. */
  problem: RowProblem = { code: '', column: null, message: '' }
  /** After `full`: the column without room, and the bytes that its value needs with its length. */
  target = 0
  needed = 0

  /**
   * Throws `request`: `bad-arrow`, `unsupported-arrow`, or `wrong-columns` when the columns are not those of the table.
   */
  constructor(body: Uint8Array, fields: readonly Field[], options: ArrowRowsOptions = {}) {
    this.#stream = readArrowStream(body)
    this.rows = this.#stream.batches.reduce((sum, { rows }) => sum + rows, 0)
    this.#targets = fields.map((field) => ({ field, cells: null, column: null }))
    checkColumns(this.#stream.fields, fields, options)
  }

  bind(columns: readonly Column[]): void {
    for (const [i, target] of this.#targets.entries()) target.column = columns[i]
  }

  /** Decodes row `at` as row `row` of the columns. Returns `at` + 1, or one of `outcomes`. Rows come in their order. */
  decode(_bytes: Uint8Array, at: number, _end: number, row: number): number {
    if (this.#batch && at < this.#before) this.#rewind()
    while (!this.#batch || at >= this.#before + this.#batch.rows) this.#open()
    const place = at - this.#before
    for (let i = 0; i < this.#targets.length; i++) {
      const { field, cells, column } = this.#targets[i]
      if (!column) continue
      if (!cells?.isPresent(place)) {
        if (field.required) return this.#refuse('missing-value', field, 'is required and cannot be null')
        setNull(column, row)
        continue
      }
      const size = cells.size(place)
      if (size === faults.missing) return this.#refuse('missing-value', field, 'has a part that is required and null')
      if (size < 0 || size > maxValueBytes) return this.#refuse('out-of-range', field, `does not fit ${typeText(field.type)}`)
      if (column.valid) column.valid[row >> 3] |= 1 << (row & 7)
      if (column.layout !== 'var') {
        cells.put(place, column.data, row * column.width)
        continue
      }
      const start = column.ends[row]
      if (start + 4 + size > column.heap.length) {
        this.target = i
        this.needed = size + 4
        return outcomes.full
      }
      const { heap } = column
      heap[start] = size
      heap[start + 1] = size >>> 8
      heap[start + 2] = size >>> 16
      heap[start + 3] = size >>> 24
      cells.put(place, heap, start + 4)
      column.ends[row + 1] = start + 4 + size
    }
    return at + 1
  }

  #rewind(): void {
    this.#batch = null
    this.#next = 0
    this.#before = 0
  }

  /** Goes to the next batch. */
  #open(): void {
    if (this.#batch) this.#before += this.#batch.rows
    const batch = this.#stream.batches[this.#next++]
    this.#batch = batch
    for (const target of this.#targets) {
      const place = this.#stream.fields.findIndex(({ name }) => name === target.field.name)
      target.cells = place < 0 ? null : cellsOf(batch.columns[place], target.field.type)
      if (place >= 0 && target.cells === null) throw wrongType(this.#stream.fields[place], target.field)
    }
  }

  #refuse(code: string, { name }: Field, message: string): number {
    this.problem = { code, column: name, message }
    return outcomes.refused
  }
}

function checkColumns(given: readonly ArrowField[], fields: readonly Field[], options: ArrowRowsOptions): void {
  const names = new Set<string>()
  for (const field of given) {
    const { name } = field
    if (names.has(name)) throw wrong(`there are two columns ${JSON.stringify(name)}`)
    names.add(name)
    const isKnown = fields.some((own) => own.name === name) || options.ignored?.includes(name)
    if (!isKnown && !(options.skipsOpen && isOpenType(field))) throw wrong(`the table has no column ${JSON.stringify(name)}`)
  }
  const missing = fields.find(({ name, required }) => required && !names.has(name))
  if (missing) throw wrong(`the column ${JSON.stringify(missing.name)} is required and is missing`)
}

function wrongType(given: ArrowField, { name, type }: Field): FrazilError {
  const found = fieldOf(given)
  const is = found ? typeText(found.type) : given.type.kind
  return wrong(`the column ${JSON.stringify(name)} is ${typeText(type)}, and not ${is}`)
}

function wrong(message: string): FrazilError {
  return new FrazilError('request', 'wrong-columns', message, {
    hint: 'No row was stored. Cast the columns before they are sent.',
  })
}
