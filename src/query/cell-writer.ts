import duckdb from '@duckdb/node-bindings'
import type { Vector } from '@duckdb/node-bindings'
import type { ByteSink } from './byte-sink.ts'

/** Writes cells of one column as JSON or CSV. `load` takes the column's next vector, then rows of it are written. */
export interface CellWriter {
  load(vector: Vector, count: number): void
  isNull(row: number): boolean
  /** The JSON value of a row that is not null. */
  json(row: number, sink: ByteSink): void
  /** The text of a row that is not null, for CSV and for keys of JSON objects: unquoted. */
  plain(row: number, sink: ByteSink): void
}

/** Which rows of a vector have a value. */
export abstract class NullableWriter implements CellWriter {
  #valid: Uint8Array | null = null

  load(vector: Vector, count: number): void {
    this.#valid = duckdb.vector_get_validity(vector, ((count + 63) >> 6) << 3)
  }

  isNull(row: number): boolean {
    return this.#valid !== null && this.#valid.length > 0 && (this.#valid[row >> 3] & (1 << (row & 7))) === 0
  }

  abstract json(row: number, sink: ByteSink): void
  abstract plain(row: number, sink: ByteSink): void
}
