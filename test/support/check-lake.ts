import { join } from 'node:path'
import { SqliteCatalog } from '../../src/iceberg/index.ts'
import { openStore } from '../../src/storage/index.ts'
import { StructureChecker } from './structure/table.ts'

/**
 * Checks the structure of every table of a lake ({@link StructureChecker}), whatever its rows. Returns how many rows each has, by
 * `namespace.name`.
 */
export async function checkLake(warehouse: string): Promise<ReadonlyMap<string, number>> {
  const catalog = await SqliteCatalog.open(join(warehouse, 'catalog.db'))
  const checker = new StructureChecker(openStore(warehouse))
  const rows = new Map<string, number>()
  try {
    for (const { namespace, name, metadataLocation } of await catalog.list()) {
      const called = `${namespace}.${name}`
      try {
        rows.set(called, (await checker.check(metadataLocation)).liveRows)
      } catch (error) {
        throw new Error(`the structure of ${called} is wrong: ${String(error)}`, { cause: error })
      }
    }
  } finally {
    await catalog.close()
  }
  return rows
}
