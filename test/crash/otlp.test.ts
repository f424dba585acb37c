import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Daemon } from '../support/daemon.ts'
import { logRecord, metric, request } from '../support/otlp/encode.ts'

const kills = 3
/** Requests acknowledged between two kills. */
const between = 40
const senders = 6
const time = 1_790_000_000_000_000_000n

test(
  'killed while programs send logs and metrics: what was acknowledged is there once, and nothing twice',
  { timeout: 180_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-otlp-kills-'))
    const config = {
      warehouse: './lake',
      commit: { every: '50ms' },
      sources: { telemetry: { type: 'otlp', http: '127.0.0.1:0' } },
    }
    let daemon = await Daemon.spawn({ folder, config })
    const acknowledged = new Set<number>()
    let last = 0
    let failure: unknown = null
    const end = new AbortController()

    /** Each request is sent once, whatever becomes of it. */
    async function sender(): Promise<void> {
      while (!end.signal.aborted) {
        const id = ++last
        const port = /OTLP over HTTP at 127\.0\.0\.1:(\d+)/.exec(daemon.log)?.[1]
        const isLog = id % 2 === 0
        const record = isLog
          ? logRecord({ time, body: { int: BigInt(id) } })
          : metric({
              name: 'id',
              data: { kind: 'sum', monotonic: true, temporality: 1, points: [{ time, value: { int: BigInt(id) } }] },
            })
        const body = request([{ resource: { attributes: [] }, scopes: [{ scope: {}, records: [record, record] }] }])
        let status = 0
        try {
          const headers = { 'content-type': 'application/x-protobuf' }
          const signal = AbortSignal.timeout(20_000)
          const answer = await fetch(`http://127.0.0.1:${port}/v1/${isLog ? 'logs' : 'metrics'}`, {
            method: 'POST',
            headers,
            body,
            signal,
          })
          await answer.arrayBuffer()
          ;({ status } = answer)
        } catch {
          // Killed, or not up yet.
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
        assert([0, 200, 429, 503].includes(status), String(status))
        if (status === 200) acknowledged.add(id)
      }
    }

    async function check(): Promise<void> {
      const { rows } = await daemon.query(
        'SELECT CAST(body AS BIGINT), count(*) FROM telemetry.otel_logs GROUP BY 1 UNION ALL SELECT value_int, count(*) FROM telemetry.otel_metrics_number GROUP BY 1',
      )
      assert.deepEqual(
        rows.filter(([, count]) => Number(count) !== 2),
        [],
      )
      const stored = new Set(rows.map(([id]) => Number(id)))
      assert.deepEqual(
        [...acknowledged].filter((id) => !stored.has(id)),
        [],
      )
      assert(stored.size <= last)
    }

    try {
      await daemon.ready()
      const load = Array.from({ length: senders }, () => sender().catch((error: unknown) => (failure ??= error)))
      for (let kill = 0; kill < kills; kill++) {
        const wanted = acknowledged.size + between
        await daemon.until(`${wanted} requests are acknowledged`, async () => failure !== null || acknowledged.size >= wanted)
        await daemon.kill()
        daemon = await Daemon.spawn({ folder, config })
        await daemon.ready()
      }
      end.abort()
      await Promise.all(load)
      if (failure) throw failure
      await check()
      // And without what is hot.
      await daemon.kill()
      daemon = await Daemon.spawn({ folder, config })
      await daemon.ready()
      await daemon.commit('telemetry', 'otel_logs')
      await check()
      assert.equal(await daemon.terminate(), 0, daemon.log)
    } finally {
      end.abort()
      await daemon.kill()
      await rm(folder, { recursive: true, force: true })
    }
  },
)
