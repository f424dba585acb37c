import type { ColdFile } from './cold-file.ts'
import { keyWords } from './key-codec.ts'
import type { KeySpec } from './key-codec.ts'
import { killKey, killOlder } from './outdated-rows.ts'

// Others have committed to a table of ours (docs/decisions, "Other writers"): its data files and deletion vectors are others than
// those that the table was built on. What no snapshot has yet is carried over to them, by key where a row has moved.

/** Keys looked up before other work gets a turn: a few milliseconds. */
const sliceKeys = 16_384

/** Rows that others have brought into a table, or taken out of it, since it was copied. */
export interface ForeignRows {
  /** A row of the source may have a key that a row of theirs has. */
  readonly added: boolean
  /** The source may change rows that are not there. */
  readonly deleted: boolean
}

export const noForeignRows: ForeignRows = { added: false, deleted: false }

/** What others have done to the committed files of a table. */
export interface ForeignChange {
  /** Paths of files that a snapshot had and that are gone. */
  readonly gone: ReadonlySet<string>
  /** By path: the vectors that files have now, where they are other ones. */
  readonly vectors: ReadonlyMap<string, { readonly bits: Uint8Array; readonly cardinality: number }>
  /** Files that have come, oldest first. `rewritten`: their rows are those of files that are gone. */
  readonly came: readonly { readonly file: ColdFile; readonly rewritten: boolean }[]
}

/** Keys of rows that are dead since a source commit. */
interface DeadKeys {
  readonly words: Int32Array
  /** Their source commits. */
  readonly commits: Float64Array
  readonly count: number
}

/**
 * Carries the files of a table over to what the lake has now, as source commit `commit`; the table has the files that came among its
 * own already, and all its rows in files if rows were added. Deletes that no snapshot has hit their rows where those are now. Of rows
 * with one key the last one counts: what others have added replaces what the lake had, and what is not committed yet replaces both.
 * Yields keys.
 */
export function* carryOver(
  files: readonly ColdFile[],
  spec: KeySpec | null,
  { gone, vectors, came }: ForeignChange,
  commit: number,
): Generator<number, void> {
  const fresh = came.map(({ file }) => file)
  const added = came.flatMap(({ file, rewritten }) => (rewritten ? [] : [file]))
  const before = files.filter((file) => file.committed && !fresh.includes(file))
  // What removed one file removed all that there was: a truncate, a copy that takes the place of the rows.
  const removedAt = Math.max(0, ...before.map((file) => file.removedAt))
  for (const file of fresh) file.removedAt = removedAt
  const isKeyed = spec !== null && removedAt === 0
  // Equal rows of a table without a key are as many as there are: only those that have moved are looked for.
  const moved = before.filter((file) => gone.has(file.file.path) || (spec?.multiset === false && added.length > 0))
  const dead = isKeyed && fresh.length > 0 ? yield* deadKeys(moved, keyWords(spec)) : null
  for (const file of before) {
    const vector = vectors.get(file.file.path)
    if (vector) file.merge(vector.bits, vector.cardinality)
  }
  if (!isKeyed) return
  if (dead) yield* killDead(fresh, dead, keyWords(spec), spec.multiset)
  if (spec.multiset) return
  const older = before.filter((file) => !gone.has(file.file.path))
  for (const file of fresh) {
    if (added.includes(file)) yield* killOlder(older, file, commit)
    older.push(file)
  }
  for (const file of files) if (!file.committed && file.removedAt === 0) yield* killOlder(added, file, commit)
}

/** The keys of rows whose deletes no snapshot has, in the order of their commits. */
function* deadKeys(files: readonly ColdFile[], width: 2 | 4): Generator<number, DeadKeys> {
  let words = new Int32Array(1024)
  const commits: number[] = []
  for (const { run, pending, eachPending } of files.map(pendingOf)) {
    if (!run || pending === 0) continue
    const commitOf = new Map<number, number>()
    eachPending((at, position) => void commitOf.set(position, at))
    const stride = width + 1
    for (const { entries, count } of run.blocks()) {
      for (let i = 0; i < count; i++) {
        const at = commitOf.get(entries[i * stride + width])
        if (at === undefined) continue
        if ((commits.length + 1) * width > words.length) {
          const larger = new Int32Array(words.length * 2)
          larger.set(words)
          words = larger
        }
        words.set(entries.subarray(i * stride, i * stride + width), commits.length * width)
        commits.push(at)
      }
      yield count
    }
  }
  const order = Uint32Array.from(commits.keys()).sort((a, b) => commits[a] - commits[b])
  const sorted = new Int32Array(order.length * width)
  for (const [to, from] of order.entries()) sorted.set(words.subarray(from * width, (from + 1) * width), to * width)
  return { words: sorted, commits: Float64Array.from(order, (i) => commits[i]), count: order.length }
}

function pendingOf(file: ColdFile): Pick<ColdFile, 'run' | 'eachPending'> & { readonly pending: number } {
  return { run: file.run, pending: file.deleted - file.committedDeleted, eachPending: (visit) => file.eachPending(visit) }
}

/** Rows with such keys are dead: one of each where equal rows may be several. */
function* killDead(files: readonly ColdFile[], keys: DeadKeys, width: 2 | 4, one: boolean): Generator<number, void> {
  const kill = one ? killOne : killKey
  for (let i = 0; i < keys.count; i++) {
    for (const file of files) if (kill(file, keys.words, i * width, keys.commits[i])) break
    if (i % sliceKeys === sliceKeys - 1) yield sliceKeys
  }
}

function killOne(file: ColdFile, words: Int32Array, at: number, commit: number): boolean {
  const { run } = file
  if (!run) return false
  return run.find(words, at, (position) => {
    if (file.isDeleted(position)) return false
    file.delete(position, commit)
    return true
  })
}
