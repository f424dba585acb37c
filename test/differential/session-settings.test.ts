import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { EventBus } from '../../src/index.ts'
import type { Frazil } from '../../src/index.ts'
import { open } from '../support/engine.ts'
import { walPosition } from '../support/compare.ts'
import { startPostgres } from '../support/postgres.ts'
import { connect } from '../support/workload.ts'

/** What an administrator may have set for a role or a database, for the sake of other clients. */
const settings = [
  "statement_timeout = '300ms'",
  "idle_in_transaction_session_timeout = '300ms'",
  "transaction_timeout = '300ms'",
  "idle_session_timeout = '300ms'",
  "lock_timeout = '100ms'",
  'default_transaction_read_only = on',
  "default_transaction_isolation = 'serializable'",
  "DateStyle = 'German'",
  "IntervalStyle = 'sql_standard'",
  "TimeZone = 'Asia/Kathmandu'",
  'extra_float_digits = -6',
  "client_encoding = 'LATIN1'",
  "bytea_output = 'escape'",
  'standard_conforming_strings = off',
  'quote_all_identifiers = on',
  'search_path = elsewhere',
]
const longestMs = 600

test('limits and formats that are set for the role cut nothing off and change no value', { timeout: 300_000 }, async () => {
  const server = await startPostgres()
  const client = await connect(server.url)
  const folder = await mkdtemp(join(tmpdir(), 'frazil-settings-'))
  try {
    await client.query("CREATE ROLE mirror LOGIN SUPERUSER PASSWORD 'secret'")
    const known = await client.query<{ name: string }>('SELECT lower(name) AS name FROM pg_settings')
    const names = new Set(known.rows.map(({ name }) => name))
    // Older servers do not have all of them.
    for (const setting of settings.filter((one) => names.has(one.split(' =')[0].toLowerCase()))) {
      await client.query(`ALTER ROLE mirror SET ${setting}`)
    }
    const columns =
      'id int PRIMARY KEY, moment timestamptz, day date, span interval, ratio float8, bytes bytea, text text, moments timestamptz[]'
    await client.query(`CREATE TABLE first (${columns}); CREATE TABLE second (${columns})`)
    const fill = async (from: number, to: number): Promise<void> => {
      for (const table of ['first', 'second']) {
        await client.query(
          `INSERT INTO ${table} SELECT g, '2024-02-03 04:05:06.789+00'::timestamptz + g * interval '1 day', '2024-02-03'::date + g,
             make_interval(months => g, secs => -g), g / 3.0::float8, decode('00ff5c27', 'hex'), E'back\\\\slash \\' čárka 漢',
             ARRAY['2024-02-03 04:05:06+00'::timestamptz, NULL] FROM generate_series(${from}::int, ${to}) AS g`,
        )
      }
    }
    await fill(1, 50)
    // The copy waits for this lock, in a transaction with a snapshot, for longer than any of the limits.
    const holder = await connect(server.url)
    await holder.query('BEGIN; LOCK TABLE second IN ACCESS EXCLUSIVE MODE')
    const said: string[] = []
    const events = new EventBus()
    events.on((event) => {
      if (event.type === 'retry' || event.type === 'error' || event.type === 'notice') said.push(JSON.stringify(event))
    })
    const url = new URL(server.url)
    url.username = 'mirror'
    url.password = 'secret'
    const sources = { shop: { type: 'postgres' as const, url: url.href, tables: ['public.first', 'public.second'] } }
    const opening = open({ warehouse: join(folder, 'lake'), local: join(folder, 'local'), sources }, { events })
    let failure: unknown = null
    opening.catch((error: unknown) => (failure = error))
    try {
      for (let waits = false; !waits;) {
        const { rows } = await client.query(
          `SELECT FROM pg_stat_activity WHERE usename = 'mirror' AND wait_event_type = 'Lock'
             AND clock_timestamp() - state_change > ${longestMs * 2} * interval '1 ms'`,
        )
        waits = rows.length > 0
        if (failure !== null || said.length > 0) break
        await setTimeout(20)
      }
    } finally {
      await holder.query('COMMIT')
      await holder.end()
    }
    await using engine = await opening
    const same = async (when: string): Promise<void> => {
      const sql = (schema: string): string =>
        `SELECT id, CAST(extract(epoch FROM moment) * 1000 AS bigint)::text AS moment, day::text AS day, CAST(span AS text) AS span,
           ratio = id / 3.0::float8 AS ratio_is_right, CAST(octet_length(bytes) AS int) AS bytes, text,
           CAST(extract(epoch FROM moments[1]) AS bigint)::text AS first_moment
         FROM ${schema}.second ORDER BY id`
      const wait = { shop: await walPosition(client) }
      const expected = await client.query<Record<string, unknown>>(sql('public'))
      const answer = await engine.query(sql('shop'), { wait })
      assert.deepEqual(
        answer.rows,
        expected.rows.map((row) => Object.values(row)),
        when,
      )
    }
    await same('after the copy')
    // Idle connections, and a stream that has nothing to say, for longer than the limits.
    await setTimeout(longestMs * 3)
    await fill(51, 60)
    await same('after the stream')
    assert.deepEqual(await health(engine), ['streaming', 'streaming'])
    assert.deepEqual(said, [])
  } finally {
    await client.end()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
})

async function health(engine: Frazil): Promise<readonly string[]> {
  const { tables } = await engine.status()
  return tables.map((table) => table.health)
}
