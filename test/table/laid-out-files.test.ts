import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { MessageChannel } from 'node:worker_threads'
import * as fc from 'fast-check'
import { SlabPool, seededRandom } from '../../src/base/index.ts'
import { columnOf, readRow } from '../../src/data/index.ts'
import type { Field, SharedPart, Value } from '../../src/data/index.ts'
import { ParquetReader } from '../../src/format/parquet/index.ts'
import { singleValueAt, transformColumn } from '../../src/iceberg/index.ts'
import type { FileLayout } from '../../src/iceberg/index.ts'
import { FilePool } from '../../src/table/index.ts'
import type { WrittenFile } from '../../src/table/index.ts'
import { serveFiles } from '../../src/table/file-worker.ts'
import { anyPrimitive, valueOf } from '../data/any-field.ts'
import { anyLayout, compareAs, field, rowText, segmentWith } from './rows.ts'

const folder = mkdtempSync(join(tmpdir(), 'frazil-laid-out-'))
const { port1, port2 } = new MessageChannel()
serveFiles(port2)
port2.unref()
const files = new FilePool({ lanes: [port1], replacements: new MessageChannel().port1 })
after(() => {
  files.close()
  rmSync(folder, { recursive: true })
})
let nextFile = 1

/** Files in a folder that this process has open. */
function openFilesIn(parent: string): number {
  let count = 0
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).startsWith(parent)) count++
    } catch {
      // Closed meanwhile.
    }
  }
  return count
}

async function write(fields: readonly Field[], layout: FileLayout, appends: readonly (readonly SharedPart[])[], commit = 1) {
  const writer = files.open({
    warehouse: folder,
    uri: `file://${folder}/data/${nextFile++}.parquet`,
    fields,
    schemaJson: '{}',
    key: null,
    runPath: null,
    layout,
    atOnce: appends.length === 1,
  })
  for (const parts of appends) await writer.append(parts, commit)
  return writer.finish()
}

async function rowsOf({ file }: WrittenFile, fields: readonly Field[]): Promise<Value[][]> {
  const bytes = readFileSync(file.path.slice('file://'.length))
  const reader = await ParquetReader.open({
    size: bytes.length,
    read: async (offset, length) => new Uint8Array(bytes.subarray(offset, offset + length)),
  })
  const rows: Value[][] = []
  for await (const segment of reader.read(fields, 0, reader.rowCount)) {
    for (let row = 0; row < segment.capacity; row++) rows.push(readRow(segment, row))
  }
  return rows
}

function checkFile({ file }: WrittenFile, rows: readonly Value[][], fields: readonly Field[], layout: FileLayout): void {
  const numbers = Int32Array.from(rows, (_, i) => i)
  const columnAt = (position: number) =>
    columnOf(
      fields[position],
      rows.map((row) => row[position]),
    )
  layout.partition.forEach(({ column, transform }, i) => {
    const values = transformColumn(transform, columnAt(column), numbers)
    for (const row of numbers) assert.deepEqual(singleValueAt(values, row), file.partition?.values[i], 'the partition of a row')
  })
  if (file.sortOrderId === undefined) return
  for (let row = 1; row < rows.length; row++) {
    for (const { column, transform, descending, nullsFirst } of layout.sort) {
      // Other transforms are compared where the values have a plain order.
      if (transform.kind !== 'identity') break
      const [a, b] = [rows[row - 1][column], rows[row][column]]
      const order = compareAs({ descending, nullsFirst }, a, b)
      assert.ok(order <= 0, `rows are in the order of column ${column}`)
      if (order < 0) break
    }
  }
}

describe('laid out files', () => {
  it('have every row once, in its partition, in the order that is asked for, at the place that is said', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc
          .array(anyPrimitive, { minLength: 1, maxLength: 5 })
          .map((types) => types.map((type, i) => field(`c${i}`, type, false, i + 1)))
          .chain((fields) =>
            fc.tuple(
              fc.constant(fields),
              fc.array(
                fc.array(fc.tuple(...fields.map(({ type }) => fc.option(valueOf(type), { freq: 5 }))), {
                  minLength: 1,
                  maxLength: 30,
                }),
                { minLength: 1, maxLength: 3 },
              ),
            ),
          ),
        fc.nat(),
        fc.boolean(),
        async ([fields, parts], seed, atOnce) => {
          const random = seededRandom(seed)
          const layout = anyLayout(fields, random)
          const pool = new SlabPool({ budget: 16 << 20 })
          const alive: string[] = []
          const segments = parts.map((rows) => {
            const segment = segmentWith(pool, fields, rows)
            for (const [row, values] of rows.entries()) {
              const isDead = random.below(4) === 0
              if (isDead && segment.deletedAt) segment.deletedAt[row] = 1
              else alive.push(rowText(values))
            }
            return { segment: segment.share(), from: 0, to: rows.length }
          })
          const written = await write(fields, layout, atOnce ? [segments] : segments.map((part) => [part]))
          const found: string[] = []
          for (const file of written.files) {
            const rows = await rowsOf(file, fields)
            assert.equal(rows.length, file.file.recordCount)
            checkFile(file, rows, fields, layout)
            found.push(...rows.map(rowText))
          }
          assert.deepEqual(found.toSorted(), alive.toSorted())
          if (!atOnce) return
          const keys = written.files.map(({ file }) => JSON.stringify(file.partition))
          assert.equal(new Set(keys).size, keys.length, 'a partition has one file')
          const { placement } = written
          assert.deepEqual(
            alive.map((_, rank) => found[placement ? placement[rank] : rank]),
            alive,
          )
        },
      ),
      { numRuns: 150 },
    )
  })

  it('have cells that come in long runs, too', async () => {
    const text = { kind: 'string' } as const
    const map = { kind: 'map', keyId: 4, key: text, valueId: 5, value: text, valueRequired: false } as const
    const fields = [
      field('n', { kind: 'int' }, true, 1),
      field('t', text, false, 2),
      field('m', map, false, 3),
      field('r', text, true, 6),
    ]
    const by = [{ column: 0, transform: { kind: 'identity' }, descending: false, nullsFirst: true }] as const
    const layout: FileLayout = { specId: 0, partition: [], sortOrderId: 1, sort: by, columns: null }
    const texts = [null, '', 'a', 'b', 'longer than a word', 'longer than A word', 'x'.repeat(700)]
    const ordered = (rows: readonly Value[][]) => rows.toSorted(([a], [b]) => Number(a) - Number(b)).map(rowText)
    for (const atOnce of [true, false]) {
      const random = seededRandom(1)
      const pool = new SlabPool({ budget: 64 << 20 })
      const alive: Value[][][] = []
      const parts = [true, true, false].map((hasRuns) => {
        const rows: Value[][] = []
        while (rows.length < 1500) {
          const value = texts[random.below(texts.length)]
          const cell = value === null ? null : [[value, random.below(2) === 0 ? null : value]]
          const length = hasRuns || atOnce ? [1, 30, 255, 256, 257, 700][random.below(6)] : 1
          for (let i = 0; i < length; i++) rows.push([random.below(1000), value, cell, value ?? 'none'])
        }
        const segment = segmentWith(pool, fields, rows, { capacity: 4095, heapBytes: 4 << 20 })
        const deadFrom = atOnce ? rows.length : 0
        for (let row = deadFrom; row < rows.length; row += 40 + random.below(100)) segment.deletedAt?.fill(1, row, row + 1)
        alive.push(rows.filter((_, row) => segment.deletedAt?.[row] === 0))
        return { segment: segment.share(), from: 0, to: rows.length }
      })
      const { files: written } = await write(fields, layout, atOnce ? [parts] : parts.map((part) => [part]))
      assert.equal(written.length, 1)
      const found = await rowsOf(written[0], fields)
      assert.deepEqual(found.map(rowText), atOnce ? ordered(alive.flat()) : alive.flatMap(ordered))
    }
  })

  it('of a commit with many partitions: two are open at one time at most', async () => {
    const fields = [field('k', { kind: 'int' }, true, 1)]
    const partition = [{ column: 0, transform: { kind: 'identity' } }] as const
    const layout: FileLayout = { specId: 1, partition, sortOrderId: 0, sort: [], columns: null }
    const pool = new SlabPool({ budget: 16 << 20 })
    const rows = Array.from({ length: 200 }, (_, i) => [i % 100])
    const segment = segmentWith(pool, fields, rows, { capacity: 255 })
    let most = 0
    const done = new AbortController()
    const watch = (async () => {
      while (!done.signal.aborted) {
        most = Math.max(most, openFilesIn(folder))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    const { files: written } = await write(fields, layout, [[{ segment: segment.share(), from: 0, to: 200 }]])
    done.abort()
    await watch
    assert.deepEqual(new Set(written.map(({ file }) => file.recordCount)), new Set([2]))
    assert.equal(written.length, 100)
    assert.ok(most >= 1 && most <= 2, `${most} files`)
  })

  it('of a copy: few are open at one time, whatever the number of partitions', async () => {
    const fields = [field('k', { kind: 'int' }, true, 1), field('v', { kind: 'string' }, false, 2)]
    const layout: FileLayout = {
      specId: 1,
      partition: [{ column: 0, transform: { kind: 'identity' } }],
      sortOrderId: 0,
      sort: [],
      columns: null,
    }
    const pool = new SlabPool({ budget: 16 << 20 })
    const part = (first: number, count: number): SharedPart[] => [
      {
        segment: segmentWith(
          pool,
          fields,
          Array.from({ length: count }, (_, i) => [first + i, 'x']),
        ).share(),
        from: 0,
        to: count,
      },
    ]
    const few = await write(fields, layout, [part(0, 5), part(0, 5), part(0, 5)])
    assert.deepEqual(
      few.files.map(({ file }) => file.recordCount),
      [3, 3, 3, 3, 3],
    )
    // Every partition comes again after more others than can be open.
    const many = await write(fields, layout, [part(0, 20), part(0, 20)])
    assert.deepEqual(
      many.files.map(({ file }) => file.recordCount),
      Array.from({ length: 40 }, () => 1),
    )
    assert.equal(many.placement, null)
  })

  it('that were aborted are gone', async () => {
    const fields = [field('k', { kind: 'int' }, true, 1)]
    const layout: FileLayout = {
      specId: 1,
      partition: [{ column: 0, transform: { kind: 'identity' } }],
      sortOrderId: 0,
      sort: [],
      columns: null,
    }
    const writer = files.open({
      warehouse: folder,
      uri: `file://${folder}/data/aborted.parquet`,
      fields,
      schemaJson: '{}',
      key: null,
      runPath: null,
      layout,
      atOnce: true,
    })
    const segment = segmentWith(new SlabPool({ budget: 1 << 20 }), fields, [[1], [2], [3]])
    await writer.append([{ segment: segment.share(), from: 0, to: 3 }], 1)
    assert.equal(readdirSync(join(folder, 'data')).filter((name) => name.startsWith('aborted')).length, 3)
    await writer.abort()
    assert.equal(readdirSync(join(folder, 'data')).filter((name) => name.startsWith('aborted')).length, 0)
  })
})
