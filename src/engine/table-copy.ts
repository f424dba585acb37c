import { assert } from '../base/index.ts'
import type { CopiedPart, Position, Segment, SourceTable } from '../data/index.ts'
import { CopyFiles } from './copy-files.ts'
import type { OpenFile, StagedFile } from './copy-files.ts'
import type { CopyJournal, StagedPart } from './copy-journal.ts'

/** Segments of which rows are held back for a fuller file: one for each connection that a source may copy by. */
const maxOpenRuns = 16

/** Consecutive rows of a segment that came but were not handed to a worker; pinned. */
interface Run {
  readonly segment: Segment
  readonly from: number
  to: number
  readonly files: CopyFiles
}

/** Files of one moment of the source. */
export interface CopiedFiles {
  /** Null: of the last moment. */
  readonly floor: Position | null
  readonly files: readonly StagedFile[]
}

/**
 * An initial copy on its way to staged files. Rows go straight from the source's segments (several at a time) to a file worker;
 * nothing is indexed or visible before the copy is complete. A copy in parts has files of its own for each part; those that are complete
 * outlive an interruption.
 */
export class TableCopy {
  readonly source: SourceTable
  /** About how many rows there will be; null where nobody knows. */
  readonly estimatedRows: number | null
  /** By the monotonic clock, in milliseconds. */
  readonly startedAt: number
  readonly #openFile: OpenFile
  readonly #journal: CopyJournal | null
  readonly #runs = new Map<Segment, Run>()
  /** Of rows of no part. */
  #rest: CopyFiles
  /** By number: parts on their way. */
  readonly #open = new Map<number, CopyFiles>()
  readonly #complete = new Map<number, { readonly floor: Position; readonly files: Promise<readonly StagedFile[]> }>()
  #completeRows = 0
  #completeBytes = 0
  #failure: Error | null = null
  /** Rows that came since the copy began, or went on. */
  taken = 0

  constructor(
    source: SourceTable,
    about: { readonly estimatedRows: number | null; readonly startedAt: number },
    openFile: OpenFile,
    parts: { readonly journal: CopyJournal; readonly complete: readonly StagedPart[] } | null,
  ) {
    this.source = source
    this.estimatedRows = about.estimatedRows
    this.startedAt = about.startedAt
    this.#openFile = openFile
    this.#journal = parts?.journal ?? null
    this.#rest = new CopyFiles(openFile)
    for (const { part, floor, rows, files } of parts?.complete ?? []) {
      this.#complete.set(part, { floor, files: Promise.resolve(files.map((file) => ({ file, runPath: null }))) })
      this.#completeRows += rows
      this.#completeBytes += files.reduce((sum, { fileSize }) => sum + fileSize, 0)
    }
  }

  /** Rows so far, those of complete parts included. */
  get rows(): number {
    return [this.#rest, ...this.#open.values()].reduce((sum, { rows }) => sum + rows, this.#completeRows)
  }

  /** Bytes of data files so far. */
  get bytes(): number {
    return [this.#rest, ...this.#open.values()].reduce((sum, { bytes }) => sum + bytes, this.#completeBytes)
  }

  /** Where the complete parts are as of, each once; the whole is never as of an earlier position than the last. */
  get floors(): readonly Position[] {
    return [...new Set([...this.#complete.values()].map(({ floor }) => floor))]
  }

  /** Whether it may go on after an interruption. */
  get isInParts(): boolean {
    return this.#journal !== null
  }

  /** Takes rows [from, to) of a segment, of a part or of none. */
  add(segment: Segment, from: number, to: number, part?: number): void {
    const files = part === undefined ? this.#rest : this.#filesOf(part)
    this.#failure ??= files.failure
    if (this.#failure) throw this.#failure
    this.taken += to - from
    files.rows += to - from
    const run = this.#runs.get(segment)
    if (run && run.to === from && run.files === files) {
      run.to = to
    } else {
      if (run) this.#handOver(run)
      // Whoever has gone on to another segment does not come back to one that he filled.
      for (const other of this.#runs.values()) if (other.segment.sealed || this.#runs.size >= maxOpenRuns) this.#handOver(other)
      segment.pin()
      this.#runs.set(segment, { segment, from, to, files })
    }
    if (to === segment.capacity) this.#handOver(this.#runs.get(segment))
  }

  /** All rows of a part came. It is remembered as soon as its files are durable. */
  complete(part: CopiedPart, rows: number): void {
    const files = this.#filesOf(part.part)
    assert(files.rows === rows, `part ${part.part} of the copy of ${this.source.sourceName} has all its rows`)
    this.#open.delete(part.part)
    this.#completeRows += rows
    for (const run of this.#runs.values()) if (run.files === files) this.#handOver(run)
    const staged = this.#remember(part, rows, files)
    // Whoever finishes the copy is told; it may be given up before.
    staged.catch(() => undefined)
    this.#complete.set(part.part, { floor: part.floor, files: staged })
  }

  async #remember(part: CopiedPart, rows: number, files: CopyFiles): Promise<readonly StagedFile[]> {
    let staged: readonly StagedFile[]
    try {
      staged = await files.finish()
    } catch (error) {
      this.#failure ??= files.failure
      throw error
    }
    this.#completeBytes += files.bytes
    // Not remembered: an interruption has it copied again, no more.
    await this.#journal?.add({ ...part, rows, files: staged.map(({ file }) => file) }).catch(() => undefined)
    return staged
  }

  /** Goes on after an interruption: what is of no complete part comes again. */
  async resume(): Promise<void> {
    this.handOver()
    const left = [this.#rest, ...this.#open.values()]
    this.#rest = new CopyFiles(this.#openFile)
    this.#open.clear()
    this.taken = 0
    for (const files of left) await files.abort()
  }

  /** Sends what came to a file worker, so that its memory can be freed. */
  handOver(): void {
    for (const run of this.#runs.values()) this.#handOver(run)
  }

  #handOver(run: Run | undefined): void {
    if (!run) return
    const { segment, from, to, files } = run
    this.#runs.delete(segment)
    segment.seal()
    files.append(segment, from, to)
  }

  #filesOf(part: number): CopyFiles {
    assert(!this.#complete.has(part), 'a part is copied once')
    let files = this.#open.get(part)
    if (!files) this.#open.set(part, (files = new CopyFiles(this.#openFile)))
    return files
  }

  /** Resolves with the staged files when every row that came is in one; earlier moments may come in any order. */
  async finish(): Promise<readonly CopiedFiles[]> {
    this.handOver()
    assert(this.#open.size === 0, 'all parts are complete')
    const copied: CopiedFiles[] = []
    for (const { floor, files } of this.#complete.values()) copied.push({ floor, files: await files })
    copied.push({ floor: null, files: await this.#rest.finish() })
    return copied
  }

  /** Throws away what was not finished. */
  async abort(): Promise<void> {
    this.#failure ??= new Error('the copy was given up')
    await this.resume()
    await Promise.allSettled([...this.#complete.values()].map(({ files }) => files))
  }
}
