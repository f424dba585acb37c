import type { TokenRule } from '../../access/index.ts'
import { FrazilError } from '../../base/index.ts'
import { sameType, typeText } from '../../data/index.ts'
import type { Field, Position, SourceEvent, SourceTable } from '../../data/index.ts'
import type { EngineEvent } from '../../observe/index.ts'
import { SpooledSource } from '../push/index.ts'
import type { KeptRequest, RequestRows, SpoolRecord } from '../push/index.ts'
import type { SourceParts, SourceState } from '../source.ts'
import { Endpoints } from './endpoints.ts'
import type { Address } from './endpoints.ts'
import { metricsOf } from './kept-records.ts'
import type { Receipt, Receiver } from './receiver.ts'
import { RequestDecoder, tablesOf } from './request-decoder.ts'
import type { Decoded } from './request-decoder.ts'
import { fieldsOf, signals, tableNames } from './tables.ts'
import type { Promotion, Signal } from './tables.ts'

export interface OtlpOptions {
  /** The name of the source, and the namespace of its tables. */
  readonly name: string
  /** Folder of the spool. */
  readonly spool: string
  /** Where requests are taken. */
  readonly http: Address | null
  readonly grpc: Address | null
  /** Who may send them; none: everybody on this machine. */
  readonly tokens: readonly TokenRule[]
  readonly promotions: readonly Promotion[]
}

export interface OtlpParts extends SourceParts {
  observe(event: EngineEvent): void
}

/** A request that is durable and not taken yet. */
interface Export extends RequestRows {
  readonly decoded: Decoded
}

/** One of the tables. */
interface OtlpTable {
  readonly table: SourceTable
  /** It has columns that the lake does not know yet: said before its next rows. */
  isReshaped: boolean
}

/**
 * The source of logs, traces and metrics that programs send by OTLP. A request is decoded at once, kept in a spool as it came until the lake
 * has its records, and then given out; all requests that became durable together are one source commit. Positions are the numbers of
 * requests.
 */
export class OtlpSource extends SpooledSource<Export> implements Receiver {
  readonly #options: OtlpOptions
  readonly #parts: OtlpParts
  readonly #endpoints: Endpoints
  /** By places of tables. */
  readonly #tables = new Map<number, OtlpTable>()
  /** To be told of. */
  #areNew: { readonly table: SourceTable; readonly arrived: () => void }[] = []
  /** To be called when the events that were given out last were taken. */
  #announced: (() => void)[] = []
  readonly #decoders = new Map<Signal, RequestDecoder>()
  /** Ids of tables that take no rows any more. */
  readonly #closed = new Set<string>()
  #repairs = 0

  constructor(options: OtlpOptions, parts: OtlpParts) {
    super(options.name, options.spool, parts)
    this.#options = options
    this.#parts = parts
    this.#endpoints = new Endpoints(options, this, (event) => parts.observe(event))
  }

  protected override async begin(state: SourceState | null): Promise<void> {
    this.#findTables(state)
    await this.#endpoints.listen()
  }

  protected override release(): void {
    for (const decoder of this.#decoders.values()) decoder.release()
  }

  override async close(): Promise<void> {
    this.stop()
    await this.#endpoints.close()
    await super.close()
  }

  // ---- tables --------------------------------------------------------------------------------------------------------------

  /** The tables as the lake has them, with the columns that the settings add. */
  #findTables(state: SourceState | null): void {
    const { promotions, name: namespace } = this.#options
    for (const id of state?.detached ?? []) this.#closed.add(id)
    for (const { id, name, position } of state?.left ?? []) this.leave({ id, namespace, name }, Number(position ?? 0))
    for (const [place, name] of tableNames.entries()) {
      const wanted = fieldsOf(name, promotions)
      const known = state?.tables.find(({ table }) => table.id === name)?.table
      const fields = known ? withColumns(`${namespace}.${name}`, known.fields, wanted) : wanted
      const table: SourceTable = known
        ? { ...known, fields }
        : { id: name, sourceName: name, namespace, name, fields, key: { kind: 'none' } }
      const isReshaped = known !== undefined && fields.length > known.fields.length
      this.#tables.set(place, { table, isReshaped })
      if (!known && !this.#closed.has(name)) this.#areNew.push({ table, arrived: () => undefined })
    }
    for (const signal of signals) this.#openDecoder(signal)
  }

  /** Requests of a signal become rows of its tables as they are now. */
  #openDecoder(signal: Signal): void {
    this.#decoders.get(signal)?.release()
    const tables = new Map(tablesOf[signal].map((place) => [place, this.#table(place).table.fields]))
    this.#decoders.set(signal, new RequestDecoder(signal, tables, this.#options.promotions, this.#parts))
  }

  protected override news(floor: Position): SourceEvent[] {
    const isNew = this.#areNew
    this.#areNew = []
    return isNew.flatMap(({ table, arrived }): SourceEvent[] => {
      this.#announced.push(arrived)
      return [
        { type: 'table', table, copying: { estimatedRows: 0 } },
        { type: 'copied', table: table.id, floor, rows: 0 },
      ]
    })
  }

  #table(place: number): OtlpTable {
    const table = this.#tables.get(place)
    if (!table) throw new Error('each place has a table')
    return table
  }

  #decoder(signal: Signal): RequestDecoder {
    const decoder = this.#decoders.get(signal)
    if (!decoder) throw new Error('each signal has a decoder')
    return decoder
  }

  override closeTable(id: string): void {
    this.#closed.add(id)
    this.leave({ id, namespace: this.name, name: id }, null)
  }

  protected override kept({ table: signal, body }: SpoolRecord, table: string): KeptRequest | null {
    const place = placeOf(table)
    if (!signals.some((each) => each === signal && tablesOf[each].includes(place))) return null
    const own = signal === 'metrics' ? metricsOf(place, body) : body
    // Requests one behind the other are one request with all that they have.
    return own && { body: own, ending: `${signal}.pb`, joins: true }
  }

  checkAttachable({ id, namespace, name, fields }: SourceTable): void {
    const refuse = (what: string): FrazilError =>
      new FrazilError('unsupported', 'foreign-schema', `records do not fit into ${namespace}.${name} as it is by now: ${what}`)
    const wanted = this.#wanted(id)
    for (const field of fields) {
      const own = wanted.find(({ name: column }) => column === field.name)
      if (field.required && own?.required !== true) throw refuse(`its column ${field.name} may not be null`)
      if (own && !sameType(own.type, field.type)) {
        throw refuse(`its column ${field.name} is ${typeText(field.type)}, and not ${typeText(own.type)}`)
      }
    }
  }

  #wanted(id: string): Field[] {
    const name = tableNames.find((each) => each === id)
    if (!name) throw new Error(`${id} is no table of this source`)
    return fieldsOf(name, this.#options.promotions)
  }

  protected override attached(table: SourceTable): void {
    const wanted = this.#wanted(table.id)
    const fields = withColumns(`${table.namespace}.${table.name}`, table.fields, wanted)
    const isReshaped = fields.length > table.fields.length
    this.#place({ table: { ...table, fields }, isReshaped })
  }

  async makeAgain(id: string): Promise<void> {
    const table: SourceTable = { ...this.#table(placeOf(id)).table, fields: this.#wanted(id) }
    await new Promise<void>((arrived) => {
      this.#areNew.push({ table, arrived })
      this.wake()
    })
    this.#place({ table, isReshaped: false })
  }

  /** A table takes rows from now on. */
  #place(known: OtlpTable): void {
    const place = placeOf(known.table.id)
    this.#tables.set(place, known)
    for (const signal of signals) if (tablesOf[signal].includes(place)) this.#openDecoder(signal)
    this.#closed.delete(known.table.id)
  }

  // ---- events --------------------------------------------------------------------------------------------------------------

  protected override async *replay(record: SpoolRecord, events: SourceEvent[]): AsyncIterableIterator<readonly SourceEvent[]> {
    let decoded = this.#decodeAgain(record, false)
    if (decoded === null) {
      // What was given out has to become files first.
      if (events.length > 0) {
        yield events.splice(0)
        this.wereTaken()
      }
      const { pool } = this.#parts
      while (decoded === null && pool.used > pool.budget / 2) {
        await this.room()
        if (this.isStopped) return
        decoded = this.#decodeAgain(record, false)
      }
      // It does not fit alone: the memory is smaller than when it was taken.
      decoded ??= this.#decodeAgain(record, true)
    }
    if (decoded === null) throw new Error('rows that insist are stored')
    this.#addChanges([decoded], events)
  }

  /** Null when there is no memory for it now. */
  #decodeAgain({ table, body }: SpoolRecord, insists: boolean): Decoded | null {
    const signal = signals.find((name) => name === table)
    if (!signal) {
      throw new FrazilError('config', 'newer-format', 'the spool has a request of a kind that this version does not know', {
        hint: 'Install the newer version of frazil again.',
      })
    }
    try {
      return this.#decoder(signal).decode(body, insists)
    } catch (error) {
      if (!insists && error instanceof FrazilError && (error.code === 'overloaded' || error.code === 'batch-too-large'))
        return null
      throw error
    }
  }

  protected override changes(requests: readonly Export[], events: SourceEvent[]): void {
    for (const { decoded } of requests) this.#repairs += decoded.repairs
    this.#addChanges(
      requests.map(({ decoded }) => decoded),
      events,
    )
  }

  /** The rows of requests as changes of one source commit, those that lie together as one. */
  #addChanges(requests: readonly Decoded[], events: SourceEvent[]): void {
    const places = new Set(requests.flatMap(({ rows }) => rows.map(({ table }) => table)))
    for (const place of places) {
      const known = this.#table(place)
      if (known.isReshaped) events.push({ type: 'table', table: known.table })
      known.isReshaped = false
      const parts = requests.flatMap(({ rows }) => rows.filter(({ table }) => table === place).flatMap((own) => own.rows))
      for (let i = 0; i < parts.length;) {
        const { segment, from } = parts[i]
        let { to } = parts[i++]
        while (i < parts.length && parts[i].segment === segment && parts[i].from === to) ({ to } = parts[i++])
        events.push({ type: 'insert', table: known.table.id, segment, from, to })
      }
      this.handOver(parts)
    }
  }

  protected override taken(): void {
    if (this.#repairs > 0) this.#parts.observe({ type: 'replaced', source: this.name, values: this.#repairs })
    this.#repairs = 0
    for (const arrived of this.#announced.splice(0)) arrived()
  }

  // ---- requests ------------------------------------------------------------------------------------------------------------

  async receive(signal: Signal, body: Uint8Array): Promise<Receipt> {
    this.demandRunning()
    if (!this.isOpen) throw new FrazilError('unavailable', 'starting', 'the engine is starting')
    this.demandRoom()
    const closed = tablesOf[signal].find((place) => this.#closed.has(this.#table(place).table.id))
    if (closed !== undefined) {
      throw new FrazilError('unavailable', 'table-closed', `the table ${this.name}.${tableNames[closed]} takes no rows now`, {
        hint: `frazil tables says why. When that is mended: frazil resync ${this.name}.${tableNames[closed]}.`,
      })
    }
    const decoded = this.#decoder(signal).decode(body)
    const { count, refused, reason } = decoded
    if (count === 0) return { position: refused > 0 ? null : this.durable, kept: 0, refused, reason }
    const request = { decoded, count, rows: decoded.rows.flatMap(({ rows }) => rows) }
    const { sequence } = await this.store({ table: signal, operation: 'insert', key: '', digest: 0, body }, request)
    return { position: String(sequence), kept: count, refused, reason }
  }
}

function placeOf(id: string): number {
  return tableNames.findIndex((name) => name === id)
}

/**
 * Columns as the lake has them and behind them those that are new. Throws `config` (`attribute-type`) for one that the lake has with
 * another type.
 */
function withColumns(table: string, known: readonly Field[], wanted: readonly Field[]): Field[] {
  const fields = [...known]
  for (const field of wanted) {
    const before = known.find(({ name }) => name === field.name)
    // Rows that are there have null in it.
    if (!before) fields.push({ ...field, required: false })
    else if (before.type.kind !== field.type.kind) {
      throw new FrazilError(
        'config',
        'attribute-type',
        `the column ${field.name} of ${table} is a ${before.type.kind}, and attributes makes it a ${field.type.kind}`,
        { hint: `Give the attribute the type ${before.type.kind}, or leave it out.` },
      )
    }
  }
  return fields
}
