import type { RefusedRow } from '../server/api/index.ts'

/** A request that was refused, or had no answer within all attempts. */
export class FrazilClientError extends Error {
  override readonly name = 'FrazilClientError'
  /** Status of the answer; null when there was none. */
  readonly status: number | null
  /** As in docs/errors.md; `no-answer` when there was none. */
  readonly code: string
  readonly hint: string | null
  /** Rows that were refused, counted from 1 within their batch; the first 100. */
  readonly rows: readonly RefusedRow[]
  /** How many rows of the batch were refused. */
  readonly refused: number

  constructor(
    message: string,
    details: {
      status: number | null
      code: string
      hint?: string
      rows?: readonly RefusedRow[]
      refused?: number
      cause?: unknown
    },
  ) {
    super(message, { cause: details.cause })
    this.status = details.status
    this.code = details.code
    this.hint = details.hint ?? null
    this.rows = details.rows ?? []
    this.refused = details.refused ?? this.rows.length
  }
}

/** What an answer that is no success says. */
export function failureOf(status: number, text: string): FrazilClientError {
  let body: { code?: unknown; message?: unknown; hint?: unknown; rows?: unknown; refused?: unknown } = {}
  try {
    body = JSON.parse(text) as typeof body
  } catch {
    // Somebody in between answered.
  }
  return new FrazilClientError(typeof body.message === 'string' ? body.message : `the server answered ${status}`, {
    status,
    code: typeof body.code === 'string' ? body.code : 'unknown',
    hint: typeof body.hint === 'string' ? body.hint : undefined,
    rows: Array.isArray(body.rows) ? (body.rows as readonly RefusedRow[]) : [],
    refused: typeof body.refused === 'number' ? body.refused : undefined,
  })
}
