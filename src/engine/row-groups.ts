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

interface Group {
  readonly rows: Waiting[]
  bytes: number
}

/**
 * Requests of a single row that arrive in the same turn go on as one, because a request costs much more than a row: one decoding, one
 * record of the spool, one source commit. Each is answered as if it had come alone.
 */
export class RowGroups {
  readonly #push: (request: PushRequest) => Promise<PushReceipt>
  /** By table and operation. */
  #groups = new Map<string, Group>()
  #isDue = false

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
    let group = this.#groups.get(id)
    if (group && (group.rows.length === mostRows || group.bytes + body.length > mostBytes)) {
      void this.#store(group)
      group = undefined
    }
    if (!group) this.#groups.set(id, (group = { rows: [], bytes: 0 }))
    if (!this.#isDue) {
      this.#isDue = true
      setImmediate(() => this.#storeAll())
    }
    const { rows } = group
    group.bytes += body.length
    return new Promise((resolve, reject) => rows.push({ request, resolve, reject }))
  }

  #storeAll(): void {
    const groups = this.#groups
    this.#groups = new Map()
    this.#isDue = false
    for (const group of groups.values()) void this.#store(group)
  }

  async #store({ rows, bytes }: Group): Promise<void> {
    if (rows.length === 1) return this.#storeAlone(rows[0])
    let receipt: PushReceipt
    try {
      receipt = await this.#push(together(rows, bytes))
    } catch (thrown) {
      const error = asError(thrown)
      // What is wrong with one of them must not become the answer of the others.
      if (error instanceof FrazilError && error.kind === 'request') for (const row of rows) void this.#storeAlone(row)
      else for (const { reject } of rows) reject(error)
      return
    }
    const { position, refused, refusals } = receipt
    const stored: PushReceipt = { position, rows: 1, refused: 0, refusals: [], replayed: false }
    if (refused === 0) {
      for (const { resolve } of rows) resolve(stored)
      return
    }
    const problems = new Map(refusals.map((refusal) => [refusal.row, refusal]))
    for (const [i, { resolve }] of rows.entries()) {
      const problem = problems.get(i + 1)
      if (!problem) resolve(stored)
      else resolve({ position: null, rows: 0, refused: 1, refusals: [{ ...problem, row: 1 }], replayed: false })
    }
  }

  async #storeAlone({ request, resolve, reject }: Waiting): Promise<void> {
    try {
      resolve(await this.#push(request))
    } catch (error) {
      reject(asError(error))
    }
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
