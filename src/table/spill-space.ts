import { rmSync } from 'node:fs'
import { mkdir, open, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../base/index.ts'
import { diskError } from '../storage/index.ts'

/** A file is not written on beyond this: the disk gets it back when all in it was read. */
const maxFileBytes = 256 << 20
/** Most pieces of memory in one call; systems allow 1024. */
const maxPieces = 512

interface SpillFile {
  readonly path: string
  readonly handle: Promise<FileHandle>
  /** Bytes written or about to be. */
  size: number
  /** Extents that somebody wants to read yet. */
  live: number
}

/** Where spilled bytes lie; given back with {@link SpillSpace.release}. */
export interface SpilledBytes {
  readonly file: SpillFile
  readonly offset: number
}

/**
 * A folder for what does not fit into memory and is of no use after a restart. Files are written from front to back and removed
 * as soon as nothing in them is wanted; what an earlier process left is removed at the start. One owner.
 */
export class SpillSpace {
  readonly #folder: string
  readonly #files = new Set<SpillFile>()
  #current: SpillFile | null = null
  #next = 1

  constructor(folder: string) {
    this.#folder = folder
    rmSync(folder, { recursive: true, force: true })
  }

  /** Writes pieces of memory one after another; they must not change before it has resolved. Throws as the disk does. */
  async write(pieces: readonly Uint8Array[]): Promise<SpilledBytes> {
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    const file = this.#fileFor(bytes)
    const offset = file.size
    file.size += bytes
    file.live++
    try {
      const handle = await file.handle
      await transfer(pieces, offset, async (some, at) => (await handle.writev(some, at)).bytesWritten)
    } catch (error) {
      // Nothing more goes into a file that could not be written.
      if (this.#current === file) this.#current = null
      this.release({ file, offset })
      throw diskError(error, `write changes that do not fit into memory to ${this.#folder}`)
    }
    return { file, offset }
  }

  /** Reads what was written back into pieces of the same sizes. */
  async read({ file, offset }: SpilledBytes, pieces: readonly Uint8Array[]): Promise<void> {
    try {
      const handle = await file.handle
      await transfer(pieces, offset, async (some, at) => (await handle.readv(some, at)).bytesRead)
    } catch (error) {
      throw diskError(error, `read changes back from ${this.#folder}`)
    }
  }

  /** The bytes are not wanted any more. */
  release({ file }: SpilledBytes): void {
    assert(file.live > 0, 'spilled bytes are given back once')
    if (--file.live > 0) return
    if (this.#current === file) this.#current = null
    this.#remove(file)
  }

  /** Removes everything. */
  close(): void {
    for (const file of this.#files) this.#remove(file)
    this.#current = null
  }

  #fileFor(bytes: number): SpillFile {
    const current = this.#current
    if (current && (current.size === 0 || current.size + bytes <= maxFileBytes)) return current
    const path = join(this.#folder, `${this.#next++}.spill`)
    const handle = mkdir(this.#folder, { recursive: true }).then(() => open(path, 'wx+', 0o600))
    const file = { path, handle, size: 0, live: 0 }
    this.#files.add(file)
    this.#current = file
    return file
  }

  #remove(file: SpillFile): void {
    if (!this.#files.delete(file)) return
    // What is left over after an error goes at the next start.
    file.handle
      .then((handle) => handle.close())
      .then(() => rm(file.path, { force: true }))
      .catch(() => undefined)
  }
}

/** Moves all of the pieces, however much `step` moves at a time. */
async function transfer(
  pieces: readonly Uint8Array[],
  offset: number,
  step: (pieces: Uint8Array[], offset: number) => Promise<number>,
): Promise<void> {
  let left = pieces.filter((piece) => piece.length > 0)
  while (left.length > 0) {
    let moved = await step(left.slice(0, maxPieces), offset)
    if (moved === 0) throw new Error('a spill file ends too early')
    offset += moved
    let whole = 0
    while (whole < left.length && moved >= left[whole].length) moved -= left[whole++].length
    left = left.slice(whole)
    if (moved > 0) left[0] = left[0].subarray(moved)
  }
}
