// Child process of sqlite.test.ts: tries to win each round's commit against its twin and sends the rounds it won.
import { FrazilError } from '../../../src/base/index.ts'
import { SqliteCatalog } from '../../../src/iceberg/catalog/index.ts'

const [path, id, rounds] = process.argv.slice(2)
const table = { namespace: 'shop', name: 'orders' }
const catalog = await SqliteCatalog.open(path)
const won: number[] = []
for (;;) {
  const round = Number((await catalog.load(table))?.metadataLocation)
  if (round >= Number(rounds)) break
  try {
    await catalog.commit({
      tables: [{ ...table, base: String(round), next: String(round + 1) }],
      states: [{ key: 's', expected: round + 1, value: id }],
    })
    won.push(round)
  } catch (error) {
    if (!(error instanceof FrazilError && error.kind === 'conflict')) throw error
  }
}
await catalog.close()
process.send?.(won)
