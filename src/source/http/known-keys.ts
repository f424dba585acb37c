import { Buffer } from 'node:buffer'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FrazilError } from '../../base/index.ts'
import type { SpoolRecord } from '../push/index.ts'
import { decodeHead } from './record-head.ts'

/** How long a request is known by its key after it was stored. */
const keptMs = 24 * 3_600_000
/** Requests known at one time; the oldest are forgotten first. */
const mostKept = 100_000

/** What is known of a stored request. */
export interface KnownRequest {
  readonly table: string
  readonly key: string
  readonly digest: number
  readonly sequence: number
  readonly rows: number
  readonly timeMs: number
  /** Rows that were refused; absent: none. */
  readonly refused?: number
}

/** Requests by their keys, per table: those of a spool, and in a file of their own those whose records have gone from it. */
export class KnownKeys {
  readonly #path: string
  /** In the order in which they were stored. */
  readonly #known = new Map<string, KnownRequest>()

  constructor(folder: string) {
    this.#path = join(folder, 'keys.json')
  }

  /** Reads the file. Throws `corrupt` when it is not one of ours. */
  async load(): Promise<void> {
    let text: string
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    let content: { format?: unknown; keys?: unknown }
    try {
      content = JSON.parse(text) as typeof content
    } catch (cause) {
      throw new FrazilError('corrupt', 'spool-damaged', `${this.#path} is damaged`, { cause })
    }
    if (content.format !== 1 || !Array.isArray(content.keys)) {
      throw new FrazilError('config', 'newer-format', `${this.#path} was written by a newer version`, {
        hint: 'Install the newer version of frazil again.',
      })
    }
    // Written by us alone; its format version was just checked.
    for (const known of content.keys as KnownRequest[]) this.#known.set(idOf(known.table, known.key), known)
  }

  /** When the last of them was stored; 0: there is none. */
  get lastMs(): number {
    return latest(this.#known.values())
  }

  find(table: string, key: string, now: number): KnownRequest | null {
    const known = this.#known.get(idOf(table, key))
    return known && now - known.timeMs <= keptMs ? known : null
  }

  add({ table, key, digest, sequence, rows, timeMs, head }: SpoolRecord): void {
    const id = idOf(table, key)
    const { refused } = decodeHead(head)
    this.#known.delete(id)
    this.#known.set(id, { table, key, digest, sequence, rows, timeMs, ...(refused ? { refused } : {}) })
    for (const [oldest, known] of this.#known) {
      if (this.#known.size <= mostKept && timeMs - known.timeMs <= keptMs) return
      this.#known.delete(oldest)
    }
  }

  /** Makes everything known durable in the file. */
  async store(): Promise<void> {
    const folder = dirname(this.#path)
    await mkdir(folder, { recursive: true })
    const draft = `${this.#path}.new`
    const handle = await open(draft, 'w')
    try {
      await handle.writeFile(Buffer.from(JSON.stringify({ format: 1, keys: [...this.#known.values()] })))
      await handle.datasync()
    } finally {
      await handle.close()
    }
    await rename(draft, this.#path)
    const directory = await open(folder, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  }
}

/** The latest time of what is known; 0: there is nothing. */
export function latest(known: Iterable<{ readonly timeMs: number }>): number {
  let last = 0
  for (const { timeMs } of known) last = Math.max(last, timeMs)
  return last
}

function idOf(table: string, key: string): string {
  return `${table}\n${key}`
}
