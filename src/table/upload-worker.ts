import { rmSync } from 'node:fs'
import { FrazilError, asError } from '../base/index.ts'
import type { SharedSegment } from '../data/index.ts'
import { ParquetEncoder, ParquetReader } from '../format/parquet/index.ts'
import type { DataFile, FieldMetrics, PartitionValues } from '../iceberg/index.ts'
import { openStore, openWithin } from '../storage/index.ts'
import type { ObjectStore, OutsideFile } from '../storage/index.ts'
import { freeColumns } from './cell-reader.ts'
import { addKeys } from './data-file-writer.ts'
import type { WrittenFile } from './file-messages.ts'
import { keyWords } from './key-codec.ts'
import type { KeySpec } from './key-codec.ts'
import { compareKeys } from './key-order.ts'
import { KeyRun } from './key-run.ts'
import { KeyRunBuilder } from './key-run-builder.ts'
import { LaidOutFiles } from './laid-out-files.ts'
import { LiveRows, liveParts } from './live-rows.ts'
import { orderRows } from './row-order.ts'
import type { UploadJob, UploadResult, UploadedFile } from './upload-messages.ts'
import { schemaProblems } from './upload-schema.ts'

/** Bytes copied at a time. */
const copyBytes = 4 << 20
/** Rows of a data file: positions of rows are 32-bit numbers. */
const mostRows = 2 ** 31 - 1
/** Bytes that the metrics of a file may take in memory while they are made. */
const measuredBytes = 8 << 20
/** Problems of a file that are told. */
const mostProblems = 10

/**
 * Takes files into a table, all or none: checks them against it, and makes data files and key runs of them. Every value is read once, so
 * that no file comes into a table that its readers cannot read. Throws `request`, code `file-refused`, for what is wrong with a file.
 */
export async function takeFiles(job: UploadJob): Promise<UploadResult> {
  const store = openStore(job.warehouse)
  const written: WrittenFile[] = []
  let byName = false
  try {
    for (const uploaded of job.files) {
      const file = await openWithin(uploaded.path, job.folders)
      try {
        const taken = await takeFile(job, store, uploaded, file)
        written.push(...taken.written)
        byName ||= taken.byName
      } catch (error) {
        throw refusal(uploaded.path, error)
      } finally {
        await file.close()
      }
    }
  } catch (error) {
    await store.delete([...written.map(({ file }) => file.path), ...job.files.map(({ uri }) => uri)]).catch(() => undefined)
    for (const { runPath } of [...written, ...job.files]) if (runPath !== null) rmSync(runPath, { force: true })
    throw error
  }
  return { written, rows: written.reduce((sum, { file }) => sum + file.recordCount, 0), byName }
}

async function takeFile(
  job: UploadJob,
  store: ObjectStore,
  uploaded: UploadedFile,
  file: OutsideFile,
): Promise<{ written: readonly WrittenFile[]; byName: boolean }> {
  const outside = await openParquet(file)
  checkSchema(job, outside)
  // None at all: there is nothing to take.
  if (outside.rowCount === 0) return { written: [], byName: false }
  if (job.operation === 'insert') return { written: await insertRows(job, outside, uploaded), byName: false }
  await copyFile(store, file, uploaded.uri)
  // What is checked is the copy: nobody changes it.
  const object = await store.reader(uploaded.uri)
  try {
    const copy = await openParquet({ size: file.size, read: (offset, length) => object.read(offset, length) })
    checkSchema(job, copy)
    const adopted = await adopt(job, copy, uploaded, file.size)
    return { written: [adopted], byName: !copy.hasIds }
  } finally {
    await object.close()
  }
}

function openParquet(file: Pick<OutsideFile, 'size' | 'read'>): Promise<ParquetReader> {
  return ParquetReader.open(file, { checkText: true })
}

function checkSchema({ fields, operation }: UploadJob, reader: ParquetReader): void {
  const problems = schemaProblems(reader.fields, fields, reader.hasIds ? 'id' : 'name', operation === 'insert')
  if (operation === 'adopt') problems.push(...reader.unusual.map((what) => `${what}, which Iceberg does not have`))
  if (reader.rowCount > mostRows) problems.push(`it has more than ${mostRows} rows`)
  if (problems.length === 0) return
  const more = problems.length > mostProblems ? `, and ${problems.length - mostProblems} more` : ''
  throw refused(`${problems.slice(0, mostProblems).join('; ')}${more}`)
}

async function copyFile(store: ObjectStore, file: OutsideFile, uri: string): Promise<void> {
  const writer = await store.writer(uri)
  try {
    for (let at = 0; at < file.size;) {
      const bytes = await file.read(at, Math.min(copyBytes, file.size - at))
      if (bytes.length === 0) throw refused('it became shorter while it was read')
      await writer.write(bytes)
      at += bytes.length
    }
  } catch (error) {
    await writer.abort()
    throw error
  }
  await writer.close()
}

/** Reads all of a data file as the table would, for its metrics, its partition, and its keys. */
async function adopt(
  { fields, key, layout }: UploadJob,
  reader: ParquetReader,
  { uri, runPath }: UploadedFile,
  fileSize: number,
): Promise<WrittenFile> {
  const { columns } = layout
  // Its bytes are of no use: it knows Iceberg's metrics of all that it is given, and refuses nulls where there may be none.
  const measure = new ParquetEncoder({
    fields,
    createdBy: '',
    codec: 'none',
    dictionaryBytes: 0,
    rowGroupBytes: measuredBytes,
    emit: () => undefined,
    ...(columns ? { metrics: (id) => columns.metrics[id] ?? 'none' } : {}),
  })
  const run = key && runPath !== null ? new KeyRunBuilder(runPath, keyWords(key)) : null
  let partition: PartitionValues | null = null
  try {
    for await (const segment of reader.read(fields)) {
      measure.append(segment, 0, segment.capacity, null)
      if (run && key) addKeys(run, key, segment.columns, 0, segment.capacity, null)
      if (layout.partition.length > 0) partition = onlyPartition(layout, segment, partition)
      freeColumns(segment.columns)
    }
    const { metrics } = measure.finish()
    if (run && key && runPath !== null) {
      run.write()
      checkUnique(runPath, key, reader.rowCount)
    }
    const bytes = reader.chunkBytes(fields)
    const file: DataFile = {
      path: uri,
      recordCount: reader.rowCount,
      fileSize,
      metrics: metrics.flatMap((each): FieldMetrics[] =>
        bytes.has(each.fieldId) ? [{ ...each, columnSize: bytes.get(each.fieldId) ?? 0 }] : [],
      ),
      splitOffsets: reader.splitOffsets,
      partition: { specId: layout.specId, values: partition ?? [] },
    }
    return { file, runPath }
  } finally {
    run?.discard()
  }
}

/** The one partition that all rows so far are in. */
function onlyPartition(layout: UploadJob['layout'], segment: SharedSegment, before: PartitionValues | null): PartitionValues {
  const live = new LiveRows(liveParts([{ segment, from: 0, to: segment.capacity }], 0))
  const { groups } = orderRows(live, { ...layout, sort: [] })
  const all = [...(before ? [before] : []), ...groups.map(({ values }) => values)]
  const text = (values: PartitionValues): string => JSON.stringify(values.map((value) => value && [...value]))
  if (new Set(all.map(text)).size > 1) {
    throw refused(
      'its rows are in several partitions of the table',
      'Send it with "operation": "insert": its rows are then written anew.',
    )
  }
  return all[0]
}

/** Writes the rows of a file as the table has them. */
async function insertRows(
  job: UploadJob,
  reader: ParquetReader,
  { uri, runPath }: UploadedFile,
): Promise<readonly WrittenFile[]> {
  const { warehouse, fields, schemaJson, key, layout } = job
  const files = new LaidOutFiles({ warehouse, uri, fields, schemaJson, key, runPath, layout, atOnce: false })
  // Equal keys may go to several files.
  const keysPath = key && runPath !== null ? `${runPath}.keys` : null
  const keys = key && keysPath !== null ? new KeyRunBuilder(keysPath, keyWords(key)) : null
  try {
    for await (const segment of reader.read(fields)) {
      await files.append([{ segment, from: 0, to: segment.capacity }], 0)
      if (keys && key) addKeys(keys, key, segment.columns, 0, segment.capacity, null)
      freeColumns(segment.columns)
    }
    if (keys && key && keysPath !== null) {
      keys.write()
      checkUnique(keysPath, key, reader.rowCount)
    }
    return (await files.finish()).files
  } catch (error) {
    await files.abort().catch(() => undefined)
    throw error
  } finally {
    keys?.discard()
    if (keysPath !== null) rmSync(keysPath, { force: true })
  }
}

/** Throws when two rows of a key run have one key. */
function checkUnique(path: string, key: KeySpec, rows: number): void {
  const run = KeyRun.open(path, keyWords(key), rows)
  try {
    const { width } = run
    const stride = width + 1
    const last = new Int32Array(stride)
    let isFirst = true
    for (const { entries, count } of run.blocks()) {
      for (let i = 0; i < count; i++) {
        const before = i === 0 ? last : entries
        const at = i === 0 ? 0 : (i - 1) * stride
        if (!(isFirst && i === 0) && compareKeys(before, at, entries, i * stride, width) === 0) {
          const pair = [before[at + width], entries[i * stride + width]].sort((a, b) => a - b)
          throw refused(`rows ${pair[0] + 1} and ${pair[1] + 1} have the same key`, 'A file has each key once.')
        }
      }
      isFirst = false
      last.set(entries.subarray((count - 1) * stride, count * stride))
    }
  } finally {
    run.close()
  }
}

function refused(what: string, hint?: string): FrazilError {
  return new FrazilError('request', 'file-refused', what, hint === undefined ? {} : { hint })
}

/** What is wrong with a file, with its name. What has nothing to do with it stays as it is. */
function refusal(path: string, thrown: unknown): Error {
  const error = asError(thrown)
  if (!(error instanceof FrazilError)) return error
  const isOfFile = error.code === 'file-refused' || error.kind === 'corrupt' || error.kind === 'unsupported'
  if (!isOfFile) return error
  return new FrazilError('request', 'file-refused', `${path} is not taken: ${error.message}`, { hint: error.hint, cause: error })
}
