import { existsSync } from 'node:fs'
import { FrazilError } from '../base/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import { dropPostgresSource } from '../source/index.ts'
import type { Config, PostgresSourceConfig, SourceConfig } from './config.ts'
import { catalogPath, storedLakeId } from './lake.ts'
import type { PipelineSource, PostgresPipelineSource } from './pipeline-contract.ts'
import { parseRecord, sourceStateKey } from './state-record.ts'

/** Name of the source of rows that programs send. */
export const pushSource = 'http'

/** A database's settings with its secrets revealed. */
export function revealed(source: PostgresSourceConfig): PostgresPipelineSource {
  return { ...source, url: source.url.reveal() }
}

/** A source's settings as its pipeline wants them. */
export function pipelineSource(source: SourceConfig): PipelineSource {
  return source.type === 'postgres' ? revealed(source) : source
}

/** Removes what a source left at its server, if it carries this lake's mark. Returns what was removed, in words. */
export async function dropSource(config: Config, name: string): Promise<string[]> {
  const source = config.sources[name]
  // It has nothing anywhere but here.
  if (source.type !== 'postgres') return []
  const lakeId = await existingLakeId(config)
  if (lakeId === null) {
    throw new FrazilError(
      'config',
      'no-lake',
      `there is no lake in ${config.warehouse}, so nothing at the server is known to be its own`,
    )
  }
  const { slot, publication } = await dropPostgresSource({ name, ...revealed(source) }, lakeId, await rememberedBy(config, name))
  return [...(slot === null ? [] : [`replication slot ${slot}`]), ...(publication === null ? [] : [`publication ${publication}`])]
}

/** What a source asked the lake to remember of it; null for one that the lake has never committed. */
export async function rememberedBy(config: Config, name: string): Promise<string | null> {
  const path = catalogPath(config.warehouse)
  if (!existsSync(path)) return null
  const catalog = await SqliteCatalog.open(path)
  try {
    const stored = await catalog.state(sourceStateKey(name))
    return stored === null ? null : parseRecord(stored.value).memo
  } finally {
    await catalog.close()
  }
}

/** The id of the lake in the warehouse, null when there is none yet. */
async function existingLakeId(config: Config): Promise<string | null> {
  const path = catalogPath(config.warehouse)
  if (!existsSync(path)) return null
  const catalog = await SqliteCatalog.open(path)
  try {
    return await storedLakeId(catalog)
  } finally {
    await catalog.close()
  }
}
