import type { Field, Schema } from '../data/index.ts'
import type { ColumnBucket, FileLayout, PartitionValues } from './layout/index.ts'

/** Metrics of one leaf field in one file, by Iceberg's rules (specification: "Manifests", field ids 108–137). */
export interface FieldMetrics {
  readonly fieldId: number
  /** Compressed bytes of the column's chunks. */
  readonly columnSize: number
  /** Values including nulls and NaNs; absent for fields inside lists and maps. */
  readonly valueCount?: number
  readonly nullCount?: number
  /** float and double only. */
  readonly nanCount?: number
  /** Single-value binary form (Appendix D), truncated as the metrics mode asks. */
  readonly lower?: Uint8Array
  readonly upper?: Uint8Array
}

/** The partition of a data file: all its rows have these values. */
export interface FilePartition {
  readonly specId: number
  /** One for each field of the spec, in single-value binary form (Appendix D). */
  readonly values: PartitionValues
  /** What they say of buckets; absent: nothing. */
  readonly buckets?: readonly ColumnBucket[]
}

/** A written Parquet data file, before or after its commit. */
export interface DataFile {
  readonly path: string
  readonly recordCount: number
  readonly fileSize: number
  readonly metrics: readonly FieldMetrics[]
  readonly splitOffsets: readonly number[]
  /** Absent: it is under the spec without fields, which the table has to have. */
  readonly partition?: FilePartition
  /** The sort order that its rows have; absent or 0: none. */
  readonly sortOrderId?: number
}

/** A deletion vector as written: one blob in one Puffin file. */
export interface DeletionVector {
  /** Path of the data file whose rows it deletes. */
  readonly dataFile: string
  readonly path: string
  readonly fileSize: number
  readonly contentOffset: number
  readonly contentSize: number
  readonly cardinality: number
  /**
   * Path of the vector that this one contains and replaces, null for the file's first. When given, a commit on a table where
   * another vector is live by now is a `conflict`: the bits have to be merged anew.
   */
  readonly replaces?: string | null
}

/** A live data file of the current snapshot. */
export interface LiveDataFile extends DataFile {
  readonly dataSequenceNumber: bigint
  readonly fileSequenceNumber: bigint
  readonly addedSnapshotId: bigint
  /** Row lineage: row id of the file's first row; null in format version 2 and before the first commit after an upgrade. */
  readonly firstRowId: bigint | null
  readonly partition: FilePartition
  readonly deletionVector: DeletionVector | null
}

/** The columns of a table after a commit. */
export interface SchemaUpdate {
  /** All with their ids: those that the table has, or had, as they are; new ones above `lastColumnId` of the table. */
  readonly fields: readonly Field[]
  /** Ids of the key columns, all required; empty for none. */
  readonly identifierFieldIds: readonly number[]
  /** The highest id that was ever given to a column; also to one that came and went since the last commit: data files may have it. */
  readonly lastColumnId: number
  /** Schema that this one was made from: when the table has another one by now the commit is a `conflict`. */
  readonly base: number
}

/** What to keep of a table's history. */
export interface Retention {
  /** The snapshots to keep on main beyond the new one: at most `maxSnapshots`, none older than `maxAgeMs`. */
  readonly maxSnapshots: number
  readonly maxAgeMs: number
  /** How many last states of hours and of days, in which the table changed, to keep by tags; default none. */
  readonly hourly?: number
  readonly daily?: number
}

/** What one lake commit changes in one table. */
export interface TableUpdate {
  readonly added: readonly DataFile[]
  /** Paths of live data files that go, with their deletion vectors. */
  readonly removed: readonly string[]
  /** New deletion vectors, each replacing the file's old one. May name files of `added`. */
  readonly deletionVectors: readonly DeletionVector[]
  /** The rows are the same before and after (compaction): the snapshot's operation is `replace`. */
  readonly rewrite?: boolean
  /** The table has these columns from this commit on. Absent: those that it has. */
  readonly schema?: SchemaUpdate
  /** Extra summary entries of the snapshot (`frazil.positions`, `frazil.epoch`, `frazil.commit-id`). */
  readonly summary: Readonly<Record<string, string>>
  /** Table properties set in the same commit. */
  readonly properties: Readonly<Record<string, string>>
  readonly retention: Retention
}

/** What a new table looks like. */
export interface TableDefinition {
  readonly namespace: string
  readonly name: string
  /** Absolute URI without a trailing slash. */
  readonly location: string
  /** Field ids 0: assigned on creation. */
  readonly fields: readonly Field[]
  /** Positions in `fields` of the key columns (all required), empty for none. */
  readonly key: readonly number[]
  readonly properties: Readonly<Record<string, string>>
  /** Default: a new one. */
  readonly uuid?: string
}

/** A commit written to storage but not yet visible: it needs the catalog's compare-and-set. */
export interface PreparedCommit {
  readonly namespace: string
  readonly name: string
  readonly base: string | null
  readonly metadataLocation: string
  readonly snapshotId: bigint | null
  /** Files written for this commit alone; deleted when the commit definitely failed. */
  readonly written: readonly string[]
  /** Files that nothing references any more once this commit is in: to be deleted after the readers' grace. */
  readonly unreferenced: readonly string[]
}

/** A table's state at one metadata file. Immutable: a commit gives a new one. */
export interface IcebergTable {
  readonly namespace: string
  readonly name: string
  readonly uuid: string
  readonly location: string
  /** Null for a table that is created with its first commit. */
  readonly metadataLocation: string | null
  readonly schema: Schema
  /** The highest field id ever given. */
  readonly lastColumnId: number
  readonly properties: Readonly<Record<string, string>>
  readonly currentSnapshotId: bigint | null
  /** Summary of the current snapshot, null without one. */
  readonly summary: Readonly<Record<string, string>> | null
  /** Whether main begins with a later snapshot than the table's first one, or has none any more: another program has replaced the table. */
  readonly isBegunAnew: boolean
  /** The head of main and its ancestors that are retained, newest first. */
  history(): readonly { readonly id: bigint; readonly summary: Readonly<Record<string, string>> }[]
  /**
   * How new data files with these columns are laid out; the columns may be newer than the table's. Throws `unsupported` (code
   * `unknown-layout`) when another program has given it a partition spec that we cannot follow.
   */
  layoutFor(fields: readonly Field[]): FileLayout
  /** Whether nothing was committed for so long that a commit without changes would expire all history but what refs name. */
  isOverdue(retention: Retention): boolean
  /** The live data files of the current snapshot, oldest first. Reads manifests; cached afterwards. */
  files(): Promise<readonly LiveDataFile[]>
  /**
   * Writes manifests, manifest list and metadata for `update` and says what the catalog has to swap. Does not change this
   * object. A second call after a conflict plans anew.
   */
  prepare(update: TableUpdate): Promise<{ commit: PreparedCommit; next: IcebergTable }>
}
