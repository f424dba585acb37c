import { Buffer } from 'node:buffer'
import { FrazilError } from '../../base/index.ts'
import { isJsonArray, isJsonObject } from '../json/index.ts'
import type { JsonObject, JsonValue } from '../json/index.ts'
import type { ByteReader } from './decode.ts'
import { malformed } from './decode.ts'
import type { AvroSchema } from './schema.ts'

/** Reads a value of one type and writes it as JSON. */
export type AvroTextWriter = (input: ByteReader, sink: TextSink) => void

const deepest = 64
const firstBytes = 64 << 10

/** JSON as it is written, up to a bound. */
export class TextSink {
  #bytes = Buffer.allocUnsafe(firstBytes)
  #length = 0
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  ascii(text: string): void {
    this.#reserve(text.length)
    this.#length += this.#bytes.write(text, this.#length, 'latin1')
  }

  /** A text as JSON. */
  text(text: string): void {
    const json = JSON.stringify(text)
    this.#reserve(json.length * 3)
    this.#length += this.#bytes.write(json, this.#length)
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  #reserve(size: number): void {
    const needed = this.#length + size
    if (needed <= this.#bytes.length) return
    if (this.#length > this.#most) {
      throw new FrazilError('request', 'body-too-large', `the rows of the body are more than ${this.#most >> 20} MiB as text`)
    }
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2))
    this.#bytes.copy(larger, 0, 0, this.#length)
    this.#bytes = larger
  }
}

/**
 * A writer for values of a schema (Avro 1.11, "Data Serialization and Deserialization"). Names may be referred to behind where they are
 * defined. Throws `corrupt` (`bad-avro`) for what is no schema, `request` (`unsupported-avro`) for types that contain themselves.
 */
export function writerOf(schema: AvroSchema): AvroTextWriter {
  return compile(schema, { named: new Map(), open: new Set() }, 0)
}

interface Names {
  readonly named: Map<string, AvroTextWriter>
  /** Of types that are being read. */
  readonly open: Set<string>
}

function compile(schema: JsonValue, names: Names, depth: number): AvroTextWriter {
  if (depth > deepest) throw malformed('its schema is nested too deeply')
  if (typeof schema === 'string') return names.named.get(schema) ?? primitive(schema, names)
  if (isJsonArray(schema)) return union(schema.map((branch) => compile(branch, names, depth + 1)))
  if (!isJsonObject(schema)) throw malformed('its schema has a type that is none')
  const logical = logicalWriter(schema)
  switch (schema.type) {
    case 'record':
      return named(schema, names, () => record(schema, names, depth))
    case 'array':
      return array(compile(schema.items ?? null, names, depth + 1))
    case 'map':
      return map(compile(schema.values ?? null, names, depth + 1))
    case 'fixed': {
      const { size } = schema
      if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
        throw malformed('its schema has a fixed type without a size')
      return named(schema, names, () => logical ?? ((input, sink) => base64(input.raw(size), sink)))
    }
    case 'enum': {
      const { symbols } = schema
      if (!symbols || !isJsonArray(symbols)) throw malformed('its schema has an enum without symbols')
      return named(schema, names, () => (input, sink) => {
        const symbol = symbols[input.count()]
        if (typeof symbol !== 'string') throw malformed('an enum has no such symbol')
        sink.text(symbol)
      })
    }
    default:
      return logical ?? compile(schema.type ?? null, names, depth + 1)
  }
}

function named(schema: JsonObject, { named, open }: Names, make: () => AvroTextWriter): AvroTextWriter {
  const { name, namespace } = schema
  if (typeof name !== 'string') throw malformed('its schema has a named type without a name')
  const all = [name, ...(typeof namespace === 'string' ? [`${namespace}.${name}`] : []), name.slice(name.lastIndexOf('.') + 1)]
  for (const one of all) open.add(one)
  const writer = make()
  for (const one of all) {
    open.delete(one)
    named.set(one, writer)
  }
  return writer
}

function primitive(name: string, { open }: Names): AvroTextWriter {
  switch (name) {
    case 'null':
      return (_input, sink) => sink.ascii('null')
    case 'boolean':
      return (input, sink) => sink.ascii(input.byte() === 0 ? 'false' : 'true')
    case 'int':
    case 'long':
      return (input, sink) => sink.ascii(String(input.long()))
    case 'float':
      return (input, sink) => float(input.float(), sink)
    case 'double':
      return (input, sink) => float(input.double(), sink)
    case 'string':
      return (input, sink) => sink.text(input.text())
    case 'bytes':
      return (input, sink) => base64(input.raw(input.count()), sink)
    default:
      if (open.has(name)) {
        throw new FrazilError(
          'request',
          'unsupported-avro',
          'the schema has a record that contains itself, which no column can be',
        )
      }
      throw malformed('its schema names an unknown type')
  }
}

function float(value: number, sink: TextSink): void {
  sink.ascii(Number.isFinite(value) ? (Object.is(value, -0) ? '-0.0' : String(value)) : `"${value}"`)
}

function base64(bytes: Uint8Array, sink: TextSink): void {
  sink.ascii(`"${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')}"`)
}

function union(branches: readonly AvroTextWriter[]): AvroTextWriter {
  return (input, sink) => {
    const branch = branches.at(input.count())
    if (!branch) throw malformed('a union has no such branch')
    branch(input, sink)
  }
}

function record(schema: JsonObject, names: Names, depth: number): AvroTextWriter {
  const { fields } = schema
  if (!fields || !isJsonArray(fields)) throw malformed('its schema has a record without fields')
  const members = fields.map((field, i) => {
    if (!isJsonObject(field) || typeof field.name !== 'string') throw malformed('its schema has a field without a name')
    return { label: `${i === 0 ? '' : ','}${asciiJson(field.name)}:`, write: compile(field.type ?? null, names, depth + 1) }
  })
  return (input, sink) => {
    sink.ascii('{')
    for (const { label, write } of members) {
      sink.ascii(label)
      write(input, sink)
    }
    sink.ascii('}')
  }
}

/** A text as JSON of ASCII characters only. */
function asciiJson(text: string): string {
  return JSON.stringify(text).replaceAll(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function array(item: AvroTextWriter): AvroTextWriter {
  return (input, sink) => {
    sink.ascii('[')
    blocks(input, (i) => {
      if (i > 0) sink.ascii(',')
      item(input, sink)
    })
    sink.ascii(']')
  }
}

function map(value: AvroTextWriter): AvroTextWriter {
  return (input, sink) => {
    sink.ascii('{')
    blocks(input, (i) => {
      if (i > 0) sink.ascii(',')
      sink.text(input.text())
      sink.ascii(':')
      value(input, sink)
    })
    sink.ascii('}')
  }
}

/** Items without any bytes, which could be any number, are refused where they are more than the bytes that follow. */
function blocks(input: ByteReader, each: (i: number) => void): void {
  for (let i = 0; ;) {
    const header = input.long()
    if (header === 0) return
    if (typeof header !== 'number') throw malformed('an array is too long')
    if (header < 0) input.count()
    if (Math.abs(header) > input.remaining) throw malformed('an array has more items than bytes')
    for (const end = i + Math.abs(header); i < end; i++) each(i)
  }
}

const logicalBases: Readonly<Record<string, string>> = {
  date: 'int',
  'time-millis': 'int',
  'time-micros': 'long',
  'timestamp-millis': 'long',
  'timestamp-micros': 'long',
  'local-timestamp-millis': 'long',
  'local-timestamp-micros': 'long',
  uuid: 'string',
}

/** How a logical type (Avro 1.11, "Logical Types") is written; null for those that a column does not have, which are as their base. */
function logicalWriter({ type, logicalType, scale, size }: JsonObject): AvroTextWriter | null {
  if (logicalType === 'decimal' && (type === 'bytes' || type === 'fixed')) {
    const digits = typeof scale === 'number' ? scale : 0
    const length = type === 'fixed' ? Number(size) : null
    return (input, sink) => sink.ascii(`"${decimalText(input.raw(length ?? input.count()), digits)}"`)
  }
  if (logicalType === 'uuid' && type === 'fixed' && size === 16) {
    return (input, sink) => sink.ascii(`"${uuidText(input.raw(16))}"`)
  }
  if (typeof logicalType !== 'string' || !Object.hasOwn(logicalBases, logicalType) || logicalBases[logicalType] !== type)
    return null
  switch (logicalType) {
    case 'date':
      return (input, sink) => sink.ascii(`"${dateText(Number(input.long()))}"`)
    case 'time-millis':
      return (input, sink) => sink.ascii(`"${timeText(Number(input.long()) * 1000)}"`)
    case 'time-micros':
      return (input, sink) => sink.ascii(`"${timeText(Number(input.long()))}"`)
    case 'timestamp-millis':
    case 'local-timestamp-millis':
    case 'timestamp-micros':
    case 'local-timestamp-micros': {
      const zone = logicalType.startsWith('local') ? '' : 'Z'
      const factor = logicalType.endsWith('millis') ? 1000n : 1n
      return (input, sink) => sink.ascii(`"${timestampText(BigInt(input.long()) * factor, zone)}"`)
    }
    default:
      return null
  }
}

/** What no column takes: the row is refused. */
const none = 'out of range'
const dayMs = 86_400_000

function dateText(days: number): string {
  const date = new Date(days * dayMs)
  return Number.isNaN(date.getTime()) ? none : date.toISOString().slice(0, -14)
}

function timeText(micros: number): string {
  if (!(micros >= 0 && micros < dayMs * 1000)) return none
  const clock = new Date(Math.floor(micros / 1000)).toISOString().slice(11, -1)
  return `${clock}${String(micros % 1000).padStart(3, '0')}`
}

function timestampText(micros: bigint, zone: string): string {
  const rest = ((micros % 1000n) + 1000n) % 1000n
  const date = new Date(Number((micros - rest) / 1000n))
  return Number.isNaN(date.getTime()) ? none : `${date.toISOString().slice(0, -1)}${String(rest).padStart(3, '0')}${zone}`
}

/** Two's complement, the highest byte first. */
function decimalText(bytes: Uint8Array, scale: number): string {
  const unscaled = bytes.length === 0 ? 0n : BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString('hex')}`))
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  return `${unscaled < 0n ? '-' : ''}${whole}${scale > 0 ? `.${digits.slice(-scale)}` : ''}`
}

function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
