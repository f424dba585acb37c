import { z } from 'zod'
import { fieldSchema } from '../../engine/index.ts'
import type { EngineStatus, SourceStatus, TableStatus } from '../../engine/index.ts'

/** Every answer that is not a success. */
export const errorAnswer = z.looseObject({ code: z.string(), message: z.string(), hint: z.string().optional() })

export const healthAnswer = z.strictObject({
  status: z.literal('ok'),
  service: z.literal('frazil'),
  pid: z.int().optional(),
  version: z.string().optional(),
  warehouse: z.string().optional(),
})

const count = z.int().min(0)
const position = z.string().nullable()

export const tableStatus = z.strictObject({
  database: z.string(),
  table: z.string(),
  source: z.string(),
  health: z.enum(['copying', 'streaming', 'stopped', 'detached']),
  reason: z.string().nullable(),
  visible: position,
  committed: position,
  hotRows: count,
  stagedRows: count,
  coldRows: count,
  dataFiles: count,
  deletedRows: count,
  copy: z.strictObject({ rows: count, bytes: count, estimated: z.number().nullable(), leftMs: z.number().nullable() }).nullable(),
}) satisfies z.ZodType<TableStatus>

export const sourceStatus = z.strictObject({
  name: z.string(),
  type: z.string(),
  state: z.enum(['starting', 'copying', 'streaming', 'retrying', 'failed', 'stopped']),
  reason: z.string().nullable(),
  position,
  committed: position,
  lagMs: z.number().nullable(),
  lagBytes: z.number().nullable(),
  log: z
    .strictObject({
      uncommitted: z.number(),
      retained: z.number().nullable(),
      safe: z.number().nullable(),
      status: z.string().nullable(),
      xminAge: z.number().nullable(),
    })
    .nullable(),
}) satisfies z.ZodType<SourceStatus>

export const tablesAnswer = z.strictObject({
  tables: z.array(tableStatus),
  sources: z.array(sourceStatus),
  ready: z.boolean(),
  reasons: z.array(z.string()),
}) satisfies z.ZodType<Omit<EngineStatus, 'memory'>>

/** Without a token where one is needed: whether it is ready, nothing more. */
export const readyAnswer = z.strictObject({
  ready: z.boolean(),
  reasons: z.array(z.string()).optional(),
  sources: z.array(sourceStatus).optional(),
  detached: z.array(tableStatus.pick({ database: true, table: true, health: true, reason: true })).optional(),
})

const positions = z.record(z.string(), z.string()).meta({ description: 'By source; usable in `wait` of a query.' })
const named = { database: z.string(), table: z.string() }

export const createAnswer = z.strictObject({ ...named, lsn: z.int() })
export const fromPostgresAnswer = z.strictObject({ ...named, lsn: z.int(), state: z.enum(['streaming', 'copying']) })
export const dropAnswer = z.strictObject({})
export const snapshotAnswer = z.strictObject({ ...named, positions })
export const resyncAnswer = z.strictObject({ ...named, state: z.enum(['copying', 'streaming']) })
export const optimizeAnswer = z.strictObject(named)

export const schemaAnswer = z.strictObject({
  ...named,
  ingest: z.string(),
  schema: z.array(fieldSchema),
  key: z.array(z.string()),
  on_schema_change: z.literal('evolve').optional(),
})

export const rowAnswer = z.record(z.string(), z.unknown())

export const queryAnswer = z.strictObject({
  columns: z.array(z.strictObject({ name: z.string(), type: z.string() })),
  rows: z.array(z.array(z.unknown())),
  positions,
})

const refusedRow = z.strictObject({
  row: z.int().min(1),
  code: z.string(),
  column: z.string().nullable(),
  message: z.string(),
})

export const ingestAnswer = z.strictObject({
  table: z.string(),
  operation: z.enum(['insert', 'upsert', 'delete']),
  rows: count,
  position: z.string(),
  durability: z.enum(['stored', 'visible', 'committed']),
  lsn: z.number().optional(),
  refused: count.optional(),
  errors: z.array(refusedRow).optional(),
})

export const uploadAnswer = z.strictObject({
  table: z.string(),
  operation: z.enum(['upload', 'insert']),
  files: count,
  rows: count,
  position: z.string(),
  durability: z.literal('committed'),
  lsn: z.number(),
})

export const rowsRefused = z.looseObject({
  code: z.string(),
  message: z.string(),
  refused: count.optional(),
  rows: z.array(refusedRow).optional(),
})

export type FromPostgresAnswer = z.output<typeof fromPostgresAnswer>
export type TablesAnswer = z.output<typeof tablesAnswer>
export type TableState = z.output<typeof tableStatus>
export type QueryRows = z.output<typeof queryAnswer>
export type IngestResult = z.output<typeof ingestAnswer>
export type UploadResult = z.output<typeof uploadAnswer>
export type RefusedRow = z.output<typeof refusedRow>
export type SchemaAnswer = z.output<typeof schemaAnswer>
export type SnapshotAnswer = z.output<typeof snapshotAnswer>
