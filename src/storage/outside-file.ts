import { constants } from 'node:fs'
import { open, realpath, stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { isAbsolute, resolve, sep } from 'node:path'
import { FrazilError, asError } from '../base/index.ts'
import { errno } from './disk.ts'

/** A file of somebody else, open for reading. */
export interface OutsideFile {
  readonly size: number
  /** `length` bytes from `offset`; fewer where the file has become shorter. */
  read(offset: number, length: number): Promise<Uint8Array>
  close(): Promise<void>
}

/**
 * Opens a file that somebody has named, if it lies in one of `folders` (absolute): with all links followed, so that neither `..` nor a
 * symbolic link leads out of them. Throws `request`: `file-not-allowed`, also for files that are not there but would not be allowed, and
 * `file-missing`.
 */
export async function openWithin(path: string, folders: readonly string[]): Promise<OutsideFile> {
  const wanted = resolve(path)
  if (!isAbsolute(path) || path.includes('\0')) throw notAllowed(path)
  const roots = await Promise.all(folders.map(async (folder) => [folder, await realpath(folder).catch(() => folder)] as const))
  // By its name first: what lies elsewhere is not looked at, and the answer does not tell whether it is there.
  if (!roots.some((root) => root.some((folder) => isInside(wanted, folder)))) throw notAllowed(path)
  const real = await realpath(wanted).catch((error: unknown) => {
    throw unreadable(path, error)
  })
  if (!roots.some(([, folder]) => isInside(real, folder))) throw notAllowed(path)
  let handle: FileHandle
  try {
    // Not through a link that has come meanwhile, and without waiting for whoever writes into a pipe.
    handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    throw unreadable(path, error)
  }
  try {
    const [opened, now, named] = await Promise.all([handle.stat({ bigint: true }), realpath(real), stat(real, { bigint: true })])
    // A folder on the way may have become a link since it was looked at.
    if (now !== real || opened.ino !== named.ino || opened.dev !== named.dev) throw notAllowed(path)
    if (!opened.isFile()) throw new FrazilError('request', 'file-missing', `${path} is not a file`)
    return new OpenFile(handle, Number(opened.size), path)
  } catch (error) {
    await handle.close()
    throw error instanceof FrazilError ? error : unreadable(path, error)
  }
}

class OpenFile implements OutsideFile {
  readonly size: number
  readonly #handle: FileHandle
  readonly #path: string

  constructor(handle: FileHandle, size: number, path: string) {
    this.#handle = handle
    this.size = size
    this.#path = path
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length)
    let filled = 0
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(bytes, filled, length - filled, offset + filled).catch((error: unknown) => {
        throw unreadable(this.#path, error)
      })
      if (bytesRead === 0) break
      filled += bytesRead
    }
    return bytes.subarray(0, filled)
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}

function notAllowed(path: string): FrazilError {
  return new FrazilError('request', 'file-not-allowed', `${path} is not in a folder from which files are taken`, {
    hint: 'The configuration names these: http.upload.',
  })
}

function unreadable(path: string, error: unknown): FrazilError {
  const code = errno(error)
  if (code === 'ENOENT' || code === 'ENOTDIR') return new FrazilError('request', 'file-missing', `there is no file ${path}`)
  if (code === 'ELOOP') return notAllowed(path)
  return new FrazilError('request', 'file-missing', `${path} cannot be read: ${code ?? asError(error).message}`, {
    hint: 'The user that runs frazil needs the right to read it.',
    cause: error,
  })
}
