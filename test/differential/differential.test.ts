import { after, before, test } from 'node:test'
import { runDifferential } from '../support/differential.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { workloadSettings } from '../support/workload.ts'

// A little of what test/full/differential does with many seeds.
const runs = [
  { seed: 1, pipelines: 'inline' },
  { seed: 2, pipelines: 'worker' },
] as const

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: workloadSettings })
})

after(() => server.stop())

for (const { seed, pipelines } of runs) {
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
