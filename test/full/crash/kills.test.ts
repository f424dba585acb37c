import { after, before, test } from 'node:test'
import { agree } from '../../support/compare.ts'
import { runKills } from '../../support/crash.ts'
import { startPostgres } from '../../support/postgres.ts'
import type { EmbeddedPostgres } from '../../support/postgres.ts'
import { workloadSettings } from '../../support/workload.ts'
import { workloadTables } from '../../support/workload-tables.ts'
import { LakeReader } from '../support/readers.ts'

const kills = Number(process.env['FRAZIL_KILLS'] ?? 50)
const seed = Number(process.env['FRAZIL_SEED_BASE'] ?? 5000)

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: workloadSettings })
})

after(() => server.stop())

test(`killed ${kills} times under load, it loses nothing and doubles nothing`, { timeout: 1_800_000 }, () =>
  runKills({
    url: server.url,
    seed,
    kills,
    compareEvery: 10,
    async after(warehouse, client) {
      for (const name of ['pyiceberg', 'duckdb'] as const) {
        const reader = await LakeReader.open(name, warehouse)
        try {
          await agree(client, workloadTables, name, (table) => reader.rows(table))
        } finally {
          await reader.close()
        }
      }
    },
  }),
)
