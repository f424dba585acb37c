import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SqliteCatalog } from '../../src/iceberg/index.ts'
import type { Catalog, TablePointer } from '../../src/iceberg/index.ts'
import { openStore } from '../../src/storage/index.ts'
import { StructureChecker } from './structure/table.ts'

/** How often a table is looked at anew whose files were changed meanwhile. */
const mostAttempts = 20

/** Of each warehouse, so that what was looked at once is not looked at again. */
const checkers = new Map<string, StructureChecker>()
const damaged = new Set<string>()
let isWrong = false

/**
 * Checks the structure of every table of a lake ({@link StructureChecker}) as of each commit since the last time, whatever its rows, also
 * while it is written to. Returns how many rows each has now, by `namespace.name`.
 */
export async function checkLake(warehouse: string): Promise<ReadonlyMap<string, number>> {
  const catalog = await SqliteCatalog.open(join(warehouse, 'catalog.db'))
  const checker = checkers.get(warehouse) ?? new StructureChecker(openStore(warehouse))
  checkers.set(warehouse, checker)
  const rows = new Map<string, number>()
  try {
    for (const table of await catalog.list()) {
      const called = `${table.namespace}.${table.name}`
      const found = await liveRows(checker, catalog, table)
      if (found !== null) rows.set(called, found)
    }
  } finally {
    await catalog.close()
  }
  return rows
}

/** Null for a table that was dropped meanwhile. */
async function liveRows(checker: StructureChecker, catalog: Catalog, { namespace, name }: TablePointer): Promise<number | null> {
  for (let attempt = 1; ; attempt++) {
    const pointer = await catalog.load({ namespace, name })
    if (pointer === null) return null
    try {
      return (await checker.checkHistory(pointer.metadataLocation)).liveRows
    } catch (error) {
      const now = await catalog.load({ namespace, name })
      if (now?.metadataLocation !== pointer.metadataLocation && attempt < mostAttempts) continue
      throw new Error(`the structure of ${namespace}.${name} is wrong: ${String(error)}`, { cause: error })
    }
  }
}

/** For a test that damages files of a lake: nobody looks at it when it is closed. */
export function isDamagedOnPurpose(warehouse: string): void {
  damaged.add(warehouse)
}

/**
 * Called by whatever opens lakes in tests ({@link open}, `Daemon`) when one is closed or killed. What is wrong fails the test file, not
 * whoever closes: that may be on the way out because of something else, or not want to hear of it.
 */
export async function checkClosed(warehouse: string): Promise<void> {
  if (damaged.has(warehouse) || !existsSync(join(warehouse, 'catalog.db'))) return
  try {
    await checkLake(warehouse)
  } catch (error) {
    console.error(`${warehouse}:`, error)
    if (!isWrong) process.on('exit', () => (process.exitCode = 1))
    isWrong = true
  }
}
