import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import type { Field } from '../../data/index.ts'
import { letGo } from '../push/index.ts'
import type { Rows } from '../push/index.ts'
import type { SourceParts } from '../source.ts'
import { AttributeMap } from './attributes.ts'
import type { Promoted } from './attributes.ts'
import { LogReader } from './logs.ts'
import { MetricReader } from './metrics.ts'
import { recordParts } from './record-reader.ts'
import type { RecordParts, RecordReader, RowSink } from './record-reader.ts'
import type { RowImage } from './row-image.ts'
import { TableWriter } from './table-writer.ts'
import { SpanReader } from './traces.ts'
import { fieldsOf, sharedColumns, tableNames } from './tables.ts'
import type { Promotion, Signal } from './tables.ts'
import { RecordRefusal } from './values.ts'

/** A request may take this share of the memory for rows; what is larger would keep all others out. */
const memoryShare = 1 / 2

/** Rows of a request. */
export interface Decoded {
  /** By places of tables. */
  readonly rows: readonly { readonly table: number; readonly rows: readonly Rows[] }[]
  readonly count: number
  readonly refused: number
  /** Why the first refused one was. */
  readonly reason: string | null
  /** Values that others took the place of. */
  readonly repairs: number
}

/** Names of places of the tables of a signal. */
export const tablesOf: Readonly<Record<Signal, readonly number[]>> = { logs: [0], traces: [1], metrics: [2, 3, 4, 5] }

/** Slots of what is said of a resource or scope; −1 where a resource has none. */
interface HeaderSlots {
  readonly attributes: number
  readonly url: number
  readonly dropped: number
  readonly name: number
  readonly version: number
}

type HeaderTags = Readonly<Record<Exclude<keyof HeaderSlots, 'url'>, number>>

/** Tags of the fields of Resource and InstrumentationScope; 0 where there is none. */
const resourceTags: HeaderTags = { attributes: 0x0a, dropped: 0x10, name: 0, version: 0 }
const scopeTags: HeaderTags = { attributes: 0x1a, dropped: 0x20, name: 0x0a, version: 0x12 }

/**
 * Decodes the requests of one signal: ExportLogsServiceRequest, ExportTraceServiceRequest, ExportMetricsServiceRequest, which are alike
 * down to the scope (opentelemetry/proto/collector). What a resource and a scope say is read once for all of their records.
 */
export class RequestDecoder {
  readonly #parts: RecordParts
  readonly #records: RecordReader
  readonly #writers = new Map<number, TableWriter>()
  readonly #memory: number
  /** Of a resource or of a scope. */
  readonly #shared: AttributeMap
  readonly #ofResource: readonly Promoted[]
  readonly #slots: { readonly resource: HeaderSlots; readonly scope: HeaderSlots }
  #count = 0
  #refused = 0
  #reason: string | null = null

  /** @param tables the columns of the tables of this signal as they are in the lake, by place */
  constructor(
    signal: Signal,
    tables: ReadonlyMap<number, readonly Field[]>,
    promotions: readonly Promotion[],
    parts: SourceParts,
  ) {
    const names = new Set(tablesOf[signal].flatMap((place) => fieldsOf(tableNames[place], promotions).map(({ name }) => name)))
    const promotedOf = (image: RowImage, of: Promotion['of']): Promoted[] =>
      promotions
        .filter((promotion) => promotion.of === of)
        .map(({ attribute, column, type }) => ({ key: Buffer.from(attribute), slot: image.slot(column), type }))
    this.#parts = recordParts(names, (image) => promotedOf(image, signal))
    const { image, scratch, text, repairs } = this.#parts
    this.#shared = new AttributeMap(scratch, text, repairs)
    const service: Promoted = { key: Buffer.from('service.name'), slot: image.slot('service_name'), type: 'string' }
    this.#ofResource = [service, ...promotedOf(image, 'resource')]
    const common = new Set([...sharedColumns.map((name) => image.slot(name)), ...this.#ofResource.map(({ slot }) => slot)])
    for (const [place, fields] of tables) this.#writers.set(place, new TableWriter(fields, common, this.#parts, parts))
    this.#memory = parts.pool.budget * memoryShare
    this.#records = openReader(signal, this.#parts, {
      row: (table) => this.#row(table),
      refuse: (records, refusal) => this.#refuse(records, refusal),
    })
    this.#slots = {
      resource: {
        attributes: image.slot('resource_attributes'),
        url: image.slot('resource_schema_url'),
        dropped: image.slot('resource_dropped_attributes_count'),
        name: -1,
        version: -1,
      },
      scope: {
        attributes: image.slot('scope_attributes'),
        url: image.slot('scope_schema_url'),
        dropped: image.slot('scope_dropped_attributes_count'),
        name: image.slot('scope_name'),
        version: image.slot('scope_version'),
      },
    }
  }

  /**
   * Throws `request` for what is no such message and for rows that never fit into memory, and `unavailable` (`overloaded`) when there is
   * no memory for them now; nothing is kept then.
   *
   * @param insists rows are stored though there is no memory for them
   */
  decode(body: Uint8Array, insists = false): Decoded {
    const { reader, scratch, repairs } = this.#parts
    this.#count = 0
    this.#refused = 0
    this.#reason = null
    repairs.values = 0
    for (const writer of this.#writers.values()) {
      writer.rows = []
      writer.taken = 0
      writer.insists = insists
    }
    reader.reset(body)
    try {
      while (reader.inside(body.length)) {
        const tag = reader.tag()
        if (tag === 0x0a) this.#resource(reader.through(body.length))
        else reader.skip(tag, body.length)
      }
    } catch (error) {
      for (const writer of this.#writers.values()) letGo(writer.rows)
      throw this.#never(error)
    } finally {
      this.#fill()
      reader.reset(nothing)
      scratch.shrink()
    }
    const rows = [...this.#writers].flatMap(([table, writer]) => (writer.rows.length > 0 ? [{ table, rows: writer.rows }] : []))
    return { rows, count: this.#count, refused: this.#refused, reason: this.#reason, repairs: repairs.values }
  }

  release(): void {
    for (const writer of this.#writers.values()) writer.release()
  }

  /** What there is no memory for now and never will be. */
  #never(error: unknown): unknown {
    const isFull = error instanceof FrazilError && error.code === 'overloaded'
    const taken = [...this.#writers.values()].reduce((sum, writer) => sum + writer.taken, 0)
    if (!isFull || taken <= this.#memory) return error
    return new FrazilError('request', 'batch-too-large', 'the records of the request do not fit into memory', {
      hint: 'Send fewer records at a time, or raise memory.',
    })
  }

  #row(table: number): void {
    const writer = this.#writers.get(table)
    if (!writer) throw new Error('each table of a signal has a writer')
    writer.append()
    this.#count++
  }

  /** Before anything changes that rows have in common. */
  #fill(): void {
    for (const writer of this.#writers.values()) writer.fill()
  }

  #refuse(records: number, { message }: RecordRefusal): void {
    this.#refused += records
    this.#reason ??= message
  }

  /** ResourceLogs, ResourceSpans, ResourceMetrics. */
  #resource(end: number): void {
    const { reader, scratch, image } = this.#parts
    const from = reader.at
    this.#fill()
    scratch.reset()
    const refusal = this.#attempt(() => {
      this.#header(end, this.#slots.resource, resourceTags)
      this.#shared.promote(reader, this.#ofResource, image)
    })
    this.#members(from, end, (to) => this.#scope(to, refusal))
  }

  /** ScopeLogs, ScopeSpans, ScopeMetrics. */
  #scope(end: number, ofResource: RecordRefusal | null): void {
    const from = this.#parts.reader.at
    this.#fill()
    const refusal = ofResource ?? this.#attempt(() => this.#header(end, this.#slots.scope, scopeTags))
    this.#members(from, end, (to) => this.#records.read(to, refusal))
  }

  /** What a resource or scope contains; `each` may overwrite what the one before has put into the scratch memory. */
  #members(from: number, end: number, each: (to: number) => void): void {
    const { reader, scratch } = this.#parts
    const shared = scratch.at
    reader.at = from
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag !== 0x12) {
        reader.skip(tag, end)
        continue
      }
      const to = reader.through(end)
      scratch.reset(shared)
      each(to)
      reader.at = to
    }
  }

  /** What is said of a resource or scope, without what it contains. */
  #header(end: number, slots: HeaderSlots, tags: HeaderTags): void {
    const { reader, scratch, image } = this.#parts
    this.#shared.clear()
    image.clear(slots.url)
    if (slots.name >= 0) image.clear(slots.name)
    if (slots.version >= 0) image.clear(slots.version)
    image.int(slots.dropped, 0)
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x1a) image.takeText(slots.url, reader, end)
      else if (tag === 0x0a) this.#about(reader.through(end), slots, tags)
      else reader.skip(tag, end)
    }
    const start = scratch.at
    this.#shared.write(reader)
    image.cell(slots.attributes, start)
  }

  /** Resource, InstrumentationScope. */
  #about(end: number, slots: HeaderSlots, tags: HeaderTags): void {
    const { reader, image } = this.#parts
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === tags.attributes) this.#shared.take(reader, reader.through(end))
      else if (tag === tags.dropped) image.count(slots.dropped, reader.varint())
      else if (tag === tags.name) image.takeText(slots.name, reader, end)
      else if (tag === tags.version) image.takeText(slots.version, reader, end)
      else reader.skip(tag, end)
    }
  }

  /** Why `work` cannot be done, if it cannot. */
  #attempt(work: () => void): RecordRefusal | null {
    try {
      work()
      return null
    } catch (error) {
      if (error instanceof RecordRefusal) return error
      throw error
    }
  }
}

const nothing = new Uint8Array(0)

function openReader(signal: Signal, parts: RecordParts, sink: RowSink): RecordReader {
  if (signal === 'logs') return new LogReader(parts, sink)
  return signal === 'traces' ? new SpanReader(parts, sink) : new MetricReader(parts, sink)
}
