import { putAttributes, putIdItem, putTime, putWide } from './items.ts'
import { Halves, Place, Places } from './places.ts'
import { writeAttributes } from './record-reader.ts'
import type { RecordParts } from './record-reader.ts'
import { idBytes } from './row-image.ts'
import { tableIndex } from './tables.ts'
import { refusals } from './values.ts'

/** DataPointFlags: there is no value. */
const noRecordedValue = 1

/** What fields of data points mean; 0: nothing that we know. */
const pointFields = {
  start: 1,
  time: 2,
  attributes: 3,
  flags: 4,
  exemplars: 5,
  double: 6,
  int: 7,
  count: 8,
  sum: 9,
  min: 10,
  max: 11,
  scale: 12,
  zeroCount: 13,
  zeroThreshold: 14,
  positive: 15,
  negative: 16,
} as const
type PointField = keyof typeof pointFields

/** Fields of a kind of data points by their tags. */
function byTag(tags: Readonly<Partial<Record<PointField, number>>>): Uint8Array {
  const all = Object.entries({ start: 0x11, time: 0x19, ...tags }) as readonly (readonly [PointField, number])[]
  const fields = new Uint8Array(128)
  for (const [field, tag] of all) fields[tag] = pointFields[field]
  return fields
}

const fieldsByTable: Readonly<Record<number, Uint8Array>> = {
  [tableIndex.number]: byTag({ double: 0x21, int: 0x31, exemplars: 0x2a, attributes: 0x3a, flags: 0x40 }),
  [tableIndex.histogram]: byTag({
    count: 0x21,
    sum: 0x29,
    exemplars: 0x42,
    attributes: 0x4a,
    flags: 0x50,
    min: 0x59,
    max: 0x61,
  }),
  [tableIndex.expHistogram]: byTag({
    attributes: 0x0a,
    count: 0x21,
    sum: 0x29,
    scale: 0x30,
    zeroCount: 0x39,
    positive: 0x42,
    negative: 0x4a,
    flags: 0x50,
    exemplars: 0x5a,
    min: 0x61,
    max: 0x69,
    zeroThreshold: 0x71,
  }),
  [tableIndex.summary]: byTag({ count: 0x21, sum: 0x29, attributes: 0x3a, flags: 0x40 }),
}

/** Reads data points of all kinds into the image. They are alike but for the numbers of their fields. */
export class PointReader {
  readonly #parts: RecordParts
  readonly #slots
  /** Columns that are null in a data point without a value. */
  readonly #values: readonly number[]
  readonly #exemplars = new Places()
  readonly #start = new Halves()
  readonly #time = new Halves()
  readonly #positive = new Place()
  readonly #negative = new Place()
  readonly #exemplar = { time: new Halves(), value: new Halves(), trace: new Place(), span: new Place() }
  #flags = 0

  constructor(parts: RecordParts) {
    this.#parts = parts
    const slot = (name: string): number => parts.image.slot(name)
    this.#slots = {
      start: slot('start_time'),
      startNanos: slot('start_time_unix_nano'),
      time: slot('time'),
      timeNanos: slot('time_unix_nano'),
      flags: slot('flags'),
      attributes: slot('attributes'),
      exemplars: slot('exemplars'),
      double: slot('value_double'),
      int: slot('value_int'),
      count: slot('count'),
      sum: slot('sum'),
      min: slot('min'),
      max: slot('max'),
      buckets: slot('bucket_counts'),
      bounds: slot('explicit_bounds'),
      scale: slot('scale'),
      zeroCount: slot('zero_count'),
      zeroThreshold: slot('zero_threshold'),
      positiveOffset: slot('positive_offset'),
      positive: slot('positive_bucket_counts'),
      negativeOffset: slot('negative_offset'),
      negative: slot('negative_bucket_counts'),
      quantiles: slot('quantiles'),
    }
    const { double, int, count, sum, min, max } = this.#slots
    this.#values = [double, int, count, sum, min, max]
  }

  /** Reads the data point before the reader, which ends at `end`, of the kind that the table is for. */
  read(table: number, end: number): void {
    const { reader, attributes, image } = this.#parts
    const slots = this.#slots
    const from = reader.at
    attributes.clear()
    this.#exemplars.clear()
    this.#start.clear()
    this.#time.clear()
    this.#flags = 0
    for (const slot of this.#values) image.clear(slot)
    if (table !== tableIndex.number) image.wide(slots.count, 0, 0)
    if (table === tableIndex.summary) image.wide(slots.sum, 0, 0)
    if (table === tableIndex.expHistogram) this.#clearBuckets()
    const fields = fieldsByTable[table]
    while (reader.inside(end)) {
      const tag = reader.tag()
      this.#field(tag < fields.length ? fields[tag] : 0, tag, end)
    }
    if (table === tableIndex.histogram) {
      this.#fixedList(from, end, 6, true, slots.buckets)
      this.#fixedList(from, end, 7, false, slots.bounds)
    } else if (table === tableIndex.expHistogram) {
      this.#buckets(this.#positive, slots.positiveOffset, slots.positive)
      this.#buckets(this.#negative, slots.negativeOffset, slots.negative)
    } else if (table === tableIndex.summary) this.#quantiles(from, end)
    image.time(slots.start, slots.startNanos, this.#start)
    image.time(slots.time, slots.timeNanos, this.#time)
    image.int(slots.flags, this.#flags)
    if ((this.#flags & noRecordedValue) !== 0) for (const slot of this.#values) image.clear(slot)
    writeAttributes(this.#parts, slots.attributes)
    if (table !== tableIndex.summary) this.#writeExemplars()
  }

  #clearBuckets(): void {
    const { image } = this.#parts
    const slots = this.#slots
    image.int(slots.scale, 0)
    image.wide(slots.zeroCount, 0, 0)
    image.wide(slots.zeroThreshold, 0, 0)
    this.#positive.clear()
    this.#negative.clear()
  }

  /** Takes what a field of a data point says. */
  #field(field: number, tag: number, end: number): void {
    const { reader, attributes, image } = this.#parts
    const slots = this.#slots
    switch (field) {
      case pointFields.start:
        this.#start.take(reader)
        break
      case pointFields.time:
        this.#time.take(reader)
        break
      case pointFields.attributes:
        attributes.take(reader, reader.through(end))
        break
      case pointFields.flags:
        this.#flags = reader.varint() | 0
        break
      case pointFields.exemplars:
        this.#exemplars.take(reader, end)
        break
      case pointFields.double:
        this.#wide(slots.double)
        image.clear(slots.int)
        break
      case pointFields.int:
        this.#wide(slots.int)
        image.clear(slots.double)
        break
      case pointFields.count:
        this.#count(slots.count)
        break
      case pointFields.sum:
        this.#wide(slots.sum)
        break
      case pointFields.min:
        this.#wide(slots.min)
        break
      case pointFields.max:
        this.#wide(slots.max)
        break
      case pointFields.scale:
        image.int(slots.scale, zigzag(reader.varint()))
        break
      case pointFields.zeroCount:
        this.#count(slots.zeroCount)
        break
      case pointFields.zeroThreshold:
        this.#wide(slots.zeroThreshold)
        break
      case pointFields.positive:
        this.#positive.take(reader, end)
        break
      case pointFields.negative:
        this.#negative.take(reader, end)
        break
      default:
        reader.skip(tag, end)
    }
  }

  #wide(slot: number): void {
    const { reader, image } = this.#parts
    reader.fixed64()
    image.wide(slot, reader.low, reader.high)
  }

  #count(slot: number): void {
    const { reader, image } = this.#parts
    reader.fixed64()
    image.longCount(slot, reader)
  }

  /** ExponentialHistogramDataPoint.Buckets. */
  #buckets({ from, to: end }: Place, offset: number, counts: number): void {
    const { reader, image, scratch } = this.#parts
    const start = scratch.at
    let count = 0
    scratch.word(0)
    image.int(offset, 0)
    reader.at = from
    const put = (): void => {
      reader.varint64()
      if (reader.high < 0) throw refusals.largeCount
      putWide(scratch, reader.low, reader.high)
      count++
    }
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x08) image.int(offset, zigzag(reader.varint()))
      else if (tag === 0x10) put()
      else if (tag === 0x12) {
        const to = reader.through(end)
        while (reader.inside(to)) put()
      } else reader.skip(tag, end)
    }
    scratch.set(start, count)
    image.cell(counts, start)
  }

  #quantiles(from: number, end: number): void {
    const { reader, image, scratch } = this.#parts
    const start = scratch.at
    let count = 0
    scratch.word(0)
    reader.at = from
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag !== 0x32) {
        reader.skip(tag, end)
        continue
      }
      const item = scratch.open()
      this.#quantile(reader.through(end))
      scratch.close(item)
      count++
    }
    scratch.set(start, count)
    image.cell(this.#slots.quantiles, start)
  }

  /** SummaryDataPoint.ValueAtQuantile as an item of `quantileType`. */
  #quantile(end: number): void {
    const { reader, scratch } = this.#parts
    const { time: quantile, value } = this.#exemplar
    quantile.clear()
    value.clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x09) quantile.take(reader)
      else if (tag === 0x11) value.take(reader)
      else reader.skip(tag, end)
    }
    putWide(scratch, quantile.low, quantile.high)
    putWide(scratch, value.low, value.high)
  }

  /** Repeated numbers of eight bytes, packed or not, as a cell. */
  #fixedList(from: number, end: number, field: number, counts: boolean, slot: number): void {
    const { reader, scratch, image } = this.#parts
    const start = scratch.at
    let count = 0
    scratch.word(0)
    const put = (): void => {
      reader.fixed64()
      if (counts && reader.high < 0) throw refusals.largeCount
      putWide(scratch, reader.low, reader.high)
      count++
    }
    reader.at = from
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === ((field << 3) | 1)) put()
      else if (tag === ((field << 3) | 2)) {
        const to = reader.through(end)
        while (reader.inside(to)) put()
      } else reader.skip(tag, end)
    }
    scratch.set(start, count)
    image.cell(slot, start)
  }

  #writeExemplars(): void {
    const { reader, scratch, image } = this.#parts
    const start = scratch.at
    scratch.word(this.#exemplars.count)
    for (let i = 0; i < this.#exemplars.count; i++) {
      const item = scratch.open()
      reader.at = this.#exemplars.from(i)
      this.#oneExemplar(this.#exemplars.to(i))
      scratch.close(item)
    }
    image.cell(this.#slots.exemplars, start)
  }

  /** Exemplar as an item of `exemplarType`. */
  #oneExemplar(end: number): void {
    const { reader, scratch, inner } = this.#parts
    const { time, value, trace, span } = this.#exemplar
    let kind = 0
    time.clear()
    value.clear()
    trace.clear()
    span.clear()
    inner.clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x11) time.take(reader)
      else if (tag === 0x19 || tag === 0x31) {
        kind = tag
        value.take(reader)
      } else if (tag === 0x22) span.take(reader, end)
      else if (tag === 0x2a) trace.take(reader, end)
      else if (tag === 0x3a) inner.take(reader, reader.through(end))
      else reader.skip(tag, end)
    }
    putTime(scratch, time)
    for (const wanted of [0x19, 0x31]) {
      if (kind === wanted) putWide(scratch, value.low, value.high)
      else scratch.nothing()
    }
    putIdItem(this.#parts, trace, idBytes.trace)
    putIdItem(this.#parts, span, idBytes.span)
    putAttributes(this.#parts)
  }
}

function zigzag(value: number): number {
  return (value >>> 1) ^ -(value & 1)
}
