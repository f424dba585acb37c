import { putAttributes, putCount, putIdItem, putInt, putText, putTime } from './items.ts'
import { Halves, Place, Places } from './places.ts'
import { RowReader, writeAttributes } from './record-reader.ts'
import type { RecordParts, RowSink } from './record-reader.ts'
import { idBytes } from './row-image.ts'
import { tableIndex } from './tables.ts'

/** Reads Span messages (opentelemetry/proto/trace/v1/trace.proto). */
export class SpanReader extends RowReader {
  readonly #slots
  readonly #start = new Halves()
  readonly #end = new Halves()
  readonly #inner = { time: new Halves(), name: new Place(), trace: new Place(), span: new Place(), state: new Place() }
  readonly #events = new Places()
  readonly #links = new Places()

  constructor(parts: RecordParts, sink: RowSink) {
    super(parts, sink, tableIndex.traces)
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

  #clear(): void {
    const { image, attributes, reader } = this.parts
    const slots = this.#slots
    attributes.clear()
    this.#start.clear()
    this.#end.clear()
    this.#events.clear()
    this.#links.clear()
    for (const slot of [slots.flags, slots.kind, slots.status, slots.dropped, slots.droppedEvents, slots.droppedLinks]) {
      image.int(slot, 0)
    }
    for (const slot of [slots.trace, slots.span, slots.parent, slots.state, slots.statusMessage, slots.duration])
      image.clear(slot)
    image.text(slots.name, reader, 0, 0, true)
  }

  protected override readRow(end: number): void {
    const { reader, image, attributes } = this.parts
    const slots = this.#slots
    this.#clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      switch (tag) {
        case 0x39: // start_time_unix_nano
          this.#start.take(reader)
          break
        case 0x41: // end_time_unix_nano
          this.#end.take(reader)
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
        case 0x0a:
          image.takeId(slots.trace, reader, end, idBytes.trace)
          break
        case 0x12:
          image.takeId(slots.span, reader, end, idBytes.span)
          break
        case 0x22:
          image.takeId(slots.parent, reader, end, idBytes.span)
          break
        case 0x1a:
          image.takeText(slots.state, reader, end)
          break
        case 0x2a:
          image.takeText(slots.name, reader, end, true)
          break
        case 0x5a:
          this.#events.take(reader, end)
          break
        case 0x6a:
          this.#links.take(reader, end)
          break
        case 0x7a:
          this.#status(reader.through(end))
          break
        default:
          reader.skip(tag, end)
      }
    }
    image.time(slots.start, slots.startNanos, this.#start)
    image.time(slots.end, slots.endNanos, this.#end)
    if (!this.#start.isZero && !this.#end.isZero) {
      const borrow = this.#end.low >>> 0 < this.#start.low >>> 0 ? 1 : 0
      image.wide(slots.duration, (this.#end.low - this.#start.low) | 0, (this.#end.high - this.#start.high - borrow) | 0)
    }
    writeAttributes(this.parts, slots.attributes)
    this.#list(slots.events, this.#events, (to) => this.#event(to))
    this.#list(slots.links, this.#links, (to) => this.#link(to))
  }

  #status(end: number): void {
    const { reader, image } = this.parts
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x12) image.takeText(this.#slots.statusMessage, reader, end)
      else if (tag === 0x18) image.int(this.#slots.status, reader.varint() | 0)
      else reader.skip(tag, end)
    }
  }

  /** A cell of structs, each of which `put` writes from the message before the reader. */
  #list(slot: number, places: Places, put: (end: number) => void): void {
    const { reader, scratch, image } = this.parts
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
    const { reader, scratch, inner } = this.parts
    const { time, name } = this.#inner
    let dropped = 0
    time.clear()
    name.clear()
    inner.clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x09) time.take(reader)
      else if (tag === 0x12) name.take(reader, end)
      else if (tag === 0x1a) inner.take(reader, reader.through(end))
      else if (tag === 0x20) dropped = reader.varint()
      else reader.skip(tag, end)
    }
    putTime(scratch, time)
    putText(this.parts, name, true)
    putAttributes(this.parts)
    putCount(scratch, dropped)
  }

  /** Span.Link as an item of `linkType`. */
  #link(end: number): void {
    const { reader, scratch, inner } = this.parts
    const { trace, span, state } = this.#inner
    let dropped = 0
    let flags = 0
    trace.clear()
    span.clear()
    state.clear()
    inner.clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      if (tag === 0x0a) trace.take(reader, end)
      else if (tag === 0x12) span.take(reader, end)
      else if (tag === 0x1a) state.take(reader, end)
      else if (tag === 0x22) inner.take(reader, reader.through(end))
      else if (tag === 0x28) dropped = reader.varint()
      else if (tag === 0x35) flags = reader.fixed32()
      else reader.skip(tag, end)
    }
    putIdItem(this.parts, trace, idBytes.trace)
    putIdItem(this.parts, span, idBytes.span)
    putText(this.parts, state, false)
    putInt(scratch, flags)
    putAttributes(this.parts)
    putCount(scratch, dropped)
  }
}
