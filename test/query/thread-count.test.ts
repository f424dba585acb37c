import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { SqlEngine } from '../../src/query/index.ts'
import { ThreadCount } from '../../src/query/thread-count.ts'
import { Lake, columns, rows } from './lake.ts'

describe('threads of DuckDB', () => {
  it('are all there while a query over many rows runs, and never fewer than it was promised', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.record({ large: fc.boolean(), turns: fc.nat(5), before: fc.nat(5) }), { maxLength: 20 }),
        async (most, queries) => {
          let now = 1
          const threads = new ThreadCount(most, async (count) => {
            await Promise.resolve()
            now = count
          })
          const turns = async (count: number): Promise<void> => {
            for (let i = 0; i < count; i++) await Promise.resolve()
          }
          let started = Promise.resolve()
          const run = async ({ large, turns: length, before: wait }: (typeof queries)[number]): Promise<void> => {
            const isLarge = threads.isLarge(large ? 1e9 : 10)
            assert.equal(isLarge, large && most > 1)
            started = started.then(() => turns(wait))
            await started
            await threads.begin(isLarge)
            for (let i = 0; i < length; i++) {
              if (isLarge) assert.equal(now, most)
              await Promise.resolve()
            }
            threads.end(isLarge)
          }
          await Promise.all(queries.map(run))
          await threads.begin(false)
          assert.equal(now, 1)
        },
      ),
    )
  })

  it('are tried again to be had after they could not be', async () => {
    let fails = true
    let now = 1
    const threads = new ThreadCount(4, async (count) => {
      if (fails) throw new Error('no threads')
      now = count
    })
    await assert.rejects(threads.begin(true), /no threads/)
    threads.end(true)
    fails = false
    await threads.begin(true)
    assert.equal(now, 4)
  })

  describe('of an engine', () => {
    const many = 150_000
    let lake: Lake
    let engine: SqlEngine

    before(() => {
      lake = new Lake()
      const fields = columns({ n: { kind: 'int' } })
      const numbers = Array.from({ length: many }, (_, i) => [i])
      lake.put('large', fields, { files: [lake.file(fields, numbers)] })
      lake.put('small', fields, {
        hot: [lake.hot(fields, numbers.slice(0, 1000))],
        files: [lake.file(fields, numbers.slice(0, 10))],
      })
      engine = lake.open({ threads: 64, maxWaiting: 100 })
    })

    after(async () => {
      await engine.close()
      lake.remove()
    })

    const onLinux = { skip: process.platform !== 'linux', timeout: 60_000 }
    it('come with a query over many rows and go with the next over few', onLinux, async () => {
      const count = (): number => readdirSync('/proc/self/task').length
      const small = 'SELECT count(*) FROM small'
      for (let i = 0; i < 10; i++) await rows(engine, small)
      const few = count()
      assert.deepEqual(await rows(engine, 'SELECT count(*), max(n) FROM large'), [[many, many - 1]])
      assert.ok(count() - few > 50, `${few} threads, then ${count()}`)
      assert.deepEqual(await rows(engine, small), [[1010]])
      // One that has ended may be there for a moment.
      while (count() - few >= 10) await new Promise((resolve) => setImmediate(resolve))
    })

    it('change beside other queries, and all answers are right', async () => {
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          rows(engine, i % 3 === 0 ? 'SELECT sum(n) FROM large WHERE n < ?' : 'SELECT count(*) FROM small WHERE n < ?', [i]),
        ),
      )
      answers.forEach(([[value]], i) =>
        assert.equal(value, i % 3 === 0 ? (i === 0 ? null : (i * (i - 1)) / 2) : i + Math.min(i, 10)),
      )
    })
  })
})
