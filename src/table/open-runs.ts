import { closeSync, openSync } from 'node:fs'
import { FrazilError } from '../base/index.ts'

/** Files open at one time, of all tables in a thread. Systems allow a process 1024 as a rule. */
const mostOpenFiles = 256

/**
 * Files of key runs, opened when they are read: those that were read last stay open. So the number of a table's data files does not
 * decide how many files the process has open.
 */
export class OpenRuns {
  readonly #most: number
  /** Descriptors by path; the one used last is the last one. */
  readonly #open = new Map<string, number>()
  /** The one used last: look-ups come run by run. */
  #last: { readonly path: string; readonly fd: number } | null = null

  constructor(most = mostOpenFiles) {
    this.#most = most
  }

  get size(): number {
    return this.#open.size
  }

  /** A descriptor of the file, good until the next call. Throws `unavailable` when it is gone: it can be built again. */
  descriptor(path: string): number {
    if (this.#last?.path === path) return this.#last.fd
    let fd = this.#open.get(path)
    if (fd === undefined) {
      try {
        fd = openSync(path, 'r')
      } catch (cause) {
        throw new FrazilError('unavailable', 'key-run', `the key run ${path} cannot be opened`, { cause })
      }
      for (const [oldest, other] of this.#open) {
        if (this.#open.size < this.#most) break
        this.#open.delete(oldest)
        closeSync(other)
      }
    } else this.#open.delete(path)
    this.#open.set(path, fd)
    this.#last = { path, fd }
    return fd
  }

  close(path: string): void {
    const fd = this.#open.get(path)
    if (fd === undefined) return
    this.#open.delete(path)
    if (this.#last?.path === path) this.#last = null
    closeSync(fd)
  }
}
