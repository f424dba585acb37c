import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Client } from 'pg'
import { Daemon } from '../../support/daemon.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'

/** FRAZIL_LARGE_ROWS: for a try with fewer. */
const rows = Number(process.env['FRAZIL_LARGE_ROWS'] ?? 20_000_000)
/** MB: `memory`, `query.memory`, and what the process takes beside both, as docs/operations.md says. */
const most = { memory: 128, query: 128, beside: 420 + 50 * Math.min(3, Math.max(0, availableParallelism() - 2)) }

const folder = mkdtempSync(join(tmpdir(), 'frazil-large-'))
let server: EmbeddedPostgres
let client: Client
let frazil: Daemon

before(async () => {
  server = await startPostgres({ settings: { max_wal_size: '8GB', fsync: 'off', shared_buffers: '256MB' } })
  client = new Client(server.url)
  await client.connect()
  await client.query('CREATE TABLE large (id bigint PRIMARY KEY, a int, b text); CREATE TABLE beside (id int PRIMARY KEY)')
  frazil = await Daemon.spawn({
    folder,
    config: {
      warehouse: './lake',
      memory: `${most.memory}MB`,
      query: { memory: `${most.query}MB`, threads: 1 },
      sources: { src: { type: 'postgres', url: server.url, tables: ['public.*'], into: 'src.{table}' } },
    },
  })
  await frazil.ready(120)
})
after(async () => {
  await frazil.kill()
  await client.end()
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

const sums = 'count(*)::text, coalesce(sum(id), 0)::text, coalesce(sum(a), 0)::text, coalesce(sum(length(b)), 0)::text'

async function same(what: string): Promise<void> {
  const expected = await client.query<string[]>({ text: `SELECT ${sums} FROM large`, rowMode: 'array' })
  const got = await frazil.query(`SELECT ${sums.replaceAll('::text', '::varchar')} FROM src.large`)
  assert.deepEqual(got.rows[0], expected.rows[0], what)
}

async function transaction(what: string, sql: string): Promise<void> {
  const begun = performance.now()
  await client.query(sql)
  const committed = performance.now()
  const { rows: position } = await client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn')
  let asked = 0
  let slowest = 0
  const ended = frazil.visible('src', position[0].lsn, 1200).then(() => true)
  const pause = (): Promise<false> => new Promise((resolve) => setTimeout(resolve, 200, false))
  while (!(await Promise.race([ended, pause()]))) {
    // Readers do not wait meanwhile.
    const from = performance.now()
    await frazil.query('SELECT count(*) FROM src.beside')
    slowest = Math.max(slowest, performance.now() - from)
    asked++
  }
  const visible = performance.now()
  const applied = peakRss()
  await frazil.commit('src', 'large')
  const stored = peakRss()
  await same(what)
  const rss = peakRss()
  console.error(
    `${what}: ${((committed - begun) / 1000).toFixed(1)} s at Postgres, visible ${((visible - committed) / 1000).toFixed(1)} s later; ` +
      `${asked} queries meanwhile, the slowest ${slowest.toFixed(0)} ms; peak RSS ${applied} MB when visible, ${stored} MB in the lake, ${rss} MB after a query over all`,
  )
  assert.ok(rss < most.memory + most.query + most.beside, `${rss} MB`)
}

/** MB; Linux only. */
function peakRss(): number {
  const kb = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${frazil.pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(kb) / 1024)
}

test(`${rows} rows in one transaction, then changed and deleted in one, in little memory`, async () => {
  await transaction(
    'insert',
    `INSERT INTO large SELECT i, i % 1000, 'row number ' || i || ' of many' FROM generate_series(1, ${rows}) i`,
  )
  await transaction('update of a quarter', 'UPDATE large SET a = a + 1, b = b || $$!$$ WHERE id % 4 = 0')
  await transaction('delete of half', 'DELETE FROM large WHERE id % 2 = 0')
  await transaction(
    'all of it at once',
    `BEGIN; SAVEPOINT s; DELETE FROM large; ROLLBACK TO s;
     UPDATE large SET id = -id WHERE id <= ${rows / 10};
     DELETE FROM large WHERE id > ${rows / 2}; INSERT INTO large SELECT i, 0, '' FROM generate_series(${rows + 1}, ${rows * 1.1}) i; COMMIT`,
  )
  await transaction('delete of all', 'DELETE FROM large')
})
