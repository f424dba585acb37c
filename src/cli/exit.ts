import { FrazilError, asError } from '../base/index.ts'
import type { ErrorKind } from '../base/index.ts'

/** Exit codes, as documented in docs/operations.md. */
export const exitCodes = {
  done: 0,
  /** The request is refused (bad SQL, unknown table), or a check found something wrong. */
  refused: 1,
  /** Wrong command line. */
  usage: 2,
  /** Wrong configuration or surroundings. */
  config: 3,
  /** Something outside does not answer. */
  unavailable: 4,
  /** Another process owns the lake. */
  owned: 5,
  /** Data that cannot be represented or read. */
  data: 6,
  /** A bug of ours. */
  bug: 70,
  /** A second signal ended the process at once. */
  interrupted: 130,
} as const

const codeOfKind: Readonly<Record<ErrorKind, number>> = {
  config: exitCodes.config,
  request: exitCodes.refused,
  unavailable: exitCodes.unavailable,
  uncertain: exitCodes.unavailable,
  conflict: exitCodes.owned,
  fenced: exitCodes.owned,
  unsupported: exitCodes.data,
  corrupt: exitCodes.data,
}

/** The exit code for what a command threw. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof FrazilError)) return exitCodes.bug
  return error.code === 'lease-held' ? exitCodes.owned : codeOfKind[error.kind]
}

/** What a person reads: one sentence and what to do; with the stack only where it is a bug. */
export function errorText(error: unknown): string {
  if (error instanceof FrazilError) {
    const hint = error.hint === undefined ? '' : `\n  ${error.hint}`
    return `frazil: ${error.message}${hint}\n`
  }
  const { stack, message } = asError(error)
  return `frazil: this is a bug: ${stack ?? message}\n`
}
