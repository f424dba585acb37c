import type { Column, Field } from '../data/index.ts'
import { ParquetReader } from '../format/parquet/index.ts'
import { openStore } from '../storage/index.ts'

/** Cells of one column: at these rows of a data file, ascending. */
export interface WantedCells {
  readonly field: Field
  readonly positions: Int32Array<ArrayBuffer>
}

/** Row i of `column` is the cell at the i-th wanted position; the last ones are left out when they are too many bytes. */
export interface Cells {
  readonly column: Column
  readonly rows: number
}

/** Footers kept, so that a file that is asked for again and again is not opened again. */
const maxReaders = 16

/** Reads single cells of data files, in a file worker. */
export class CellReader {
  /** Least recently used first. */
  readonly #readers = new Map<string, Promise<ParquetReader>>()

  /** At least one cell of each column, and no further ones once `mostBytes` are read. */
  async read(
    warehouse: string,
    uri: string,
    fileSize: number,
    wanted: readonly WantedCells[],
    mostBytes: number,
  ): Promise<Cells[]> {
    const reader = await this.#open(warehouse, uri, fileSize)
    const cells: Cells[] = []
    for (const { field, positions } of wanted) {
      const segment = await reader.readRows([field], positions, mostBytes)
      cells.push({ column: segment.columns[0], rows: segment.capacity })
    }
    return cells
  }

  #open(warehouse: string, uri: string, fileSize: number): Promise<ParquetReader> {
    const known = this.#readers.get(uri)
    this.#readers.delete(uri)
    let reader = known
    if (!reader) {
      const store = openStore(warehouse)
      reader = ParquetReader.open({ size: fileSize, read: (offset, length) => store.get(uri, { offset, length }) })
      reader.catch(() => this.#readers.delete(uri))
    }
    this.#readers.set(uri, reader)
    for (const oldest of this.#readers.keys()) {
      if (this.#readers.size <= maxReaders) break
      this.#readers.delete(oldest)
    }
    return reader
  }
}

/** The memory of cells that were read, to be given to another thread. */
export function buffersOf(cells: readonly Cells[]): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>()
  for (const { column } of cells) {
    for (const array of [column.valid, column.data, column.words, column.ends, column.heap]) {
      if (array && array.buffer instanceof ArrayBuffer) buffers.add(array.buffer)
    }
  }
  return [...buffers]
}
