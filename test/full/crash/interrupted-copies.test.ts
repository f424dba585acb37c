import { after, before, test } from 'node:test'
import { runInterruptions } from '../../support/interruptions.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: { max_replication_slots: '20' } })
})

after(() => server.stop())

for (const seed of [2, 3, 4, 5]) {
  const partitioned = seed % 2 === 0
  const kind = partitioned ? 'a partitioned table' : 'a table'
  test(`kill -9 in the copy of ${kind} while it changes, seed ${seed}`, { timeout: 400_000 }, () =>
    runInterruptions({ url: server.url, name: `big_${seed}`, partitioned, kills: 4, seed }),
  )
}
