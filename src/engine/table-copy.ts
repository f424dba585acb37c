import type { Segment, SourceTable } from '../data/index.ts'
import type { DataFile, IcebergTable } from '../iceberg/index.ts'
import type { FileWriter } from '../table/index.ts'

/** A copied file is closed at either bound; both keep the key run that is sorted in memory small. */
const maxFileRows = 2 << 20
const maxFileBytes = 256 << 20

export interface CopiedFile {
  readonly file: DataFile
  readonly runPath: string | null
}

/**
 * An initial copy on its way to staged files. Rows go straight from the source's segments to a file worker; nothing is indexed
 * or visible before the copy is complete.
 */
export class TableCopy {
  readonly source: SourceTable
  readonly iceberg: IcebergTable
  readonly #openFile: () => { writer: FileWriter; runPath: string | null }
  #current: { writer: FileWriter; runPath: string | null; rows: number; bytes: number } | null = null
  /** Rows that came but were not handed to a worker: consecutive rows of one segment, pinned. */
  #part: { segment: Segment; from: number; to: number } | null = null
  #work: Promise<void> = Promise.resolve()
  #failed: Error | null = null
  readonly #files: CopiedFile[] = []
  rows = 0

  constructor(source: SourceTable, iceberg: IcebergTable, openFile: () => { writer: FileWriter; runPath: string | null }) {
    this.source = source
    this.iceberg = iceberg
    this.#openFile = openFile
  }

  /** Takes rows [from, to) of a segment. */
  add(segment: Segment, from: number, to: number): void {
    if (this.#failed) throw this.#failed
    this.rows += to - from
    if (this.#part && this.#part.segment === segment && this.#part.to === from) {
      this.#part.to = to
    } else {
      this.handOver()
      segment.pin()
      this.#part = { segment, from, to }
    }
    if (to === segment.capacity) this.handOver()
  }

  /** Sends what came to a file worker, so that its memory can be freed. */
  handOver(): void {
    const part = this.#part
    if (!part) return
    this.#part = null
    part.segment.seal()
    this.#work = this.#work
      .then(async () => {
        if (this.#failed) return
        const current = this.#current ?? { ...this.#openFile(), rows: 0, bytes: 0 }
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
  async finish(): Promise<readonly CopiedFile[]> {
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
    const file = await current.writer.finish()
    if (file) this.#files.push({ file, runPath: current.runPath })
  }
}
