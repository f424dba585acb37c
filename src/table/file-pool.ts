import type { MessagePort } from 'node:worker_threads'
import { AssertionError, FrazilError, errorFromMessage } from '../base/index.ts'
import type { Field, SharedPart } from '../data/index.ts'
import type { Cells, WantedCells } from './cell-reader.ts'
import type { FileAnswer, FileRequest, FileSpec, WrittenFiles } from './file-messages.ts'
import { diedError } from './file-workers.ts'
import type { FilePorts } from './file-workers.ts'
import type { KeySpec } from './key-codec.ts'

interface Waiting {
  readonly file: number
  resolve(answer: Extract<FileAnswer, { ok: true }>): void
  reject(error: Error): void
}

interface Lane {
  readonly port: MessagePort
  /** Answers that are due; those about one file in the order of the requests. */
  readonly due: Waiting[]
}

/** Rows being written by a file worker. */
export interface FileWriter {
  /** Resolves when the rows are encoded: their segments are not needed any more. `bytes`: encoded size so far. */
  append(parts: readonly SharedPart[], commit: number): Promise<{ rows: number; bytes: number }>
  /** Resolves when the files (and their key runs) are durable. */
  finish(): Promise<WrittenFiles>
  /** Also when the thread has died. */
  abort(): Promise<void>
}

/** One owner's access to the file workers: the thread with the fewest answers due gets the next file. */
export class FilePool {
  readonly #lanes = new Set<Lane>()
  readonly #replacements: MessagePort
  #nextFile = 1
  #isClosed = false

  constructor({ lanes, replacements }: FilePorts) {
    for (const port of lanes) this.#add(port)
    this.#replacements = replacements
    replacements.on('message', (port: MessagePort) => {
      if (this.#isClosed) port.close()
      else this.#add(port)
    })
    replacements.unref()
  }

  #add(port: MessagePort): void {
    const lane: Lane = { port, due: [] }
    this.#lanes.add(lane)
    port.on('message', (answer: FileAnswer) => {
      // An answer that was on its way when this pool was closed.
      if (this.#isClosed) return
      const [waiting] = lane.due.splice(
        lane.due.findIndex(({ file }) => file === answer.file),
        1,
      )
      if (waiting?.file !== answer.file) throw new AssertionError('a file worker answered without a question')
      if (answer.ok) waiting.resolve(answer)
      else waiting.reject(errorFromMessage(answer.error))
    })
    // The thread has died, or this pool was closed.
    port.on('close', () => {
      this.#lanes.delete(lane)
      for (const waiting of lane.due.splice(0)) waiting.reject(this.#gone())
    })
    port.unref()
  }

  open(spec: FileSpec): FileWriter {
    const lane = this.#idlest()
    const file = this.#nextFile++
    lane?.port.postMessage({ op: 'open', file, spec } satisfies FileRequest)
    return {
      append: async (parts, commit) => this.#ask(lane, { op: 'append', file, parts, commit }),
      finish: async () => (await this.#ask(lane, { op: 'finish', file })).written ?? { files: [], placement: null },
      abort: async () => {
        try {
          await this.#ask(lane, { op: 'abort', file })
        } catch (error) {
          // A thread that has died writes nothing any more.
          if (lane && this.#lanes.has(lane)) throw error
        }
      },
    }
  }

  /** Writes a data file's key run anew from its key columns. */
  async rebuildRun(request: {
    warehouse: string
    uri: string
    fileSize: number
    fields: readonly Field[]
    key: KeySpec
    runPath: string
  }): Promise<void> {
    await this.#ask(this.#idlest(), { op: 'rebuild', file: this.#nextFile++, ...request })
  }

  /** Cells of a data file, see {@link CellReader}. */
  async readCells(request: {
    warehouse: string
    uri: string
    fileSize: number
    wanted: readonly WantedCells[]
    mostBytes: number
  }): Promise<readonly Cells[]> {
    const { cells } = await this.#ask(this.#idlest(), { op: 'cells', file: this.#nextFile++, ...request })
    return cells ?? []
  }

  close(): void {
    this.#isClosed = true
    this.#replacements.close()
    for (const lane of this.#lanes) {
      lane.port.close()
      for (const waiting of lane.due.splice(0)) waiting.reject(this.#gone())
    }
  }

  /** Null while no thread lives. */
  #idlest(): Lane | null {
    let best: Lane | null = null
    for (const lane of this.#lanes) if (best === null || lane.due.length < best.due.length) best = lane
    return best
  }

  /** Why a thread cannot be asked. */
  #gone(): FrazilError {
    return this.#isClosed ? new FrazilError('unavailable', 'closed', 'the engine is closing') : diedError(null)
  }

  #ask(lane: Lane | null, request: FileRequest): Promise<Extract<FileAnswer, { ok: true }>> {
    if (this.#isClosed || lane === null || !this.#lanes.has(lane)) return Promise.reject(this.#gone())
    return new Promise((resolve, reject) => {
      lane.due.push({ file: request.file, resolve, reject })
      // The thread keeps the process alive only while an answer is due.
      if (lane.due.length === 1) lane.port.ref()
      lane.port.postMessage(request)
    }).finally(() => {
      if (lane.due.length === 0) lane.port.unref()
    }) as Promise<Extract<FileAnswer, { ok: true }>>
  }
}
