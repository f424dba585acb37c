import { after, before, test } from 'node:test'
import { runDifferential } from '../../support/differential.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres, PostgresMajor } from '../../support/postgres.ts'
import { workloadSettings } from '../../support/workload.ts'
import { LakeReader } from '../support/readers.ts'

// FRAZIL_SEEDS: how many, or which ones with commas. FRAZIL_SEED_BASE: the first, so that a nightly run takes others.
const wanted = process.env['FRAZIL_SEEDS'] ?? '20'
const base = Number(process.env['FRAZIL_SEED_BASE'] ?? 1000)
const seeds = wanted.includes(',') ? wanted.split(',').map(Number) : Array.from({ length: Number(wanted) }, (_, i) => base + i)

const majors: readonly PostgresMajor[] = [14, 16, 18]
const servers = new Map<PostgresMajor, EmbeddedPostgres>()

before(async () => {
  for (const major of majors) servers.set(major, await startPostgres({ major, settings: workloadSettings }))
})

after(async () => {
  for (const server of servers.values()) await server.stop()
})

for (const seed of seeds) {
  const pipelines = seed % 2 === 0 ? 'inline' : 'worker'
  const major = majors[seed % majors.length]
  test(`seed ${seed}, ${pipelines}: Postgres ${major}, our SQL, PyIceberg and DuckDB agree`, { timeout: 600_000 }, () =>
    runDifferential({
      seed,
      url: servers.get(major)?.url ?? '',
      pipelines,
      phases: 3,
      transactions: 60,
      writers: 1 + (seed % 3),
      mostRows: 20_000,
      layouts: seed % 3 !== 0,
      readers: (warehouse) => Promise.all([LakeReader.open('pyiceberg', warehouse), LakeReader.open('duckdb', warehouse)]),
    }),
  )
}
