import type { SlabPool } from '../base/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import type { RangePart } from './hot-range.ts'
import type { KeyRun } from './key-run.ts'
import type { ReadCells } from './old-values.ts'

/**
 * Work in slices of a few milliseconds: yields the number of rows done since the last time, so that the caller can give other work a
 * turn; or something that has to be waited for before it is asked to go on. When that is rejected the work is over.
 */
export type SlicedWork = Generator<number | Promise<void>, void>

/** What tables share. */
export interface TableParts {
  readonly pool: SlabPool
  /** A new number for a segment, unique in the process. */
  nextSegmentId(): number
  /**
   * Resolves when memory that was refused in the same turn may be asked for again; with true when there will be none and the budget
   * is to be exceeded.
   */
  room(): Promise<boolean>
}

/** What a table asks for while changes are applied; nobody looks at it meanwhile. What fails is thrown where it is waited for. */
export interface TableWork {
  /** Writes all rows that are in memory in the middle of source commit `commit`, and resolves when staged files have taken their place. */
  stage(commit: number): Promise<void>
  /** Reads cells of a data file, see `CellReader`; those left out because they would be more than `mostBytes` are asked for again. */
  readonly readCells: ReadCells
  /** Builds the key run of a data file anew, by the key that the table has now. */
  rebuildRun(file: DataFile): Promise<KeyRun>
}

/** A frozen range on its way to a data file. */
export interface FrozenRange {
  readonly parts: readonly RangePart[]
  /** Rows dead at this source commit are left out. */
  readonly commit: number
}
