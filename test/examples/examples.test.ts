import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { startPostgres } from '../support/postgres.ts'

const folder = join(import.meta.dirname, '..', '..', 'examples')
const run = promisify(execFile)

test('every example runs', async () => {
  assert.deepEqual(readdirSync(folder), ['mirror.ts'], 'an example without a test')
  const warehouse = mkdtempSync(join(tmpdir(), 'frazil-example-'))
  await using server = await startPostgres()
  const client = new Client({ connectionString: server.url })
  await client.connect()
  try {
    await client.query('CREATE TABLE orders (id bigint PRIMARY KEY, total numeric(10, 2))')
    await client.query('INSERT INTO orders SELECT g, g FROM generate_series(1, 1234) AS g')
    const { stdout } = await run(process.execPath, [join(folder, 'mirror.ts'), server.url, 'public.orders', warehouse], {
      timeout: 180_000,
    })
    assert.match(stdout, /^source\.orders has 1234 rows at [0-9A-F]+\/[0-9A-F]+\nand so has the Iceberg table/)
  } finally {
    await client.end()
    rmSync(warehouse, { recursive: true })
  }
})
