import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { SqliteCatalog } from '../../src/iceberg/catalog/index.ts'
import type { Frazil } from '../../src/index.ts'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'

// The slot follows the lake, exactly, and the lake is not written to only for that.
let server: EmbeddedPostgres
let client: Client
let folder: string

before(async () => {
  server = await startPostgres()
  client = new Client(server.url)
  await client.connect()
  folder = mkdtempSync(join(tmpdir(), 'frazil-follows-'))
  await client.query('CREATE TABLE mine (id int PRIMARY KEY); CREATE TABLE noise (t text)')
})
after(async () => {
  await client.end()
  await server.stop()
  rmSync(folder, { recursive: true })
})

async function start(): Promise<Frazil> {
  const source = { type: 'postgres' as const, url: server.url, tables: ['public.mine'] }
  const engine = await open({
    warehouse: join(folder, 'lake'),
    local: join(folder, 'local'),
    commit: { every: '50ms' },
    sources: { s: source },
  })
  while (!(await engine.status()).ready) await client.query('SELECT pg_sleep(0.02)')
  return engine
}

async function stored(): Promise<{ version: number; position: string }> {
  const catalog = await SqliteCatalog.open(join(folder, 'lake/catalog.db'))
  try {
    const state = await catalog.state('source/s')
    const { position } = JSON.parse(state?.value ?? '{}') as { position: string }
    return { version: state?.version ?? 0, position }
  } finally {
    await catalog.close()
  }
}

async function confirmed(): Promise<string> {
  const { rows } = await client.query<{ at: string }>(
    "SELECT confirmed_flush_lsn::text AS at FROM pg_replication_slots WHERE slot_name = 'frazil_s'",
  )
  return rows[0].at
}

test('closed, also in the middle of things: the slot is where the lake is', async () => {
  for (let round = 0; round < 3; round++) {
    const engine = await start()
    await client.query(`INSERT INTO mine SELECT generate_series(${round * 10_000}, ${round * 10_000 + 9_999})`)
    await engine.query('SELECT count(*) FROM s.mine', { wait: 'now' })
    await client.query(`INSERT INTO mine SELECT generate_series(${(round + 100) * 10_000}, ${(round + 100) * 10_000 + 9_999})`)
    await engine.close()
    assert.equal(await confirmed(), (await stored()).position)
  }
})

test('the published table is idle and the rest of the server is not: few writes to the lake, and lag that is told right', async () => {
  const engine = await start()
  try {
    await engine.flush()
    const before = (await stored()).version
    const from = performance.now()
    for (let i = 0; i < 40; i++) {
      await client.query("INSERT INTO noise SELECT repeat('x', 500) FROM generate_series(1, 200)")
      await client.query('SELECT pg_sleep(0.02)')
    }
    const { version } = await stored()
    // `commit.every` has passed many times; a position alone is worth a write every 10 seconds.
    const allowed = 1 + Math.floor((performance.now() - from) / 10_000)
    assert.ok(version - before <= allowed, `${version - before} writes`)
    await engine.query('SELECT count(*) FROM s.mine', { wait: 'now' })
    await engine.flush()
    const { position } = await stored()
    const deadline = Date.now() + 100_000
    while ((await confirmed()) !== position) assert.ok(Date.now() < deadline, 'what a flush committed is acknowledged')
    const [source] = (await engine.status()).sources
    assert.ok(source.log !== null && source.lagBytes !== null && source.log.uncommitted >= source.lagBytes)
    assert.equal(source.log.status, 'reserved')
  } finally {
    await engine.close()
  }
})
