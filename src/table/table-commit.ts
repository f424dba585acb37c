import type { DataFile } from '../iceberg/index.ts'
import type { ColdFile } from './cold-file.ts'
import type { ForeignRows } from './foreign-change.ts'
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
  /** What others have done to the rows until then; null: as the lake has it. */
  readonly foreign: ForeignRows | null
  /** Properties that the table gets with this commit. */
  readonly properties: Readonly<Record<string, string>>
}

/** What a lake commit at source commit `commit` does to a table's files; those that were frozen later wait for the next one. */
export function planFiles(
  files: readonly ColdFile[],
  commit: number,
): Pick<TableCommit, 'added' | 'removed' | 'vectors' | 'abandoned'> {
  const added: DataFile[] = []
  const removed: string[] = []
  const abandoned: string[] = []
  const vectors: { dataFile: string; bits: Uint8Array; cardinality: number }[] = []
  for (const file of files) {
    if (file.since > commit) continue
    const gone = (file.removedAt > 0 && file.removedAt <= commit) || file.deletedAt(commit) === file.rows
    if (gone) {
      if (file.committed) removed.push(file.file.path)
      else abandoned.push(file.file.path)
      continue
    }
    if (!file.committed) added.push(file.file)
    const vector = file.vectorAt(commit)
    if (vector) vectors.push({ dataFile: file.file.path, ...vector })
  }
  return { added, removed, vectors, abandoned }
}
