import { putAttributes, putIdItem, putTime, putWide } from './items.ts'
import { Places } from './places.ts'
import { writeAttributes } from './record-reader.ts'
import type { RecordParts } from './record-reader.ts'
import { idBytes } from './row-image.ts'
import { tableIndex } from './tables.ts'
import { refusals } from './values.ts'

/** DataPointFlags: there is no value. */
const noRecordedValue = 1

/**
 * Reads data points of all kinds into the image. They are alike but for the numbers of their fields, which is why there is a method for
 * what a field means, and one for each kind that says which fields it has.
 */
export class PointReader {
  readonly #parts: RecordParts
  readonly #slots
  readonly #exemplars = new Places()
  #startLow = 0
  #startHigh = 0
  #timeLow = 0
  #timeHigh = 0
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
  }

  /** Reads the data point before the reader, which ends at `end`, of the kind that the table is for. */
  read(table: number, end: number): void {
    const { attributes, image } = this.#parts
    const slots = this.#slots
    attributes.clear()
    this.#exemplars.clear()
    this.#startLow = this.#startHigh = this.#timeLow = this.#timeHigh = this.#flags = 0
    for (const slot of [slots.double, slots.int, slots.count, slots.sum, slots.min, slots.max]) image.clear(slot)
    if (table === tableIndex.number) this.#number(end)
    else if (table === tableIndex.histogram) this.#histogram(end)
    else if (table === tableIndex.expHistogram) this.#expHistogram(end)
    else this.#summary(end)
    image.time(slots.start, slots.startNanos, this.#startLow, this.#startHigh)
    image.time(slots.time, slots.timeNanos, this.#timeLow, this.#timeHigh)
    image.int(slots.flags, this.#flags)
    if ((this.#flags & noRecordedValue) !== 0) {
      for (const slot of [slots.double, slots.int, slots.count, slots.sum, slots.min, slots.max]) image.clear(slot)
    }
    writeAttributes(this.#parts, slots.attributes)
    if (table !== tableIndex.summary) this.#writeExemplars()
  }

  /** Fields that all kinds have under the same numbers. False for any other. */
  #isTime(tag: number): boolean {
    const { reader } = this.#parts
    if (tag === 0x11) {
      reader.fixed64()
      this.#startLow = reader.low
      this.#startHigh = reader.high
      return true
    }
    if (tag !== 0x19) return false
    reader.fixed64()
    this.#timeLow = reader.low
    this.#timeHigh = reader.high
    return true
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

  #exemplar(end: number): void {
    const { reader } = this.#parts
    const to = reader.through(end)
    this.#exemplars.add(reader.at, to)
    reader.at = to
  }

  #number(end: number): void {
    const { reader, image, attributes } = this.#parts
    const slots = this.#slots
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (this.#isTime(tag)) continue
      switch (tag) {
        case 0x21: // as_double
          this.#wide(slots.double)
          image.clear(slots.int)
          break
        case 0x31: // as_int
          this.#wide(slots.int)
          image.clear(slots.double)
          break
        case 0x2a:
          this.#exemplar(end)
          break
        case 0x3a:
          attributes.take(reader, reader.through(end))
          break
        case 0x40:
          this.#flags = reader.varint() | 0
          break
        default:
          reader.skip(tag, end)
      }
    }
  }

  #histogram(end: number): void {
    const { reader, attributes, image, scratch } = this.#parts
    const slots = this.#slots
    const from = reader.at
    image.wide(slots.count, 0, 0)
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (this.#isTime(tag)) continue
      switch (tag) {
        case 0x21:
          this.#count(slots.count)
          break
        case 0x29:
          this.#wide(slots.sum)
          break
        case 0x42:
          this.#exemplar(end)
          break
        case 0x4a:
          attributes.take(reader, reader.through(end))
          break
        case 0x50:
          this.#flags = reader.varint() | 0
          break
        case 0x59:
          this.#wide(slots.min)
          break
        case 0x61:
          this.#wide(slots.max)
          break
        default:
          reader.skip(tag, end)
      }
    }
    let start = scratch.at
    this.#fixedList(from, end, 6, true)
    image.cell(slots.buckets, start)
    start = scratch.at
    this.#fixedList(from, end, 7, false)
    image.cell(slots.bounds, start)
  }

  #expHistogram(end: number): void {
    const { reader, attributes, image } = this.#parts
    const slots = this.#slots
    image.wide(slots.count, 0, 0)
    image.int(slots.scale, 0)
    image.wide(slots.zeroCount, 0, 0)
    image.wide(slots.zeroThreshold, 0, 0)
    let positiveFrom = 0
    let positiveTo = 0
    let negativeFrom = 0
    let negativeTo = 0
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (this.#isTime(tag)) continue
      switch (tag) {
        case 0x0a:
          attributes.take(reader, reader.through(end))
          break
        case 0x21:
          this.#count(slots.count)
          break
        case 0x29:
          this.#wide(slots.sum)
          break
        case 0x30:
          image.int(slots.scale, zigzag(reader.varint()))
          break
        case 0x39:
          this.#count(slots.zeroCount)
          break
        case 0x42:
          positiveTo = reader.through(end)
          positiveFrom = reader.at
          reader.at = positiveTo
          break
        case 0x4a:
          negativeTo = reader.through(end)
          negativeFrom = reader.at
          reader.at = negativeTo
          break
        case 0x50:
          this.#flags = reader.varint() | 0
          break
        case 0x5a:
          this.#exemplar(end)
          break
        case 0x61:
          this.#wide(slots.min)
          break
        case 0x69:
          this.#wide(slots.max)
          break
        case 0x71:
          this.#wide(slots.zeroThreshold)
          break
        default:
          reader.skip(tag, end)
      }
    }
    this.#buckets(positiveFrom, positiveTo, slots.positiveOffset, slots.positive)
    this.#buckets(negativeFrom, negativeTo, slots.negativeOffset, slots.negative)
  }

  /** ExponentialHistogramDataPoint.Buckets. */
  #buckets(from: number, end: number, offset: number, counts: number): void {
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

  #summary(end: number): void {
    const { reader, attributes, image, scratch } = this.#parts
    const slots = this.#slots
    const from = reader.at
    image.wide(slots.count, 0, 0)
    image.wide(slots.sum, 0, 0)
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (this.#isTime(tag)) continue
      if (tag === 0x21) this.#count(slots.count)
      else if (tag === 0x29) this.#wide(slots.sum)
      else if (tag === 0x3a) attributes.take(reader, reader.through(end))
      else if (tag === 0x40) this.#flags = reader.varint() | 0
      else reader.skip(tag, end)
    }
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
    image.cell(slots.quantiles, start)
  }

  /** SummaryDataPoint.ValueAtQuantile as an item of `quantileType`. */
  #quantile(end: number): void {
    const { reader, scratch } = this.#parts
    let quantileLow = 0
    let quantileHigh = 0
    let low = 0
    let high = 0
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x09) {
        reader.fixed64()
        quantileLow = reader.low
        quantileHigh = reader.high
      } else if (tag === 0x11) {
        reader.fixed64()
        low = reader.low
        high = reader.high
      } else reader.skip(tag, end)
    }
    putWide(scratch, quantileLow, quantileHigh)
    putWide(scratch, low, high)
  }

  /** Repeated numbers of eight bytes, packed or not, as a cell. */
  #fixedList(from: number, end: number, field: number, counts: boolean): void {
    const { reader, scratch } = this.#parts
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
    let timeLow = 0
    let timeHigh = 0
    let kind = 0
    let low = 0
    let high = 0
    let traceFrom = 0
    let traceTo = 0
    let spanFrom = 0
    let spanTo = 0
    inner.clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x11) {
        reader.fixed64()
        timeLow = reader.low
        timeHigh = reader.high
      } else if (tag === 0x19 || tag === 0x31) {
        reader.fixed64()
        kind = tag
        low = reader.low
        high = reader.high
      } else if (tag === 0x22) {
        spanTo = reader.through(end)
        spanFrom = reader.at
        reader.at = spanTo
      } else if (tag === 0x2a) {
        traceTo = reader.through(end)
        traceFrom = reader.at
        reader.at = traceTo
      } else if (tag === 0x3a) inner.take(reader, reader.through(end))
      else reader.skip(tag, end)
    }
    putTime(scratch, timeLow, timeHigh)
    for (const wanted of [0x19, 0x31]) {
      if (kind === wanted) putWide(scratch, low, high)
      else scratch.nothing()
    }
    putIdItem(this.#parts, traceFrom, traceTo, idBytes.trace)
    putIdItem(this.#parts, spanFrom, spanTo, idBytes.span)
    putAttributes(this.#parts)
  }
}

function zigzag(value: number): number {
  return (value >>> 1) ^ -(value & 1)
}
