import { FrazilError, assert } from '../base/index.ts'
import type { SlabPool } from '../base/index.ts'
import type { Change, Column, Field, Segment, SourceTable, TableKey } from '../data/index.ts'
import type { ChangeLog } from './change-log.ts'
import { ColdFile, deletePlaced } from './cold-file.ts'
import type { StrayRun } from './cold-file.ts'
import type { WrittenFiles } from './file-messages.ts'
import { carryOver, noForeignRows } from './foreign-change.ts'
import type { ForeignChange, ForeignRows } from './foreign-change.ts'
import { HotRange } from './hot-range.ts'
import { keyReader, keySpecOf, keyTag, keyWords, mixWords, namingColumns } from './key-codec.ts'
import type { KeySpec } from './key-codec.ts'
import { sortKeys } from './key-order.ts'
import { KeyRun } from './key-run.ts'
import { LookupOrder } from './lookup-order.ts'
import { isPartial } from './old-values.ts'
import type { PartialChange } from './old-values.ts'
import { killNamed, killReplaced } from './outdated-rows.ts'
import { missingRow } from './refusals.ts'
import { RowCompletion } from './row-completion.ts'
import { ShapeHistory } from './shape-history.ts'
import { planFiles } from './table-commit.ts'
import type { TableCommit } from './table-commit.ts'
import { reshape } from './table-shape.ts'
import { PendingProperties, addTaken } from './taken-files.ts'
import type { TakenFiles } from './taken-files.ts'
import { HeldRows, findRow, viewOf } from './table-rows.ts'
import type { RowPlace, TableRows } from './table-rows.ts'
import type { TableShape } from './table-shape.ts'
import type { FrozenRange, SlicedWork, TableParts, TableWork } from './table-work.ts'

/** Rows applied before other work gets a turn: a few milliseconds. */
const sliceRows = 16384

/** Key runs that may be built at one time: the workers serve one file each. */
const parallelRebuilds = 4

/**
 * The live state of one table: hot ranges, data files, and the deletes of both. It has one owner, does no I/O but reading key
 * runs, and knows neither where changes come from nor how commits are made.
 *
 * A source transaction's changes are kept as they come ({@link ChangeLog}) and applied when it ends ({@link apply}), so a lost
 * connection has nothing to undo.
 */
export class Table {
  readonly #shapes: ShapeHistory
  #keySpec: KeySpec | null
  /** Has its rows in memory, and counts the filters of its key runs. */
  readonly pool: SlabPool
  /** Oldest first; the last one takes rows. */
  #ranges: HotRange[]
  /** Frozen ranges whose files are written but whose elders' are not: published in order. */
  readonly #written = new Map<HotRange, WrittenFiles>()
  /** Oldest first. */
  #files: ColdFile[] = []
  readonly #lookupOrder = new LookupOrder()
  /** Key runs by a key that the table does not have any more, or of files that are gone. */
  #strayRuns: StrayRun[] = []
  /** What readers see while a long source commit is applied. */
  #held: HeldRows | null = null
  /** The last source commit that changed something here, and the last one that the lake has. */
  #changedAt = 0
  #settledAt = 0
  readonly #parts: TableParts
  /** Made with the first partial change, for the shape of that time. */
  #completion: RowCompletion | null = null
  /** See {@link adopt}. */
  readonly #replacing: ColdFile[] = []
  /** What others have done to its rows; readers of a table need not care. */
  foreign: ForeignRows = noForeignRows
  readonly #properties = new PendingProperties()
  /** See {@link foresee}. */
  #foreseen: readonly PartialChange[] = []

  constructor(shape: TableShape, parts: TableParts) {
    this.#shapes = new ShapeHistory(shape)
    this.#keySpec = keySpecOf(shape.fields, shape.source.key)
    this.#parts = parts
    this.pool = parts.pool
    this.#ranges = [new HotRange(this.keySpec, this.pool)]
  }

  /** The shape of rows that are in memory and of those to come. */
  get shape(): TableShape {
    return this.#shapes.latest
  }

  /** The shape at a source commit that is not older than the last one in the lake. */
  shapeAt(commit: number): TableShape {
    return this.#shapes.at(commit)
  }

  /** Fields with their Iceberg ids. */
  get fields(): readonly Field[] {
    return this.shape.fields
  }

  get key(): TableKey {
    return this.shape.source.key
  }

  get keySpec(): KeySpec | null {
    return this.#keySpec
  }

  /** Whether rows can be deleted one by one. */
  get deletable(): boolean {
    return this.keySpec !== null
  }

  /** Whether something happened that no lake commit has. */
  get dirty(): boolean {
    if (this.#changedAt > this.#settledAt) return true
    // Others may leave a file without a row in the table: the next commit takes it out.
    return this.#files.some((file) => !file.committed || file.deleted === file.rows)
  }

  /** Rows in memory that are alive. */
  get hotRows(): number {
    return this.#ranges.reduce((sum, range) => sum + range.rows - range.dead, 0)
  }

  get files(): readonly ColdFile[] {
    return this.#files
  }

  /** Rows that could be frozen now. */
  get activeRows(): number {
    return this.#active.rows
  }

  /** Bytes of the pool that their segments take. */
  get activeBytes(): number {
    return this.#active.bytes
  }

  /**
   * Takes the place of a table with other rows as of source commit `commit`: its data files go with the next lake commit. `base` is
   * the shape that the lake has.
   */
  replace(other: Table | null, base: TableShape, commit: number): void {
    if (other) {
      for (const file of other.#files) {
        if (file.removedAt === 0) file.removedAt = commit
        this.#files.push(file)
      }
      // Their key runs go with the files.
      other.#files = []
    }
    this.#shapes.rebase(base)
    this.#changedAt = commit
  }

  /** Takes over a file found in the lake, or a copied one. Oldest first. `replaces`: see {@link killReplaced}, done by {@link apply}. */
  adopt(file: ColdFile, replaces = false): void {
    this.#files.push(file)
    if (replaces) this.#replacing.push(file)
  }

  /**
   * Tells of changes of transactions that are likely to be applied next, so that what they need can be read for several at once. Their
   * segments are looked at until the next call. That they never come is all right.
   */
  foresee(changes: readonly PartialChange[]): void {
    this.#foreseen = changes
    this.#completion?.rest()
  }

  /**
   * Applies what a transaction changed as source commit `commit`, and empties the log. Nobody may look at the table before it has
   * ended. Throws `corrupt` when the source's changes do not fit the rows.
   */
  *apply(commit: number, log: ChangeLog, work: TableWork): SlicedWork {
    if (!log.isEmpty) this.#changedAt = commit
    for (const file of this.#replacing.splice(0)) yield* killReplaced(this.#files, file, commit)
    for (const change of log.drain(commit - 1)) {
      if (change instanceof Promise) {
        yield change
      } else if (change.type === 'outdates') {
        if (this.keySpec) yield* killNamed(this.#files, this.keySpec, change, commit)
      } else if (change.type === 'table') {
        yield* this.#reshape(change.table, commit, work)
      } else if (change.type === 'truncate') {
        this.#truncate(commit)
      } else if (isPartial(change)) {
        yield* this.#completed().apply(change, commit, work.readCells, (row) => this.#upcoming(log, change, row))
      } else {
        // Slices are bounded by rows; a run of changes may be much longer.
        for (let from = change.from; from < change.to; from += sliceRows) {
          const to = Math.min(change.to, from + sliceRows)
          this.#applySlice(change, from, to, commit)
          yield to - from
        }
      }
    }
    if (this.#foreseen.length === 0) this.#completion?.rest()
  }

  /** Partial changes that come next: of the transaction that is applied, and of further ones. */
  *#upcoming(log: ChangeLog, { segment }: PartialChange, row: number): Generator<PartialChange, void> {
    for (const change of log.ahead()) if (isPartial(change)) yield change
    const at = this.#foreseen.findIndex((change) => change.segment === segment && change.from <= row && row < change.to)
    this.#foreseen = this.#foreseen.slice(at + 1)
    yield* this.#foreseen
  }

  #completed(): RowCompletion {
    const spec = this.keySpec
    if (!spec || spec.multiset) {
      throw new FrazilError('unsupported', 'no-key', 'the source left out values of a row of a table that has no key')
    }
    this.#completion ??= new RowCompletion({
      ...this.#parts,
      fields: this.fields,
      incomplete: this.shape.source.incomplete ?? [],
      spec,
      ranges: () => this.#ranges,
      rangeFor: (segment, commit) => {
        this.#appendTo(segment, commit)
        return this.#active
      },
      findCold: (words, keys, visit) => this.#findCold(words, keyWords(spec), keys, visit),
    })
    return this.#completion
  }

  /**
   * From here on rows have other columns. Those in memory are staged as they are, so that no reader meets two shapes in memory; data
   * files are read by field id.
   */
  *#reshape(source: SourceTable, commit: number, work: TableWork): SlicedWork {
    const shape = reshape(this.shape, source)
    yield work.stage(commit)
    assert(this.#ranges.length === 1 && this.#active.rows === 0, 'rows of an older shape are in files')
    const tag = this.tag
    this.#completion?.release()
    this.#completion = null
    this.#foreseen = []
    this.#shapes.add(commit, shape)
    this.#keySpec = keySpecOf(shape.fields, source.key)
    this.#ranges[0].release()
    this.#ranges = [new HotRange(this.keySpec, this.pool)]
    if (this.tag !== tag) yield this.#rebuildRuns(work, tag)
  }

  /** What its key runs are named by; null without a key. */
  get tag(): string | null {
    return this.keySpec && keyTag(this.keySpec, this.fields)
  }

  async #rebuildRuns(work: TableWork, formerTag: string | null): Promise<void> {
    const files = this.#files.filter((file) => file.removedAt === 0)
    // A key that the table had a moment ago: its runs are going to be written where they were.
    this.#strayRuns = this.#strayRuns.filter(({ file, tag }) => tag !== this.tag || !files.includes(file))
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < files.length) {
        const file = files[next++]
        if (file.run) {
          file.run.close()
          this.#strayRuns.push({ file, path: file.run.path, tag: formerTag })
        }
        file.run = null
        try {
          if (this.keySpec) file.run = await work.rebuildRun(file.file)
        } catch (error) {
          next = files.length
          throw error
        }
      }
    }
    const lanes = Array.from({ length: Math.min(parallelRebuilds, files.length) }, lane)
    // Whoever fails, what the others have opened is the table's, which closes it.
    await Promise.allSettled(lanes)
    await Promise.all(lanes)
  }

  #applySlice(change: Exclude<Change, { type: 'truncate' }>, from: number, to: number, commit: number): void {
    switch (change.type) {
      case 'delete':
        this.#killAll(change.keys, from, to, commit, change.mustExist, null, 0)
        return
      case 'insert':
      case 'upsert': {
        // Others may have added a row with the key of one that the source inserts.
        if (change.type === 'insert' && !(this.foreign.added && this.keySpec?.multiset === false)) {
          this.#appendTo(change.segment, commit)
          this.#active.append(change.segment, from, to)
          return
        }
        const mustExist = change.type === 'upsert' && change.mustExist
        this.#appendTo(change.segment, commit)
        this.#active.extend(change.segment, from, to)
        this.#killAll(change.segment, from, to, commit, mustExist, change.segment, from)
        return
      }
      case 'update': {
        this.#appendTo(change.segment, commit)
        this.#active.extend(change.segment, from, to)
        const shift = change.keysFrom - change.from
        this.#killAll(change.keys, from + shift, to + shift, commit, true, change.segment, from)
        return
      }
    }
  }

  /**
   * For rows [from, to) of `keys`: marks the live row with the same key dead. With `replacements`, row `replacementFrom + i` is
   * entered into the index right after key row `from + i` was looked up, because a transaction may change one key many times.
   */
  #killAll(
    keys: Segment,
    from: number,
    to: number,
    commit: number,
    mustExist: boolean,
    replacements: Segment | null,
    replacementFrom: number,
  ): void {
    const spec = this.keySpec
    if (!spec) throw new FrazilError('unsupported', 'no-key', 'the source changed a row of a table that has no key')
    assert(keys.rows >= to, 'key rows are complete')
    const columns = keys === replacements ? this.#keyColumns(keys) : namingColumns(spec, keys)
    const width = keyWords(spec)
    const read = keyReader(spec, columns)
    const words = new Int32Array((to - from) * width)
    const cold = new Int32Array(to - from)
    let coldCount = 0
    const ranges = this.#ranges
    // What the source changes others may have deleted in the lake.
    const isStrict = mustExist && !this.foreign.deleted
    for (let row = from; row < to; row++) {
      const at = (row - from) * width
      read(row, words, at)
      const hash = mixWords(words, at, width)
      let outcome: 'killed' | 'dead' | 'absent' = 'absent'
      for (let i = ranges.length - 1; i >= 0 && outcome === 'absent'; i--) outcome = ranges[i].kill(hash, columns, row, commit)
      if (outcome === 'absent') cold[coldCount++] = row - from
      else if (outcome === 'dead' && isStrict) throw missingRow()
      if (replacements) this.#active.put(replacements, replacementFrom + row - from, replacements === keys ? hash : undefined)
    }
    if (coldCount === 0) return
    const missing = this.#killCold(words, width, cold.subarray(0, coldCount), commit)
    if (missing > 0 && isStrict) throw missingRow()
  }

  /** Marks cold rows dead. `keys`: numbers of keys in `words`. Returns how many were not found. */
  #killCold(words: Int32Array, width: 2 | 4, keys: Int32Array, commit: number): number {
    return this.#findCold(words, width, keys, (_key, file, position) => file.delete(position, commit))
  }

  /** Visits the live cold row of each key that has one; an equal key that comes later sees what the visit did. Returns how many have none. */
  #findCold(
    words: Int32Array,
    width: 2 | 4,
    keys: Int32Array,
    visit: (key: number, file: ColdFile, position: number) => void,
  ): number {
    if (this.#files.length > 0) sortKeys(words, width, keys)
    let left = keys
    for (const file of this.#lookupOrder.of(this.#files, keys.length)) {
      const { run } = file
      if (left.length === 0) break
      if (file.removedAt > 0 || !run || file.deleted === file.rows) continue
      const count = run.findEach(words, left, (key, position) => {
        if (file.isDeleted(position)) return false
        visit(key, file, position)
        return true
      })
      if (count < left.length) this.#lookupOrder.found(file, left.length - count)
      left = left.subarray(0, count)
    }
    return left.length
  }

  #truncate(commit: number): void {
    for (const range of this.#ranges) range.truncate(commit)
    // Rows that are appended from here on must not lie in a range that is gone as a whole.
    if (!this.deletable && this.#active.rows > 0) this.#ranges.push(new HotRange(null, this.pool))
    for (const file of this.#files) if (file.removedAt === 0) file.removedAt = commit
  }

  /** Starts a new range when the active one has no room for a slice of rows; the full one is written when others are. */
  #appendTo(segment: Segment, commit: number): void {
    if (!this.#active.accepts(segment)) this.freeze(commit - 1, commit)
  }

  #keyColumns(segment: Segment): readonly Column[] {
    return this.keySpec ? this.keySpec.columns.map((i) => segment.columns[i]) : []
  }

  get #active(): HotRange {
    return this.#ranges[this.#ranges.length - 1]
  }

  /**
   * Closes the newest range and starts another: rows dead at source commit `commit` (the last applied one) are left out of its
   * file. In the middle of a source commit, that is `since`, with which the file may be committed at the earliest. Null when it
   * has no rows. The caller has the range written and then calls {@link written}.
   */
  freeze(commit: number, since = commit): { range: HotRange; frozen: FrozenRange } | null {
    this.#ranges = this.#ranges.filter((range) => {
      if (range.discardedAt === 0 || range.since > 0) return true
      range.release()
      return false
    })
    if (this.#ranges.length === 0) this.#ranges.push(new HotRange(this.keySpec, this.pool))
    const range = this.#active
    if (range.rows === 0 || range.since > 0) return null
    range.freeze(commit, since)
    this.#ranges.push(new HotRange(this.keySpec, this.pool))
    return { range, frozen: { parts: range.parts, commit } }
  }

  /** Ranges that were frozen and have no file yet, oldest first. */
  get unwritten(): { range: HotRange; frozen: FrozenRange }[] {
    return this.#ranges
      .filter((range) => range.since > 0 && !this.#written.has(range))
      .map((range) => ({ range, frozen: { parts: range.parts, commit: range.frozenAt } }))
  }

  /** Puts written files in the place of their frozen range, when those before it have theirs. Frees the range's memory. */
  written(range: HotRange, written: WrittenFiles): void {
    assert(this.#ranges.includes(range) && range.since > 0, 'a frozen range of this table')
    this.#written.set(range, written)
    for (;;) {
      const [oldest] = this.#ranges
      const ready = this.#written.get(oldest)
      if (!ready) return
      this.#written.delete(oldest)
      this.#publish(oldest, ready)
    }
  }

  #publish(range: HotRange, { files, placement }: WrittenFiles): void {
    this.#ranges.shift()
    const cold = files.map(({ file, runPath }) => {
      const run = runPath && this.keySpec ? KeyRun.open(runPath, keyWords(this.keySpec), file.recordCount, this.pool) : null
      const written = new ColdFile(file, run, { since: range.since })
      written.removedAt = range.discardedAt
      return written
    })
    let isHeld = this.#held?.has(range)
    for (const { commit, positions } of range.racingDeletes()) {
      if (isHeld && this.#held && commit > this.#held.commit) {
        this.#held.written(range, cold)
        isHeld = false
      }
      deletePlaced(cold, placement, positions, commit)
    }
    if (isHeld) this.#held?.written(range, cold)
    this.#files.push(...cold)
    range.release()
  }

  /**
   * Until {@link unhold}, readers see the rows as they are now, at source commit `commit`, whatever {@link apply} has done of the
   * next one.
   */
  hold(commit: number): void {
    this.freeze(commit)
    this.#held = new HeldRows(commit, this.shape, this.keySpec, this.#ranges.slice(0, -1), this.#files)
  }

  /** Readers see the last source commit that was applied. */
  unhold(): void {
    this.#held = null
  }

  /** Whether {@link find} can be asked: not while rows of a multiset, or those with another key, are {@link hold | held}. */
  get canFind(): boolean {
    return this.#held === null || (this.#held.keySpec === this.keySpec && this.key.kind === 'columns')
  }

  /** The shape of the rows that readers see. */
  get readShape(): TableShape {
    return this.#held?.shape ?? this.shape
  }

  /** Rows visible now, that is at source commit `commit`; pinned until released. */
  view(commit: number): TableRows {
    return this.#held?.view() ?? viewOf(commit, this.#ranges, this.#files)
  }

  /** The live row whose key is row `row` of `keys`, columns in key order; null when there is none. */
  find(keys: readonly Column[], row: number): RowPlace | null {
    const spec = this.keySpec
    if (!spec) return null
    if (this.#held) return this.#held.find(spec, keys, row)
    const files = this.#files.filter((file) => file.removedAt === 0).map((file) => ({ file }))
    const isDeleted = ({ file }: { file: ColdFile }, position: number): boolean => file.isDeleted(position)
    return findRow(spec, keys, row, { commit: this.#changedAt, ranges: this.#ranges, files, isDeleted })
  }

  /**
   * What a lake commit at source commit `commit` has to do. All ranges frozen at or before `commit` are written by now; files
   * that were frozen later wait for the next one.
   */
  plan(commit: number): TableCommit {
    assert(!this.#ranges.some(({ since }) => since > 0 && since <= commit), 'a commit has all rows before it')
    return {
      commit,
      ...planFiles(this.#files, commit),
      shape: this.#shapes.toCommit(commit),
      foreign: this.foreign,
      properties: this.#properties.at(commit),
    }
  }

  /** The lake has what {@link plan} said. Returns the key runs that nobody needs any more. */
  settled(plan: TableCommit): string[] {
    const gone = new Set([...plan.removed, ...plan.abandoned])
    const added = new Set(plan.added.map(({ path }) => path))
    const runs = this.#strayRuns.splice(0).map(({ path }) => path)
    this.#files = this.#files.filter((file) => {
      if (gone.has(file.file.path)) {
        if (file.run) {
          file.run.close()
          runs.push(file.run.path)
        }
        return false
      }
      if (file.committed || added.has(file.file.path)) file.settle(plan.commit)
      return true
    })
    if (plan.shape) this.#shapes.settle(plan.shape)
    this.#properties.settle(plan.commit)
    this.#settledAt = Math.max(this.#settledAt, plan.commit)
    return runs
  }

  /** Whether files written by the shape that the lake has can take the place of others. */
  get compactable(): boolean {
    return this.#shapes.isSettled
  }

  /**
   * Puts rewritten files, which a snapshot has now, in the place of those that they were made of. Not while changes are applied.
   * Returns the key runs that nobody needs any more.
   */
  exchange(old: readonly ColdFile[], rewritten: readonly ColdFile[]): string[] {
    const gone = new Set(old)
    const at = this.#files.findIndex((file) => gone.has(file))
    this.#files = this.#files.toSpliced(Math.max(at, 0), 0, ...rewritten)
    return this.#takeOut((file) => gone.has(file)).flatMap(({ run }) => run?.path ?? [])
  }

  /**
   * Takes over as source commit `commit` what others have done to the committed files, see {@link carryOver}; the files that came are
   * its own from here on. As {@link apply}: nobody may look at the table before it has ended.
   */
  *follow(commit: number, change: ForeignChange, work: TableWork): SlicedWork {
    const isAdded = change.came.some(({ rewritten }) => !rewritten)
    this.#files = [
      ...this.#files.filter((file) => file.committed),
      ...change.came.map(({ file }) => file),
      ...this.#files.filter((file) => !file.committed),
    ]
    if (isAdded && this.deletable) yield work.stage(commit)
    yield* carryOver(this.#files, this.#keySpec, change, commit)
    for (const file of this.#takeOut((one) => change.gone.has(one.file.path)))
      if (file.run) this.#strayRuns.push({ file, path: file.run.path, tag: this.tag })
    this.#changedAt = commit
  }

  /** Takes in files with rows of their own, which replace those with the same keys. As {@link apply}: nobody looks before it has ended. */
  *takeIn(commit: number, taken: TakenFiles, work: Pick<TableWork, 'stage'>): SlicedWork {
    if (this.deletable) yield work.stage(commit)
    this.#files = yield* addTaken(this.#files, taken, commit)
    this.#properties.set(commit, taken.properties)
    this.#changedAt = commit
  }

  /** What a property is going to be by files that were {@link takeIn | taken in}; undefined: what it is in the lake. */
  pendingProperty(name: string): string | undefined {
    return this.#properties.newest(name)
  }

  /** Removes files and closes their key runs. */
  #takeOut(isGone: (file: ColdFile) => boolean): ColdFile[] {
    const gone = this.#files.filter(isGone)
    this.#files = this.#files.filter((file) => !gone.includes(file))
    for (const { run } of gone) run?.close()
    this.#completion?.rest()
    return gone
  }

  /** Lets go of all memory and files; the table is not used afterwards. */
  close(): void {
    this.#completion?.release()
    this.#completion = null
    this.#foreseen = []
    for (const range of this.#ranges) range.release()
    for (const file of this.#files) file.run?.close()
    this.#ranges = []
    this.#files = []
  }
}
