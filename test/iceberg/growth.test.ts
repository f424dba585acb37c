import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DataFile } from '../../src/iceberg/index.ts'
import { StructureChecker } from '../support/structure/table.ts'
import { Lab } from './lab.ts'

/** A longer run prints its figures: FRAZIL_COMMITS=100000. */
const commits = Number(process.env['FRAZIL_COMMITS'] ?? 300)
const isLong = commits > 5000
const rows = 300_000
const updatesPerCommit = 50
/** Files that are merged at one time, as compaction would. */
const mergedFiles = 40
const mostFiles = 60
const mostMetadataBytes = 2e6

interface Live {
  readonly file: DataFile
  /** Positions that are deleted, in ascending order of deletion. */
  readonly deleted: Set<number>
  /** Path of its vector. */
  vector: string | null
}

/** A table under random updates, in names only: data files are what manifests say of them. */
class UpdatedTable {
  readonly lab = new Lab()
  readonly #live: Live[] = []
  readonly #retention = { maxSnapshots: 600, maxAgeMs: 3_600_000 }

  get files(): number {
    return this.#live.length
  }

  async fill(): Promise<void> {
    const file = this.lab.file(rows, 6_000_000)
    this.#live.push({ file, deleted: new Set(), vector: null })
    await this.#commit({ added: [file] })
  }

  /** A second passes, in which rows anywhere get new values. */
  async update(): Promise<void> {
    const { lab } = this
    const touched = new Set<Live>()
    for (let i = 0; i < updatesPerCommit; i++) {
      const live = this.#anyRow()
      touched.add(live)
      let at = lab.parts.random.below(live.file.recordCount)
      while (live.deleted.has(at)) at = (at + 1) % live.file.recordCount
      live.deleted.add(at)
    }
    const gone = [...touched].filter(({ file, deleted }) => deleted.size === file.recordCount)
    const added = lab.file(updatesPerCommit)
    const vectors = []
    for (const live of touched) {
      if (gone.includes(live)) continue
      const vector = await lab.vector(live.file, [...live.deleted], live.vector)
      live.vector = vector.path
      vectors.push(vector)
    }
    for (const live of gone) this.#live.splice(this.#live.indexOf(live), 1)
    this.#live.push({ file: added, deleted: new Set(), vector: null })
    await this.#commit({ added: [added], removed: gone.map(({ file }) => file.path), deletionVectors: vectors })
    if (this.#live.length >= mostFiles - 1) await this.#merge()
  }

  /** What compaction does: the smallest files become one, and so does what is half dead. */
  async #merge(): Promise<void> {
    const size = ({ file, deleted }: Live): number => file.recordCount - deleted.size
    const smallest = this.#live.toSorted((a, b) => size(a) - size(b)).slice(0, mergedFiles)
    const half = this.#live.filter((live) => size(live) < live.file.recordCount / 2)
    const gone = [...new Set([...smallest, ...half])]
    const merged = this.lab.file(gone.reduce((sum, live) => sum + size(live), 0))
    for (const live of gone) this.#live.splice(this.#live.indexOf(live), 1)
    this.#live.push({ file: merged, deleted: new Set(), vector: null })
    await this.#commit({ added: [merged], removed: gone.map(({ file }) => file.path), rewrite: true })
  }

  /** The file of a live row, each as likely. */
  #anyRow(): Live {
    let at = this.lab.parts.random.below(rows)
    for (const live of this.#live) {
      at -= live.file.recordCount - live.deleted.size
      if (at < 0) return live
    }
    return this.#live.findLast(({ file, deleted }) => deleted.size < file.recordCount) ?? assert.fail('there are rows')
  }

  async #commit(update: Parameters<Lab['commit']>[0]): Promise<void> {
    this.lab.clock.ms += 1000
    const summary = {
      'frazil.positions': '{"shop":{"from":"0/16B3740","to":"0/16B3748","ts":1760000000000}}',
      'frazil.epoch': '7',
    }
    const { unreferenced } = await this.lab.commit({ ...update, summary, retention: this.#retention })
    await this.lab.store.delete(unreferenced)
  }

  /** Bytes of what a reader opens before the first data file, and how many manifests. */
  async metadata(): Promise<{ json: number; list: number; manifests: number; count: number }> {
    const { snapshots } = await this.lab.metadata()
    const head = snapshots.findLast(({ id }) => id === this.lab.table.currentSnapshotId) ?? assert.fail('a snapshot')
    const manifests = await this.lab.manifests()
    return {
      json: (await this.lab.metadataJson()).length,
      list: (await this.lab.store.get(head.manifestList)).length,
      manifests: manifests.reduce((sum, { file }) => sum + file.length, 0),
      count: manifests.length,
    }
  }
}

test(`a table under random updates stays small in ${commits} commits: files, metadata, manifests`, async () => {
  const table = new UpdatedTable()
  await table.fill()
  let began = performance.now()
  const step = Math.max(100, Math.floor(commits / 100))
  for (let i = 1; i <= commits; i++) {
    await table.update()
    if (i % step !== 0) continue
    const { json, list, manifests, count } = await table.metadata()
    const ms = (performance.now() - began) / step
    if (isLong)
      console.log(
        `${i}: ${ms.toFixed(1)} ms, json ${json}, list ${list}, ${count} manifests of ${manifests}, ${table.files} files`,
      )
    assert.ok(table.files < mostFiles, `${table.files} data files after ${i} commits`)
    assert.ok(
      json + list + manifests < mostMetadataBytes,
      `${json} + ${list} + ${manifests} bytes of metadata after ${i} commits`,
    )
    assert.ok(count < 100, `${count} manifests after ${i} commits`)
    began = performance.now()
  }
  const checker = new StructureChecker(table.lab.store, { namesOnly: true })
  await checker.check(table.lab.pointer.metadataLocation, { mayRemain: () => false })
})
