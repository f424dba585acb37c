import duckdb from '@duckdb/node-bindings'
import type { DataChunk, LogicalType } from '@duckdb/node-bindings'
import { ArrowEncoder } from './arrow-encoder.ts'
import { ByteSink } from './byte-sink.ts'
import type { CellWriter } from './cell-writer.ts'
import { cellWriter } from './cells.ts'
import { jsonString } from './json-text.ts'
import type { ResultFormat } from './contract.ts'
import { distinctNames } from './duck-types.ts'

export interface EncoderOptions {
  readonly format: ResultFormat
  readonly numbersAsStrings: boolean
  readonly maxBytes: number
}

/** Turns the chunks of one result into the body of an answer. */
export interface ResultEncoder {
  readonly rowCount: number
  /** Adds the rows of a chunk. Throws `request` `result-too-large` at the bound. */
  add(chunk: DataChunk): void
  finish(): Uint8Array<ArrayBuffer>
}

export function resultEncoder(names: readonly string[], types: readonly LogicalType[], options: EncoderOptions): ResultEncoder {
  const { format, maxBytes } = options
  return format === 'arrow'
    ? new ArrowEncoder(names, types, maxBytes)
    : new TextResultEncoder(names, types, { ...options, format })
}

type TextFormat = Exclude<ResultFormat, 'arrow'>

class TextResultEncoder implements ResultEncoder {
  rowCount = 0
  readonly #sink: ByteSink
  readonly #writers: readonly CellWriter[]
  readonly #format: TextFormat
  /** ndjson: each column's name as `"name":`, with the comma before it. */
  readonly #labels: readonly Uint8Array[]

  constructor(
    names: readonly string[],
    types: readonly LogicalType[],
    options: EncoderOptions & { readonly format: TextFormat },
  ) {
    this.#format = options.format
    this.#sink = new ByteSink(options.maxBytes)
    this.#writers = types.map((type) => cellWriter(type, options))
    // An object has each key once.
    this.#labels = distinctNames(names).map((name, i) => {
      const sink = new ByteSink(Infinity)
      if (i > 0) sink.byte(0x2c)
      jsonString(name, sink)
      sink.byte(0x3a)
      return sink.finish()
    })
    if (this.#format === 'json') this.#sink.byte(0x5b)
    if (this.#format === 'csv') this.#header(names)
  }

  add(chunk: DataChunk): void {
    const count = duckdb.data_chunk_get_size(chunk)
    this.#writers.forEach((writer, i) => writer.load(duckdb.data_chunk_get_vector(chunk, i), count))
    for (let row = 0; row < count; row++) {
      if (this.#format === 'json') this.#jsonRow(row)
      else if (this.#format === 'ndjson') this.#object(row)
      else this.#csvRow(row)
      this.rowCount++
    }
  }

  finish(): Uint8Array<ArrayBuffer> {
    if (this.#format === 'json') this.#sink.byte(0x5d)
    return this.#sink.finish()
  }

  #jsonRow(row: number): void {
    const sink = this.#sink
    if (this.rowCount > 0) sink.byte(0x2c)
    sink.byte(0x5b)
    for (let i = 0; i < this.#writers.length; i++) {
      if (i > 0) sink.byte(0x2c)
      this.#value(i, row)
    }
    sink.byte(0x5d)
  }

  #object(row: number): void {
    const sink = this.#sink
    sink.byte(0x7b)
    for (let i = 0; i < this.#writers.length; i++) {
      sink.append(this.#labels[i])
      this.#value(i, row)
    }
    sink.byte(0x7d)
    sink.byte(0x0a)
  }

  #value(column: number, row: number): void {
    const writer = this.#writers[column]
    if (writer.isNull(row)) this.#sink.ascii('null')
    else writer.json(row, this.#sink)
  }

  #header(names: readonly string[]): void {
    names.forEach((name, i) => {
      if (i > 0) this.#sink.byte(0x2c)
      const start = this.#sink.length
      this.#sink.text(name)
      this.#quoteFrom(start)
    })
    this.#lineEnd()
  }

  /** RFC 4180. Null is nothing, the empty text is `""`. */
  #csvRow(row: number): void {
    for (let i = 0; i < this.#writers.length; i++) {
      if (i > 0) this.#sink.byte(0x2c)
      if (this.#writers[i].isNull(row)) continue
      const start = this.#sink.length
      this.#writers[i].plain(row, this.#sink)
      this.#quoteFrom(start)
    }
    this.#lineEnd()
  }

  #lineEnd(): void {
    this.#sink.byte(0x0d)
    this.#sink.byte(0x0a)
  }

  /** Quotes the field written since `start` where it has to be. */
  #quoteFrom(start: number): void {
    const sink = this.#sink
    const field = sink.bytes.subarray(start, sink.length)
    let quotes = 0
    let special = field.length === 0
    for (const byte of field) {
      if (byte === 0x22) quotes++
      else if (byte === 0x2c || byte === 0x0a || byte === 0x0d) special = true
    }
    if (quotes === 0 && !special) return
    const copy = field.slice()
    sink.length = start
    sink.reserve(copy.length + quotes + 2)
    sink.byte(0x22)
    for (const byte of copy) {
      if (byte === 0x22) sink.byte(byte)
      sink.byte(byte)
    }
    sink.byte(0x22)
  }
}
