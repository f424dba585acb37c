import { FrazilError } from '../../base/index.ts'
import type { Column, Field } from '../../data/index.ts'
import { ArrowRows } from '../../format/arrow/index.ts'
import { JsonRowDecoder, oneCell, outcomes } from '../../format/json/index.ts'
import type { RowProblem } from '../../format/json/index.ts'
import type { PushRequest, RefusedRow } from '../source.ts'
import { decodeBatch, grownFields, hasColumns } from './batch.ts'
import type { Batch, RowSink } from './batch.ts'
import type { RowDecoder } from './lane.ts'

/** The columns of a table that a request would make. */
export interface Draft {
  readonly fields: readonly Field[]
  /** Rows that it would take. */
  readonly count: number
  /** Rows that it would refuse all the same; without `partial` nothing is to be made then. */
  readonly refused: number
  readonly refusals: readonly RefusedRow[]
}

const firstHeapBytes = 256

/**
 * The columns that the rows of a request need; those of the key are required. Throws `request` for a body that cannot be taken apart
 * into rows, and for rows without any column.
 */
export function draftTable(request: PushRequest, key: readonly string[]): Draft {
  const draft = (sent: Parameters<typeof grownFields>[0]): Field[] => {
    const fields = grownFields(sent, [], []) ?? []
    return fields.map((field) => (key.includes(field.name) ? { ...field, required: true } : field))
  }
  const check = (fields: readonly Field[]): Batch =>
    decodeBatch({ ...request, partial: true }, fields, new CheckedRows(fields), Number.POSITIVE_INFINITY)
  let fields = draft(request)
  let checked = check(fields)
  if (checked.refused > 0 && checked.count > 0 && !hasColumns(request.form)) {
    fields = draft({ body: checked.body, form: 'lines' })
    checked = check(fields)
  }
  const { count, refused, refusals } = checked
  if (fields.length === 0 && refused === 0) {
    throw new FrazilError('request', 'bad-schema', 'the rows have no column that a table could be made of')
  }
  return { fields, count, refused, refusals }
}

/** Decodes rows to see whether they can be, and keeps nothing. */
class CheckedRows implements RowSink {
  readonly #fields: readonly Field[]
  readonly #json: JsonRowDecoder
  #decoder: RowDecoder
  readonly #columns: Column[]
  taken = 0
  readonly added = 0

  constructor(fields: readonly Field[]) {
    this.#fields = fields
    this.#json = new JsonRowDecoder(fields)
    this.#json.skipsOpen = true
    this.#decoder = this.#json
    this.#columns = fields.map((field) => oneCell(field, firstHeapBytes))
    this.#decoder.bind(this.#columns)
  }

  get problem(): RowProblem {
    return this.#decoder.problem
  }

  /** One by one is fast enough for the few rows that make a table. */
  appendLines(_bytes: Uint8Array, at: number): number {
    return at
  }

  useArrow(body: Uint8Array | null): number {
    const arrow = body && new ArrowRows(body, this.#fields, { skipsOpen: true })
    this.#decoder = arrow ?? this.#json
    this.#decoder.bind(this.#columns)
    return arrow?.rows ?? 0
  }

  append(bytes: Uint8Array, at: number, end: number): number {
    for (;;) {
      const after = this.#decoder.decode(bytes, at, end, 0)
      if (after !== outcomes.full) return after
      const { target, needed } = this.#decoder
      this.#columns[target] = oneCell(this.#columns[target].field, needed)
      this.#decoder.bind(this.#columns)
    }
  }
}
