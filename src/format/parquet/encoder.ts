import { FrazilError, assert } from '../../base/index.ts'
import { layoutOf, widthOf } from '../../data/index.ts'
import type { Column, Field, SharedSegment } from '../../data/index.ts'
import { singleValue, truncateLower, truncateUpper } from './bounds.ts'
import type { MetricsMode } from './bounds.ts'
import { BloomFilterBuilder, canHaveBloomFilter } from './bloom-filter.ts'
import type { BloomFilterOptions } from './bloom-filter.ts'
import { codecNumber, compressor } from './codec.ts'
import type { WriteCodec } from './codec.ts'
import { compareValues } from './extrema.ts'
import { LeafWriter, Scratch } from './leaf-writer.ts'
import type { Chunk } from './leaf-writer.ts'
import { layOut } from './schema.ts'
import type { FileSchema, Leaf } from './schema.ts'
import { Shredder } from './shred.ts'
import { fileMetadata, placeChunk } from './write-metadata.ts'
import type { ChunkIndexes, PlacedChunk, PlacedRowGroup, Span } from './write-metadata.ts'

export interface ParquetEncoderOptions {
  /** Columns in file order, with ids all the way down. Segments appended have the same columns in the same order. */
  readonly fields: readonly Field[]
  /**
   * Gets the file's bytes in order. Every array is new and never touched again by the encoder, so it may be kept, written
   * later, or transferred.
   */
  readonly emit: (bytes: Uint8Array<ArrayBuffer>) => void
  /** Footer's `created_by`: `<application> version <version> (build <hash>)`. */
  readonly createdBy: string
  /** Footer key-values, for example `iceberg.schema`. */
  readonly keyValues?: Readonly<Record<string, string>>
  readonly codec?: WriteCodec
  readonly level?: number
  /** A page ends when its values reach this many bytes before compression (default 1 MiB; less for very wide tables). */
  readonly pageBytes?: number
  /** … or this many rows (default 20,480). */
  readonly pageRows?: number
  /** Largest dictionary of a column in a row group (default 1 MiB); 0 turns dictionaries off. */
  readonly dictionaryBytes?: number
  /** A row group ends when its compressed pages, which are kept in memory until then, reach this many bytes (default 128 MiB). */
  readonly rowGroupBytes?: number
  /** … or this many rows (default 1,048,576). */
  readonly rowGroupRows?: number
  /** Which columns outside of lists and maps get a bloom filter; null for none. Booleans never do. */
  readonly bloomFilter?: (fieldId: number) => BloomFilterOptions | null
  /** What is said of each leaf column. Default: truncate(16) for the first 100 of them, `none` beyond. */
  readonly metrics?: (fieldId: number) => MetricsMode
}

/** Metrics of one leaf column by Iceberg's rules; absent altogether for mode `none`. */
export interface ColumnMetrics {
  readonly fieldId: number
  /** Bytes of the column's chunks, page headers included. */
  readonly columnSize: number
  /** Absent for columns inside lists and maps, as are all the following. */
  readonly valueCount?: number
  readonly nullCount?: number
  /** float and double. */
  readonly nanCount?: number
  /** Iceberg's single-value binary form. */
  readonly lower?: Uint8Array
  readonly upper?: Uint8Array
}

export interface ParquetSummary {
  readonly recordCount: number
  readonly fileSize: number
  readonly metrics: readonly ColumnMetrics[]
  /** Offset of each row group's first page. */
  readonly splitOffsets: readonly number[]
}

const magic = new TextEncoder().encode('PAR1')
/** Open pages of all columns together stay within about this many bytes: wide tables get smaller pages. */
const openPageBudget = 64 << 20
const minPageBytes = 16 << 10
const defaultMetricsColumns = 100

/** Rows of a column: row i of them is row `rows[i]` of it, or row i where `rows` is null. */
export interface ColumnRows {
  readonly column: Column
  readonly rows: Int32Array | null
}

/** Running totals of a column over all row groups. */
interface Totals {
  size: number
  entries: number
  nulls: number
  nans: number
  min: Uint8Array | null
  max: Uint8Array | null
}

/**
 * Encodes segments as one Parquet file for Iceberg (specification: Parquet format 2, data pages version 1; Iceberg,
 * Appendix A "Parquet"). Pure: bytes go to `emit`. Rows are copied out of the segments within `append`; what is kept is the
 * open page of each column and the compressed pages of the open row group.
 *
 * One thread, synchronous: an `append` of a full segment takes tens of milliseconds.
 */
export class ParquetEncoder {
  readonly #options: ParquetEncoderOptions
  readonly #schema: FileSchema
  readonly #writers: readonly LeafWriter[]
  /** By column: how its rows are taken; nested columns have a shredder. */
  readonly #shredders: readonly (Shredder | null)[]
  readonly #totals: readonly Totals[]
  readonly #rowGroups: PlacedRowGroup[] = []
  readonly #rowGroupBytes: number
  readonly #rowGroupRows: number
  readonly #sliceRows: number
  #rowsInGroup = 0
  #rows = 0
  #offset = 0
  #finished = false

  /** Throws `unsupported` for schemas that Parquet cannot hold (a struct without fields). */
  constructor(options: ParquetEncoderOptions) {
    this.#options = options
    this.#schema = layOut(options.fields)
    const { leaves, nodes } = this.#schema
    const fair = Math.floor(openPageBudget / Math.max(leaves.length, 1))
    const pageRows = options.pageRows ?? 20480
    const leafOptions = {
      pageBytes: Math.min(options.pageBytes ?? 1 << 20, Math.max(fair, minPageBytes)),
      pageRows,
      dictionaryBytes: Math.min(options.dictionaryBytes ?? 1 << 20, Math.max(fair, minPageBytes)),
      compress: compressor(options.codec ?? 'zstd', options.level),
      scratch: new Scratch(),
    }
    this.#writers = leaves.map((leaf) => new LeafWriter(leaf, leafOptions, this.#bloomFilter(leaf)))
    this.#shredders = nodes.map((node) => (node.kind === 'leaf' ? null : new Shredder(node, this.#writers)))
    this.#totals = leaves.map(() => ({ size: 0, entries: 0, nulls: 0, nans: 0, min: null, max: null }))
    this.#rowGroupBytes = options.rowGroupBytes ?? 128 << 20
    this.#rowGroupRows = options.rowGroupRows ?? 1 << 20
    this.#sliceRows = pageRows
    this.#emit(magic.slice())
  }

  #bloomFilter(leaf: Leaf): BloomFilterBuilder | null {
    const options = this.#options.bloomFilter?.(leaf.fieldId) ?? null
    return options !== null && canHaveBloomFilter(leaf) ? new BloomFilterBuilder(leaf, options) : null
  }

  /** Rows appended so far. */
  get rows(): number {
    return this.#rows
  }

  /** About how large the file would be if it ended now (open pages are not counted). */
  get bytes(): number {
    return this.#offset + this.#keptBytes()
  }

  /**
   * Appends rows of a segment: those numbered in `rows`, in that order, or, when `rows` is null, rows [from, to). The numbers
   * in `rows` lie within [from, to). The segment may be released when this returns.
   */
  append(segment: SharedSegment, from: number, to: number, rows: Int32Array | null): void {
    const columns = segment.columns.map((column) => ({ column, rows }))
    this.#append(columns, rows === null ? from : 0, rows === null ? to : rows.length, false)
  }

  /** Appends `count` rows. A column with `rows` has few different cells, that come again and again. */
  appendColumns(columns: readonly ColumnRows[], count: number): void {
    this.#append(columns, 0, count, true)
  }

  #append(columns: readonly ColumnRows[], from: number, end: number, repeats: boolean): void {
    assert(!this.#finished, 'nothing is appended to a finished file')
    assert(columns.length === this.#options.fields.length, 'there are the columns of the file')
    let next = from
    // Slices, so that a row group ends where it should and a column's page stays in the processor's cache until it is packed.
    while (next < end) {
      const take = Math.min(end - next, this.#rowGroupRows - this.#rowsInGroup, this.#sliceRows)
      for (let i = 0; i < columns.length; i++) {
        const { column, rows } = columns[i]
        const { type } = this.#options.fields[i]
        const selection = { rows, from: next, to: next + take }
        assert(column.layout === layoutOf(type) && column.width === widthOf(type), 'columns have the types of the file')
        if (column.valid !== null && this.#options.fields[i].required) refuseNulls(column.field, column.valid, selection)
        const shredder = this.#shredders[i]
        const writer = this.#writers[this.#schema.nodes[i].firstLeaf]
        if (shredder !== null) shredder.append(column, selection)
        else if (repeats && rows !== null) writer.appendRepeated(column, rows, next, next + take)
        else writer.appendColumn(column, selection)
      }
      next += take
      this.#rowsInGroup += take
      this.#rows += take
      if (this.#rowsInGroup >= this.#rowGroupRows || this.#keptBytes() >= this.#rowGroupBytes) this.#finishRowGroup()
    }
  }

  /** Writes what is left, the indexes and the footer. */
  finish(): ParquetSummary {
    assert(!this.#finished, 'a file is finished once')
    this.#finished = true
    if (this.#rowsInGroup > 0) this.#finishRowGroup()
    const spans = (of: (chunk: PlacedChunk) => Uint8Array<ArrayBuffer> | null): (Span | null)[][] =>
      this.#rowGroups.map((group) =>
        group.chunks.map((chunk) => {
          const bytes = of(chunk)
          if (bytes === null) return null
          const span = { offset: this.#offset, length: bytes.length }
          this.#emit(bytes)
          return span
        }),
      )
    const columnIndexes = spans((chunk) => chunk.columnIndex)
    const offsetIndexes = spans((chunk) => chunk.offsetIndex)
    const indexes: ChunkIndexes[][] = this.#rowGroups.map((group, i) =>
      group.chunks.map((_, j) => {
        const offsets = offsetIndexes[i][j]
        assert(offsets !== null, 'every chunk has an offset index')
        return { columnIndex: columnIndexes[i][j], offsetIndex: offsets }
      }),
    )
    const { createdBy, keyValues = {}, codec = 'zstd' } = this.#options
    const footer = fileMetadata({
      elements: this.#schema.elements,
      rowGroups: this.#rowGroups,
      indexes,
      rows: this.#rows,
      codec: codecNumber[codec],
      createdBy,
      keyValues: Object.entries(keyValues),
    })
    this.#emit(footer)
    const tail = new Uint8Array(8)
    new DataView(tail.buffer).setUint32(0, footer.length, true)
    tail.set(magic, 4)
    this.#emit(tail)
    return {
      recordCount: this.#rows,
      fileSize: this.#offset,
      metrics: this.#metrics(),
      splitOffsets: this.#rowGroups.map((group) => group.offset),
    }
  }

  #emit(bytes: Uint8Array<ArrayBuffer>): void {
    this.#offset += bytes.length
    this.#options.emit(bytes)
  }

  #keptBytes(): number {
    let bytes = 0
    for (const writer of this.#writers) bytes += writer.keptBytes
    return bytes
  }

  #finishRowGroup(): void {
    const offset = this.#offset
    const filters: Chunk['bloomFilter'][] = []
    const chunks = this.#writers.map((writer, i) => {
      const chunk = writer.finishChunk()
      const placed = placeChunk(chunk, this.#offset)
      for (const page of chunk.dictionary === null ? chunk.pages : [chunk.dictionary, ...chunk.pages]) {
        this.#emit(page.header)
        this.#emit(page.body)
      }
      addTotals(this.#totals[i], chunk, placed.compressedBytes)
      filters.push(chunk.bloomFilter)
      return placed
    })
    const complete = chunks.map((chunk, i): PlacedChunk => {
      const filter = filters[i]
      if (filter === null) return chunk
      const bloomFilter = { offset: this.#offset, length: filter.length }
      this.#emit(filter)
      return { ...chunk, bloomFilter }
    })
    this.#rowGroups.push({ rows: this.#rowsInGroup, offset, chunks: complete })
    this.#rowsInGroup = 0
  }

  #metrics(): ColumnMetrics[] {
    const standard = new Set(this.#schema.leaves.slice(0, defaultMetricsColumns).map((leaf) => leaf.fieldId))
    const modeOf =
      this.#options.metrics ?? ((fieldId: number): MetricsMode => (standard.has(fieldId) ? { truncate: 16 } : 'none'))
    const metrics: ColumnMetrics[] = []
    this.#schema.leaves.forEach((leaf, i) => {
      const mode = modeOf(leaf.fieldId)
      if (mode !== 'none') metrics.push(columnMetrics(leaf, this.#totals[i], mode))
    })
    return metrics
  }
}

function addTotals(totals: Totals, chunk: Chunk, compressedBytes: number): void {
  totals.size += compressedBytes
  totals.entries += chunk.entries
  totals.nulls += chunk.nulls
  totals.nans += chunk.nans
  if (chunk.min !== null && (totals.min === null || compareValues(chunk.leaf, chunk.min, totals.min) < 0)) totals.min = chunk.min
  if (chunk.max !== null && (totals.max === null || compareValues(chunk.leaf, chunk.max, totals.max) > 0)) totals.max = chunk.max
}

function columnMetrics(leaf: Leaf, totals: Totals, mode: Exclude<MetricsMode, 'none'>): ColumnMetrics {
  const { fieldId } = leaf
  if (leaf.maxRepetition > 0) return { fieldId, columnSize: totals.size }
  const { kind } = leaf.type
  const counts: ColumnMetrics = {
    fieldId,
    columnSize: totals.size,
    valueCount: totals.entries,
    nullCount: totals.nulls,
    ...(kind === 'float' || kind === 'double' ? { nanCount: totals.nans } : {}),
  }
  if (mode === 'counts' || totals.min === null || totals.max === null) return counts
  const lower = mode === 'full' ? totals.min : truncateLower(leaf, totals.min, mode.truncate)
  const upper = mode === 'full' ? totals.max : truncateUpper(leaf, totals.max, mode.truncate)
  return {
    ...counts,
    lower: singleValue(leaf, lower).slice(),
    ...(upper === null ? {} : { upper: singleValue(leaf, upper).slice() }),
  }
}

/** A required column never contains a null (specification: Iceberg "Schemas"). Segments of required fields carry no bitmap at all. */
function refuseNulls(
  field: Field,
  valid: Uint8Array,
  { rows, from, to }: { rows: Int32Array | null; from: number; to: number },
): void {
  for (let i = from; i < to; i++) {
    const row = rows === null ? i : rows[i]
    if (((valid[row >> 3] >> (row & 7)) & 1) === 0)
      throw new FrazilError('corrupt', 'missing-value', `column ${field.name} is required and has a row without a value`)
  }
}
