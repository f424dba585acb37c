import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import type { SourceEvent } from '../../data/index.ts'
import type { SourceParts } from '../source.ts'
import type { PlannedColumn, TablePlan } from './catalogue.ts'
import { RawConnection } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { CopyDecoder } from './copy-decoder.ts'
import { tupleDecoder } from './decoder.ts'
import { errorCode } from './errors.ts'
import { EventPump } from './event-pump.ts'
import { quoteName, quoteText } from './identifiers.ts'
import { lsnToText } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import { copyName, createSlot } from './ownership.ts'
import { query } from './replication-stream.ts'
import { SegmentWriter } from './segment-writer.ts'
import type { RetiredSegments } from './segment-writer.ts'

/** A moment of the database that copies are made of: everything committed before `floor`, nothing after. */
export interface Snapshot {
  readonly floor: Lsn
  readonly name: string
  /** Gives up the snapshot; copies that have begun keep it. */
  close(): Promise<void>
}

/** Takes a snapshot by a temporary slot, which is what ties it to a position in the log. */
export async function takeSnapshot(
  endpoint: Endpoint,
  control: Client,
  options: { slot: string; version: number; waitMs: number },
): Promise<Snapshot> {
  const connection = await RawConnection.open(endpoint, 'replication')
  try {
    const { rows } = await connection.client.query<{ pid: number }>('select pg_catalog.pg_backend_pid() as pid')
    const name = copyName(options.slot, 'c', rows[0].pid)
    const slot = await createSlot(connection.client, control, { ...options, name, kind: 'temporary' })
    if (slot.snapshot === null) throw new FrazilError('corrupt', 'no-snapshot', 'Postgres made a slot without a snapshot')
    return { floor: slot.consistentPoint, name: slot.snapshot, close: () => connection.close() }
  } catch (error) {
    await connection.close()
    throw error
  }
}

export interface CopyOptions {
  readonly endpoint: Endpoint
  readonly snapshot: Snapshot
  readonly parts: SourceParts
  readonly retired: RetiredSegments
  readonly maxFrameBytes: number
}

/** The copy of one table, on a connection of its own. */
export class TableCopy {
  readonly #plan: TablePlan
  readonly #pump: EventPump
  readonly #decoder: CopyDecoder
  readonly #writer: SegmentWriter
  readonly #floor: Lsn

  private constructor(connection: RawConnection, plan: TablePlan, options: CopyOptions) {
    const { parts, retired, maxFrameBytes, snapshot } = options
    this.#plan = plan
    this.#floor = snapshot.floor
    const decoder = tupleDecoder(
      'copy',
      plan.columns.map(({ codec }, target) => ({ codec, target, key: false })),
    )
    this.#writer = new SegmentWriter(plan.source.fields, plan.source, decoder, parts, retired)
    this.#decoder = new CopyDecoder(plan.source, this.#writer)
    this.#pump = new EventPump(connection, this.#decoder, {
      pool: parts.pool,
      clock: parts.clock,
      retired,
      maxFrameBytes,
      pace: false,
    })
  }

  static async start(plan: TablePlan, options: CopyOptions): Promise<TableCopy> {
    const connection = await RawConnection.open(options.endpoint, 'sql')
    try {
      await connection.client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      await connection.client.query(`SET TRANSACTION SNAPSHOT ${quoteText(options.snapshot.name)}`)
      const columns = plan.columns.map(copyExpression).join(', ')
      const from = `${plan.partitioned ? '' : 'ONLY '}${quoteName(plan.schema)}.${quoteName(plan.table)}`
      await connection.client.query(`LOCK TABLE ${from} IN ACCESS SHARE MODE`)
      await checkStorage(connection.client, plan)
      const copy = new TableCopy(connection, plan, options)
      const where = plan.filter === null ? '' : ` WHERE ${plan.filter}`
      copy.#pump.write(query(`COPY (SELECT ${columns} FROM ${from}${where}) TO STDOUT (FORMAT binary)`))
      return copy
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  /**
   * The next events; the last of all is `copied`. Null when there are no more, or after {@link close}. Rejects with
   * `unsupported` or `corrupt` when this table cannot be copied.
   */
  async take(): Promise<SourceEvent[] | null> {
    try {
      return await this.#pump.take()
    } catch (error) {
      throw tableError(error, this.#plan)
    }
  }

  copied(): SourceEvent {
    return { type: 'copied', table: this.#plan.source.id, floor: lsnToText(this.#floor), rows: this.#decoder.rows }
  }

  pause(): void {
    this.#pump.pause()
  }

  resume(): void {
    this.#pump.resume()
  }

  close(): void {
    this.#writer.release()
    this.#pump.close()
  }
}

/**
 * A table that was truncated or rewritten after the snapshot shows no rows to it (Postgres documentation, "MVCC caveats"): only
 * a new snapshot can copy it. The snapshot has the old file's number, the function tells the current one's.
 * Throws `unavailable`, code `table-rewritten`.
 */
async function checkStorage(client: Client, plan: TablePlan): Promise<void> {
  const tables = plan.partitioned ? 'select relid from pg_catalog.pg_partition_tree($1::oid)' : 'select $1::oid'
  const { rows } = await client.query<{ rewritten: boolean }>(
    `select exists (select from pg_catalog.pg_class c where c.oid in (${tables})
       and nullif(c.relfilenode, 0) is distinct from pg_catalog.pg_relation_filenode(c.oid)) as rewritten`,
    [plan.source.id],
  )
  if (!rows[0].rewritten) return
  throw new FrazilError(
    'unavailable',
    'table-rewritten',
    `table ${plan.source.sourceName} was truncated or rewritten just before it was copied`,
  )
}

/**
 * What is asked for to get a column. For text, the very function that a stream's text comes from: a cast may print something else,
 * and a composite of nulls is not null.
 */
function copyExpression({ name, codec }: PlannedColumn): string {
  const column = quoteName(name)
  return codec.textOnly ? `CASE WHEN pg_catalog.num_nulls(${column}) = 0 THEN pg_catalog.format('%s', ${column}) END` : column
}

/** What the server says about one table (dropped meanwhile, a right taken away, a value it cannot read) concerns that table. */
function tableError(error: unknown, plan: TablePlan): unknown {
  const code = errorCode(error)
  if (error instanceof FrazilError || !/^(?:42|22|0A|XX)/.test(code)) return error
  const { namespace, name, sourceName } = plan.source
  const message = `table ${sourceName} cannot be copied: ${error instanceof Error ? error.message : code}`
  return new FrazilError('unsupported', 'copy-refused', message, { cause: error, table: `${namespace}.${name}` })
}
