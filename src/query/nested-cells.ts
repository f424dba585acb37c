import duckdb from '@duckdb/node-bindings'
import type { Vector } from '@duckdb/node-bindings'
import type { ByteSink } from './byte-sink.ts'
import { NullableWriter } from './cell-writer.ts'
import type { CellWriter } from './cell-writer.ts'
import { appendEscaped, jsonString, quote } from './json-text.ts'

/** Nested types: as JSON everywhere. */
abstract class NestedWriter extends NullableWriter {
  plain(row: number, sink: ByteSink): void {
    this.json(row, sink)
  }
}

function jsonOrNull(writer: CellWriter, row: number, sink: ByteSink): void {
  if (writer.isNull(row)) sink.ascii('null')
  else writer.json(row, sink)
}

abstract class EntriesWriter extends NestedWriter {
  #view: DataView = new DataView(new ArrayBuffer(0))

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    const data = duckdb.vector_get_data(vector, count * 16)
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  protected start(row: number): number {
    return Number(this.#view.getBigUint64(row * 16, true))
  }

  protected size(row: number): number {
    return Number(this.#view.getBigUint64(row * 16 + 8, true))
  }
}

export class ListWriter extends EntriesWriter {
  readonly #element: CellWriter

  constructor(element: CellWriter) {
    super()
    this.#element = element
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#element.load(duckdb.list_vector_get_child(vector), duckdb.list_vector_get_size(vector))
  }

  json(row: number, sink: ByteSink): void {
    const start = this.start(row)
    const end = start + this.size(row)
    sink.byte(0x5b)
    for (let i = start; i < end; i++) {
      if (i > start) sink.byte(0x2c)
      jsonOrNull(this.#element, i, sink)
    }
    sink.byte(0x5d)
  }
}

export class ArrayWriter extends NestedWriter {
  readonly #element: CellWriter
  readonly #size: number

  constructor(element: CellWriter, size: number) {
    super()
    this.#element = element
    this.#size = size
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#element.load(duckdb.array_vector_get_child(vector), count * this.#size)
  }

  json(row: number, sink: ByteSink): void {
    sink.byte(0x5b)
    for (let i = 0; i < this.#size; i++) {
      if (i > 0) sink.byte(0x2c)
      jsonOrNull(this.#element, row * this.#size + i, sink)
    }
    sink.byte(0x5d)
  }
}

/** An object whose keys are the plain texts of the map's keys. */
export class MapWriter extends EntriesWriter {
  readonly #key: CellWriter
  readonly #value: CellWriter

  constructor(key: CellWriter, value: CellWriter) {
    super()
    this.#key = key
    this.#value = value
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    const entries = duckdb.list_vector_get_child(vector)
    const size = duckdb.list_vector_get_size(vector)
    this.#key.load(duckdb.struct_vector_get_child(entries, 0), size)
    this.#value.load(duckdb.struct_vector_get_child(entries, 1), size)
  }

  json(row: number, sink: ByteSink): void {
    const start = this.start(row)
    const end = start + this.size(row)
    sink.byte(0x7b)
    for (let i = start; i < end; i++) {
      if (i > start) sink.byte(0x2c)
      sink.byte(quote)
      const from = sink.length
      this.#key.plain(i, sink)
      const key = sink.bytes.slice(from, sink.length)
      sink.length = from
      appendEscaped(key, sink)
      sink.byte(quote)
      sink.byte(0x3a)
      jsonOrNull(this.#value, i, sink)
    }
    sink.byte(0x7d)
  }
}

export class StructWriter extends NestedWriter {
  readonly #names: readonly string[]
  readonly #fields: readonly CellWriter[]

  constructor(names: readonly string[], fields: readonly CellWriter[]) {
    super()
    this.#names = names
    this.#fields = fields
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#fields.forEach((field, i) => field.load(duckdb.struct_vector_get_child(vector, i), count))
  }

  json(row: number, sink: ByteSink): void {
    sink.byte(0x7b)
    this.#fields.forEach((field, i) => {
      if (i > 0) sink.byte(0x2c)
      jsonString(this.#names[i], sink)
      sink.byte(0x3a)
      jsonOrNull(field, row, sink)
    })
    sink.byte(0x7d)
  }
}

export class TupleWriter extends NestedWriter {
  readonly #fields: readonly CellWriter[]

  constructor(fields: readonly CellWriter[]) {
    super()
    this.#fields = fields
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#fields.forEach((field, i) => field.load(duckdb.struct_vector_get_child(vector, i), count))
  }

  json(row: number, sink: ByteSink): void {
    sink.byte(0x5b)
    this.#fields.forEach((field, i) => {
      if (i > 0) sink.byte(0x2c)
      jsonOrNull(field, row, sink)
    })
    sink.byte(0x5d)
  }
}

/** The value of the member that a row has. */
export class UnionWriter extends NullableWriter {
  readonly #members: readonly CellWriter[]
  #tags: Uint8Array = new Uint8Array(0)

  constructor(members: readonly CellWriter[]) {
    super()
    this.#members = members
  }

  override load(vector: Vector, count: number): void {
    super.load(vector, count)
    this.#tags = duckdb.vector_get_data(duckdb.struct_vector_get_child(vector, 0), count)
    this.#members.forEach((member, i) => member.load(duckdb.struct_vector_get_child(vector, i + 1), count))
  }

  override isNull(row: number): boolean {
    return super.isNull(row) || this.#members[this.#tags[row]].isNull(row)
  }

  json(row: number, sink: ByteSink): void {
    this.#members[this.#tags[row]].json(row, sink)
  }

  plain(row: number, sink: ByteSink): void {
    this.#members[this.#tags[row]].plain(row, sink)
  }
}
