import { assert } from '../base/index.ts'
import type { Column, Segment } from '../data/index.ts'
import type { OutdatingChange } from './change-log.ts'
import type { ColdFile } from './cold-file.ts'
import { keyReader, keyWords, namingColumns } from './key-codec.ts'
import type { KeySpec } from './key-codec.ts'
import { sortKeys } from './key-order.ts'

// A copy that went on after an interruption has files of several moments. What was changed in between came again with the later ones,
// so rows of the earlier ones may be outdated (docs/decisions, "Interrupted copies go on").

/** Keys looked up before other work gets a turn: a few milliseconds. */
const sliceRows = 16_384

/** In files of a moment before `change`, the rows that it names are dead as of `commit`. Yields rows of it. */
export function* killNamed(
  files: readonly ColdFile[],
  spec: KeySpec,
  { change, before }: OutdatingChange,
  commit: number,
): Generator<number, void> {
  const older = files.filter((file) => file.moment < before)
  if (change.type === 'table') return
  if (change.type === 'truncate') {
    for (const file of older) if (file.removedAt === 0) file.removedAt = commit
    return
  }
  if (change.type === 'update' || change.type === 'delete') {
    const { keys } = change
    const from = change.type === 'update' ? change.keysFrom : change.from
    yield* killRows(older, spec, namingColumns(spec, keys), keys, from, from + change.to - change.from, commit)
  }
  if (change.type === 'delete') return
  const { segment } = change
  const columns = spec.columns.map((i) => segment.columns[i])
  yield* killRows(older, spec, columns, segment, change.from, change.to, commit)
}

function* killRows(
  files: readonly ColdFile[],
  spec: KeySpec,
  columns: readonly Column[],
  { rows }: Segment,
  from: number,
  to: number,
  commit: number,
): Generator<number, void> {
  assert(rows >= to, 'key rows are complete')
  const width = keyWords(spec)
  const read = keyReader(spec, columns)
  for (let start = from; start < to; start += sliceRows) {
    const count = Math.min(sliceRows, to - start)
    const words = new Int32Array(count * width)
    const keys = new Int32Array(count)
    for (let i = 0; i < count; i++) {
      read(start + i, words, i * width)
      keys[i] = i
    }
    sortKeys(words, width, keys)
    for (const file of files) for (const key of keys) killKey(file, words, key * width, commit)
    yield count
  }
}

/** Rows of files of an earlier moment with a key that `newer` has are dead as of `commit`. Yields rows of `newer`. */
export function* killReplaced(files: readonly ColdFile[], newer: ColdFile, commit: number): Generator<number, void> {
  const { run } = newer
  const older = files.filter((file) => file.moment < newer.moment)
  if (!run || older.length === 0) return
  const stride = run.width + 1
  for (const { entries, count } of run.blocks()) {
    for (const file of older) for (let i = 0; i < count; i++) killKey(file, entries, i * stride, commit)
    yield count
  }
}

/** Rows of older files with the key of a live row of `newer` are dead as of `commit`. */
export function* killOlder(older: readonly ColdFile[], newer: ColdFile, commit: number): Generator<number, void> {
  const { run } = newer
  if (!run || older.length === 0) return
  const stride = run.width + 1
  for (const { entries, count } of run.blocks()) {
    for (const file of older) {
      for (let i = 0; i < count; i++) {
        if (!newer.isDeleted(entries[i * stride + run.width])) killKey(file, entries, i * stride, commit)
      }
    }
    yield count
  }
}

/** The rows of a file with a key are dead as of `commit`. Always false: other files may have it as well. */
export function killKey(file: ColdFile, words: Int32Array, at: number, commit: number): boolean {
  const { run } = file
  if (!run || file.removedAt > 0) return false
  return run.find(words, at, (position) => {
    if (!file.isDeleted(position)) file.delete(position, commit)
    return false
  })
}
