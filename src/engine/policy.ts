import { FrazilError } from '../base/index.ts'

/**
 * What happens when a source's pipeline has ended with an error. (A table's error never gets here: it ends the table, see
 * `Mirror.detach`; what a request did wrong is answered to it.)
 *
 * | kind | | |
 * |---|---|---|
 * | `unavailable`, `conflict`, `uncertain` | `restart` | The tables are loaded as they are now, whoever wrote them last, and the source is read again from the last lake commit, after a wait that grows. |
 * | `config`, `request`, `unsupported`, `corrupt` | `end-source` | A person has to look; the other sources go on. |
 * | `fenced` | `stop` | Another process owns the lake. |
 * | anything that is no `FrazilError` | `stop` | A bug: better no writer than one in an unknown state. |
 */
export type SourceReaction = 'restart' | 'end-source' | 'stop'

export function reactionTo(error: Error): SourceReaction {
  if (!(error instanceof FrazilError)) return 'stop'
  switch (error.kind) {
    case 'unavailable':
    case 'conflict':
    case 'uncertain':
      return 'restart'
    case 'fenced':
      return 'stop'
    case 'config':
    case 'request':
    case 'unsupported':
    case 'corrupt':
      return 'end-source'
  }
}

/** Whether an error is a table's own: not one that hits everything, such as a disk, another process, the end of the pipeline, a fault of ours. */
export function isTableFault(error: unknown): error is FrazilError {
  return error instanceof FrazilError && (error.kind === 'corrupt' || error.kind === 'unsupported')
}

/**
 * Whether others have made of a table what we cannot follow: it is left as it is. `corrupt` is not that: it may be mended by a backup. Of a
 * location beyond the warehouse, which the configuration would be blamed for elsewhere, nobody but them has told.
 */
export function isForeignFault(error: unknown): error is FrazilError {
  return error instanceof FrazilError && (error.kind === 'unsupported' || beyond.has(error.code))
}

const beyond: ReadonlySet<string> = new Set(['outside-warehouse', 'not-local'])

/** Throws an error on that is not a table's own: others may have made of a table what cannot be read; it is left as it is. */
export function unlessTableFault(error: unknown): void {
  if (!isTableFault(error) && !isForeignFault(error)) throw error
}

/** Throws an error on: a data file that is gone was rewritten by another program, and the source begins anew with what the lake has now. */
export function refuseGoneFile(error: unknown): never {
  if (!(error instanceof FrazilError) || error.code !== 'object-missing') throw error
  throw new FrazilError('conflict', 'data-file-gone', 'another program has deleted a data file that is needed', { cause: error })
}

/** Reads; where a data file is gone because another program has rewritten it, once more behind a commit, which sees that. */
export async function readAnew<P, T>(parts: P, commit: () => Promise<unknown>, read: (parts: P) => Promise<T>): Promise<T> {
  try {
    return await read(parts)
  } catch (error) {
    if (!(error instanceof FrazilError) || (error.code !== 'data-file' && error.code !== 'object-missing')) throw error
    await commit()
    return read(parts)
  }
}
