import { Halves, Place } from './places.ts'
import { RowReader, writeAttributes } from './record-reader.ts'
import type { RecordParts, RowSink } from './record-reader.ts'
import { idBytes } from './row-image.ts'
import { tableIndex } from './tables.ts'
import { anyKinds } from './values.ts'

/** Reads LogRecord messages (opentelemetry/proto/logs/v1/logs.proto). */
export class LogReader extends RowReader {
  readonly #slots
  readonly #time = new Halves()
  readonly #observed = new Halves()
  readonly #body = new Place()

  constructor(parts: RecordParts, sink: RowSink) {
    super(parts, sink, tableIndex.logs)
    const slot = (name: string): number => parts.image.slot(name)
    this.#slots = {
      time: slot('time'),
      timeNanos: slot('time_unix_nano'),
      observed: slot('observed_time'),
      observedNanos: slot('observed_time_unix_nano'),
      trace: slot('trace_id'),
      span: slot('span_id'),
      flags: slot('flags'),
      severity: slot('severity_number'),
      severityText: slot('severity_text'),
      body: slot('body'),
      attributes: slot('attributes'),
      dropped: slot('dropped_attributes_count'),
      event: slot('event_name'),
    }
  }

  protected override readRow(end: number): void {
    const { reader, image, attributes } = this.parts
    const slots = this.#slots
    attributes.clear()
    image.int(slots.severity, 0)
    image.int(slots.flags, 0)
    image.int(slots.dropped, 0)
    image.clear(slots.severityText)
    image.clear(slots.event)
    image.clear(slots.trace)
    image.clear(slots.span)
    this.#time.clear()
    this.#observed.clear()
    this.#body.clear()
    while (reader.inside(end)) {
      const tag = reader.tag()
      switch (tag) {
        case 0x09: // time_unix_nano
          this.#time.take(reader)
          break
        case 0x59: // observed_time_unix_nano
          this.#observed.take(reader)
          break
        case 0x10:
          image.int(slots.severity, reader.varint() | 0)
          break
        case 0x1a:
          image.takeText(slots.severityText, reader, end)
          break
        case 0x2a:
          this.#body.take(reader, end)
          break
        case 0x32:
          attributes.take(reader, reader.through(end))
          break
        case 0x38:
          image.count(slots.dropped, reader.varint())
          break
        case 0x45:
          image.int(slots.flags, reader.fixed32())
          break
        case 0x4a:
          image.takeId(slots.trace, reader, end, idBytes.trace)
          break
        case 0x52:
          image.takeId(slots.span, reader, end, idBytes.span)
          break
        case 0x62:
          image.takeText(slots.event, reader, end)
          break
        default:
          reader.skip(tag, end)
      }
    }
    image.time(slots.observed, slots.observedNanos, this.#observed)
    image.time(slots.time, slots.timeNanos, this.#time)
    // As the data model says: what has no time of its own has that of its observation.
    if (this.#time.isZero && !this.#observed.isZero) image.micros(slots.time, this.#observed)
    this.#bodyText()
    writeAttributes(this.parts, slots.attributes)
  }

  #bodyText(): void {
    const { reader, scratch, image, any, text } = this.parts
    const slot = this.#slots.body
    reader.at = this.#body.from
    any.read(reader, this.#body.to)
    if (any.kind === anyKinds.none) image.clear(slot)
    else if (any.kind === anyKinds.string) image.text(slot, reader, any.from, any.to, true)
    else {
      const from = scratch.at
      text.any(reader, any)
      image.cell(slot, from)
    }
  }
}
