import duckdb from '@duckdb/node-bindings'
import type { Connection, DataChunk, LogicalType, TableFunctionBindInfo } from '@duckdb/node-bindings'
import { asError, assert } from '../base/index.ts'
import type { Field, SharedPart } from '../data/index.ts'
import { distinctNames, logicalType } from './duck-types.ts'
import { fillColumn, fillNulls, indexOfField } from './vectors.ts'
import type { RowSelection } from './vectors.ts'

/** Name of the table function that yields hot rows; its argument is the number of a {@link HotTable}. */
export const hotFunction = 'frazil_hot'

const chunkRows = duckdb.vector_size()
/** Most bytes of one text or nested column in a chunk, unless a single row has more. */
const maxChunkBytes = 8 << 20

/** Hot rows of a table as the running query of one connection sees them. */
export interface HotRows {
  readonly parts: readonly SharedPart[]
  readonly commit: number
}

/**
 * A table of one connection, as the hot scan knows it. Its number stands in view definitions, so those stay as they are while
 * `rows` changes from query to query. `rows` is null between queries: a view that nobody asked for is never read.
 */
export class HotTable {
  readonly fields: readonly Field[]
  readonly names: readonly string[]
  readonly types: readonly LogicalType[]
  rows: HotRows | null = null
  /** What a scan failed with: DuckDB passes on only its text. */
  failure: Error | null = null

  constructor(fields: readonly Field[]) {
    this.fields = fields
    this.names = distinctNames(fields.map((field) => field.name))
    this.types = fields.map((field) => logicalType(field.type))
  }
}

/** Registers {@link hotFunction}, which serves all connections of the instance, and keeps the numbers of tables. */
export class HotTables {
  readonly #tables = new Map<number, HotTable>()
  #last = 0

  constructor(connection: Connection) {
    const scan = duckdb.create_table_function()
    duckdb.table_function_set_name(scan, hotFunction)
    duckdb.table_function_add_parameter(scan, duckdb.create_logical_type(duckdb.Type.INTEGER))
    duckdb.table_function_supports_projection_pushdown(scan, true)
    duckdb.table_function_set_bind(scan, (info) => {
      try {
        this.#bind(info)
      } catch (thrown) {
        duckdb.bind_set_error(info, asError(thrown).message)
      }
    })
    duckdb.table_function_set_init(scan, (info) => {
      const { table } = duckdb.init_get_bind_data(info) as { table: HotTable }
      if (table.rows === null) return duckdb.init_set_error(info, 'a table was read that the query did not name')
      const columns: number[] = []
      const count = duckdb.init_get_column_count(info)
      for (let i = 0; i < count; i++) columns.push(duckdb.init_get_column_index(info, i))
      duckdb.init_set_init_data(info, new HotCursor(table, table.rows, columns))
      // The rows are read on this one thread of JavaScript anyway.
      duckdb.init_set_max_threads(info, 1)
    })
    duckdb.table_function_set_function(scan, (info, chunk) => {
      const cursor = duckdb.function_get_init_data(info) as HotCursor
      try {
        cursor.fill(chunk)
      } catch (thrown) {
        cursor.table.failure = asError(thrown)
        duckdb.function_set_error(info, cursor.table.failure.message)
      }
    })
    duckdb.register_table_function(connection, scan)
  }

  add(table: HotTable): number {
    this.#tables.set(++this.#last, table)
    return this.#last
  }

  remove(number: number): void {
    this.#tables.delete(number)
  }

  #bind(info: TableFunctionBindInfo): void {
    const table = this.#tables.get(duckdb.get_int32(duckdb.bind_get_parameter(info, 0)))
    assert(table, 'a view names a hot table that exists')
    table.names.forEach((name, i) => duckdb.bind_add_result_column(info, name, table.types[i]))
    let rows = 0
    for (const part of table.rows?.parts ?? []) rows += part.to - part.from
    duckdb.bind_set_cardinality(info, rows, false)
    duckdb.bind_set_bind_data(info, { table })
  }
}

/** One scan: walks the parts, picks the rows alive at the view's commit, and fills chunks. */
class HotCursor {
  readonly table: HotTable
  readonly #rows: HotRows
  /** For each projected column its index in `table.fields`, or −1 for the row id that `count(*)` asks for. */
  readonly #projected: readonly number[]
  /** The same, as indexes into the current segment's columns; −1 where the segment does not have the column. */
  #columns: number[] = []
  readonly #selection: RowSelection = { rows: new Int32Array(chunkRows), count: 0, dense: true }
  #part = -1
  #next = 0

  constructor(table: HotTable, rows: HotRows, columns: readonly number[]) {
    this.table = table
    this.#rows = rows
    this.#projected = columns.map((column) => (column < table.fields.length ? column : -1))
  }

  /** The next rows; an empty chunk at the end. */
  fill(chunk: DataChunk): void {
    // A scan that outlives its query (it was abandoned) has nothing to read any more.
    if (this.table.rows !== this.#rows || !this.#select()) return duckdb.data_chunk_set_size(chunk, 0)
    const selection = this.#selection
    duckdb.data_chunk_set_size(chunk, selection.count)
    const { segment } = this.#rows.parts[this.#part]
    for (let i = 0; i < this.#projected.length; i++) {
      const index = this.#projected[i]
      if (index < 0) continue
      const vector = duckdb.data_chunk_get_vector(chunk, i)
      const { type } = this.table.fields[index]
      if (this.#columns[i] < 0) fillNulls(vector, type, selection.count)
      else fillColumn(vector, segment.columns[this.#columns[i]], type, selection)
    }
  }

  #select(): boolean {
    const { parts, commit } = this.#rows
    const selection = this.#selection
    for (;;) {
      if (this.#part < 0 || this.#next >= parts[this.#part].to) {
        if (++this.#part >= parts.length) {
          this.#part = parts.length
          return false
        }
        this.#enter()
        continue
      }
      const { segment, to } = parts[this.#part]
      const { deletedAt } = segment
      const { rows } = selection
      let row = this.#next
      let count = 0
      if (deletedAt === null) {
        const end = Math.min(to, row + chunkRows)
        while (row < end) rows[count++] = row++
      } else {
        const since = commit - segment.baseCommit
        for (; row < to && count < chunkRows; row++) {
          const at = deletedAt[row]
          if (at === 0 || at > since) rows[count++] = row
        }
      }
      this.#next = row
      if (count === 0) continue
      while (count > 1 && this.#largest(rows[0], rows[count - 1]) > maxChunkBytes) {
        count >>= 1
        this.#next = rows[count]
      }
      selection.count = count
      selection.dense = rows[count - 1] - rows[0] === count - 1
      return true
    }
  }

  #enter(): void {
    const { segment, from } = this.#rows.parts[this.#part]
    this.#next = from
    const fields = segment.columns.map((column) => column.field)
    this.#columns = this.#projected.map((index) => (index < 0 ? -1 : indexOfField(fields, this.table.fields[index])))
  }

  /** Bytes from one row to another in the largest projected heap. */
  #largest(first: number, last: number): number {
    const { columns } = this.#rows.parts[this.#part].segment
    let largest = 0
    for (const index of this.#columns) {
      if (index < 0 || columns[index].layout !== 'var') continue
      const { ends } = columns[index]
      largest = Math.max(largest, ends[last + 1] - ends[first])
    }
    return largest
  }
}
