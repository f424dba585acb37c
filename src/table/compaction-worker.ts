import type { MessagePort } from 'node:worker_threads'
import { setTimeout as sleep } from 'node:timers/promises'
import { FrazilError, assert, errorToMessage } from '../base/index.ts'
import type { Column, Field, SharedSegment } from '../data/index.ts'
import { isPresent } from '../data/index.ts'
import { ParquetReader } from '../format/parquet/index.ts'
import { lastUpdatedField, rowIdField } from '../iceberg/index.ts'
import type { DataFile } from '../iceberg/index.ts'
import { openStore } from '../storage/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import type {
  CompactionAnswer,
  CompactionInput,
  CompactionJob,
  CompactionRequest,
  CompactionResult,
  CompactionSort,
} from './compaction-messages.ts'
import { freeColumns } from './cell-reader.ts'
import { DataFileWriter } from './data-file-writer.ts'
import { RowSorter } from './row-sorter.ts'

const lineage: readonly Field[] = [rowIdField, lastUpdatedField]

/** Longest pause at one time, so that a job that is cancelled ends soon. */
const longestPauseMs = 100

/** Writes data files anew, one job after another; for a thread of its own, so that nobody waits for it. */
export function serveCompactions(port: MessagePort): void {
  let running: AbortController | null = null
  let turn: Promise<void> = Promise.resolve()
  port.on('message', (request: CompactionRequest) => {
    if (request.op === 'cancel') {
      running?.abort()
      return
    }
    turn = turn.then(async () => {
      running = new AbortController()
      let answer: CompactionAnswer
      try {
        answer = { ok: true, ...(await compactFiles(request.job, running.signal)) }
      } catch (thrown) {
        answer = { ok: false, error: errorToMessage(thrown) }
      }
      running = null
      port.postMessage(answer, answer.ok && answer.placement ? [answer.placement.buffer] : [])
    })
  })
  port.on('close', () => running?.abort())
}

/** Writes the live rows of the inputs into the outputs. When it throws, none of those is left. */
async function compactFiles(job: CompactionJob, signal: AbortSignal): Promise<CompactionResult> {
  const store = openStore(job.warehouse)
  const pace = new Pace(job.bytesPerSecond, signal)
  const outputs = new Outputs(job, pace)
  const sorter = job.sort && sorterFor(job, job.sort, pace)
  try {
    for (const input of job.inputs) {
      await eachBatch(store, job.fields, input, pace, async (segment, selected) => {
        if (sorter) return sorter.add(segment, selected)
        await outputs.append(segment, selected)
        freeColumns(segment.columns)
      })
    }
    if (sorter) for await (const segment of sorter.sorted()) await outputs.append(segment, allRows(segment.capacity))
    return { files: outputs.end(), placement: sorter?.placement ?? null }
  } catch (error) {
    await outputs.remove(store)
    throw error
  } finally {
    sorter?.close()
  }
}

function sorterFor(job: CompactionJob, sort: CompactionSort, pace: Pace): RowSorter {
  const rows = job.outputs.reduce((sum, output) => sum + output.rows, 0)
  return new RowSorter({ ...sort, fields: [...job.fields, ...lineage], rows, spend: (bytes) => pace.spend(bytes) })
}

function allRows(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, row) => row)
}

/**
 * Reads an input from end to end, in batches that have its row lineage behind the fields. `selected`: the live rows of a batch, whose
 * memory belongs to who takes it.
 */
async function eachBatch(
  store: ObjectStore,
  fields: readonly Field[],
  input: CompactionInput,
  pace: Pace,
  take: (segment: SharedSegment, selected: Int32Array) => Promise<void>,
): Promise<void> {
  const object = await store.reader(input.uri)
  try {
    const read = async (offset: number, length: number): Promise<Uint8Array> => {
      await pace.spend(length)
      return object.read(offset, length)
    }
    const reader = await ParquetReader.open({ size: input.fileSize, read })
    if (reader.rowCount !== input.rows) {
      throw new FrazilError('corrupt', 'data-file', `a data file has ${reader.rowCount} rows and should have ${input.rows}`)
    }
    let position = 0
    for await (const segment of reader.read([...fields, ...lineage])) {
      const selected = liveRows(input.dead, position, segment.capacity)
      if (selected.length > 0) await take(withLineage(segment, position, input), selected)
      else freeColumns(segment.columns)
      position += segment.capacity
    }
  } finally {
    await object.close()
  }
}

/** Rows of the batch that begins at `position` which are not dead. */
function liveRows(dead: Uint8Array | null, position: number, count: number): Int32Array {
  const rows = new Int32Array(count)
  let live = 0
  for (let row = 0; row < count; row++) {
    const at = position + row
    if (dead === null || (dead[at >> 3] & (1 << (at & 7))) === 0) rows[live++] = row
  }
  return rows.subarray(0, live)
}

function withLineage(segment: SharedSegment, position: number, { firstRowId, sequenceNumber }: CompactionInput): SharedSegment {
  const columns = segment.columns.slice(0, -lineage.length)
  const own = segment.columns.slice(-lineage.length)
  // Without row ids a row has no lineage at all.
  if (firstRowId === null) return segment
  const [rowIds, updated] = own
  const resolved = [
    filled(rowIds, segment.capacity, safeNumber(firstRowId) + position, 1),
    filled(updated, segment.capacity, safeNumber(sequenceNumber), 0),
  ]
  freeColumns(own)
  return { ...segment, columns: [...columns, ...resolved] }
}

/** The column with `first + row * step` in rows that have no value. */
function filled(column: Column, rows: number, first: number, step: 0 | 1): Column {
  const words = new Int32Array(rows * 2)
  for (let row = 0; row < rows; row++) {
    if (isPresent(column, row)) {
      words[2 * row] = column.words[2 * row]
      words[2 * row + 1] = column.words[2 * row + 1]
    } else {
      const value = first + row * step
      words[2 * row] = value | 0
      words[2 * row + 1] = Math.floor(value / 2 ** 32)
    }
  }
  return { ...column, valid: null, data: new Uint8Array(words.buffer), words }
}

function safeNumber(value: bigint): number {
  const number = Number(value)
  assert(Number.isSafeInteger(number + 2 ** 32), 'row ids and sequence numbers are counted from 0, one by one')
  return number
}

/** The outputs of a job, filled one after another. */
class Outputs {
  readonly #job: CompactionJob
  readonly #pace: Pace
  readonly #files: DataFile[] = []
  #writer: DataFileWriter | null = null
  #paid = 0

  constructor(job: CompactionJob, pace: Pace) {
    this.#job = job
    this.#pace = pace
  }

  async append(segment: SharedSegment, selected: Int32Array): Promise<void> {
    for (let from = 0; from < selected.length;) {
      const output = this.#job.outputs[this.#files.length]
      assert(output, 'the outputs have room for all rows')
      const { warehouse, fields, schemaJson, key, columns } = this.#job
      const { uri, runPath, rows } = output
      this.#writer ??= new DataFileWriter({ warehouse, uri, fields, schemaJson, key, runPath, columns }, lineage)
      const writer = this.#writer
      const to = Math.min(selected.length, from + rows - writer.rows)
      await writer.append(segment, 0, segment.capacity, selected.subarray(from, to))
      await this.#pay(writer.bytes)
      from = to
      if (writer.rows < rows) continue
      const file = await writer.finish()
      assert(file, 'an output has rows')
      await this.#pay(file.fileSize)
      this.#paid = 0
      this.#files.push(file)
      this.#writer = null
    }
  }

  async #pay(bytes: number): Promise<void> {
    await this.#pace.spend(bytes - this.#paid)
    this.#paid = bytes
  }

  end(): DataFile[] {
    assert(this.#files.length === this.#job.outputs.length, 'every output was filled')
    return this.#files
  }

  async remove(store: ObjectStore): Promise<void> {
    await this.#writer?.abort().catch(() => undefined)
    const written = this.#job.outputs.slice(0, this.#files.length + 1)
    await store.delete(written.map(({ uri }) => uri)).catch(() => undefined)
  }
}

/** Holds reading and writing to a number of bytes a second. */
class Pace {
  readonly #bytesPerSecond: number
  readonly #signal: AbortSignal
  readonly #started = performance.now()
  #spent = 0

  constructor(bytesPerSecond: number, signal: AbortSignal) {
    this.#bytesPerSecond = bytesPerSecond
    this.#signal = signal
  }

  /** Waits until so many bytes more are due. Throws `closed` when the job was cancelled. */
  async spend(bytes: number): Promise<void> {
    this.#spent += bytes
    for (;;) {
      if (this.#signal.aborted) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
      const early = (this.#spent / this.#bytesPerSecond) * 1000 - (performance.now() - this.#started)
      if (early < 1) return
      await sleep(Math.min(early, longestPauseMs))
    }
  }
}
