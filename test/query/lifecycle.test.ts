import assert from 'node:assert/strict'
import { after, afterEach, beforeEach, describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import { FrazilError } from '../../src/base/index.ts'
import { putBytes } from '../../src/data/index.ts'
import { openDuckDb } from '../../src/query/duckdb-engine.ts'
import { DuckDbHost, startWorker } from '../../src/query/duckdb-host.ts'
import type { SqlEngine } from '../../src/query/index.ts'
import { Lake, columns, failing, rows } from './lake.ts'

/** Runs for hours. */
const endless = 'SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b'
/** The same, with callbacks into the hot scan all the time, and with a result that never ends. */
const endlessScan = 'SELECT count(*) FROM t a, t b, t c, t d, t e, t f WHERE a.n + b.n + c.n + d.n + e.n + f.n < 0'
const endlessRows = 'SELECT a.n FROM t a, t b, t c, t d, t e, t f WHERE a.n + b.n + c.n + d.n + e.n + f.n = 5'

describe('queries at one time', () => {
  let lake: Lake
  let engine: SqlEngine
  const opened: SqlEngine[] = []
  beforeEach(() => {
    lake = new Lake()
    const fields = columns({ n: { kind: 'int' } })
    lake.put('t', fields, {
      hot: [
        lake.hot(
          fields,
          Array.from({ length: 1000 }, (_, i) => [i]),
        ),
      ],
    })
    engine = open({ queriesAtOnce: 2, maxWaiting: 1 })
  })
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((each) => each.close()))
    assert.equal(lake.pinned, 0, 'all views are given back')
    lake.remove()
  })

  function open({ queriesAtOnce, ...options }: { queriesAtOnce?: number; maxWaiting?: number; threads?: number }): SqlEngine {
    const each = lake.open(options, new DuckDbHost({ queriesAtOnce }))
    opened.push(each)
    return each
  }

  function run(sql: string, timeoutMs = 100_000, signal?: AbortSignal): Promise<unknown> {
    return engine.query({ sql, format: 'json', timeoutMs }, signal)
  }

  function close(): Promise<void> {
    return engine.close()
  }

  it('run up to a bound, wait up to a bound, and are refused beyond', async () => {
    const gate = Promise.withResolvers<void>()
    lake.gate = gate.promise
    const running = [run('FROM t'), run('FROM t'), run('FROM t')]
    await assert.rejects(run('FROM t'), failing('too-many-queries'))
    gate.resolve()
    await Promise.all(running)
    await run('FROM t')
  })

  it('answer all right side by side', async () => {
    engine = open({ queriesAtOnce: 4, maxWaiting: 100 })
    const sums = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        rows(engine, i % 2 ? 'SELECT sum(n) FROM t WHERE n < ?' : `SELECT ${i}, sum(n) FROM t WHERE n < ?`, [i]),
      ),
    )
    sums.forEach(([row], i) => assert.equal(row.at(-1), i === 0 ? null : (i * (i - 1)) / 2))
  })

  for (const sql of [endless, endlessScan, endlessRows]) {
    it(`end at their time-out: ${sql.slice(0, 20)}…`, async () => {
      await assert.rejects(run(sql, 150), failing('query-timeout', /150 ms/))
      assert.deepEqual(await rows(engine, 'SELECT count(*) FROM t'), [[1000]])
    })

    it(`end when they are cancelled: ${sql.slice(0, 20)}…`, async () => {
      const controller = new AbortController()
      const running = run(sql, 60_000, controller.signal)
      await rows(engine, 'SELECT count(*) FROM t')
      controller.abort()
      await assert.rejects(running, failing('query-cancelled'))
      assert.deepEqual(await rows(engine, 'SELECT count(*) FROM t'), [[1000]])
    })

    it(`end when the engine is closed: ${sql.slice(0, 20)}…`, async () => {
      const running = run(sql)
      const ended = assert.rejects(running, failing('closed'))
      await rows(engine, 'SELECT count(*) FROM t')
      await close()
      await ended
      assert.equal(lake.pinned, 0)
      await assert.rejects(run('SELECT 1'), failing('closed'))
      await close()
    })
  }

  it('may have a time-out of months', async () => {
    const gate = Promise.withResolvers<void>()
    lake.gate = gate.promise
    const running = run('FROM t', 60 * 86_400_000)
    // Longer than a timer that was set to more than it can be.
    setTimeout(gate.resolve, 30)
    await running
  })

  it('give up their place in the line', async () => {
    const gate = Promise.withResolvers<void>()
    lake.gate = gate.promise
    const running = [run('FROM t'), run('FROM t')]
    const controller = new AbortController()
    const waiting = run('FROM t', 60_000, controller.signal)
    controller.abort()
    await assert.rejects(waiting, failing('query-cancelled'))
    await assert.rejects(run('FROM t', 5), failing('query-timeout'))
    await assert.rejects(run('FROM t', 60_000, AbortSignal.abort()), failing('query-cancelled'))
    gate.resolve()
    await Promise.all(running)
  })

  it('end at their time-out when the views do not come, and give back those that come later', async () => {
    const gate = Promise.withResolvers<void>()
    lake.gate = gate.promise
    // The statement is new, then it is known.
    for (let i = 0; i < 4; i++) await assert.rejects(run('FROM t', 60), failing('query-timeout'))
    await rows(engine, 'SELECT 1')
    gate.resolve()
    lake.gate = Promise.resolve()
    assert.deepEqual(await rows(engine, 'SELECT count(*) FROM t'), [[1000]])
  })

  it('fail with the error of the provider, as it is', async () => {
    const error = new FrazilError('unavailable', 'waiting-too-long', 'the position was not reached')
    lake.gate = Promise.reject(error)
    lake.gate.catch(() => undefined)
    await assert.rejects(run('FROM t'), (thrown) => thrown === error)
    lake.gate = Promise.resolve()
    lake.names = () => Promise.reject(error)
    await assert.rejects(run('FROM t'), (thrown) => thrown === error)
    await assert.rejects(run('SHOW TABLES'), (thrown) => thrown === error)
    await run('SELECT 1')
  })

  it('give their views back after errors', async () => {
    await assert.rejects(run('SELECT nope FROM t'), failing('sql'))
    await assert.rejects(run("SELECT error('no') FROM t"), failing('sql'))
    const fields = columns({ s: { kind: 'string' } })
    const segment = lake.segment(fields, [['a long text that is good']])
    putBytes(segment.columns[0], 0, Uint8Array.of(0xff, 0xfe))
    lake.put('bad', fields, { hot: [{ segment: segment.share(), from: 0, to: 1 }] })
    await assert.rejects(run('FROM bad'), failing('invalid-utf8'))
    lake.put('gone', fields, { files: [{ path: `${lake.folder}/gone.parquet`, rows: 1, deleted: null }] })
    await assert.rejects(run('FROM gone'), failing('data-file'))
    assert.equal(lake.pinned, 0)
  })
})

describe('a worker that dies', () => {
  const lake = new Lake()
  const fields = columns({ n: { kind: 'int' } })
  lake.put('t', fields, { hot: [lake.hot(fields, [[1], [2]])] })
  after(() => lake.remove())
  const options = { memoryBytes: 64 << 20, threads: 1 }

  it('takes its queries with it, not those that wait, and is replaced', async () => {
    const workers: Worker[] = []
    const start = (): Worker => {
      workers.push(startWorker())
      return workers[workers.length - 1]
    }
    const engine = openDuckDb(options, lake, new DuckDbHost({ queriesAtOnce: 1, start }))
    await rows(engine, 'FROM t')
    const asked = lake.asked
    const gate = Promise.withResolvers<void>()
    lake.gate = gate.promise
    const lost = assert.rejects(rows(engine, 'FROM t'), failing('sql-engine'))
    const waiting = rows(engine, 'SELECT sum(n) FROM t')
    // Only between queries: DuckDB aborts a process whose thread ends inside one.
    while (lake.asked === asked) await new Promise(setImmediate)
    await workers[0].terminate()
    await lost
    gate.resolve()
    assert.deepEqual(await waiting, [[3]])
    assert.equal(workers.length, 2)
    assert.equal(lake.pinned, 0)
    await engine.close()
  })

  it('gives the pins of its queries back', async () => {
    const code = `
      const { parentPort } = require('node:worker_threads')
      parentPort.on('message', ({ type, id }) => {
        if (type === 'query') parentPort.postMessage({ type: 'tables', id, tables: [{ namespace: null, name: 't' }] })
        if (type === 'views') process.exit(1)
      })`
    const start = (): Worker => new Worker(code, { eval: true })
    const engine = openDuckDb(options, lake, new DuckDbHost({ start }))
    await assert.rejects(rows(engine, 'FROM t'), failing('sql-engine'))
    assert.equal(lake.pinned, 0)
    await engine.close()
  })

  it('is told apart from one that cannot start', async () => {
    const start = (): Worker => new Worker("throw new Error('no DuckDB here')", { eval: true })
    const engine = openDuckDb(options, lake, new DuckDbHost({ start }))
    await assert.rejects(rows(engine, 'SELECT 1'), (error) => {
      assert.ok(error instanceof FrazilError && error.cause instanceof Error)
      assert.equal(error.cause.message, 'no DuckDB here')
      return true
    })
    await engine.close()
  })
})
