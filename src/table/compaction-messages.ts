import type { ErrorMessage } from '../base/index.ts'
import type { Field } from '../data/index.ts'
import type { ColumnSettings, DataFile, SortKey } from '../iceberg/index.ts'
import type { KeySpec } from './key-codec.ts'

/** A committed data file whose live rows go into other files. */
export interface CompactionInput {
  readonly uri: string
  readonly fileSize: number
  readonly rows: number
  /** Bit a row, set where it is left out; null when all are taken. */
  readonly dead: Uint8Array | null
  /** Row lineage of rows that have none of their own, see `rowIdField`. Null for files from before the table had any. */
  readonly firstRowId: bigint | null
  readonly sequenceNumber: bigint
}

/** A data file to be written. */
export interface CompactionOutput {
  readonly uri: string
  /** Where its key run goes; null for tables without a key. */
  readonly runPath: string | null
  /** Exactly so many rows go into it. */
  readonly rows: number
}

/** The order that rows are put in. */
export interface CompactionSort {
  readonly keys: readonly SortKey[]
  /** Where rows wait that do not fit into memory; it and all in it belongs to the job. */
  readonly folder: string
  /** Rows sorted in memory at one time, and their bytes; absent: as is usual. */
  readonly limits?: { readonly rows: number; readonly bytes: number }
}

/** Data files to be written anew. Plain data: it travels to the compaction thread. */
export interface CompactionJob {
  readonly warehouse: string
  /** Their live rows, one input after another in order of position, or in the order of `sort`, fill one output after another. */
  readonly inputs: readonly CompactionInput[]
  readonly outputs: readonly CompactionOutput[]
  /** Columns of the outputs; rows of inputs from before a column have its initial default. */
  readonly fields: readonly Field[]
  readonly schemaJson: string
  readonly columns: ColumnSettings | null
  readonly key: KeySpec | null
  /** Null: rows stay in the order of the inputs. */
  readonly sort: CompactionSort | null
  /** Bytes read and written in a second at most. */
  readonly bytesPerSecond: number
}

/** Owner → compaction thread. */
export type CompactionRequest =
  | { readonly op: 'compact'; readonly job: CompactionJob }
  /** The job that is running, if any, ends soon; it is answered all the same. */
  | { readonly op: 'cancel' }

/** What a job has made. */
export interface CompactionResult {
  /** The outputs in their order. */
  readonly files: readonly DataFile[]
  /** Of sorted rows: by the number of a live row of the inputs, one input after another, its place in the outputs. */
  readonly placement: Uint32Array<ArrayBuffer> | null
}

/** Compaction thread → owner: one for each job. Outputs of a job that failed are gone. */
export type CompactionAnswer = ({ readonly ok: true } & CompactionResult) | { readonly ok: false; readonly error: ErrorMessage }
