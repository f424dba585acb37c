import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, beforeEach, describe, it } from 'node:test'
import type { Worker } from 'node:worker_threads'
import { DuckDbHost, startWorker } from '../../src/query/duckdb-host.ts'
import type { DuckDbOptions, SqlEngine } from '../../src/query/index.ts'
import { Lake, columns, failing, rows } from './lake.ts'

/** Runs for hours. */
const endless = 'SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b'
const fields = columns({ n: { kind: 'int' }, lake: { kind: 'int' } })

/** A lake in which the table `t` has the rows 0 to 9, a hot half and a cold one, and the number of the lake in each. */
function lakeOf(number: number): Lake {
  const lake = new Lake()
  const all = Array.from({ length: 10 }, (_, n) => [n, number])
  lake.put('t', fields, { hot: [lake.hot(fields, all.slice(0, 5))], files: [lake.file(fields, all.slice(5))] })
  return lake
}

describe('engines that share one DuckDB', { timeout: 300_000 }, () => {
  const workers: Worker[] = []
  const lakes: Lake[] = []
  let engines: SqlEngine[] = []
  let host: DuckDbHost
  const start = (): Worker => {
    workers.push(startWorker())
    return workers[workers.length - 1]
  }

  function open(options: Partial<DuckDbOptions> = {}): SqlEngine {
    const lake = lakeOf(lakes.length)
    lakes.push(lake)
    const engine = lake.open({ threads: 1, tempDirectory: join(lake.folder, 'spill'), ...options }, host)
    engines.push(engine)
    return engine
  }

  beforeEach(() => {
    host = new DuckDbHost({ start })
  })
  afterEach(async () => {
    await Promise.all(engines.map((engine) => engine.close()))
    engines = []
    workers.splice(0)
    for (const lake of lakes) assert.equal(lake.pinned, 0, 'all views are given back')
  })
  after(() => {
    for (const lake of lakes) lake.remove()
  })

  async function answersRight(which: readonly SqlEngine[]): Promise<void> {
    const sums = await Promise.all(which.map((engine) => rows(engine, 'SELECT count(*), min(lake), max(lake) FROM t')))
    assert.deepEqual(
      sums,
      which.map((engine) => {
        const number = lakes.length - engines.length + engines.indexOf(engine)
        return [[10, number, number]]
      }),
    )
  }

  it('read each its own tables, which have the same names, in one worker', async () => {
    for (let i = 0; i < 8; i++) open()
    for (let round = 0; round < 3; round++) await answersRight(engines)
    await answersRight([...engines, ...engines, ...engines])
    assert.equal(workers.length, 1)
    const before = lakes.length - 8
    lakes[before].put('other', fields, { hot: [lakes[before].hot(fields, [[1, 1]])] })
    assert.deepEqual(await rows(engines[0], 'SELECT n FROM other'), [[1]])
    await assert.rejects(rows(engines[1], 'SELECT n FROM other'), failing('unknown-table'))
    assert.deepEqual(await rows(engines[1], 'SHOW TABLES'), [['shop', 't']])
    // The databases of the sessions cannot be named, whatever a schema is called.
    for (const schema of Array.from({ length: 9 }, (_, i) => `frazil session ${i}`)) {
      lakes[before].put('t', fields, { namespace: schema, hot: [lakes[before].hot(fields, [[0, -1]])] })
      const asked = rows(engines[0], `SELECT lake FROM "${schema}".t`)
      const [[found]] = await asked.catch((error: unknown) => {
        assert.match(String(error), /Ambiguous/)
        return [[-1]]
      })
      assert.equal(found, -1)
      await assert.rejects(rows(engines[1], `SELECT * FROM "${schema}".t`), failing('unknown-table'))
    }
  })

  it('have turns: the long queries of one leave a place to the others', async () => {
    const [greedy, modest, other] = [open(), open(), open()]
    const stop = new AbortController()
    const request = { sql: endless, format: 'json', timeoutMs: 100_000 } as const
    const long = [1, 2, 3].map(() => assert.rejects(greedy.query(request, stop.signal), failing('query-cancelled')))
    await answersRight([modest, other, modest, other])
    stop.abort()
    await Promise.all(long)
    await answersRight(engines)
  })

  it('are bounded each by itself in what waits', async () => {
    const [full, free] = [open({ maxWaiting: 1 }), open()]
    const lake = lakes[lakes.length - 2]
    const gate = Promise.withResolvers<void>()
    lake.gate = gate.promise
    // One runs, one waits; the second place is not for the same engine.
    const allowed = [rows(full, 'SELECT count(*) FROM t'), rows(full, 'SELECT count(*) FROM t')]
    await assert.rejects(rows(full, 'SELECT count(*) FROM t'), failing('too-many-queries'))
    await answersRight([free])
    gate.resolve()
    assert.deepEqual(await Promise.all(allowed), [[[10]], [[10]]])
  })

  it('go on when one is closed, also while its queries run, and close their files when they go', async () => {
    const [leaving, staying] = [open(), open()]
    await answersRight(engines)
    const running = assert.rejects(leaving.query({ sql: endless, format: 'json', timeoutMs: 100_000 }), failing('closed'))
    const other = rows(staying, 'SELECT count(*) FROM t a, t b, t c, t d')
    await leaving.close()
    await running
    assert.deepEqual(await other, [[10_000]])
    rmSync(lakes[lakes.length - 2].folder, { recursive: true })
    await answersRight([staying])
    await assert.rejects(rows(leaving, 'SELECT 1'), failing('closed'))
    assert.equal(workers.length, 1)
  })

  it('may come later, with files in other folders and more memory, while others have queries', async () => {
    const early = open({ memoryBytes: 128 << 20 })
    await answersRight([early])
    const stop = new AbortController()
    const request = { sql: endless, format: 'json', timeoutMs: 100_000 } as const
    const long = assert.rejects(early.query(request, stop.signal), failing('query-cancelled'))
    for (let i = 0; i < 4; i++) {
      // Each one sees the folder of its lake, although the walls of a DuckDB cannot be moved.
      const late = open({ memoryBytes: (129 + i) << 20, threads: 2 })
      await answersRight([late, late])
      if (i === 1) {
        stop.abort()
        await long
      }
    }
    await answersRight(engines)
    assert.equal(workers.length, 1)
  })

  it('survive the death of the worker: what ran fails, all go on in another one', async () => {
    for (let i = 0; i < 3; i++) {
      open()
      await answersRight(engines)
    }
    const lake = lakes[lakes.length - 1]
    const gate = Promise.withResolvers<void>()
    lake.gate = gate.promise
    const asked = lake.asked
    const lost = assert.rejects(rows(engines[2], 'FROM t'), failing('sql-engine'))
    // Only between queries: DuckDB aborts a process whose thread ends inside one.
    while (lake.asked === asked) await new Promise(setImmediate)
    await workers[0].terminate()
    await lost
    gate.resolve()
    await answersRight(engines)
    assert.equal(workers.length, 2)
  })

  it('end the worker when the last of them is closed, and start another one later', async () => {
    const [a, b] = [open(), open()]
    await answersRight(engines)
    let ended = 0
    workers[0].on('exit', () => ended++)
    await a.close()
    assert.equal(ended, 0)
    await b.close()
    assert.equal(ended, 1)
    engines = []
    open()
    await answersRight(engines)
    assert.equal(workers.length, 2)
  })
})
