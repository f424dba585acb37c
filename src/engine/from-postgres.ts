import { FrazilError } from '../base/index.ts'
import type { Catalog } from '../iceberg/catalog/index.ts'
import type { EventBus } from '../observe/index.ts'
import { sourcesWithAdded } from './added-tables.ts'
import type { Config } from './config.ts'
import type { PipelineHandle } from './pipeline-contract.ts'

/**
 * The pipeline of the one source that takes tables and whose database is at `uri`. Throws `request` `from-postgres-not-allowed`, and
 * `unavailable` while the source is not there.
 */
export function pipelineAt(
  config: Pick<Config, 'http' | 'sources'>,
  pipelines: ReadonlyMap<string, PipelineHandle>,
  uri: string,
): PipelineHandle {
  const name = sourceAt(config, uri)
  const pipeline = pipelines.get(name)
  if (pipeline) return pipeline
  throw new FrazilError('unavailable', 'source-failed', `the source ${name} is not running`)
}

function sourceAt({ http, sources }: Pick<Config, 'http' | 'sources'>, uri: string): string {
  const open = http.fromPostgres
  if (open.length === 0) {
    throw new FrazilError('request', 'from-postgres-not-allowed', 'no source is configured to which tables may be added', {
      hint: 'http: {from-postgres: [shop]} in the configuration lets tables be added to its source shop.',
    })
  }
  const asked = placeOf(uri)
  const found = open.filter((name) => {
    const source = sources[name]
    return source.type === 'postgres' && asked !== null && placeOf(source.url.reveal()) === asked
  })
  if (found.length === 1) return found[0]
  const message =
    found.length === 0
      ? `src_uri is not the database of a source to which tables may be added: ${open.join(', ')}`
      : `src_uri is the database of several sources to which tables may be added: ${found.join(', ')}`
  const hint =
    found.length === 0
      ? 'Write host, port and database as url of the source has them in the configuration; user and password are not needed.'
      : 'Name one of them alone in http.from-postgres.'
  throw new FrazilError('request', 'from-postgres-not-allowed', message, { hint })
}

/**
 * Host, port and database of a URL, null when it is none. Not as the Postgres client reads it, which opens files that a URL names: this one
 * comes from outside.
 */
function placeOf(text: string): string | null {
  if (!URL.canParse(text)) return null
  const { protocol, hostname, port, pathname, searchParams } = new URL(text)
  if (protocol !== 'postgres:' && protocol !== 'postgresql:') return null
  try {
    const host = searchParams.get('host') ?? decodeURIComponent(hostname)
    const place = [
      host.toLowerCase(),
      searchParams.get('port') ?? (port === '' ? '5432' : port),
      decodeURIComponent(pathname.slice(1)),
    ]
    return JSON.stringify(place)
  } catch {
    return null
  }
}

/** Says which sources had tables added and are not in the configuration any more. */
export async function tellOfLeftTables(catalog: Catalog, { sources }: Pick<Config, 'sources'>, events: EventBus): Promise<void> {
  for (const { source, tables } of await sourcesWithAdded(catalog)) {
    if (sources[source]?.type === 'postgres') continue
    const message = `${tables} tables were added to the source ${source}, which is not in the configuration: they are not read`
    events.emit({ type: 'notice', level: 'warn', message, hint: `configure the source ${source} again to have them read` })
  }
}
