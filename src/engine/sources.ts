import { existsSync } from 'node:fs'
import { FrazilError } from '../base/index.ts'
import { SqliteCatalog } from '../iceberg/catalog/index.ts'
import { checkPostgresSource, dropPostgresSource } from '../source/index.ts'
import type { SourceFinding } from '../source/index.ts'
import type { Config, SourceConfig } from './config.ts'
import { catalogPath, storedLakeId } from './lake.ts'
import type { PipelineSource } from './pipeline-contract.ts'

/** One line of `frazil check`. */
export interface Finding extends SourceFinding {
  readonly source: string
}

/** A source's settings with its secrets revealed. */
export function revealed(source: SourceConfig): PipelineSource {
  const { type, tables, into, slot, publication } = source
  return { type, url: source.url.reveal(), tables, into, slot, publication }
}

/** Connects to every source and says what a start would do and what is in its way. Changes nothing. */
export async function checkSources(config: Config): Promise<Finding[]> {
  const lakeId = await existingLakeId(config)
  const findings = await Promise.all(
    Object.entries(config.sources).map(async ([name, source]) => {
      const found = await checkPostgresSource({ name, ...revealed(source) }, lakeId)
      return found.map((finding) => ({ source: name, ...finding }))
    }),
  )
  return findings.flat()
}

/** Removes what a source left at its server, if it carries this lake's mark. Returns what was removed, in words. */
export async function dropSource(config: Config, name: string): Promise<string[]> {
  const source = config.sources[name]
  const lakeId = await existingLakeId(config)
  if (lakeId === null) {
    throw new FrazilError(
      'config',
      'no-lake',
      `there is no lake in ${config.warehouse}, so nothing at the server is known to be its own`,
    )
  }
  const { slot, publication } = await dropPostgresSource({ name, ...revealed(source) }, lakeId)
  return [...(slot === null ? [] : [`replication slot ${slot}`]), ...(publication === null ? [] : [`publication ${publication}`])]
}

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
