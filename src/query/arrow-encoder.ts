import duckdb from '@duckdb/node-bindings'
import type { DataChunk, LogicalType } from '@duckdb/node-bindings'
import { arrowBatch, arrowEnd, arrowSchema } from '../format/arrow/index.ts'
import { arrowColumn } from './arrow-columns.ts'
import type { ArrowResultColumn } from './arrow-columns.ts'
import type { BatchParts } from './arrow-vectors.ts'
import { ByteSink } from './byte-sink.ts'
import { distinctNames } from './duck-types.ts'

/** A record batch ends with the chunk that gives it so many rows or bytes. */
const batchRows = 65_536
const batchBytes = 1 << 20

/** Turns the chunks of one result into an Arrow IPC stream: a schema, and record batches of many chunks each. */
export class ArrowEncoder {
  rowCount = 0
  readonly #sink: ByteSink
  readonly #columns: readonly ArrowResultColumn[]
  #rows = 0

  /** `maxBytes`: most bytes of the stream. */
  constructor(names: readonly string[], types: readonly LogicalType[], maxBytes: number) {
    this.#sink = new ByteSink(maxBytes)
    const distinct = distinctNames(names)
    this.#columns = types.map((type, i) => arrowColumn(distinct[i], type, maxBytes))
    this.#sink.append(arrowSchema(this.#columns.map(({ column }) => column)))
  }

  /** Adds the rows of a chunk. Throws `request` `result-too-large` at the bound. */
  add(chunk: DataChunk): void {
    const count = duckdb.data_chunk_get_size(chunk)
    let bytes = 0
    this.#columns.forEach(({ vector }, i) => {
      vector.load(duckdb.data_chunk_get_vector(chunk, i), count)
      vector.append(0, count)
      bytes += vector.bytes
    })
    this.#rows += count
    this.rowCount += count
    if (this.#rows >= batchRows || bytes >= batchBytes) this.#endBatch()
  }

  finish(): Uint8Array<ArrayBuffer> {
    this.#endBatch()
    this.#sink.append(arrowEnd)
    return this.#sink.finish()
  }

  #endBatch(): void {
    if (this.#rows === 0) return
    const parts: BatchParts = { nodes: [], buffers: [] }
    for (const { vector } of this.#columns) vector.give(parts)
    for (const part of arrowBatch(this.#rows, parts.nodes, parts.buffers)) this.#sink.append(part)
    for (const { vector } of this.#columns) vector.clear()
    this.#rows = 0
  }
}
