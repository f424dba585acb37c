import { Worker, MessageChannel } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { AssertionError, FrazilError, errorFromMessage } from '../base/index.ts'
import type { Field, SharedPart } from '../data/index.ts'
import type { Cells, WantedCells } from './cell-reader.ts'
import type { FileAnswer, FileRequest, FileSpec, WrittenFiles } from './file-messages.ts'
import type { KeySpec } from './key-codec.ts'

/** The threads that write data files. One set for the process; each pipeline gets a port to every thread. */
export class FileWorkers {
  readonly #workers: Worker[] = []
  /** Called when a thread dies: nothing can be staged any more. */
  onDeath: ((error: Error) => void) | null = null

  constructor(threads: number) {
    for (let i = 0; i < threads; i++) {
      const worker = new Worker(new URL(`./file-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url), {
        name: `frazil-file-${i}`,
      })
      worker.on('error', (error) => this.onDeath?.(error instanceof Error ? error : new Error(String(error))))
      this.#workers.push(worker)
    }
  }

  /** A port to each thread, to be given to one {@link FilePool} (which may live in another thread). */
  connect(): MessagePort[] {
    return this.#workers.map((worker) => {
      const { port1, port2 } = new MessageChannel()
      worker.postMessage(port2, [port2])
      return port1
    })
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }
}

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
  abort(): Promise<void>
}

/** One owner's access to the file workers: the thread with the fewest answers due gets the next file. */
export class FilePool {
  readonly #lanes: Lane[]
  #nextFile = 1
  #isClosed = false

  constructor(ports: readonly MessagePort[]) {
    this.#lanes = ports.map((port) => {
      const lane: Lane = { port, due: [] }
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
        this.#isClosed = true
        for (const waiting of lane.due.splice(0)) waiting.reject(closed())
      })
      port.unref()
      return lane
    })
  }

  open(spec: FileSpec): FileWriter {
    const lane = this.#idlest()
    const file = this.#nextFile++
    lane.port.postMessage({ op: 'open', file, spec } satisfies FileRequest)
    return {
      append: async (parts, commit) => this.#ask(lane, { op: 'append', file, parts, commit }),
      finish: async () => (await this.#ask(lane, { op: 'finish', file })).written ?? { files: [], placement: null },
      abort: async () => {
        await this.#ask(lane, { op: 'abort', file })
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
    for (const lane of this.#lanes) {
      lane.port.close()
      for (const waiting of lane.due.splice(0)) waiting.reject(closed())
    }
  }

  #idlest(): Lane {
    return this.#lanes.reduce((best, lane) => (lane.due.length < best.due.length ? lane : best))
  }

  #ask(lane: Lane, request: FileRequest): Promise<Extract<FileAnswer, { ok: true }>> {
    if (this.#isClosed) return Promise.reject(closed())
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

function closed(): FrazilError {
  return new FrazilError('unavailable', 'closed', 'the engine is closing')
}
