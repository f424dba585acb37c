import { after, before, test } from 'node:test'
import { join } from 'node:path'
import { seededRandom } from '../../src/base/index.ts'
import { SqliteCatalog } from '../../src/iceberg/catalog/index.ts'
import { openStore } from '../../src/storage/index.ts'
import { runDifferential } from '../support/differential.ts'
import type { OtherEngine } from '../support/differential.ts'
import { ForeignEngine } from '../support/foreign-engine.ts'
import { startPostgres } from '../support/postgres.ts'
import type { EmbeddedPostgres } from '../support/postgres.ts'
import { workloadSettings } from '../support/workload.ts'

let server: EmbeddedPostgres

before(async () => {
  server = await startPostgres({ settings: workloadSettings })
})

after(() => server.stop())

const seed = 5
// One for the whole run: files that were made after a restart must not have the names of those before it.
const random = seededRandom(seed * 1000)

test('another engine rewrites files and expires snapshots while everything happens', { timeout: 280_000 }, () =>
  runDifferential({
    seed,
    url: server.url,
    pipelines: 'inline',
    phases: 2,
    transactions: 30,
    writers: 1,
    mostRows: 3000,
    other,
  }),
)

async function other(warehouse: string): Promise<OtherEngine> {
  const catalog = await SqliteCatalog.open(join(warehouse, 'catalog.db'))
  const engine = new ForeignEngine({ store: openStore(warehouse), catalog, random })
  // A reader of ours may be in them.
  engine.deletes = false
  return {
    async act({ lakeName }) {
      const choice = random.below(4)
      if (choice === 0) await engine.setProperty('shop', lakeName, 'owner', String(random.below(1000)))
      else if (choice === 1) await engine.expire('shop', lakeName)
      else await engine.rewrite('shop', lakeName, choice === 2 ? () => true : () => random.below(2) === 0)
    },
    close: () => catalog.close(),
  }
}
