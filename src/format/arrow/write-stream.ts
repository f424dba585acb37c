import { Buffer } from 'node:buffer'
import { unreachable } from '../../base/index.ts'
import { writeFlatBuffer } from './flatbuffer-writer.ts'
import type { FlatField, FlatFields } from './flatbuffer-writer.ts'
import type { ArrowType, TimeUnit } from './schema.ts'

/** A column of a stream that is written; values are not in dictionaries. */
export interface ArrowColumn {
  readonly name: string
  readonly nullable: boolean
  readonly type: ArrowType
  readonly children: readonly ArrowColumn[]
  /** Name of the extension type, for readers that know it. */
  readonly extension?: 'arrow.uuid'
}

/** Length and nulls of a column, outer ones before their children. */
export interface ArrowNode {
  readonly length: number
  readonly nulls: number
}

const metadataVersion = 4
const kinds = { schema: 1, batch: 3 } as const
const continuation = 0xffff_ffff
const alignment = 8
const padding = Buffer.alloc(alignment)
const units: readonly TimeUnit[] = ['s', 'ms', 'us', 'ns']
const floatSizes = [16, 32, 64]

/** The first message of a stream (Arrow "IPC Streaming Format"): its columns. */
export function arrowSchema(columns: readonly ArrowColumn[]): Buffer {
  return message('schema', [null, { kind: 'tables', value: columns.map(fieldTable) }], 0)
}

/**
 * A record batch, as the parts of its message. `buffers` are those of all columns in the order of `nodes`, as "Columnar Format"
 * lists them for each type; one for validity may be empty where nothing is null.
 */
export function arrowBatch(rows: number, nodes: readonly ArrowNode[], buffers: readonly Uint8Array[]): Uint8Array[] {
  const parts: Uint8Array[] = []
  const places: (readonly [number, number])[] = []
  let at = 0
  for (const buffer of buffers) {
    places.push([at, buffer.length])
    const rest = (alignment - (buffer.length % alignment)) % alignment
    parts.push(buffer, padding.subarray(0, rest))
    at += buffer.length + rest
  }
  const head: FlatFields = [
    { kind: 'long', value: rows },
    { kind: 'pairs', value: nodes.map(({ length, nulls }) => [length, nulls] as const) },
    { kind: 'pairs', value: places },
  ]
  return [message('batch', head, at), ...parts]
}

/** What a stream ends with. */
export const arrowEnd = Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])

function message(kind: keyof typeof kinds, head: FlatFields, bodyBytes: number): Buffer {
  const metadata = writeFlatBuffer([
    { kind: 'short', value: metadataVersion },
    { kind: 'byte', value: kinds[kind] },
    { kind: 'table', value: head },
    { kind: 'long', value: bodyBytes },
  ])
  const frame = Buffer.alloc(8)
  frame.writeUInt32LE(continuation, 0)
  frame.writeUInt32LE(metadata.length, 4)
  return Buffer.concat([frame, metadata])
}

function fieldTable({ name, nullable, type, children, extension }: ArrowColumn): FlatFields {
  const { number, fields } = typeTable(type)
  return [
    { kind: 'text', value: name },
    { kind: 'byte', value: nullable ? 1 : 0 },
    { kind: 'byte', value: number },
    { kind: 'table', value: fields },
    null,
    { kind: 'tables', value: children.map(fieldTable) },
    extension ? { kind: 'tables', value: extensionTables(extension) } : null,
  ]
}

function extensionTables(name: string): FlatFields[] {
  const entry = (key: string, value: string): FlatFields => [
    { kind: 'text', value: key },
    { kind: 'text', value },
  ]
  return [entry('ARROW:extension:name', name), entry('ARROW:extension:metadata', '')]
}

const int = (value: number): FlatField => ({ kind: 'int', value })
const short = (value: number): FlatField => ({ kind: 'short', value })

/** A type as the schema says it (format/Schema.fbs): its number in the union, and its table. */
function typeTable(type: ArrowType): { readonly number: number; readonly fields: FlatFields } {
  switch (type.kind) {
    case 'null':
      return { number: 1, fields: [] }
    case 'int':
      return { number: 2, fields: [int(type.bits), { kind: 'byte', value: type.signed ? 1 : 0 }] }
    case 'float':
      return { number: 3, fields: [short(floatSizes.indexOf(type.bits))] }
    case 'binary':
      return { number: type.large ? 19 : 4, fields: [] }
    case 'utf8':
      return { number: type.large ? 20 : 5, fields: [] }
    case 'bool':
      return { number: 6, fields: [] }
    case 'decimal':
      return { number: 7, fields: [int(type.precision), int(type.scale), int(type.bits)] }
    case 'date':
      return { number: 8, fields: [short(type.unit === 'day' ? 0 : 1)] }
    case 'time':
      return { number: 9, fields: [short(units.indexOf(type.unit)), int(type.bits)] }
    case 'timestamp':
      return { number: 10, fields: [short(units.indexOf(type.unit)), type.zoned ? { kind: 'text', value: 'UTC' } : null] }
    case 'list':
      return { number: type.large ? 21 : 12, fields: [] }
    case 'struct':
      return { number: 13, fields: [] }
    case 'fixed':
      return { number: 15, fields: [int(type.width)] }
    case 'fixed-list':
      return { number: 16, fields: [int(type.size)] }
    case 'map':
      return { number: 17, fields: [] }
    default:
      return unreachable(type)
  }
}
