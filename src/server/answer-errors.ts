import type { Caller } from '../access/index.ts'
import { FrazilError } from '../base/index.ts'
import type { ErrorKind } from '../base/index.ts'

/** When a client that was turned away may come again, in seconds. */
const retryAfterSeconds = '1'

/** What a client gets for an error: `{code, message, hint?}`. */
export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
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
export const statusOfCode: Readonly<Record<string, number>> = {
  'unknown-table': 404,
  'no-such-row': 404,
  'no-such-route': 404,
  'file-missing': 404,
  unauthorized: 401,
  forbidden: 403,
  'file-not-allowed': 403,
  'from-postgres-not-allowed': 403,
  'wrong-host': 403,
  'wrong-origin': 403,
  'wrong-method': 405,
  'not-acceptable': 406,
  'result-too-large': 413,
  'body-too-large': 413,
  'batch-too-large': 413,
  'too-many-rows': 413,
  'too-deep': 413,
  'wrong-content-encoding': 415,
  'idempotency-key-reused': 422,
  'producer-sequence-gap': 409,
  'producer-sequence-unknown': 409,
  'producer-sequence-reused': 422,
  'wrong-columns': 422,
  'file-refused': 422,
  'table-refused': 422,
  'too-many-tables': 422,
  'disk-full': 507,
  overloaded: 429,
  'too-many-queries': 429,
  'too-many-producers': 429,
  'not-available-yet': 501,
  'query-timeout': 504,
  'wait-timeout': 504,
}

/** The HTTP library's own errors, as ours. */
const libraryErrors: Readonly<Record<string, ErrorAnswer['body']>> = {
  FST_ERR_BAD_URL: { code: 'bad-parameter', message: 'the path of the URL is not percent-encoded UTF-8' },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'bad-parameter', message: 'a name or a key in the path of the URL is too long' },
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'body-too-large', message: 'the body is larger than this route takes' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    code: 'wrong-content-type',
    message:
      'the body must be sent as Content-Type: application/json (rows also as application/x-ndjson, text/csv, avro/binary or an Arrow stream)',
  },
}

/** Any thrown value as an answer. What is not an expected failure is a bug: the client learns no details. */
export function errorAnswer(error: unknown, caller?: Caller): ErrorAnswer {
  if (error instanceof FrazilError) {
    const { code, message, hint } = error
    const status = statusOfCode[code] ?? statusOfKind[error.kind]
    const body = hint === undefined ? { code, message } : { code, message, hint }
    return { status, headers: headersOf(status, code), body: caller && !caller.seesAll ? withoutOtherTables(body) : body }
  }
  const { statusCode, code, message } = error as { statusCode?: number; code?: string; message?: string }
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    const body = libraryErrors[code ?? ''] ?? { code: 'bad-request', message: message ?? 'bad request' }
    return { status: code === 'FST_ERR_MAX_PARAM_LENGTH' ? 400 : statusCode, headers: {}, body }
  }
  return { status: 500, headers: {}, body: { code: 'internal', message: 'an internal error; the log has the details' } }
}

function headersOf(status: number, code: string): Record<string, string> {
  if (status === 429 || status === 503) return { 'retry-after': retryAfterSeconds }
  if (code === 'unauthorized') return { 'www-authenticate': 'Bearer realm="frazil"' }
  if (code === 'forbidden') return { 'www-authenticate': 'Bearer realm="frazil", error="insufficient_scope"' }
  return {}
}

/** Some errors name tables that could be meant, or are in the way, or sources. */
function withoutOtherTables(body: ErrorAnswer['body']): ErrorAnswer['body'] {
  const { code, message } = body
  if (code === 'unknown-table') return { code, message }
  if (code === 'from-postgres-not-allowed') return { code, message: 'tables of this database may not be added' }
  if (code === 'ingest-name-taken') return { code, message: 'rows sent to this name go to another table already' }
  return body
}
