import { crc32 } from 'node:zlib'
import type { BloomFilterBuilder } from './bloom-filter.ts'
import type { Compress } from './codec.ts'
import type { Column } from '../../data/index.ts'
import { ByteDictionary, WordDictionary } from './dictionary.ts'
import type { Dictionary } from './dictionary.ts'
import { compareValues, extremaOf } from './extrema.ts'
import type { Extrema } from './extrema.ts'
import { gatherPresence, gatherValues, variableFit } from './gather.ts'
import type { Selection } from './gather.ts'
import { bitWidth, hybridBound, writeHybrid } from './hybrid.ts'
import type { Leaf } from './schema.ts'
import { physical } from './schema.ts'
import { Staging, headroom } from './staging.ts'
import { ThriftWriter } from './thrift.ts'

/**
 * Rows with so many bytes of a column are read one by one more often than all together: their pages are small. Smaller ones cost
 * compression (a tenth at 8 KiB), larger ones decompression of what nobody wants.
 */
const largeRows = [
  { rowBytes: 2048, pageBytes: 8 << 10 },
  { rowBytes: 1024, pageBytes: 32 << 10 },
] as const

/** Encodings by their numbers in the format. */
export const encoding = {
  plain: 0,
  plainDictionary: 2,
  rle: 3,
  deltaBinaryPacked: 5,
  deltaLengthByteArray: 6,
  deltaByteArray: 7,
  rleDictionary: 8,
  byteStreamSplit: 9,
} as const

export const pageType = { data: 0, dictionary: 2, dataV2: 3 } as const

export interface LeafWriterOptions {
  readonly pageBytes: number
  readonly pageRows: number
  /** 0: no dictionaries. */
  readonly dictionaryBytes: number
  readonly compress: Compress
  /** Memory for parts of a page, shared by the leaves of an encoder: contents live only within one call. */
  readonly scratch: Scratch
}

/** Working memory that all leaves of an encoder share. */
export class Scratch {
  bytes = new Uint8Array(4096)
  codes = new Uint16Array(1024)

  reserve(bytes: number): Uint8Array {
    if (this.bytes.length < bytes) this.bytes = new Uint8Array(bytes * 2)
    return this.bytes
  }

  reserveCodes(count: number): Uint16Array {
    if (this.codes.length < count) this.codes = new Uint16Array(count * 2)
    return this.codes
  }
}

/** A page ready to be written, and what the indexes say of it. */
export interface Page {
  readonly header: Uint8Array<ArrayBuffer>
  /** Compressed. Owned by the page. */
  readonly body: Uint8Array<ArrayBuffer>
  readonly uncompressedBytes: number
  /** Number within the row group. */
  readonly firstRow: number
  readonly entries: number
  readonly nulls: number
  readonly extrema: Extrema
}

/** A column of a finished row group. */
export interface Chunk {
  readonly leaf: Leaf
  readonly dictionary: Page | null
  readonly pages: readonly Page[]
  readonly encodings: readonly number[]
  readonly entries: number
  readonly nulls: number
  readonly nans: number
  readonly min: Uint8Array | null
  readonly max: Uint8Array | null
  /** Bloom filter with its header, where the column is to have one. */
  readonly bloomFilter: Uint8Array<ArrayBuffer> | null
}

/**
 * Writes one leaf column: collects values until a page is full, encodes and compresses it, and keeps the compressed pages
 * until the row group ends. A page is encoded by codes into the row group's dictionary as long as that pays, else PLAIN.
 */
export class LeafWriter {
  readonly leaf: Leaf
  readonly values = new Staging()
  /** Compressed bytes kept. */
  keptBytes = 0
  readonly #options: LeafWriterOptions
  readonly #bloomFilter: BloomFilterBuilder | null
  #definitions = new Uint8Array(0)
  #repetitions = new Uint8Array(0)
  /** Level entries in the open page; for required columns outside of nesting, values. */
  #entries = 0
  #present = 0
  #rows = 0
  #pages: Page[] = []
  #rowsInGroup = 0
  #dictionary: Dictionary | null
  /** Whether pages of this row group still try the dictionary. */
  #coding: boolean

  constructor(leaf: Leaf, options: LeafWriterOptions, bloomFilter: BloomFilterBuilder | null) {
    this.leaf = leaf
    this.#options = options
    this.#bloomFilter = bloomFilter
    this.#dictionary = dictionaryFor(leaf, options.dictionaryBytes)
    this.#coding = this.#dictionary !== null
  }

  /** Takes the selected rows of a column that is not nested. */
  appendColumn(column: Column, { rows, from, to }: Selection): void {
    const { leaf } = this
    const { pageRows } = this.#options
    while (from < to) {
      const pageBytes = this.#pageBytes(column.layout === 'var' ? averageBytes(column.ends, { rows, from, to }) : leaf.width)
      let take = Math.min(to - from, pageRows - this.#rows)
      const budget = pageBytes - this.values.length
      if (column.layout === 'var') take = variableFit(column.ends, { rows, from, to: from + take }, budget)
      else take = Math.max(1, Math.min(take, Math.floor(budget / Math.max(leaf.width, 1))))
      const selection = { rows, from, to: from + take }
      let presence: Uint8Array | null = null
      let present = take
      if (leaf.maxDefinition > 0) {
        this.#reserveLevels(take)
        if (column.valid === null) this.#definitions.fill(1, this.#entries, this.#entries + take)
        else {
          present = gatherPresence(column.valid, selection, this.#definitions, this.#entries)
          if (present < take) presence = this.#definitions
        }
      }
      if (present > 0) gatherValues(column, leaf.width, selection, presence, this.#entries, this.values)
      this.#entries += take
      this.#present += present
      this.#rows += take
      from += take
      if (this.#rows >= pageRows || this.values.length >= pageBytes) this.#closePage()
    }
  }

  /** Adds one level entry of a nested column; a value at the highest definition level was added to {@link values} by the caller. */
  appendLevels(repetitionLevel: number, definitionLevel: number): void {
    if (this.#entries === this.#definitions.length) this.#reserveLevels(1)
    this.#definitions[this.#entries] = definitionLevel
    this.#repetitions[this.#entries++] = repetitionLevel
    if (definitionLevel === this.leaf.maxDefinition) this.#present++
  }

  /** Ends a row of a nested column: pages begin with whole rows. */
  endRow(): void {
    this.#rows++
    const { pageRows } = this.#options
    const pageBytes = this.#pageBytes(this.values.length / this.#rows)
    if (this.#rows >= pageRows || this.values.length >= pageBytes || this.#entries >= pageBytes) this.#closePage()
  }

  /** Bytes at which the open page ends, when rows have so many. Pages of codes are small as they are. */
  #pageBytes(rowBytes: number): number {
    const { pageBytes } = this.#options
    const large = this.#coding ? undefined : largeRows.find((one) => rowBytes >= one.rowBytes)
    return large ? Math.min(pageBytes, large.pageBytes) : pageBytes
  }

  /** Ends the row group and starts the next. */
  finishChunk(): Chunk {
    if (this.#rows > 0) this.#closePage()
    const pages = this.#pages
    const { leaf } = this
    let min: Uint8Array | null = null
    let max: Uint8Array | null = null
    let entries = 0
    let nulls = 0
    let nans = 0
    for (const page of pages) {
      entries += page.entries
      nulls += page.nulls
      nans += page.extrema.nans
      const { extrema } = page
      if (extrema.min !== null && (min === null || compareValues(leaf, extrema.min, min) < 0)) min = extrema.min
      if (extrema.max !== null && (max === null || compareValues(leaf, extrema.max, max) > 0)) max = extrema.max
    }
    const encodings: number[] = [encoding.plain, encoding.rle]
    let dictionary: Page | null = null
    if (this.#dictionary !== null && this.#dictionary.size > 0) {
      dictionary = this.#dictionaryPage(this.#dictionary)
      encodings.push(encoding.rleDictionary)
      this.#bloomFilter?.add(this.#dictionary.values, this.#dictionary.size)
    }
    const bloomFilter = this.#bloomFilter?.finish() ?? null
    this.#pages = []
    this.#rowsInGroup = 0
    this.keptBytes = 0
    this.#dictionary?.clear()
    this.#coding = this.#dictionary !== null
    return { leaf, dictionary, pages, encodings, entries, nulls, nans, min, max, bloomFilter }
  }

  #reserveLevels(count: number): void {
    const needed = this.#entries + count
    if (needed <= this.#definitions.length) return
    const grow = (old: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => {
      const larger = new Uint8Array(Math.max(needed, old.length * 2, 256))
      larger.set(old)
      return larger
    }
    this.#definitions = grow(this.#definitions)
    this.#repetitions = this.leaf.maxRepetition > 0 || this.leaf.path.length > 1 ? grow(this.#repetitions) : this.#repetitions
  }

  #closePage(): void {
    const { leaf, values } = this
    const entries = this.#entries
    const present = this.#present
    const codes = this.#codes(present)
    // Values of codes are in the dictionary: once.
    if (codes === null) this.#bloomFilter?.add(values, present)
    const extrema =
      codes !== null && this.#dictionary instanceof ByteDictionary
        ? this.#dictionary.extrema(codes.codes, present)
        : extremaOf(leaf, values, present)
    // Levels and, where they are not just the staged ones, values are put together in scratch memory.
    const bound = 8 + hybridBound(entries, 8) * 2 + (codes === null ? 0 : 1 + hybridBound(present, 16)) + (present >> 3) + 1
    const scratch = this.#options.scratch.reserve(bound)
    let at = 0
    if (leaf.maxRepetition > 0) at = writeLevels(this.#repetitions, entries, leaf.maxRepetition, scratch, at)
    if (leaf.maxDefinition > 0) at = writeLevels(this.#definitions, entries, leaf.maxDefinition, scratch, at)
    let body: Uint8Array
    if (codes !== null) {
      // Width 0 is legal for a single value, but not every reader knows it.
      const width = Math.max(1, bitWidth(codes.size - 1))
      scratch[at++] = width
      at = writeHybrid(codes.codes, present, width, scratch, at)
      body = scratch.subarray(0, at)
    } else if (leaf.physical === physical.boolean) {
      at = packBooleans(values.bytes, present, scratch, at)
      body = scratch.subarray(0, at)
    } else if (at <= headroom) {
      values.bytes.set(scratch.subarray(0, at), headroom - at)
      body = values.bytes.subarray(headroom - at, values.end)
    } else {
      body = new Uint8Array(at + values.length)
      body.set(scratch.subarray(0, at))
      body.set(values.bytes.subarray(headroom, values.end), at)
    }
    const compressed = this.#options.compress(body)
    const header = pageHeader(
      pageType.data,
      body.length,
      compressed,
      entries,
      codes === null ? encoding.plain : encoding.rleDictionary,
    )
    this.keptBytes += header.length + compressed.length
    this.#pages.push({
      header,
      body: compressed,
      uncompressedBytes: body.length,
      firstRow: this.#rowsInGroup,
      entries,
      nulls: entries - present,
      extrema,
    })
    this.#rowsInGroup += this.#rows
    this.#rows = 0
    this.#entries = 0
    this.#present = 0
    values.clear()
  }

  /** The staged values as codes, or null when this page is to be PLAIN. */
  #codes(present: number): { codes: Uint16Array; size: number } | null {
    const dictionary = this.#dictionary
    // A page of nulls says nothing about whether a dictionary pays.
    if (dictionary === null || !this.#coding || present === 0) return null
    const before = dictionary.size
    const codes = this.#options.scratch.reserveCodes(present)
    let pays = dictionary.encode(this.values, present, codes)
    if (pays && before === 0) {
      const coded = dictionary.values.length + (present * bitWidth(dictionary.size - 1)) / 8
      pays = coded < this.values.length * 0.75
    }
    if (pays) return { codes, size: dictionary.size }
    this.#coding = false
    // Values of this page that are in the dictionary already are of no use there: earlier pages know only the first `before`.
    dictionary.truncate(before)
    return null
  }

  #dictionaryPage({ size, values }: Dictionary): Page {
    const body = values.bytes.subarray(headroom, values.end)
    const compressed = this.#options.compress(body)
    const header = pageHeader(pageType.dictionary, body.length, compressed, size, encoding.plain)
    return {
      header,
      body: compressed,
      uncompressedBytes: body.length,
      firstRow: 0,
      entries: size,
      nulls: 0,
      extrema: { min: null, max: null, nans: 0 },
    }
  }
}

/** About the bytes of a selected row. */
function averageBytes(ends: Int32Array, { rows, from, to }: Selection): number {
  const first = rows ? rows[from] : from
  const last = rows ? rows[to - 1] : to - 1
  return (ends[last + 1] - ends[first]) / (last + 1 - first)
}

function dictionaryFor(leaf: Leaf, limitBytes: number): Dictionary | null {
  if (limitBytes === 0) return null
  switch (leaf.physical) {
    case physical.int32:
    case physical.float:
      return new WordDictionary(4, limitBytes)
    case physical.int64:
    case physical.double:
      return new WordDictionary(8, limitBytes)
    case physical.byteArray:
      return new ByteDictionary(0, false, limitBytes)
    case physical.fixed:
      return leaf.width === 0 ? null : new ByteDictionary(leaf.width, leaf.type.kind === 'decimal', limitBytes)
    default:
      return null
  }
}

/** Levels of a version 1 page: hybrid runs behind their length in bytes. */
function writeLevels(levels: Uint8Array, count: number, max: number, out: Uint8Array, at: number): number {
  const end = writeHybrid(levels, count, bitWidth(max), out, at + 4)
  const length = end - at - 4
  out[at] = length
  out[at + 1] = length >>> 8
  out[at + 2] = length >>> 16
  out[at + 3] = length >>> 24
  return end
}

function packBooleans(values: Uint8Array, count: number, out: Uint8Array, at: number): number {
  let i = headroom
  const end = headroom + count
  for (; i + 8 <= end; i += 8) {
    out[at++] =
      values[i] |
      (values[i + 1] << 1) |
      (values[i + 2] << 2) |
      (values[i + 3] << 3) |
      (values[i + 4] << 4) |
      (values[i + 5] << 5) |
      (values[i + 6] << 6) |
      (values[i + 7] << 7)
  }
  if (i < end) {
    let byte = 0
    for (let bit = 0; i < end; i++, bit++) byte |= values[i] << bit
    out[at++] = byte
  }
  return at
}

function pageHeader(
  type: number,
  uncompressed: number,
  compressed: Uint8Array,
  entries: number,
  encodedAs: number,
): Uint8Array<ArrayBuffer> {
  const header = new ThriftWriter(48)
  header.i32Field(1, type)
  header.i32Field(2, uncompressed)
  header.i32Field(3, compressed.length)
  header.i32Field(4, crc32(compressed) | 0)
  if (type === pageType.dictionary) {
    header.beginField(7)
    header.i32Field(1, entries)
    header.i32Field(2, encodedAs)
    header.end()
  } else {
    header.beginField(5)
    header.i32Field(1, entries)
    header.i32Field(2, encodedAs)
    header.i32Field(3, encoding.rle)
    header.i32Field(4, encoding.rle)
    header.end()
  }
  header.end()
  return header.finish()
}
