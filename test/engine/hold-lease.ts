// Child process of lease.test.ts: holds a lease; asked to commit, says how that went, waits until the lease is lost, and ends.
import { FrazilError, systemClock } from '../../src/base/index.ts'
import { acquireLease, fencedCatalog } from '../../src/engine/lease.ts'
import { SqliteCatalog } from '../../src/iceberg/catalog/index.ts'

const catalog = await SqliteCatalog.open(process.argv[2])
const lease = await acquireLease({ catalog, clock: systemClock, ttlMs: 300 })
const say = (text: string): void => void process.send?.(text)
const words = (error: unknown): string => (error instanceof FrazilError ? `${error.kind} ${error.code}` : String(error))

process.once('message', () => {
  void fencedCatalog(catalog, lease.fence)
    .commit({ tables: [{ namespace: 'shop', name: 'orders', base: null, next: 'theirs' }], states: [] })
    .then(() => 'committed', words)
    .then(async (outcome) => {
      say(outcome)
      say(`lost: ${words(await lease.lost)}`)
      process.disconnect()
    })
})
say('held')
