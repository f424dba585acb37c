import type { MessagePort } from 'node:worker_threads'
import { FrazilError, asError, errorToMessage } from '../base/index.ts'
import { ParquetReader } from '../format/parquet/index.ts'
import { openStore } from '../storage/index.ts'
import type { ObjectStore } from '../storage/index.ts'
import { CellReader, buffersOf } from './cell-reader.ts'
import { addKeys } from './data-file-writer.ts'
import type { FileAnswer, FileRequest, WrittenFiles } from './file-messages.ts'
import { LaidOutFiles } from './laid-out-files.ts'
import { keyWords } from './key-codec.ts'
import type { KeySpec } from './key-codec.ts'
import { KeyRunBuilder } from './key-run-builder.ts'

/** Rows of key columns read at a time when a run is rebuilt. */
const rebuildRows = 262_144

/**
 * Frozen rows → Parquet, metrics and key run. Runs in a worker; every port is one owner, served in order, but for reads of cells:
 * somebody waits for those. When the port is closed, what was not finished is removed.
 *
 * @param ended called when the port was closed and nothing of the owner is under way any more
 */
export function serveFiles(port: MessagePort, ended: () => void = () => undefined): void {
  const open = new Map<number, LaidOutFiles | Error>()
  const cellReader = new CellReader()
  const reading = new Set<Promise<void>>()
  let turn: Promise<void> = Promise.resolve()
  let isClosed = false
  port.on('close', () => {
    isClosed = true
    cellReader.close()
    turn = turn.then(async () => {
      for (const file of open.values()) if (!(file instanceof Error)) await file.abort().catch(() => undefined)
      open.clear()
      await Promise.all(reading)
      ended()
    })
  })
  port.on('message', (request: FileRequest) => {
    if (request.op === 'cells') {
      const read = readCells(port, cellReader, request).finally(() => reading.delete(read))
      reading.add(read)
      return
    }
    turn = turn.then(async () => {
      if (isClosed) return
      let answer: FileAnswer | null
      try {
        answer = await serve(open, request)
      } catch (thrown) {
        answer = { file: request.file, ok: false, error: errorToMessage(thrown) }
      }
      const placement = answer?.ok === true ? answer.written?.placement : null
      if (answer) port.postMessage(answer, placement ? [placement.buffer as ArrayBuffer] : [])
    })
  })
}

type CellsRequest = Extract<FileRequest, { op: 'cells' }>

async function readCells(port: MessagePort, cellReader: CellReader, request: CellsRequest): Promise<void> {
  const { file, warehouse, uri, fileSize, wanted, mostBytes } = request
  try {
    const cells = await cellReader.read(warehouse, uri, fileSize, wanted, mostBytes)
    port.postMessage(
      { file, ok: true, rows: 0, bytes: 0, written: null, cells } satisfies FileAnswer,
      buffersOf(cells.map(({ column }) => column)),
    )
  } catch (thrown) {
    port.postMessage({ file, ok: false, error: errorToMessage(thrown) } satisfies FileAnswer)
  }
}

async function serve(
  open: Map<number, LaidOutFiles | Error>,
  request: Exclude<FileRequest, CellsRequest>,
): Promise<FileAnswer | null> {
  const { file } = request
  const done = (rows: number, bytes: number, written: WrittenFiles | null = null): FileAnswer => ({
    file,
    ok: true,
    rows,
    bytes,
    written,
  })
  if (request.op === 'open') {
    try {
      open.set(file, new LaidOutFiles(request.spec))
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
    const written = await current.finish()
    return done(current.rows, current.bytes, written)
  } catch (error) {
    await current.abort().catch(() => undefined)
    throw error
  }
}

async function rebuildRun(store: ObjectStore, request: Extract<FileRequest, { op: 'rebuild' }>): Promise<number> {
  const { uri, fileSize, key } = request
  const keyFields = key.columns.map((i) => request.fields[i])
  const reader = await ParquetReader.open({
    size: fileSize,
    read: (offset, length) => store.get(uri, { offset, length }),
  })
  const run = new KeyRunBuilder(request.runPath, keyWords(key))
  const positionsInKey: KeySpec = { ...key, columns: keyFields.map((_, i) => i) }
  try {
    for (let from = 0; from < reader.rowCount; from += rebuildRows) {
      const to = Math.min(reader.rowCount, from + rebuildRows)
      for await (const segment of reader.read(keyFields, from, to)) {
        addKeys(run, positionsInKey, segment.columns, 0, segment.capacity, null)
      }
    }
    run.write()
  } finally {
    run.discard()
  }
  return run.rows
}
