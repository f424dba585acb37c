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

/** Files kept open, so that one that is asked for again and again is not opened again. */
const maxOpenFiles = 16

interface OpenFile {
  readonly reader: Promise<ParquetReader>
  /** Reads under way. */
  users: number
  close(): void
}

/** Reads single cells of data files, in a file worker. One owner. */
export class CellReader {
  /** Least recently used first. */
  readonly #open = new Map<string, OpenFile>()
  #mostOpen = maxOpenFiles

  /** At least one cell of each column, and no further ones once `mostBytes` are read. */
  async read(
    warehouse: string,
    uri: string,
    fileSize: number,
    wanted: readonly WantedCells[],
    mostBytes: number,
  ): Promise<Cells[]> {
    const file = this.#use(warehouse, uri, fileSize)
    try {
      const reader = await file.reader
      const cells: Cells[] = []
      for (const { field, positions } of wanted) {
        const segment = await reader.readRows([field], positions, mostBytes)
        cells.push({ column: segment.columns[0], rows: segment.capacity })
      }
      return cells
    } catch (error) {
      if (this.#open.get(uri) === file) this.#open.delete(uri)
      throw error
    } finally {
      file.users--
      if (file.users === 0 && this.#open.get(uri) !== file) file.close()
    }
  }

  #use(warehouse: string, uri: string, fileSize: number): OpenFile {
    const file = this.#open.get(uri) ?? openFile(warehouse, uri, fileSize)
    file.users++
    this.#open.delete(uri)
    this.#open.set(uri, file)
    for (const [oldest, other] of this.#open) {
      if (this.#open.size <= this.#mostOpen) break
      this.#open.delete(oldest)
      if (other.users === 0) other.close()
    }
    return file
  }

  /** Keeps no file open any longer than it is read. */
  close(): void {
    this.#mostOpen = 0
    for (const file of this.#open.values()) if (file.users === 0) file.close()
    this.#open.clear()
  }
}

function openFile(warehouse: string, uri: string, fileSize: number): OpenFile {
  const object = openStore(warehouse).reader(uri)
  return {
    reader: object.then((opened) =>
      ParquetReader.open({ size: fileSize, read: (offset, length) => opened.read(offset, length) }),
    ),
    users: 0,
    close() {
      object.then((opened) => opened.close()).catch(() => undefined)
    },
  }
}

/** The memory of columns that were read, which is theirs alone: to be given to another thread, or back. */
export function buffersOf(columns: readonly Column[]): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>()
  for (const column of columns) {
    for (const array of [column.valid, column.data, column.words, column.ends, column.heap]) {
      if (array && array.buffer instanceof ArrayBuffer) buffers.add(array.buffer)
    }
  }
  return [...buffers]
}

/** Gives the memory of such columns back at once: the collector would let it pile up. */
export function freeColumns(columns: readonly Column[]): void {
  for (const buffer of buffersOf(columns)) if (!buffer.detached) buffer.transfer(0)
}
