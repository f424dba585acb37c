import type { FrazilError } from '../base/index.ts'
import type { MirroredTable } from './mirrored-table.ts'

/** Told of a table that cannot take its changes. */
export type Sick = (id: string, error: FrazilError) => void

/** What tables need done in the middle of a source commit. */
export interface Hands {
  /** Writes a table's rows in memory to staged files. */
  stageOne(mirrored: MirroredTable, commit: number): Promise<void>
  /** Does something as often as it takes. */
  insist<T>(work: () => Promise<T>): Promise<T>
}

/** Work on the tables as one source commit: yields what has to be waited for, if anything; returns the rows. */
export type Work = (commit: number, sick: Sick) => Generator<Promise<void> | null, number>

export function* noWork(): Generator<null, number> {
  yield null
  return 0
}

/** Where there is no table whose fault it could be. */
export function noTable(_id: string, error: FrazilError): never {
  throw error
}
