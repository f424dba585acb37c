import { z } from 'zod'
import { fieldSchema, parseDuration, tableConfig, tableNamePattern } from '../../engine/index.ts'

/** What a database or table may be called. */
export const tableName = z
  .string({ error: 'must be text' })
  .regex(tableNamePattern, 'must be a name of at most 255 characters, without . / \\ and quotes')

/** The name of a table that is there, whatever it is called. */
const existing = z.string({ error: 'must be text' }).min(1, 'must not be empty')

export const createBody = z.strictObject({
  database: tableName,
  table: tableName,
  schema: z.array(fieldSchema, { error: 'must be a list of columns' }).optional(),
  avro_schema: z.unknown().optional(),
  table_config: tableConfig,
})

/** The table gets the key that it has at the server; what Moonlink's `table_config` says has no meaning here. */
export const fromPostgresBody = z.strictObject({
  database: existing,
  table: existing,
  src_uri: z.string({ error: 'must be the address of a database' }).min(1, 'must not be empty').max(4096, 'is too long').meta({
    description: 'postgres://host:port/database of a source that http.from-postgres names; user and password are not used',
  }),
  src_table_name: z
    .string({ error: 'must be the name of a table' })
    .min(1, 'must not be empty')
    .max(300, 'is too long')
    .meta({ description: 'an SQL name: public.orders, public."Odd Name"' }),
  table_config: z.strictObject({ mooncake: z.unknown().optional() }).optional(),
})

export const dropBody = z.strictObject({ database: tableName, table: tableName })

/** `lsn` is accepted and not needed: everything applied so far is committed. */
export const snapshotBody = z.strictObject({ database: existing, table: existing, lsn: z.unknown().optional() })

export const resyncBody = z.strictObject({ database: existing, table: existing })

/** `mode` is accepted: data files are what there is to rewrite, key runs never need it. */
export const optimizeBody = z.strictObject({
  database: existing,
  table: existing,
  mode: z.enum(['data', 'index', 'full'], { error: 'must be "data", "index" or "full"' }).prefault('full'),
})

const duration = z
  .string()
  .transform((text, ctx) => {
    const ms = parseDuration(text)
    if (ms !== null && ms > 0) return ms
    ctx.addIssue('must be a duration such as 250ms or 5s')
    return z.NEVER
  })
  .meta({ description: 'A duration such as 250ms or 5s.' })

const parameter = z.union([z.null(), z.boolean(), z.number(), z.bigint(), z.string()])

export const queryBody = z.strictObject({
  sql: z.string({ error: 'must be one SQL statement' }).min(1, 'must be one SQL statement'),
  params: z.array(parameter).max(1000).optional(),
  at: z.unknown().optional(),
  wait: z
    .union([z.literal('now'), z.record(z.string(), z.string())], { error: 'must be "now" or {source: position}' })
    .optional(),
  wait_timeout: duration.optional(),
  timeout: duration.optional(),
  format: z.enum(['json', 'ndjson', 'csv', 'arrow']).optional(),
})

/** One row, as Moonlink's clients send it. */
const envelope = z.strictObject({
  operation: z.string().meta({ description: 'insert, upsert or delete' }),
  request_mode: z.string().optional().meta({ description: 'async or sync' }),
  data: z.record(z.string(), z.unknown()),
})

/**
 * That, or several rows: the document names it.
 * @public
 */
export const ingestBody = z.union([envelope, z.array(z.record(z.string(), z.unknown()))])

/** Parameters of `POST /ingest/{name}`. */
export const ingestParameters = z.strictObject({
  operation: z.enum(['insert', 'upsert', 'delete']).optional(),
  request_mode: z.enum(['async', 'sync']).optional().meta({ description: 'sync: the answer comes after the lake commit' }),
  wait: z.literal('visible').optional().meta({ description: 'the answer comes when queries see the rows' }),
  partial: z.enum(['true', 'false']).optional().meta({ description: 'true: good rows are kept when others are refused' }),
  create: z.enum(['true', 'false']).optional().meta({ description: 'true: a table that is not there is made by its rows' }),
  database: tableName.optional().meta({ description: 'with create=true' }),
  key: z.string().optional().meta({ description: 'with create=true: names of key columns, divided by commas' }),
})

const folderOfFiles = z.looseObject({ root_directory: z.string().optional() })

/** As Moonlink's clients send it. Files are answered for when they are in the lake, whatever `request_mode` says. */
export const uploadBody = z.strictObject({
  operation: z.enum(['upload', 'insert'], { error: 'must be "upload" or "insert"' }).meta({
    description: 'upload: copies of the files become data files as they are; insert: their rows are written anew',
  }),
  files: z
    .array(z.string().min(1, 'must not be empty').max(4096, 'must be at most 4096 characters'), {
      error: 'must be a list of paths',
    })
    .min(1, 'must name at least one file')
    .max(1000, 'must be at most 1000 files'),
  storage_config: z
    .looseObject({ fs: folderOfFiles.optional(), s3: z.unknown().optional(), gcs: z.unknown().optional() })
    .optional(),
  request_mode: z.enum(['async', 'sync'], { error: 'must be "async" or "sync"' }).optional(),
})

/** `?numbers=string`. */
export const numbersParameter = z.object({
  numbers: z.literal('string').optional().meta({ description: 'int64 and decimal as strings' }),
})

export type FromPostgresBody = z.input<typeof fromPostgresBody>
export type CreateBody = z.input<typeof createBody>
export type UploadBody = z.input<typeof uploadBody>
export type CheckedUpload = z.output<typeof uploadBody>
export type QueryBody = z.input<typeof queryBody>
export type IngestParameters = z.input<typeof ingestParameters>
