import { availableParallelism } from 'node:os'
import type { FrazilError } from '../base/index.ts'
import { DuckDbHost } from '../query/index.ts'
import { CompactionThread, FileWorkers } from '../table/index.ts'
import type { PipelinePorts } from './pipeline-contract.ts'

/** Threads that write data files, where there are cores for them: each takes up to 50 MB beside `memory`. */
const mostFileThreads = 4

/** What the engines of this process share. */
interface Shared {
  readonly files: FileWorkers
  readonly compaction: CompactionThread
  users: number
}

let shared: Shared | null = null

/** SQL of all engines of this process, also of those that only read. Its thread ends with the last that uses it. */
export const processSql = new DuckDbHost()

/**
 * One engine's part of the threads that all engines of this process share: those that write data files, and the one that rewrites them.
 * They start with the first engine and end with the last.
 */
export class ProcessThreads {
  readonly #shared: Shared
  readonly #onDeath: (error: FrazilError) => void
  readonly #ends: Promise<void>[] = []

  /** @param onDeath told when a thread that writes files has died, and another one takes its place */
  constructor(onDeath: (error: FrazilError) => void) {
    shared ??= {
      files: new FileWorkers(Math.max(1, Math.min(availableParallelism() - 1, mostFileThreads))),
      compaction: new CompactionThread(),
      users: 0,
    }
    shared.users++
    this.#shared = shared
    this.#onDeath = onDeath
    shared.files.onDeath.add(onDeath)
  }

  /** Ports for one pipeline. */
  connect(): PipelinePorts {
    const { files, compaction } = this.#shared
    const { ended: filesEnded, ...filePorts } = files.connect()
    const { ended: compactionEnded, port } = compaction.connect()
    this.#ends.push(filesEnded, compactionEnded)
    return { files: filePorts, compaction: port }
  }

  /** Once the pipelines are closed. Resolves when no thread has anything of theirs any more. */
  async close(): Promise<void> {
    const { files, compaction } = this.#shared
    files.onDeath.delete(this.#onDeath)
    this.#shared.users--
    if (this.#shared.users > 0) {
      await Promise.all(this.#ends)
      return
    }
    if (shared === this.#shared) shared = null
    await Promise.all([files.close(), compaction.close()])
  }
}
