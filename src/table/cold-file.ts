import { assert } from '../base/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import type { KeyRun } from './key-run.ts'
import { packStats } from './file-stats.ts'
import { PendingDeletes } from './pending-deletes.ts'
import { shrunkVector } from './refusals.ts'

/**
 * A data file of a table, staged (in no snapshot yet) or committed, with the deletes of its rows: those in its committed
 * deletion vector and those that came since, each with its source commit.
 */
export class ColdFile {
  readonly file: DataFile
  /** Replaced when the table gets another key. */
  run: KeyRun | null
  /** Whether a snapshot has the file. */
  committed: boolean
  /** First source commit that may be committed with the file; 0 for files from the lake. */
  readonly since: number
  /** Copied files: number of the moment, in ascending order, as of which they have a part of the table. */
  readonly moment: number
  /** Source commit that removed the whole file (truncate), 0 for none. */
  removedAt = 0
  /** Bit a row, set when deleted at all; null while none is. Copied before a change when a view has it. */
  #bits: Uint8Array | null
  #lent = false
  #deleted: number
  /** Deletes after the committed vector. */
  #pending: PendingDeletes
  #changes = 0
  #stats: Uint8Array | null | undefined

  /** A file from the lake comes with its committed vector; a staged one with {@link since} (0: a copy). */
  constructor(
    file: DataFile,
    run: KeyRun | null,
    from: { since: number; moment?: number } | { vector: { bits: Uint8Array; cardinality: number } | null },
  ) {
    this.file = file
    this.run = run
    this.#pending = new PendingDeletes(file.recordCount)
    this.committed = 'vector' in from
    this.since = 'since' in from ? from.since : 0
    this.moment = 'since' in from ? (from.moment ?? 0) : 0
    const vector = 'vector' in from ? from.vector : null
    this.#bits = vector ? vector.bits : null
    this.#deleted = vector ? vector.cardinality : 0
  }

  /** Column metrics as {@link packStats} makes them. */
  get stats(): Uint8Array | null {
    if (this.#stats === undefined) this.#stats = packStats(this.file)
    return this.#stats
  }

  get rows(): number {
    return this.file.recordCount
  }

  /** Rows deleted, committed or not. */
  get deleted(): number {
    return this.#deleted
  }

  /** Grows with every change; equal numbers mean equal bits. */
  get changes(): number {
    return this.#changes
  }

  isDeleted(position: number): boolean {
    return this.#bits !== null && (this.#bits[position >> 3] & (1 << (position & 7))) !== 0
  }

  delete(position: number, commit: number): void {
    assert(position >= 0 && position < this.rows, 'a row position lies within its file')
    assert(!this.isDeleted(position), 'a row is deleted once')
    if (this.#bits === null) this.#bits = new Uint8Array((this.rows + 7) >> 3)
    else if (this.#lent) this.#bits = this.#bits.slice()
    this.#lent = false
    this.#mark(position, this.#bits)
    this.#changes++
    this.#pending.add(position, commit)
  }

  #mark(position: number, bits: Uint8Array): void {
    bits[position >> 3] |= 1 << (position & 7)
    this.#deleted++
  }

  /** The deletes as of now, not changed afterwards. */
  lendBits(): Uint8Array | null {
    this.#lent = this.#bits !== null
    return this.#bits
  }

  /** The deletes as of source commit `commit`, when there are any that no committed vector has. */
  vectorAt(commit: number): { bits: Uint8Array; cardinality: number } | null {
    const pending = this.#pending.countUntil(commit)
    if (pending === 0 || this.#bits === null) return null
    const bits = this.#bits.slice()
    this.#pending.clearAfter(commit, bits)
    return { bits, cardinality: this.#deleted - (this.#pending.count - pending) }
  }

  /** The deletes that a snapshot has: its deletion vector. A copy; null when there is none. */
  committedDeletes(): { bits: Uint8Array; cardinality: number } | null {
    const cardinality = this.committedDeleted
    if (cardinality === 0 || this.#bits === null) return null
    const bits = this.#bits.slice()
    this.#pending.clearAfter(-1, bits)
    return { bits, cardinality }
  }

  /** How many rows the deletion vector in the lake deletes. */
  get committedDeleted(): number {
    return this.#deleted - this.#pending.count
  }

  /** Calls `visit` with each delete that no snapshot has, in the order of their source commits. */
  eachPending(visit: (commit: number, position: number) => void): void {
    this.#pending.each(visit)
  }

  /** Rows dead at `commit`, committed vector included. */
  deletedAt(commit: number): number {
    return this.#deleted - (this.#pending.count - this.#pending.countUntil(commit))
  }

  /**
   * Another writer has given the file another vector, which the lake has now. Deletes that it has as well are no longer pending.
   * Throws `conflict` when it lacks some that the lake had.
   */
  merge(bits: Uint8Array, cardinality: number): void {
    const before = this.committedDeletes()
    if (before?.bits.some((byte, i) => (byte & ~bits[i]) !== 0)) throw shrunkVector()
    const pending = new PendingDeletes(this.rows)
    const merged = bits.slice()
    this.#bits = merged
    this.#lent = false
    this.#deleted = cardinality
    this.#pending.each((commit, position) => {
      if (this.isDeleted(position)) return
      this.#mark(position, merged)
      pending.add(position, commit)
    })
    this.#pending = pending
    this.#changes++
  }

  /** A snapshot now has the file and its deletes up to `commit`. */
  settle(commit: number): void {
    this.#pending.settle(commit)
    this.committed = true
  }
}

/**
 * Deletes rows of a range that has become files: `ranks` number its rows as they were, `placement` has their places in the files, one
 * after another (null: the same).
 */
export function deletePlaced(
  files: readonly ColdFile[],
  placement: Uint32Array | null,
  ranks: Uint32Array,
  commit: number,
): void {
  const places = placement ? ranks.map((rank) => placement[rank]).sort() : ranks
  let file = 0
  let first = 0
  for (const place of places) {
    while (place >= first + files[file].rows) first += files[file++].rows
    files[file].delete(place - first, commit)
  }
}

/** A key run that goes with the next lake commit, unless its key comes again until then. */
export interface StrayRun {
  readonly file: ColdFile
  readonly path: string
  /** Of its key, see `Table.tag`. */
  readonly tag: string | null
}
