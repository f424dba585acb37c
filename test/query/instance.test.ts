import assert from 'node:assert/strict'
import { test } from 'node:test'
import duckdb from '@duckdb/node-bindings'
import { Instance } from '../../src/query/instance.ts'

test('a DuckDB that cannot be set up is closed', async () => {
  const settings = { memoryBytes: 100e6, threads: 1, tempDirectory: null, directories: [] }
  const database = await duckdb.open(':memory:', duckdb.create_config())
  // No statement can have this character.
  await assert.rejects(Instance.setUp(database, { ...settings, directories: ['/a\u0000b'] }))
  await assert.rejects(duckdb.connect(database), /closed/)
  const instance = await Instance.open(settings)
  instance.close()
})
