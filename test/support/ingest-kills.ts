import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FrazilClient } from '../../src/client/index.ts'
import { Daemon } from './daemon.ts'

export interface IngestKills {
  readonly kills: number
  /** Requests acknowledged between two kills. */
  readonly between: number
}

const senders = 8
const database = 'app'
const id = { name: 'id', data_type: 'int64', nullable: false }

/**
 * Programs send rows to a daemon that is killed again and again, with the client that sends again whatever had no answer or was turned
 * away; some requests are turned away, some answers lost. Then every
 * acknowledged row is there once, no refused one is, and of each key of a keyed table the last acknowledged value.
 */
export async function runIngestKills({ kills, between }: IngestKills): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-ingest-kills-'))
  const config = { warehouse: './lake', commit: { every: '50ms' } }
  let daemon = await Daemon.spawn({ folder, config })
  const stored = new Set<number>()
  const refused = new Set<number>()
  const latest = new Map<number, number>()
  let acknowledged = 0
  let next = 1
  const end = new AbortController()
  let failure: unknown = null

  /** Turns every seventh request away as a busy server does, and loses the answer of every fifth. */
  let sent = 0
  const stormy: typeof fetch = async (url, init) => {
    if (failure) throw failure
    const number = ++sent
    if (number % 7 === 0) return new Response('{"code":"overloaded"}', { status: 429, headers: { 'retry-after': '0' } })
    const path = new URL(url instanceof Request ? url.url : url)
    const response = await fetch(`${daemon.url}${path.pathname}${path.search}`, init)
    if (number % 5 > 0) return response
    await response.arrayBuffer()
    throw new TypeError('the answer was lost')
  }
  const client = new FrazilClient({
    url: 'http://frazil.example',
    fetch: stormy,
    attempts: 10_000,
    firstPauseMs: 5,
    longestPauseMs: 20,
    timeoutMs: 20_000,
  })

  /** Every second one numbers its requests instead of giving them keys; those that are refused use no number up. */
  async function sender(number: number): Promise<void> {
    const isNumbered = number % 2 === 1
    let sequence = 1
    for (let round = 1; !end.signal.aborted; round++) {
      const first = next
      next += 3
      const isBad = round % 5 === 0
      const rows = [first, first + 1, isBad ? 'x' : first + 2].map((row) => ({ id: row }))
      const request = client.ingest('events', rows, {
        ...(isNumbered ? { producer: { id: `e${number}`, sequence } } : { idempotencyKey: `e${first}` }),
        request_mode: round % 7 === 0 ? 'sync' : 'async',
      })
      if (isBad) await assert.rejects(request, { status: 422, code: 'rows-refused' })
      else {
        assert.equal((await request).rows, 3)
        sequence++
      }
      for (const row of [first, first + 1, first + 2]) (isBad ? refused : stored).add(row)
      const upserted = await client.ingest('latest', [{ id: number, round }], {
        ...(isNumbered ? { producer: { id: `l${number}`, sequence: round } } : { idempotencyKey: `l${number}-${round}` }),
        operation: 'upsert',
      })
      assert.equal(upserted.rows, 1)
      latest.set(number, round)
      acknowledged++
    }
  }

  try {
    await daemon.ready()
    const round = { name: 'round', data_type: 'int64', nullable: false }
    const tables = [
      { table: 'events', schema: [id], table_config: {} },
      { table: 'latest', schema: [id, round], table_config: { key: ['id'] } },
    ]
    for (const table of tables) {
      const { status, text } = await daemon.post(`/tables/${table.table}`, { database, ...table })
      assert.equal(status, 200, text)
    }
    const load = Array.from({ length: senders }, (_, i) => sender(i).catch((error: unknown) => (failure ??= error)))
    for (let kill = 0; kill < kills; kill++) {
      const wanted = acknowledged + between
      await daemon.until(`${wanted} requests are acknowledged`, async () => failure !== null || acknowledged >= wanted)
      await daemon.kill()
      daemon = await Daemon.spawn({ folder, config })
      await daemon.ready()
    }
    const wanted = acknowledged + between
    await daemon.until('the last requests are acknowledged', async () => failure !== null || acknowledged >= wanted)
    end.abort()
    await Promise.all(load)
    if (failure) throw failure
    await check(daemon)
    // And without what is hot.
    await daemon.kill()
    daemon = await Daemon.spawn({ folder, config })
    await daemon.ready()
    await daemon.commit(database, 'events')
    await check(daemon)
    assert.equal(await daemon.terminate(), 0, daemon.log)
  } finally {
    end.abort()
    failure ??= new Error('the test has ended')
    await daemon.kill()
    await rm(folder, { recursive: true, force: true })
  }

  async function check(daemon: Daemon): Promise<void> {
    const ids = await daemon.query('SELECT id FROM app.events ORDER BY id')
    assert.deepEqual(
      ids.rows.map(([row]) => Number(row)),
      [...stored].sort((a, b) => a - b),
    )
    assert.deepEqual(
      [...refused].filter((row) => stored.has(row)),
      [],
    )
    const rounds = await daemon.query('SELECT id, round FROM app.latest ORDER BY id')
    assert.deepEqual(
      rounds.rows.map(([row, round]) => [Number(row), Number(round)]),
      [...latest].sort(([a], [b]) => a - b),
    )
  }
}
