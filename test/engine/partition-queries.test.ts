import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Client } from 'pg'
import { EventBus } from '../../src/index.ts'
import type { Frazil } from '../../src/index.ts'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'

interface Layout {
  readonly by: string
  /** Data files where there are not six: five partitions, and one of rows without a value. */
  readonly of?: number
  /** How many of them a condition reads. */
  readonly reads: readonly (readonly [where: string, files: number])[]
}

const layouts: Readonly<Record<string, Layout>> = {
  by_nothing: { by: 'void(region)', of: 1, reads: [["region = 'r2'", 1]] },
  by_text: {
    by: 'region',
    reads: [
      ["region = 'r2'", 1],
      ["region IN ('r0', 'r4')", 2],
      ["region > 'r2'", 2],
      ["region = 'r9'", 0],
      ['region IS NULL', 1],
      ['region IS NOT NULL', 5],
      ["region = 'r1' OR n = 4", 2],
    ],
  },
  by_number: {
    by: 'truncate(10, n)',
    reads: [
      ['n = 23', 1],
      ['n BETWEEN 15 AND 25', 2],
      ['n < 10 OR n >= 40', 2],
      ['n = 55', 0],
      ['n IS NULL', 1],
    ],
  },
  by_prefix: {
    by: 'truncate(2, name)',
    reads: [
      ["name = 'r3-33'", 1],
      ["name >= 'r3' AND name < 'r5'", 2],
      ["name = 'q'", 0],
    ],
  },
  by_date: {
    by: 'day',
    reads: [
      ["day = DATE '2002-03-04'", 1],
      ["day < '2002-01-01'", 2],
    ],
  },
  by_bucket: {
    by: 'bucket(5, n)',
    reads: [
      ['n = 23', 1],
      ['n IN (0, 1, 2, 23)', 3],
      ['n IS NULL', 1],
      ['n = 23 AND n <> 24', 1],
    ],
  },
  ...Object.fromEntries(
    ['year', 'month', 'day', 'hour'].map((unit) => [
      `by_${unit}`,
      {
        by: `${unit}(moment)`,
        reads: [
          ["moment = '2002-03-04 05:23:00+00'", 1],
          ["moment >= '2001-01-01' AND moment < '2003-01-01'", 2],
          ["moment > '2010-01-01'", 0],
          ['moment IS NULL', 1],
        ] as const,
      },
    ]),
  ),
}
const all = [...new Set(Object.values(layouts).flatMap(({ reads }) => reads.map(([where]) => where)))]

test('conditions on the columns of partitions leave out files, and no row', async () => {
  const server = await startPostgres()
  const client = new Client({ connectionString: server.url })
  await client.connect()
  const folder = mkdtempSync(join(tmpdir(), 'frazil-partitions-'))
  try {
    await client.query("SET TimeZone = 'UTC'")
    const names = Object.keys(layouts)
    for (const name of names) {
      await client.query(`
        CREATE TABLE ${name} (id int PRIMARY KEY, region text, n int, name text, day date, moment timestamptz);
        INSERT INTO ${name} SELECT i, 'r' || i / 10, i, 'r' || i / 10 || '-' || i, make_date(2000 + i / 10, 3, 4),
          make_timestamptz(2000 + i / 10, 3, 4, 5, i, 0, 'UTC') FROM generate_series(0, 49) i;
        INSERT INTO ${name} (id) VALUES (100)`)
    }
    const events = new EventBus()
    const read: { read: number; skipped: number }[] = []
    events.on((event) => {
      if (event.type === 'query' && event.files) read.push(event.files)
    })
    const start = async (): Promise<Frazil> => {
      const engine = await open(
        {
          warehouse: join(folder, 'lake'),
          local: join(folder, 'local'),
          tables: Object.fromEntries(names.map((name) => [`s.${name}`, { 'partition-by': [layouts[name].by] }])),
          sources: { s: { type: 'postgres', url: server.url, tables: ['public.*'] } },
        },
        { events },
      )
      while (!(await engine.status()).ready) await new Promise((resolve) => setTimeout(resolve, 20))
      await engine.flush()
      return engine
    }
    const check = async (engine: Frazil, name: string, conditions: readonly string[]): Promise<void> => {
      const rows = async (where: string): Promise<{ ids: unknown[]; files: number; of: number }> => {
        read.length = 0
        const answer = await engine.query(`SELECT id FROM s.${name} WHERE ${where} ORDER BY id`, { wait: 'now' })
        const [{ read: files, skipped }] = read
        return { ids: answer.rows.map(([id]) => id), files, of: files + skipped }
      }
      for (const where of conditions) {
        const expected = await client.query<{ id: number }>(`SELECT id FROM ${name} WHERE ${where} ORDER BY id`)
        const ids = expected.rows.map(({ id }) => id)
        assert.deepEqual((await rows(where)).ids, ids, `${name}: ${where}`)
      }
      const { by, of = 6, reads } = layouts[name]
      for (const [where, files] of reads) {
        const found = await rows(where)
        assert.deepEqual([found.files, found.of], [files, of], `${by}: ${where}`)
      }
    }
    {
      await using engine = await start()
      for (const name of names) await check(engine, name, all)
      // Files that a commit and a rewrite have made, and then those that a start finds.
      for (const name of names) {
        await client.query(`UPDATE ${name} SET id = id + 1000`)
        await engine.query('SELECT 1', { wait: 'now' })
        await engine.flush()
        await engine.table(`s.${name}`).optimize()
        await check(
          engine,
          name,
          layouts[name].reads.map(([where]) => where),
        )
      }
    }
    await using engine = await start()
    for (const name of names)
      await check(
        engine,
        name,
        layouts[name].reads.map(([where]) => where),
      )
  } finally {
    await client.end()
    await server.stop()
    rmSync(folder, { recursive: true })
  }
})
