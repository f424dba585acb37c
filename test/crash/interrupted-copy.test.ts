import { test } from 'node:test'
import { runInterruptions } from '../support/interruptions.ts'
import { startPostgres } from '../support/postgres.ts'

test('kill -9 in the copy of a large table while it changes: it goes on, and is exact', { timeout: 180_000 }, async () => {
  const server = await startPostgres()
  try {
    await runInterruptions({ url: server.url, name: 'whole', partitioned: false, kills: 2, seed: 1 })
  } finally {
    await server.stop()
  }
})
