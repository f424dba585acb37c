import { FrazilError } from '../../base/index.ts'
import type { Field, SourceTable } from '../../data/index.ts'
import type { SourceParts } from '../source.ts'
import { BesideCopies } from './beside-copies.ts'
import { tupleDecoder } from './decoder.ts'
import type { TupleDecoder, WireColumn } from './decoder.ts'
import type { Lsn } from './lsn.ts'
import type { Relation } from './relation.ts'
import type { KnownTable } from './shape-change.ts'
import type { TableDescription } from './table-description.ts'
import { SegmentWriter } from './segment-writer.ts'
import type { RetiredSegments } from './segment-writer.ts'
import type { Codec } from './types/index.ts'

/** A table of the stream: its changes count in transactions that end at or after `floor`. */
export interface StreamTable extends KnownTable {
  readonly floor: Lsn
  /** Changes may speak of rows that the lake does not have, or has already. Default: no. */
  readonly loose?: boolean
}

export interface ShapeOptions {
  readonly parts: SourceParts
  readonly retired: RetiredSegments
  /** How the tuple decoders are made; tests pass the plain one. */
  readonly makeDecoder?: (columns: readonly WireColumn[]) => TupleDecoder
}

/** A table with what its changes are written by; made at its Relation message. */
export interface BoundTable {
  readonly id: string
  /** As its rows are now, and as they were at the end of the last transaction that was given out. */
  known: KnownTable
  settled: KnownTable
  floor: Lsn
  readonly loose: boolean
  /** True once a transaction at or past the floor has come: all later ones are. */
  live: boolean
  failed: boolean
  shape: Shape | null
  /** Copies that are made while its changes are given out. */
  readonly copies: BesideCopies
  /** A Relation message that no change has needed yet: what it means is asked when one does. */
  news: Relation | null
  answer: Answer | null
}

/** `news`: its last Relation message, if that has come already. */
export function boundTable({ table, columns, memo, floor, loose = false }: StreamTable, news: Relation | null): BoundTable {
  const known = { table, columns, memo }
  return {
    id: table.id,
    known,
    settled: known,
    floor,
    loose,
    live: false,
    failed: false,
    shape: null,
    copies: new BesideCopies(),
    news,
    answer: null,
  }
}

/** Gives up what its rows are decoded with, until the stream tells of it again. */
export function dropShape(table: BoundTable): void {
  table.shape?.writers.forEach((writer) => writer.release())
  table.shape = null
}

/** Where changes begin to count; 0 without any table. */
export function lowestFloor(tables: Iterable<BoundTable>): Lsn {
  const floors = [...tables].filter(({ failed }) => !failed).map(({ floor }) => floor)
  const lowest = Math.min(...floors)
  return Number.isFinite(lowest) ? lowest : 0
}

/** What the catalogue says about {@link BoundTable.news}, once it has. */
export interface Answer {
  description: TableDescription | null | 'awaited'
}

/** How a table's tuples look since its last Relation message, and what writes them. */
export interface Shape {
  /** Names and types as the Relation message has them. */
  readonly signature: string
  /** All that were made. */
  readonly writers: readonly SegmentWriter[]
  readonly rows: SegmentWriter
  /** For rows that come without their unchanged values: apart, because they are small and soon given up. Made when first needed. */
  readonly partial: () => SegmentWriter
  readonly keys: SegmentWriter | null
  /** Places of the key's columns in a tuple; null when all of the row is the key. */
  readonly keyPlaces: readonly number[] | null
  readonly width: number
}

/** The writers for a table's rows and keys, as its tuples look from this Relation on. */
export function makeShape(table: BoundTable, relation: Relation, signature: string, options: ShapeOptions): Shape {
  const { parts, retired } = options
  const { fields, key } = table.known.table
  const make = options.makeDecoder ?? ((columns: readonly WireColumn[]) => tupleDecoder('stream', columns))
  const places = relation.columns.map((seen) => table.known.columns.findIndex((column) => column.name === seen.name))
  const unsent = [...fields.keys()].filter((place) => !places.includes(place))
  const keyColumns = key.kind === 'columns' ? key.columns : null
  // Columns that are passed over (place −1) need none; any will do.
  const codec = (place: number): Codec => table.known.columns[Math.max(place, 0)].codec
  const rowColumns = places.map((place): WireColumn => {
    return { codec: codec(place), target: place, key: keyColumns?.includes(place) ?? true }
  })
  const keyWire = places.map((place): WireColumn => {
    return { codec: codec(place), target: keyColumns ? keyColumns.indexOf(place) : place, key: true }
  })
  const keyFields = keyColumns ? keyColumns.map((place) => fields[place]) : fields
  const writers: SegmentWriter[] = []
  const writer = (
    columns: readonly WireColumn[],
    segmentFields: readonly Field[],
    of: SourceTable | null,
    empty: readonly number[] = unsent,
  ): SegmentWriter => {
    const made = new SegmentWriter(segmentFields, of, make(columns), parts, retired, empty)
    writers.push(made)
    return made
  }
  let partial: SegmentWriter | null = null
  return {
    signature,
    writers,
    rows: writer(rowColumns, fields, table.known.table),
    partial: () => (partial ??= writer(rowColumns, fields, null)),
    keys: key.kind === 'none' ? null : writer(keyWire, keyFields, null, []),
    keyPlaces: keyColumns ? keyColumns.map((place) => places.indexOf(place)) : null,
    width: relation.columns.length,
  }
}

/** Whether a table has a type of which only the text is read. */
export function needsText({ known }: BoundTable): boolean {
  return known.columns.some((column) => column.codec.textOnly)
}

/** Binary or text is agreed on when a stream is opened: this one is opened again. */
export function textNeeded({ known: { table } }: BoundTable): FrazilError {
  return new FrazilError(
    'unavailable',
    'text-needed',
    `the stream is opened again in text form, because table ${table.sourceName} has a type of which only the text is read`,
  )
}
