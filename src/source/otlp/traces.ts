import { putAttributes, putCount, putIdItem, putInt, putText, putTime } from './items.ts'
import { Places } from './places.ts'
import { writeAttributes } from './record-reader.ts'
import type { RecordParts, RecordReader, RowSink } from './record-reader.ts'
import { idBytes } from './row-image.ts'
import { tableIndex } from './tables.ts'
import { RecordRefusal } from './values.ts'

/** Reads Span messages (opentelemetry/proto/trace/v1/trace.proto). */
export class SpanReader implements RecordReader {
  readonly #parts: RecordParts
  readonly #sink: RowSink
  readonly #slots
  readonly #events = new Places()
  readonly #links = new Places()

  constructor(parts: RecordParts, sink: RowSink) {
    this.#parts = parts
    this.#sink = sink
    const slot = (name: string): number => parts.image.slot(name)
    this.#slots = {
      start: slot('start_time'),
      startNanos: slot('start_time_unix_nano'),
      end: slot('end_time'),
      endNanos: slot('end_time_unix_nano'),
      duration: slot('duration_ns'),
      trace: slot('trace_id'),
      span: slot('span_id'),
      parent: slot('parent_span_id'),
      state: slot('trace_state'),
      flags: slot('flags'),
      name: slot('name'),
      kind: slot('kind'),
      status: slot('status_code'),
      statusMessage: slot('status_message'),
      attributes: slot('attributes'),
      dropped: slot('dropped_attributes_count'),
      events: slot('events'),
      droppedEvents: slot('dropped_events'),
      links: slot('links'),
      droppedLinks: slot('dropped_links'),
    }
  }

  read(end: number, refusal: RecordRefusal | null): void {
    if (refusal) {
      this.#sink.refuse(1, refusal)
      return
    }
    try {
      this.#read(end)
      this.#sink.row(tableIndex.traces)
    } catch (error) {
      if (!(error instanceof RecordRefusal)) throw error
      this.#sink.refuse(1, error)
    }
  }

  #clear(): void {
    const { image, attributes, reader } = this.#parts
    const slots = this.#slots
    attributes.clear()
    this.#events.clear()
    this.#links.clear()
    for (const slot of [slots.flags, slots.kind, slots.status, slots.dropped, slots.droppedEvents, slots.droppedLinks]) {
      image.int(slot, 0)
    }
    for (const slot of [slots.trace, slots.span, slots.parent, slots.state, slots.statusMessage, slots.duration])
      image.clear(slot)
    image.text(slots.name, reader.bytes, 0, 0, true)
  }

  #read(end: number): void {
    const { reader, image, attributes } = this.#parts
    const slots = this.#slots
    const body = reader.bytes
    let startLow = 0
    let startHigh = 0
    let endLow = 0
    let endHigh = 0
    this.#clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      switch (tag) {
        case 0x39: // start_time_unix_nano
          reader.fixed64()
          startLow = reader.low
          startHigh = reader.high
          break
        case 0x41: // end_time_unix_nano
          reader.fixed64()
          endLow = reader.low
          endHigh = reader.high
          break
        case 0x30:
          image.int(slots.kind, reader.varint() | 0)
          break
        case 0x50:
          image.count(slots.dropped, reader.varint())
          break
        case 0x60:
          image.count(slots.droppedEvents, reader.varint())
          break
        case 0x70:
          image.count(slots.droppedLinks, reader.varint())
          break
        case 0x85:
          image.int(slots.flags, reader.fixed32())
          break
        case 0x4a:
          attributes.take(reader, reader.through(end))
          break
        case 0x0a: // trace_id
        case 0x12: // span_id
        case 0x1a: // trace_state
        case 0x22: // parent_span_id
        case 0x2a: // name
        case 0x5a: // events
        case 0x6a: // links
        case 0x7a: {
          // status
          const to = reader.through(end)
          const from = reader.at
          if (tag === 0x0a) image.id(slots.trace, body, from, to, idBytes.trace)
          else if (tag === 0x12) image.id(slots.span, body, from, to, idBytes.span)
          else if (tag === 0x22) image.id(slots.parent, body, from, to, idBytes.span)
          else if (tag === 0x1a) image.text(slots.state, body, from, to)
          else if (tag === 0x2a) image.text(slots.name, body, from, to, true)
          else if (tag === 0x5a) this.#events.add(from, to)
          else if (tag === 0x6a) this.#links.add(from, to)
          else this.#status(to)
          reader.at = to
          break
        }
        default:
          reader.skip(tag, end)
      }
    }
    image.time(slots.start, slots.startNanos, startLow, startHigh)
    image.time(slots.end, slots.endNanos, endLow, endHigh)
    if ((startLow | startHigh) !== 0 && (endLow | endHigh) !== 0) {
      const borrow = endLow >>> 0 < startLow >>> 0 ? 1 : 0
      image.wide(slots.duration, (endLow - startLow) | 0, (endHigh - startHigh - borrow) | 0)
    }
    writeAttributes(this.#parts, slots.attributes)
    this.#list(slots.events, this.#events, (to) => this.#event(to))
    this.#list(slots.links, this.#links, (to) => this.#link(to))
  }

  #status(end: number): void {
    const { reader, image } = this.#parts
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x12) {
        const to = reader.through(end)
        image.text(this.#slots.statusMessage, reader.bytes, reader.at, to)
        reader.at = to
      } else if (tag === 0x18) image.int(this.#slots.status, reader.varint() | 0)
      else reader.skip(tag, end)
    }
  }

  /** A cell of structs, each of which `put` writes from the message before the reader. */
  #list(slot: number, places: Places, put: (end: number) => void): void {
    const { reader, scratch, image } = this.#parts
    const start = scratch.at
    scratch.word(places.count)
    for (let i = 0; i < places.count; i++) {
      const item = scratch.open()
      reader.at = places.from(i)
      put(places.to(i))
      scratch.close(item)
    }
    image.cell(slot, start)
  }

  /** Span.Event as an item of `eventType`. */
  #event(end: number): void {
    const { reader, scratch, inner } = this.#parts
    let timeLow = 0
    let timeHigh = 0
    let nameFrom = 0
    let nameTo = 0
    let dropped = 0
    inner.clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x09) {
        reader.fixed64()
        timeLow = reader.low
        timeHigh = reader.high
      } else if (tag === 0x12) {
        nameTo = reader.through(end)
        nameFrom = reader.at
        reader.at = nameTo
      } else if (tag === 0x1a) inner.take(reader, reader.through(end))
      else if (tag === 0x20) dropped = reader.varint()
      else reader.skip(tag, end)
    }
    putTime(scratch, timeLow, timeHigh)
    putText(this.#parts, nameFrom, nameTo, true)
    putAttributes(this.#parts)
    putCount(scratch, dropped)
  }

  /** Span.Link as an item of `linkType`. */
  #link(end: number): void {
    const { reader, scratch, inner } = this.#parts
    let traceFrom = 0
    let traceTo = 0
    let spanFrom = 0
    let spanTo = 0
    let stateFrom = 0
    let stateTo = 0
    let dropped = 0
    let flags = 0
    inner.clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x0a) {
        traceTo = reader.through(end)
        traceFrom = reader.at
        reader.at = traceTo
      } else if (tag === 0x12) {
        spanTo = reader.through(end)
        spanFrom = reader.at
        reader.at = spanTo
      } else if (tag === 0x1a) {
        stateTo = reader.through(end)
        stateFrom = reader.at
        reader.at = stateTo
      } else if (tag === 0x22) inner.take(reader, reader.through(end))
      else if (tag === 0x28) dropped = reader.varint()
      else if (tag === 0x35) flags = reader.fixed32()
      else reader.skip(tag, end)
    }
    putIdItem(this.#parts, traceFrom, traceTo, idBytes.trace)
    putIdItem(this.#parts, spanFrom, spanTo, idBytes.span)
    putText(this.#parts, stateFrom, stateTo, false)
    putInt(scratch, flags)
    putAttributes(this.#parts)
    putCount(scratch, dropped)
  }
}
