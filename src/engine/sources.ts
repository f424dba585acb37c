import { existsSync } from 'node:fs'
import { FrazilError } from '../base/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import { dropPostgresSource } from '../source/index.ts'
import { tokenRules } from './access-config.ts'
import type { TokenConfig } from './access-config.ts'
import { addedTables } from './added-tables.ts'
import type { Config, PostgresSourceConfig, SourceConfig } from './config.ts'
import { catalogPath, storedLakeId } from './lake.ts'
import type { PipelineSource, PostgresPipelineSource } from './pipeline-contract.ts'
import { readRemembered } from './state-record.ts'
import type { Remembered } from './state-record.ts'

/** Name of the source of rows that programs send. */
export const pushSource = 'http'

/** A database's settings with its secrets revealed. */
export function revealed(source: PostgresSourceConfig): PostgresPipelineSource {
  return { ...source, url: source.url.reveal() }
}

/** A source's settings as its pipeline wants them. */
export function pipelineSource(source: SourceConfig, tokens: readonly TokenConfig[]): PipelineSource {
  return source.type === 'postgres' ? revealed(source) : { ...source, tokens: tokenRules(tokens) }
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
  const { slot, publication } = await dropPostgresSource(
    { name, ...revealed(source) },
    lakeId,
    (await rememberedBy(config, name)).memo,
  )
  return [...(slot === null ? [] : [`replication slot ${slot}`]), ...(publication === null ? [] : [`publication ${publication}`])]
}

/** What a source asked the lake to remember of it, and up to where the lake has it; null for one that the lake has never committed. */
export async function rememberedBy(config: Config, name: string): Promise<Remembered> {
  const path = catalogPath(config.warehouse)
  if (!existsSync(path)) return { memo: null, position: null }
  const catalog = await SqliteCatalog.open(path)
  try {
    return await readRemembered(catalog, name)
  } finally {
    await catalog.close()
  }
}

/** Names of tables that programs have added to a source, as far as the configuration lets it have any. */
export async function addedTo(config: Config, name: string): Promise<readonly string[]> {
  const path = catalogPath(config.warehouse)
  if (!config.http.fromPostgres.includes(name) || !existsSync(path)) return []
  const catalog = await SqliteCatalog.open(path)
  try {
    return await addedTables(catalog, name)
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
