import { crc32 } from 'node:zlib'
import type { BloomFilterBuilder } from './bloom-filter.ts'
import { pageBounds } from './bounds.ts'
import type { Compress } from './codec.ts'
import { copyBytes } from '../../base/index.ts'
import type { Column } from '../../data/index.ts'
import { ByteDictionary, WordDictionary } from './dictionary.ts'
import type { Dictionary } from './dictionary.ts'
import { compareValues, extremaOf } from './extrema.ts'
import type { Extrema } from './extrema.ts'
import { gatherPresence, gatherValues, variableBytes, variableFit } from './gather.ts'
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
  /** Extrema, cut to what indexes say. */
  readonly bounds: Extrema
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
  /** Extrema of the closed pages of the row group. */
  #min: Uint8Array | null = null
  #max: Uint8Array | null = null
  #rowsInGroup = 0
  #dictionary: Dictionary | null
  /** Whether pages of this row group still try the dictionary. */
  #coding: boolean
  /** The dictionary while texts of a nested column become codes as they come; null: they are staged. */
  #texts: ByteDictionary | null = null
  /** Codes of the open page, the bytes that they stand for in PLAIN form, and the dictionary's size before it. */
  #codes = new Uint16Array(0)
  #coded = 0
  #codedBytes = 0
  #sizeBefore = 0
  /** The codes of the rows of a column that come again and again; −1 where they are not known. */
  #known: { column: Column | null; codes: Int32Array } = { column: null, codes: new Int32Array(0) }
  /** The last row in the open page: where its entries, codes and bytes begin, −1 for no such row; and where the next row's do. */
  readonly #last = { entries: -1, coded: 0, bytes: 0 }
  readonly #next = { entries: 0, coded: 0, bytes: 0 }

  constructor(leaf: Leaf, options: LeafWriterOptions, bloomFilter: BloomFilterBuilder | null) {
    this.leaf = leaf
    this.#options = options
    this.#bloomFilter = bloomFilter
    this.#dictionary = dictionaryFor(leaf, options.dictionaryBytes)
    this.#coding = this.#dictionary !== null
    this.#openTexts()
  }

  /** Takes the rows `rows[from..to)` of a column that is not nested. They come again and again: texts are looked up once each. */
  appendRepeated(column: Column, rows: Int32Array, from: number, to: number): void {
    while (from < to && this.#openCodes()) from = this.#appendCodes(column, rows, from, to)
    if (from < to) this.appendColumn(column, { rows, from, to })
  }

  /** Whether texts become codes as they come in the open page. */
  #openCodes(): boolean {
    const dictionary = this.leaf.physical === physical.byteArray && this.#coding && this.#rows === 0 ? this.#dictionary : null
    if (this.#texts === null && dictionary instanceof ByteDictionary) {
      this.#texts = dictionary
      dictionary.beginPage()
    }
    return this.#texts !== null
  }

  /** Takes rows of {@link appendRepeated} until the page is full, or a text is none of the dictionary's; returns the next one. */
  #appendCodes(column: Column, rows: Int32Array, from: number, to: number): number {
    const texts = this.#texts
    if (texts === null) return from
    const { ends, heap, valid } = column
    const view = new DataView(heap.buffer, heap.byteOffset, heap.byteLength)
    if (this.#known.column !== column) this.#known = { column, codes: new Int32Array(ends.length).fill(-1) }
    const { codes } = this.#known
    const { pageRows, pageBytes } = this.#options
    const hasLevels = this.leaf.maxDefinition > 0
    if (hasLevels) this.#reserveLevels(to - from)
    this.#reserveCodes(to - from)
    for (let i = from; i < to; i++) {
      const row = rows[i]
      const isPresent = valid === null || (valid[row >> 3] & (1 << (row & 7))) !== 0
      if (isPresent) {
        const length = ends[row + 1] - ends[row] - 4
        if (codes[row] < 0) {
          codes[row] = texts.code(view, heap, ends[row] + 4, length)
          if (codes[row] < 0) {
            this.#stopCoding()
            return i
          }
        } else texts.repeated(1)
        this.#codes[this.#coded++] = codes[row]
        this.#codedBytes += 4 + length
        this.#present++
      }
      if (hasLevels) this.#definitions[this.#entries] = isPresent ? 1 : 0
      this.#entries++
      if (++this.#rows >= pageRows || this.#codedBytes >= pageBytes) {
        this.#closePage()
        return i + 1
      }
    }
    return to
  }

  /** Takes the selected rows of a column that is not nested. */
  appendColumn(column: Column, { rows, from, to }: Selection): void {
    const { leaf } = this
    if (this.#texts !== null) this.#stageCodes()
    const { pageRows } = this.#options
    // Bytes of the rows that are left.
    let left = column.layout === 'var' ? variableBytes(column.ends, { rows, from, to }) : 0
    while (from < to) {
      const pageBytes = this.#pageBytes(column.layout === 'var' ? left / (to - from) : leaf.width)
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
      left += this.values.length
      if (present > 0) gatherValues(column, leaf.width, selection, presence, this.#entries, this.values)
      left -= this.values.length
      this.#entries += take
      this.#present += present
      this.#rows += take
      from += take
      if (this.#rows >= pageRows || this.values.length >= pageBytes) this.#closePage()
    }
  }

  /** Adds a text of a nested column, `length` bytes at `at`; its level entry is to follow. */
  appendText(view: DataView, bytes: Uint8Array, at: number, length: number): void {
    if (this.#texts !== null) {
      const code = this.#texts.code(view, bytes, at, length)
      if (code >= 0) {
        if (this.#coded === this.#codes.length) this.#reserveCodes(1)
        this.#codes[this.#coded++] = code
        this.#codedBytes += 4 + length
        return
      }
      this.#stopCoding()
    }
    const { values } = this
    values.reserve(length + 4)
    values.view.setInt32(values.end, length, true)
    copyBytes(view, at, values.view, values.end + 4, length)
    values.end += 4 + length
  }

  /** Whether {@link repeatRow} can. */
  get canRepeat(): boolean {
    return this.#texts !== null && this.#last.entries >= 0
  }

  /** Adds the entries of the row before once more. {@link endRow} is to follow. */
  repeatRow(): void {
    const last = this.#last
    const next = this.#next
    const entries = next.entries - last.entries
    this.#reserveLevels(entries)
    for (let i = last.entries; i < next.entries; i++) {
      this.#definitions[i + entries] = this.#definitions[i]
      this.#repetitions[i + entries] = this.#repetitions[i]
    }
    const coded = next.coded - last.coded
    this.#reserveCodes(coded)
    for (let i = last.coded; i < next.coded; i++) this.#codes[i + coded] = this.#codes[i]
    this.#entries += entries
    this.#coded += coded
    this.#present += coded
    this.#codedBytes += next.bytes - last.bytes
    this.#texts?.repeated(coded)
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
    const bytes = this.values.length + this.#codedBytes
    const pageBytes = this.#pageBytes(bytes / this.#rows)
    const { entries, coded, bytes: before } = this.#next
    this.#last.entries = entries
    this.#last.coded = coded
    this.#last.bytes = before
    if (this.#rows >= pageRows || bytes >= pageBytes || this.#entries >= pageBytes) this.#closePage()
    this.#next.entries = this.#entries
    this.#next.coded = this.#coded
    this.#next.bytes = this.#codedBytes
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
    const min = this.#min
    const max = this.#max
    let entries = 0
    let nulls = 0
    let nans = 0
    for (const page of pages) {
      entries += page.entries
      nulls += page.nulls
      nans += page.bounds.nans
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
    this.#min = null
    this.#max = null
    this.#rowsInGroup = 0
    this.keptBytes = 0
    this.#dictionary?.clear()
    this.#known = { column: null, codes: this.#known.codes }
    this.#coding = this.#dictionary !== null
    this.#openTexts()
    return { leaf, dictionary, pages, encodings, entries, nulls, nans, min, max, bloomFilter }
  }

  #reserveCodes(count: number): void {
    const needed = this.#coded + count
    if (needed <= this.#codes.length) return
    const larger = new Uint16Array(Math.max(needed, this.#codes.length * 2, 256))
    larger.set(this.#codes)
    this.#codes = larger
  }

  /** The texts of a page that is opened become codes, if the dictionary pays. */
  #openTexts(): void {
    this.#coded = 0
    this.#codedBytes = 0
    this.#last.entries = -1
    this.#next.entries = 0
    this.#next.coded = 0
    this.#next.bytes = 0
    this.#sizeBefore = this.#dictionary?.size ?? 0
    const isText = this.leaf.physical === physical.byteArray && this.leaf.path.length > 1
    this.#texts = isText && this.#coding && this.#dictionary instanceof ByteDictionary ? this.#dictionary : null
    this.#texts?.beginPage()
  }

  /** No dictionary from here on: what the open page has of codes is staged. */
  #stopCoding(): void {
    this.#stageCodes()
    this.#coding = false
    this.#known = { column: null, codes: this.#known.codes }
    // Values of this page that are in the dictionary already are of no use there: earlier pages know only those before.
    this.#dictionary?.truncate(this.#sizeBefore)
  }

  /** What the open page has of codes is staged. */
  #stageCodes(): void {
    if (this.#texts) this.#texts.decode(this.#codes, this.#coded, this.values)
    this.#texts = null
    this.#coded = 0
    this.#codedBytes = 0
    this.#last.entries = -1
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
    const codes = this.#pageCodes(present)
    // Values of codes are in the dictionary: once.
    if (codes === null) this.#bloomFilter?.add(values, present)
    const extrema =
      codes !== null && this.#dictionary instanceof ByteDictionary
        ? this.#dictionary.extrema(codes.codes, present)
        : extremaOf(leaf, values, present)
    const { min, max } = extrema
    if (min !== null && (this.#min === null || compareValues(leaf, min, this.#min) < 0)) this.#min = min.slice()
    if (max !== null && (this.#max === null || compareValues(leaf, max, this.#max) > 0)) this.#max = max.slice()
    const bounds = pageBounds(leaf, extrema)
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
      bounds,
    })
    this.#rowsInGroup += this.#rows
    this.#rows = 0
    this.#entries = 0
    this.#present = 0
    values.clear()
    this.#openTexts()
  }

  /** The staged values as codes, or null when this page is to be PLAIN. */
  #pageCodes(present: number): { codes: Uint16Array; size: number } | null {
    const dictionary = this.#dictionary
    // A page of nulls says nothing about whether a dictionary pays.
    if (dictionary === null || !this.#coding || present === 0) return null
    const codes = this.#texts === null ? this.#options.scratch.reserveCodes(present) : this.#codes
    let pays = this.#texts !== null || dictionary.encode(this.values, present, codes)
    if (pays && this.#sizeBefore === 0) {
      const coded = dictionary.values.length + (present * bitWidth(dictionary.size - 1)) / 8
      pays = coded < (this.values.length + this.#codedBytes) * 0.75
    }
    if (pays) return { codes, size: dictionary.size }
    this.#stopCoding()
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
      bounds: { min: null, max: null, nans: 0 },
    }
  }
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
