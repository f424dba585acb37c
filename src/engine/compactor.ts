import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { FrazilError, asError } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import { encodeJson } from '../format/json/index.ts'
import { schemaToJson } from '../iceberg/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import { locationSegment } from '../storage/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { Compaction, boundedFiles, keySpecOf, keyTag, keyWords, liveBytes, mostSortedRows, outputsFor } from '../table/index.ts'
import type { ColdFile, CompactionOutput, CompactionResult, Compactions, Table, TableShape } from '../table/index.ts'
import { isForeign } from './committer.ts'
import type { Committer } from './committer.ts'
import { DueFiles, byPartition } from './due-files.ts'
import type { Rated } from './due-files.ts'
import type { FileReaper } from './file-reaper.ts'
import type { LakeFollower } from './lake-follower.ts'
import type { Mirror } from './mirror.ts'
import { fullName } from './mirrored-table.ts'
import type { MirroredTable } from './mirrored-table.ts'
import type { CompactionSettings } from './pipeline-contract.ts'
import { runPathOf } from './recovery.ts'

/** How often it is looked whether there is anything to rewrite. */
const checkMs = 1000
/** How long a table is left alone whose files could not be rewritten. */
const pauseMs = 60_000
/** How often a rewrite that something came in between of is begun again on demand. */
const maxAttempts = 5

interface CompactorOptions extends CompactionSettings {
  readonly source: string
  readonly warehouse: string
  readonly local: string
}

interface CompactorParts {
  readonly clock: Clock
  readonly random: Random
  readonly store: ObjectStore
  readonly mirror: Mirror
  readonly committer: Committer
  readonly compactions: Compactions
  readonly reaper: FileReaper
  readonly follower: LakeFollower
  /** Set while a source commit is half applied. */
  readonly applying: () => Promise<void> | null
  readonly emit: (event: EngineEvent) => void
}

interface Wish {
  readonly mirrored: MirroredTable
  resolve(): void
  reject(error: Error): void
}

type LiveTable = MirroredTable & { table: Table }

/**
 * Rewrites data files of a source's tables beside everything else: chosen by the rule ({@link DueFiles}) or on demand. A thread of
 * its own writes them; then the committer makes a snapshot of the same rows, and the table exchanges its files. Deletes that come
 * meanwhile are carried over, so a source commit never waits and a rewrite never loses to one.
 */
export class Compactor {
  readonly #options: CompactorOptions
  readonly #parts: CompactorParts
  readonly #ended = new AbortController()
  /** Rejects when it ends. */
  readonly #end = Promise.withResolvers<never>()
  #wake: (() => void) | null = null
  #wishes: Wish[] = []
  /** Until when tables are left alone. */
  readonly #paused = new Map<Table, number>()
  readonly #dueFiles: DueFiles
  /** For rows that do not fit into memory while they are sorted. */
  readonly #sortFolder: string
  /** The table that had its turn last. */
  #last: Table | null = null

  constructor(options: CompactorOptions, parts: CompactorParts) {
    this.#options = options
    this.#parts = parts
    this.#dueFiles = new DueFiles(options)
    this.#sortFolder = join(options.local, 'spill', `${locationSegment(options.source)}~sorting`)
    rmSync(this.#sortFolder, { recursive: true, force: true })
    this.#end.promise.catch(() => undefined)
  }

  /** Rewrites until {@link end}. Throws what the pipeline cannot go on with. */
  async run(): Promise<void> {
    try {
      while (!this.#ended.signal.aborted) {
        const wish = this.#wishes.shift()
        if (wish) await this.#fulfil(wish)
        else if (!(await this.#compactOne())) await this.#pause()
      }
    } finally {
      for (const wish of this.#wishes.splice(0)) wish.reject(closed())
    }
  }

  /** Ends {@link run}: a rewrite that is under way is given up. */
  end(): void {
    this.#ended.abort()
    this.#end.reject(closed())
    this.#parts.compactions.cancel()
    this.#wake?.()
  }

  /**
   * Rewrites every file that has a deletion vector now, and merges small ones. Resolves after the commit: without writes meanwhile the
   * table has no deletion vector then.
   */
  async optimize(namespace: string, name: string): Promise<void> {
    const tables = [...this.#parts.mirror.tables]
    const mirrored = tables.find(({ source }) => source.namespace === namespace && source.name === name)
    if (!mirrored) throw new FrazilError('request', 'unknown-table', `there is no table ${namespace}.${name}`)
    if (this.#ended.signal.aborted) throw closed()
    await new Promise<void>((resolve, reject) => {
      this.#wishes.push({ mirrored, resolve, reject })
      this.#wake?.()
    })
  }

  async #pause(): Promise<void> {
    const timer = new AbortController()
    const woken = new Promise<void>((resolve) => (this.#wake = resolve))
    await Promise.race([this.#parts.clock.sleep(checkMs, timer.signal), woken])
    timer.abort()
    this.#wake = null
  }

  /** Rewrites some files of the next table that needs it. Returns whether the next one is to be looked for at once. */
  async #compactOne(): Promise<boolean> {
    if (!this.#options.automatic) return false
    const now = this.#parts.clock.monotonic()
    const { live } = this.#parts.mirror
    this.#endPauses(live, now)
    const after = live.findIndex(({ table }) => table === this.#last) + 1
    for (let i = 0; i < live.length; i++) {
      const mirrored = live[(after + i) % live.length]
      const { table } = mirrored
      if (this.#paused.has(table) || !table.compactable) continue
      try {
        const due = this.#dueFiles.find(mirrored, now)
        if (!due) continue
        this.#last = table
        // What was of no use is not tried again at once: files of another program that are being taken over are in the table before the
        // state of the lake that has them, and would be asked for again and again until nothing else could happen.
        return await this.#compact(mirrored, due.files, due.targetBytes)
      } catch (error) {
        if (this.#isFatal(error)) throw error
        this.#paused.set(table, now + pauseMs)
        this.#tell(mirrored, asError(error))
        return true
      }
    }
    return false
  }

  #endPauses(live: readonly LiveTable[], now: number): void {
    if (this.#paused.size === 0) return
    const tables = new Set(live.map(({ table }) => table))
    for (const [table, until] of this.#paused) if (until <= now || !tables.has(table)) this.#paused.delete(table)
  }

  /** Whether the pipeline cannot go on: the lake is not as we know it, or there is a bug. */
  #isFatal(error: unknown): boolean {
    return !(error instanceof FrazilError) || error.kind === 'fenced' || error.kind === 'conflict'
  }

  #tell(mirrored: MirroredTable, error: Error): void {
    if (!(error instanceof FrazilError) || this.#ended.signal.aborted) return
    const { kind, code, message, hint } = error
    const { source } = this.#options
    this.#parts.emit({ type: 'error', kind, code, message, hint: hint ?? null, source, table: fullName(mirrored.source) })
  }

  async #fulfil(wish: Wish): Promise<void> {
    try {
      // Near its end the committer answers only when we have ended.
      await Promise.race([this.#parts.committer.flush(), this.#end.promise])
      await this.#optimize(wish.mirrored)
      wish.resolve()
    } catch (error) {
      wish.reject(asError(error))
      if (this.#isFatal(error) && !(error instanceof FrazilError && error.code === 'closed')) throw error
    }
  }

  async #optimize(mirrored: MirroredTable): Promise<void> {
    const { table } = mirrored
    const live = this.#parts.mirror.live.find((other) => other === mirrored)
    if (!live || !table) {
      const name = fullName(mirrored.source)
      throw new FrazilError('unavailable', 'table-not-ready', `the table ${name} is ${mirrored.health}`, { table: name })
    }
    const { targetBytes } = this.#options
    const isDue = (file: Rated): boolean => file.deleted > 0 || file.unsorted
    let left = byPartition(this.#dueFiles.rated(live).filter((file) => isDue(file) || liveBytes(file) < targetBytes / 2))
      .filter((files) => files.length > 1 || isDue(files[0]))
      .flat()
    for (let attempt = 1; left.length > 0;) {
      const [ofPartition] = byPartition(left)
      const group = new Set(boundedFiles(ofPartition, this.#options).map(({ file }) => file))
      const isDone = await this.#compact(live, [...group], targetBytes)
      attempt = isDone ? 1 : attempt + 1
      if (attempt > maxAttempts) {
        const name = fullName(mirrored.source)
        throw new FrazilError('unavailable', 'table-changing', `the table ${name} was changed while its files were rewritten`, {
          table: name,
          hint: 'Run frazil optimize again.',
        })
      }
      const present = new Set(table.files)
      left = left.filter(({ file }) => present.has(file) && !(isDone && group.has(file)))
    }
  }

  /**
   * Rewrites files of a table as one snapshot, into files of about `targetBytes`. False when the table has changed so much meanwhile that
   * the result is of no use.
   */
  async #compact(mirrored: LiveTable, files: readonly ColdFile[], targetBytes: number): Promise<boolean> {
    const { clock, mirror, store, reaper } = this.#parts
    const { table } = mirrored
    const started = clock.monotonic()
    const { shape } = table
    const known = new Map((await mirrored.iceberg.files()).map((file) => [file.path, file]))
    const sources = files.flatMap((file) => {
      const lineage = known.get(file.file.path)
      return lineage && file.committed && file.removedAt === 0 ? [{ file, lineage }] : []
    })
    if (sources.length === 0 || !table.compactable || mirrored.table !== table) return false
    const compaction = new Compaction(sources)
    const outputs = this.#outputsOf(mirrored, shape, compaction, targetBytes)
    const layout = this.#dueFiles.layoutOf(mirrored)
    const orders = new Set(sources.map(({ file }) => file.file.sortOrderId ?? 0))
    const isSorted = sources.length === 1 && orders.has(layout.sortOrderId)
    const sorts = layout.sort.length > 0 && !isSorted && compaction.liveRows <= mostSortedRows
    const discard = async (): Promise<void> => {
      reaper.local(outputs.flatMap(({ runPath }) => runPath ?? []))
      await store.delete(outputs.map(({ uri }) => uri)).catch(() => undefined)
    }
    const job = {
      warehouse: this.#options.warehouse,
      inputs: compaction.inputs,
      outputs,
      fields: shape.fields,
      schemaJson: encodeJson(schemaToJson({ ...mirrored.iceberg.schema, fields: shape.fields })),
      columns: layout.columns,
      key: keySpecOf(shape.fields, shape.source.key),
      sort: sorts ? { keys: layout.sort, folder: this.#sortFolder } : null,
      bytesPerSecond: this.#options.bytesPerSecond,
    }
    const rewritten = await this.#parts.compactions.compact(job).catch(async (error: unknown) => {
      // A thread that died has left behind what it had written.
      await discard()
      throw error
    })
    const { partition, sortOrderId = 0 } = sources[0].file.file
    // What is not sorted stays in the order of the sources, one after another.
    const order = sorts ? layout.sortOrderId : sources.length === 1 ? sortOrderId : 0
    const written = rewritten.files.map((file) => ({ ...file, ...(partition ? { partition } : {}), sortOrderId: order }))
    const result = { ...rewritten, files: written }
    let isCommitted = false
    try {
      await this.#parts.committer.exclusively(async () => {
        await this.#whole()
        const isSame = mirror.live.includes(mirrored) && mirrored.table === table && table.shape === shape
        if (isSame && !this.#ended.signal.aborted) isCommitted = await this.#commit(mirrored, compaction, outputs, result)
      })
    } catch (error) {
      if (isRefusal(error)) await discard()
      throw error
    }
    if (!isCommitted) {
      await discard()
      return false
    }
    const sizeOf = (list: readonly DataFile[]): number => list.reduce((sum, { fileSize }) => sum + fileSize, 0)
    this.#parts.emit({
      type: 'compacted',
      source: this.#options.source,
      table: fullName(mirrored.source),
      filesIn: sources.length,
      filesOut: written.length,
      bytesIn: sizeOf(sources.map(({ file }) => file.file)),
      bytesOut: sizeOf(written),
      rows: compaction.liveRows,
      ms: clock.monotonic() - started,
    })
    return true
  }

  /** Resolves when no source commit is half applied; what follows in the same turn sees whole tables. */
  async #whole(): Promise<void> {
    for (let applying = this.#parts.applying(); applying; applying = this.#parts.applying()) await applying
  }

  #outputsOf(
    { iceberg }: MirroredTable,
    { source, fields }: TableShape,
    compaction: Compaction,
    targetBytes: number,
  ): CompactionOutput[] {
    const { local } = this.#options
    const rows = compaction.liveRows
    const count = Math.min(rows, outputsFor(compaction.liveBytes, targetBytes))
    const key = keySpecOf(fields, source.key)
    return Array.from({ length: count }, (_, i) => {
      const uri = `${iceberg.location}/data/${this.#parts.random.uuid()}.parquet`
      return {
        uri,
        runPath: key ? runPathOf(local, iceberg.uuid, uri, keyTag(key, fields)) : null,
        rows: Math.floor((rows * (i + 1)) / count) - Math.floor((rows * i) / count),
      }
    })
  }

  /** Brings a rewrite into the lake and then into the table. Within the committer's turn. False when it is of no use any more. */
  async #commit(
    mirrored: LiveTable,
    compaction: Compaction,
    outputs: readonly CompactionOutput[],
    written: CompactionResult,
    attempt = 1,
  ): Promise<boolean> {
    const { table } = mirrored
    const { committer, follower, reaper, store } = this.#parts
    const { shape, tag } = table
    const base = mirrored.iceberg
    const present = new Set(table.files.filter((file) => compaction.files.includes(file)))
    const plan = compaction.plan(outputs, written, present)
    // All rows are dead, or are going to be: the files go by themselves.
    if (plan.added.length === 0 || [...present].some(({ removedAt }) => removedAt > 0)) return false
    try {
      await committer.commitRewrite(mirrored, plan)
    } catch (error) {
      if (!isForeign(error)) throw error
      // Another program was faster; or this commit was, and its answer was lost.
      await committer.insist(() => follower.follow(mirrored))
      const paths = new Set(written.files.map(({ path }) => path))
      if (mirrored.table !== table || table.files.some(({ file }) => paths.has(file.path))) return true
      await this.#whole()
      const isSame = mirrored.table === table && table.shape === shape
      return isSame && attempt < maxAttempts ? this.#commit(mirrored, compaction, outputs, written, attempt + 1) : false
    }
    await store.delete(plan.abandoned).catch(() => undefined)
    await this.#whole()
    // The table has ended meanwhile: it is read from the lake again.
    if (mirrored.table !== table) return true
    if (table.tag !== tag) {
      // The key was changed meanwhile: the files are taken over like those of somebody else, with key runs by the new one.
      await committer.insist(() => follower.follow(mirrored, base))
      return true
    }
    const gone = table.exchange(compaction.files, compaction.results(table.keySpec && keyWords(table.keySpec), table.pool))
    const dropped = new Set(plan.abandoned)
    reaper.local([...gone, ...outputs.flatMap(({ uri, runPath }) => (dropped.has(uri) ? (runPath ?? []) : []))])
    return true
  }
}

function closed(): FrazilError {
  return new FrazilError('unavailable', 'closed', 'the engine is closing')
}

/** Whether an error says that a commit has certainly not landed. Otherwise its files may be in use. */
function isRefusal(error: unknown): boolean {
  return error instanceof FrazilError && ['config', 'unsupported', 'corrupt'].includes(error.kind)
}
