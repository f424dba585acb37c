import { rmSync } from 'node:fs'
import { asError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import type { Catalog, StateChange } from '../iceberg/catalog/index.ts'
import type { EngineEvent } from '../observe/index.ts'
import type { ObjectStore } from '../storage/index.ts'

/** How long a reader may go on with a snapshot that it has opened: files outlive their last snapshot by this. */
export const readersGraceMs = 15 * 60_000
/** The same for metadata files that left the metadata log: who reads one has opened it a hundred commits ago. */
const metadataGraceMs = 60_000
/** Records of files that wait; what comes on top waits in memory only, and is left to the removal of orphans. */
const maxRecords = 10_000

export interface ReaperParts {
  readonly store: ObjectStore
  readonly catalog: Catalog
  readonly clock: Clock
  readonly emit: (event: EngineEvent) => void
}

/** Files that wait for the end of their grace. `record`: number of the state record that has them too. */
interface Batch {
  readonly dueAt: number
  readonly uris: readonly string[]
  readonly record: number | null
}

/** What a commit writes along with itself, and what to do when it has landed, or will never. */
export interface Note {
  readonly states: readonly StateChange[]
  landed(): void
  failed(): void
}

/**
 * Deletes files that nothing references any more, when no reader can be using them. Files of snapshots that a commit expires are
 * noted in the catalog's own transaction with it, in records `garbage/<source>/<number>`: a later process goes on with them.
 * Deleting twice does no harm, so a record goes with the next commit after its files.
 */
export class FileReaper {
  readonly #source: string
  readonly #parts: ReaperParts
  readonly #prefix: string
  /** In the order of their times. */
  readonly #files: Batch[] = []
  readonly #metadata: Batch[] = []
  /** Records whose files are gone. */
  readonly #spent = new Set<number>()
  /** Numbers of records that exist, or will if a commit lands of which nobody knows yet. */
  readonly #used = new Set<number>()
  /** Files of commits that may land. */
  readonly #noted = new Set<readonly string[]>()

  constructor(source: string, parts: ReaperParts) {
    this.#source = source
    this.#parts = parts
    this.#prefix = `garbage/${source}/`
  }

  /** Reads what earlier processes have noted. Their clock may have been another: nothing waits longer than its grace from now. */
  async recover(): Promise<void> {
    const { catalog, clock } = this.#parts
    const [now, monotonic] = [clock.now(), clock.monotonic()]
    const batches: Batch[] = []
    for (const { key, value } of await catalog.states(this.#prefix)) {
      const record = Number(key.slice(this.#prefix.length))
      this.#used.add(record)
      const noted = parseNote(value)
      if (noted === null) continue
      const left = Math.min(Math.max(noted.at + readersGraceMs - now, 0), readersGraceMs)
      batches.push({ dueAt: monotonic + left, uris: noted.uris.filter(this.#isWithin), record })
    }
    this.#files.push(...batches.sort((a, b) => a.dueAt - b.dueAt))
  }

  /** For a commit after which nothing references `uris`. */
  async note(uris: readonly string[]): Promise<Note> {
    const { catalog, clock } = this.#parts
    const states: StateChange[] = []
    const spent = [...this.#spent]
    for (const record of spent) {
      const key = this.#prefix + String(record)
      const stored = await catalog.state(key)
      if (stored) states.push({ key, expected: stored.version, value: null })
    }
    const record = uris.length > 0 && this.#used.size < maxRecords ? this.#free() : null
    if (record !== null) {
      const value = JSON.stringify({ format: 1, at: clock.now(), uris } satisfies Noted)
      states.push({ key: this.#prefix + String(record), expected: null, value })
    }
    this.#noted.add(uris)
    if (record !== null) this.#used.add(record)
    return {
      states,
      failed: () => {
        this.#noted.delete(uris)
        if (record !== null) this.#used.delete(record)
      },
      landed: () => {
        this.#noted.delete(uris)
        for (const each of spent) {
          this.#spent.delete(each)
          this.#used.delete(each)
        }
        this.#wait(uris, record)
      },
    }
  }

  #free(): number {
    for (let record = 0; ; record++) if (!this.#used.has(record)) return record
  }

  /** Objects that were in no commit, to delete when the readers' grace is over. After the end of the process they are orphans. */
  later(uris: readonly string[]): void {
    this.#wait(uris, null)
  }

  #wait(uris: readonly string[], record: number | null): void {
    if (uris.length === 0) return
    const now = this.#parts.clock.monotonic()
    const isMetadata = (uri: string): boolean => uri.endsWith('.metadata.json')
    const within = uris.filter(this.#isWithin)
    const metadata = within.filter(isMetadata)
    if (metadata.length > 0) this.#metadata.push({ dueAt: now + metadataGraceMs, uris: metadata, record: null })
    this.#files.push({ dueAt: now + readersGraceMs, uris: within.filter((uri) => !isMetadata(uri)), record })
  }

  /** What others have added from beyond the warehouse is theirs, and out of reach. */
  readonly #isWithin = (uri: string): boolean => plainPath(uri).startsWith(`${plainPath(this.#parts.store.root)}/`)

  /** Local files that only this process reads. */
  local(paths: readonly string[]): void {
    for (const path of paths) rmSync(path, { force: true })
  }

  /** What waits for its end, and what will when a commit that is under way has landed. */
  get waiting(): ReadonlySet<string> {
    return new Set([...this.#noted, ...[...this.#files, ...this.#metadata].map(({ uris }) => uris)].flat())
  }

  /** Deletes what is due. What cannot be deleted waits for a grace once more, and holds up nothing else. */
  async reap(): Promise<void> {
    const { clock, store } = this.#parts
    let left = 0
    let failure: unknown = null
    for (const [queue, graceMs] of [
      [this.#metadata, metadataGraceMs],
      [this.#files, readersGraceMs],
    ] as const) {
      const now = clock.monotonic()
      while (queue.length > 0 && queue[0].dueAt <= now) {
        const isGone = await store.delete(queue[0].uris).then(
          () => true,
          (error: unknown) => {
            failure ??= error
            return false
          },
        )
        const batch = queue[0]
        queue.shift()
        if (!isGone) {
          left += batch.uris.length
          queue.push({ ...batch, dueAt: clock.monotonic() + graceMs })
        } else if (batch.record !== null) this.#spent.add(batch.record)
      }
    }
    if (left > 0) this.#tell(left, asError(failure))
  }

  #tell(left: number, { message }: Error): void {
    const what =
      left === 1
        ? 'a file that no snapshot needs could not be deleted'
        : `of ${left} files that no snapshot needs some could not be deleted`
    this.#parts.emit({
      type: 'notice',
      level: 'warn',
      message: `source ${this.#source}: ${what}: ${message}`,
      hint: 'frazil tries again after a quarter of an hour, for as long as it takes; until then they fill the disk',
    })
  }
}

/** Other engines write `file:/a`, `file:///a` and `/a` for the same. */
function plainPath(uri: string): string {
  return uri.replace(/^file:(?:\/\/)?(?=\/)/, '')
}

interface Noted {
  readonly format: 1
  /** Milliseconds since 1970. */
  readonly at: number
  readonly uris: readonly string[]
}

/** Null for what a newer version has written, or nobody of ours: its files are left to the removal of orphans. */
function parseNote(text: string): Noted | null {
  try {
    const note = JSON.parse(text) as Partial<Noted> | null
    const isNote = note?.format === 1 && typeof note.at === 'number' && Array.isArray(note.uris)
    return isNote && note.uris?.every((uri) => typeof uri === 'string') ? (note as Noted) : null
  } catch {
    return null
  }
}
