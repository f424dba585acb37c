import { join } from 'node:path'
import { existsSync } from 'node:fs'
import { FrazilError, systemClock, systemRandom } from '../base/index.ts'
import type { Position } from '../data/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import { loadTable, readDeletionVector } from '../iceberg/index.ts'
import { openDuckDb } from '../query/index.ts'
import type { SqlEngine, TableView, ViewProvider } from '../query/index.ts'
import { localPath, openStore } from '../storage/index.ts'
import { packStats } from '../table/index.ts'
import type { Config } from './config.ts'
import type { Engine } from './contract.ts'
import { catalogPath } from './lake.ts'
import { processSql } from './process-threads.ts'

/**
 * Reads a lake that no process is writing (or beside one that is): committed rows only, no lease, nothing is changed. Answers
 * queries; everything that needs a running engine is refused with a sentence.
 */
export async function openReader(config: Config): Promise<Engine> {
  const path = catalogPath(config.warehouse)
  if (!existsSync(path)) {
    throw new FrazilError('config', 'no-lake', `there is no lake in ${config.warehouse}`, {
      hint: 'Start one with frazil run, or name another configuration with --config.',
    })
  }
  const catalog = await SqliteCatalog.open(path)
  const provider = coldProvider(catalog, config.warehouse)
  const sql: SqlEngine = openDuckDb(
    {
      memoryBytes: config.query.memory,
      threads: config.query.threads,
      tempDirectory: join(config.local, 'spill'),
      fileDirectories: [config.warehouse],
    },
    provider,
    processSql,
  )
  const notRunning = (): FrazilError =>
    new FrazilError(
      'unavailable',
      'no-daemon',
      `no daemon runs over the lake in ${config.warehouse}: only queries over committed rows are possible`,
      {
        hint: 'Start it with frazil run.',
      },
    )
  const refuse = (): Promise<never> => Promise.reject(notRunning())
  const close = async (): Promise<void> => {
    await sql.close()
    await catalog.close()
  }
  return {
    stopped: new Promise(() => undefined),
    describe: refuse,
    ingestTable: refuse,
    createTable: refuse,
    addFromPostgres: refuse,
    dropTable: refuse,
    push: refuse,
    pushRow: () => {
      throw notRunning()
    },
    upload: refuse,
    execute: (text, options = {}) => {
      if (options.wait !== undefined) return refuse()
      return sql.query(
        {
          sql: text,
          params: options.params,
          format: options.format ?? 'json',
          numbersAsStrings: options.numbersAsStrings,
          timeoutMs: options.timeoutMs ?? config.query.timeout,
          mayRead: options.mayRead,
        },
        options.signal,
      )
    },
    status: refuse,
    lookup: refuse,
    keyColumns: refuse,
    resync: refuse,
    optimize: refuse,
    flush: refuse,
    metrics: refuse,
    close,
  }
}

function coldProvider(catalog: Catalog, warehouse: string): ViewProvider {
  const parts = { store: openStore(warehouse), clock: systemClock, random: systemRandom }
  return {
    names: () => catalog.list(),
    async views(tables) {
      const positions: Record<string, Position> = {}
      const views: TableView[] = []
      for (const name of tables) {
        const pointer = await catalog.load(name)
        if (!pointer) throw new FrazilError('request', 'unknown-table', `there is no table ${name.namespace}.${name.name}`)
        const table = await loadTable(parts, pointer)
        const files = []
        for (const file of await table.files()) {
          const deleted = file.deletionVector
            ? await readDeletionVector(parts.store, file.deletionVector, file.recordCount)
            : null
          files.push({ path: localPath(file.path), rows: file.recordCount, deleted, stats: packStats(file) })
        }
        const summary = table.summary?.['frazil.positions']
        if (summary !== undefined) {
          for (const [source, { to }] of Object.entries(JSON.parse(summary) as Record<string, { to: Position }>))
            positions[source] = to
        }
        views.push({ namespace: table.namespace, name: table.name, fields: table.schema.fields, commit: 0, hot: [], files })
      }
      return { tables: views, positions, release: () => undefined }
    },
  }
}
