import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { FrazilClient } from '../../src/client/index.ts'
import { checkLake } from '../support/check-lake.ts'
import { Daemon } from '../support/daemon.ts'

const kills = 3
const perKill = 4
const rowsOfFile = 50
const id = { name: 'id', data_type: 'int64', nullable: false }

test('killed while files are uploaded: each is there once, and of each key the last row', { timeout: 300_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'frazil-upload-kills-'))
  const config = { warehouse: './lake', commit: { every: '50ms' }, http: { upload: ['./incoming'] } }
  let daemon = await Daemon.spawn({ folder, config })
  const onto: typeof fetch = (url, init) =>
    fetch(`${daemon.url}${new URL(url instanceof Request ? url.url : url).pathname}`, init)
  const client = new FrazilClient({
    url: 'http://frazil.example',
    fetch: onto,
    attempts: 10_000,
    firstPauseMs: 5,
    longestPauseMs: 50,
  })
  const duckdb = await DuckDBInstance.create(':memory:')
  const duck = await duckdb.connect()
  try {
    await mkdir(join(folder, 'incoming'))
    await client.createTable('log', { database: 'app', table: 'log', schema: [id] })
    const keyed = { key: ['id'] }
    await client.createTable('users', {
      database: 'app',
      table: 'users',
      schema: [id, { name: 'n', data_type: 'int64' }],
      table_config: keyed,
    })
    let number = 0
    const uploads = async (until: () => boolean): Promise<void> => {
      for (let done = 0; !until() || done < perKill; done++) {
        const n = number++
        const [log, users] = ['log', 'users'].map((name) => join(folder, 'incoming', `${name}-${n}.parquet`))
        const from = n * rowsOfFile
        await duck.run(`COPY (SELECT range id FROM range(${from}, ${from + rowsOfFile})) TO '${log}' (FORMAT parquet)`)
        await duck.run(`COPY (SELECT range id, ${n} n FROM range(${rowsOfFile})) TO '${users}' (FORMAT parquet)`)
        const operation = n % 2 === 0 ? 'upload' : 'insert'
        await client.upload('log', { operation, files: [log] })
        await client.upload('users', { operation, files: [users] })
      }
    }
    for (let kill = 0; kill < kills; kill++) {
      await uploads(() => true)
      let isUp = false
      // Some are under way when it is killed, are sent again by the client, and are taken once.
      const running = uploads(() => isUp)
      for (let pause = 0; pause < 20 * kill; pause++) await new Promise((resolve) => setImmediate(resolve))
      await daemon.kill()
      daemon = await Daemon.spawn({ folder, config })
      await daemon.ready()
      isUp = true
      await running
    }
    const { rows: log } = await client.query('SELECT count(*), count(DISTINCT id), max(id) FROM app.log')
    assert.deepEqual(log, [[number * rowsOfFile, number * rowsOfFile, number * rowsOfFile - 1]])
    const { rows: users } = await client.query('SELECT count(*), count(DISTINCT id), min(n), max(n) FROM app.users')
    assert.deepEqual(users, [[rowsOfFile, rowsOfFile, number - 1, number - 1]])
    await daemon.terminate()
    const stored = await checkLake(join(folder, 'lake'))
    assert.deepEqual([stored.get('app.log'), stored.get('app.users')], [number * rowsOfFile, rowsOfFile])
  } finally {
    await daemon.kill()
    duck.closeSync()
    duckdb.closeSync()
    await rm(folder, { recursive: true, force: true })
  }
})
