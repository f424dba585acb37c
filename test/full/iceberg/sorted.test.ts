import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { EventBus } from '../../../src/observe/index.ts'
import { open } from '../../support/engine.ts'
import { startPostgres } from '../../support/postgres.ts'
import { python } from './readers.ts'

/** What PyIceberg says of each file: rows, sort order, and the bounds of `customer`; and the table's rows, summed up. */
const program = `
import json, sys
from pyiceberg.catalog.sql import SqlCatalog
catalog = SqlCatalog("frazil", uri="sqlite:///" + sys.argv[1])
table = catalog.load_table("s.orders")
files = [{
    "rows": file["record_count"],
    "order": file["sort_order_id"],
    "lower": file["readable_metrics"]["customer"]["lower_bound"],
    "upper": file["readable_metrics"]["customer"]["upper_bound"],
} for file in table.inspect.files().to_pylist()]
rows = table.scan(selected_fields=("id", "customer")).to_arrow().to_pylist()
print(json.dumps({"files": files, "rows": len(rows), "sum": sum(row["id"] * (row["customer"] % 1000) for row in rows)}))
`

interface Seen {
  readonly files: readonly {
    readonly rows: number
    readonly order: number | null
    readonly lower: number
    readonly upper: number
  }[]
  readonly rows: number
  readonly sum: number
}

test(
  'files that compaction has put in order overlap no more than its rule says, by PyIceberg',
  { timeout: 300_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'frazil-sorted-'))
    const server = await startPostgres()
    const client = new Client({ connectionString: server.url })
    await client.connect()
    const events = new EventBus()
    let rewrites = 0
    events.on((event) => void (rewrites += Number(event.type === 'compacted')))
    await client.query('CREATE TABLE orders (id bigint PRIMARY KEY, customer int, note text)')
    const source = { type: 'postgres' as const, url: server.url, tables: ['public.*'] }
    const compaction = { automatic: false, 'target-file-size': '1MB', rate: '10GB' }
    const tables = { 's.orders': { 'sort-by': ['customer'] } }
    const engine = await open(
      {
        warehouse: join(folder, 'lake'),
        local: join(folder, 'local'),
        commit: { every: '1h' },
        compaction,
        tables,
        sources: { s: source },
      },
      { events },
    )
    try {
      for (let from = 0; from < 80_000; from += 10_000) {
        await client.query(
          `INSERT INTO orders SELECT i, hashint4(i), md5(i::text) FROM generate_series(${from}, ${from + 9999}) i; DELETE FROM orders WHERE id % 97 = ${from / 10_000}`,
        )
        await engine.query('SELECT 1', { wait: 'now' })
        await engine.flush()
      }
      await engine.table('s.orders').optimize()
      const { stdout } = await promisify(execFile)(await python('python'), ['-c', program, join(folder, 'lake', 'catalog.db')], {
        maxBuffer: 1 << 26,
      })
      const seen = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Seen
      const {
        rows: [[count, sum]],
      } = await client.query({
        text: 'SELECT count(*)::int, sum(id * (((customer % 1000) + 1000) % 1000))::float8 FROM orders',
        rowMode: 'array',
      })
      assert.deepEqual([seen.rows, seen.sum], [count, sum])
      assert.ok(seen.files.length > rewrites, `${seen.files.length} files of ${rewrites} rewrites`)
      assert.deepEqual(new Set(seen.files.map(({ order }) => order)), new Set([1]))
      // A value is in at most one file of each rewrite.
      for (const { lower } of seen.files) {
        const here = seen.files.filter((file) => file.lower <= lower && lower < file.upper)
        assert.ok(here.length <= rewrites, `${here.length} files have ${lower}, of ${rewrites} rewrites`)
      }
    } finally {
      await engine.close()
      await client.end()
      await server.stop()
      await rm(folder, { recursive: true })
    }
  },
)
