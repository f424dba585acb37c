import { isAbsolute, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import type { TlsConfig } from '../access/index.ts'
import { FrazilError } from '../base/index.ts'
import { checkProperty, parsePartition, parseSort } from '../iceberg/index.ts'
import type { ColumnSetting, OutOfRange } from '../source/index.ts'
import { isNamespaceOfSql } from '../query/index.ts'
import { auth, plainTokens, tls, tlsFiles } from './access-config.ts'
import type { TokenConfig } from './access-config.ts'
import { describeIssues } from './config-issues.ts'
import type { Issue } from './config-issues.ts'
import { fillReferences } from './references.ts'
import type { ReferenceParts } from './references.ts'
import { Secret } from './secret.ts'
import type { TableSetting, TableSettings } from './table-settings.ts'
import { otlpSchema, otlpSource } from './otlp-config.ts'
import type { OtlpSourceConfig } from './otlp-config.ts'
import { parseAddress, parseDuration, parseSize } from './units.ts'

/** One Postgres database. Everything is set: defaults are filled in. */
export interface PostgresSourceConfig {
  readonly type: 'postgres'
  /** `postgres://user:password@host:port/database?sslmode=…` */
  readonly url: Secret
  /** SQL identifiers or globs, as written. */
  readonly tables: readonly string[]
  /** Template of `namespace.table`, or null for the default (`{source}.{table}`; outside `public` `{source}.{schema}_{table}`). */
  readonly into: string | null
  readonly slot: string
  readonly publication: string
  /** How a slot that is far behind is read. */
  readonly backlog: 'sql' | 'stream'
  /** The slot is kept on standbys too, so that a promoted one can go on (Postgres 17 and newer). */
  readonly failover: boolean
  /** Connections that copy tables at the same time, and the bytes of a part of a large table's copy. */
  readonly copy: { readonly connections: number; readonly part: number }
  /** How often to look for tables that were made since and match a pattern, in milliseconds. */
  readonly findTables: number
  readonly outOfRange: OutOfRange
  /** Columns by `schema.table.column`, as written. */
  readonly columns: Readonly<Record<string, ColumnSetting>>
}

export type SourceConfig = PostgresSourceConfig | OtlpSourceConfig

/** A whole configuration, resolved: paths absolute, sizes in bytes, durations in milliseconds, references filled in. */
export interface Config {
  /** Absolute directory. */
  readonly warehouse: string
  readonly catalog: { readonly type: 'sqlite' }
  /** Absolute directory for what can be rebuilt. */
  readonly local: string
  readonly listen: { readonly host: string; readonly port: number }
  /** No tokens: whoever can connect may do everything. */
  readonly auth: { readonly tokens: readonly TokenConfig[] }
  /** Absolute paths; null for plain HTTP. */
  readonly tls: TlsConfig | null
  readonly http: {
    /** Absolute folders from which programs may have files taken. */
    readonly upload: readonly string[]
    /** Postgres sources to which programs may add tables. */
    readonly fromPostgres: readonly string[]
  }
  readonly memory: number
  readonly query: { readonly memory: number; readonly threads: number; readonly timeout: number }
  readonly commit: { readonly every: number; readonly bytes: number }
  readonly compaction: {
    readonly automatic: boolean
    readonly targetBytes: number
    readonly bytesPerSecond: number
    readonly restMs: number
  }
  readonly history: { readonly window: number; readonly snapshots: number; readonly hourly: number; readonly daily: number }
  readonly onError: 'detach' | 'stop'
  /** Beyond so many milliseconds, or bytes of log, the daemon is not ready; null for never. */
  readonly ready: { readonly maxLag: number | null; readonly maxLagBytes: number | null }
  readonly pipelines: 'inline' | 'worker'
  /** By `namespace.table`. */
  readonly tables: TableSettings
  readonly sources: Readonly<Record<string, SourceConfig>>
}

/** A configuration as a person or a program writes it: the keys of `frazil.yaml`. */
export type ConfigInput = z.input<typeof schema>

/** What {@link resolveConfig} needs of its surroundings. */
export interface ConfigParts extends ReferenceParts {
  /** Puts a place in a file before an issue's path, for example `frazil.yaml:3:5`. */
  readonly locate?: (path: readonly PropertyKey[], key: boolean) => string
}

const size = (description: string, low: number) =>
  z
    .union([z.string(), z.number()], { error: 'is not a size; write for example 512MB or 1GiB' })
    .transform((text, ctx) => {
      const bytes = parseSize(text)
      if (bytes !== null && bytes >= low) return bytes
      ctx.addIssue(bytes === null ? 'is not a size; write for example 512MB or 1GiB' : `must be at least ${low / 1e6}MB`)
      return z.NEVER
    })
    .meta({ description, form: 'size' })

const duration = (description: string, low: number) =>
  z
    .string({ error: 'is not a duration; write for example 250ms, 5s, 10m or 1h' })
    .transform((text, ctx) => {
      const ms = parseDuration(text)
      if (ms !== null && ms >= low) return ms
      ctx.addIssue(ms === null ? 'is not a duration; write for example 250ms, 5s, 10m or 1h' : `must be at least ${low}ms`)
      return z.NEVER
    })
    .meta({ description, form: 'duration' })

const maxLagForm = 'is not a lag; write for example 30s, 1GB or [30s, 1GB]'

/** A key that the design has and this version does not: refused, not ignored. */
const later = (description: string) =>
  z
    .undefined({ error: 'is not available yet in this version' })
    .optional()
    .meta({ description: `${description} Not available yet in this version.`, later: true })

const choice = <const T extends readonly [string, ...string[]]>(values: T, description: string) =>
  z.enum(values, { error: `must be ${values.map((value) => `"${value}"`).join(' or ')}` }).meta({ description })

/** The same where one of the values is "null", which YAML without quotes takes for nothing at all. */
const quotedChoice = <const T extends readonly [string, ...string[]]>(values: T, description: string) =>
  z
    .enum(values, {
      error: `must be ${values.map((value) => (value === 'null' ? '"null" (in quotes)' : `"${value}"`)).join(' or ')}`,
    })
    .meta({ description })

const text = (description: string, what = 'must be text') =>
  z.string({ error: what }).min(1, 'must not be empty').meta({ description })

/** A list of expressions over columns; whether those exist is seen when the table is. */
const expressions = <T>(description: string, parse: (text: string) => T) =>
  z
    .array(z.string({ error: 'must be text' }), { error: 'must be a list, for example [customer_id]' })
    .transform((texts, ctx) => {
      const parsed: T[] = []
      for (const each of texts) {
        try {
          parsed.push(parse(each))
        } catch (error) {
          if (!(error instanceof FrazilError)) throw error
          ctx.addIssue(`is wrong: ${error.message}. ${error.hint ?? ''}`)
        }
      }
      return parsed
    })
    .meta({ description, form: 'expressions' })
    .optional()

const properties = z
  .record(z.string(), z.union([z.string(), z.number(), z.boolean()], { error: 'must be text, a number, true or false' }), {
    error: 'must be a map of properties to values',
  })
  .transform((given, ctx) => {
    const texts = Object.fromEntries(Object.entries(given).map(([key, value]) => [key, String(value)]))
    for (const [key, value] of Object.entries(texts)) {
      try {
        checkProperty(key, value)
      } catch (error) {
        if (!(error instanceof FrazilError)) throw error
        ctx.addIssue(`are wrong: ${error.message}. ${error.hint ?? ''}`)
      }
    }
    return texts
  })
  .optional()

const listen = text(
  'Where HTTP requests are answered, as `host:port`; port 0 takes a free one. Beyond this machine (loopback) only with `auth`.',
  listenForm(),
).transform((value, ctx) => {
  const parsed = parseAddress(value)
  if (parsed) return parsed
  ctx.addIssue(listenForm())
  return z.NEVER
})

function listenForm(): string {
  return 'must be host:port, for example 127.0.0.1:3030'
}

const replicationName = (description: string) =>
  text(description)
    .regex(/^[a-z0-9_]{1,63}$/, 'must be 1 to 63 characters a-z, 0-9 and _')
    .optional()

const section = <T extends z.core.$ZodLooseShape>(description: string, shape: T) =>
  z
    .strictObject(shape, { error: 'must have settings under it' })
    .prefault({} as never)
    .meta({ description })

const postgres = z
  .strictObject(
    {
      type: z
        .literal('postgres', { error: 'must be "postgres"' })
        .meta({ description: 'What kind of source it is: `postgres`.' }),
      url: text(
        'The database: `postgres://user:password@host:port/database`. Write the password as `${env:NAME}` or `${file:path}`.',
        'is needed: postgres://user:password@host:port/database',
      ).transform((value, ctx) => {
        if (isPostgresUrl(value)) return new Secret(value)
        ctx.addIssue('must look like postgres://user:password@host:port/database')
        return z.NEVER
      }),
      tables: z
        .array(text('').describe(''), { error: "is needed: a list of tables, for example [public.orders, 'sales.*']" })
        .meta({
          description:
            'The tables: SQL identifiers (`public.orders`, `public."Odd Name"`) or globs over bare names (`\'sales.*\'`). At least one, or none where programs may add them (`http.from-postgres`).',
        }),
      into: text(
        'Iceberg namespace and table of each: `{source}`, `{schema}` and `{table}` are filled in. Default: `{source}.{table}`, for tables outside `public` `{source}.{schema}_{table}`.',
      )
        .refine(isTableTemplate, 'must be namespace.table made of text, {source}, {schema} and {table}')
        .optional(),
      slot: replicationName('The replication slot. Default: `frazil_` and the name of the source.'),
      publication: text(
        'The publication. Default: `frazil_` and the name of the source. One that exists and that frazil did not make is used as it is, with its row filters and column lists, and never changed or dropped.',
      )
        .refine((name) => Buffer.byteLength(name) <= 63 && !name.includes('\0'), 'must be at most 63 bytes')
        .optional(),
      backlog: choice(
        ['sql', 'stream'],
        'How a slot that is 64 MiB or more of log behind is read: `sql` by SQL, several times as fast, from temporary copies of the slot, if the server allows it; `stream` as always.',
      ).prefault('sql'),
      failover: z
        .boolean({ error: 'must be true or false' })
        .meta({
          description:
            'Postgres 17 and newer: standbys that synchronize slots keep this one too, so that a promoted standby can go on.',
        })
        .prefault(true),
      copy: section('How tables are copied, at first and by `frazil resync`.', {
        connections: z
          .int({ error: 'must be a whole number from 1 to 16' })
          .min(1, 'must be a whole number from 1 to 16')
          .max(16, 'must be a whole number from 1 to 16')
          .meta({ description: 'Connections at the same time, beside one for changes and two for questions.' })
          .prefault(4),
        part: size(
          'Tables with a key that are larger are copied in parts of this size: complete parts are not copied again after an interruption.',
          1e6,
        ).prefault('128MiB'),
      }),
      'find-tables': duration(
        'How often to look for tables that were made since and match a pattern of `tables`, and for changed columns of tables that nobody writes to.',
        100,
      ).prefault('10s'),
      'out-of-range': quotedChoice(
        ['error', 'null', 'clamp'],
        'Values that Iceberg cannot hold ([list](postgres-types.md)): `error` stops their table, `null` makes them null, `clamp` makes them the nearest of the years 1 to 9999 (all dates and timestamps outside of them) or 23:59:59.999999.',
      ).prefault('error'),
      columns: z
        .record(
          z.string(),
          quotedChoice(
            ['text', 'error', 'null', 'clamp'],
            '`text` mirrors the column as the text that Postgres prints, whatever its type; the others are `out-of-range` of this column.',
          ),
          { error: "must be a map of columns, for example {'public.orders.tags': text}" },
        )
        .meta({ description: 'Settings of columns, by `schema.table.column` as SQL identifiers.' })
        .prefault({}),
    },
    { error: 'must be a source with type, url and tables' },
  )
  .meta({ description: 'A Postgres database. Its name is the Iceberg namespace, unless `into` says otherwise.' })

const source = z
  .discriminatedUnion('type', [postgres, otlpSchema], {
    error: (issue) =>
      issue.code !== 'invalid_union'
        ? 'must be a source with type, url and tables'
        : ['kafka', 'http'].includes(String((issue.input as { type?: unknown } | null)?.type))
          ? 'is not available yet in this version; it has "postgres" and "otlp"'
          : 'must be "postgres" or "otlp"',
  })
  .meta({ description: 'A source, by its type.' })

const tags = (periods: string, example: string, most: number) =>
  z
    .int({ error: `must be a whole number from 0 to ${most}` })
    .min(0, `must be a whole number from 0 to ${most}`)
    .max(most, `must be a whole number from 0 to ${most}`)
    .meta({
      description: `How many older states are kept by tags like \`${example}\`: the last ones of ${periods} (UTC) in which a table changed. Each keeps its data files: beside many updates, up to a copy of the table.`,
    })
    .prefault(0)

/** The whole configuration; descriptions, defaults and forms are what `docs/configuration.md` is made of. */
export const schema = z.strictObject(
  {
    warehouse: text('Directory of the lake. Buckets (`s3://…`) are not available yet in this version.')
      .refine((value) => !/^[a-z][a-z0-9+.-]+:\/\//i.test(value) || value.startsWith('file:///'), {
        error: 'must be a directory: other storage is not available yet in this version',
      })
      .prefault('./lake'),
    catalog: z
      .literal('sqlite', { error: 'must be "sqlite": other catalogs are not available yet in this version' })
      .meta({ description: 'Where the names of tables live: `sqlite` is `catalog.db` in the warehouse directory.' })
      .prefault('sqlite'),
    local: text(
      'Directory for what can be rebuilt: key runs, read cache, spill. Its `spool` has rows sent over HTTP that are not in the lake yet: never delete it.',
    ).prefault('./.frazil'),
    listen: listen.prefault('127.0.0.1:3030'),
    'listen-postgres': later('Where Postgres clients are answered.'),
    auth,
    tls,
    http: section('What programs may ask for that reaches beyond the lake.', {
      upload: z
        .array(text('').describe(''), { error: 'must be a list of folders, for example [/data/incoming]' })
        .max(100, 'must be at most 100 folders')
        .meta({
          description: 'Folders from which `POST /upload/{name}` takes Parquet files, and those below them. Default: none.',
        })
        .prefault([]),
      'from-postgres': z
        .array(text('').describe(''), { error: 'must be a list of sources, for example [shop]' })
        .max(1000, 'must be at most 1000 sources')
        .meta({
          description:
            'Postgres sources to which `POST /tables/{name}/from_postgres` adds tables; those that were added are read as long as their source is named here. Default: none.',
        })
        .prefault([]),
    }),
    memory: size('Budget for hot rows, index, queues and caches; up to 1.25 bytes of it for each row with a key.', 16e6).prefault(
      '512MB',
    ),
    query: section('Queries.', {
      memory: size('Memory of the SQL engine, beside `memory`.', 64e6).prefault('512MB'),
      threads: z
        .int({ error: 'must be a whole number from 1 to 256' })
        .min(1, 'must be a whole number from 1 to 256')
        .max(256, 'must be a whole number from 1 to 256')
        .meta({ description: 'Threads of the SQL engine for queries over many rows of data files; others take one each.' })
        .prefault(2),
      timeout: duration(
        'A query is ended after this time; one may ask for another (`timeout`), up to 14 minutes or this, whichever is longer.',
        1,
      ).prefault('60s'),
    }),
    commit: section('When rows go to Iceberg. They are visible to queries before that.', {
      every: duration('At the latest after this time, when there is anything to commit.', 10).prefault('5s'),
      bytes: size('Earlier when a source has so many bytes of changed rows.', 1e6).prefault('64MB'),
    }),
    compaction: section('How data files are rewritten beside everything else: small ones merged, rows that are dead left out.', {
      automatic: z
        .boolean({ error: 'must be true or false' })
        .meta({ description: 'Whether it is done without being asked for; `frazil optimize` asks for it at any time.' })
        .prefault(true),
      'target-file-size': size('Size that data files should have.', 1e6).prefault('128MB'),
      rate: size('Bytes read and written for it in a second at most, for all tables together.', 1e6).prefault('64MB'),
      rest: duration(
        'A table that nobody has changed for so long is rewritten until few of its rows are dead and few of its files are small.',
        1000,
      ).prefault('10m'),
    }),
    history: section('How far back one can read.', {
      window: duration(
        'Positions kept in memory for queries of the past, which are not available yet in this version.',
        0,
      ).prefault('5m'),
      snapshots: duration('Iceberg snapshots that are kept, at most 600.', 0).prefault('1h'),
      hourly: tags('hours', 'hourly-2026-11-21-07', 168),
      daily: tags('days', 'daily-2026-11-21', 366),
    }),
    'on-error': choice(
      ['detach', 'stop'],
      'A table that cannot go on: `detach` leaves it as it is and goes on with the others; `stop` stops the engine.',
    ).prefault('detach'),
    ready: section('What `GET /ready` demands beyond tables that are copied and streams that are open.', {
      'max-lag': z
        .union([z.string(), z.array(z.string()).min(1)], { error: maxLagForm })
        .transform((given, ctx) => {
          const lag: { ms: number | null; bytes: number | null } = { ms: null, bytes: null }
          for (const text of [given].flat()) {
            const [ms, bytes] = [parseDuration(text), parseSize(text)]
            if (ms !== null && ms > 0) lag.ms = ms
            else if (bytes !== null && bytes > 0) lag.bytes = bytes
            else {
              ctx.addIssue(maxLagForm)
              return z.NEVER
            }
          }
          return lag
        })
        .meta({
          description:
            'Not ready when a source lags by more: a duration, a size of log at the source, or both: `[30s, 1GB]`. Default: lag is told and does not matter.',
          form: 'lag',
        })
        .optional(),
    }),
    pipelines: choice(
      ['inline', 'worker'],
      'Advanced. Where sources are decoded: `inline` in the main thread, `worker` in a thread per source.',
    ).prefault('inline'),
    tables: z
      .record(
        z.string(),
        z.strictObject(
          {
            'on-schema-change': choice(
              ['evolve', 'new-column', 'detach'],
              'When its columns or its key change at the source. `evolve`: they change in the lake as well; where its rows cannot follow, the table is copied anew beside itself and swapped in. `new-column`: the same, but a column that takes a type which its values cannot follow leaves them behind under the name `<column>__<type before>`, and begins anew with null in the rows that are there. `detach`: it stops there and stays readable. Tables that programs send rows to: rows with other columns add them, but for `detach`, which refuses such rows. Default: `evolve`; for the latter, as the table was made.',
            ).optional(),
            'partition-by': expressions(
              'How data files are partitioned: columns, or `year`, `month`, `day`, `hour`, `bucket(n, column)`, `truncate(n, column)` of them; `[]` for not at all. A change holds for new files; those that are there stay as they are. Default: as the table is in the lake, a new one not at all.',
              parsePartition,
            ),
            'sort-by': expressions(
              'How rows are sorted within a data file: columns or transforms of them, each with `asc` or `desc` and `nulls first` or `nulls last`; `[]` for not at all. Default: as the table is in the lake, a new one not at all.',
              parseSort,
            ),
            properties: properties.meta({
              description:
                'Properties of the table in Iceberg: `write.parquet.bloom-filter-enabled.column.<name>` and `….bloom-filter-fpp.column.<name>`, `write.parquet.bloom-filter-max-bytes`; `write.metadata.metrics.default` and `….column.<name>` (`none`, `counts`, `truncate(16)`, `full`), `write.metadata.metrics.max-inferred-column-defaults`. They hold for new files, and stay set until they are set otherwise.',
              form: 'properties',
            }),
          },
          { error: 'must have settings under it' },
        ),
        { error: 'must be a map of tables of the lake (`shop.orders`) to settings' },
      )
      .prefault({})
      .meta({ description: 'Settings per table, by its name in the lake.' }),
    sources: z
      .record(
        z
          .string()
          .regex(/^[A-Za-z_][A-Za-z0-9_-]{0,55}$/)
          .refine((name) => name !== 'http'),
        source,
        { error: 'must be a map of names to sources' },
      )
      .meta({
        description:
          'Where rows come from, by name; not `http`. The namespace of their tables (the name, unless `into` says otherwise) cannot be one of SQL itself: `temp`, `memory`, `system`, `information_schema`, `pg_catalog`.',
      })
      .prefault({}),
  },
  { error: 'must be a map of settings, for example "warehouse: ./lake"' },
)

/**
 * Checks a configuration and fills in defaults, references (`${env:NAME}`, `${file:path}`) and absolute paths.
 * Throws `config` (`config-invalid`) with one line for each thing that is wrong. No value is printed: it may be a secret.
 */
export function resolveConfig(input: unknown, parts: ConfigParts): Config {
  const issues: Issue[] = plainTokens(input)
  const filled = fillReferences(input ?? {}, parts, issues)
  const result = schema.safeParse(filled)
  if (!result.success) {
    // What a missing reference leaves behind is wrong as well, and nothing new.
    const named = new Set(issues.map(({ path }) => path.join('.')))
    issues.push(...describeIssues(result.error.issues, schema, filled).filter(({ path }) => !named.has(path.join('.'))))
  }
  if (issues.length > 0 || !result.success) throw invalid(issues, parts)
  const { data } = result
  const general = tlsFiles(data.tls, parts.folder)
  const sources: Record<string, SourceConfig> = {}
  const databases: Record<string, PostgresSourceConfig> = {}
  for (const [name, source] of Object.entries(data.sources)) {
    if (source.type === 'otlp') {
      sources[name] = otlpSource(source, parts.folder, general)
      continue
    }
    const own = `frazil_${name.toLowerCase().replaceAll('-', '_')}`
    sources[name] = databases[name] = {
      ...source,
      into: source.into ?? null,
      slot: source.slot ?? own,
      publication: source.publication ?? own,
      findTables: source['find-tables'],
      outOfRange: source['out-of-range'],
    }
    const twin = Object.keys(databases).find(
      (other) =>
        other !== name && databases[other].slot === databases[name].slot && sameServer(databases[other], databases[name]),
    )
    if (twin !== undefined) {
      throw invalid(
        [{ path: ['sources', name], key: true, message: `uses the same slot as ${twin}; give it a "slot" of its own` }],
        parts,
      )
    }
  }
  for (const [name, source] of Object.entries(sources)) {
    const [template] = source.type === 'postgres' && source.into !== null ? source.into.split('.') : ['{source}']
    const namespace = template.replaceAll('{source}', name)
    if (!isNamespaceOfSql(namespace)) continue
    const own = template === '{source}' ? 'another name' : 'another "into"'
    const message = `would have its tables in the namespace ${namespace}, which is one of SQL itself: no query could name them; give it ${own}`
    throw invalid([{ path: ['sources', name], key: true, message }], parts)
  }
  for (const [i, name] of data.http['from-postgres'].entries()) {
    if (Object.hasOwn(databases, name)) continue
    throw invalid([{ path: ['http', 'from-postgres', i], key: false, message: 'must be the name of a Postgres source' }], parts)
  }
  for (const [name, { tables }] of Object.entries(databases)) {
    if (tables.length > 0 || data.http['from-postgres'].includes(name)) continue
    const path = ['sources', name, 'tables']
    throw invalid([{ path, key: false, message: 'must name at least one table' }], parts)
  }
  return {
    warehouse: directory(data.warehouse, parts.folder),
    catalog: { type: data.catalog },
    local: directory(data.local, parts.folder),
    listen: data.listen,
    auth: { tokens: data.auth?.tokens ?? [] },
    tls: general,
    http: {
      upload: data.http.upload.map((folder) => directory(folder, parts.folder)),
      fromPostgres: data.http['from-postgres'],
    },
    memory: data.memory,
    query: data.query,
    commit: data.commit,
    compaction: {
      automatic: data.compaction.automatic,
      targetBytes: data.compaction['target-file-size'],
      bytesPerSecond: data.compaction.rate,
      restMs: data.compaction.rest,
    },
    history: data.history,
    onError: data['on-error'],
    ready: { maxLag: data.ready['max-lag']?.ms ?? null, maxLagBytes: data.ready['max-lag']?.bytes ?? null },
    pipelines: data.pipelines,
    tables: Object.fromEntries(Object.entries(data.tables).map(([name, settings]) => [name, tableSetting(settings)])),
    sources,
  }
}

function tableSetting(settings: z.output<typeof schema>['tables'][string]): TableSetting {
  const { 'on-schema-change': onSchemaChange, 'partition-by': partitionBy, 'sort-by': sortBy, properties: given } = settings
  return {
    ...(onSchemaChange ? { onSchemaChange } : {}),
    ...(partitionBy ? { partitionBy } : {}),
    ...(sortBy ? { sortBy } : {}),
    ...(given ? { properties: given } : {}),
  }
}

function invalid(issues: readonly Issue[], parts: ConfigParts): FrazilError {
  const most = 20
  const lines = issues.slice(0, most).map((issue) => {
    const place = parts.locate?.(issue.path, issue.key)
    const path = issue.path.map(String).join('.')
    return `${place === undefined ? '' : `${place}: `}${path === '' ? 'the configuration' : path} ${issue.message}`
  })
  if (issues.length > most) lines.push(`and ${issues.length - most} more`)
  return new FrazilError('config', 'config-invalid', lines.join('\n'))
}

function directory(path: string, folder: string): string {
  const local = path.startsWith('file:') ? fileURLToPath(path) : path
  return isAbsolute(local) ? resolve(local) : resolve(folder, local)
}

function isPostgresUrl(value: string): boolean {
  if (!URL.canParse(value)) return false
  const url = new URL(value)
  return (url.protocol === 'postgres:' || url.protocol === 'postgresql:') && url.pathname.length > 1
}

function isTableTemplate(value: string): boolean {
  const plain = value.replaceAll(/\{(?:source|schema|table)\}/g, 'x')
  return /^[^{}.]+\.[^{}.]+$/.test(plain) && value.includes('{table}')
}

function sameServer(a: PostgresSourceConfig, b: PostgresSourceConfig): boolean {
  return new URL(a.url.reveal()).host === new URL(b.url.reveal()).host
}
