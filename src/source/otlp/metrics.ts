import type { WireReader } from '../../format/protobuf/index.ts'
import { PointReader } from './metric-points.ts'
import { Places } from './places.ts'
import type { RecordParts, RecordReader, RowSink } from './record-reader.ts'
import { tableIndex } from './tables.ts'
import { RecordRefusal } from './values.ts'

/** The fields of `Metric.data`: tags of messages with data points, and the tables of these. */
const kinds: ReadonlyMap<number, { readonly table: number; readonly type: string | null }> = new Map([
  [0x2a, { table: tableIndex.number, type: 'gauge' }],
  [0x3a, { table: tableIndex.number, type: 'sum' }],
  [0x4a, { table: tableIndex.histogram, type: null }],
  [0x52, { table: tableIndex.expHistogram, type: null }],
  [0x5a, { table: tableIndex.summary, type: null }],
])

/** The table of a Metric message up to `end`; null for one without data. */
export function tableOfMetric(reader: WireReader, end: number): number | null {
  let table: number | null = null
  while (reader.inside(end)) {
    const tag = reader.tag()
    // Of several the last one counts.
    table = kinds.get(tag)?.table ?? table
    reader.skip(tag, end)
  }
  return table
}

/** Reads Metric messages (opentelemetry/proto/metrics/v1/metrics.proto): a row for each data point. */
export class MetricReader implements RecordReader {
  readonly #parts: RecordParts
  readonly #sink: RowSink
  readonly #slots
  readonly #points: PointReader
  readonly #places = new Places()

  constructor(parts: RecordParts, sink: RowSink) {
    this.#parts = parts
    this.#sink = sink
    this.#points = new PointReader(parts)
    const slot = (name: string): number => parts.image.slot(name)
    this.#slots = {
      name: slot('metric_name'),
      description: slot('description'),
      unit: slot('unit'),
      metadata: slot('metric_metadata'),
      type: slot('type'),
      temporality: slot('temporality'),
      monotonic: slot('is_monotonic'),
    }
  }

  read(end: number, refusal: RecordRefusal | null): void {
    const { reader } = this.#parts
    let found = refusal
    let dataTag = 0
    let dataFrom = 0
    let dataTo = 0
    try {
      this.#clear()
      while (reader.inside(end)) {
        const tag = reader.tag()
        if (kinds.has(tag)) {
          dataTag = tag
          dataTo = reader.through(end)
          dataFrom = reader.at
          reader.at = dataTo
        } else this.#field(tag, end)
      }
    } catch (error) {
      if (!(error instanceof RecordRefusal)) throw error
      found ??= error
    }
    const kind = kinds.get(dataTag)
    if (!kind) return
    this.#data(dataFrom, dataTo, kind)
    try {
      if (!found) this.#metadata(kind.type)
    } catch (error) {
      if (!(error instanceof RecordRefusal)) throw error
      found = error
    }
    if (found) this.#sink.refuse(this.#places.count, found)
    else this.#rows(kind.table)
  }

  #clear(): void {
    const { image, attributes, reader } = this.#parts
    const slots = this.#slots
    attributes.clear()
    image.text(slots.name, reader, 0, 0, true)
    image.clear(slots.description)
    image.clear(slots.unit)
    image.clear(slots.temporality)
    image.clear(slots.monotonic)
  }

  #field(tag: number, end: number): void {
    const { reader, image, attributes } = this.#parts
    const slots = this.#slots
    if (tag === 0x62) attributes.take(reader, reader.through(end))
    else if (tag === 0x0a) image.takeText(slots.name, reader, end, true)
    else if (tag === 0x12) image.takeText(slots.description, reader, end)
    else if (tag === 0x1a) image.takeText(slots.unit, reader, end)
    else reader.skip(tag, end)
  }

  /** Gauge, Sum, Histogram, ExponentialHistogram, Summary: where the data points are, and what they have in common. */
  #data(from: number, end: number, { table, type }: { readonly table: number; readonly type: string | null }): void {
    const { reader, image } = this.#parts
    const slots = this.#slots
    this.#places.clear()
    if (type !== 'gauge' && table !== tableIndex.summary) image.int(slots.temporality, 0)
    if (type === 'sum') image.int(slots.monotonic, 0)
    reader.at = from
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x0a) this.#places.take(reader, end)
      else if (tag === 0x10 && type !== 'gauge' && table !== tableIndex.summary) {
        image.int(slots.temporality, reader.varint() | 0)
      } else if (tag === 0x18 && type === 'sum') image.int(slots.monotonic, reader.varint() === 0 ? 0 : 1)
      else reader.skip(tag, end)
    }
  }

  #metadata(type: string | null): void {
    const { reader, scratch, image, attributes } = this.#parts
    let start = scratch.at
    attributes.write(reader)
    image.cell(this.#slots.metadata, start)
    start = scratch.at
    if (type !== null) scratch.latin1(type)
    image.cell(this.#slots.type, start)
  }

  #rows(table: number): void {
    const { reader, scratch } = this.#parts
    const shared = scratch.at
    for (let i = 0; i < this.#places.count; i++) {
      scratch.reset(shared)
      reader.at = this.#places.from(i)
      try {
        this.#points.read(table, this.#places.to(i))
        this.#sink.row(table)
      } catch (error) {
        if (!(error instanceof RecordRefusal)) throw error
        this.#sink.refuse(1, error)
      }
    }
  }
}
