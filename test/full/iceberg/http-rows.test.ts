import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { open } from '../../support/engine.ts'
import { pythonOf } from '../support/readers.ts'

test('PyIceberg and DuckDB read tables that rows have made and changed', { timeout: 300_000 }, async () => {
  const python = await pythonOf('python')
  const folder = await mkdtemp(join(tmpdir(), 'frazil-http-rows-'))
  try {
    {
      await using lake = await open({ commit: { every: '1h' } }, { folder })
      const events = lake.table('app.events')
      await events.insert(
        [
          { id: 1, name: 'a', tags: ['x', null], who: { age: 3 } },
          { id: 2, price: 0.5 },
        ],
        { create: { key: ['id'] }, durability: 'committed' },
      )
      await events.upsert({ id: 2, price: 1.5, since: '2026-01-31', deep: [{ n: 1 }] }, { durability: 'committed' })
      await events.delete({ id: 1 }, { durability: 'committed' })
      await events.insert({ id: 3, deep: [{ n: 2 }, { n: null }] }, { durability: 'committed' })
    }
    const columns = ['id', 'name', 'tags', 'who', 'price', 'since', 'deep']
    for (const reader of ['pyiceberg', 'duckdb']) {
      const out = join(folder, 'rows.ndjson')
      const script = join(import.meta.dirname, '../support/read_lake.py')
      const input = JSON.stringify({ namespace: 'app', name: 'events', columns, out })
      const answer = execFileSync(python, [script, reader, join(folder, 'lake')], { input: `${input}\n`, encoding: 'utf8' })
      assert.equal(answer.trim(), '{"rows": 2}', reader)
      const lines = (await readFile(out, 'utf8')).trim().split('\n')
      const rows = lines.map((line) => JSON.parse(line) as unknown[]).sort(([a], [b]) => Number(a) - Number(b))
      assert.deepEqual(
        rows.map((row) => row.slice(0, 6)),
        [
          [2, null, null, null, 1.5, '2026-01-31'],
          [3, null, null, null, null, null],
        ],
        reader,
      )
      assert.match(JSON.stringify(rows[1][6]), /2.*null/, reader)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})
