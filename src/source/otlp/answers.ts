import { FrazilError, asError } from '../../base/index.ts'
import { WireWriter } from '../../format/protobuf/index.ts'
import type { Receipt } from './receiver.ts'
import type { Signal } from './tables.ts'
import type { Exchange } from './traffic.ts'

/** When a client that was turned away may come again. */
export const retryAfterSeconds = 1

/** What is answered to a request that was not taken: google.rpc.Status, and the status of HTTP that goes with it. */
export interface Refusal {
  readonly http: number
  /** google.rpc.Code. */
  readonly code: number
  readonly message: string
  /** Whether it may be sent again later. */
  readonly again: boolean
}

/** google.rpc.Code. */
export const grpcCodes = {
  invalid: 3,
  late: 4,
  denied: 7,
  exhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const

/** Answers for codes of `request` errors; for all others 400. */
const requests: Readonly<Record<string, readonly [http: number, code: number]>> = {
  'body-too-large': [413, grpcCodes.exhausted],
  'batch-too-large': [413, grpcCodes.exhausted],
  'wrong-content-type': [415, grpcCodes.invalid],
  'wrong-content-encoding': [415, grpcCodes.unimplemented],
  unauthorized: [401, grpcCodes.unauthenticated],
  forbidden: [403, grpcCodes.denied],
  'wrong-host': [403, grpcCodes.denied],
  'wrong-origin': [403, grpcCodes.denied],
  'no-such-route': [404, grpcCodes.unimplemented],
  'wrong-method': [405, grpcCodes.unimplemented],
  'profiles-not-taken': [501, grpcCodes.unimplemented],
}

/**
 * Whether a client may try again is what the status says (specification: OTLP/HTTP "Failures", OTLP/gRPC "Failures"): whatever may pass
 * is 429 or 503.
 */
export function refusalOf(error: unknown): Refusal {
  if (!(error instanceof FrazilError)) {
    return { http: 500, code: grpcCodes.internal, message: 'this should not have happened', again: false }
  }
  const { kind, code, message } = error
  if (kind === 'request') {
    const [http, status] = requests[code] ?? [400, grpcCodes.invalid]
    return { http, code: status, message, again: false }
  }
  return code === 'overloaded'
    ? { http: 429, code: grpcCodes.exhausted, message, again: true }
    : { http: 503, code: grpcCodes.unavailable, message: asError(error).message, again: true }
}

export function outcomeOf({ code, again }: Refusal): Exchange['outcome'] {
  if (again) return 'later'
  return code === grpcCodes.unauthenticated || code === grpcCodes.denied ? 'denied' : 'refused'
}

/** google.rpc.Status, with google.rpc.RetryInfo where the request may come again. */
export function statusMessage({ code, message, again }: Refusal): Buffer {
  const out = new WireWriter()
  out.uint32(1, code)
  out.text(2, message)
  if (again) {
    const detail = out.open(3)
    out.text(1, 'type.googleapis.com/google.rpc.RetryInfo')
    const info = out.open(2)
    const delay = out.open(1)
    out.uint32(1, retryAfterSeconds)
    out.close(delay)
    out.close(info)
    out.close(detail)
  }
  return out.written
}

export function statusJson({ code, message, again }: Refusal): string {
  const info = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: `${retryAfterSeconds}s` }
  return JSON.stringify({ code, message, ...(again ? { details: [info] } : {}) })
}

const refusedNames: Readonly<Record<Signal, string>> = {
  logs: 'rejectedLogRecords',
  traces: 'rejectedSpans',
  metrics: 'rejectedDataPoints',
}

/** Export…ServiceResponse; empty when everything was kept. */
export function responseMessage({ refused, reason }: Receipt): Buffer {
  const out = new WireWriter()
  if (refused > 0) {
    const partial = out.open(1)
    out.varint64(1, BigInt(refused))
    out.text(2, reason ?? '')
    out.close(partial)
  }
  return out.written
}

export function responseJson(signal: Signal, { refused, reason }: Receipt): string {
  return refused === 0
    ? '{}'
    : JSON.stringify({ partialSuccess: { [refusedNames[signal]]: String(refused), errorMessage: reason } })
}
