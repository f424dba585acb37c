import { Buffer } from 'node:buffer'
import { constants, mkdir, open, readFile, readdir, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { FrazilError, asError } from '../../base/index.ts'
import { checkHead, decodeRecord, encodeRecord, fileHead, headBytes } from './record.ts'
import type { SpoolRecord } from './record.ts'

/** A file is followed by another one when it has so many bytes. */
const fileBytes = 64 << 20
/** Most bytes that wait to be written; requests beyond it are turned away. */
const maxWaitingBytes = 64 << 20
/** Most bytes written before they are made durable together. */
const maxGroupBytes = 16 << 20
/**
 * Small groups are written where zeros have been written before: a synchronous write that makes a file longer waits for the file
 * system's journal, too, which takes several times as long. So many zeros follow the group that finds no more of them.
 */
const zeros = Buffer.alloc(1 << 20)
/** Larger groups make their file longer by themselves. */
const mostPreparedBytes = 32 << 10
/** Up to here one buffer is cheaper to write than several. */
const mostJoinedBytes = 64 << 10

/** What was written is durable when the write returns: one way through the thread pool, not two. */
const openFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_DSYNC

interface SpoolFile {
  readonly number: number
  readonly path: string
  /** Sequence of its last record; 0 without one. */
  last: number
}

interface Waiting {
  readonly chunks: readonly Buffer[]
  readonly length: number
  readonly sequence: number
  resolve(): void
  reject(error: FrazilError): void
}

/**
 * Accepted requests that no lake commit has yet: records in files, made durable in groups. Who appends is told when its record would
 * survive a loss of power.
 */
export class Spool {
  readonly #folder: string
  #files: SpoolFile[] = []
  /** The file that is written, when there is one. */
  #handle: FileHandle | null = null
  #length = 0
  /** Its length with the zeros behind what was written. */
  #prepared = 0
  #waiting: Waiting[] = []
  #waitingBytes = 0
  #writing: Promise<void> | null = null
  /** Bytes of a failed attempt lie behind this length of the written file, until they can be cut off. */
  #cutTo: number | null = null
  #closed = false
  #removing: Promise<void> = Promise.resolve()

  private constructor(folder: string) {
    this.#folder = folder
  }

  /**
   * Opens the spool in `folder` and shows every whole record to `each`, in order. What a crash has left behind the last whole
   * record of the last file was promised to nobody and is cut off. Throws `corrupt` (`spool-damaged`) for any other damage.
   */
  static async open(folder: string, each: (record: SpoolRecord) => void): Promise<Spool> {
    await mkdir(folder, { recursive: true })
    const spool = new Spool(folder)
    const numbers = (await readdir(folder))
      .flatMap((name) => /^(\d{8})\.spool$/.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b)
    for (const [i, number] of numbers.entries()) {
      const file = { number, path: spool.#path(number), last: 0 }
      const isLast = i === numbers.length - 1
      const { whole, size } = await readRecords(file.path, (record) => {
        file.last = record.sequence
        each(record)
      })
      if (whole < size && !isLast) {
        throw new FrazilError('corrupt', 'spool-damaged', `the spool file ${file.path} is damaged at byte ${whole}`, {
          hint: 'Restore it; or move it away to give up the rows behind that place.',
        })
      }
      if (file.last === 0) await rm(file.path)
      else {
        if (whole < size) await cut(file.path, whole)
        spool.#files.push(file)
      }
    }
    return spool
  }

  /** Sequence of the last record; 0 without one. */
  get last(): number {
    return this.#files.at(-1)?.last ?? 0
  }

  /** The records of {@link open} once more, from one behind `after` on. Not while anything is appended. */
  async *records(after: number): AsyncGenerator<SpoolRecord> {
    for (const file of this.#files) {
      if (file.last <= after) continue
      const found: SpoolRecord[] = []
      await readRecords(file.path, (record) => {
        if (record.sequence > after) found.push(record)
      })
      yield* found
    }
  }

  /** True when so much waits to be written that another record has to come later. */
  get full(): boolean {
    return this.#waitingBytes > maxWaitingBytes
  }

  /**
   * Resolves when the record is durable. Rejects with `unavailable`, code `disk-full` or `spool-failed`: the record is then not in
   * the spool; code `spool-unknown`: it may come back after a crash.
   */
  append(record: SpoolRecord): Promise<void> {
    if (this.#closed) return Promise.reject(new FrazilError('unavailable', 'closed', 'the engine is closing'))
    const chunks = encodeRecord(record)
    const length = chunks[0].length + chunks[1].length
    this.#waitingBytes += length
    const durable = new Promise<void>((resolve, reject) => {
      this.#waiting.push({ chunks, length, sequence: record.sequence, resolve, reject })
    })
    this.#writing ??= this.#write()
    return durable
  }

  /** Resolves when what was appended before is durable, or refused. */
  async written(): Promise<void> {
    while (this.#writing) await this.#writing
  }

  async #write(): Promise<void> {
    // Requests of the same turn share the first group.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      let count = 0
      let bytes = 0
      while (count < this.#waiting.length && bytes < maxGroupBytes) bytes += this.#waiting[count++].length
      const group = this.#waiting.splice(0, count)
      this.#waitingBytes -= bytes
      try {
        await this.#store(group)
        for (const waiting of group) waiting.resolve()
      } catch (error) {
        const refusal = await this.#refusal(asError(error))
        for (const waiting of group) waiting.reject(refusal)
      }
    }
    // In the same turn: whoever appends next begins anew.
    this.#writing = null
  }

  async #store(group: readonly Waiting[]): Promise<void> {
    if (this.#cutTo !== null) await this.#cutOff()
    if (this.#length >= fileBytes) await this.#leaveFile()
    let chunks = group.flatMap((waiting) => waiting.chunks)
    if (!this.#handle) {
      const number = (this.#files.at(-1)?.number ?? 0) + 1
      this.#handle = await open(this.#path(number), openFlags, 0o600)
      this.#files.push({ number, path: this.#path(number), last: 0 })
      this.#length = 0
      this.#prepared = 0
      chunks = [fileHead(), ...chunks]
    }
    const to = chunks.reduce((end, { length }) => end + length, this.#length)
    const isPrepared = to <= this.#prepared
    if (!isPrepared && to - this.#length <= mostPreparedBytes) chunks.push(zeros)
    const isNew = this.#length === 0
    const end = await writeAll(this.#handle, chunks, this.#length)
    if (isNew) await syncFolder(this.#folder)
    if (!isPrepared) this.#prepared = end
    this.#length = to
    this.#files[this.#files.length - 1].last = group[group.length - 1].sequence
  }

  /** After a failure: what was written of the group goes, before anybody is told. */
  async #refusal(cause: Error): Promise<FrazilError> {
    const { code } = cause as NodeJS.ErrnoException
    const isFull = code === 'ENOSPC' || code === 'EDQUOT'
    if (this.#handle) {
      this.#cutTo = this.#length
      try {
        await this.#cutOff()
      } catch {
        return new FrazilError(
          'unavailable',
          'spool-unknown',
          'the spool cannot be written, nor can a failed attempt be taken back',
          {
            cause,
            hint: 'Send the request again with the same Idempotency-Key.',
          },
        )
      }
    }
    return isFull
      ? new FrazilError('unavailable', 'disk-full', `no room is left in ${this.#folder}; the request was not stored`, {
          cause,
          hint: 'Free disk space. Nothing has to be restarted.',
        })
      : new FrazilError(
          'unavailable',
          'spool-failed',
          `the spool cannot be written (${code ?? cause.message}); the request was not stored`,
          { cause },
        )
  }

  /** Cuts off a failed attempt and goes on in another file: after a failed sync nobody knows what this one's pages are. */
  async #cutOff(): Promise<void> {
    const handle = this.#handle
    if (handle && this.#cutTo !== null) {
      await handle.truncate(this.#cutTo)
      await handle.datasync()
      this.#prepared = this.#cutTo
      if (this.#cutTo === 0) {
        // Only when it has gone: this is done again when it fails, and the one before has records.
        const file = this.#files.at(-1)
        if (file) await rm(file.path, { force: true })
        this.#files.pop()
      }
    }
    this.#cutTo = null
    await this.#leaveFile()
  }

  /** Behind the records of a file that another one follows there is nothing. */
  async #leaveFile(): Promise<void> {
    const handle = this.#handle
    if (handle && this.#prepared > this.#length) {
      await handle.truncate(this.#length)
      await handle.datasync()
    }
    this.#handle = null
    this.#length = 0
    this.#prepared = 0
    await handle?.close()
  }

  /**
   * Everything up to `sequence` is in the lake: files with nothing else go. `before` is done first (what has to outlive them).
   */
  release(sequence: number, before: () => Promise<void>): void {
    const done = this.#removing.then(async () => {
      const kept = this.#files.length - (this.#handle ? 1 : 0)
      const gone = this.#files.slice(0, kept).filter(({ last }) => last > 0 && last <= sequence)
      if (gone.length === 0) return
      await before()
      for (const file of gone) {
        await rm(file.path, { force: true })
        this.#files = this.#files.filter((other) => other !== file)
      }
    })
    // What could not be removed is tried again with the next commit.
    this.#removing = done.catch(() => undefined)
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#writing
    await this.#removing
    await this.#leaveFile()
  }

  #path(number: number): string {
    return join(this.#folder, `${String(number).padStart(8, '0')}.spool`)
  }
}

/** Shows the whole records of a file; returns its size and where they end. */
async function readRecords(path: string, each: (record: SpoolRecord) => void): Promise<{ whole: number; size: number }> {
  const bytes = await readFile(path)
  if (!checkHead(bytes, path)) return { whole: 0, size: bytes.length }
  let at = headBytes
  for (let found = decodeRecord(bytes, at); found; found = decodeRecord(bytes, at)) {
    each(found.record)
    at = found.next
  }
  return { whole: at, size: bytes.length }
}

async function cut(path: string, length: number): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    await handle.truncate(length)
    await handle.datasync()
  } finally {
    await handle.close()
  }
}

/** Writes the chunks one behind the other; returns where they end. */
async function writeAll(handle: FileHandle, chunks: readonly Buffer[], position: number): Promise<number> {
  const size = chunks.reduce((sum, { length }) => sum + length, 0)
  let left = size <= mostJoinedBytes && chunks.length > 1 ? [Buffer.concat(chunks, size)] : chunks
  const end = position + size
  while (position < end) {
    const { bytesWritten } =
      left.length === 1 ? await handle.write(left[0], 0, left[0].length, position) : await handle.writev([...left], position)
    position += bytesWritten
    if (position < end) left = behind(left, bytesWritten)
  }
  return end
}

/** What is left of `chunks` behind their first `bytes`. */
function behind(chunks: readonly Buffer[], bytes: number): Buffer[] {
  let first = 0
  while (bytes >= chunks[first].length) bytes -= chunks[first++].length
  return [chunks[first].subarray(bytes), ...chunks.slice(first + 1)]
}

/** Makes a new file's name durable. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
