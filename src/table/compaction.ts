import { assert } from '../base/index.ts'
import type { SlabPool } from '../base/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import { ColdFile } from './cold-file.ts'
import type { CompactionInput, CompactionOutput, CompactionResult } from './compaction-messages.ts'
import { KeyRun } from './key-run.ts'
import type { TableCommit } from './table-commit.ts'

/** Row lineage of a committed file, see `rowIdField`. */
interface FileLineage {
  readonly firstRowId: bigint | null
  readonly dataSequenceNumber: bigint
}

/** A file that is written anew, as it was when that was planned. */
interface Source {
  readonly file: ColdFile
  readonly lineage: FileLineage
  /** The rows that are left out: those that the file's vector deleted by then. */
  readonly dead: Uint8Array | null
  readonly live: number
  /** The place of its first live row among those of all sources. */
  readonly base: number
  readonly ranks: Uint32Array
}

const rankBytes = 32

/** What a rewritten file looks like when it is committed. */
interface Target {
  readonly file: DataFile
  readonly runPath: string | null
  /** Place of its first row among those of all targets. */
  readonly base: number
  /** The rows that died between plan and commit. */
  readonly vector: { readonly bits: Uint8Array; readonly cardinality: number } | null
}

/**
 * Committed files of a table on their way into others. It is planned on what the lake has: the files with their deletion vectors,
 * whose rows are left out. A row is in the targets at its place among the live rows of all sources, or, of those that are sorted, where
 * a permutation says; which is all that it takes to carry a delete over that comes while they are written, committed or not.
 */
export class Compaction {
  readonly #sources: readonly Source[]
  #targets: readonly Target[] = []
  /** By a row's place among the live ones of all sources: its place in the targets. Null: the same. */
  #placement: Uint32Array | null = null
  #present: ReadonlySet<ColdFile> = new Set()
  readonly liveRows: number
  /** About so many bytes of the files are theirs. */
  readonly liveBytes: number

  /** @param sources committed files of one table; no other compaction has one of them */
  constructor(sources: readonly { readonly file: ColdFile; readonly lineage: FileLineage }[]) {
    let base = 0
    this.#sources = sources.map(({ file, lineage }) => {
      assert(file.committed && file.removedAt === 0, 'what is rewritten is in the lake')
      const deletes = file.committedDeletes()
      const live = file.rows - (deletes?.cardinality ?? 0)
      const source = { file, lineage, dead: deletes?.bits ?? null, live, base, ranks: ranksOf(deletes?.bits ?? null, file.rows) }
      base += live
      return source
    })
    this.liveRows = base
    this.liveBytes = this.#sources.reduce((sum, { file, live }) => sum + (file.file.fileSize * live) / file.rows, 0)
  }

  get files(): readonly ColdFile[] {
    return this.#sources.map(({ file }) => file)
  }

  get inputs(): CompactionInput[] {
    return this.#sources.map(({ file: { file }, lineage, dead }) => ({
      uri: file.path,
      fileSize: file.fileSize,
      rows: file.recordCount,
      dead,
      firstRowId: lineage.firstRowId,
      sequenceNumber: lineage.dataSequenceNumber,
    }))
  }

  /**
   * What the lake commit has to do, at the source commit that the lake has: `present` says which sources it still has. The others
   * are gone because all their rows are dead. Asked again after a commit that failed.
   */
  plan(
    outputs: readonly CompactionOutput[],
    { files: written, placement }: CompactionResult,
    present: ReadonlySet<ColdFile>,
  ): TableCommit {
    this.#placement = placement
    let base = 0
    const dead = written.map(({ recordCount }) => new Uint8Array((recordCount + 7) >> 3))
    const bases = written.map(({ recordCount }) => {
      const start = base
      base += recordCount
      return start
    })
    assert(base === this.liveRows, 'every live row was written once')
    const counts = new Uint32Array(written.length)
    const mark = (source: Source, row: number): void => {
      const place = this.#placeOf(source, row)
      const target = lastAtMost(bases, place)
      const position = place - bases[target]
      dead[target][position >> 3] |= 1 << (position & 7)
      counts[target]++
    }
    for (const source of this.#sources) {
      if (present.has(source.file)) {
        const deletes = source.file.committedDeletes()
        if (deletes) eachNew(source, (byte) => deletes.bits[byte], mark)
      } else eachNew(source, () => 0xff, mark)
    }
    this.#present = present
    this.#targets = written.map((file, i) => ({
      file,
      runPath: outputs[i].runPath,
      base: bases[i],
      vector: counts[i] === 0 ? null : { bits: dead[i], cardinality: counts[i] },
    }))
    const kept = this.#targets.filter(isAlive)
    return {
      commit: 0,
      added: kept.map(({ file }) => file),
      removed: this.#sources.filter(({ file }) => present.has(file)).map(({ file }) => file.file.path),
      vectors: kept.flatMap(({ file, vector }) => (vector ? [{ dataFile: file.path, ...vector }] : [])),
      abandoned: this.#targets.filter((target) => !isAlive(target)).map(({ file }) => file.path),
      shape: null,
      foreign: null,
      properties: {},
    }
  }

  /**
   * The files that {@link plan} said, which a snapshot has now: with the deletes that came since. Their key runs are opened.
   *
   * @param width of a key in the runs, in words; null for tables without a key
   * @param pool of the table
   */
  results(width: 2 | 4 | null, pool: SlabPool): ColdFile[] {
    // What removes one whole file removes all of a table.
    const removedAt = Math.max(0, ...[...this.#present].map((file) => file.removedAt))
    const files = this.#targets.map((target) => {
      if (!isAlive(target)) return null
      const { file, runPath, vector } = target
      const run = runPath !== null && width !== null ? KeyRun.open(runPath, width, file.recordCount, pool) : null
      const cold = new ColdFile(file, run, { vector: vector && { ...vector, bits: vector.bits.slice() } })
      cold.removedAt = removedAt
      return cold
    })
    // A file takes deletes in the order of their commits.
    const pending = new Map<number, number[]>()
    for (const source of this.#sources) {
      if (!this.#present.has(source.file)) continue
      source.file.eachPending((commit, position) => {
        const places = pending.get(commit)
        const place = this.#placeOf(source, position)
        if (places) places.push(place)
        else pending.set(commit, [place])
      })
    }
    const bases = this.#targets.map(({ base }) => base)
    for (const commit of [...pending.keys()].sort((a, b) => a - b)) {
      for (const place of pending.get(commit) ?? []) {
        const target = lastAtMost(bases, place)
        files[target]?.delete(place - bases[target], commit)
      }
    }
    return files.filter((file) => file !== null)
  }

  /** Where a row that was alive at the plan is in the targets. */
  #placeOf(source: Source, position: number): number {
    const place = placeOf(source, position)
    return this.#placement ? this.#placement[place] : place
  }
}

function isAlive({ file, vector }: Target): boolean {
  return (vector?.cardinality ?? 0) < file.recordCount
}

/** Calls `mark` with each row that was alive at the plan and is dead by a later bitmap. */
function eachNew(source: Source, later: (byte: number) => number, mark: (source: Source, row: number) => void): void {
  const { dead, file } = source
  for (let byte = 0; byte * 8 < file.rows; byte++) {
    for (let left = later(byte) & ~(dead ? dead[byte] : 0); left !== 0; left &= left - 1) {
      const position = byte * 8 + 31 - Math.clz32(left & -left)
      if (position < file.rows) mark(source, position)
    }
  }
}

/** Live rows before each {@link rankBytes} bytes of the bitmap. */
function ranksOf(dead: Uint8Array | null, rows: number): Uint32Array {
  if (dead === null) return new Uint32Array(0)
  const ranks = new Uint32Array(Math.ceil(dead.length / rankBytes))
  let live = 0
  for (let byte = 0; byte * 8 < rows; byte++) {
    if (byte % rankBytes === 0) ranks[byte / rankBytes] = live
    live += 8 - bitCount(dead[byte])
  }
  return ranks
}

/** Where a row that was alive at the plan is among the live ones of all sources. */
function placeOf({ dead, base, ranks }: Source, position: number): number {
  if (dead === null) return base + position
  const last = position >> 3
  const block = Math.floor(last / rankBytes)
  let rank = ranks[block]
  for (let byte = block * rankBytes; byte < last; byte++) rank += 8 - bitCount(dead[byte])
  const before = (1 << (position & 7)) - 1
  return base + rank + (position & 7) - bitCount(dead[last] & before)
}

function bitCount(byte: number): number {
  let count = 0
  for (let left = byte; left !== 0; left &= left - 1) count++
  return count
}

/** The last of some ascending numbers that is not above `value`. */
function lastAtMost(numbers: readonly number[], value: number): number {
  let low = 0
  let high = numbers.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (numbers[middle] <= value) low = middle
    else high = middle - 1
  }
  return low
}
