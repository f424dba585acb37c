import { crc32 } from 'node:zlib'
import { FrazilError } from '../../base/index.ts'
import type { Convert } from './convert.ts'
import { decodeHybrid } from './decode-hybrid.ts'
import { decodeValues, lookUp } from './decode-values.ts'
import type { Dense } from './decode-values.ts'
import type { FileLeaf } from './file-schema.ts'
import { bitWidth } from './hybrid.ts'
import { encoding, pageType } from './leaf-writer.ts'
import { decompress } from './read-codec.ts'
import { malformed, readPageHeader } from './read-metadata.ts'
import type { ChunkInfo, PageHeader, PageLocation } from './read-metadata.ts'

/** Where a file's bytes come from. `read` gives exactly `length` bytes or rejects. */
export interface RandomAccess {
  readonly size: number
  read(offset: number, length: number): Promise<Uint8Array>
}

/** A data page, decoded. */
export interface DecodedPage {
  readonly entries: number
  /** One level each entry; null when every entry has a value (definitions) or begins a row (repetitions). */
  readonly definitions: Uint8Array | null
  readonly repetitions: Uint8Array | null
  readonly values: Dense
  /** Memory that only this page has. */
  readonly own: readonly Uint8Array[]
}

/** Gives the memory of a page that nobody looks at any more back at once: the collector would let a hundred megabytes pile up. */
export function freePage({ own }: DecodedPage): void {
  for (const { buffer } of own) if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0)
}

/** Smaller pages may lie in memory that others share, and are not worth a call. */
const leastOwnBytes = 4096

/** Bytes fetched at a time when a column is read from end to end. */
const windowBytes = 1 << 20
/** Bytes between two wanted pages that are rather fetched than left out. */
const mostGapBytes = 32 << 10
/** Longest page header. */
const maxHeaderBytes = 16 << 20
const firstHeaderBytes = 4096

/**
 * Reads the pages of one column chunk in order, or from the page that has a given row where the file has an offset index.
 * Bytes are fetched in windows, so that memory does not grow with the chunk.
 */
export class ChunkReader {
  readonly leaf: FileLeaf
  readonly #source: RandomAccess
  readonly #chunk: ChunkInfo
  readonly #convert: Convert
  readonly #locations: readonly PageLocation[] | null
  readonly #end: number
  #position: number
  /** Fetched bytes and where they begin in the file. */
  #window: Uint8Array = new Uint8Array(0)
  #windowStart = 0
  /** Nothing beyond is fetched ahead; pages before it are wanted. */
  #wantedEnd: number
  #entriesRead = 0
  #dictionary: Dense | null = null
  /** The dictionary page lies before the page gone to and was not read yet. */
  #dictionaryPending = false

  constructor(
    source: RandomAccess,
    leaf: FileLeaf,
    chunk: ChunkInfo,
    convert: Convert,
    locations: readonly PageLocation[] | null,
  ) {
    this.#source = source
    this.leaf = leaf
    this.#chunk = chunk
    this.#convert = convert
    this.#locations = locations
    this.#position = chunk.offset
    this.#end = chunk.offset + chunk.compressedBytes
    this.#wantedEnd = this.#end
  }

  /** Whether {@link seek} can jump. */
  get seekable(): boolean {
    return this.#locations !== null
  }

  /** Goes to the page that has `row` (number within the row group) and returns that page's first row. */
  seek(row: number): number {
    const locations = this.#locations
    if (locations === null || locations.length === 0) return 0
    const page = pageOf(locations, row)
    // From the chunk's start the dictionary is met on the way to the first page.
    if (page === 0 && this.#entriesRead === 0) return 0
    this.#dictionaryPending ||= this.#dictionary === null && this.#chunk.offset < locations[0].offset
    this.#position = locations[page].offset
    return locations[page].firstRow
  }

  /**
   * How many of the rows at `positions[from…]` (ascending, less `base`) lie so close together that their pages are fetched at once.
   */
  reach(positions: ArrayLike<number>, from: number, base: number, end: number): number {
    const locations = this.#locations
    if (locations === null || locations.length === 0) return 1
    const first = locations[pageOf(locations, positions[from] - base)].offset
    let next = from
    let reached = first
    for (; positions[next] < end; next++) {
      const { offset, length } = locations[pageOf(locations, positions[next] - base)]
      if (offset - reached > mostGapBytes || offset + length - first > windowBytes) break
      reached = offset + length
    }
    return Math.max(1, next - from)
  }

  /** Says that rows up to `to` are going to be read, so that no bytes beyond are fetched. */
  wantUpTo(to: number): void {
    if (this.#locations === null || this.#locations.length === 0) return
    const last = this.#locations[pageOf(this.#locations, to - 1)]
    this.#wantedEnd = last.offset + last.length
  }

  /** The next data page; null at the chunk's end. */
  async next(): Promise<DecodedPage | null> {
    if (this.#dictionaryPending) await this.#readDictionary()
    for (;;) {
      if (this.#position >= this.#end) return null
      const { header, body } = await this.#page()
      if (header.type === pageType.dictionary) this.#dictionary = this.#decodeDictionary(header, body)
      else if (header.type === pageType.data || header.type === pageType.dataV2) {
        this.#entriesRead += header.entries
        if (this.#entriesRead > this.#chunk.entries) throw malformed('a column has more values than it says')
        return header.v2 === null ? this.#decodePage(header, body) : this.#decodePageV2(header, header.v2, body)
      }
      // Index pages and unknown ones are passed over, as the format asks.
    }
  }

  async #readDictionary(): Promise<void> {
    this.#dictionaryPending = false
    const resume = this.#position
    this.#position = this.#chunk.offset
    const { header, body } = await this.#page(this.#chunk.dataOffset)
    if (header.type === pageType.dictionary) this.#dictionary = this.#decodeDictionary(header, body)
    this.#position = resume
  }

  /** Reads the page at the current position and moves behind it. */
  async #page(wantedEnd = this.#wantedEnd): Promise<{ header: PageHeader; body: Uint8Array }> {
    let ask = firstHeaderBytes
    let header: PageHeader | null = null
    while (header === null) {
      const available = await this.#fetch(this.#position, Math.min(ask, this.#end - this.#position), wantedEnd)
      try {
        header = readPageHeader(available, 0)
      } catch (error) {
        // It may be longer than what was fetched.
        if (available.length >= this.#end - this.#position || available.length >= maxHeaderBytes) throw error
        ask = available.length * 4
      }
    }
    const bodyStart = this.#position + header.length
    if (bodyStart + header.compressedBytes > this.#end) throw malformed('a page goes beyond its column')
    const body = (await this.#fetch(bodyStart, header.compressedBytes, wantedEnd)).subarray(0, header.compressedBytes)
    this.#position = bodyStart + header.compressedBytes
    // Not every writer computes it over the same bytes, but those that write one do since the format says which.
    if (header.crc !== null && (crc32(body) | 0) !== header.crc)
      throw new FrazilError('corrupt', 'parquet-checksum', 'a page of the Parquet file does not match its checksum')
    return { header, body }
  }

  /** Bytes from `offset` on, at least `length` of them. */
  async #fetch(offset: number, length: number, wantedEnd: number): Promise<Uint8Array> {
    const from = offset - this.#windowStart
    if (from >= 0 && from + length <= this.#window.length) return this.#window.subarray(from)
    const ahead = Math.min(windowBytes, wantedEnd - offset)
    const wanted = Math.min(Math.max(length, ahead), this.#end - offset)
    const bytes = await this.#source.read(offset, wanted)
    if (bytes.length !== wanted) throw malformed('it ends before its columns do')
    this.#window = bytes
    this.#windowStart = offset
    return bytes
  }

  #decodeDictionary(header: PageHeader, body: Uint8Array): Dense {
    if (this.#dictionary !== null) throw malformed('a column has two dictionaries')
    if (header.encoding !== encoding.plain && header.encoding !== encoding.plainDictionary)
      throw malformed('a dictionary has an unknown encoding')
    const bytes = decompress(this.#chunk.codec, body, header.uncompressedBytes)
    return this.#convert(this.#values(encoding.plain, bytes, 0, header.entries))
  }

  #decodePage(header: PageHeader, body: Uint8Array): DecodedPage {
    const bytes = decompress(this.#chunk.codec, body, header.uncompressedBytes)
    const { entries } = header
    let at = 0
    const levels = (max: number): Uint8Array | null => {
      if (max === 0) return null
      if (at + 4 > bytes.length) throw malformed('a page ends within its levels')
      const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true)
      at += 4
      if (at + length > bytes.length) throw malformed('a page ends within its levels')
      const out = new Uint8Array(entries)
      decodeHybrid(bytes, at, at + length, bitWidth(max), entries, out)
      at += length
      return out
    }
    const repetitions = levels(this.leaf.maxRepetition)
    const definitions = levels(this.leaf.maxDefinition)
    return this.#finishPage(header, repetitions, definitions, bytes, at, body)
  }

  #decodePageV2(header: PageHeader, v2: NonNullable<PageHeader['v2']>, body: Uint8Array): DecodedPage {
    const { entries } = header
    const levelBytes = v2.repetitionBytes + v2.definitionBytes
    if (levelBytes > body.length || levelBytes > header.uncompressedBytes) throw malformed('a page ends within its levels')
    const levels = (max: number, at: number, length: number): Uint8Array | null => {
      if (max === 0) return null
      const out = new Uint8Array(entries)
      // A writer may leave out the levels of a page that has no entries.
      if (entries > 0) decodeHybrid(body, at, at + length, bitWidth(max), entries, out)
      return out
    }
    const repetitions = levels(this.leaf.maxRepetition, 0, v2.repetitionBytes)
    const definitions = levels(this.leaf.maxDefinition, v2.repetitionBytes, v2.definitionBytes)
    const rest = body.subarray(levelBytes)
    const bytes = decompress(v2.compressed ? this.#chunk.codec : 0, rest, header.uncompressedBytes - levelBytes)
    return this.#finishPage(header, repetitions, definitions, bytes, 0, body)
  }

  #finishPage(
    header: PageHeader,
    repetitions: Uint8Array | null,
    definitions: Uint8Array | null,
    bytes: Uint8Array,
    at: number,
    body: Uint8Array,
  ): DecodedPage {
    const { entries } = header
    let present = entries
    if (definitions !== null) {
      const max = this.leaf.maxDefinition
      present = 0
      for (let i = 0; i < entries; i++) {
        if (definitions[i] === max) present++
        else if (definitions[i] > max) throw malformed('a level is higher than its schema allows')
      }
    }
    if (repetitions !== null)
      for (let i = 0; i < entries; i++)
        if (repetitions[i] > this.leaf.maxRepetition) throw malformed('a level is higher than its schema allows')
    // Nested columns always look at definitions; others need none when nothing is missing.
    const kept = present === entries && this.leaf.maxRepetition === 0 && this.leaf.path.length === 1 ? null : definitions
    const values = this.#pageValues(header, bytes, at, present)
    // What is not compressed is a view of what was fetched, where other pages are as well.
    const own = [bytes, values.bytes].filter(({ buffer, length }) => length >= leastOwnBytes && buffer !== body.buffer)
    return { entries, repetitions, definitions: kept, values, own }
  }

  #pageValues(header: PageHeader, bytes: Uint8Array, at: number, present: number): Dense {
    if (header.encoding !== encoding.rleDictionary && header.encoding !== encoding.plainDictionary)
      return this.#convert(this.#values(header.encoding, bytes, at, present))
    const codes = new Int32Array(present)
    if (present > 0) {
      if (at >= bytes.length) throw malformed('a page ends before its codes')
      decodeHybrid(bytes, at + 1, bytes.length, bytes[at], present, codes)
    }
    if (this.#dictionary === null) {
      if (present > 0) throw malformed('a column has codes but no dictionary')
      return this.#convert(this.#values(encoding.plain, bytes, bytes.length, 0))
    }
    return lookUp(this.#dictionary, codes, present)
  }

  #values(encodedAs: number, bytes: Uint8Array, at: number, count: number): Dense {
    const { element } = this.leaf
    if (element.physical === null) throw malformed('a column has no physical type')
    // Pages of nulls only may have no values at all, not even a header for them.
    return decodeValues(
      element.physical,
      element.typeLength,
      count === 0 ? encoding.plain : encodedAs,
      bytes,
      at,
      bytes.length,
      count,
    )
  }
}

/** The last page that begins at or before `row`. */
function pageOf(locations: readonly PageLocation[], row: number): number {
  let low = 0
  let high = locations.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (locations[middle].firstRow <= row) low = middle
    else high = middle - 1
  }
  return low
}
