import { idBytes } from './row-image.ts'
import { writeAttributes } from './record-reader.ts'
import type { RecordParts, RecordReader, RowSink } from './record-reader.ts'
import { tableIndex } from './tables.ts'
import { RecordRefusal, anyKinds } from './values.ts'

/** Reads LogRecord messages (opentelemetry/proto/logs/v1/logs.proto). */
export class LogReader implements RecordReader {
  readonly #parts: RecordParts
  readonly #sink: RowSink
  readonly #slots

  constructor(parts: RecordParts, sink: RowSink) {
    this.#parts = parts
    this.#sink = sink
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

  read(end: number, refusal: RecordRefusal | null): void {
    if (refusal) {
      this.#sink.refuse(1, refusal)
      return
    }
    try {
      this.#read(end)
      this.#sink.row(tableIndex.logs)
    } catch (error) {
      if (!(error instanceof RecordRefusal)) throw error
      this.#sink.refuse(1, error)
    }
  }

  #read(end: number): void {
    const { reader, scratch, image, attributes, any, text } = this.#parts
    const slots = this.#slots
    const body = reader.bytes
    attributes.clear()
    image.int(slots.severity, 0)
    image.int(slots.flags, 0)
    image.int(slots.dropped, 0)
    image.clear(slots.severityText)
    image.clear(slots.event)
    image.clear(slots.trace)
    image.clear(slots.span)
    let timeLow = 0
    let timeHigh = 0
    let observedLow = 0
    let observedHigh = 0
    let bodyFrom = -1
    let bodyTo = 0
    while (reader.inside(end)) {
      const tag = reader.tag()
      switch (tag) {
        case 0x09: // time_unix_nano
          reader.fixed64()
          timeLow = reader.low
          timeHigh = reader.high
          break
        case 0x59: // observed_time_unix_nano
          reader.fixed64()
          observedLow = reader.low
          observedHigh = reader.high
          break
        case 0x10:
          image.int(slots.severity, reader.varint() | 0)
          break
        case 0x1a: {
          const to = reader.through(end)
          image.text(slots.severityText, body, reader.at, to)
          reader.at = to
          break
        }
        case 0x2a:
          bodyTo = reader.through(end)
          bodyFrom = reader.at
          reader.at = bodyTo
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
        case 0x4a: {
          const to = reader.through(end)
          image.id(slots.trace, body, reader.at, to, idBytes.trace)
          reader.at = to
          break
        }
        case 0x52: {
          const to = reader.through(end)
          image.id(slots.span, body, reader.at, to, idBytes.span)
          reader.at = to
          break
        }
        case 0x62: {
          const to = reader.through(end)
          image.text(slots.event, body, reader.at, to)
          reader.at = to
          break
        }
        default:
          reader.skip(tag, end)
      }
    }
    image.time(slots.observed, slots.observedNanos, observedLow, observedHigh)
    image.time(slots.time, slots.timeNanos, timeLow, timeHigh)
    // As the data model says: what has no time of its own has that of its observation.
    if ((timeLow | timeHigh) === 0 && (observedLow | observedHigh) !== 0) image.micros(slots.time, observedLow, observedHigh)
    image.clear(slots.body)
    if (bodyFrom >= 0) {
      reader.at = bodyFrom
      any.read(reader, bodyTo)
      if (any.kind === anyKinds.string) image.text(slots.body, body, any.from, any.to, true)
      else if (any.kind !== anyKinds.none) {
        const from = scratch.at
        text.any(body, any)
        image.cell(slots.body, from)
      }
    }
    writeAttributes(this.#parts, slots.attributes)
  }
}
