import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, describe, it } from 'node:test'
import { SlabPool, seededRandom } from '../../src/base/index.ts'
import type { Random } from '../../src/base/index.ts'
import { appendRow, columnOf, isAlive, readRow } from '../../src/data/index.ts'
import type { Field, Value } from '../../src/data/index.ts'
import { ParquetReader } from '../../src/format/parquet/index.ts'
import { lastUpdatedField, rowIdField } from '../../src/iceberg/index.ts'
import type { DataFile } from '../../src/iceberg/index.ts'
import {
  ChangeLog,
  ColdFile,
  Compaction,
  CompactionThread,
  Compactions,
  FilePool,
  FileWorkers,
  KeyRun,
  SpillSpace,
  Table,
  isPartial,
  keyWords,
} from '../../src/table/index.ts'
import type {
  CompactionOutput,
  CompactionResult,
  FileWriter,
  FrozenRange,
  HotRange,
  TableCommit,
  TableRows,
  TableWork,
} from '../../src/table/index.ts'
import { ChangeWriter, TableModel, addRow, keyColumnsOf, keyOf, listed, someChanges } from './history.ts'
import type { KeyKind, Rows } from './history.ts'
import { anyLayout, rowText } from './rows.ts'

const seeds = 8 * Number(process.env['FRAZIL_SEEDS'] ?? 1)
const firstSeed = Number(process.env['FRAZIL_SEED'] ?? 1)
/** Segments that are read back. */
let nextSegment = 1_000_000
const folder = mkdtempSync(join(tmpdir(), 'frazil-table-'))
const workers = new FileWorkers(1)
const files = new FilePool(workers.connect())
const thread = new CompactionThread()
const compactions = new Compactions(thread.connect().port)
after(async () => {
  files.close()
  compactions.close()
  await thread.close()
  await workers.close()
  rmSync(folder, { recursive: true })
})

const noWork: TableWork = {
  stage: () => assert.fail('nothing is staged in the middle'),
  readCells: ({ path: uri, fileSize }, wanted, mostBytes) =>
    files.readCells({ warehouse: folder, uri, fileSize, wanted, mostBytes }),
  rebuildRun: () => assert.fail('no run is built anew'),
}

interface LakeFile {
  readonly file: DataFile
  readonly runPath: string | null
  readonly bits: Uint8Array | null
  /** Row lineage of rows that have none of their own. */
  readonly firstRowId: bigint
  readonly dataSequenceNumber: bigint
}

/** A table, what should be in it, and a lake that only knows what `plan` said. */
class Lab {
  readonly model: TableModel
  readonly random: Random
  readonly pool = new SlabPool({ budget: 64 << 20 })
  readonly space: SpillSpace
  readonly log: ChangeLog
  readonly #capacity: number
  readonly #lake = new Map<string, LakeFile>()
  #nextRowId = 0n
  #sequence = 0n
  #compacting: { compaction: Compaction; outputs: CompactionOutput[]; written: Promise<CompactionResult> } | null = null
  readonly #fileLineage = new Map<string, readonly (readonly Value[])[]>()
  readonly #fileRows = new Map<string, readonly (readonly Value[])[]>()
  readonly #runPaths = new Map<string, string | null>()
  readonly #abandoned = new Set<string>()
  #inFlight: { range: HotRange; written: ReturnType<FileWriter['finish']> }[] = []
  #views: { rows: TableRows; expected: string[] }[] = []
  table: Table
  writer: ChangeWriter
  commit = 0
  #lakeCommit = 0
  #nextFile = 1
  readonly #name: string

  constructor(kind: KeyKind, seed: number, options: { domain?: number; capacity?: number } = {}) {
    this.random = seededRandom(seed)
    this.#name = `${kind}-${seed}`
    const { domain = 12 + this.random.below(60), capacity = this.random.below(2) === 0 ? 63 : 255 } = options
    this.#capacity = capacity
    this.model = new TableModel(kind, this.random, domain)
    this.space = new SpillSpace(join(folder, this.#name, 'spill'))
    this.log = new ChangeLog(this.model.table.id, {
      pool: this.pool,
      space: this.space,
      nextSegmentId: () => nextSegment++,
      room: () => Promise.resolve(true),
    })
    this.table = this.#newTable()
    this.writer = this.#newWriter()
  }

  #newTable(): Table {
    const { table: source } = this.model
    return new Table(
      { source, fields: source.fields, lastFieldId: source.fields.length },
      {
        pool: this.pool,
        nextSegmentId: () => nextSegment++,
        room: () => assert.fail('there is memory enough'),
      },
    )
  }

  #newWriter(): ChangeWriter {
    return new ChangeWriter(this.model.table, this.pool, this.random, () => this.commit, this.#capacity, appendRow)
  }

  /** One source transaction. */
  async transaction(changes: number | ((model: TableModel, writer: ChangeWriter) => void)): Promise<void> {
    this.model.begin()
    if (typeof changes === 'number') someChanges(this.model, this.writer, this.random, changes)
    else changes(this.model, this.writer)
    const spills = this.random.below(4) === 0
    // What is foreseen has to stay in memory.
    const isForeseen = !spills && this.random.below(2) === 0
    this.writer.send(
      (change) => this.log.add(change),
      (sent) => this.table.foresee(isForeseen ? sent.filter(isPartial) : []),
    )
    if (spills) {
      await this.log.spill()
      // Changes that come after, in segments that were given up or not.
      if (typeof changes === 'number') someChanges(this.model, this.writer, this.random, 5)
      this.writer.send((change) => this.log.add(change))
      if (this.random.below(2) === 0) await this.log.spill()
    }
    if (typeof changes === 'number' && this.random.below(8) === 0) {
      this.log.clear()
      this.model.forget()
      assert.equal(this.log.isEmpty, true)
      return
    }
    const isHeld = this.random.below(3) === 0
    const odds = 16 + (this.log.rows >> 2)
    if (isHeld) this.table.hold(this.commit)
    for (const step of this.table.apply(this.commit + 1, this.log, noWork)) {
      // What it waits for takes a while: hot rows may become cold ones.
      if (step instanceof Promise) await Promise.all([step, this.random.below(2) === 0 && this.deliver()])
      else assert.ok(step > 0 && step <= 16_384, 'slices are bounded')
      if (this.random.below(odds) === 0) this.freeze(this.commit + 1)
      if (this.random.below(odds) === 0) await this.deliver()
      if (isHeld && this.random.below(odds) === 0) await this.#checkHeld()
    }
    if (isHeld) await this.#checkHeld()
    this.table.unhold()
    this.commit++
    assert.equal(this.log.isEmpty, true)
    this.model.remember(this.commit)
  }

  /** In the middle of a source commit readers see what was before it. */
  async #checkHeld(): Promise<void> {
    const { table, model, commit } = this
    const view = table.view(commit)
    const before = model.at(commit)
    assert.deepEqual((await this.#rowsOf(view)).text, listed(before), `the view at ${commit}, while ${commit + 1} is applied`)
    view.release()
    assert.equal(table.canFind, model.keyed)
    if (!model.keyed) return
    const rows = [...before.values()].map(({ row }) => row)
    for (const wanted of [rows[this.random.below(Math.max(1, rows.length))] ?? model.anyRow(), model.anyRow()]) {
      const key = rowText(keyOf(model.table, wanted))
      const expected = rows.find((row) => rowText(keyOf(model.table, row)) === key) ?? null
      const found = await this.#find(keyOf(model.table, wanted))
      assert.equal(found && rowText(found), expected && rowText(expected), `the row with a key at ${commit}`)
    }
  }

  /** @param since the source commit that is being applied */
  freeze(since = this.commit): void {
    this.table.freeze(this.commit, since)
    for (const { range, frozen } of this.table.unwritten) {
      if (!this.#inFlight.some((one) => one.range === range)) this.#write(range, frozen)
    }
  }

  #write(range: HotRange, frozen: FrozenRange): void {
    const path = `file://${folder}/${this.#name}/${this.#nextFile++}.parquet`
    const runPath = this.table.keySpec ? join(folder, this.#name, 'runs', `${basename(path)}.run`) : null
    const writer = files.open({
      warehouse: folder,
      uri: path,
      fields: this.table.fields,
      schemaJson: '{}',
      key: this.table.keySpec,
      runPath,
      layout: anyLayout(this.table.fields, this.random),
      atOnce: true,
    })
    const write = async () => {
      const parts = frozen.parts.map(({ segment, from, to }) => ({ segment: segment.share(), from, to }))
      await writer.append(parts, frozen.commit)
      const written = await writer.finish()
      for (const { file, runPath: run } of written.files) this.#runPaths.set(file.path, run)
      return written
    }
    this.#inFlight.push({ range, written: write() })
  }

  /** A file worker has finished one of the ranges, in any order. */
  async deliver(which = this.random.below(Math.max(1, this.#inFlight.length))): Promise<void> {
    const [done] = this.#inFlight.splice(which, 1)
    if (done) this.table.written(done.range, await done.written)
  }

  async deliverAll(): Promise<void> {
    while (this.#inFlight.length > 0) await this.deliver()
  }

  /** A lake commit at the current source commit, with transactions before, during and after it. */
  async lakeCommit(): Promise<void> {
    const { commit } = this
    this.freeze()
    while (this.#inFlight.some(({ range }) => range.since <= commit)) {
      await this.#maybeTransaction()
      if (this.random.below(4) === 0) this.freeze()
      await this.deliver()
    }
    if (this.random.below(3) === 0) await this.deliverAll()
    await this.#maybeTransaction()
    if (this.random.below(4) === 0) this.freeze()
    const plan = this.table.plan(commit)
    const before = new Map(this.#lake)
    this.#apply(plan)
    assert.deepEqual(await this.#lakeRows(), listed(this.model.at(commit)), `the lake at ${commit}`)
    assert.deepEqual(this.table.plan(commit), plan, 'planning changes nothing')
    await this.#maybeTransaction()
    if (this.random.below(3) === 0 && this.#inFlight.length > 0) await this.deliver()
    if (this.random.below(5) === 0) {
      // The catalog refused: what was planned is planned again.
      this.#lake.clear()
      for (const [path, entry] of before) this.#lake.set(path, entry)
      return
    }
    for (const path of plan.abandoned) {
      assert.ok(!before.has(path), 'only files that no snapshot has are abandoned')
      this.#abandoned.add(path)
    }
    const gone = [...plan.removed, ...plan.abandoned].map((path) => this.#runPaths.get(path)).filter((path) => path !== null)
    assert.deepEqual(new Set(this.table.settled(plan)), new Set(gone))
    this.#lakeCommit = commit
    if (this.commit === commit && this.#inFlight.length === 0) assert.equal(this.table.dirty, false, 'all is in the lake')
    else if (listed(this.model.current).join() !== listed(this.model.at(commit)).join()) assert.equal(this.table.dirty, true)
  }

  /** Begins to rewrite some of the files that the lake has. */
  beginCompaction(): void {
    if (this.#compacting) return
    const chosen = this.table.files.filter((file) => file.committed && file.removedAt === 0 && this.random.below(3) > 0)
    const sources = chosen.flatMap((file) => {
      const lineage = this.#lake.get(file.file.path)
      return lineage ? [{ file, lineage }] : []
    })
    if (sources.length === 0) return
    const compaction = new Compaction(sources)
    const { liveRows, inputs } = compaction
    const count = Math.min(liveRows, 1 + this.random.below(3))
    const outputs = Array.from({ length: count }, (_, i): CompactionOutput => {
      const uri = `file://${folder}/${this.#name}/${this.#nextFile++}.parquet`
      const runPath = this.table.keySpec ? join(folder, this.#name, 'runs', `${this.#nextFile}.run`) : null
      this.#runPaths.set(uri, runPath)
      return { uri, runPath, rows: Math.floor((liveRows * (i + 1)) / count) - Math.floor((liveRows * i) / count) }
    })
    const { fields, keySpec: key } = this.table
    const { sort: keys } = anyLayout(fields, this.random)
    const written = compactions.compact({
      warehouse: folder,
      inputs,
      outputs,
      fields,
      schemaJson: '{}',
      key,
      columns: null,
      sort:
        keys.length > 0
          ? { keys, folder: join(folder, this.#name, 'sorting'), limits: { rows: 1 + this.random.below(9), bytes: 1e6 } }
          : null,
      bytesPerSecond: Number.POSITIVE_INFINITY,
    })
    this.#compacting = { compaction, outputs, written }
  }

  /** Brings the rewritten files into the lake and the table. */
  async endCompaction(): Promise<void> {
    if (!this.#compacting) return
    const { compaction, outputs, written } = this.#compacting
    this.#compacting = null
    const rewritten = await written
    const present = new Set(this.table.files.filter((file) => compaction.files.includes(file)))
    const plan = compaction.plan(outputs, rewritten, present)
    if (plan.added.length === 0 || [...present].some(({ removedAt }) => removedAt > 0)) return
    const before = await this.#lineage()
    const isDirty = this.table.dirty
    this.#apply(plan)
    assert.deepEqual(await this.#lineage(), before, 'rows keep their ids and when they were changed')
    await this.#maybeTransaction()
    if (this.random.below(3) === 0 && this.#inFlight.length > 0) await this.deliver()
    const spec = this.table.keySpec
    const runs = this.table.exchange(compaction.files, compaction.results(spec && keyWords(spec), this.table.pool))
    assert.deepEqual(runs, spec ? [...present].map(({ file }) => this.#runPaths.get(file.path)) : [])
    if (!isDirty && this.commit === this.#lakeCommit) assert.equal(this.table.dirty, false, 'nothing to commit has come')
    await this.checkView()
    await this.checkFind()
  }

  /** The live rows of the lake with their row lineage, as text. */
  async #lineage(): Promise<string[]> {
    const rows: string[] = []
    for (const { file, bits, firstRowId, dataSequenceNumber } of this.#lake.values()) {
      const values = await this.#valuesOf(file.path)
      let columns = this.#fileLineage.get(file.path)
      if (!columns) {
        columns = await this.#read(file.path, [rowIdField, lastUpdatedField])
        this.#fileLineage.set(file.path, columns)
      }
      for (const [position, row] of values.entries()) {
        if (bits && (bits[position >> 3] & (1 << (position & 7))) !== 0) continue
        const [id, updated] = columns[position]
        rows.push(`${rowText(row)} ${rowText([id ?? firstRowId + BigInt(position), updated ?? dataSequenceNumber])}`)
      }
    }
    return rows.sort()
  }

  async #maybeTransaction(): Promise<void> {
    if (this.random.below(2) === 0) await this.transaction(1 + this.random.below(10))
  }

  #apply(plan: TableCommit): void {
    this.#sequence++
    for (const path of plan.removed) assert.ok(this.#lake.delete(path), 'only what the lake has is removed')
    for (const file of plan.added) {
      assert.ok(!this.#lake.has(file.path) && !this.#abandoned.has(file.path), 'a file is added once')
      this.#lake.set(file.path, {
        file,
        runPath: this.#runPaths.get(file.path) ?? null,
        bits: null,
        firstRowId: this.#nextRowId,
        dataSequenceNumber: this.#sequence,
      })
      this.#nextRowId += BigInt(file.recordCount)
    }
    for (const { dataFile, bits, cardinality } of plan.vectors) {
      const entry = this.#lake.get(dataFile) ?? assert.fail('a vector belongs to a file of the lake')
      const old = entry.bits
      if (old)
        assert.ok(
          old.every((byte, i) => (bits[i] & byte) === byte),
          'a deleted row stays deleted',
        )
      assert.equal(
        bits.reduce((sum, byte) => sum + bitCount(byte), 0),
        cardinality,
      )
      assert.ok(cardinality > 0 && cardinality < entry.file.recordCount)
      this.#lake.set(dataFile, { ...entry, bits })
    }
  }

  async #lakeRows(): Promise<string[]> {
    const rows: Rows = new Map()
    for (const { file, bits } of this.#lake.values()) await this.#addFile(rows, file.path, file.recordCount, bits)
    return listed(rows)
  }

  async #addFile(rows: Rows, path: string, count: number, bits: Uint8Array | null): Promise<number> {
    const values = await this.#valuesOf(path)
    assert.equal(values.length, count, 'the file has the rows that it says')
    let alive = 0
    for (const [position, row] of values.entries()) {
      if (bits && (bits[position >> 3] & (1 << (position & 7))) !== 0) continue
      addRow(rows, row)
      alive++
    }
    return alive
  }

  async #valuesOf(path: string): Promise<readonly (readonly Value[])[]> {
    const known = this.#fileRows.get(path)
    if (known) return known
    const rows = await this.#read(path, this.table.fields)
    this.#fileRows.set(path, rows)
    return rows
  }

  async #read(path: string, fields: readonly Field[]): Promise<Value[][]> {
    const bytes = await readFile(path.slice('file://'.length))
    const reader = await ParquetReader.open({
      size: bytes.length,
      read: async (offset, length) => new Uint8Array(bytes.subarray(offset, offset + length)),
    })
    const rows: Value[][] = []
    for await (const segment of reader.read(fields)) {
      for (let row = 0; row < segment.capacity; row++) rows.push(readRow(segment, row))
    }
    return rows
  }

  async checkView(): Promise<void> {
    const view = this.table.view(this.commit)
    const expected = listed(this.model.at(this.commit))
    const { text, hot } = await this.#rowsOf(view)
    assert.deepEqual(text, expected, `the view at ${this.commit}`)
    assert.equal(this.table.hotRows, hot, 'hot rows are counted')
    if (this.random.below(3) === 0 && this.#views.length < 5) this.#views.push({ rows: view, expected })
    else view.release()
  }

  /** A view that was taken long ago has not changed. */
  async checkOldView(): Promise<void> {
    const view = this.#views.shift()
    if (!view) return
    assert.deepEqual((await this.#rowsOf(view.rows)).text, view.expected, `the view that was taken at ${view.rows.commit}`)
    view.rows.release()
  }

  async #rowsOf({ hot, files: cold, commit }: TableRows): Promise<{ text: string[]; hot: number }> {
    const rows: Rows = new Map()
    let hotRows = 0
    for (const { segment, from, to } of hot) {
      for (let row = from; row < to; row++) {
        if (!isAlive(segment, row, commit)) continue
        addRow(rows, readRow(segment, row))
        hotRows++
      }
    }
    for (const file of cold) await this.#addFile(rows, file.path, file.rows, file.deleted)
    return { text: listed(rows), hot: hotRows }
  }

  async checkFind(): Promise<void> {
    const { model, table } = this
    if (!table.keySpec) return
    for (let i = 0; i < 6; i++) {
      const wanted = (i % 2 === 0 ? model.existingRow() : null) ?? model.anyRow()
      const key = keyOf(model.table, wanted)
      const expected = model.keyed ? model.byKey(key) : model.current.has(rowText(wanted)) ? wanted : null
      const found = await this.#find(key)
      assert.equal(found && rowText(found), expected && rowText(expected), 'the row with a key')
    }
  }

  async #find(key: readonly Value[]): Promise<readonly Value[] | null> {
    const fields = keyColumnsOf(this.model.table).map((i) => this.table.fields[i])
    const place = this.table.find(
      fields.map((one, c) => columnOf(one, [null, key[c]].slice(one.required ? 1 : 0))),
      fields[0].required ? 0 : 1,
    )
    if (place && 'segment' in place) return readRow(place.segment, place.row)
    return place && (await this.#valuesOf(place.file.path))[place.position]
  }

  /** The process died: only the lake is left. */
  async restart(): Promise<void> {
    await this.deliverAll()
    await this.#compacting?.written
    this.#compacting = null
    this.close()
    this.table = this.#newTable()
    this.writer = this.#newWriter()
    for (const { file, runPath, bits } of this.#lake.values()) {
      const spec = this.table.keySpec
      const run = spec && runPath !== null ? KeyRun.open(runPath, keyWords(spec), file.recordCount) : null
      const vector = bits && { bits: bits.slice(), cardinality: bits.reduce((sum, byte) => sum + bitCount(byte), 0) }
      this.table.adopt(new ColdFile(file, run, { vector }))
    }
    this.model.restart(this.#lakeCommit)
    this.commit = 0
    this.#lakeCommit = 0
  }

  close(): void {
    for (const { rows } of this.#views.splice(0)) rows.release()
    this.table.close()
    this.log.clear()
    this.writer.close()
    assert.equal(this.pool.used, 0, 'all memory came back')
  }

  async end(): Promise<void> {
    await this.deliverAll()
    await this.endCompaction()
    await this.lakeCommit()
    await this.checkView()
    await this.deliverAll()
    this.close()
  }
}

function bitCount(byte: number): number {
  let count = 0
  for (let bits = byte; bits > 0; bits >>= 1) count += bits & 1
  return count
}

async function live(lab: Lab, steps: number): Promise<void> {
  for (let step = 0; step < steps; step++) {
    const choice = lab.random.below(100)
    if (choice < 45) await lab.transaction(1 + lab.random.below(lab.random.below(10) === 0 ? 120 : 12))
    else if (choice < 57) lab.freeze()
    else if (choice < 67) await lab.deliver()
    else if (choice < 77) await lab.lakeCommit()
    else if (choice < 81) lab.beginCompaction()
    else if (choice < 85) await lab.endCompaction()
    else if (choice < 91) await lab.checkView()
    else if (choice < 95) await lab.checkOldView()
    else if (choice < 99) await lab.checkFind()
    else await lab.restart()
  }
  await lab.end()
}

describe('table', () => {
  for (const kind of ['long', 'int', 'composite', 'row', 'none'] as const) {
    it(`has the rows of its history, whatever happens when: key ${kind}`, async () => {
      for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
        try {
          await live(new Lab(kind, seed), 120)
        } catch (error) {
          throw new Error(`seed ${seed} (FRAZIL_SEED=${seed} FRAZIL_SEEDS=0.1)`, { cause: error })
        }
      }
    })
  }

  it('keeps what is appended after a truncate, whatever was hot then', async () => {
    // What is frozen and delivered before the truncate, and whether rows are hot.
    for (const before of ['nothing', 'hot', 'in flight', 'in flight and hot', 'cold', 'cold and hot']) {
      for (const frozenAfter of [false, true]) {
        const lab = new Lab('none', 1)
        const insert = (text: string) => (model: TableModel, writer: ChangeWriter) => {
          writer.insert([text, 1])
          model.insert([text, 1])
        }
        if (before !== 'nothing') await lab.transaction(insert('one'))
        if (before.startsWith('in flight') || before.startsWith('cold')) lab.freeze()
        if (before.startsWith('cold')) await lab.deliver()
        if (before.endsWith('and hot')) await lab.transaction(insert('two'))
        await lab.transaction((model, writer) => {
          writer.truncate()
          model.truncate()
          if (frozenAfter) insert('three')(model, writer)
        })
        await lab.checkView()
        lab.freeze()
        await lab.transaction(insert('four'))
        await lab.checkView()
        await lab.end()
      }
    }
  })

  it('says when the changes of its source do not fit its rows', async () => {
    const absent = { kind: 'corrupt', code: 'missing-row' }
    for (const kind of ['long', 'composite', 'row'] as const) {
      const one = { long: ['a', 1n, 1], composite: ['a', 'k', 1, 1], row: ['a', 1] }[kind]
      const two = { long: ['a', 2n, 1], composite: ['a', 'k', 2, 1], row: ['b', 1] }[kind]
      const refused = async (isCold: boolean, change: (writer: ChangeWriter) => void, error: object): Promise<void> => {
        const lab = new Lab(kind, 1)
        await lab.transaction((model, writer) => {
          writer.insert(one)
          model.insert(one)
        })
        if (isCold) await lab.lakeCommit()
        change(lab.writer)
        lab.writer.send((sent) => lab.log.add(sent))
        assert.throws(() => [...lab.table.apply(lab.commit + 1, lab.log, noWork)], error)
        await lab.deliverAll()
        lab.close()
      }
      for (const isCold of [false, true]) {
        await refused(isCold, (writer) => writer.delete(two, true), absent)
        await refused(isCold, (writer) => writer.update(two, two), absent)
        if (kind !== 'row') await refused(isCold, (writer) => writer.upsert(two, true), absent)
        const twice = (writer: ChangeWriter): void => {
          writer.delete(one, true)
          writer.delete(one, true)
        }
        await refused(isCold, twice, absent)
      }
      if (kind !== 'row') await refused(false, (writer) => writer.insert(one), { kind: 'corrupt', code: 'duplicate-key' })
    }
    const lab = new Lab('none', 1)
    lab.writer.delete(['a', 1], false)
    lab.writer.send((sent) => lab.log.add(sent))
    assert.throws(() => [...lab.table.apply(1, lab.log, noWork)], { kind: 'unsupported', code: 'no-key' })
    lab.close()
  })

  it('does not plan a commit while rows before it are on their way to a file', async () => {
    const lab = new Lab('long', 1)
    await lab.transaction((model, writer) => {
      writer.insert(['a', 1n, 1])
      model.insert(['a', 1n, 1])
    })
    lab.freeze()
    assert.throws(() => lab.table.plan(1), /has all rows before it/)
    await lab.deliver()
    assert.equal(lab.table.plan(1).added.length, 1)
    await lab.end()
  })

  for (const kind of ['long', 'composite', 'row', 'none'] as const) {
    it(`takes transactions of many slices: key ${kind}`, async () => {
      const lab = new Lab(kind, 99, { domain: 60_000, capacity: 16_383 })
      const random = seededRandom(5)
      const many = (model: TableModel, writer: ChangeWriter): void => {
        for (let i = 0; i < 20_000; i++) {
          const row = model.anyRow()
          if (model.keyed && model.byKey(keyOf(model.table, row))) continue
          writer.insert(row)
          model.insert(row)
        }
      }
      await lab.transaction(many)
      lab.freeze()
      await lab.transaction(many)
      await lab.lakeCommit()
      await lab.transaction((model, writer) => {
        if (model.table.key.kind === 'none') return many(model, writer)
        for (const { row } of Array.from(model.current.values())) {
          const next = row.map((value, i) => (i === 0 ? 'new' : value))
          const what = random.below(3)
          if (what === 0) writer.delete(row, true)
          else if (what === 1 && model.keyed) writer.upsert(next, true, random.below(2) === 0 ? [next.length - 1] : [])
          else writer.update(row, next, model.keyed && random.below(2) === 0 ? [next.length - 1] : [])
          model.delete(row)
          if (what !== 0) model.insert(next)
        }
      })
      await lab.checkView()
      await lab.lakeCommit()
      await lab.checkFind()
      await lab.restart()
      await lab.transaction(many)
      await lab.end()
    })
  }
})
