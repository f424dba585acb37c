import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import { SlabPool } from '../../src/base/index.ts'
import { startThread } from '../../src/table/compaction-host.ts'
import type { CompactionJob } from '../../src/table/compaction-messages.ts'
import { CompactionThread, Compactions } from '../../src/table/index.ts'
import { DataFileWriter } from '../../src/table/data-file-writer.ts'
import { field, segmentWith } from './rows.ts'

const folder = mkdtempSync(join(tmpdir(), 'frazil-compaction-thread-'))
after(() => rmSync(folder, { recursive: true }))

it('a compaction thread that dies takes its job with it and says so; the next job gets another thread', async () => {
  const fields = [field('n', { kind: 'int' }, false, 1)]
  const pool = new SlabPool({ budget: 16 << 20 })
  const rows = Array.from({ length: 60 }, (_, i) => [i])
  const spec = {
    warehouse: folder,
    uri: `file://${folder}/in.parquet`,
    fields,
    schemaJson: '{}',
    key: null,
    runPath: null,
    columns: null,
  }
  const writer = new DataFileWriter(spec)
  await writer.append(segmentWith(pool, fields, rows).share(), 0, rows.length, null)
  const file = (await writer.finish()) ?? assert.fail('a file was written')
  const job = (name: string, bytesPerSecond: number): CompactionJob => ({
    ...spec,
    inputs: [{ uri: file.path, fileSize: file.fileSize, rows: 60, dead: null, firstRowId: 0n, sequenceNumber: 1n }],
    outputs: [{ uri: `file://${folder}/${name}.parquet`, runPath: null, rows: 60 }],
    sort: null,
    bytesPerSecond,
  })
  const workers: Worker[] = []
  const thread = new CompactionThread(() => {
    const worker = startThread()
    workers.push(worker)
    return worker
  })
  const compactions = new Compactions(thread.connect().port)
  try {
    // It would take minutes.
    const dying = compactions.compact(job('first', 1))
    const refused = assert.rejects(dying, { kind: 'unavailable', code: 'compaction-thread' })
    while (workers.length === 0) await new Promise((resolve) => setImmediate(resolve))
    await workers[0].terminate()
    await refused
    const { files } = await compactions.compact(job('second', Number.POSITIVE_INFINITY))
    assert.deepEqual(
      files.map(({ recordCount }) => recordCount),
      [60],
    )
    assert.equal(workers.length, 2)
    // One that dies while nobody waits for it is replaced, too.
    await workers[1].terminate()
    await compactions.compact(job('third', Number.POSITIVE_INFINITY))
    assert.equal(workers.length, 3)
  } finally {
    compactions.close()
    await thread.close()
  }
})

it('whoever has gone while its job ran is let go by the end of the thread', { timeout: 180_000 }, async () => {
  const started = Promise.withResolvers<void>()
  const thread = new CompactionThread(() => {
    started.resolve()
    // Never answers, as one that is ended before it has given up what it did.
    return new Worker('setInterval(() => undefined, 1000)', { eval: true })
  })
  const { port, ended } = thread.connect()
  const compactions = new Compactions(port)
  const job = {
    warehouse: folder,
    fields: [],
    schemaJson: '{}',
    key: null,
    inputs: [],
    outputs: [],
    sort: null,
    columns: null,
    bytesPerSecond: 1,
  }
  const refused = assert.rejects(compactions.compact(job), { code: 'closed' })
  await started.promise
  compactions.close()
  await refused
  await thread.close()
  await ended
})

it('keeps to the bytes a second that it is given, for what it reads and what it writes', async () => {
  const fields = [field('n', { kind: 'binary' }, false, 1)]
  const pool = new SlabPool({ budget: 16 << 20 })
  // Nothing that can be compressed.
  const rows = Array.from({ length: 60 }, () => [new Uint8Array(randomBytes(1000))])
  const spec = {
    warehouse: folder,
    uri: `file://${folder}/paced.parquet`,
    fields,
    schemaJson: '{}',
    key: null,
    runPath: null,
    columns: null,
  }
  const writer = new DataFileWriter(spec)
  await writer.append(segmentWith(pool, fields, rows, { heapBytes: 1 << 17 }).share(), 0, rows.length, null)
  const file = (await writer.finish()) ?? assert.fail('a file was written')
  assert.ok(file.fileSize > 60_000)
  const thread = new CompactionThread()
  const compactions = new Compactions(thread.connect().port)
  const bytesPerSecond = 400_000
  try {
    const started = performance.now()
    const { files } = await compactions.compact({
      ...spec,
      inputs: [{ uri: file.path, fileSize: file.fileSize, rows: 60, dead: null, firstRowId: 0n, sequenceNumber: 1n }],
      outputs: [{ uri: `file://${folder}/paced-out.parquet`, runPath: null, rows: 60 }],
      sort: null,
      bytesPerSecond,
    })
    // It may take longer, but never less.
    const least = ((60_000 + files[0].fileSize) / bytesPerSecond) * 1000
    assert.ok(performance.now() - started >= least - 2, `${performance.now() - started} of ${least} ms`)
  } finally {
    compactions.close()
    await thread.close()
  }
})
