import { closeSync, openSync, readSync } from 'node:fs'
import type { BigIntStats, Dirent } from 'node:fs'
import { link, open, opendir, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FrazilError, assert, systemClock, systemRandom } from '../base/index.ts'
import type { Clock, Random } from '../base/index.ts'
import { Draft, diskError, errno, makeDirectory, syncDirectory } from './disk.ts'
import { directoryLocation, localPath } from './location.ts'
import { withFileLock } from './lock.ts'
import type { ObjectInfo, ObjectReader, ObjectStore, ObjectWriter, PutOptions } from './store.ts'

/** Our own folder under the root: unfinished files and the lock of `ifMatch`. Never listed, never addressed by a URI. */
const ownFolder = '.store'
/** Directories remembered as durable; forgotten all at once beyond this. */
const maxKnownDirectories = 10_000
const maxParallelDeletes = 16

/**
 * Objects as files under a directory. A file is written under a temporary name in the same tree, synced, and then linked or
 * renamed to its own, so that a reader sees all of it or nothing, and a crash leaves at most an unfinished file
 * ({@link LocalStore.removeUnfinished}).
 *
 * Limits: one file system with hard links. `ifMatch` excludes other writers on the same machine only, and not on network
 * file systems without locks. Deleting leaves empty directories.
 */
export class LocalStore implements ObjectStore {
  readonly root: string
  readonly #directory: string
  readonly #own: string
  readonly #clock: Clock
  readonly #random: Random
  readonly #known = new Set<string>()

  /** `warehouse`: an absolute directory or its `file://` URI; it is created with the first object. */
  constructor(warehouse: string, clock: Clock = systemClock, random: Random = systemRandom) {
    this.root = directoryLocation(warehouse)
    this.#directory = localPath(this.root)
    this.#own = join(this.#directory, ownFolder)
    this.#clock = clock
    this.#random = random
  }

  async get(uri: string, range?: { offset: number; length: number }): Promise<Uint8Array> {
    const path = this.#path(uri)
    return reading(uri, async () => {
      const handle = await open(path, 'r')
      try {
        const { size } = await handle.stat()
        const start = range === undefined ? 0 : range.offset < 0 ? Math.max(0, size + range.offset) : range.offset
        const length = range === undefined ? size : range.offset < 0 ? Math.min(range.length, size - start) : range.length
        if (start + length > size) throw truncated(uri, start, length, size)
        const bytes = new Uint8Array(length)
        for (let got = 0; got < length;) {
          const { bytesRead } = await handle.read(bytes, got, Math.min(length - got, 1 << 30), start + got)
          if (bytesRead === 0) throw truncated(uri, start, length, start + got)
          got += bytesRead
        }
        return bytes
      } finally {
        await handle.close()
      }
    })
  }

  /** Reads block the thread: one costs microseconds then, where a trip through the pool of threads costs ten times as much. */
  async reader(uri: string): Promise<ObjectReader> {
    const path = this.#path(uri)
    const file = await reading(uri, async () => openSync(path, 'r'))
    return {
      read: (offset, length) =>
        reading(uri, async () => {
          const bytes = new Uint8Array(length)
          for (let got = 0; got < length;) {
            const count = readSync(file, bytes, got, length - got, offset + got)
            if (count === 0) throw truncated(uri, offset, length, offset + got)
            got += count
          }
          return bytes
        }),
      close: async () => closeSync(file),
    }
  }

  async head(uri: string): Promise<ObjectInfo | null> {
    const path = this.#path(uri)
    try {
      const found = await stat(path, { bigint: true })
      return found.isFile() ? info(uri, found) : null
    } catch (error) {
      if (isMissing(error)) return null
      throw diskError(error, `look at ${uri}`)
    }
  }

  async put(uri: string, bytes: Uint8Array, options: PutOptions = {}): Promise<ObjectInfo> {
    assert(!options.ifAbsent || options.ifMatch === undefined, 'a put has one condition')
    const path = this.#path(uri)
    return this.#drafted(uri, async (draft) => {
      await draft.write(bytes)
      await draft.sync()
      if (options.ifMatch !== undefined) return this.#replaceIfMatch(uri, path, draft, options.ifMatch)
      const written = await draft.stat()
      await draft.close()
      await this.#publish(uri, path, draft, options)
      return info(uri, written)
    })
  }

  async writer(uri: string): Promise<ObjectWriter> {
    const path = this.#path(uri)
    const draft = await this.#draft(uri)
    /** Set once a piece is missing: what follows must not become an object. */
    let failure: FrazilError | null = null
    const discard = async (): Promise<void> => {
      await draft.close()
      await removeFile(draft.path)
    }
    return {
      uri,
      async write(bytes) {
        try {
          await draft.write(bytes)
        } catch (error) {
          failure ??= diskError(error, `write ${uri}`)
          throw failure
        }
      },
      close: async () => {
        try {
          if (failure !== null) throw failure
          await draft.sync()
          const { size } = await draft.stat()
          await draft.close()
          await this.#publish(uri, path, draft, {})
          return Number(size)
        } catch (error) {
          await discard()
          throw diskError(error, `write ${uri}`)
        }
      },
      abort: discard,
    }
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    const start = prefix.replace(/\/$/, '')
    const pending = [start === this.root ? this.#directory : this.#path(start)]
    for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
      for await (const entry of entriesOf(directory)) {
        const path = join(directory, entry.name)
        if (path === this.#own) continue
        if (entry.isDirectory()) {
          pending.push(path)
          continue
        }
        const found = await this.head(`file://${path}`)
        if (found !== null) yield found
      }
    }
  }

  async delete(uris: readonly string[]): Promise<void> {
    const failures: unknown[] = []
    for (let from = 0; from < uris.length; from += maxParallelDeletes) {
      const some = uris.slice(from, from + maxParallelDeletes).map(async (uri) => removeFile(this.#path(uri)))
      for (const outcome of await Promise.allSettled(some)) if (outcome.status === 'rejected') failures.push(outcome.reason)
    }
    if (failures.length > 0) throw failures[0]
  }

  /**
   * Removes what crashed writers left, if not touched for `olderThanMs`; resolves with the number of files. Not done by
   * itself, as only the caller knows how long a write of another process may take.
   */
  async removeUnfinished(olderThanMs: number): Promise<number> {
    const before = this.#clock.now() - olderThanMs
    let removed = 0
    for await (const entry of entriesOf(join(this.#own, 'unfinished'))) {
      const path = join(this.#own, 'unfinished', entry.name)
      const found = await stat(path).catch(() => null)
      if (found === null || found.mtimeMs >= before) continue
      await removeFile(path)
      removed++
    }
    return removed
  }

  /** The file of an object. URIs are names, not paths: what is not plainly below the root is refused. */
  #path(uri: string): string {
    const path = localPath(uri)
    const inside = path.startsWith(`${this.#directory}/`) ? path.slice(this.#directory.length + 1).split('/') : []
    const odd = inside.some((segment) => segment === '' || segment === '.' || segment === '..')
    if (inside.length === 0 || odd || inside[0] === ownFolder)
      throw new FrazilError('config', 'outside-warehouse', `${uri} is not the location of an object under ${this.root}`, {
        hint: 'Iceberg names files by their whole path: a lake that was copied or moved is read where it was',
      })
    return path
  }

  async #draft(uri: string): Promise<Draft> {
    const directory = join(this.#own, 'unfinished')
    try {
      await this.#ensureDirectory(directory)
      return await Draft.create(directory).catch(async (error: unknown) => {
        if (errno(error) !== 'ENOENT') throw error
        this.#known.clear()
        await this.#ensureDirectory(directory)
        return Draft.create(directory)
      })
    } catch (error) {
      throw diskError(error, `write ${uri}`)
    }
  }

  /** Runs `fill` on a new draft, which is gone afterwards: published or removed. */
  async #drafted<T>(uri: string, fill: (draft: Draft) => Promise<T>): Promise<T> {
    const draft = await this.#draft(uri)
    try {
      return await fill(draft)
    } catch (error) {
      await draft.close()
      await removeFile(draft.path)
      throw diskError(error, `write ${uri}`)
    }
  }

  /** Gives a complete and synced draft its name, durably where nothing {@link PutOptions.followed | follows}. */
  async #publish(uri: string, path: string, draft: Draft, { ifAbsent, followed }: PutOptions): Promise<void> {
    const directory = dirname(path)
    await this.#ensureDirectory(directory)
    const place = async (): Promise<void> => {
      if (!ifAbsent) return rename(draft.path, path)
      await link(draft.path, path).catch((error: unknown) => {
        throw errno(error) === 'EEXIST' ? new FrazilError('conflict', 'object-exists', `${uri} exists already`) : error
      })
    }
    await place().catch(async (error: unknown) => {
      if (errno(error) !== 'ENOENT') throw error
      // Somebody tidied the directory away since we saw it.
      this.#known.clear()
      await this.#ensureDirectory(directory)
      await place()
    })
    if (!followed) await syncDirectory(directory)
    if (ifAbsent) await removeFile(draft.path)
  }

  async #replaceIfMatch(uri: string, path: string, draft: Draft, etag: string): Promise<ObjectInfo> {
    return withFileLock(join(this.#own, 'lock'), this.#clock, this.#random, async () => {
      const current = await stat(path, { bigint: true }).catch((error: unknown) => {
        if (errno(error) === 'ENOENT') return null
        throw error
      })
      if (current === null || info(uri, current).etag !== etag)
        throw new FrazilError('conflict', 'object-changed', `${uri} is not what it was read as`)
      let written = await draft.stat()
      if (written.mtimeNs <= current.mtimeNs) {
        // The clock of the file system is coarse and inodes are used again: only a growing time makes each etag new.
        await draft.setModified(Number(current.mtimeNs / 1_000_000n) + 2)
        await draft.sync()
        written = await draft.stat()
      }
      await draft.close()
      await this.#publish(uri, path, draft, {})
      return info(uri, written)
    })
  }

  async #ensureDirectory(directory: string): Promise<void> {
    if (this.#known.has(directory)) return
    const durable = await makeDirectory(directory, this.#directory, (parent) => this.#known.has(parent))
    if (this.#known.size >= maxKnownDirectories) this.#known.clear()
    for (const one of durable) this.#known.add(one)
  }
}

function info(uri: string, found: BigIntStats): ObjectInfo {
  return {
    uri,
    size: Number(found.size),
    modifiedMs: Number(found.mtimeNs / 1_000_000n),
    etag: `${found.ino.toString(36)}-${found.mtimeNs.toString(36)}-${found.size.toString(36)}`,
  }
}

/** No such file, or a file where its folder would have to be. */
function isMissing(error: unknown): boolean {
  return errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR'
}

function truncated(uri: string, start: number, length: number, size: number): FrazilError {
  const message = `${uri} has ${size} bytes; asked for ${length} from ${start}`
  return new FrazilError('corrupt', 'object-truncated', message)
}

/** The entries of a directory; none when it does not exist (any more). */
async function* entriesOf(directory: string): AsyncIterable<Dirent> {
  try {
    yield* await opendir(directory)
  } catch (error) {
    if (!isMissing(error)) throw diskError(error, `list ${directory}`)
  }
}

async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if (!isMissing(error)) throw diskError(error, `delete ${path}`)
  }
}

async function reading<T>(uri: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (isMissing(error) || errno(error) === 'EISDIR')
      throw new FrazilError('corrupt', 'object-missing', `${uri} does not exist`, {
        cause: error,
        hint: 'something else deleted it; files of a table are removed by frazil only',
      })
    throw diskError(error, `read ${uri}`)
  }
}
