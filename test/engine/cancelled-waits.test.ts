import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { open } from '../support/engine.ts'

/** As many as may wait for a position at one time. */
const most = 10_000

for (const pipelines of ['inline', 'worker'] as const) {
  test(`a query that is given up while it waits makes place for others (${pipelines})`, { timeout: 120_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-waits-'))
    const engine = await open({ commit: { every: '1h' }, pipelines }, { folder })
    try {
      await engine.table('app.t').insert({ id: 1 }, { create: true, durability: 'visible' })
      const ask = (waitTimeoutMs: number, signal?: AbortSignal) =>
        engine.query('select count(*)::int from app.t', { wait: { http: '1000000' }, waitTimeoutMs, signal })
      const gone = Array.from({ length: most }, () => new AbortController())
      const asked = gone.map(({ signal }) => ask(3_600_000, signal))
      const ended = Promise.allSettled(asked)
      // They are all there: there is no place for another one.
      await assert.rejects(ask(1), { code: 'too-many-waiters' })
      for (const each of gone) each.abort()
      for (const result of await ended) {
        assert.equal(result.status === 'rejected' && (result.reason as { code?: string }).code, 'query-cancelled')
      }
      await assert.rejects(ask(1), { code: 'wait-timeout' })
      await assert.rejects(ask(3_600_000, gone[0].signal), { code: 'query-cancelled' })
      assert.deepEqual((await engine.query('select count(*)::int from app.t', { wait: 'now' })).rows, [[1]])
    } finally {
      await engine.close()
      await rm(folder, { recursive: true, force: true })
    }
  })
}
