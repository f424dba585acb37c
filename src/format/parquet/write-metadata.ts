import type { Leaf, SchemaElement } from './schema.ts'
import { physical } from './schema.ts'
import { compareValues } from './extrema.ts'
import type { Extrema } from './extrema.ts'
import type { Chunk } from './leaf-writer.ts'
import { ThriftWriter, wire } from './thrift.ts'
import { statisticLength, truncateLower, truncateUpper } from './bounds.ts'

/** A column chunk in the file: where its parts went. Its pages are gone by now. */
export interface PlacedChunk {
  readonly leaf: Leaf
  readonly encodings: readonly number[]
  readonly entries: number
  readonly nulls: number
  readonly min: Uint8Array | null
  readonly max: Uint8Array | null
  readonly dictionaryOffset: number | null
  readonly dataOffset: number
  readonly compressedBytes: number
  readonly uncompressedBytes: number
  /**
   * What is said of its pages, to be written behind the last row group (Parquet format, "Page Index"). Bytes: an object for each page
   * would be most of what a file of large rows keeps in memory.
   */
  readonly columnIndex: Uint8Array<ArrayBuffer> | null
  readonly offsetIndex: Uint8Array<ArrayBuffer>
  readonly bloomFilter: Span | null
}

interface PlacedPage {
  readonly offset: number
  readonly compressedBytes: number
  readonly firstRow: number
  readonly entries: number
  readonly nulls: number
  readonly min: Uint8Array | null
  readonly max: Uint8Array | null
}

export interface PlacedRowGroup {
  readonly rows: number
  readonly offset: number
  readonly chunks: readonly PlacedChunk[]
}

/** Where a serialized index went. */
export interface Span {
  readonly offset: number
  readonly length: number
}

export interface ChunkIndexes {
  readonly columnIndex: Span | null
  readonly offsetIndex: Span
}

/** Notes where a finished chunk's pages lie when its first byte is written at `offset`. */
export function placeChunk(chunk: Chunk, offset: number): PlacedChunk {
  let at = offset
  let uncompressedBytes = 0
  const placePage = (page: Chunk['pages'][number]): PlacedPage => {
    const compressedBytes = page.header.length + page.body.length
    const placed: PlacedPage = {
      offset: at,
      compressedBytes,
      firstRow: page.firstRow,
      entries: page.entries,
      nulls: page.nulls,
      ...comparable(page.bounds),
    }
    at += compressedBytes
    uncompressedBytes += page.header.length + page.uncompressedBytes
    return placed
  }
  const dictionaryOffset = chunk.dictionary === null ? null : placePage(chunk.dictionary).offset
  const dataOffset = at
  const pages = chunk.pages.map(placePage)
  const { leaf, encodings, entries, nulls } = chunk
  return {
    leaf,
    encodings,
    entries,
    nulls,
    ...comparable(chunk),
    dictionaryOffset,
    dataOffset,
    compressedBytes: at - offset,
    uncompressedBytes,
    columnIndex: columnIndex(leaf, pages),
    offsetIndex: offsetIndex(pages),
    bloomFilter: null,
  }
}

/**
 * Extrema as readers may use them: none beside NaN, which is no extremum, but greater than all numbers for SQL engines (DuckDB, Spark):
 * they would leave out rows by a maximum below it.
 */
function comparable({ min, max, nans }: Extrema): Pick<Extrema, 'min' | 'max'> {
  return nans > 0 ? { min: null, max: null } : { min, max }
}

/**
 * The column index, or null where the format has no way to say it: a page that has values but no extrema (all NaN, or a
 * text without successor).
 */
function columnIndex(leaf: Leaf, pages: readonly PlacedPage[]): Uint8Array<ArrayBuffer> | null {
  const empty = (page: PlacedPage): boolean => page.nulls === page.entries
  if (pages.some((page) => !empty(page) && (page.min === null || page.max === null))) return null
  const out = new ThriftWriter()
  out.listField(1, wire.true, pages.length)
  for (const page of pages) out.flag(empty(page))
  out.listField(2, wire.binary, pages.length)
  for (const page of pages) out.bytes(page.min ?? new Uint8Array(0))
  out.listField(3, wire.binary, pages.length)
  for (const page of pages) out.bytes(page.max ?? new Uint8Array(0))
  out.i32Field(4, boundaryOrder(leaf, pages))
  out.listField(5, wire.i64, pages.length)
  for (const page of pages) out.integer(page.nulls)
  out.end()
  return out.finish()
}

/** 1 when minima and maxima both ascend, 2 when both descend, else 0. */
function boundaryOrder(leaf: Leaf, pages: readonly PlacedPage[]): number {
  let ascending = true
  let descending = true
  let before: PlacedPage | null = null
  for (const page of pages) {
    if (page.min === null || page.max === null) continue
    if (before?.min && before.max) {
      const low = compareValues(leaf, before.min, page.min)
      const high = compareValues(leaf, before.max, page.max)
      if (low > 0 || high > 0) ascending = false
      if (low < 0 || high < 0) descending = false
    }
    before = page
  }
  return ascending ? 1 : descending ? 2 : 0
}

function offsetIndex(pages: readonly PlacedPage[]): Uint8Array<ArrayBuffer> {
  const out = new ThriftWriter()
  out.listField(1, wire.struct, pages.length)
  for (const page of pages) {
    out.beginElement()
    out.i64Field(1, page.offset)
    out.i32Field(2, page.compressedBytes)
    out.i64Field(3, page.firstRow)
    out.end()
  }
  out.end()
  return out.finish()
}

export interface FileMetadata {
  readonly elements: readonly SchemaElement[]
  readonly rowGroups: readonly PlacedRowGroup[]
  /** By row group, then by column. */
  readonly indexes: readonly (readonly ChunkIndexes[])[]
  readonly rows: number
  readonly codec: number
  readonly createdBy: string
  readonly keyValues: readonly (readonly [string, string])[]
}

/** The footer's FileMetaData (specification: parquet.thrift). */
export function fileMetadata(file: FileMetadata): Uint8Array<ArrayBuffer> {
  const out = new ThriftWriter(4096)
  out.i32Field(1, 1)
  out.listField(2, wire.struct, file.elements.length)
  file.elements.forEach((element, i) => schemaElement(out, element, i === 0))
  out.i64Field(3, file.rows)
  out.listField(4, wire.struct, file.rowGroups.length)
  file.rowGroups.forEach((group, i) => rowGroup(out, group, i, file.indexes[i], file.codec))
  if (file.keyValues.length > 0) {
    out.listField(5, wire.struct, file.keyValues.length)
    for (const [key, value] of file.keyValues) {
      out.beginElement()
      out.bytesField(1, key)
      out.bytesField(2, value)
      out.end()
    }
  }
  out.bytesField(6, file.createdBy)
  const leaves = file.elements.filter((element) => element.leaf !== undefined).length
  // Column orders: TYPE_ORDER for all. Without them min_value and max_value mean nothing.
  out.listField(7, wire.struct, leaves)
  for (let i = 0; i < leaves; i++) {
    out.beginElement()
    out.beginField(1)
    out.end()
    out.end()
  }
  out.end()
  return out.finish()
}

function schemaElement(out: ThriftWriter, element: SchemaElement, root: boolean): void {
  const { leaf } = element
  out.beginElement()
  if (leaf !== undefined) {
    out.i32Field(1, leaf.physical)
    if (leaf.physical === physical.fixed) out.i32Field(2, leaf.width)
  }
  if (!root) out.i32Field(3, element.repetition)
  out.bytesField(4, element.name)
  if (element.children !== undefined) out.i32Field(5, element.children)
  if (leaf !== undefined) annotate(out, leaf, element.fieldId)
  else {
    if (element.group !== undefined) out.i32Field(6, element.group === 'list' ? converted.list : converted.map)
    if (element.fieldId !== undefined) out.i32Field(9, element.fieldId)
    if (element.group !== undefined) logicalType(out, element.group === 'list' ? logical.list : logical.map)
  }
  out.end()
}

const converted = { utf8: 0, map: 1, list: 3, decimal: 5, date: 6, timeMicros: 8, timestampMicros: 10 } as const
const logical = { string: 1, map: 2, list: 3, decimal: 5, date: 6, time: 7, timestamp: 8, uuid: 14 } as const

/**
 * ConvertedType (6), scale and precision (7, 8), field id (9) and LogicalType (10), in the order of their ids. Local times get
 * the legacy annotation too, although it means UTC there: the format asks for that.
 */
function annotate(out: ThriftWriter, { type }: Leaf, fieldId: number | undefined): void {
  const legacy =
    type.kind === 'string'
      ? converted.utf8
      : type.kind === 'decimal'
        ? converted.decimal
        : type.kind === 'date'
          ? converted.date
          : type.kind === 'time'
            ? converted.timeMicros
            : type.kind === 'timestamp' || type.kind === 'timestamptz'
              ? converted.timestampMicros
              : null
  if (legacy !== null) out.i32Field(6, legacy)
  if (type.kind === 'decimal') {
    out.i32Field(7, type.scale)
    out.i32Field(8, type.precision)
  }
  if (fieldId !== undefined) out.i32Field(9, fieldId)
  switch (type.kind) {
    case 'string':
      return logicalType(out, logical.string)
    case 'date':
      return logicalType(out, logical.date)
    case 'uuid':
      return logicalType(out, logical.uuid)
    case 'decimal':
      return logicalType(out, logical.decimal, () => {
        out.i32Field(1, type.scale)
        out.i32Field(2, type.precision)
      })
    case 'time':
      return logicalType(out, logical.time, () => microseconds(out, false))
    case 'timestamp':
      return logicalType(out, logical.timestamp, () => microseconds(out, false))
    case 'timestamptz':
      return logicalType(out, logical.timestamp, () => microseconds(out, true))
    default:
  }
}

function logicalType(out: ThriftWriter, id: number, body?: () => void): void {
  out.beginField(10)
  out.beginField(id)
  body?.()
  out.end()
  out.end()
}

function microseconds(out: ThriftWriter, adjustedToUtc: boolean): void {
  out.boolField(1, adjustedToUtc)
  out.beginField(2)
  out.beginField(2)
  out.end()
  out.end()
}

function rowGroup(
  out: ThriftWriter,
  group: PlacedRowGroup,
  ordinal: number,
  indexes: readonly ChunkIndexes[],
  codec: number,
): void {
  out.beginElement()
  out.listField(1, wire.struct, group.chunks.length)
  group.chunks.forEach((chunk, i) => columnChunk(out, chunk, indexes[i], codec))
  out.i64Field(
    2,
    sum(group.chunks, (chunk) => chunk.uncompressedBytes),
  )
  out.i64Field(3, group.rows)
  out.i64Field(5, group.offset)
  out.i64Field(
    6,
    sum(group.chunks, (chunk) => chunk.compressedBytes),
  )
  if (ordinal < 32768) out.i16Field(7, ordinal)
  out.end()
}

function columnChunk(out: ThriftWriter, chunk: PlacedChunk, indexes: ChunkIndexes, codec: number): void {
  const { leaf } = chunk
  out.beginElement()
  // Deprecated, but required by the format; 0 says that there is no second copy of the metadata.
  out.i64Field(2, 0)
  out.beginField(3)
  out.i32Field(1, leaf.physical)
  out.listField(2, wire.i32, chunk.encodings.length)
  for (const used of chunk.encodings) out.integer(used)
  out.listField(3, wire.binary, leaf.path.length)
  for (const name of leaf.path) out.bytes(name)
  out.i32Field(4, codec)
  out.i64Field(5, chunk.entries)
  out.i64Field(6, chunk.uncompressedBytes)
  out.i64Field(7, chunk.compressedBytes)
  out.i64Field(9, chunk.dataOffset)
  if (chunk.dictionaryOffset !== null) out.i64Field(11, chunk.dictionaryOffset)
  statistics(out, chunk)
  if (chunk.bloomFilter !== null) {
    out.i64Field(14, chunk.bloomFilter.offset)
    out.i32Field(15, chunk.bloomFilter.length)
  }
  out.end()
  out.i64Field(4, indexes.offsetIndex.offset)
  out.i32Field(5, indexes.offsetIndex.length)
  if (indexes.columnIndex !== null) {
    out.i64Field(6, indexes.columnIndex.offset)
    out.i32Field(7, indexes.columnIndex.length)
  }
  out.end()
}

function statistics(out: ThriftWriter, { leaf, nulls, min, max }: PlacedChunk): void {
  out.beginField(12)
  out.i64Field(3, nulls)
  const low = min === null ? null : truncateLower(leaf, min, statisticLength)
  const high = max === null ? null : truncateUpper(leaf, max, statisticLength)
  if (high !== null) out.bytesField(5, high)
  if (low !== null) out.bytesField(6, low)
  if (high !== null) out.boolField(7, high === max)
  if (low !== null) out.boolField(8, low.length === min?.length)
  out.end()
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0)
}
