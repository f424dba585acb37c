import type { Column, Segment } from '../data/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import type { ColdFile } from './cold-file.ts'
import type { HotRange, RangePart } from './hot-range.ts'
import { keyReader, keyWords, mixWords } from './key-codec.ts'
import type { KeySpec } from './key-codec.ts'
import type { TableShape } from './table-shape.ts'

/** A pinned, immutable look at a table's rows at one source commit. */
export interface TableRows {
  readonly commit: number
  readonly hot: readonly RangePart[]
  readonly files: readonly {
    readonly path: string
    readonly rows: number
    readonly deleted: Uint8Array | null
    /** See `packStats`. */
    readonly stats: Uint8Array | null
  }[]
  release(): void
}

/** Where the live row with a key is. */
export type RowPlace =
  | { readonly segment: Segment; readonly row: number }
  | { readonly file: DataFile; readonly position: number }

/** A data file with the deletes that count; bits that are not changed any more. */
interface FileRows {
  readonly file: ColdFile
  readonly deleted: Uint8Array | null
}

function pinned(commit: number, ranges: readonly HotRange[], files: readonly FileRows[]): TableRows {
  const hot = ranges.flatMap(({ parts }) => parts)
  for (const { segment } of hot) segment.pin()
  return {
    commit,
    hot,
    files: files.map(({ file, deleted }) => ({ path: file.file.path, rows: file.rows, deleted, stats: file.stats })),
    release() {
      for (const { segment } of hot) segment.unpin()
    },
  }
}

/** The rows of ranges and files that are not gone as a whole; pinned until released. */
export function viewOf(commit: number, ranges: readonly HotRange[], files: readonly ColdFile[]): TableRows {
  return pinned(commit, inView(ranges), lent(files))
}

function inView(ranges: readonly HotRange[]): HotRange[] {
  return ranges.filter(({ discardedAt }) => discardedAt === 0)
}

function lent(files: readonly ColdFile[]): FileRows[] {
  return files
    .filter((file) => file.removedAt === 0 && file.deleted < file.rows)
    .map((file) => ({ file, deleted: file.lendBits() }))
}

/**
 * Finds the row whose key is row `row` of `keys` (columns in key order) and that is alive at source commit `commit`, in ranges
 * first, then in files; the newest ones first. Null when there is none.
 */
export function findRow<F extends { readonly file: ColdFile }>(
  spec: KeySpec,
  keys: readonly Column[],
  row: number,
  at: { commit: number; ranges: readonly HotRange[]; files: readonly F[]; isDeleted: (file: F, position: number) => boolean },
): RowPlace | null {
  const width = keyWords(spec)
  const words = new Int32Array(width)
  keyReader(spec, keys)(row, words, 0)
  const hash = mixWords(words, 0, width)
  for (const range of at.ranges.toReversed()) {
    const found = range.get(hash, keys, row, at.commit)
    if (found === 'dead') return null
    if (found) return found
  }
  for (const entry of at.files.toReversed()) {
    const { file } = entry
    let position = -1
    const isAlive = (candidate: number): boolean => {
      if (at.isDeleted(entry, candidate)) return false
      position = candidate
      return true
    }
    if (file.run?.find(words, 0, isAlive)) return { file: file.file, position }
  }
  return null
}

/**
 * A table's rows as they were before the source commit that is being applied, for whoever reads meanwhile. It keeps no memory from
 * being freed: when a range has been written, its file takes its place.
 */
export class HeldRows {
  readonly commit: number
  readonly shape: TableShape
  readonly keySpec: KeySpec | null
  #ranges: readonly HotRange[]
  #files: readonly FileRows[]

  /** @param ranges all frozen at `commit` or before */
  constructor(
    commit: number,
    shape: TableShape,
    keySpec: KeySpec | null,
    ranges: readonly HotRange[],
    files: readonly ColdFile[],
  ) {
    this.commit = commit
    this.shape = shape
    this.keySpec = keySpec
    this.#ranges = inView(ranges)
    this.#files = lent(files)
  }

  has(range: HotRange): boolean {
    return this.#ranges.includes(range)
  }

  /** A range has become files, which have no deletes but those at {@link commit} and before. */
  written(range: HotRange, files: readonly ColdFile[]): void {
    this.#ranges = this.#ranges.filter((other) => other !== range)
    const live = files.filter((file) => file.deleted < file.rows)
    this.#files = [...this.#files, ...live.map((file) => ({ file, deleted: file.lendBits() }))]
  }

  view(): TableRows {
    return pinned(this.commit, this.#ranges, this.#files)
  }

  /** As {@link findRow}. Not for multisets. */
  find(spec: KeySpec, keys: readonly Column[], row: number): RowPlace | null {
    const isDeleted = ({ deleted }: FileRows, position: number): boolean =>
      deleted !== null && (deleted[position >> 3] & (1 << (position & 7))) !== 0
    return findRow(spec, keys, row, { commit: this.commit, ranges: this.#ranges, files: this.#files, isDeleted })
  }
}
