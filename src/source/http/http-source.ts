import { crc32 } from 'node:zlib'
import { FrazilError, assert } from '../../base/index.ts'
import type { Change, Position, SourceEvent, SourceTable } from '../../data/index.ts'
import { SpooledSource, letGo } from '../push/index.ts'
import type { KeptRequest, RequestRows, Rows, SpoolRecord } from '../push/index.ts'
import type {
  Producer,
  PushReceipt,
  PushRequest,
  PushSource,
  RefusedRow,
  SourceParts,
  SourceState,
  TableName,
} from '../source.ts'
import { decodeBatch, grownFields, hasColumns } from './batch.ts'
import type { Batch } from './batch.ts'
import { keptRows } from './kept-rows.ts'
import { KnownKeys } from './known-keys.ts'
import { KnownProducers } from './known-producers.ts'
import { laneOutcomes } from './lane.ts'
import { PushedTable } from './pushed-table.ts'
import { decodeHead, encodeHead } from './record-head.ts'

export interface HttpSourceOptions {
  readonly name: string
  /** Folder of the spool. */
  readonly spool: string
}

/** The decoded rows of a request. */
interface Batched extends RequestRows {
  readonly table: PushedTable
  /** The table as the rows were decoded. */
  readonly shape: SourceTable
  readonly operation: PushRequest['operation']
}

/** The source of rows that programs send over HTTP: checks and decodes them at once, and keeps them as JSON, or Arrow, in the spool. */
export class HttpSource extends SpooledSource<Batched> implements PushSource {
  readonly #parts: SourceParts
  readonly #keys: KnownKeys
  readonly #producers = new KnownProducers()
  readonly #tables = new Map<string, PushedTable>()
  /** Tables that were closed: whoever sends rows to one is told so. */
  readonly #closed = new Map<string, TableName & { readonly ingest: string }>()
  /** Requests under way, by table and key: a repeated one waits for the first. */
  readonly #underWay = new Map<string, { readonly digest: number; readonly receipt: Promise<PushReceipt> }>()
  /** The last request under way of each producer: they are stored one after the other. */
  readonly #inTurn = new Map<string, Promise<unknown>>()
  /** Tables to announce. */
  #arriving: { readonly table: SourceTable; readonly arrived: () => void }[] = []
  /** To be called when the events that were given out last were taken. */
  #announced: (() => void)[] = []

  constructor(options: HttpSourceOptions, parts: SourceParts) {
    super(options.name, options.spool, parts)
    this.#parts = parts
    this.#keys = new KnownKeys(options.spool)
  }

  protected override async begin(state: SourceState | null): Promise<void> {
    for (const { table } of state?.tables ?? []) {
      const pushed = new PushedTable(table, this.#parts)
      pushed.skipsOpen = true
      this.#tables.set(table.id, pushed)
    }
    for (const { id, namespace, name, position, pushed } of state?.left ?? []) {
      this.leave({ id, namespace, name }, Number(position ?? 0))
      this.#closed.set(id, { namespace, name, ingest: pushed?.ingest ?? name })
    }
    await this.#keys.load()
    this.#producers.load(state?.memo ?? null, (id) => this.#isKnown(id))
    this.wasAt(Math.max(this.#keys.lastMs, this.#producers.lastMs))
  }

  protected override found(record: SpoolRecord): void {
    if (record.key !== '') this.#keys.add(record)
    // Not those of a table that was dropped.
    if (this.#isKnown(record.table)) this.#producers.add(record)
  }

  protected override async *replay(
    { table: id, body, operation, head }: SpoolRecord,
    events: SourceEvent[],
  ): AsyncIterableIterator<readonly SourceEvent[]> {
    const table = this.#tables.get(id)
    // One that was dropped.
    if (!table) return
    const { fields, form } = decodeHead(head)
    if (fields && table.restore(fields)) events.push({ type: 'table', table: table.table })
    const lane = table.lane(operation)
    let rows: Rows[] = []
    const give = (): void => {
      for (const part of rows) events.push(table.change(operation, part))
      this.handOver(rows)
      rows = []
    }
    const isArrow = form === 'arrow'
    const count = isArrow ? lane.useArrow(body) : 0
    let at = 0
    while (isArrow ? at < count : hasRow(body, at)) {
      const after = lane.append(body, at, isArrow ? count : body.length, rows)
      if (after >= 0) at = after
      else if (isArrow && after === laneOutcomes.refused) at++
      else if (after === laneOutcomes.wait) {
        give()
        if (events.length > 0) {
          yield events.splice(0)
          this.wereTaken()
        }
        await this.room()
        if (this.isStopped) return
      } else {
        letGo(rows)
        const error = new FrazilError('corrupt', 'spool-row', 'the spool has a row that the table cannot take', {
          hint: 'This should not happen: the row was checked when it was accepted.',
        })
        events.push({ type: 'failed', table: table.table.id, error })
        return
      }
    }
    if (isArrow) lane.useArrow(null)
    give()
  }

  protected override replayed(): void {
    for (const table of this.#tables.values()) table.skipsOpen = table.evolves
  }

  protected override news(floor: Position): SourceEvent[] {
    return this.#arriving.splice(0).flatMap(({ table, arrived }): SourceEvent[] => {
      this.#announced.push(arrived)
      return [
        { type: 'table', table, copying: { estimatedRows: 0 } },
        { type: 'copied', table: table.id, floor, rows: 0 },
      ]
    })
  }

  protected override changes(requests: readonly Batched[], events: SourceEvent[]): void {
    for (const { table, shape, operation, rows } of requests) {
      if (table.tells(shape)) events.push({ type: 'table', table: shape })
      for (const part of rows) {
        const change = table.change(operation, part)
        const last = events.at(-1)
        const both = last ? joined(last, change) : null
        if (both) events[events.length - 1] = both
        else events.push(change)
      }
      this.handOver(rows)
    }
  }

  protected override taken(): void {
    for (const arrived of this.#announced.splice(0)) arrived()
  }

  protected override release(): void {
    for (const table of this.#tables.values()) table.release()
  }

  protected override beforeRemoval(): Promise<void> {
    return this.#keys.store()
  }

  protected override kept(record: SpoolRecord, table: string): KeptRequest | null {
    return record.table === table ? keptRows(record) : null
  }

  // ---- rows ----------------------------------------------------------------------------------------------------------------

  async push(request: PushRequest): Promise<PushReceipt> {
    if (!this.isOpen) await this.opened
    this.demandRunning()
    const table = this.#find(request.table)
    if (request.producer) return this.#takeInTurn(table, request, request.producer)
    if (request.key === null) return this.#take(table, request, 0)
    const digest = digestOf(request)
    const known = this.#keys.find(table.table.id, request.key, this.timeMs)
    if (known) {
      if (known.digest !== digest) throw reusedKey()
      const { sequence, rows, refused = 0 } = known
      return { position: String(sequence), rows, refused, refusals: [], replayed: true }
    }
    const id = `${table.table.id}\n${request.key}`
    const underWay = this.#underWay.get(id)
    if (underWay) {
      if (underWay.digest !== digest) throw reusedKey()
      return { ...(await underWay.receipt), replayed: true }
    }
    const receipt = this.#take(table, request, digest)
    this.#underWay.set(id, { digest, receipt })
    try {
      return await receipt
    } finally {
      this.#underWay.delete(id)
    }
  }

  async #takeInTurn(table: PushedTable, request: PushRequest, producer: Producer): Promise<PushReceipt> {
    const id = `${table.table.id}\n${producer.id}`
    const digest = digestOf(request)
    const before = this.#inTurn.get(id)
    const take = async (): Promise<PushReceipt> => {
      await before?.catch(() => undefined)
      const known = this.#producers.find(table.table.id, producer, digest, this.timeMs)
      return known ?? this.#take(table, request, digest)
    }
    const receipt = take()
    this.#inTurn.set(id, receipt)
    try {
      return await receipt
    } finally {
      if (this.#inTurn.get(id) === receipt) this.#inTurn.delete(id)
    }
  }

  async #take(table: PushedTable, request: PushRequest, digest: number): Promise<PushReceipt> {
    this.demandRoom()
    const { operation, key, producer } = request
    const { rows, count, refused, refusals, body } = this.#decode(table, request)
    // The numbers of producers are used up without rows, too.
    if (count === 0 && (refused > 0 || !producer)) {
      return { position: refused > 0 ? null : this.durable, rows: 0, refused, refusals, replayed: false }
    }
    const { table: shape } = table
    const newShape = table.storing()
    const head = encodeHead({
      fields: newShape?.fields,
      ...(request.form === 'arrow' ? { form: 'arrow' } : {}),
      ...(producer ? { producer } : {}),
      ...(refused > 0 && (producer || key !== null) ? { refused } : {}),
    })
    const sent = { table: shape.id, operation, key: key ?? '', digest, head, body }
    let stored: SpoolRecord
    try {
      stored = await this.store(sent, { table, shape, operation, rows, count })
    } catch (error) {
      table.notStored()
      throw error
    }
    table.stored(newShape)
    return { position: String(stored.sequence), rows: count, refused, refusals, replayed: false }
  }

  /** Decodes the rows of a request; if they have other columns than their table, and it may have them, it has them then. */
  #decode(table: PushedTable, request: PushRequest): Batch {
    const { operation } = request
    const { budget } = this.#parts.pool
    const decode = (sent: PushRequest): Batch => decodeBatch(sent, table.table.fields, table.lane(operation), budget)
    const mayEvolve = operation !== 'delete' && table.evolves
    const saysColumns = hasColumns(request.form)
    const first = saysColumns && mayEvolve ? null : decode(request)
    if (first && (first.refused === 0 || !mayEvolve)) return first
    const before = table.table
    const grow = (sent: Parameters<typeof grownFields>[0]): SourceTable | null => {
      const fields = grownFields(sent, before.fields, table.keyNames)
      return fields && { ...before, fields }
    }
    const grown = grow(request)
    if (!grown) return withoutColumns(first ?? decode(request), before)
    if (first) letGo(first.rows)
    try {
      table.reshape(grown)
      const second = decode(request)
      if (second.refused === 0) return second
      if (second.count === 0) {
        table.reshape(before)
        return withoutColumns(second, before)
      }
      if (saysColumns) return second
      // The table gets the columns only that the good rows have.
      letGo(second.rows)
      table.reshape(grow({ body: second.body, form: 'lines' }) ?? before)
      return withoutColumns(decode(request), table.table)
    } catch (error) {
      table.reshape(before)
      throw error
    }
  }

  #find(wanted: PushRequest['table']): PushedTable {
    for (const known of this.#tables.values()) {
      const { sourceName, namespace, name } = known.table
      if ('ingest' in wanted ? sourceName === wanted.ingest : namespace === wanted.namespace && name === wanted.name) return known
    }
    for (const { namespace, name, ingest } of this.#closed.values()) {
      if ('ingest' in wanted ? ingest !== wanted.ingest : namespace !== wanted.namespace || name !== wanted.name) continue
      const message = `the table ${namespace}.${name} was detached, and takes no rows`
      throw new FrazilError('conflict', 'table-detached', message, {
        hint: `GET /tables says why. When that is mended: frazil resync ${namespace}.${name}.`,
      })
    }
    const text = 'ingest' in wanted ? wanted.ingest : `${wanted.namespace}.${wanted.name}`
    // As who looks for it before says.
    throw new FrazilError('request', 'unknown-table', `there is no table ${text} that takes rows`, {
      hint: 'Make one: POST /tables/{name}; or have these rows make it: ?create=true.',
    })
  }

  // ---- tables --------------------------------------------------------------------------------------------------------------

  async addTable(table: SourceTable): Promise<void> {
    if (!this.isOpen) await this.opened
    assert(!this.#tables.has(table.id), 'ids of tables are new')
    await new Promise<void>((arrived) => {
      this.#arriving.push({ table, arrived })
      this.wake()
    })
    const pushed = new PushedTable(table, this.#parts)
    pushed.skipsOpen = pushed.evolves
    this.#tables.set(table.id, pushed)
  }

  override closeTable(id: string): void {
    const closed = this.#tables.get(id)
    if (!closed) return
    const { namespace, name, sourceName } = closed.table
    this.leave(closed.table, null)
    this.#closed.set(id, { namespace, name, ingest: sourceName })
    closed.release()
    this.#tables.delete(id)
  }

  protected override attached(table: SourceTable): void {
    const pushed = new PushedTable(table, this.#parts)
    pushed.skipsOpen = pushed.evolves
    this.#tables.set(table.id, pushed)
    this.#closed.delete(table.id)
  }

  removeTable(id: string): void {
    this.#tables.get(id)?.release()
    this.#tables.delete(id)
    this.#closed.delete(id)
    this.#producers.forget(id)
  }

  #isKnown(id: string): boolean {
    return this.#tables.has(id) || this.#closed.has(id)
  }

  override memo(position: Position | null): string {
    return this.#producers.memo(Number(position ?? 0))
  }
}

/** What is deleted by a body is not what is inserted by it. */
function digestOf({ body, operation }: PushRequest): number {
  return crc32(body, operation === 'delete' ? deleteSeed : 0)
}

const deleteSeed = 1

function reusedKey(): FrazilError {
  return new FrazilError('request', 'idempotency-key-reused', 'another request was stored with this Idempotency-Key', {
    hint: 'A new request needs a new key.',
  })
}

/** Refusals of an evolving table, where new columns were looked for. */
function withoutColumns(batch: Batch, { fields }: SourceTable): Batch {
  const said = (one: RefusedRow): RefusedRow => {
    const { code, column } = one
    if (code !== 'unknown-field' || column === null || fields.some(({ name }) => name === column)) return one
    const folded = column.toLowerCase()
    const alike = fields.find(({ name }) => name.toLowerCase() === folded)
    const why = alike ? `: ${alike.name} differs in the case of letters only` : ', and none can be made of its value'
    return { ...one, message: `is no column of the table${why}` }
  }
  return { ...batch, refusals: batch.refusals.map(said) }
}

function hasRow(body: Uint8Array, from: number): boolean {
  for (let at = from; at < body.length; at++) {
    const byte = body[at]
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return true
  }
  return false
}

/** `last` together with `next`, where both are the same kind of change of rows that lie together. */
function joined(last: SourceEvent, next: Change): Change | null {
  if (next.type === 'insert') {
    return last.type === 'insert' && last.segment === next.segment && last.to === next.from ? { ...last, to: next.to } : null
  }
  if (next.type === 'upsert') {
    return last.type === 'upsert' && last.segment === next.segment && last.to === next.from ? { ...last, to: next.to } : null
  }
  if (next.type !== 'delete') return null
  return last.type === 'delete' && last.keys === next.keys && last.to === next.from ? { ...last, to: next.to } : null
}
