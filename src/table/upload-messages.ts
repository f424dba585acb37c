import type { ErrorMessage } from '../base/index.ts'
import type { Field } from '../data/index.ts'
import type { FileLayout } from '../iceberg/index.ts'
import type { WrittenFile } from './file-messages.ts'
import type { KeySpec } from './key-codec.ts'

/** A file that somebody has named, and what it becomes. */
export interface UploadedFile {
  /** Absolute path of a Parquet file. */
  readonly path: string
  /** The data file that is made of it, and its key run (null for tables without a key). */
  readonly uri: string
  readonly runPath: string | null
}

/** Parquet files to be taken into a table. Plain data: it travels to a thread. */
export interface UploadJob {
  /** `adopt`: they become data files as they are. `insert`: their rows are written anew, in the layout of the table. */
  readonly operation: 'adopt' | 'insert'
  /** Only files in these folders are opened. */
  readonly folders: readonly string[]
  readonly files: readonly UploadedFile[]
  readonly warehouse: string
  readonly fields: readonly Field[]
  readonly schemaJson: string
  readonly key: KeySpec | null
  readonly layout: FileLayout
}

/** What has become of files: durable, and in no snapshot yet. */
export interface UploadResult {
  /** In the order of the files that they were made of. */
  readonly written: readonly WrittenFile[]
  readonly rows: number
  /** Whether some of them have no field ids, so that readers need the name mapping of the table. */
  readonly byName: boolean
}

/** Thread → owner, once. After an error nothing is left. */
export type UploadAnswer =
  | { readonly ok: true; readonly result: UploadResult }
  | { readonly ok: false; readonly error: ErrorMessage }
