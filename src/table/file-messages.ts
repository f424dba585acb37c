import type { ErrorMessage } from '../base/index.ts'
import type { Field, SharedPart } from '../data/index.ts'
import type { ColumnSettings, DataFile, FileLayout } from '../iceberg/index.ts'
import type { Cells, WantedCells } from './cell-reader.ts'
import type { KeySpec } from './key-codec.ts'

/** How a data file is to be written. */
export interface DataFileSpec {
  /** Warehouse that the file belongs to, for `openStore`. */
  readonly warehouse: string
  readonly uri: string
  readonly fields: readonly Field[]
  /** JSON of the Iceberg schema, put into the file's footer. */
  readonly schemaJson: string
  readonly key: KeySpec | null
  /** Where the key run goes on local disk; null for tables without a key. */
  readonly runPath: string | null
  /** What is said of columns; null: as usual. */
  readonly columns: ColumnSettings | null
}

/** How rows are to be written, in one data file or several. Plain data: it travels to a file worker. */
export interface FileSpec extends Omit<DataFileSpec, 'columns'> {
  /** Of partitions after the first one the names are made of `uri` and `runPath`. */
  readonly layout: FileLayout
  /** Whether all rows come with one `append`. */
  readonly atOnce: boolean
}

export interface WrittenFile {
  readonly file: DataFile
  readonly runPath: string | null
}

/** What rows have become. */
export interface WrittenFiles {
  /** None when no row was alive. */
  readonly files: readonly WrittenFile[]
  /**
   * By the number of a row among those that were alive: its position, counted through all files; null when every row stayed where it
   * was. Only of rows that came at once.
   */
  readonly placement: Uint32Array | null
}

/** Main or pipeline thread → file worker. One file's messages arrive in order; several files may be open. */
export type FileRequest =
  | { readonly op: 'open'; readonly file: number; readonly spec: FileSpec }
  /** Rows alive at `commit`. Their segments stay pinned until the answer. */
  | { readonly op: 'append'; readonly file: number; readonly parts: readonly SharedPart[]; readonly commit: number }
  | { readonly op: 'finish'; readonly file: number }
  | { readonly op: 'abort'; readonly file: number }
  /** Writes the key run of an existing data file anew. */
  | {
      readonly op: 'rebuild'
      readonly file: number
      readonly warehouse: string
      readonly uri: string
      readonly fileSize: number
      readonly fields: readonly Field[]
      readonly key: KeySpec
      readonly runPath: string
    }
  /** Reads cells of an existing data file. Does not wait behind requests for other files. */
  | {
      readonly op: 'cells'
      readonly file: number
      readonly warehouse: string
      readonly uri: string
      readonly fileSize: number
      readonly wanted: readonly WantedCells[]
      readonly mostBytes: number
    }

/** File worker → owner. Every request but `open` gets exactly one answer, those about one file in their order. */
export type FileAnswer =
  | {
      readonly file: number
      readonly ok: true
      readonly rows: number
      readonly bytes: number
      readonly written: WrittenFiles | null
      readonly cells?: readonly Cells[]
    }
  | { readonly file: number; readonly ok: false; readonly error: ErrorMessage }
