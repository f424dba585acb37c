import { FrazilError, asError, assert } from '../base/index.ts'
import type { Clock, Random, SlabPool } from '../base/index.ts'
import type { Position } from '../data/index.ts'
import type { Retention } from '../iceberg/index.ts'
import type { HistoryOptions } from './pipeline-contract.ts'
import type { Catalog, StateChange } from '../iceberg/catalog/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { Source } from '../source/index.ts'
import type { IcebergTable } from '../iceberg/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type { FrozenRange, HotRange, Table, TableCommit } from '../table/index.ts'
import { filesOfDropped } from './dropped-files.ts'
import type { FileReaper } from './file-reaper.ts'
import { commitToLake, prepareLakeCommit, swap } from './lake-commit.ts'
import type { CommitEntry, LakeCommit, LakeCommitRequest } from './lake-commit.ts'
import type { LakeFollower } from './lake-follower.ts'
import type { Mirror } from './mirror.ts'
import { fullName } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import { Sweeper } from './sweeper.ts'
import { StateKeeper } from './state-keeper.ts'
import type { SourceRecord } from './state-record.ts'
import type { WriterMark } from './writer-mark.ts'
import type { Visibility } from './visibility.ts'

/** A position without changes is written to the lake at most this often. */
const idlePositionMs = 10_000
/** Waits between attempts to commit while the lake cannot be written; doubled each time, without end. */
const firstRetryMs = 500
const longestRetryMs = 30_000
/** Snapshots kept on main, whatever their age. */
const maxSnapshots = 600
/** How often in a row a commit gives way to those of others. */
const maxFollowed = 10

export interface CommitterOptions {
  readonly source: string
  readonly sourceType: string
  /** Of the files that this process writes. */
  readonly mark: WriterMark
  /** Longest time between a change and its commit. */
  readonly everyMs: number
  readonly history: HistoryOptions
}

export interface CommitterParts {
  readonly clock: Clock
  readonly random: Random
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly source: Source
  readonly mirror: Mirror
  readonly visible: Visibility
  readonly pool: SlabPool
  readonly reaper: FileReaper
  readonly follower: LakeFollower
  /** Set while a source commit is half applied: nobody may plan before it has resolved. */
  readonly applying: () => Promise<void> | null
  readonly emit: (event: EngineEvent) => void
}

interface FlushWaiter {
  resolve(position: Position | null): void
  reject(error: Error): void
}

/**
 * Brings what is visible into the lake: freeze → data files → one catalog transaction with the source's position → acknowledge.
 * All live tables of the source freeze at the same source commit. It alone writes the source's state record.
 */
export class Committer {
  readonly #options: CommitterOptions
  readonly #parts: CommitterParts
  #trouble: string | null = null
  readonly #sweeper: Sweeper
  readonly #retention: Retention
  readonly #state: StateKeeper
  /** Whatever writes the record takes turns. */
  #turns: Promise<void> = Promise.resolve()
  #wake: (() => void) | null = null
  #wanted = false
  #failure: Error | null = null
  readonly #ended = new AbortController()
  #waiters: FlushWaiter[] = []
  #staging: Promise<number> | null = null
  /** Frozen ranges that file workers are writing. */
  readonly #writing = new Map<HotRange, Promise<void>>()
  #commits = 0
  #lastCommitAt = 0

  constructor(options: CommitterOptions, parts: CommitterParts) {
    this.#options = options
    this.#parts = parts
    const { source, mark, history } = options
    this.#retention = { maxSnapshots, maxAgeMs: history.snapshots, hourly: history.hourly, daily: history.daily }
    this.#sweeper = new Sweeper({ ...parts, source, mark, tables: () => [...parts.mirror.tables], ending: this.#ended.signal })
    this.#state = new StateKeeper(source, options.sourceType, parts)
  }

  /** Why the lake does not take what it is given, while it is tried again; null: it does. */
  get trouble(): string | null {
    return this.#trouble
  }

  /** The state record as it is in the lake. */
  get record(): SourceRecord {
    return this.#state.record
  }

  /** Reads the state record. Returns whether the lake knows the source. */
  async recover(): Promise<boolean> {
    await this.#parts.reaper.recover()
    return this.#state.recover()
  }

  /**
   * Commits at intervals and on demand until {@link end}. While the lake cannot be written it tries again for as long as it
   * takes; any other error ends it.
   */
  async run(): Promise<void> {
    const { clock, reaper } = this.#parts
    let attempt = 0
    while (!this.#ended.signal.aborted) {
      if (!this.#wanted && this.#waiters.length === 0) {
        const timer = new AbortController()
        const woken = new Promise<void>((resolve) => (this.#wake = resolve))
        await Promise.race([clock.sleep(this.#options.everyMs, timer.signal), woken])
        timer.abort()
        this.#wake = null
      }
      if (this.#ended.signal.aborted) break
      try {
        await this.#commitOnce()
        attempt = 0
        this.#trouble = null
      } catch (error) {
        // A full disk, a store or a catalog that does not answer: what is in memory stays, and the source is held back by it.
        if (!(error instanceof FrazilError) || error.kind !== 'unavailable') throw error
        attempt++
        await this.#waitToRetry(attempt, error)
        // That was wait enough: not for the next interval as well.
        this.#wanted = true
      }
      await reaper.reap()
      this.#sweeper.begin()
    }
  }

  /** A commit is due before its time. */
  want(): void {
    this.#wanted = true
    this.#wake?.()
  }

  /** Resolves when what is visible now is in the lake, with the position that it has then. */
  flush(): Promise<Position | null> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      this.#wake?.()
    })
  }

  /** Ends {@link run} after the commit that is under way. */
  end(): void {
    this.#ended.abort()
    this.#wake?.()
  }

  /** The last commit, after {@link run} has ended. */
  async finish(): Promise<void> {
    await this.#staging
    await this.#commitOnce()
    await this.#sweeper.end()
  }

  /** Nothing will be committed any more, not even what is planned already: the tables cannot be trusted. */
  fail(error: Error): void {
    this.#failure ??= error
    this.end()
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error)
  }

  /**
   * Remembers that a table is being copied to `location`, so that a later start can remove what a crash leaves there, or go on with
   * it: the first copies of a source are then as of positions that only its memo leads to, which says what it has at the server, too.
   */
  async rememberCopy(location: string): Promise<void> {
    await this.exclusively(async () => {
      const { position, memo, copying } = this.record
      if (copying.includes(location)) return
      const record = {
        ...this.record,
        copying: [...copying, location],
        memo: position === null ? this.#parts.source.memo(null) : memo,
      }
      await this.#state.land(record, { commit: (states) => swap(this.#parts, [], states) })
    })
  }

  /** Remembers which tables were asked to be copied again, so that a later start goes on with it. */
  async rememberAgain(): Promise<void> {
    const { mirror } = this.#parts
    await this.exclusively(() => {
      const names = new Set(mirror.detached.map(fullName))
      // Copied by now, and detached in the record until the next lake commit has them.
      const copied = this.record.detached.filter((table) => !table.pushed && !names.has(fullName(table)))
      const again = [...new Set([...mirror.arrivals.again, ...copied.map(fullName)])]
      return this.#state.land({ ...this.record, again }, { commit: (states) => swap(this.#parts, [], states) })
    })
  }

  /** Whether a commit is under way. */
  get busy(): boolean {
    return this.#commits > 0
  }

  /**
   * Writes all applied rows to staged files, to make room, also those of a source commit that is half applied; the lake is not
   * touched. Returns how many tables had any.
   */
  stage(): Promise<number> {
    this.#staging ??= (async () => {
      // Not in the middle of whatever asked for it.
      await Promise.resolve()
      if (this.#failure) return 0
      const { commit } = this.#parts.visible
      const since = this.#parts.applying() ? commit + 1 : commit
      const staged = await Promise.all([...this.#parts.mirror.tables].map((mirrored) => this.#freeze(mirrored, commit, since)))
      return staged.filter(Boolean).length
    })().finally(() => {
      this.#staging = null
    })
    return this.#staging
  }

  /**
   * Writes a table's rows to staged files in the middle of source commit `commit`, for as long as it takes. Rejects with what time
   * cannot heal, and with code `closed` when the pipeline ends.
   */
  async stageOne(mirrored: MirroredTable, commit: number): Promise<void> {
    // Frozen once: when it comes to another attempt, rows of later source commits may have been added.
    mirrored.table?.freeze(commit - 1, commit)
    await this.insist(() => this.#writeFrozen(mirrored))
  }

  /** Does what a source commit cannot go on without, again and again while the lake does not answer. */
  async insist<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        const done = await work()
        this.#trouble = null
        return done
      } catch (error) {
        if (!(error instanceof FrazilError) || error.kind !== 'unavailable') throw error
        if (this.#ended.signal.aborted) throw new FrazilError('unavailable', 'closed', 'the engine is closing', { cause: error })
        await this.#waitToRetry(attempt, error)
      }
    }
  }

  async #waitToRetry(attempt: number, { code, message }: FrazilError): Promise<void> {
    const delayMs = Math.min(firstRetryMs * 2 ** (attempt - 1), longestRetryMs)
    this.#trouble = message
    this.#parts.emit({ type: 'retry', what: 'lake', source: this.record.source, attempt, delayMs, code, message })
    await this.#parts.clock.sleep(delayMs, this.#ended.signal)
  }

  async #commitOnce(): Promise<void> {
    this.#wanted = false
    const waiters = this.#waiters.splice(0)
    this.#commits++
    try {
      await this.exclusively(async () => {
        await this.#commitFollowing(waiters.length > 0 || this.#ended.signal.aborted)
      })
      for (const waiter of waiters) waiter.resolve(this.record.position)
    } catch (error) {
      for (const waiter of waiters) waiter.reject(asError(error))
      throw error
    } finally {
      this.#commits--
    }
  }

  /** Commits on top of what others have committed. */
  async #commitFollowing(demanded: boolean): Promise<void> {
    const { follower } = this.#parts
    await follower.look(demanded)
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#commit(demanded)
        return
      } catch (error) {
        if (!isForeign(error)) throw error
        if (attempt === maxFollowed) {
          const message = 'others commit to a table faster than its changes can be carried over'
          throw new FrazilError('unavailable', 'table-changing', message, { cause: error })
        }
        await follower.look(true)
      }
    }
  }

  async #commit(demanded: boolean): Promise<void> {
    const { clock, mirror, visible, catalog } = this.#parts
    // No `await` between here and the freezes: the next source commit may begin in any gap.
    for (let applying = this.#parts.applying(); applying; applying = this.#parts.applying()) await applying
    if (this.#failure) throw this.#failure
    const { commit, position } = visible
    if (position === null) return
    const started = clock.monotonic()
    const { live } = mirror
    const fresh = live.filter(({ iceberg }) => iceberg.metadataLocation === null)
    const dirty = live.filter(({ table }) => table.dirty)
    // Before the first table is in the lake, its position is that of the copies which could go on.
    if (this.record.position === null && dirty.length + fresh.length === 0 && mirror.arrivals.canResume) return
    const known = new Set(this.record.detached.map(({ id }) => id))
    const same =
      mirror.detached.length === known.size &&
      mirror.detached.every(({ id }) => known.has(id)) &&
      mirror.arrivals.again.size === (this.record.again ?? []).length
    const overdue = new Set(live.filter(({ iceberg }) => iceberg.metadataLocation !== null && iceberg.isOverdue(this.#retention)))
    if (dirty.length === 0 && fresh.length === 0 && overdue.size === 0 && same) {
      const recent = !demanded && clock.monotonic() - this.#lastCommitAt < idlePositionMs
      if (position === this.record.position || recent) return
    }
    await Promise.all(dirty.map((mirrored) => this.#freeze(mirrored, commit, commit)))
    for (const { source } of fresh) await catalog.createNamespace(source.namespace)
    const entries: { mirrored: MirroredTable; plan: TableCommit; iceberg: MirroredTable['iceberg'] }[] = []
    for (const mirrored of new Set([...dirty, ...fresh, ...overdue])) {
      const { table, iceberg } = mirrored
      // Detached while its rows were being written: it stays as it is in the lake.
      if (mirrored.health !== 'streaming') continue
      const plan = table.plan(commit)
      const empty = plan.added.length === 0 && plan.removed.length === 0 && plan.vectors.length === 0 && plan.shape === null
      if (empty && iceberg.metadataLocation !== null && !overdue.has(mirrored)) this.#settle(mirrored, plan)
      else entries.push({ mirrored, plan, iceberg })
    }
    const inCommit = new Set(entries.map(({ mirrored }) => mirrored))
    const record: SourceRecord = {
      ...this.record,
      position,
      memo: this.#parts.source.memo(position),
      lastMemo: null,
      tables: mirror.live
        .filter((mirrored) => mirrored.iceberg.metadataLocation !== null || inCommit.has(mirrored))
        .map(({ table, floor }) => ({ table: table.shapeAt(commit).source, floor: floor ?? position })),
      detached: mirror.detached,
      // Whatever is in no snapshot with this commit: still copied, waiting for its floor, or joined a moment ago.
      copying: mirror.unfinished(inCommit),
      again: [...mirror.arrivals.again],
    }
    const lake = await prepareLakeCommit(this.#parts, this.#request(entries, position))
    await this.#state.land(record, {
      ...lake,
      landed: async () => {
        lake.landed()
        await this.#landed(entries, position, lake, started)
      },
    })
  }

  #request(entries: readonly CommitEntry[], to: Position): LakeCommitRequest {
    return {
      source: this.#options.source,
      epoch: this.#options.mark.epoch,
      entries,
      from: this.record.position,
      to,
      timeMs: this.#parts.clock.now(),
      retention: this.#retention,
    }
  }

  /** The lake has tables as of `position`. */
  async #landed(
    entries: readonly { readonly mirrored: MirroredTable; readonly plan: TableCommit }[],
    position: Position,
    { tables, objects }: LakeCommit,
    started: number,
  ): Promise<void> {
    const { clock } = this.#parts
    let files = 0
    let rows = 0
    let deletes = 0
    for (const [i, { mirrored, plan }] of entries.entries()) {
      mirrored.iceberg = tables[i]
      mirrored.committed = position
      mirrored.copiedTo = null
      await mirrored.journal?.end().catch(() => undefined)
      mirrored.journal = null
      files += plan.added.length
      rows += plan.added.reduce((sum, file) => sum + file.recordCount, 0)
      deletes += plan.vectors.reduce((sum, vector) => sum + vector.cardinality, 0)
      this.#settle(mirrored, plan)
    }
    this.#parts.source.acknowledge(position)
    this.#lastCommitAt = clock.monotonic()
    this.#parts.emit({
      type: 'committed',
      source: this.#options.source,
      position,
      tables: entries.length,
      files,
      rows,
      deletes,
      objects: objects + files,
      ms: clock.monotonic() - started,
    })
  }

  /**
   * Puts files with the same rows in the place of others, as of the last lake commit. Only within {@link exclusively}. Throws `conflict`
   * when the lake is not as it was left.
   */
  async commitRewrite(mirrored: MirroredTable, plan: TableCommit): Promise<void> {
    const { position } = this.record
    assert(position !== null, 'what is rewritten is in the lake')
    const request = { ...this.#request([{ iceberg: mirrored.iceberg, plan }], position), rewrite: true }
    const { tables } = await commitToLake(this.#parts, request, (work) =>
      this.insist(async () => {
        if (this.#failure) throw this.#failure
        return work()
      }),
    )
    mirrored.iceberg = tables[0]
  }

  #settle(mirrored: MirroredTable, plan: TableCommit): void {
    if (!mirrored.table) return
    const { reaper } = this.#parts
    reaper.local(mirrored.table.settled(plan))
    reaper.later(plan.abandoned)
  }

  /**
   * Takes a table out of the catalog and the state record, and changes other records with it, within {@link exclusively}; its files go after
   * the readers' grace, see {@link filesOfDropped}. Of one that another program has taken out of the catalog they stay: it may have
   * been renamed.
   */
  async removeTable(ids: ReadonlySet<string>, iceberg: IcebergTable, others: readonly StateChange[] = []): Promise<void> {
    const { catalog, reaper } = this.#parts
    const { namespace, name, metadataLocation } = iceberg
    const isGone = metadataLocation !== null && (await catalog.load(iceberg)) === null
    const without = <T extends { readonly id: string }>(tables: readonly T[]): T[] => tables.filter((table) => !ids.has(table.id))
    const record = {
      ...this.record,
      tables: this.record.tables.filter(({ table }) => !ids.has(table.id)),
      detached: without(this.record.detached),
    }
    const isStored = metadataLocation !== null && !isGone
    const tables = isStored ? [{ namespace, name, base: metadataLocation, next: null }] : []
    await this.#state.land(record, { commit: (states) => catalog.commit({ tables, states: [...states, ...others] }) })
    if (!isGone) reaper.later(await filesOfDropped(this.#parts, iceberg))
  }

  /** Runs `work` while no commit is under way and none is in doubt. Throws `unavailable` while nobody can tell. */
  async exclusively(work: () => Promise<void>): Promise<void> {
    const run = this.#turns.then(() => this.#state.settle()).then(work)
    this.#turns = run.catch(() => undefined)
    await run
  }

  /** Writes a table's hot rows to staged files (see `Table.freeze`) and puts those in their place, see {@link #writeFrozen}. */
  #freeze(mirrored: MirroredTable, commit: number, since: number): Promise<boolean> {
    mirrored.table?.freeze(commit, since)
    return this.#writeFrozen(mirrored)
  }

  /**
   * Resolves when nothing frozen is without a file, also what somebody else is writing or an earlier attempt could not write. Returns
   * whether there was anything.
   */
  async #writeFrozen(mirrored: MirroredTable): Promise<boolean> {
    const { table } = mirrored
    if (!table) return false
    const { unwritten } = table
    await Promise.all(
      unwritten.map(({ range, frozen }) => {
        let writing = this.#writing.get(range)
        if (!writing) {
          writing = this.#write(mirrored, table, range, frozen).finally(() => this.#writing.delete(range))
          this.#writing.set(range, writing)
        }
        return writing
      }),
    )
    return unwritten.length > 0
  }

  async #write(mirrored: MirroredTable, table: Table, range: HotRange, frozen: FrozenRange): Promise<void> {
    const { source, iceberg } = mirrored
    const { clock, mirror } = this.#parts
    const started = clock.monotonic()
    const writer = mirror.openFile(iceberg, table.shape, { atOnce: true })
    const parts = frozen.parts.map(({ segment, from, to }) => ({ segment: segment.share(), from, to }))
    // The table may be closed meanwhile; the worker reads on.
    for (const { segment } of frozen.parts) segment.pin()
    let written
    try {
      await writer.append(parts, frozen.commit)
      written = await writer.finish()
    } catch (error) {
      await writer.abort().catch(() => undefined)
      throw error
    } finally {
      for (const { segment } of frozen.parts) segment.unpin()
    }
    // Detached meanwhile: the files are orphans, and their rows were given up.
    if (mirrored.table !== table) return
    table.written(range, written)
    if (written.files.length === 0) return
    this.#parts.emit({
      type: 'staged',
      source: this.#options.source,
      table: fullName(source),
      rows: written.files.reduce((sum, { file }) => sum + file.recordCount, 0),
      bytes: written.files.reduce((sum, { file }) => sum + file.fileSize, 0),
      ms: clock.monotonic() - started,
    })
  }
}

/** Whether a commit has failed because another program has committed to a table. */
export function isForeign(error: unknown): boolean {
  return error instanceof FrazilError && error.kind === 'conflict' && error.code === 'table-changed'
}
