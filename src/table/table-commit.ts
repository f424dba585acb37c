import type { DataFile } from '../iceberg/index.ts'
import type { TableShape } from './table-shape.ts'

/** What a lake commit at a source commit has to say about a table. */
export interface TableCommit {
  readonly commit: number
  readonly added: readonly DataFile[]
  /** Committed files that go. */
  readonly removed: readonly string[]
  readonly vectors: readonly { readonly dataFile: string; readonly bits: Uint8Array; readonly cardinality: number }[]
  /** Staged files whose rows all died before any snapshot had them. */
  readonly abandoned: readonly string[]
  /** The columns that the lake gets with this commit; null when it has them. */
  readonly shape: TableShape | null
}
