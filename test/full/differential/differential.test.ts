import { after, before, test } from 'node:test'
import { runDifferential } from '../../support/differential.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'
import { workloadSettings } from '../../support/workload.ts'
import { LakeReader } from '../support/readers.ts'

// FRAZIL_SEEDS: how many, or which ones with commas. FRAZIL_SEED_BASE: the first, so that a nightly run takes others.
const wanted = process.env['FRAZIL_SEEDS'] ?? '30'
const base = Number(process.env['FRAZIL_SEED_BASE'] ?? 1000)
const seeds = wanted.includes(',') ? wanted.split(',').map(Number) : Array.from({ length: Number(wanted) }, (_, i) => base + i)

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: workloadSettings })
})

after(() => server.stop())

for (const seed of seeds) {
  const pipelines = seed % 2 === 0 ? 'inline' : 'worker'
  test(`seed ${seed}, ${pipelines}: Postgres, our SQL, PyIceberg and DuckDB agree on every value`, { timeout: 600_000 }, () =>
    runDifferential({
      seed,
      url: server.url,
      pipelines,
      phases: 3,
      transactions: 60,
      writers: 1 + (seed % 3),
      mostRows: 20_000,
      readers: (warehouse) => Promise.all([LakeReader.open('pyiceberg', warehouse), LakeReader.open('duckdb', warehouse)]),
    }),
  )
}
