import { FrazilError } from '../base/index.ts'
import type { ErrorKind } from '../base/index.ts'

/** When a client that was turned away may come again. */
const retryAfterSeconds = 1

/** What a client gets for an error: `{code, message, hint?}`. */
export interface ErrorAnswer {
  readonly status: number
  /** When the client may come again, in seconds. */
  readonly retryAfter?: number
  readonly body: { readonly code: string; readonly message: string; readonly hint?: string }
}

const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  request: 400,
  config: 500,
  unavailable: 503,
  conflict: 409,
  uncertain: 503,
  unsupported: 501,
  corrupt: 500,
  fenced: 503,
}

/** Codes whose status says more than their kind's. */
const statusOfCode: Readonly<Record<string, number>> = {
  'unknown-table': 404,
  'no-such-row': 404,
  'no-such-route': 404,
  'wrong-host': 403,
  'wrong-origin': 403,
  'not-acceptable': 406,
  'result-too-large': 413,
  'body-too-large': 413,
  'batch-too-large': 413,
  'too-many-rows': 413,
  'too-deep': 413,
  'wrong-content-encoding': 415,
  'idempotency-key-reused': 422,
  'disk-full': 507,
  overloaded: 429,
  'too-many-queries': 429,
  'not-available-yet': 501,
  'query-timeout': 504,
  'wait-timeout': 504,
}

/** The HTTP library's own errors, as ours. */
const libraryErrors: Readonly<Record<string, ErrorAnswer['body']>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'body-too-large', message: 'the body is larger than this route takes' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'wrong-content-type',
    message: 'the body must be sent as Content-Type: application/json (rows also as application/x-ndjson or text/csv)',
  },
}

/** Any thrown value as an answer. What is not an expected failure is a bug: the client learns no details. */
export function errorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof FrazilError) {
    const { code, message, hint } = error
    const status = statusOfCode[code] ?? statusOfKind[error.kind]
    return {
      status,
      ...(status === 429 || status === 503 ? { retryAfter: retryAfterSeconds } : {}),
      body: hint === undefined ? { code, message } : { code, message, hint },
    }
  }
  const { statusCode, code, message } = error as { statusCode?: number; code?: string; message?: string }
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    return { status: statusCode, body: libraryErrors[code ?? ''] ?? { code: 'bad-request', message: message ?? 'bad request' } }
  }
  return { status: 500, body: { code: 'internal', message: 'an internal error; the log has the details' } }
}
