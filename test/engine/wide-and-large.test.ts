import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Client } from 'pg'
import type { Frazil } from '../../src/index.ts'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'

const kept = 16 << 20
const tooLarge = 100_000_000
const why = /^detached: .* has a value of more than 16 MiB/

const types = ['int', 'text', 'boolean', 'numeric(10,2)', 'date'] as const
const wide = Array.from({ length: 300 }, (_, i) => ({ name: `c${i}`, type: types[i % types.length] }))

/** A value of a column in row `id`, another one in each `version`; some are null. */
function value(i: number, id: string, version: number): string {
  const number = `((${id} * 7919 + ${i * 31 + version * 17}) % 10007)`
  const text = {
    int: `${number}::int`,
    text: `md5(${number}::text)`,
    boolean: `${number} % 2 = 0`,
    'numeric(10,2)': `${number} / 100.0`,
    date: `DATE '2020-01-01' + ${number}::int`,
  }[types[i % types.length]]
  return `CASE WHEN ${number} % 11 = 0 THEN NULL ELSE ${text} END`
}

const rowOf = (id: string, version: number): string => [id, ...wide.map((_, i) => value(i, id, version))].join(', ')

describe('bounds', { timeout: 480_000 }, () => {
  let server: Awaited<ReturnType<typeof startPostgres>>
  let client: Client
  let folder: string
  let engine!: Frazil

  before(async () => {
    server = await startPostgres()
    client = new Client({ connectionString: server.url })
    await client.connect()
    folder = mkdtempSync(join(tmpdir(), 'frazil-bounds-'))
    await client.query(`
      CREATE TABLE wide (id int PRIMARY KEY, ${wide.map(({ name, type }) => `${name} ${type}`).join(', ')});
      INSERT INTO wide SELECT ${rowOf('g', 0)} FROM generate_series(1, 40) AS g;
      CREATE TABLE copied (id int PRIMARY KEY, v text);
      INSERT INTO copied VALUES (1, 'small'), (2, repeat('x', ${tooLarge}));
      CREATE TABLE largest (id int PRIMARY KEY, v text);
      INSERT INTO largest VALUES (1, repeat('é', ${kept / 2}));
      CREATE TABLE streamed (id int PRIMARY KEY, v text);
      INSERT INTO streamed VALUES (1, 'small');
      CREATE TABLE other (id int PRIMARY KEY, v text)`)
    engine = await start()
  })

  after(async () => {
    // Not there when `before` has failed.
    await (engine as Frazil | undefined)?.close()
    await client.end()
    await server.stop()
    rmSync(folder, { recursive: true })
  })

  async function start(): Promise<Frazil> {
    const opened = await open({
      warehouse: join(folder, 'lake'),
      local: join(folder, 'local'),
      sources: { s: { type: 'postgres', url: server.url, tables: ['public.*'] } },
    })
    while (!(await opened.status()).ready) await new Promise((resolve) => setTimeout(resolve, 20))
    return opened
  }

  async function rows(sql: string): Promise<readonly (readonly unknown[])[]> {
    return (await engine.query(sql, { wait: 'now' })).rows
  }

  async function checkWide(): Promise<void> {
    const sums = (cast: string): string =>
      `md5(${wide.map(({ name }) => `coalesce(CAST(${name} AS ${cast}), '-')`).join(` || '|' || `)})`
    const expected = await client.query<unknown[]>({ text: `SELECT id, ${sums('text')} FROM wide ORDER BY id`, rowMode: 'array' })
    assert.deepEqual(await rows(`SELECT id, ${sums('varchar')} FROM s.wide ORDER BY id`), expected.rows)
  }

  /** Its health and why. */
  async function table(name: string): Promise<string> {
    const found = (await engine.status()).tables.find((each) => each.table === name)
    return `${found?.health}: ${found?.reason ?? ''}`
  }

  function lengths(name: string): Promise<readonly (readonly unknown[])[]> {
    return rows(`SELECT id, CAST(octet_length(encode(v)) AS INTEGER) FROM s.${name} ORDER BY id`)
  }

  async function checkLarge(): Promise<void> {
    assert.deepEqual(await rows('SELECT id, v FROM s.other ORDER BY id'), [
      [1, 'with it'],
      [2, 'behind it'],
    ])
    assert.match(await table('streamed'), why)
    assert.deepEqual(await lengths('largest'), [
      [1, kept],
      [2, kept],
    ])
  }

  it('a value of 16 MiB is kept; one of 100 MB ends its table with a sentence, in the copy and in the stream, and no other', async () => {
    assert.match(await table('copied'), why)
    assert.deepEqual(await lengths('largest'), [[1, kept]])
    await client.query(`INSERT INTO largest VALUES (2, repeat('y', ${kept}))`)
    await client.query("INSERT INTO streamed VALUES (2, 'also small')")
    await client.query(`
      BEGIN;
      INSERT INTO streamed VALUES (3, repeat('z', ${tooLarge}));
      INSERT INTO other VALUES (1, 'with it');
      COMMIT`)
    await client.query("INSERT INTO other VALUES (2, 'behind it')")
    await checkLarge()
  })

  it('rows of 300 columns: copied, inserted, changed, deleted; hot, cold, and after a restart', async () => {
    await checkWide()
    await client.query(`INSERT INTO wide SELECT ${rowOf('g', 0)} FROM generate_series(41, 60) AS g`)
    await checkWide()
    const set = wide.map(({ name }, i) => `${name} = ${value(i, 'id', 1)}`).join(', ')
    await client.query(`UPDATE wide SET ${set} WHERE id % 3 = 0; UPDATE wide SET c299 = NULL WHERE id % 5 = 0`)
    await client.query('DELETE FROM wide WHERE id % 7 = 0')
    await checkWide()
    await engine.flush()
    await client.query(`UPDATE wide SET ${set} WHERE id % 4 = 0`)
    await checkWide()
  })

  it('the same after a restart', async () => {
    await engine.close()
    engine = await start()
    await checkWide()
    await checkLarge()
  })
})
