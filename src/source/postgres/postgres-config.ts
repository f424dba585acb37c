import type { ValueSettings } from './catalogue.ts'
import type { Endpoint } from './connection.ts'
import type { Names } from './ownership.ts'

/** One Postgres database as a source. */
export interface PostgresConfig extends ValueSettings {
  /** The source's name in the configuration; also the namespace of its tables. */
  readonly name: string
  /** `postgres://user:password@host:port/database?sslmode=…` */
  readonly url: string
  /** SQL identifiers, or globs over bare names; see `parseTablePattern`. */
  readonly tables: readonly string[]
  /** Names of tables that were added while the source ran, see `ServerSource.include`. Those that are not there any more are only told of. */
  readonly added?: readonly string[]
  /** Marks what we make at the server as this lake's. */
  readonly lakeId: string
  /** Template of `namespace.table`; default `{source}.{table}`, outside `public` `{source}.{schema}_{table}`. */
  readonly into?: string | null
  /** Default: `frazil_` and the name. */
  readonly slot?: string
  /** Default: `frazil_` and the name. */
  readonly publication?: string
  /** How long to try again when the server does not answer, in milliseconds. Default 10 minutes. */
  readonly retryForMs?: number
  /** How long to wait for open transactions when a slot is made. Default 10 seconds, tried again within `retryForMs`. */
  readonly slotWaitMs?: number
  /** How a slot that is far behind is read: by SQL if the server allows it, or by the stream as always. Default `sql`. */
  readonly backlog?: 'sql' | 'stream'
  /** Whether a new slot is kept on standbys that synchronize slots; Postgres 17 and newer. Default true. */
  readonly failover?: boolean
  /** From how many bytes of log on a slot is far behind. Default 64 MiB. */
  readonly farBehindBytes?: number
  /** Bytes of log that the server decodes at a time when it is read by SQL. Default 256 MiB. */
  readonly backlogRoundBytes?: number
  /** Connections that copy tables at the same time. Default 4. */
  readonly copyConnections?: number
  /** Larger tables with a key are copied in parts of this size, which outlive an interruption. Default 128 MiB. */
  readonly copyPartBytes?: number
  /** How often a source with patterns looks for tables that were made since, in milliseconds. Default 10 seconds. */
  readonly newTablesEveryMs?: number
  /** Tables, as `namespace.table`, whose columns leave their values behind when they take a type that those cannot follow. */
  readonly newColumns?: readonly string[]
  /** Largest message taken from the server. Default 1 GiB and 64 MiB, which is what Postgres can send. */
  readonly maxFrameBytes?: number
  /** `wal_sender_timeout` of our connection. Default: a minute, or the server's if longer. */
  readonly senderTimeoutMs?: number
}

/** What a slot and a publication are called unless the settings say otherwise. */
export function namesOf(config: Pick<PostgresConfig, 'name' | 'slot' | 'publication' | 'lakeId'>): Names {
  const own = `frazil_${config.name.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')}`.slice(0, 63)
  const publication = config.publication ?? own
  return {
    source: config.name,
    slot: config.slot ?? own,
    publication,
    publicationNamed: publication !== own,
    lakeId: config.lakeId,
  }
}

export function endpointOf(config: Pick<PostgresConfig, 'name' | 'url'>): Endpoint {
  return { url: config.url, applicationName: `frazil_${config.name}`.slice(0, 63) }
}
