import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { aimedBytes, chooseFiles, liveBytes, outputsFor } from '../../src/table/compaction-rule.ts'
import type { RatedFile } from '../../src/table/compaction-rule.ts'

const targetBytes = 128e6
const rowBytes = 60

function file(rows: number, deleted = 0): RatedFile {
  return { rows, deleted, bytes: rows * rowBytes }
}

const sum = (files: readonly RatedFile[], of: (file: RatedFile) => number): number =>
  files.reduce((total, each) => total + of(each), 0)

/** A table of `rows` rows of which `updated`, any of them, change with each commit: what its files become by the rule alone. */
function reckon(rows: number, updated: number, commits: number): { files: number; space: number; amplification: number } {
  let files: RatedFile[] = []
  for (let left = rows; left > 0; left -= targetBytes / rowBytes) files.push(file(Math.min(left, targetBytes / rowBytes)))
  let flushed = 0
  let rewritten = 0
  let most = 0
  let space = 0
  for (let commit = 0; commit < commits; commit++) {
    const died = (each: RatedFile): RatedFile => ({
      ...each,
      deleted: each.deleted + ((each.rows - each.deleted) * updated) / rows,
    })
    files = [...files.map(died).filter((each) => each.rows - each.deleted > 0.5), file(updated)]
    flushed += updated * rowBytes
    for (let i = 0; i < 2; i++) {
      const chosen = chooseFiles(files, { targetBytes })
      if (chosen.length === 0) break
      const live = sum(chosen, liveBytes)
      const count = outputsFor(live, aimedBytes(files, { targetBytes }))
      rewritten += live
      files = files.filter((each) => !chosen.includes(each))
      for (let output = 0; output < count; output++) files.push(file(live / rowBytes / count))
    }
    if (commit < commits / 10) continue
    most = Math.max(most, files.length)
    space = Math.max(space, sum(files, ({ bytes }) => bytes) / sum(files, liveBytes))
  }
  return { files: most, space, amplification: 1 + rewritten / flushed }
}

describe('the rule of compaction', () => {
  it('leaves alone what is well', () => {
    const well = [file(3e6), file(3e6, 5e5), file(2e6), file(1000), file(2000, 10)]
    assert.deepEqual(chooseFiles(well, { targetBytes }), [])
    assert.deepEqual(chooseFiles([], { targetBytes }), [])
  })

  it('leaves less where nothing changes any more', () => {
    const files = [file(3e6), file(3e6, 4e5), file(3e6, 2e5), file(2e6)]
    assert.deepEqual(chooseFiles(files, { targetBytes }), [])
    assert.deepEqual(chooseFiles(files, { targetBytes, rests: true }), [files[1]])
    const small = Array.from({ length: 8 }, (_, i) => file(1000 + i))
    assert.deepEqual(chooseFiles([file(2e6), ...small], { targetBytes, rests: true }), small)
    assert.deepEqual(chooseFiles([file(2e6), ...small.slice(1)], { targetBytes, rests: true }), [])
    const whole = [file(2e6), file(100), file(1e6, 100)]
    assert.deepEqual(chooseFiles(whole, { targetBytes, rests: true }), [], 'a few rows are not worth it')
  })

  it('merges small files when there are many, smaller ones with them, and no large ones', () => {
    const small = Array.from({ length: 43 }, (_, i) => file(1000 + i))
    const files = [file(2e6), ...small.slice(0, 12), file(10), ...small.slice(12), file(1.5e6)]
    assert.deepEqual(chooseFiles(files, { targetBytes }), files.slice(1, -1))
    assert.deepEqual(chooseFiles([file(2e6), ...small], { targetBytes }), [])
    // A partition of several may have fewer.
    assert.deepEqual(chooseFiles(small.slice(0, 24), { targetBytes, partitions: 2 }), small.slice(0, 24))
    assert.deepEqual(chooseFiles(small.slice(0, 23), { targetBytes, partitions: 2 }), [])
  })

  it('merges those of the most frequent size: what was merged before waits until it is the most', () => {
    const merged = Array.from({ length: 20 }, () => file(100_000))
    const fresh = Array.from({ length: 24 }, () => file(1000))
    const large = Array.from({ length: 8 }, () => file(2e6))
    assert.deepEqual(chooseFiles([...large, ...merged, ...fresh], { targetBytes }), fresh)
    const both = [...merged, ...merged.slice(14), ...fresh.slice(6)]
    assert.deepEqual(chooseFiles([...large, ...both], { targetBytes }), both)
  })

  it('aims at several files where a table has few bytes, so that there is an emptiest one', () => {
    const [whole] = [file(1e6, 2.9e5)]
    const aimed = aimedBytes([whole], { targetBytes })
    assert.equal(aimed, liveBytes(whole) / 8)
    assert.deepEqual(chooseFiles([whole], { targetBytes }), [whole], 'that it becomes several is no cost')
    const parts = Array.from({ length: 8 }, (_, i) => file(125_000, 30_000 + i * 1500))
    assert.deepEqual(chooseFiles(parts, { targetBytes }), parts.slice(-1))
    // Few bytes are one file; a partition of several is; and of many bytes, files have the target size.
    assert.equal(aimedBytes([file(1000)], { targetBytes }), 1 << 20)
    assert.equal(aimedBytes([whole], { targetBytes, partitions: 2 }), targetBytes)
    assert.equal(aimedBytes([file(1e8)], { targetBytes }), targetBytes)
  })

  it('takes small files along with emptied ones, as far as they are small beside them', () => {
    const empty = file(2e6, 1.5e6)
    const [small, smaller, large] = [file(150_000), file(40_000), file(300_000)]
    const files = [file(2e6), small, empty, large, file(2e6), smaller, file(2e6)]
    assert.deepEqual(chooseFiles(files, { targetBytes }), [small, empty, smaller])
  })

  it('has files put in order that are not, some together, and only once', () => {
    const unsorted = Array.from({ length: 20 }, () => ({ ...file(2e6), unsorted: true }))
    const files = [file(2e6), ...unsorted, file(2e6)]
    assert.deepEqual(chooseFiles(files, { targetBytes }), unsorted.slice(0, 4), 'no more than 8 M rows')
    const wide = unsorted.map((each) => ({ ...each, rows: each.rows / 10 }))
    assert.deepEqual(chooseFiles(wide, { targetBytes }), wide.slice(0, 8), 'no more bytes than eight files have')
    assert.deepEqual(chooseFiles([file(2e6), file(2e6)], { targetBytes }), [])
  })

  it('rewrites files that are mostly dead, the emptiest first when the table is', () => {
    const empty = file(2e6, 1.5e6)
    assert.deepEqual(chooseFiles([file(2e6), empty, file(2e6), file(2e6)], { targetBytes }), [empty])
    const some = [file(2e6, 7e5), file(2e6, 9e5), file(2e6, 8e5)]
    assert.deepEqual(chooseFiles(some, { targetBytes }), [some[1]])
    // Not for a few bytes.
    assert.deepEqual(chooseFiles([file(100, 90)], { targetBytes }), [])
  })

  it('takes no more at a time than a few files of the size aimed for', () => {
    const files = Array.from({ length: 100 }, () => file(0.9e6))
    const chosen = chooseFiles(files, { targetBytes })
    assert.ok(chosen.length >= 2 && sum(chosen, liveBytes) <= 2 * targetBytes)
  })

  it('keeps a table of 300,000 rows under random updates with a commit a second below 60 files', () => {
    for (const [updated, most] of [
      [100, 3.9],
      [1000, 3],
      [10_000, 2.5],
    ]) {
      const { files, space, amplification } = reckon(300_000, updated, 1_200_000 / updated)
      assert.ok(files < 55, `${files} files with ${updated} updates a commit`)
      assert.ok(space <= 1.38, `${space} bytes for each live one with ${updated} updates a commit`)
      assert.ok(amplification < most, `${amplification} bytes written for each flushed with ${updated} updates a commit`)
    }
  })
})
