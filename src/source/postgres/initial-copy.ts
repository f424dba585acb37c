import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import type { SourceEvent } from '../../data/index.ts'
import type { SourceParts } from '../source.ts'
import { Confluence } from './confluence.ts'
import { RawConnection } from './connection.ts'
import type { Endpoint } from './connection.ts'
import { CopyLane } from './copy-lane.ts'
import type { CopyRange, PlannedCopy } from './copy-ranges.ts'
import { lsnToText } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import { copyName, createSlot } from './ownership.ts'
import type { TablePlan } from './table-plan.ts'

/** A moment of the database that copies are made of: everything committed before `floor`, nothing after. */
export interface Snapshot {
  readonly floor: Lsn
  readonly name: string
  /** Gives up the snapshot; copies that have begun keep it. */
  close(): Promise<void>
}

/**
 * Takes a snapshot by a temporary slot, which is what ties it to a position in the log. Throws `unavailable` (`closed`) soon after `closing` is
 * aborted: transactions that are open, for which the slot waits, are not waited for then.
 */
export async function takeSnapshot(
  endpoint: Endpoint,
  control: Client,
  options: { slot: string; version: number; waitMs: number; closing: AbortSignal },
): Promise<Snapshot> {
  const { closing } = options
  const connection = await RawConnection.open(endpoint, 'replication')
  let cancel = (): void => {}
  try {
    const { rows } = await connection.client.query<{ pid: number }>('select pg_catalog.pg_backend_pid() as pid')
    const [{ pid }] = rows
    // The server has no such slot then. If it does not hear it, the slot is waited for as long as it may wait.
    cancel = () => void control.query('select pg_catalog.pg_cancel_backend($1)', [pid]).catch(() => {})
    closing.addEventListener('abort', cancel, { once: true })
    const name = copyName(options.slot, 'c', pid)
    const slot = await createSlot(connection.client, control, { ...options, name, kind: 'temporary' })
    if (slot.snapshot === null) throw new FrazilError('corrupt', 'no-snapshot', 'Postgres made a slot without a snapshot')
    return { floor: slot.consistentPoint, name: slot.snapshot, close: () => connection.close() }
  } catch (error) {
    await connection.close()
    if (closing.aborted) throw new FrazilError('unavailable', 'closed', 'the source is closed', { cause: error })
    throw error
  } finally {
    closing.removeEventListener('abort', cancel)
  }
}

export interface CopyOptions {
  readonly endpoint: Endpoint
  readonly snapshot: Snapshot
  readonly parts: SourceParts
  readonly maxFrameBytes: number
  /** Connections at one time. */
  readonly connections: number
}

/** A table's copy on its way. */
interface Progress {
  readonly plan: TablePlan
  /** Ranges whose rows were not all given out. */
  left: number
  rows: number
}

/** The copy of several tables as of one snapshot, on several connections, each of which takes one range after the other. */
export class InitialCopy {
  readonly #floor: Lsn
  readonly #waiting: CopyRange[]
  /** By the table's id; without those that are copied or have failed. */
  readonly #tables: Map<string, Progress>
  /** Tables that this snapshot cannot read any more, and what says so. */
  readonly #rewritten: { readonly plan: TablePlan; readonly error: FrazilError }[] = []
  readonly #lanes: CopyLane[] = []

  private constructor(copies: readonly PlannedCopy[], floor: Lsn) {
    this.#floor = floor
    this.#waiting = copies.flatMap(({ ranges }) => ranges)
    this.#tables = new Map(copies.map(({ plan, ranges }) => [plan.source.id, { plan, left: ranges.length, rows: 0 }]))
  }

  /** Connects. Once it resolves the snapshot need not be kept. */
  static async open(copies: readonly PlannedCopy[], options: CopyOptions): Promise<InitialCopy> {
    const copy = new InitialCopy(copies, options.snapshot.floor)
    const { endpoint, parts, maxFrameBytes, snapshot } = options
    const lanes = Math.min(options.connections, copy.#waiting.length)
    const next = (): CopyRange | null => copy.#next()
    try {
      // One after the other: a server that has no connection left to give is told of by the first.
      for (let i = 0; i < lanes; i++) {
        copy.#lanes.push(await CopyLane.open({ endpoint, snapshot: snapshot.name, parts, maxFrameBytes, next }))
      }
      return copy
    } catch (error) {
      copy.close()
      throw error
    }
  }

  /** Tables that are neither copied nor given up. */
  get unfinished(): readonly TablePlan[] {
    return [...this.#tables.values(), ...this.#rewritten].map(({ plan }) => plan)
  }

  /**
   * What the rows are as of, and the rows; `copied-part` after all rows of a part, `copied` after all of a table, `failed` where a table cannot be copied, which ends it. Throws what ended a
   * connection, and at the end that a table was truncated or rewritten meanwhile, which does not concern the others: the tables that are
   * {@link unfinished} have to begin again, or go on.
   */
  async *flow(): AsyncGenerator<readonly SourceEvent[], void> {
    const floor = lsnToText(this.#floor)
    yield [...this.#tables.keys()].map((table) => ({ type: 'copying-from', table, floor }))
    const lanes = new Confluence()
    for (const lane of this.#lanes) {
      lane.start()
      lanes.add(eventsOf(lane))
    }
    for await (const events of lanes.flow()) {
      const passed = events.flatMap((event) => this.#pass(event))
      if (passed.length > 0) yield passed
    }
    for (const { error } of this.#rewritten) throw error
  }

  /** Reads no more. What was given out stays as it is until {@link close}. */
  stop(): void {
    for (const lane of this.#lanes) lane.stop()
  }

  close(): void {
    for (const lane of this.#lanes) lane.close()
  }

  #next(): CopyRange | null {
    for (;;) {
      const range = this.#waiting.shift()
      if (!range) return null
      if (this.#tables.has(range.plan.source.id)) return range
    }
  }

  /** What the whole says when one lane says this. */
  #pass(event: SourceEvent): SourceEvent[] {
    if (event.type !== 'copy' && event.type !== 'copied-part' && event.type !== 'copied' && event.type !== 'failed')
      return [event]
    const { table } = event
    const progress = this.#tables.get(table)
    if (!progress) return []
    if (event.type === 'failed') {
      this.#tables.delete(table)
      if (event.error.code !== 'table-rewritten') return [event]
      this.#rewritten.push({ plan: progress.plan, error: event.error })
      return []
    }
    if (event.type === 'copy') {
      progress.rows += event.to - event.from
      return [event]
    }
    const floor = lsnToText(this.#floor)
    const part: SourceEvent[] = event.type === 'copied-part' ? [{ ...event, floor, memo: String(this.#lanes[0].xmin) }] : []
    if (--progress.left > 0) return part
    this.#tables.delete(table)
    return [...part, { type: 'copied', table, floor, rows: progress.rows }]
  }
}

async function* eventsOf(lane: CopyLane): AsyncGenerator<readonly SourceEvent[], void> {
  for (;;) {
    const events = await lane.take()
    if (events === null) return
    yield events
  }
}
