import { FrazilError } from '../../base/index.ts'
import type { SourceEvent } from '../../data/index.ts'
import type { SourceParts } from '../source.ts'
import { RawConnection } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { CopyDecoder } from './copy-decoder.ts'
import { copyStatement, releaseStatement, reshapedCode, rewrittenCode } from './copy-ranges.ts'
import type { CopyRange } from './copy-ranges.ts'
import { tupleDecoder } from './decoder.ts'
import { errorCode, serverError } from './errors.ts'
import { EventPump } from './event-pump.ts'
import type { FrameDecoder } from './event-pump.ts'
import { quoteText } from './identifiers.ts'
import { query } from './replication-stream.ts'
import { RetiredSegments, SegmentWriter } from './segment-writer.ts'
import type { TablePlan } from './table-plan.ts'

export interface CopyLaneOptions {
  readonly endpoint: Endpoint
  /** Name of an exported snapshot, which need not last longer than {@link CopyLane.open}. */
  readonly snapshot: string
  readonly parts: SourceParts
  readonly maxFrameBytes: number
  /** The next range to copy; null when there are none left. */
  next(): CopyRange | null
}

/** A message from the server of another kind than the rows. */
const message = { copyOut: 0x48, copyData: 0x64, copyDone: 0x63, error: 0x45, ready: 0x5a } as const

/** How Postgres says that nobody exports a snapshot of this name: undefined_object, before 18 invalid_parameter_value. */
const snapshotUnknown = ['42704', '22023']
/** And that there is no table of this name: undefined_table. */
const relationUnknown = '42P01'

/**
 * One connection that copies range after range in one snapshot. At the end of each range it says `copied`, or `copied-part`, with the
 * rows of the range and nothing else; a table that cannot be copied in this snapshot is `failed`, and the lane goes on with the next range.
 */
export class CopyLane implements FrameDecoder {
  finished = false
  /** Transactions below this id had ended when the snapshot was taken; 64 bits. */
  readonly xmin: bigint
  readonly #options: CopyLaneOptions
  readonly #retired = new RetiredSegments()
  readonly #pump: EventPump
  #range: CopyRange | null = null
  #writer: SegmentWriter | null = null
  #decoder: CopyDecoder | null = null
  /** Whether rows are coming, not the statements before them. */
  #copying = false
  #events: SourceEvent[] = []

  private constructor(connection: RawConnection, options: CopyLaneOptions, xmin: bigint) {
    this.#options = options
    this.xmin = xmin
    const { parts, maxFrameBytes } = options
    this.#pump = new EventPump(connection, this, {
      pool: parts.pool,
      clock: parts.clock,
      retired: this.#retired,
      maxFrameBytes,
      pace: false,
    })
  }

  /** Connects and imports the snapshot. Reading begins with {@link start}. */
  static async open(options: CopyLaneOptions): Promise<CopyLane> {
    const connection = await RawConnection.open(options.endpoint, 'sql')
    try {
      await connection.client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      await connection.client.query(`SET TRANSACTION SNAPSHOT ${quoteText(options.snapshot)}`)
      const { rows } = await connection.client.query<{ xmin: string }>(
        'SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text AS xmin',
      )
      return new CopyLane(connection, options, BigInt(rows[0].xmin))
    } catch (error) {
      await connection.close()
      if (!snapshotUnknown.includes(errorCode(error))) throw error
      const message = 'the connection that held the snapshot of a copy was lost before the copy began'
      throw new FrazilError('unavailable', 'snapshot-gone', message, { cause: error })
    }
  }

  start(): void {
    this.#begin()
  }

  /** The next events; null when no range is left, or after {@link close}. Rejects with what ended the connection. */
  take(): Promise<SourceEvent[] | null> {
    return this.#pump.take()
  }

  /** Reads no more. What was given out stays as it is until {@link close}. */
  stop(): void {
    this.#pump.close()
  }

  close(): void {
    this.stop()
    this.#writer?.release()
    this.#writer = null
    this.#retired.releaseAll()
  }

  get waitsFor(): Promise<void> | null {
    return null
  }

  /** The end of a range is told of at once: what comes next may wait for a lock. */
  get hasRowsOnly(): boolean {
    return !this.finished && this.#events.length === 0
  }

  events(): SourceEvent[] {
    this.#flush()
    const events = this.#events
    this.#events = []
    return events
  }

  frame(type: number, bytes: Buffer, from: number, to: number): boolean {
    switch (type) {
      case message.copyOut:
        this.#copying = true
        return true
      case message.copyData:
        return this.#guard(() => this.#decoder?.data(bytes, from, to) ?? true)
      case message.copyDone:
        this.#guard(() => this.#decoder?.done())
        return true
      case message.error:
        this.#refused(serverError(bytes, from, to))
        return true
      case message.ready:
        // A failed transaction block takes nothing but a rollback; its snapshot stays.
        if (bytes[from] === 0x45) this.#pump.write(query(releaseStatement))
        else this.#end()
        return true
      default:
        return true
    }
  }

  /** Runs a step of decoding; what a value cannot be concerns its table only. */
  #guard<T>(step: () => T): T | true {
    try {
      return step()
    } catch (error) {
      if (!(error instanceof FrazilError) || (error.kind !== 'unsupported' && error.kind !== 'corrupt')) throw error
      this.#fail(error)
      return true
    }
  }

  /** What the server says about one table (dropped meanwhile, a right taken away, a value it cannot read) concerns that table. */
  #refused(error: Error): void {
    const plan = this.#range?.plan
    const code = errorCode(error)
    if (!plan) throw error
    if (!this.#copying && code === rewrittenCode) return this.#fail(rewritten(plan))
    if (!/^(?:42|22|0A|XX)/.test(code)) throw error
    if (!this.#copying && (code === reshapedCode || code === '42703')) return this.#fail(reshaped(plan))
    // Its ranges are those of its partitions: one was dropped since they were asked for.
    if (!this.#copying && plan.partitioned && code === relationUnknown) return this.#fail(repartitioned(plan))
    const { namespace, name, sourceName } = plan.source
    const text = `table ${sourceName} cannot be copied: ${error.message}`
    this.#fail(new FrazilError('unsupported', 'copy-refused', text, { cause: error, table: `${namespace}.${name}` }))
  }

  /** The rest of the range is read and dropped. */
  #fail(error: FrazilError): void {
    if (!this.#range || !this.#decoder) return
    this.#flush()
    this.#decoder = null
    this.#events.push({ type: 'failed', table: this.#range.plan.source.id, error, copying: true })
  }

  #begin(): void {
    const range = this.#options.next()
    const before = this.#range
    this.#range = range
    this.#copying = false
    if (range === null) {
      this.#writer?.release()
      this.#writer = null
      this.finished = true
      return
    }
    if (before?.plan !== range.plan) {
      this.#writer?.release()
      this.#writer = newWriter(range.plan, this.#options.parts, this.#retired)
    }
    if (this.#writer) this.#decoder = new CopyDecoder(range.plan.source, this.#writer, range.part)
    this.#pump.write(query(copyStatement(range)))
  }

  #end(): void {
    const decoder = this.#decoder
    if (decoder && this.#range) {
      this.#flush()
      const { plan, part } = this.#range
      const end = { table: plan.source.id, floor: '', rows: decoder.rows }
      this.#events.push(part === null ? { type: 'copied', ...end } : { type: 'copied-part', ...end, part, memo: '' })
    }
    this.#decoder = null
    this.#begin()
  }

  #flush(): void {
    for (const event of this.#decoder?.events() ?? []) this.#events.push(event)
  }
}

function newWriter(plan: TablePlan, parts: SourceParts, retired: RetiredSegments): SegmentWriter {
  const columns = plan.columns.map(({ codec }, target) => ({ codec, target, key: false }))
  return new SegmentWriter(plan.source.fields, plan.source, tupleDecoder('copy', columns), parts, retired)
}

function reshaped({ source }: TablePlan): FrazilError {
  const text = `table ${source.sourceName} was given other columns or another key just before it was copied`
  const hint = 'frazil resync the table: it is copied anew in its new shape'
  return new FrazilError('unsupported', 'schema-changed', text, { hint, table: `${source.namespace}.${source.name}` })
}

function repartitioned({ source }: TablePlan): FrazilError {
  const text = `a partition of table ${source.sourceName} was dropped just before it was copied`
  const hint = 'frazil resync the table: it is copied anew, by the partitions that it has then'
  return new FrazilError('unsupported', 'schema-changed', text, { hint, table: `${source.namespace}.${source.name}` })
}

function rewritten({ source }: TablePlan): FrazilError {
  const text = `table ${source.sourceName} was truncated or rewritten just before it was copied`
  return new FrazilError('unavailable', 'table-rewritten', text)
}
