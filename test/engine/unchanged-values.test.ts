import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Client } from 'pg'
import type { Frazil } from '../../src/index.ts'
import { open } from '../support/engine.ts'
import { startPostgres } from '../support/postgres.ts'

// Values that lie out of line are not sent when they did not change: 3 kB, 9 kB and 100 kB of what does not compress.
const value = (column: string, id: string): string => {
  const noise = (pieces: number, seed: number): string =>
    `(SELECT string_agg(md5((${id} * 1000003 + i * ${seed})::text), '') FROM generate_series(1, ${pieces}) AS i)`
  if (column === 'a') return noise(94, 7)
  if (column === 'b') return `jsonb_build_object('k', ${noise(280, 11)}, 'n', ${id})`
  return `ARRAY[${noise(1600, 13)}, NULL, '', ${noise(1600, 17)}]`
}

const tables = {
  t: 'id int PRIMARY KEY, a text, n int, b jsonb, c text[] NOT NULL',
  by_text: 'a text, k text PRIMARY KEY, n int',
  whole: 'id int PRIMARY KEY, n int, a text',
  by_index: 'id int NOT NULL, a text, code int NOT NULL, n int',
}

for (const pipelines of ['inline', 'worker'] as const) {
  describe(`unchanged values, ${pipelines}`, () => {
    let server: Awaited<ReturnType<typeof startPostgres>>
    let client: Client
    let folder: string
    let engine!: Frazil

    before(async () => {
      server = await startPostgres()
      client = new Client({ connectionString: server.url })
      await client.connect()
      folder = mkdtempSync(join(tmpdir(), 'frazil-unchanged-'))
      for (const [name, columns] of Object.entries(tables)) await client.query(`CREATE TABLE ${name} (${columns})`)
      await client.query(`
        ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL;
        ALTER TABLE by_text ALTER a SET STORAGE EXTERNAL, ALTER k SET STORAGE EXTERNAL;
        ALTER TABLE whole ALTER a SET STORAGE EXTERNAL;
        ALTER TABLE whole REPLICA IDENTITY FULL;
        ALTER TABLE by_index ALTER a SET STORAGE EXTERNAL;
        CREATE UNIQUE INDEX by_index_code ON by_index (code);
        ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code;
        INSERT INTO t SELECT g, ${value('a', 'g')}, 0, ${value('b', 'g')}, ${value('c', 'g')} FROM generate_series(1, 12) AS g;
        UPDATE t SET a = NULL WHERE id = 11;
        INSERT INTO by_text SELECT ${value('a', 'g')}, 'k' || left(${value('a', '-g')}, 2400), 0 FROM generate_series(1, 5) AS g;
        INSERT INTO whole SELECT g, 0, ${value('a', 'g')} FROM generate_series(1, 5) AS g;
        INSERT INTO by_index SELECT g, ${value('a', 'g')}, g + 100, 0 FROM generate_series(1, 5) AS g`)
      await start()
    })

    after(async () => {
      // Not there when `before` has failed.
      await (engine as Frazil | undefined)?.close()
      await client.end()
      await server.stop()
      rmSync(folder, { recursive: true })
    })

    async function start(): Promise<void> {
      engine = await open({
        warehouse: join(folder, 'lake'),
        local: join(folder, 'local'),
        memory: '64MB',
        // What is in files, and when, is up to the test.
        commit: { every: '1h' },
        pipelines,
        sources: { s: { type: 'postgres', url: server.url, tables: ['public.*'] } },
      })
      while (!(await engine.status()).ready) await new Promise((resolve) => setTimeout(resolve, 20))
    }

    async function restart(): Promise<void> {
      await engine.close()
      await start()
    }

    /** Runs statements, then compares all tables, value by value. */
    async function check(...statements: string[]): Promise<void> {
      for (const statement of statements) await client.query(statement)
      const columns: Record<keyof typeof tables, string[]> = {
        t: ['id', 'n', 'md5(a)', 'md5(cast(b as varchar))', "md5(array_to_string(c, ','))", 'length(a)'],
        by_text: ['md5(k)', 'n', 'md5(a)'],
        whole: ['id', 'n', 'md5(a)'],
        by_index: ['id', 'code', 'n', 'md5(a)'],
      }
      for (const [table, list] of Object.entries(columns)) {
        const texts = list.map((one) => `coalesce(cast(${one} as varchar), 'null')`).join(" || ' ' || ")
        const expected = await client.query<{ row: string }>(`SELECT ${texts} AS row FROM ${table} ORDER BY 1`)
        const got = await engine.query(`SELECT ${texts} AS row FROM s.${table}`, { wait: 'now' })
        const rows = got.rows.map((row) => JSON.stringify(row)).sort()
        assert.deepEqual(rows, expected.rows.map(({ row }) => JSON.stringify([row])).sort(), table)
      }
    }

    const touchAll = Object.keys(tables).map((name) => `UPDATE ${name} SET n = n + 1`)

    it('come from staged, hot and cold rows', async () => {
      await check(...touchAll) // The copy is in no commit yet.
      await check(...touchAll)
      await engine.flush()
      await check(...touchAll)
      await engine.flush()
      await check(`BEGIN; ${touchAll.join(';')}; ${touchAll.join(';')}; COMMIT`)
    })

    it('come from the lake after a restart, with and without what local disk had', async () => {
      await engine.flush()
      await restart()
      await check(...touchAll)
      await engine.close()
      rmSync(join(folder, 'local'), { recursive: true })
      await start()
      await check(...touchAll)
    })

    it('go with a row whose key changes', async () => {
      const moves = [
        'UPDATE t SET id = id + 100',
        'UPDATE by_index SET code = code + 1000, n = n + 1',
        "UPDATE by_text SET k = 'moved' || k WHERE n > 0",
        'UPDATE whole SET id = id + 100',
      ]
      await check(...moves)
      await engine.flush()
      await check(...moves)
      // Two rows exchange their keys, and one goes from key to key.
      const swap = (a: number, b: number): string =>
        [
          [a, -1],
          [b, a],
          [-1, b],
        ]
          .map(([from, to]) => `UPDATE t SET id = ${to} WHERE id = ${from}`)
          .join(';')
      for (const isCold of [false, true]) {
        if (isCold) await engine.flush()
        await check(`BEGIN; ${swap(201, 202)}; UPDATE t SET id = 5 WHERE id = 203; UPDATE t SET id = 6 WHERE id = 5; COMMIT`)
        await check('UPDATE t SET id = 203 WHERE id = 6')
      }
      await check(
        "UPDATE by_text SET k = 'short' WHERE k = (SELECT min(k) FROM by_text)",
        "UPDATE by_text SET n = 77 WHERE k = 'short'",
      )
    })

    it('are each taken or not: other columns change in other rows', async () => {
      const some = [
        `UPDATE t SET a = ${value('a', '(t.id + 1)')} WHERE id % 4 = 0`,
        `UPDATE t SET b = '{}' WHERE id % 4 = 1`,
        `UPDATE t SET c = ${value('c', '(t.id + 2)')}, a = NULL WHERE id % 4 = 2`,
        `UPDATE t SET a = ${value('a', '(t.id + 3)')}, b = ${value('b', '(t.id + 3)')} WHERE id % 4 = 3`,
      ]
      await check(...some)
      await engine.flush()
      await check(`BEGIN; ${some.join(';')}; UPDATE t SET n = n + 1; COMMIT`)
      await engine.flush()
      await check(`BEGIN; UPDATE t SET n = n + 1; ${some.toReversed().join(';')}; UPDATE t SET n = n + 1; COMMIT`)
    })

    it('are those of the row that is there at that moment of the transaction', async () => {
      const again = (id: number): string =>
        `INSERT INTO t SELECT ${id}, ${value('a', '77')}, 0, ${value('b', '77')}, ${value('c', '77')}`
      for (const isCold of [false, true]) {
        if (isCold) await engine.flush()
        await check(
          `BEGIN; UPDATE t SET n = 1 WHERE id = 204; DELETE FROM t WHERE id = 204; ${again(204)}; UPDATE t SET n = 2 WHERE id = 204; COMMIT`,
        )
        await check(`BEGIN; ${again(999)}; UPDATE t SET n = 1 WHERE id = 999; UPDATE t SET a = a || 'x' WHERE id = 999;
          SAVEPOINT s; UPDATE t SET a = '' WHERE id = 999; ROLLBACK TO SAVEPOINT s; UPDATE t SET n = 2 WHERE id = 999; COMMIT`)
        await check('DELETE FROM t WHERE id = 999')
        await check(
          `BEGIN; UPDATE t SET n = 5; TRUNCATE t; ${again(204)}; ${again(205)}; ${again(201)}; UPDATE t SET n = 6; COMMIT`,
        )
      }
    })

    it('are read for many small transactions at once', async () => {
      await engine.flush()
      await engine.close()
      for (let i = 0; i < 300; i++) await client.query('UPDATE t SET n = n + 1 WHERE id = $1', [[201, 204, 205][i % 3]])
      await start()
      await check()
    })
  })
}
