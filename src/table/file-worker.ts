import type { MessagePort } from 'node:worker_threads'
import { FrazilError, asError, errorToMessage } from '../base/index.ts'
import { isAlive } from '../data/index.ts'
import type { Column, SharedPart, SharedSegment } from '../data/index.ts'
import { ParquetEncoder, ParquetReader } from '../format/parquet/index.ts'
import { openStore } from '../storage/index.ts'
import type { ObjectStore, ObjectWriter } from '../storage/index.ts'
import { CellReader, buffersOf } from './cell-reader.ts'
import type { FileAnswer, FileRequest, FileSpec } from './file-messages.ts'
import { keyReader, keyWords } from './key-codec.ts'
import type { KeySpec } from './key-codec.ts'
import { KeyRunBuilder } from './key-run.ts'

/** Bytes of encoded pages gathered before they are handed to the store. */
const writeBytes = 1 << 20
/** Arrays of so many bytes are given back by hand. */
const ownBytes = 4096
/** Rows of a row group: few enough to keep its pages in little memory, and readers busy with several at a time. */
const rowGroupRows = 262_144
/** Rows of key columns read at a time when a run is rebuilt. */
const rebuildRows = 262_144

const createdBy = 'frazil'

const cellReader = new CellReader()

/**
 * Frozen rows → Parquet, metrics and key run. Runs in a worker; every port is one owner, served in order, but for reads of cells:
 * somebody waits for those.
 */
export function serveFiles(port: MessagePort): void {
  const open = new Map<number, OpenFile | Error>()
  let turn: Promise<void> = Promise.resolve()
  port.on('message', (request: FileRequest) => {
    if (request.op === 'cells') {
      void readCells(port, request)
      return
    }
    turn = turn.then(async () => {
      let answer: FileAnswer | null
      try {
        answer = await serve(open, request)
      } catch (thrown) {
        answer = { file: request.file, ok: false, error: errorToMessage(thrown) }
      }
      if (answer) port.postMessage(answer)
    })
  })
}

type CellsRequest = Extract<FileRequest, { op: 'cells' }>

async function readCells(port: MessagePort, request: CellsRequest): Promise<void> {
  const { file, warehouse, uri, fileSize, wanted, mostBytes } = request
  try {
    const cells = await cellReader.read(warehouse, uri, fileSize, wanted, mostBytes)
    port.postMessage({ file, ok: true, rows: 0, bytes: 0, written: null, cells } satisfies FileAnswer, buffersOf(cells))
  } catch (thrown) {
    port.postMessage({ file, ok: false, error: errorToMessage(thrown) } satisfies FileAnswer)
  }
}

async function serve(
  open: Map<number, OpenFile | Error>,
  request: Exclude<FileRequest, CellsRequest>,
): Promise<FileAnswer | null> {
  const { file } = request
  const done = (rows: number, bytes: number, written: OpenFileResult['written'] = null): FileAnswer => ({
    file,
    ok: true,
    rows,
    bytes,
    written,
  })
  if (request.op === 'open') {
    try {
      open.set(file, new OpenFile(request.spec))
    } catch (thrown) {
      // Said in answer to the next request: this one has none.
      open.set(file, asError(thrown))
    }
    return null
  }
  if (request.op === 'rebuild') {
    const rows = await rebuildRun(openStore(request.warehouse), request)
    return done(rows, 0)
  }
  const current = open.get(file)
  if (!current) throw new FrazilError('unavailable', 'file-closed', 'the data file is not being written any more')
  if (request.op !== 'append') open.delete(file)
  if (current instanceof Error) {
    if (request.op === 'abort') return done(0, 0)
    throw current
  }
  if (request.op === 'append') {
    await current.append(request.parts, request.commit)
    return done(current.rows, current.bytes)
  }
  if (request.op === 'abort') {
    await current.abort()
    return done(0, 0)
  }
  try {
    const { written, bytes } = await current.finish()
    return done(current.rows, bytes, written)
  } catch (error) {
    await current.abort().catch(() => undefined)
    throw error
  }
}

interface OpenFileResult {
  readonly written: Extract<FileAnswer, { ok: true }>['written']
  readonly bytes: number
}

/** One data file being written. */
class OpenFile {
  readonly #spec: FileSpec
  readonly #store: ObjectStore
  readonly #encoder: ParquetEncoder
  readonly #run: KeyRunBuilder | null
  #chunks: Uint8Array<ArrayBuffer>[] = []
  #chunkBytes = 0
  #writer: ObjectWriter | null = null
  rows = 0
  /** Bytes encoded so far. */
  bytes = 0

  constructor(spec: FileSpec) {
    this.#spec = spec
    this.#store = openStore(spec.warehouse)
    this.#encoder = new ParquetEncoder({
      fields: spec.fields,
      rowGroupRows,
      createdBy,
      keyValues: { 'iceberg.schema': spec.schemaJson },
      emit: (bytes) => {
        this.#chunks.push(bytes)
        this.#chunkBytes += bytes.length
        this.bytes += bytes.length
      },
    })
    this.#run = spec.key && spec.runPath !== null ? new KeyRunBuilder(keyWords(spec.key)) : null
  }

  async append(parts: readonly SharedPart[], commit: number): Promise<void> {
    for (const { segment, from, to } of parts) {
      const selected = aliveRows(segment, from, to, commit)
      const count = selected ? selected.length : to - from
      if (count === 0) continue
      this.#encoder.append(segment, from, to, selected)
      if (this.#run && this.#spec.key) addKeys(this.#run, this.#spec.key, segment.columns, from, to, selected)
      this.rows += count
      if (this.#chunkBytes >= writeBytes) await this.#drain()
    }
  }

  async finish(): Promise<OpenFileResult> {
    if (this.rows === 0) {
      await this.abort()
      return { written: null, bytes: 0 }
    }
    const { recordCount, fileSize, metrics, splitOffsets } = this.#encoder.finish()
    await this.#drain()
    const writer = this.#writer ?? (await this.#store.writer(this.#spec.uri))
    const size = await writer.close()
    if (size !== fileSize)
      throw new FrazilError('corrupt', 'file-size', `a data file of ${fileSize} bytes was stored with ${size}`)
    if (this.#run && this.#spec.runPath !== null) this.#run.write(this.#spec.runPath)
    return { written: { path: this.#spec.uri, recordCount, fileSize, metrics, splitOffsets }, bytes: fileSize }
  }

  async abort(): Promise<void> {
    this.#chunks = []
    await this.#writer?.abort()
  }

  async #drain(): Promise<void> {
    this.#writer ??= await this.#store.writer(this.#spec.uri)
    const chunks = this.#chunks
    this.#chunks = []
    this.#chunkBytes = 0
    for (const chunk of chunks) {
      await this.#writer.write(chunk)
      // At once: the collector would let tens of megabytes pile up. Small arrays have no memory of their own.
      if (chunk.length >= ownBytes) chunk.buffer.transfer(0)
    }
  }
}

/** The rows of [from, to) alive at `commit`; null when all are. */
function aliveRows(segment: SharedSegment, from: number, to: number, commit: number): Int32Array | null {
  if (!segment.deletedAt) return null
  let dead = 0
  for (let row = from; row < to; row++) if (!isAlive(segment, row, commit)) dead++
  if (dead === 0) return null
  const rows = new Int32Array(to - from - dead)
  let count = 0
  for (let row = from; row < to; row++) if (isAlive(segment, row, commit)) rows[count++] = row
  return rows
}

function addKeys(
  run: KeyRunBuilder,
  key: KeySpec,
  columns: readonly Column[],
  from: number,
  to: number,
  selected: Int32Array | null,
): void {
  const read = keyReader(
    key,
    key.columns.map((i) => columns[i]),
  )
  const width = keyWords(key)
  const count = selected ? selected.length : to - from
  const { words, at } = run.reserve(count)
  for (let i = 0; i < count; i++) read(selected ? selected[i] : from + i, words, at + i * width)
}

async function rebuildRun(store: ObjectStore, request: Extract<FileRequest, { op: 'rebuild' }>): Promise<number> {
  const { uri, fileSize, key } = request
  const keyFields = key.columns.map((i) => request.fields[i])
  const reader = await ParquetReader.open({
    size: fileSize,
    read: (offset, length) => store.get(uri, { offset, length }),
  })
  const run = new KeyRunBuilder(keyWords(key), reader.rowCount)
  const positionsInKey: KeySpec = { ...key, columns: keyFields.map((_, i) => i) }
  for (let from = 0; from < reader.rowCount; from += rebuildRows) {
    const to = Math.min(reader.rowCount, from + rebuildRows)
    for await (const segment of reader.read(keyFields, from, to)) {
      addKeys(run, positionsInKey, segment.columns, 0, segment.capacity, null)
    }
  }
  run.write(request.runPath)
  return run.rows
}
