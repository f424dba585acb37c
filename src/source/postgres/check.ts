import { FrazilError } from '../../base/index.ts'
import { readCatalogue } from './catalogue.ts'
import { connectControl, placeOf } from './connection.ts'
import { postgresError } from './errors.ts'
import { refuseForeign } from './ownership.ts'
import { endpointOf, namesOf } from './postgres-source.ts'
import type { PostgresConfig } from './postgres-source.ts'
import { preflight, readPublication, readSlot } from './preflight.ts'

/** One thing found out about a source before it is started. */
export interface SourceFinding {
  readonly level: 'ok' | 'note' | 'problem'
  readonly message: string
  /** The statement or the change that mends it. */
  readonly hint: string | null
}

/**
 * Connects, asks everything that a start would ask, and says what it would do. Changes nothing at the server. `lakeId` is null
 * for a lake that does not exist yet.
 */
export async function checkPostgresSource(
  config: Pick<PostgresConfig, 'name' | 'url' | 'tables' | 'into' | 'slot' | 'publication'>,
  lakeId: string | null,
): Promise<SourceFinding[]> {
  const findings: SourceFinding[] = []
  const found = (level: SourceFinding['level'], message: string, hint: string | null = null): void => {
    findings.push({ level, message, hint })
  }
  const endpoint = endpointOf(config)
  const names = namesOf({ ...config, lakeId: lakeId ?? '' })
  try {
    const client = await connectControl(endpoint)
    try {
      const slot = await readSlot(client, names.slot)
      const publication = await readPublication(client, names.publication)
      const facts = await preflight(client, {
        applicationName: endpoint.applicationName,
        newSlots: slot ? 0 : 2,
        newPublication: publication === null,
      })
      const { host, port } = placeOf(config.url)
      found(
        'ok',
        `Postgres ${Math.floor(facts.version / 10_000)} at ${host}:${port}, database ${facts.database}, role ${facts.role}`,
      )
      if (slot || publication) refuseForeign(names, slot, publication, facts)
      found('ok', slot ? `slot ${names.slot} exists` : `slot ${names.slot} and publication ${names.publication} would be made`)
      const catalogue = await readCatalogue(client, {
        source: config.name,
        tables: config.tables,
        into: config.into ?? null,
        detached: new Set(),
        known: new Set(),
        publication: names.publication,
      })
      for (const { source } of catalogue.plans) found('ok', `${source.sourceName} → ${source.namespace}.${source.name}`)
      for (const { error } of catalogue.leftOut) found('problem', error.message, error.hint ?? null)
    } finally {
      await client.end().catch(() => undefined)
    }
  } catch (thrown) {
    const error = postgresError(thrown, placeOf(config.url))
    if (!(error instanceof FrazilError)) throw error
    found('problem', error.message, error.hint ?? null)
  }
  return findings
}
