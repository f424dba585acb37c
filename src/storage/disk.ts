import { randomUUID } from 'node:crypto'
import type { BigIntStats } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FrazilError, assert } from '../base/index.ts'

/** A file system's error as ours: what may go away is `unavailable`, what the user has to mend is `config`. */
export function diskError(error: unknown, doing: string): FrazilError {
  if (error instanceof FrazilError) return error
  const code = errno(error)
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new FrazilError('unavailable', 'disk-full', `the disk is full: cannot ${doing}`, {
        cause: error,
        hint: 'free some space (or raise the quota); writing goes on by itself then',
      })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new FrazilError('config', 'no-access', `missing rights (${code}): cannot ${doing}`, {
        cause: error,
        hint: 'give the user that runs frazil read and write access to the warehouse directory',
      })
    case 'EXDEV':
    case 'ENOTSUP':
    case 'EOPNOTSUPP':
    case 'EMLINK':
      return new FrazilError('config', 'file-system', `the file system cannot do what is needed (${code}): cannot ${doing}`, {
        cause: error,
        hint: 'the warehouse must lie on one file system that has hard links',
      })
    // EEXIST: a file where a directory has to be.
    case 'EEXIST':
    case 'ENAMETOOLONG':
    case 'ENOTDIR':
    case 'EISDIR':
    case 'ELOOP':
      return new FrazilError('config', 'bad-path', `not a usable file name (${code}): cannot ${doing}`, { cause: error })
    default:
      return new FrazilError('unavailable', 'disk-error', `${code ?? 'error'}: cannot ${doing}`, { cause: error })
  }
}

export function errno(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

/** Makes a directory's entries durable. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Makes `directory`, which is `top` or below it, exist durably: syncs the parents that hold its entry, up to `top`, or to one that is
 * `isKnown` to be durable itself. Also when they existed already, since whoever made them may not have synced them yet. Returns those
 * that are durable now.
 */
export async function makeDirectory(directory: string, top: string, isKnown: (directory: string) => boolean): Promise<string[]> {
  const created = await mkdir(directory, { recursive: true })
  const highest = created !== undefined && created.length <= top.length ? dirname(created) : top
  const durable = [directory]
  for (let at = directory; at !== highest;) {
    at = dirname(at)
    await syncDirectory(at)
    // One that was made anew has no entry yet, whatever is known of its name.
    if (at === highest || (isKnown(at) && (created === undefined || at.length < created.length))) break
    durable.push(at)
  }
  return durable
}

/** Bytes of one write call: more would keep a pool thread, and one writer's place in the queue, for too long. */
const writeChunk = 16 << 20

/** A file under a name of its own until it is complete. */
export class Draft {
  readonly path: string
  readonly #handle: FileHandle
  #position = 0
  #open = true

  private constructor(path: string, handle: FileHandle) {
    this.path = path
    this.#handle = handle
  }

  static async create(directory: string): Promise<Draft> {
    const path = join(directory, randomUUID())
    return new Draft(path, await open(path, 'wx'))
  }

  /** Appends; the caller may reuse `bytes` once this has resolved. */
  async write(bytes: Uint8Array): Promise<void> {
    let position = this.#position
    this.#position += bytes.byteLength
    for (let from = 0; from < bytes.byteLength;) {
      const length = Math.min(writeChunk, bytes.byteLength - from)
      const { bytesWritten } = await this.#handle.write(bytes, from, length, position)
      assert(bytesWritten > 0, 'a write to a file makes progress')
      from += bytesWritten
      position += bytesWritten
    }
  }

  async stat(): Promise<BigIntStats> {
    return this.#handle.stat({ bigint: true })
  }

  async setModified(ms: number): Promise<void> {
    await this.#handle.utimes(ms / 1000, ms / 1000)
  }

  async sync(): Promise<void> {
    await this.#handle.sync()
  }

  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    await this.#handle.close()
  }
}
