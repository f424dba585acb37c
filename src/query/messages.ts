import type { ErrorKind } from '../base/index.ts'
import { FrazilError, asError } from '../base/index.ts'
import type { ResultFormat } from './contract.ts'
import type { TableName } from './statement.ts'
import type { FullName } from './table-names.ts'
import type { SentViews } from './view-transfer.ts'

/** What an instance of DuckDB is opened with. */
export interface InstanceSettings {
  readonly memoryBytes: number
  readonly threads: number
  /** Where it may spill; null: nowhere. */
  readonly tempDirectory: string | null
  /** Folders that it may open files in, beside that one; empty: anywhere. */
  readonly directories: readonly string[]
}

/** A query as it travels. */
export interface SentQuery {
  readonly sql: string
  readonly params: readonly SentParameter[]
  readonly format: ResultFormat
  readonly numbersAsStrings: boolean
  readonly maxResultBytes: number
}

export type SentParameter = null | boolean | number | bigint | string

/** For each table that a statement names its name in the lake, in the same order, and the views of all of them. */
export interface SentTables {
  readonly names: readonly FullName[]
  readonly views: SentViews
}

/** `member`: the engine of the process that a query belongs to. */
export type ToWorker =
  /** Open an instance of DuckDB. Queries that come behind it may be sent to it. */
  | { readonly type: 'open'; readonly instance: number; readonly settings: InstanceSettings }
  /** It has no queries, and no more will be sent to it: close it. */
  | { readonly type: 'retire'; readonly instance: number }
  /** With views where the tables of the statement are known already. */
  | {
      readonly type: 'query'
      readonly id: number
      readonly member: number
      readonly instance: number
      readonly query: SentQuery
      readonly read: SentTables | null
    }
  /** Answers `tables`. */
  | { readonly type: 'views'; readonly id: number; readonly member: number; readonly read: SentTables }
  /** Answers `list`. */
  | { readonly type: 'list'; readonly id: number; readonly names: readonly FullName[] }
  /** Answers either, when that failed; also ends a running query. The worker still answers `failed`. */
  | { readonly type: 'stop'; readonly id: number; readonly error: SentError }
  /** The member has no queries any more, and will send none: forget it. */
  | { readonly type: 'leave'; readonly member: number }
  /** End what runs, close DuckDB, end the thread. */
  | { readonly type: 'close' }

export type FromWorker =
  /** The statement reads these. */
  | { readonly type: 'tables'; readonly id: number; readonly tables: readonly TableName[] }
  | { readonly type: 'list'; readonly id: number }
  | {
      readonly type: 'answered'
      readonly id: number
      readonly columns: readonly { readonly name: string; readonly type: string }[]
      readonly body: Uint8Array<ArrayBuffer>
      readonly rowCount: number
      readonly files: { readonly read: number; readonly skipped: number }
    }
  /** `broken`: DuckDB cannot go on, the worker has to be replaced. */
  | { readonly type: 'failed'; readonly id: number; readonly error: SentError; readonly broken: boolean }

/** An error as it travels: only plain properties survive a message. */
export interface SentError {
  readonly kind: ErrorKind | null
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
  readonly stack: string | undefined
}

export function sendError(thrown: unknown): SentError {
  const error = asError(thrown)
  const { message, stack } = error
  if (!(error instanceof FrazilError)) return { kind: null, code: '', message, hint: undefined, stack }
  return { kind: error.kind, code: error.code, message, hint: error.hint, stack }
}

export function receiveError(sent: SentError): Error {
  const error =
    sent.kind === null ? new Error(sent.message) : new FrazilError(sent.kind, sent.code, sent.message, { hint: sent.hint })
  if (sent.stack !== undefined) error.stack = sent.stack
  return error
}
