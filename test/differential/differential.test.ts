import { after, before, test } from 'node:test'
import { runDifferential } from '../support/differential.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { workloadSettings } from '../support/workload.ts'

// A few seeds of what test/full/differential does with many.
const seeds = [1, 2]

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: workloadSettings })
})

after(() => server.stop())

for (const pipelines of ['inline', 'worker'] as const) {
  for (const seed of seeds) {
    test(`seed ${seed}, ${pipelines}: our SQL agrees with Postgres while everything happens`, { timeout: 280_000 }, () =>
      runDifferential({
        seed,
        url: server.url,
        pipelines,
        phases: 2,
        transactions: 40,
        writers: 1 + (seed % 2),
        mostRows: 5000,
        layouts: seed === 2,
      }),
    )
  }
}
