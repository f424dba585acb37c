import { asError } from '../base/index.ts'
import type { Segment } from '../data/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import type { FileWriter } from '../table/index.ts'

/** A copied file is closed at either bound; both keep the key run that is sorted in memory small. */
const maxFileRows = 2 << 20
const maxFileBytes = 256 << 20

export type OpenFile = () => FileWriter

export interface StagedFile {
  readonly file: DataFile
  /** Null for tables without a key, and where the run has to be looked for. */
  readonly runPath: string | null
}

/** The files of a copy, or of one part of it: rows go to a file worker in the order in which they come. */
export class CopyFiles {
  readonly #openFile: OpenFile
  #current: { writer: FileWriter; rows: number; bytes: number } | null = null
  #work: Promise<void> = Promise.resolve()
  readonly #files: StagedFile[] = []
  #closedBytes = 0
  /** What went wrong first: nothing is written any more. */
  failure: Error | null = null
  /** Rows that were given, written or not. */
  rows = 0

  constructor(openFile: OpenFile) {
    this.#openFile = openFile
  }

  /** Bytes of data files so far. */
  get bytes(): number {
    return this.#closedBytes + (this.#current?.bytes ?? 0)
  }

  /** Writes rows [from, to) of a sealed segment, which is unpinned when they are written. */
  append(segment: Segment, from: number, to: number): void {
    void this.#do(async () => {
      const current = this.#current ?? { writer: this.#openFile(), rows: 0, bytes: 0 }
      this.#current = current
      const { rows, bytes } = await current.writer.append([{ segment: segment.share(), from, to }], 0)
      current.rows = rows
      current.bytes = bytes
      if (rows >= maxFileRows || bytes >= maxFileBytes) await this.#close()
    }).finally(() => segment.unpin())
  }

  /** Resolves with the files when every row that was given is in one. Rejects with what went wrong. */
  async finish(): Promise<readonly StagedFile[]> {
    await this.#do(() => this.#close())
    if (this.failure) throw this.failure
    return this.#files
  }

  /** Throws away what is not finished. */
  async abort(): Promise<void> {
    this.failure ??= new Error('the copy was given up')
    await this.#work
    await this.#current?.writer.abort()
    this.#current = null
  }

  #do(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work
      .then(async () => {
        if (!this.failure) await work()
      })
      .catch((error: unknown) => {
        this.failure ??= asError(error)
      })
    return this.#work
  }

  async #close(): Promise<void> {
    const current = this.#current
    this.#current = null
    if (!current) return
    this.#closedBytes += current.bytes
    const { files } = await current.writer.finish()
    this.#files.push(...files)
  }
}
