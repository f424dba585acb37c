import type { FrazilError } from '../base/index.ts'

/** Told of a table that cannot take its changes. */
export type Sick = (id: string, error: FrazilError) => void
/** Work on the tables as one source commit: yields what has to be waited for, if anything; returns the rows. */
export type Work = (commit: number, sick: Sick) => Generator<Promise<void> | null, number>

export function* noWork(): Generator<null, number> {
  yield null
  return 0
}
