import { FrazilError, freeBytes } from '../base/index.ts'
import type { Column, Field, SharedSegment } from '../data/index.ts'
import { ParquetEncoder } from '../format/parquet/index.ts'
import type { ParquetEncoderOptions } from '../format/parquet/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import type { ObjectStore, ObjectWriter } from '../storage/index.ts'
import type { DataFileSpec } from './file-messages.ts'
import { keyReader, keyWords } from './key-codec.ts'
import type { KeySpec } from './key-codec.ts'
import { KeyRunBuilder } from './key-run-builder.ts'
import type { OrderedRows } from './live-rows.ts'
import { threadStore } from './thread-store.ts'

/** Bytes of encoded pages gathered before they are handed to the store. */
const writeBytes = 1 << 20
/** Pages of so many bytes are handed over one by one, smaller ones together. */
const largeBytes = 64 << 10
/**
 * Rows of a row group: one batch of our reader. DuckDB reads no less than a row group where a row is looked for: by 262,144 rows that took
 * four to ten times as long, while scans are as fast and files as large.
 */
const rowGroupRows = 65_535

/** Where rows are large a row group ends here: its pages are in memory until all of its columns are complete. */
const rowGroupBytes = 16 << 20

const createdBy = 'frazil'

/** One data file being written, with its key run. For the threads that write files. */
export class DataFileWriter {
  readonly #spec: DataFileSpec
  readonly #store: ObjectStore
  readonly #encoder: ParquetEncoder
  readonly #run: KeyRunBuilder | null
  readonly #hidden: ReadonlySet<number>
  #chunks: Uint8Array<ArrayBuffer>[] = []
  #chunkBytes = 0
  #writer: ObjectWriter | null = null
  rows = 0
  /** Bytes encoded so far. */
  bytes = 0

  /**
   * @param hidden columns after those of the table, which readers of the table do not see: nothing is said of them in the metrics
   * @param limits bounds of what is kept in memory, where the usual ones are too much
   */
  constructor(spec: DataFileSpec, hidden: readonly Field[] = [], limits: Partial<ParquetEncoderOptions> = {}) {
    this.#spec = spec
    this.#store = threadStore(spec.warehouse)
    const { columns } = spec
    this.#encoder = new ParquetEncoder({
      fields: [...spec.fields, ...hidden],
      rowGroupRows,
      rowGroupBytes,
      createdBy,
      keyValues: { 'iceberg.schema': spec.schemaJson },
      ...(columns
        ? { metrics: (id) => columns.metrics[id] ?? 'none', bloomFilter: (id) => columns.bloomFilters[id] ?? null }
        : {}),
      ...limits,
      emit: (bytes) => {
        this.#chunks.push(bytes)
        this.#chunkBytes += bytes.length
        this.bytes += bytes.length
      },
    })
    this.#hidden = new Set(hidden.map(({ id }) => id))
    this.#run = spec.key && spec.runPath !== null ? new KeyRunBuilder(spec.runPath, keyWords(spec.key)) : null
  }

  /** Appends rows of a segment: those in `selected`, or, when that is null, rows [from, to). */
  async append(segment: SharedSegment, from: number, to: number, selected: Int32Array | null): Promise<void> {
    const count = selected ? selected.length : to - from
    if (count === 0) return
    this.#encoder.append(segment, from, to, selected)
    if (this.#run && this.#spec.key) addKeys(this.#run, this.#spec.key, segment.columns, from, to, selected)
    await this.#added(count)
  }

  /** Appends rows in columns of their own; those of the key have a row for each. */
  async appendOrdered({ count, columns }: OrderedRows): Promise<void> {
    this.#encoder.appendColumns(columns, count)
    if (this.#run && this.#spec.key) {
      const all = columns.map(({ column }) => column)
      addKeys(this.#run, this.#spec.key, all, 0, count, null)
    }
    await this.#added(count)
  }

  async #added(rows: number): Promise<void> {
    this.rows += rows
    if (this.#chunkBytes >= writeBytes) await this.#drain()
  }

  /** Resolves when file and run are durable; null when there were no rows, and then there is no file. */
  async finish(): Promise<DataFile | null> {
    if (this.rows === 0) {
      await this.abort()
      return null
    }
    const { recordCount, fileSize, metrics, splitOffsets } = this.#encoder.finish()
    await this.#drain()
    const writer = this.#writer ?? (await this.#store.writer(this.#spec.uri))
    const size = await writer.close()
    if (size !== fileSize)
      throw new FrazilError('corrupt', 'file-size', `a data file of ${fileSize} bytes was stored with ${size}`)
    this.#run?.write()
    const visible = metrics.filter(({ fieldId }) => !this.#hidden.has(fieldId))
    return { path: this.#spec.uri, recordCount, fileSize, metrics: visible, splitOffsets }
  }

  async abort(): Promise<void> {
    this.#chunks = []
    this.#run?.discard()
    await this.#writer?.abort()
  }

  async #drain(): Promise<void> {
    const writer = (this.#writer ??= await this.#store.writer(this.#spec.uri))
    const chunks = this.#chunks
    this.#chunks = []
    const gathered = new Uint8Array(Math.min(writeBytes, this.#chunkBytes))
    this.#chunkBytes = 0
    let end = 0
    const flush = async (): Promise<void> => {
      if (end > 0) await writer.write(gathered.subarray(0, end))
      end = 0
    }
    // Freed at once: the collector would let tens of megabytes pile up.
    for (const chunk of chunks) {
      if (end + chunk.length > gathered.length || chunk.length >= largeBytes) await flush()
      if (chunk.length >= largeBytes) await writer.write(chunk)
      else {
        gathered.set(chunk, end)
        end += chunk.length
      }
      freeBytes(chunk)
    }
    await flush()
    freeBytes(gathered)
  }
}

/** Puts the keys of rows into a run, see {@link DataFileWriter.append}. */
export function addKeys(
  run: KeyRunBuilder,
  key: KeySpec,
  columns: readonly Column[],
  from: number,
  to: number,
  selected: Int32Array | null,
): void {
  const read = keyReader(
    key,
    key.columns.map((i) => columns[i]),
  )
  const width = keyWords(key)
  const count = selected ? selected.length : to - from
  const { words, at } = run.reserve(count)
  for (let i = 0; i < count; i++) read(selected ? selected[i] : from + i, words, at + i * width)
}
