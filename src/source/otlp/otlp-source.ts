import { FrazilError } from '../../base/index.ts'
import type { Field, Position, SourceEvent, SourceTable } from '../../data/index.ts'
import type { EngineEvent } from '../../observe/index.ts'
import { Spool } from '../push/index.ts'
import type { SpoolRecord } from '../push/index.ts'
import type { Source, SourceParts, SourceState } from '../source.ts'
import { Endpoints } from './endpoints.ts'
import type { Address } from './endpoints.ts'
import type { Receipt, Receiver } from './receiver.ts'
import { RequestDecoder, tablesOf } from './request-decoder.ts'
import type { Decoded } from './request-decoder.ts'
import { letGo, overloaded } from './table-writer.ts'
import type { Rows } from './table-writer.ts'
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
  readonly promotions: readonly Promotion[]
}

export interface OtlpParts extends SourceParts {
  observe(event: EngineEvent): void
}

/** Records that wait to be taken, above which requests are turned away: the engine cannot keep up. */
const mostWaitingRecords = 2_000_000
/** Replayed records of one array of events. */
const replayRecords = 65_536

/** A request that is durable and not taken yet. */
interface Stored {
  readonly decoded: Decoded
  readonly sequence: number
}

/** One of the tables. */
interface OtlpTable {
  readonly table: SourceTable
  /** It has columns that the lake does not know yet: said before its next rows. */
  isReshaped: boolean
  readonly isNew: boolean
}

/**
 * The source of logs, traces and metrics that programs send by OTLP. A request is decoded at once, kept in a spool as it came until the lake
 * has its records, and then given out; all requests that became durable together are one source commit. Positions are the numbers of
 * requests.
 */
export class OtlpSource implements Source, Receiver {
  readonly name: string
  readonly #options: OtlpOptions
  readonly #parts: OtlpParts
  readonly #endpoints: Endpoints
  /** By places of tables. */
  readonly #tables = new Map<number, OtlpTable>()
  readonly #decoders = new Map<Signal, RequestDecoder>()
  /** Ids of tables that take no rows any more. */
  readonly #closed = new Set<string>()
  #spool: Spool | null = null
  /** Set when the spool has been replayed: requests are turned away until then. */
  #opened: Spool | null = null
  /** Number of the last request that was given one; the last that is durable, and the last that was given out. */
  #last = 0
  #durable = 0
  #given = 0
  #stored: Stored[] = []
  #waitingRecords = 0
  /** Rows of the events that were given out last: whoever wants them has pinned them when more is asked for. */
  #handedOut: Rows[] = []
  #repairs = 0
  #wake: () => void = () => undefined
  #isStopped = false

  constructor(options: OtlpOptions, parts: OtlpParts) {
    this.name = options.name
    this.#options = options
    this.#parts = parts
    this.#endpoints = new Endpoints(options, this, (event) => parts.observe(event))
  }

  async *open(state: SourceState | null): AsyncIterableIterator<readonly SourceEvent[]> {
    this.#findTables(state)
    await this.#endpoints.listen()
    const committed = Number(state?.position ?? 0)
    this.#spool = await Spool.open(this.#options.spool, () => undefined)
    this.#last = Math.max(committed, this.#spool.last)
    this.#durable = this.#last
    this.#given = committed
    try {
      yield [this.#progress(), ...this.#newTables()]
      yield* this.#replay(this.#spool, committed)
      this.#given = this.#last
      this.#opened = this.#spool
      yield [this.#progress(), { type: 'streaming' }]
      while (!this.#isStopped) {
        if (this.#stored.length > 0) {
          yield this.#events()
          this.#taken()
        } else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      this.#opened = null
      this.#taken()
      for (const { decoded } of this.#stored.splice(0)) letGoAll(decoded)
      for (const decoder of this.#decoders.values()) decoder.release()
    }
  }

  // ---- tables --------------------------------------------------------------------------------------------------------------

  /** The tables as the lake has them, with the columns that the settings add. */
  #findTables(state: SourceState | null): void {
    const { promotions, name: namespace } = this.#options
    for (const id of state?.detached ?? []) this.#closed.add(id)
    for (const [place, name] of tableNames.entries()) {
      const wanted = fieldsOf(name, promotions)
      const known = state?.tables.find(({ table }) => table.id === name)?.table
      const fields = known ? withColumns(`${namespace}.${name}`, known.fields, wanted) : wanted
      const table: SourceTable = known
        ? { ...known, fields }
        : { id: name, sourceName: name, namespace, name, fields, key: { kind: 'none' } }
      const isReshaped = known !== undefined && fields.length > known.fields.length
      this.#tables.set(place, { table, isReshaped, isNew: known === undefined && !this.#closed.has(name) })
    }
    for (const signal of signals) {
      const tables = new Map(tablesOf[signal].map((place) => [place, this.#table(place).table.fields]))
      this.#decoders.set(signal, new RequestDecoder(signal, tables, promotions, this.#parts))
    }
  }

  #newTables(): SourceEvent[] {
    const floor = String(this.#given)
    return [...this.#tables.values()].flatMap(({ table, isNew }): SourceEvent[] =>
      isNew
        ? [
            { type: 'table', table, copying: { estimatedRows: 0 } },
            { type: 'copied', table: table.id, floor, rows: 0 },
          ]
        : [],
    )
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

  closeTable(id: string): void {
    this.#closed.add(id)
  }

  // ---- events --------------------------------------------------------------------------------------------------------------

  /** Gives out again what the lake does not have. */
  async *#replay(spool: Spool, committed: number): AsyncIterableIterator<readonly SourceEvent[]> {
    let events: SourceEvent[] = []
    let records = 0
    for await (const record of spool.records(committed)) {
      if (this.#isStopped) return
      let decoded = this.#decodeAgain(record, false)
      if (decoded === null) {
        // What was given out has to become files first.
        if (events.length > 0) {
          yield events
          this.#taken()
          events = []
        }
        const { pool } = this.#parts
        while (decoded === null && pool.used > pool.budget / 2) {
          await Promise.race([pool.freed(), new Promise<void>((resolve) => (this.#wake = resolve))])
          if (this.#isStopped) return
          decoded = this.#decodeAgain(record, false)
        }
        // It does not fit alone: the memory is smaller than when it was taken.
        decoded ??= this.#decodeAgain(record, true)
      }
      if (decoded === null) throw new Error('rows that insist are stored')
      this.#changes([decoded], events)
      events.push({ type: 'commit', position: String(record.sequence), timeMs: record.timeMs })
      records += record.rows
      if (records < replayRecords) continue
      yield events
      this.#taken()
      events = []
      records = 0
    }
    if (events.length === 0) return
    yield events
    this.#taken()
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

  /** What there is to give out: it is some. */
  #events(): SourceEvent[] {
    const stored = this.#stored
    this.#stored = []
    const events: SourceEvent[] = []
    this.#changes(
      stored.map(({ decoded }) => decoded),
      events,
    )
    for (const { decoded } of stored) this.#waitingRecords -= decoded.count
    this.#given = stored[stored.length - 1].sequence
    events.push({ type: 'commit', position: String(this.#given), timeMs: this.#parts.clock.now() })
    return events
  }

  /** The rows of requests as changes of one source commit, those that lie together as one. */
  #changes(requests: readonly Decoded[], events: SourceEvent[]): void {
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
      this.#handedOut.push(...parts)
    }
  }

  /** The events that were given out last were taken. */
  #taken(): void {
    letGo(this.#handedOut)
    this.#handedOut = []
    if (this.#repairs > 0) this.#parts.observe({ type: 'replaced', source: this.name, values: this.#repairs })
    this.#repairs = 0
  }

  #progress(): SourceEvent {
    return { type: 'progress', position: String(this.#given) }
  }

  // ---- requests ------------------------------------------------------------------------------------------------------------

  async receive(signal: Signal, body: Uint8Array): Promise<Receipt> {
    const spool = this.#opened
    if (this.#isStopped) throw new FrazilError('unavailable', 'closed', 'the engine is closing')
    if (!spool) throw new FrazilError('unavailable', 'starting', 'the engine is starting')
    if (spool.full || this.#waitingRecords > mostWaitingRecords) throw overloaded()
    const closed = tablesOf[signal].find((place) => this.#closed.has(this.#table(place).table.id))
    if (closed !== undefined) {
      throw new FrazilError('unavailable', 'table-closed', `the table ${this.name}.${tableNames[closed]} takes no rows now`, {
        hint: 'frazil tables says why.',
      })
    }
    const decoded = this.#decoder(signal).decode(body)
    const { count, refused, reason } = decoded
    if (count === 0) return { position: refused > 0 ? null : String(this.#durable), refused, reason }
    const sequence = ++this.#last
    this.#waitingRecords += count
    try {
      await spool.append({
        sequence,
        timeMs: this.#parts.clock.now(),
        table: signal,
        operation: 'insert',
        rows: count,
        key: '',
        digest: 0,
        body,
      })
    } catch (error) {
      this.#waitingRecords -= count
      letGoAll(decoded)
      throw error
    }
    this.#durable = sequence
    this.#repairs += decoded.repairs
    if (this.#isStopped) letGoAll(decoded)
    else this.#stored.push({ decoded, sequence })
    this.#wake()
    return { position: String(sequence), refused, reason }
  }

  // ---- the contract of sources ---------------------------------------------------------------------------------------------

  memo(): string {
    return '{}'
  }

  reached(a: Position, b: Position): boolean {
    return Number(a) >= Number(b)
  }

  checkPosition(text: string): Position {
    if (/^\d{1,15}$/.test(text)) return text
    throw new FrazilError('request', 'bad-position', 'a position of an OTLP source is a whole number')
  }

  async head(): Promise<Position> {
    return String(this.#durable)
  }

  acknowledge(position: Position): void {
    this.#spool?.release(Number(position), async () => undefined)
  }

  async recopy(): Promise<void> {
    throw new FrazilError(
      'request',
      'nothing-to-copy',
      'what programs have sent is in the lake only: there is nothing to copy again',
    )
  }

  pause(): void {}

  resume(): void {}

  reach(): void {}

  lag(): null {
    return null
  }

  stop(): void {
    this.#isStopped = true
    this.#wake()
  }

  async close(): Promise<void> {
    this.stop()
    await this.#endpoints.close()
    await this.#spool?.close()
  }
}

function letGoAll({ rows }: Decoded): void {
  for (const part of rows) letGo(part.rows)
}

/**
 * Columns as the lake has them and behind them those that are new. Throws `config` (`attribute-type`) for one that the lake has with
 * another type.
 */
function withColumns(table: string, known: readonly Field[], wanted: readonly Field[]): Field[] {
  const fields = [...known]
  for (const field of wanted) {
    const before = known.find(({ name }) => name === field.name)
    if (!before) fields.push(field)
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
