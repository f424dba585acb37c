import { FrazilError, assert } from '../base/index.ts'
import type { SlabPool } from '../base/index.ts'
import { isAlive } from '../data/index.ts'
import type { Column, Segment } from '../data/index.ts'
import { HotIndex, maxRangeSegments } from './hot-index.ts'
import type { RowRef } from './hot-index.ts'
import { keyReader, keysEqual, mixWords } from './key-codec.ts'
import type { KeyReader, KeySpec } from './key-codec.ts'

/** Rows [from, to) of a segment, visible. Replaced, never changed, when it grows. */
export interface RangePart {
  readonly segment: Segment
  readonly from: number
  readonly to: number
}

interface RangeSegment {
  readonly segment: Segment
  readonly keyColumns: readonly Column[]
  readonly readKey: KeyReader | null
  /** Place of its newest part, −1 while it has none. */
  newestPart: number
  /** Multisets: per row the reference + 1 of the row with the same key before it in this range, 0 for none. */
  readonly previous: Int32Array | null
}

/**
 * Consecutive rows of a table between two freezes, with the index of their keys. The newest range takes rows; a frozen one is
 * being written to a data file and only loses rows. Freezing, staging and dropping go range by range, so no index entry is ever
 * rewritten: the whole index goes when the file's key run takes over.
 */
export class HotRange {
  readonly #key: KeySpec | null
  readonly #index: HotIndex | null
  readonly #segments: RangeSegment[] = []
  readonly #numbers = new Map<Segment, number>()
  #parts: RangePart[] = []
  /** Bytes of the pool in its segments. */
  bytes = 0
  /** Rows that were appended, dead ones included. */
  rows = 0
  /** Rows that have died since. */
  dead = 0
  /** Rows dead at this source commit are not in the file of a frozen range. */
  frozenAt = 0
  /**
   * First source commit that may be committed with a frozen range: `frozenAt`, or the one after it when the range was frozen in the
   * middle of that. 0 while the range takes rows.
   */
  since = 0
  /** Rows that died after the freeze: they are carried over to the data file. */
  racing = 0
  /** Append-only rows have no cells to mark: source commit at which the whole range was truncated, 0 for none. */
  discardedAt = 0

  constructor(key: KeySpec | null, pool: SlabPool) {
    this.#key = key
    this.#index = key ? new HotIndex(pool) : null
  }

  /** Visible rows, in row-number order. The array grows while the range takes rows; its parts are replaced, never changed. */
  get parts(): readonly RangePart[] {
    return this.#parts
  }

  /** Whether rows of a segment still fit, a slice of them. */
  accepts(segment: Segment): boolean {
    if (this.#index?.isFull) return false
    return this.#segments.length < maxRangeSegments || this.#numbers.has(segment)
  }

  /** Makes rows visible and, with a key, findable. All keys are new: nothing is looked up elsewhere. */
  append(segment: Segment, from: number, to: number): void {
    this.extend(segment, from, to)
    if (this.#index) for (let row = from; row < to; row++) this.put(segment, row)
  }

  /** Makes rows visible without touching the index; {@link put} has to follow for each row of a keyed table. */
  extend(segment: Segment, from: number, to: number): void {
    assert(this.since === 0, 'a frozen range takes no rows')
    const current = this.#segments[this.enter(segment)]
    const last = current.newestPart < 0 ? null : this.#parts[current.newestPart]
    if (last && last.to === from) this.#parts[current.newestPart] = { segment, from: last.from, to }
    else current.newestPart = this.#parts.push({ segment, from, to }) - 1
    this.rows += to - from
  }

  /** Takes up a segment whose rows are going to be {@link put} before they are made visible by {@link extend}; returns its number. */
  enter(segment: Segment): number {
    const newest = this.#segments.length - 1
    if (newest >= 0 && this.#segments[newest].segment === segment) return newest
    return this.#numbers.get(segment) ?? this.#add(segment)
  }

  /** Enters the key of a row; `hash` is that of its words ({@link mixWords}), where it is known. */
  put(segment: Segment, row: number, knownHash?: number): void {
    const number = this.enter(segment)
    const current = this.#segments[number]
    assert(this.#index && this.#key && current.readKey, 'rows of keyed tables are entered')
    let hash = knownHash
    if (hash === undefined) {
      current.readKey(row, scratch, 0)
      hash = mixWords(scratch, 0, this.#key.kind === 'exact' ? 2 : 4)
    }
    const ref = (number << 16) | row
    const before = this.#lookUp(hash, current.keyColumns, row)
    if (before >= 0) {
      if (current.previous) current.previous[row] = before + 1
      else if (this.#deletedAt(before) === 0) {
        throw new FrazilError('corrupt', 'duplicate-key', 'the source sent a second row with the same key', {
          hint: 'Check that the key of the source table is unique and not deferrable, then run frazil resync.',
        })
      }
    }
    this.#index.set(hash, ref)
  }

  /**
   * Finds the live row with the key of row `row` of `columns`, whose words have the hash `hash`, and marks it dead as of `commit`.
   * `dead`: the key was here and its row is gone already, so no older row can be alive. `absent`: look further.
   */
  kill(hash: number, columns: readonly Column[], row: number, commit: number): 'killed' | 'dead' | 'absent' {
    const key = this.#key
    if (!key || !this.#index) return 'absent'
    let ref = this.#lookUp(hash, columns, row)
    if (ref < 0) return 'absent'
    if (key.multiset) {
      // The head of the chain is moved past dead rows, so that removing one of many equal rows takes constant time.
      while (ref >= 0 && this.#deletedAt(ref) !== 0) ref = this.#before(ref)
      if (ref < 0) return 'absent'
      this.#mark(ref, commit)
      const next = this.#before(ref)
      if (next >= 0) this.#index.set(hash, next)
      return 'killed'
    }
    if (this.#deletedAt(ref) !== 0) return 'dead'
    this.#mark(ref, commit)
    return 'killed'
  }

  /** The newest row with a key, dead or alive, −1 when there was none in this range. Not for multisets. */
  locate(hash: number, columns: readonly Column[], row: number): RowRef {
    return this.#lookUp(hash, columns, row)
  }

  isDead(ref: RowRef): boolean {
    return this.#deletedAt(ref) !== 0
  }

  /** The segment of a row; its place there is in the low 16 bits. */
  segmentOf(ref: RowRef): Segment {
    return this.#segments[ref >>> 16].segment
  }

  /** Marks a live row that {@link locate} found dead as of `commit`. */
  killAt(ref: RowRef, commit: number): void {
    this.#mark(ref, commit)
  }

  /**
   * The row with a key that is alive at source commit `commit`, the last one or the one before it (then only where nothing was
   * appended since, and not for multisets).
   */
  get(hash: number, columns: readonly Column[], row: number, commit: number): { segment: Segment; row: number } | 'dead' | null {
    if (!this.#index || !this.#key) return null
    let ref = this.#lookUp(hash, columns, row)
    if (ref < 0) return null
    if (this.#key.multiset) while (ref >= 0 && this.#deletedAt(ref) !== 0) ref = this.#before(ref)
    else if (!isAlive(this.#segments[ref >>> 16].segment, ref & 0xffff, commit)) return 'dead'
    return ref < 0 ? null : { segment: this.#segments[ref >>> 16].segment, row: ref & 0xffff }
  }

  /** Makes all rows dead that are still alive. */
  truncate(commit: number): void {
    if (!this.#key) {
      if (this.rows > 0 && this.discardedAt === 0) this.discardedAt = commit
      this.dead = this.rows
      return
    }
    for (const { segment, from, to } of this.#parts) {
      const { deletedAt } = segment
      if (!deletedAt) continue
      for (let row = from; row < to; row++) {
        if (deletedAt[row] !== 0) continue
        deletedAt[row] = commit - segment.baseCommit
        this.dead++
        if (this.since > 0) this.racing++
      }
    }
  }

  /** No more rows: those dead at source commit `commit` are left out of the file, which may be committed at `since`. */
  freeze(commit: number, since: number): void {
    this.frozenAt = commit
    this.since = since
    // Some may have died in the source commit that is being applied.
    this.racing = since > commit ? this.dead : 0
    for (const { segment } of this.#segments) segment.seal()
  }

  /**
   * Rows that have died since {@link frozenAt}, by the commits that killed them, ascending. They are numbered among the rows that were
   * alive then.
   */
  racingDeletes(): { commit: number; positions: Uint32Array }[] {
    if (this.racing === 0) return []
    const counts = new Map<number, number>()
    const visit = (each: (commit: number, rank: number) => void): void => {
      let rank = 0
      for (const { segment, from, to } of this.#parts) {
        const { deletedAt, baseCommit } = segment
        if (!deletedAt) continue
        for (let row = from; row < to; row++) {
          const at = deletedAt[row]
          if (at !== 0) {
            if (baseCommit + at <= this.frozenAt) continue
            each(baseCommit + at, rank)
          }
          rank++
        }
      }
    }
    visit((commit) => counts.set(commit, (counts.get(commit) ?? 0) + 1))
    const runs = new Map([...counts].map(([commit, count]) => [commit, { commit, positions: new Uint32Array(count), used: 0 }]))
    visit((commit, rank) => {
      const run = runs.get(commit)
      if (run) run.positions[run.used++] = rank
    })
    return [...runs.values()].sort((a, b) => a.commit - b.commit)
  }

  /** Lets go of rows and index. */
  release(): void {
    this.#index?.release()
    for (const { segment } of this.#segments) segment.unpin()
    this.#segments.length = 0
    this.#numbers.clear()
    this.#parts = []
  }

  #add(segment: Segment): number {
    assert(this.#segments.length < maxRangeSegments, 'a range has room for the segment')
    segment.pin()
    this.bytes += segment.bytes
    const keyColumns = this.#key ? this.#key.columns.map((i) => segment.columns[i]) : []
    const number = this.#segments.push({
      segment,
      newestPart: -1,
      keyColumns,
      readKey: this.#key ? keyReader(this.#key, keyColumns) : null,
      previous: this.#key?.multiset ? new Int32Array(segment.capacity) : null,
    })
    this.#numbers.set(segment, number - 1)
    return number - 1
  }

  #lookUp(hash: number, columns: readonly Column[], row: number): RowRef {
    const index = this.#index
    if (!index) return -1
    matchColumns = columns
    matchRow = row
    return index.find(hash, this.#matches)
  }

  readonly #matches = (ref: RowRef): boolean =>
    keysEqual(this.#segments[ref >>> 16].keyColumns, ref & 0xffff, matchColumns, matchRow)

  #deletedAt(ref: RowRef): number {
    const { deletedAt } = this.#segments[ref >>> 16].segment
    return deletedAt ? deletedAt[ref & 0xffff] : 0
  }

  #before(ref: RowRef): RowRef {
    const { previous } = this.#segments[ref >>> 16]
    return previous ? previous[ref & 0xffff] - 1 : -1
  }

  #mark(ref: RowRef, commit: number): void {
    const { segment } = this.#segments[ref >>> 16]
    assert(segment.deletedAt, 'rows of keyed tables can be deleted')
    const relative = commit - segment.baseCommit
    assert(relative > 0 && relative <= 0xffff_ffff, 'a row is deleted after its segment began')
    segment.deletedAt[ref & 0xffff] = relative
    this.dead++
    if (this.since > 0) this.racing++
  }
}

// What `#matches` compares with: set before each look-up, so that no closure is made per row.
let matchColumns: readonly Column[] = []
let matchRow = 0
const scratch = new Int32Array(4)
