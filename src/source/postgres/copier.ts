import type { Client } from 'pg'
import { FrazilError } from '../../base/index.ts'
import type { SourceEvent, SourceTable } from '../../data/index.ts'
import type { EventListener } from '../../observe/index.ts'
import type { SourceParts } from '../source.ts'
import { beginsAnew } from './beside-copies.ts'
import type { Endpoint } from './connection.ts'
import { completePart } from './copy-parts.ts'
import type { PartialCopy } from './copy-parts.ts'
import { planCopies } from './copy-ranges.ts'
import type { PlannedCopy } from './copy-ranges.ts'
import { readMemberships } from './membership.ts'
import { InitialCopy, takeSnapshot } from './initial-copy.ts'
import type { Snapshot } from './initial-copy.ts'
import { lsnToText, parseLsn } from './lsn.ts'
import type { Lsn } from './lsn.ts'
import { publish } from './ownership.ts'
import type { Names } from './ownership.ts'
import type { ReplacedValues } from './replaced-values.ts'
import { Retry } from './retry.ts'
import { writeShapeMemo } from './shape-memo.ts'
import type { StreamTables } from './stream-tables.ts'
import type { TablePlan } from './table-plan.ts'

export interface CopierOptions {
  readonly endpoint: Endpoint
  readonly names: Names
  readonly version: number
  /** How long to wait at a time for transactions that are open when a snapshot is taken. */
  readonly waitMs: number
  readonly retryForMs?: number
  readonly connections: number
  /** Tables of more pages are copied in parts of so many. */
  readonly partPages: number
  /** Where the permanent slot began. */
  readonly start: Lsn
  /** Copies that an earlier process has left and that may go on, by the table's id. */
  readonly partial: Map<string, PartialCopy>
  readonly maxFrameBytes: number
  readonly parts: SourceParts & { readonly observe?: EventListener }
  /** Those of the stream: it tells of a table that is copied from before its snapshot on. */
  readonly tables: StreamTables
  /** Values that rules have replaced: told of as they come. */
  readonly replaced: ReplacedValues
  /** Asks the server something on the control connection, when it is nobody else's turn. */
  readonly asking: <T>(ask: (client: Client) => Promise<T>) => Promise<T>
  /** The control connection, for single questions at any time. */
  readonly control: () => Promise<Client>
  /** The error as one that time may heal; throws any other. */
  readonly unavailable: (error: unknown) => FrazilError
  /** A table was copied as of `floor`: the stream has to get there, also when nothing happens. */
  readonly reach: (floor: Lsn) => void
  readonly closing: AbortSignal
}

/** Snapshots in a row from which nothing could be copied. */
const maxAttempts = 10

/**
 * Copies tables beside the stream, those that wait at the same time from one snapshot. A table is published first; then a temporary
 * slot gives a snapshot and its position in the log: transactions that end at or after it come through the stream, all others are in
 * the copy. The slot waits for every transaction that began before, so none is in neither.
 */
export class Copier {
  readonly #options: CopierOptions
  #waiting: TablePlan[] = []
  #wake: () => void = () => {}
  #current: InitialCopy | null = null
  /** Whether a copy that was asked for is a new one. */
  #begun = false
  /** Tables whose changes are wanted for their copy alone; the others' go on to be applied to the rows that the lake has. */
  #fresh = new Set<string>()

  constructor(options: CopierOptions) {
    this.#options = options
    options.closing.addEventListener('abort', () => this.#wake(), { once: true })
  }

  request(plans: readonly TablePlan[]): void {
    const ids = new Set(plans.map(({ source }) => source.id))
    if (this.#begun) for (const id of ids) this.#options.partial.delete(id)
    this.#waiting = [...this.#waiting.filter(({ source }) => !ids.has(source.id)), ...plans]
    this.#wake()
  }

  /** Copies whatever is waiting; a copy that fails for good is thrown. */
  async *all(): AsyncGenerator<readonly SourceEvent[], void> {
    while (this.#waiting.length > 0 && !this.#closed) yield* this.#batch(this.#waiting.splice(0))
  }

  /** Copies what is asked for, until the source is closed; tables whose copy fails for good are `failed`. */
  async *run(): AsyncGenerator<readonly SourceEvent[], void> {
    while (!this.#closed) {
      if (this.#waiting.length === 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
        continue
      }
      const plans = this.#waiting.splice(0)
      const left = new Set(plans.map(({ source }) => source.id))
      try {
        for await (const events of this.#batch(plans)) {
          for (const event of events) if (event.type === 'copied' || event.type === 'failed') left.delete(event.table)
          yield events
        }
      } catch (error) {
        if (!(error instanceof FrazilError)) throw error
        yield this.#giveUp([...left], error)
      }
    }
  }

  #giveUp(tables: readonly string[], error: FrazilError): SourceEvent[] {
    for (const table of tables) this.#options.tables.giveUpCopy(table)
    for (const table of tables) if (this.#fresh.delete(table)) this.#options.tables.forget(table)
    return tables.map((table) => ({ type: 'failed', table, error, copying: true }))
  }

  /** Reads no more. Rows that were given out stay as they are until {@link close}: somebody may be taking them. */
  stop(): void {
    this.#current?.stop()
    this.#wake()
  }

  close(): void {
    this.stop()
    this.#current?.close()
  }

  get #closed(): boolean {
    return this.#options.closing.aborted
  }

  async *#batch(plans: readonly TablePlan[]): AsyncGenerator<readonly SourceEvent[], void> {
    const { parts, closing, retryForMs, tables, partial } = this.#options
    this.#begun = true
    let left = plans
    let attempts = 0
    let retry = new Retry(parts, retryForMs)
    while (left.length > 0 && !this.#closed) {
      let copy: InitialCopy | null = null
      try {
        const copies = yield* this.#announce(left)
        left = copies.map(({ plan }) => plan)
        if (left.length === 0) return
        const members = new Map(left.map(({ source, memo }) => [source.id, memo.member]))
        copy = await this.#begin(copies)
        this.#current = copy
        // Who stopped it meanwhile found nothing to stop.
        if (this.#closed) return
        for await (const events of copy.flow()) {
          for (const event of events) {
            if (event.type === 'copied' || event.type === 'copied-part') attempts = 0
            if (event.type === 'copied-part') partial.get(event.table)?.complete.set(event.part, completePart(event))
            if (event.type === 'copied' || event.type === 'failed') partial.delete(event.table)
            if (event.type === 'copied') tables.copied(event.table, members.get(event.table))
            if (event.type === 'failed') tables.giveUpCopy(event.table)
            if (event.type === 'failed' && this.#fresh.has(event.table)) tables.forget(event.table)
          }
          this.#options.replaced.tell()
          yield events
        }
        for (const { source } of plans) this.#fresh.delete(source.id)
        return
      } catch (error) {
        const failure = this.#options.unavailable(error)
        if (copy) {
          // What was cut off begins again or goes on, in a new snapshot: its `table` event says so.
          left = copy.unfinished
          if (++attempts >= maxAttempts) {
            if (failure.code !== 'table-rewritten') throw failure
            // Of all that were left each was, so often: it stops nothing else.
            yield this.#giveUp(
              left.map(({ source }) => source.id),
              failure,
            )
            return
          }
          retry = new Retry(parts, retryForMs)
        }
        if (!this.#closed) await retry.after(failure, closing)
      } finally {
        this.#current = null
        copy?.close()
      }
    }
  }

  /** Remembers what is done of a copy, and says whether it goes on. */
  #tell({ plan, parts, again }: PlannedCopy): void {
    const { partial } = this.#options
    const { id, sourceName } = plan.source
    const done = parts?.complete.size ?? 0
    if (parts) partial.set(id, parts)
    else partial.delete(id)
    if (done === 0 && again === null) return
    const message =
      again === null
        ? `the copy of table ${sourceName} goes on: ${done} of its parts are complete`
        : `the copy of table ${sourceName} begins again: ${again}`
    this.#options.parts.observe?.({ type: 'notice', level: 'info', message, hint: null })
  }

  /** Publishes the tables and tells of them. Those that are gone, or have to be asked for again, have failed; the others are to be copied. */
  async *#announce(plans: readonly TablePlan[]): AsyncGenerator<readonly SourceEvent[], PlannedCopy[]> {
    const { asking, names, tables, partial, partPages, version } = this.#options
    const start = lsnToText(this.#options.start)
    // The copy of such a table has other columns than what the stream tells meanwhile, so it is one whose changes are for the copy alone.
    const other = plans.filter((plan) => tables.comesOtherwise(plan))
    for (const { source } of other) {
      tables.forget(source.id)
      partial.delete(source.id)
    }
    if (other.length > 0) yield other.map(({ source }) => ({ type: 'failed', table: source.id, error: beginsAnew(source) }))
    const wanted = plans.filter((plan) => !other.includes(plan))
    if (wanted.length === 0) return []
    const { copies, gone } = await asking(async (client) => {
      const missing = await publish(client, names, wanted)
      const ids = wanted.map(({ source }) => source.id)
      const memberships = await readMemberships(client, names.publication, version, ids)
      const published = wanted.map((plan) => this.#asPublished(plan, memberships.get(plan.source.id)))
      return {
        gone: published.filter((_, i) => missing.includes(wanted[i])),
        copies: await planCopies(client, published, { partial, start, partPages }),
      }
    })
    for (const copy of copies) this.#tell(copy)
    yield copies.map(({ plan, estimatedRows, parts: inParts }) => {
      const resumes = inParts !== null && inParts.complete.size > 0
      const copying = { estimatedRows, ...(inParts && { plan: inParts.plan, resumes }) }
      return { type: 'table', table: plan.source, copying }
    })
    for (const { source } of gone) partial.delete(source.id)
    for (const { source } of gone) if (this.#fresh.delete(source.id)) tables.forget(source.id)
    if (gone.length > 0)
      yield gone.map(({ source }) => ({ type: 'failed', table: source.id, error: recreated(source), copying: true }))
    return copies.filter(({ plan }) => !gone.includes(plan))
  }

  /** Parts that were copied when the table was published otherwise lack changes. */
  #asPublished(plan: TablePlan, member: string | undefined): TablePlan {
    const { source } = plan
    if (plan.memo.member !== undefined && plan.memo.member !== member) this.#options.partial.delete(source.id)
    const memo = { ...plan.memo, member }
    return { ...plan, memo, source: { ...source, memo: writeShapeMemo(memo, plan.columns) } }
  }

  /** Has the stream give out the tables' changes, and takes a snapshot. */
  async #begin(copies: readonly PlannedCopy[]): Promise<InitialCopy> {
    const { asking, control, tables, names, endpoint, parts, maxFrameBytes, connections, version, waitMs, partial, closing } =
      this.#options
    const plans = copies.map(({ plan }) => plan)
    // From here on whoever takes the events keeps changes of these tables.
    const fresh = plans.filter(({ source }) => !tables.reads(source.id))
    const beside = plans.filter((plan) => !fresh.includes(plan))
    for (const { source } of beside) tables.copyBeside(source)
    for (const { source } of fresh) this.#fresh.add(source.id)
    for (const { source, columns, memo, loose } of fresh) {
      tables.admit({ table: source, columns, memo, loose, floor: Number.POSITIVE_INFINITY })
    }
    const begun = await asking(async (client) => {
      const { rows } = await client.query<{ at: string }>('select pg_catalog.pg_current_wal_insert_lsn()::text as at')
      return parseLsn(rows[0].at)
    })
    const setFloors = (floor: Lsn): void => {
      // Of copies that go on, also what has changed since their first part.
      const floors = ({ id }: SourceTable): Lsn[] => [...(partial.get(id)?.complete.values() ?? [])].map((part) => part.floor)
      for (const { source } of fresh) tables.setFloor(source.id, Math.min(floor, ...floors(source)))
    }
    setFloors(begun)
    let snapshot: Snapshot | null = null
    try {
      snapshot = await takeSnapshot(endpoint, await control(), { slot: names.slot, version, waitMs, closing })
      const { floor } = snapshot
      setFloors(floor)
      for (const { source } of beside) tables.setCopyFloor(source.id, floor)
      this.#options.reach(floor)
      return await InitialCopy.open(copies, { endpoint, snapshot, parts, maxFrameBytes, connections })
    } finally {
      await snapshot?.close()
    }
  }
}

function recreated({ namespace, name, sourceName }: SourceTable): FrazilError {
  const message = `table ${sourceName} was dropped, renamed or made anew just before it was copied`
  const hint = `frazil resync ${namespace}.${name}`
  return new FrazilError('unsupported', 'table-recreated', message, { hint, table: `${namespace}.${name}` })
}
