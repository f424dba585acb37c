import { Buffer } from 'node:buffer'
import { FrazilError, asError } from '../base/index.ts'
import type { PushReceipt, PushRequest } from '../source/index.ts'

/** Most rows and bytes of a group; more make another one. */
const mostRows = 1024
const mostBytes = 1 << 20

interface Waiting {
  readonly request: PushRequest
  readonly resolve: (receipt: PushReceipt) => void
  readonly reject: (error: Error) => void
}

/** What goes to one table by one operation. */
interface Line {
  /** The group that gathers now. */
  rows: Waiting[]
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
  static takes({ form, key, body }: PushRequest): boolean {
    return form === 'row' && key === null && body.length <= mostBytes
  }

  push(request: PushRequest): Promise<PushReceipt> {
    const { table, operation, body } = request
    const id = 'ingest' in table ? `${operation} ${table.ingest}` : `${operation}\n${table.namespace}\n${table.name}`
    let line = this.#lines.get(id)
    if (!line) this.#lines.set(id, (line = { rows: [], bytes: 0, underWay: 0 }))
    else if (line.rows.length === mostRows || line.bytes + body.length > mostBytes) this.#storeNext(id, line)
    // What is being stored calls when it is done; until then the spool would only keep them waiting.
    if (line.rows.length === 0 && line.underWay === 0) setImmediate(() => this.#storeNext(id, line))
    const { rows } = line
    line.bytes += body.length
    return new Promise((resolve, reject) => rows.push({ request, resolve, reject }))
  }

  #storeNext(id: string, line: Line): void {
    const { rows, bytes } = line
    if (rows.length === 0) {
      if (line.underWay === 0) this.#lines.delete(id)
      return
    }
    line.rows = []
    line.bytes = 0
    line.underWay++
    void this.#store(rows, bytes, () => {
      if (--line.underWay === 0) this.#storeNext(id, line)
    })
  }

  /** @param done is called before the rows are answered, so that the next ones are under way meanwhile */
  async #store(rows: readonly Waiting[], bytes: number, done: () => void): Promise<void> {
    let receipt: PushReceipt
    try {
      receipt = await this.#push(rows.length === 1 ? rows[0].request : together(rows, bytes))
      done()
    } catch (thrown) {
      done()
      const error = asError(thrown)
      // What is wrong with one of them must not become the answer of the others.
      const isOfOne = error instanceof FrazilError && error.kind === 'request' && rows.length > 1
      for (const row of rows) {
        if (isOfOne) void this.#storeAlone(row)
        else row.reject(error)
      }
      return
    }
    answer(rows, receipt)
  }

  async #storeAlone({ request, resolve, reject }: Waiting): Promise<void> {
    try {
      resolve(await this.#push(request))
    } catch (error) {
      reject(asError(error))
    }
  }
}

function answer(rows: readonly Waiting[], receipt: PushReceipt): void {
  const { position, refused, refusals } = receipt
  if (rows.length === 1 || refused === 0) {
    const each = rows.length === 1 ? receipt : { ...receipt, rows: 1 }
    for (const { resolve } of rows) resolve(each)
    return
  }
  const stored: PushReceipt = { position, rows: 1, refused: 0, refusals: [], replayed: false }
  const problems = new Map(refusals.map((refusal) => [refusal.row, refusal]))
  for (const [i, { resolve }] of rows.entries()) {
    const problem = problems.get(i + 1)
    if (!problem) resolve(stored)
    else resolve({ position: null, rows: 0, refused: 1, refusals: [{ ...problem, row: 1 }], replayed: false })
  }
}

function together(rows: readonly Waiting[], bytes: number): PushRequest {
  const body = Buffer.allocUnsafeSlow(bytes + rows.length)
  const ends = new Uint32Array(rows.length)
  let at = 0
  for (const [i, { request }] of rows.entries()) {
    body.set(request.body, at)
    at += request.body.length
    body[at++] = 0x0a
    ends[i] = at
  }
  const { table, operation } = rows[0].request
  return { table, operation, form: 'rows', body, ends, partial: true, key: null }
}
