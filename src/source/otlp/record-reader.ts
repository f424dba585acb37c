import { WireReader } from '../../format/protobuf/index.ts'
import { AttributeMap } from './attributes.ts'
import type { Promoted } from './attributes.ts'
import { RowImage } from './row-image.ts'
import { Scratch } from './scratch.ts'
import { AnyValue, RecordRefusal, ValueText } from './values.ts'
import type { Repairs } from './values.ts'

/** What the readers of all kinds of records share: the place in the body, and the row that they put together. */
export interface RecordParts {
  readonly reader: WireReader
  readonly scratch: Scratch
  readonly repairs: Repairs
  readonly text: ValueText
  readonly image: RowImage
  /** Of the record itself. */
  readonly attributes: AttributeMap
  /** Of what is within a record: an event, a link, an exemplar. */
  readonly inner: AttributeMap
  readonly any: AnyValue
  /** Attributes of records that have columns of their own. */
  readonly promoted: readonly Promoted[]
}

/** Where the readers of records put what they have read. */
export interface RowSink {
  /** Takes the row of the image for the table of this place in `tableNames`. Throws a {@link RecordRefusal} when that cannot hold it. */
  row(table: number): void
  refuse(records: number, refusal: RecordRefusal): void
}

/** Reads the records of one signal. */
export interface RecordReader {
  /**
   * Reads what lies in a scope, from `reader.at` to `end`, and gives each row of it, or why it is refused, to the sink.
   *
   * @param refusal why nothing of the scope can be kept; else null
   */
  read(end: number, refusal: RecordRefusal | null): void
}

/** Reads records that are a row each. */
export abstract class RowReader implements RecordReader {
  protected readonly parts: RecordParts
  readonly #sink: RowSink
  readonly #table: number

  /** @param table the place in `tableNames` of the table of the rows */
  constructor(parts: RecordParts, sink: RowSink, table: number) {
    this.parts = parts
    this.#sink = sink
    this.#table = table
  }

  read(end: number, refusal: RecordRefusal | null): void {
    if (refusal) {
      this.#sink.refuse(1, refusal)
      return
    }
    try {
      this.readRow(end)
      this.#sink.row(this.#table)
    } catch (error) {
      if (!(error instanceof RecordRefusal)) throw error
      this.#sink.refuse(1, error)
    }
  }

  /** Reads the record before the reader, which ends at `end`, into the image. */
  protected abstract readRow(end: number): void
}

export function recordParts(names: Iterable<string>, promotedOf: (image: RowImage) => readonly Promoted[]): RecordParts {
  const scratch = new Scratch()
  const repairs: Repairs = { values: 0 }
  const text = new ValueText(scratch, repairs)
  const image = new RowImage(names, scratch, text, repairs)
  return {
    reader: new WireReader(),
    scratch,
    repairs,
    text,
    image,
    attributes: new AttributeMap(scratch, text, repairs),
    inner: new AttributeMap(scratch, text, repairs),
    any: new AnyValue(),
    promoted: promotedOf(image),
  }
}

/** Writes the attributes taken as the cell of a slot, and those that are promoted to their columns. */
export function writeAttributes({ reader, scratch, image, attributes, promoted }: RecordParts, slot: number): void {
  const from = scratch.at
  attributes.write(reader)
  image.cell(slot, from)
  if (promoted.length > 0) attributes.promote(reader, promoted, image)
}
