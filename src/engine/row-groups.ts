import { Buffer } from 'node:buffer'
import { FrazilError, asError } from '../base/index.ts'
import type { PushReceipt, PushRequest } from '../source/index.ts'
import type { RowToStore } from './contract.ts'

/** Most rows and bytes of a group; more make another one. */
const mostRows = 1024
const mostBytes = 1 << 20

/** What goes to one table by one operation. */
interface Line {
  readonly id: string
  readonly table: PushRequest['table']
  readonly operation: PushRequest['operation']
  /** The group that gathers now. */
  rows: RowToStore[]
  bytes: number
  /** Groups that are being stored. */
  underWay: number
}

/**
 * Requests of a single row that arrive in the same turn, or while others are being made durable, go on as one: a request costs much more
 * than a row. One decoding, one record of the spool, one source commit. Each is answered as if it had come alone.
 */
export class RowGroups {
  readonly #push: (request: PushRequest) => Promise<PushReceipt>
  /** By table and operation; none is kept that has nothing to do. */
  readonly #lines = new Map<string, Line>()

  /** @param push stores one request */
  constructor(push: (request: PushRequest) => Promise<PushReceipt>) {
    this.#push = push
  }

  /** Whether `request` is one that can go with others. */
  static takes({ form, key, producer, body }: PushRequest): boolean {
    return form === 'row' && key === null && !producer && body.length <= mostBytes
  }

  push({ table, operation, body }: PushRequest): Promise<PushReceipt> {
    return new Promise((resolve, reject) => this.add(table, operation, { body, stored: resolve, failed: reject }))
  }

  /** {@link push} without a promise: `row` is told later. */
  add(table: PushRequest['table'], operation: PushRequest['operation'], row: RowToStore): void {
    const id = 'ingest' in table ? `${operation} ${table.ingest}` : `${operation}\n${table.namespace}\n${table.name}`
    const { length } = row.body
    let line = this.#lines.get(id)
    if (!line) this.#lines.set(id, (line = { id, table, operation, rows: [], bytes: 0, underWay: 0 }))
    else if (line.rows.length === mostRows || line.bytes + length > mostBytes) this.#storeNext(line)
    // What is being stored calls when it is done; until then the spool would only keep them waiting.
    if (line.rows.length === 0 && line.underWay === 0) setImmediate(() => this.#storeNext(line))
    line.bytes += length
    line.rows.push(row)
  }

  #storeNext(line: Line): void {
    const { rows, bytes } = line
    if (rows.length === 0) {
      if (line.underWay === 0) this.#lines.delete(line.id)
      return
    }
    line.rows = []
    line.bytes = 0
    line.underWay++
    void this.#store(line, rows, bytes)
  }

  async #store(line: Line, rows: readonly RowToStore[], bytes: number): Promise<void> {
    // Before the rows are answered, so that the next ones are under way meanwhile.
    const done = (): void => {
      if (--line.underWay === 0) this.#storeNext(line)
    }
    let receipt: PushReceipt
    try {
      receipt = await this.#push(rows.length === 1 ? alone(line, rows[0]) : together(line, rows, bytes))
      done()
    } catch (thrown) {
      done()
      const error = asError(thrown)
      // What is wrong with one of them must not become the answer of the others.
      const isOfOne = error instanceof FrazilError && error.kind === 'request' && rows.length > 1
      for (const row of rows) {
        if (isOfOne) void this.#storeAlone(line, row)
        else row.failed(error)
      }
      return
    }
    answer(rows, receipt)
  }

  async #storeAlone(line: Line, row: RowToStore): Promise<void> {
    let receipt: PushReceipt
    try {
      receipt = await this.#push(alone(line, row))
    } catch (error) {
      row.failed(asError(error))
      return
    }
    row.stored(receipt)
  }
}

function answer(rows: readonly RowToStore[], receipt: PushReceipt): void {
  const { position, refused, refusals } = receipt
  if (rows.length === 1 || refused === 0) {
    const each = rows.length === 1 ? receipt : { ...receipt, rows: 1 }
    for (const row of rows) row.stored(each)
    return
  }
  const stored: PushReceipt = { position, rows: 1, refused: 0, refusals: [], replayed: false }
  const problems = new Map(refusals.map((refusal) => [refusal.row, refusal]))
  for (const [i, row] of rows.entries()) {
    const problem = problems.get(i + 1)
    if (!problem) row.stored(stored)
    else row.stored({ position: null, rows: 0, refused: 1, refusals: [{ ...problem, row: 1 }], replayed: false })
  }
}

function alone({ table, operation }: Line, { body }: RowToStore): PushRequest {
  return { table, operation, form: 'row', body, partial: false, key: null }
}

function together({ table, operation }: Line, rows: readonly RowToStore[], bytes: number): PushRequest {
  const joined = Buffer.allocUnsafeSlow(bytes + rows.length)
  const ends = new Uint32Array(rows.length)
  let at = 0
  let i = 0
  for (const { body } of rows) {
    joined.set(body, at)
    at += body.length
    joined[at++] = 0x0a
    ends[i++] = at
  }
  return { table, operation, form: 'rows', body: joined, ends, partial: true, key: null }
}
