import { FrazilError } from '../../base/index.ts'
import type { Field, SharedSegment } from '../../data/index.ts'
import { initialBytes, maxSegmentRows, widthOf } from '../../data/index.ts'
import { ColumnBuilder, LeafList, findById, planField } from './assemble.ts'
import type { Missing, Plan } from './assemble.ts'
import { ChunkReader } from './chunk-reader.ts'
import type { RandomAccess } from './chunk-reader.ts'
import { EntryQueue } from './entry-queue.ts'
import { fieldOf, fileTree, idsByName, leavesOf, unusualForms } from './file-schema.ts'
import type { FileNode } from './file-schema.ts'
import { malformed, readFileMetadata, readOffsetIndex } from './read-metadata.ts'
import type { FileInfo, PageLocation, RowGroupInfo } from './read-metadata.ts'

export interface ParquetReaderOptions {
  /**
   * Field ids for files whose columns have none (Iceberg's name mapping): the id for a path of names, list elements and map
   * entries named `element`, `key`, `value`.
   */
  readonly nameMapping?: (path: readonly string[]) => number | undefined
  /**
   * What a field that the file does not have reads as: stored bytes as `encodeValue` makes them, or null, which is `corrupt` for
   * required fields. Default: the field's `initialDefault`.
   */
  readonly missing?: Missing
  /** Refuses texts that are not UTF-8, which other readers would refuse (`corrupt`). */
  readonly checkText?: boolean
}

/** Bytes at the end of a file fetched when it is opened: as a rule the whole footer and the indexes. */
const tailBytes = 64 << 10
/** Longest footer. */
const maxFooterBytes = 256 << 20
/** Aim for the size of a batch in memory. */
const batchBytes = 8 << 20
/** Larger rows are not reckoned with before they are met. */
const likelyRowBytes = 16 << 10
/** Consecutive rows read before it is looked how large they are. */
const mostRunRows = 256
const magic = 0x31524150 // "PAR1", little-endian

/**
 * Reads Parquet files of any writer (specification: Parquet format 2): data pages of both versions, all encodings but INT96
 * values, codecs zstd, gzip, brotli, snappy, lz4_raw and none. Everything in the file is checked, not trusted: `corrupt` for
 * malformed ones, `unsupported` for what is right but not known here.
 */
export class ParquetReader {
  readonly rowCount: number
  readonly createdBy: string
  /** Footer key-values. */
  readonly keyValues: ReadonlyMap<string, string>
  /** Whether its columns say which fields they are. */
  readonly hasIds: boolean
  readonly #source: RandomAccess
  readonly #info: FileInfo
  readonly #nodes: readonly FileNode[]
  readonly #missing: Missing
  readonly #checkText: boolean
  readonly #isMapped: boolean
  readonly #tail: Uint8Array
  /** Offset indexes by row group and leaf. */
  readonly #indexes = new Map<string, Promise<readonly PageLocation[] | null>>()

  private constructor(source: RandomAccess, info: FileInfo, tail: Uint8Array, options: ParquetReaderOptions) {
    this.#source = source
    this.#info = info
    this.#tail = tail
    this.#missing = options.missing ?? initialBytes
    this.#checkText = options.checkText ?? false
    this.hasIds = info.elements.some(({ fieldId }) => fieldId !== null)
    this.#isMapped = this.hasIds || options.nameMapping !== undefined
    this.#nodes = fileTree(info.elements, options.nameMapping ?? (() => undefined)).nodes
    this.rowCount = info.rows
    this.createdBy = info.createdBy
    this.keyValues = info.keyValues
  }

  /** Reads the footer. */
  static async open(source: RandomAccess, options: ParquetReaderOptions = {}): Promise<ParquetReader> {
    const { size } = source
    if (size < 12) throw malformed('it is too short')
    let tail = await readExactly(source, Math.max(0, size - tailBytes), Math.min(size, tailBytes))
    const end = new DataView(tail.buffer, tail.byteOffset, tail.byteLength)
    if (end.getUint32(tail.length - 4, true) !== magic) throw malformed('it does not end as Parquet files do')
    const footerBytes = end.getUint32(tail.length - 8, true)
    if (footerBytes > size - 12 || footerBytes > maxFooterBytes) throw malformed('its footer is longer than the file')
    if (footerBytes + 8 > tail.length) tail = await readExactly(source, size - 8 - footerBytes, footerBytes + 8)
    const footer = tail.subarray(tail.length - 8 - footerBytes, tail.length - 8)
    return new ParquetReader(source, readFileMetadata(footer, size - 8 - footerBytes), tail, options)
  }

  /** The file's columns in our types, ids 0 where it has none. Throws `unsupported` when one has no equal. */
  get fields(): Field[] {
    return this.#nodes.map(fieldOf)
  }

  /** What its columns have of types that only some readers of Iceberg tables know; one sentence each (see {@link unusualForms}). */
  get unusual(): string[] {
    return unusualForms(this.#nodes)
  }

  /** Where each row group begins in the file, ascending. */
  get splitOffsets(): number[] {
    return this.#info.rowGroups.flatMap(({ chunks }) =>
      chunks.length > 0 ? Math.min(...chunks.map(({ offset }) => offset)) : [],
    )
  }

  /** Compressed bytes of the leaf columns by field id, where these are those of `fields`. */
  chunkBytes(fields: readonly Field[]): Map<number, number> {
    const bytes = new Map<number, number>()
    for (const { id, leaf } of leavesOf(this.#nodesFor(fields))) {
      const sum = this.#info.rowGroups.reduce((all, { chunks }) => all + chunks[leaf.index].compressedBytes, 0)
      if (id !== null) bytes.set(id, sum)
    }
    return bytes
  }

  /** First row of each row group, ascending. */
  get rowGroupStarts(): number[] {
    return this.#info.rowGroups.map((group) => group.firstRow)
  }

  /**
   * Rows [from, to) of some fields, found by id (in a file that has none, and no mapping was given, by name), in batches: segments of at most 65,535 rows, `capacity` being their number.
   * Batches are in order and never span row groups.
   */
  async *read(fields: readonly Field[], from = 0, to = this.rowCount): AsyncGenerator<SharedSegment, void, undefined> {
    if (!(from >= 0 && to <= this.rowCount)) throw outOfRange()
    const { plans, list } = this.#plan(fields)
    for (const [number, group] of this.#info.rowGroups.entries()) {
      const end = Math.min(to, group.firstRow + group.rows)
      let at = Math.max(from, group.firstRow)
      if (at >= end) continue
      const queues = await this.#queues(number, list)
      const step = batchRows(group, list, fields)
      for (; at < end; at += step) {
        const count = Math.min(step, end - at)
        const builders = fields.map((field, i) => this.#builder(field, plans[i], list, count))
        await take(builders, queues, at - group.firstRow, count)
        yield segmentOf(builders, count)
      }
      for (const queue of queues) queue.free()
    }
  }

  /**
   * Single rows by position, strictly ascending, as one segment whose row i is the row at `positions[i]`. Files with an offset
   * index are read page by page. When rows of more than `mostBytes` bytes have been read the rest is left out; `capacity` says how
   * many there are, at least one.
   */
  async readRows(
    fields: readonly Field[],
    positions: ArrayLike<number>,
    mostBytes = Number.POSITIVE_INFINITY,
  ): Promise<SharedSegment> {
    const { plans, list } = this.#plan(fields)
    const builders = fields.map((field, i) => this.#builder(field, plans[i], list, positions.length, mostBytes))
    let next = 0
    let before = -1
    const wantsMore = (): boolean => next === 0 || builders.reduce((sum, builder) => sum + builder.bytes, 0) < mostBytes
    for (const [number, group] of this.#info.rowGroups.entries()) {
      const end = group.firstRow + group.rows
      if (!(positions[next] < end)) continue
      if (!wantsMore()) break
      const queues = await this.#queues(number, list)
      let reached = queues.map(() => 0)
      while (positions[next] < end && wantsMore()) {
        const from = positions[next]
        const { firstRow } = group
        reached = queues.map(({ reader }, i) =>
          reached[i] > next ? reached[i] : next + reader.reach(positions, next, firstRow, end),
        )
        if (!Number.isInteger(from) || from <= before) throw outOfRange()
        let count = 1
        while (count < mostRunRows && positions[next + count] === from + count && from + count < end) count++
        const ahead = reached.map((number) => Math.max(positions[number - 1] + 1, from + count) - firstRow)
        await take(builders, queues, from - firstRow, count, ahead)
        next += count
        before = from + count - 1
      }
      for (const queue of queues) queue.free()
    }
    if (next < positions.length && wantsMore()) throw outOfRange()
    return segmentOf(builders, next)
  }

  #plan(fields: readonly Field[]): { plans: Plan[]; list: LeafList } {
    const list = new LeafList(this.#checkText)
    const nodes = this.#nodesFor(fields)
    const plans = fields.map((field) => planField(field, findById(nodes, field.id), list, this.#missing))
    return { plans, list }
  }

  #nodesFor(fields: readonly Field[]): readonly FileNode[] {
    return this.#isMapped ? this.#nodes : fileTree(this.#info.elements, idsByName(fields)).nodes
  }

  /** With memory for as many bytes as the rows are likely to have: growing costs a copy, and leaves garbage. */
  #builder(field: Field, plan: Plan, list: LeafList, rows: number, mostBytes = batchBytes): ColumnBuilder {
    return new ColumnBuilder(field, plan, rows, Math.ceil(Math.min(mostBytes, rows * this.#rowBytes(plan, list))))
  }

  /** Bytes of a column that a row has on average, as far as the footer says. */
  #rowBytes(plan: Plan, { leaves }: LeafList): number {
    if (plan.kind !== 'leaf') return 16
    const { index } = leaves[plan.leaf]
    const bytes = this.#info.rowGroups.reduce((sum, { chunks }) => sum + chunks[index].uncompressedBytes, 0)
    return Math.min(bytes / Math.max(this.rowCount, 1) + 4, likelyRowBytes)
  }

  async #queues(number: number, list: LeafList): Promise<EntryQueue[]> {
    const group = this.#info.rowGroups[number]
    return Promise.all(
      list.leaves.map(async (leaf, i) => {
        const locations = await this.#offsetIndex(number, leaf.index)
        return new EntryQueue(
          new ChunkReader(this.#source, leaf, group.chunks[leaf.index], list.converts[i], locations),
          group.rows,
        )
      }),
    )
  }

  #offsetIndex(number: number, leaf: number): Promise<readonly PageLocation[] | null> {
    const key = `${number}/${leaf}`
    let index = this.#indexes.get(key)
    if (index === undefined) {
      index = this.#readOffsetIndex(this.#info.rowGroups[number], leaf)
      this.#indexes.set(key, index)
    }
    return index
  }

  async #readOffsetIndex(group: RowGroupInfo, leaf: number): Promise<readonly PageLocation[] | null> {
    const chunk = group.chunks[leaf]
    if (chunk.offsetIndex === null) return null
    const { offset, length } = chunk.offsetIndex
    const inTail = offset - (this.#source.size - this.#tail.length)
    const bytes = inTail >= 0 ? this.#tail.subarray(inTail, inTail + length) : await readExactly(this.#source, offset, length)
    const locations = readOffsetIndex(bytes, chunk, group.rows)
    return locations.length === 0 || locations[0].firstRow !== 0 ? null : locations
  }
}

/** Adds rows [from, from + count) of a row group to the columns. */
async function take(
  builders: readonly ColumnBuilder[],
  queues: readonly EntryQueue[],
  from: number,
  count: number,
  ahead?: readonly number[],
): Promise<void> {
  await Promise.all(queues.map((queue, i) => queue.prepare(from, from + count, ahead?.[i])))
  for (const builder of builders) builder.take(queues, count)
}

/** Rows of a batch: fewer when rows are large. */
function batchRows(group: RowGroupInfo, { leaves }: LeafList, fields: readonly Field[]): number {
  const stored = leaves.reduce((sum, leaf) => sum + group.chunks[leaf.index].uncompressedBytes, 0) / group.rows
  const wide = fields.reduce((sum, field) => sum + widthOf(field.type), 0)
  return Math.max(1, Math.min(maxSegmentRows, Math.floor(batchBytes / Math.max(stored, wide, 1))))
}

function segmentOf(builders: readonly ColumnBuilder[], rows: number): SharedSegment {
  return { id: 0, capacity: rows, columns: builders.map((builder) => builder.finish()), deletedAt: null, baseCommit: 0 }
}

async function readExactly(source: RandomAccess, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await source.read(offset, length)
  if (bytes.length !== length) throw malformed('it is shorter than it was said to be')
  return bytes
}

function outOfRange(): FrazilError {
  return new FrazilError(
    'request',
    'row-out-of-range',
    'rows beyond the end of the Parquet file, or not in ascending order, were asked for',
  )
}
