/**
 * Every error that leaves a module of ours has a kind, and the kind says what to do with it. `engine/policy.ts` is the one
 * place that maps a kind to behaviour.
 */
export type ErrorKind =
  /** The user's settings or surroundings are wrong: refuse to start, say what to change. */
  | 'config'
  /** The user's request is wrong (a query, a body): answer it, change nothing. */
  | 'request'
  /** Something outside does not answer: retry, bounded. */
  | 'unavailable'
  /** Somebody else changed what we planned on: refresh and plan again. */
  | 'conflict'
  /** The outcome of a commit is unknown: look before anything is retried. */
  | 'uncertain'
  /** We cannot represent this: stop this table, keep the others. */
  | 'unsupported'
  /** Bytes are not what they must be: stop this table. */
  | 'corrupt'
  /** Another process owns the lake now: stop the engine. */
  | 'fenced'

export interface ErrorDetails {
  /** The original error, kept as `cause`. */
  cause?: unknown
  /** What a person should do, as one sentence or one statement to run. */
  hint?: string
  /** Table that the error belongs to, as `namespace.table`. */
  table?: string
}

/** An expected failure. `code` is stable and documented in `docs/errors.md`; `message` never contains row values or secrets. */
export class FrazilError extends Error {
  readonly kind: ErrorKind
  /** Stable identifier, lower case with dashes, for example `slot-in-use`. */
  readonly code: string
  readonly hint: string | undefined
  readonly table: string | undefined

  constructor(kind: ErrorKind, code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'FrazilError'
    this.kind = kind
    this.code = code
    this.hint = details.hint
    this.table = details.table
  }
}

/** A bug of ours, never an expected failure. */
export class AssertionError extends Error {
  constructor(message: string) {
    super(`assertion failed: ${message}`)
    this.name = 'AssertionError'
  }
}

/** Throws {@link AssertionError} unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}

/** For exhaustive switches: reaching it is a bug. */
export function unreachable(value: never): never {
  throw new AssertionError(`unexpected ${String(value)}`)
}

/** Any thrown value as an Error, so that a `catch` never loses what it got. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
