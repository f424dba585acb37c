import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { MessageChannel } from 'node:worker_threads'
import { SlabPool } from '../../src/base/index.ts'
import { columnOf } from '../../src/data/index.ts'
import type { Field } from '../../src/data/index.ts'
import { FilePool, KeyRun, keySpecOf } from '../../src/table/index.ts'
import { serveFiles } from '../../src/table/file-worker.ts'
import { keyReader } from '../../src/table/key-codec.ts'
import { field, noLayout, segmentWith } from './rows.ts'

const folder = mkdtempSync(join(tmpdir(), 'frazil-files-'))
const { port1, port2 } = new MessageChannel()
serveFiles(port2)
port2.unref()
const files = new FilePool({ lanes: [port1], replacements: new MessageChannel().port1 })
after(() => {
  files.close()
  rmSync(folder, { recursive: true })
})

const fields: Field[] = [field('k', { kind: 'long' }, true, 1), field('v', { kind: 'string' }, false, 2)]
const key = keySpecOf(fields, { kind: 'columns', columns: [0] })
let nextFile = 1

function newFile(options: { fields?: readonly Field[]; runPath?: string; warehouse?: string } = {}) {
  const { warehouse = folder, runPath = join(folder, 'runs', `${nextFile}.run`) } = options
  const uri = `file://${warehouse}/data/${nextFile++}.parquet`
  const writer = files.open({
    warehouse,
    uri,
    fields: options.fields ?? fields,
    schemaJson: '{}',
    key,
    runPath,
    layout: noLayout,
    atOnce: false,
  })
  return { writer, uri, runPath }
}

function part(rows: number, first = 0) {
  const pool = new SlabPool({ budget: 4 << 20 })
  const segment = segmentWith(
    pool,
    fields,
    Array.from({ length: rows }, (_, i) => [BigInt(first + i), `v${first + i}`]),
  )
  return { segment: segment.share(), from: 0, to: rows }
}

describe('file pool', () => {
  it('says why a file cannot be written, to the one who asked for it', async () => {
    const noFields = field('s', { kind: 'struct', fields: [] }, false, 3)
    const good = newFile()
    const first = good.writer.append([part(5)], 1)
    const bad = newFile({ fields: [...fields, noFields] })
    const refused = assert.rejects(bad.writer.append([part(5)], 1), { kind: 'unsupported' })
    const second = good.writer.append([part(7, 5)], 1)
    await refused
    assert.equal((await first).rows, 5)
    assert.equal((await second).rows, 12)
    await bad.writer.abort()
    assert.equal((await good.writer.finish()).files[0].file.recordCount, 12)
  })

  it('leaves nothing of a file that could not be finished', async () => {
    writeFileSync(join(folder, 'in-the-way'), '')
    const { writer } = newFile({ runPath: join(folder, 'in-the-way', 'x.run') })
    await writer.append([part(3)], 1)
    await assert.rejects(writer.finish())
    await assert.rejects(writer.append([part(3)], 1), { code: 'file-closed' })
    const unfinished = readdirSync(join(folder, '.store'), { recursive: true, encoding: 'utf8' })
    assert.deepEqual(
      unfinished.filter((name) => /draft|tmp/.test(name)),
      [],
    )
  })

  it('writes no file without rows, and none that was aborted', async () => {
    const empty = newFile()
    assert.deepEqual((await empty.writer.finish()).files, [])
    const aborted = newFile()
    await aborted.writer.append([part(3)], 1)
    await aborted.writer.abort()
    for (const { uri } of [empty, aborted]) {
      assert.ok(!readdirSync(join(folder, 'data')).includes(uri.split('/').at(-1) ?? ''))
    }
  })

  it('rebuilds a key run as it was written', async () => {
    const { writer, uri, runPath } = newFile()
    await writer.append([part(60, 7), part(60, 1000), part(60, -500)], 1)
    const [{ file }] = (await writer.finish()).files
    const rebuilt = `${runPath}.again`
    assert.ok(key)
    await files.rebuildRun({ warehouse: folder, uri, fileSize: file.fileSize, fields, key, runPath: rebuilt })
    const keys = [7n, 66n, 67n, 1059n, -500n, -441n, -440n, 0n]
    const read = keyReader(key, [columnOf(fields[0], keys)])
    const words = new Int32Array(2)
    const found = [runPath, rebuilt].map((path) => {
      const run = KeyRun.open(path, 2, file.recordCount)
      const positions = keys.map((_, i) => {
        read(i, words, 0)
        const at: number[] = []
        run.find(words, 0, (position) => (at.push(position), false))
        return at
      })
      run.close()
      return positions
    })
    assert.deepEqual(found[0], [[0], [59], [], [119], [120], [179], [], []])
    assert.deepEqual(found[1], found[0])
  })

  it(
    'keeps files that were read open, and no longer than it is open itself',
    { skip: process.platform !== 'linux' },
    async () => {
      const { writer, uri } = newFile()
      await writer.append([part(9)], 1)
      const written = await writer.finish()
      const isOpen = (): boolean =>
        readdirSync('/proc/self/fd').some((fd) => uri.endsWith(readlinkOf(join('/proc/self/fd', fd)) ?? 'none'))
      const channel = new MessageChannel()
      serveFiles(channel.port2)
      const closing = new FilePool({ lanes: [channel.port1], replacements: new MessageChannel().port1 })
      const wanted = [{ field: fields[1], positions: Int32Array.of(2, 7) }]
      const cells = await closing.readCells({
        warehouse: folder,
        uri,
        fileSize: written?.files[0].file.fileSize ?? 0,
        wanted,
        mostBytes: 1 << 20,
      })
      assert.equal(cells[0].rows, 2)
      assert(isOpen())
      const closed = once(channel.port2, 'close')
      closing.close()
      await closed
      // The descriptor goes in a turn of its own.
      await new Promise(setImmediate)
      assert(!isOpen())
    },
  )

  it('answers nobody after it was closed', async () => {
    const channel = new MessageChannel()
    serveFiles(channel.port2)
    channel.port2.unref()
    const closing = new FilePool({ lanes: [channel.port1], replacements: new MessageChannel().port1 })
    const writer = closing.open({
      warehouse: folder,
      uri: `file://${folder}/data/x.parquet`,
      fields,
      schemaJson: '{}',
      key: null,
      runPath: null,
      layout: noLayout,
      atOnce: false,
    })
    const due = writer.append([part(3)], 1)
    closing.close()
    await assert.rejects(due, { kind: 'unavailable', code: 'closed' })
    await assert.rejects(writer.finish(), { kind: 'unavailable', code: 'closed' })
  })
})

/** Null for what is closed meanwhile. */
function readlinkOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}
