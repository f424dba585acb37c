import { AssertionError, FrazilError } from './errors.ts'
import type { ErrorKind } from './errors.ts'

/** An error as plain data, for another thread: structured clones lose the class. */
export interface ErrorMessage {
  /** Null for anything but a {@link FrazilError}: then it was a bug. */
  readonly kind: ErrorKind | null
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
  readonly table: string | undefined
}

export function errorToMessage(error: unknown): ErrorMessage {
  if (error instanceof FrazilError) {
    return { kind: error.kind, code: error.code, message: error.message, hint: error.hint, table: error.table }
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { kind: null, code: 'bug', message, hint: undefined, table: undefined }
}

export function errorFromMessage({ kind, code, message, hint, table }: ErrorMessage): Error {
  return kind === null ? new AssertionError(message) : new FrazilError(kind, code, message, { hint, table })
}
