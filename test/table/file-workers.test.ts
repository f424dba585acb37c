import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, describe, it } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { SlabPool } from '../../src/base/index.ts'
import type { Field } from '../../src/data/index.ts'
import { FilePool, FileWorkers } from '../../src/table/index.ts'
import type { FileWriter } from '../../src/table/index.ts'
import { startFileThread } from '../../src/table/file-workers.ts'
import { field, noLayout, segmentWith } from './rows.ts'

const root = mkdtempSync(join(tmpdir(), 'frazil-file-workers-'))
after(() => rmSync(root, { recursive: true }))
const fields: Field[] = [field('v', { kind: 'int' }, false, 1)]

describe('file workers of several owners', { timeout: 300_000 }, () => {
  const threads: Worker[] = []
  const pools: FilePool[] = []
  let workers: FileWorkers
  let files = 0

  function open(count: number): void {
    workers = new FileWorkers(count, () => {
      threads.push(startFileThread())
      return threads[threads.length - 1]
    })
  }

  function connect(): { pool: FilePool; ended: Promise<void> } {
    const { ended, ...ports } = workers.connect()
    const pool = new FilePool(ports)
    pools.push(pool)
    return { pool, ended }
  }

  function write(pool: FilePool, folder: string): FileWriter {
    const uri = `file://${join(root, folder)}/data/${++files}.parquet`
    const warehouse = join(root, folder)
    return pool.open({ warehouse, uri, fields, schemaJson: '{}', key: null, runPath: null, layout: noLayout, atOnce: false })
  }

  function part(count: number) {
    const pool = new SlabPool({ budget: 4 << 20 })
    const rows = Array.from({ length: count }, (_, i) => [i])
    return { segment: segmentWith(pool, fields, rows).share(), from: 0, to: count }
  }

  async function writesRight(pool: FilePool, folder: string, count: number): Promise<void> {
    const writer = write(pool, folder)
    await writer.append([part(count)], 1)
    const { files: written } = await writer.finish()
    assert.deepEqual(
      written.map(({ file }) => file.recordCount),
      [count],
    )
  }

  afterEach(async () => {
    for (const pool of pools.splice(0)) pool.close()
    await workers.close()
    threads.splice(0)
  })

  it('are one set of threads', async () => {
    open(2)
    const owners = Array.from({ length: 20 }, () => connect())
    await Promise.all(owners.map(({ pool }, i) => writesRight(pool, `lake-${i}`, i + 1)))
    assert.equal(threads.length, 2)
  })

  it('let go of what an owner leaves, and of nothing else', async () => {
    open(1)
    const [leaving, staying] = [connect(), connect()]
    const given = write(leaving.pool, 'left')
    const kept = write(staying.pool, 'kept')
    await given.append([part(50)], 1)
    await kept.append([part(50)], 1)
    leaving.pool.close()
    await leaving.ended
    const left = existsSync(join(root, 'left')) ? readdirSync(join(root, 'left'), { recursive: true, withFileTypes: true }) : []
    assert.deepEqual(
      left.filter((entry) => entry.isFile()).map(({ name }) => name),
      [],
    )
    await assert.rejects(given.append([part(1)], 1), { code: 'closed' })
    const { files: written } = await kept.finish()
    assert.equal(written[0].file.recordCount, 50)
  })

  it('are replaced for all when one dies; what it was writing fails', async () => {
    open(1)
    const owners = Array.from({ length: 5 }, () => connect())
    await Promise.all(owners.map(({ pool }) => writesRight(pool, 'before', 3)))
    const deaths: string[] = []
    workers.onDeath.add(({ code }) => deaths.push(code))
    for (let time = 1; time <= 2; time++) {
      const lost = write(owners[0].pool, 'lost')
      await lost.append([part(5)], 1)
      await threads[time - 1].terminate()
      await assert.rejects(lost.append([part(5)], 1), { kind: 'unavailable', code: 'file-thread' })
      await lost.abort()
      for (const { pool } of owners) {
        // Until the other thread is there, it says that there is none.
        for (;;) {
          try {
            await writesRight(pool, 'after', 4)
            break
          } catch (error) {
            assert.ok(error instanceof Error && 'code' in error && error.code === 'file-thread', String(error))
            await new Promise((resolve) => setTimeout(resolve, 10))
          }
        }
      }
      assert.equal(threads.length, time + 1)
      assert.equal(deaths.length, time)
    }
    for (const { pool } of owners) pool.close()
    await Promise.all(owners.map(({ ended }) => ended))
  })
})
