import type { Segment, SourceTable } from '../data/index.ts'
import type { FileWriter, WrittenFile } from '../table/index.ts'

/** A copied file is closed at either bound; both keep the key run that is sorted in memory small. */
const maxFileRows = 2 << 20
const maxFileBytes = 256 << 20
/** Segments of which rows are held back for a fuller part: one for each connection that a source may copy by. */
const maxOpenParts = 16

interface Part {
  readonly segment: Segment
  readonly from: number
  to: number
}

/**
 * An initial copy on its way to staged files. Rows go straight from the source's segments (several at a time) to a file worker;
 * nothing is indexed or visible before the copy is complete.
 */
export class TableCopy {
  readonly source: SourceTable
  /** About how many rows there will be; null where nobody knows. */
  readonly estimatedRows: number | null
  /** By the monotonic clock, in milliseconds. */
  readonly startedAt: number
  readonly #openFile: () => FileWriter
  #current: { writer: FileWriter; rows: number; bytes: number } | null = null
  /** Rows that came but were not handed to a worker: consecutive rows of a segment, pinned. */
  readonly #parts = new Map<Segment, Part>()
  #work: Promise<void> = Promise.resolve()
  #failed: Error | null = null
  readonly #files: WrittenFile[] = []
  #closedBytes = 0
  rows = 0

  constructor(
    source: SourceTable,
    about: { readonly estimatedRows: number | null; readonly startedAt: number },
    openFile: () => FileWriter,
  ) {
    this.source = source
    this.estimatedRows = about.estimatedRows
    this.startedAt = about.startedAt
    this.#openFile = openFile
  }

  /** Bytes of data files so far. */
  get bytes(): number {
    return this.#closedBytes + (this.#current?.bytes ?? 0)
  }

  /** Takes rows [from, to) of a segment. */
  add(segment: Segment, from: number, to: number): void {
    if (this.#failed) throw this.#failed
    this.rows += to - from
    const part = this.#parts.get(segment)
    if (part && part.to === from) {
      part.to = to
    } else {
      if (part) this.#handOver(part)
      // Whoever has gone on to another segment does not come back to one that he filled.
      for (const other of this.#parts.values()) {
        if (other.segment.sealed || this.#parts.size >= maxOpenParts) this.#handOver(other)
      }
      segment.pin()
      this.#parts.set(segment, { segment, from, to })
    }
    if (to === segment.capacity) this.#handOver(this.#parts.get(segment))
  }

  /** Sends what came to a file worker, so that its memory can be freed. */
  handOver(): void {
    for (const part of this.#parts.values()) this.#handOver(part)
  }

  #handOver(part: Part | undefined): void {
    if (!part) return
    this.#parts.delete(part.segment)
    part.segment.seal()
    this.#work = this.#work
      .then(async () => {
        if (this.#failed) return
        const current = this.#current ?? { writer: this.#openFile(), rows: 0, bytes: 0 }
        this.#current = current
        const { rows, bytes } = await current.writer.append([{ segment: part.segment.share(), from: part.from, to: part.to }], 0)
        current.rows = rows
        current.bytes = bytes
        if (rows >= maxFileRows || bytes >= maxFileBytes) await this.#closeFile()
      })
      .catch((error: unknown) => {
        this.#failed ??= error instanceof Error ? error : new Error(String(error))
      })
      .finally(() => part.segment.unpin())
  }

  /** Resolves with the staged files when every row that came is in one. */
  async finish(): Promise<readonly WrittenFile[]> {
    this.handOver()
    await this.#work
    if (!this.#failed) await this.#closeFile()
    if (this.#failed) throw this.#failed
    return this.#files
  }

  /** Throws away what was not finished. */
  async abort(): Promise<void> {
    this.#failed ??= new Error('the copy was given up')
    this.handOver()
    await this.#work
    await this.#current?.writer.abort()
  }

  async #closeFile(): Promise<void> {
    const current = this.#current
    this.#current = null
    if (!current) return
    this.#closedBytes += current.bytes
    const { files } = await current.writer.finish()
    this.#files.push(...files)
  }
}
