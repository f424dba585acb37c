import { assert } from '../../base/index.ts'
import type { PrimitiveType, Type } from '../../data/index.ts'
import { ByteReader, ByteWriter, compileDecoder, compileEncoder, resolveSchema } from '../../format/avro/index.ts'
import type { AvroRecord, AvroSchema, AvroValue } from '../../format/avro/index.ts'
import { encodeJson, isJsonArray, isJsonObject } from '../../format/json/index.ts'
import type { JsonObject, JsonValue } from '../../format/json/index.ts'
import { badManifest } from '../avro-fields.ts'
import { badMetadata, int, objects, text } from '../json-fields.ts'
import { manifestNames, partitionSummariesType } from '../manifest-schema.ts'
import type { TableMetadata } from '../metadata.ts'
import { schemaFromJson } from '../schema-json.ts'
import { shortest } from './apply-transform.ts'
import { parseTransform, resultType } from './transform.ts'

/**
 * Partition values are kept as Iceberg's single-value binary (specification: Appendix D), null for null; in manifests they are a record
 * (specification: "Manifests", field 102; Appendix A "Avro"), in manifest lists they are summarized (field 507).
 */
export type PartitionValues = readonly (Uint8Array | null)[]

/** The Avro record of a spec's values as Java writes it. Throws `corrupt` for a spec whose source nobody knows. */
export function partitionRecord(metadata: TableMetadata, spec: JsonObject): JsonObject {
  const fields = objects(spec, 'fields').map((field): JsonObject => {
    const id = int(field, 'field-id')
    const name = text(field, 'name')
    const transform = parseTransform(text(field, 'transform'))
    const type = transform && resultType(transform, sourceType(metadata, int(field, 'source-id')))
    if (type === null) throw badMetadata(`partition field ${id} does not fit its column`)
    const avroName = compatibleName(name)
    return {
      name: avroName,
      type: ['null', avroType(type, id)],
      default: null,
      'field-id': id,
      ...(avroName === name ? {} : { 'iceberg-field-name': name }),
    }
  })
  return { type: 'record', name: 'r102', fields }
}

/** The type of a column, of one that is gone too: older specs name it. */
function sourceType(metadata: TableMetadata, id: number): Type {
  const newestFirst = metadata.schemas.toSorted((a, b) => rank(b, metadata) - rank(a, metadata))
  for (const schema of newestFirst) {
    const field = schemaFromJson(schema).fields.find((each) => each.id === id)
    if (field !== undefined) return field.type
  }
  throw badMetadata(`no schema has column ${id}, by which it is partitioned`)
}

function rank(schema: JsonObject, metadata: TableMetadata): number {
  const id = int(schema, 'schema-id')
  return id === metadata.currentSchemaId ? Infinity : id
}

/** Avro's names have letters, digits and underscores only. */
function compatibleName(name: string): string {
  const parts = Array.from(name, (letter, i) => {
    if (/[A-Za-z_]/.test(letter)) return letter
    if (/[0-9]/.test(letter)) return i === 0 ? `_${letter}` : letter
    return `_x${(letter.codePointAt(0) ?? 0).toString(16).toUpperCase()}`
  })
  return parts.join('')
}

function avroType(type: PrimitiveType, id: number): JsonValue {
  switch (type.kind) {
    case 'date':
      return { type: 'int', logicalType: 'date' }
    case 'time':
      return { type: 'long', logicalType: 'time-micros' }
    case 'timestamp':
    case 'timestamptz':
      return { type: 'long', logicalType: 'timestamp-micros', 'adjust-to-utc': type.kind === 'timestamptz' }
    case 'uuid':
      return { type: 'fixed', name: `uuid_${id}`, size: 16, logicalType: 'uuid' }
    case 'fixed':
      return { type: 'fixed', name: `fixed_${id}`, size: type.length }
    case 'decimal': {
      const { precision, scale } = type
      return { type: 'fixed', name: `decimal_${id}`, size: decimalBytes(precision), logicalType: 'decimal', precision, scale }
    }
    case 'binary':
      return 'bytes'
    default:
      return type.kind
  }
}

/** Bytes that hold every number of so many digits. */
function decimalBytes(precision: number): number {
  return Math.ceil((Math.log2(10) * precision + 1) / 8)
}

/** A field of a partition record, whoever wrote it. */
interface Member {
  readonly id: number
  readonly kind: string
  readonly isDecimal: boolean
  readonly size: number
}

interface PartitionCodec {
  readonly members: readonly Member[]
  readonly decode: (bytes: Uint8Array) => PartitionValues
  readonly encode: (values: PartitionValues) => Uint8Array
}

/** Codecs by partition type; a process sees few. */
const codecs = new Map<string, PartitionCodec>()
const maxCodecs = 256

function codecOf(partitionType: AvroSchema): PartitionCodec {
  const key = encodeJson(partitionType)
  let codec = codecs.get(key)
  if (codec === undefined) {
    if (codecs.size >= maxCodecs) codecs.clear()
    codec = makeCodec(partitionType)
    codecs.set(key, codec)
  }
  return codec
}

function makeCodec(partitionType: AvroSchema): PartitionCodec {
  if (!isJsonObject(partitionType) || !isJsonArray(partitionType.fields)) throw badManifest('the partition is no record')
  const members = partitionType.fields.map(memberOf)
  const type = resolveSchema(partitionType)
  const names = new Map(members.map(({ id }) => [id, `p${id}`]))
  const decode = compileDecoder(type, names)
  const encode = compileEncoder(type, names)
  return {
    members,
    decode: (bytes) => {
      const record = decode(new ByteReader(bytes)) as AvroRecord
      return members.map((member) => toSingleValue(member, record[`p${member.id}`]))
    },
    encode: (values) => {
      assert(values.length === members.length, 'a partition has a value for each field of its spec')
      const out = new ByteWriter(64)
      encode(out, Object.fromEntries(members.map((member, i) => [`p${member.id}`, fromSingleValue(member, values[i])])))
      return out.take()
    },
  }
}

function memberOf(field: JsonValue): Member {
  if (!isJsonObject(field) || typeof field['field-id'] !== 'number') throw badManifest('a partition field has no id')
  const branches = isJsonArray(field.type) ? field.type : [field.type ?? null]
  let type: JsonValue = branches.find((branch) => branch !== 'null') ?? null
  let isDecimal = false
  let size = 0
  while (isJsonObject(type)) {
    if (type.logicalType === 'decimal') isDecimal = true
    if (typeof type.size === 'number') size = type.size
    type = type.type ?? null
  }
  if (typeof type !== 'string') throw badManifest('a partition field has an unknown type')
  return { id: field['field-id'], kind: type, isDecimal, size }
}

function toSingleValue({ kind, isDecimal }: Member, value: AvroValue | undefined): Uint8Array | null {
  if (value === null || value === undefined) return null
  if (value instanceof Uint8Array) return isDecimal ? value.slice(shortest(value)) : value.slice()
  if (typeof value === 'string') return new TextEncoder().encode(value)
  if (typeof value === 'boolean') return Uint8Array.of(value ? 1 : 0)
  if (typeof value !== 'number' && typeof value !== 'bigint') throw badManifest('a partition value has an unknown type')
  const wide = kind === 'long' || kind === 'double'
  const view = new DataView(new ArrayBuffer(wide ? 8 : 4))
  if (kind === 'long') view.setBigInt64(0, BigInt(value), true)
  else if (kind === 'int') view.setInt32(0, Number(value), true)
  else if (kind === 'double') view.setFloat64(0, Number(value), true)
  else view.setFloat32(0, Number(value), true)
  return new Uint8Array(view.buffer)
}

function fromSingleValue({ kind, isDecimal, size }: Member, value: Uint8Array | null): AvroValue {
  if (value === null) return null
  if (kind === 'string') return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value)
  if (kind === 'fixed' && isDecimal) {
    const wide = new Uint8Array(size).fill(value[0] & 128 ? 255 : 0)
    wide.set(value, size - value.length)
    return wide
  }
  if (kind === 'fixed' || kind === 'bytes') return value
  if (kind === 'boolean') return value[0] !== 0
  return numberOf(kind, value)
}

/** Numbers of an int column may be given for one that has become long since. */
function numberOf(kind: string, value: Uint8Array): number | bigint {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  if (kind === 'int' || kind === 'long') return value.length === 8 ? view.getBigInt64(0, true) : view.getInt32(0, true)
  return value.length === 8 ? view.getFloat64(0, true) : view.getFloat32(0, true)
}

/** A partition in Avro's encoding. */
export function encodePartition(partitionType: AvroSchema, values: PartitionValues): Uint8Array {
  return codecOf(partitionType).encode(values)
}

/** The values of a partition as a manifest of any writer has it, in the order of `spec`'s fields. */
export function decodePartition(partitionType: AvroSchema, spec: JsonObject, bytes: Uint8Array): PartitionValues {
  const { members, decode } = codecOf(partitionType)
  const values = decode(bytes)
  return objects(spec, 'fields').map((field) => values[members.findIndex(({ id }) => id === field['field-id'])] ?? null)
}

const encodeSummaries = compileEncoder(partitionSummariesType, manifestNames)

/**
 * The summaries of a manifest's partitions in Avro's encoding, one for each field of the spec; null when the partition record lacks one
 * of them (then readers have to open the manifest).
 */
export function summarizePartitions(
  partitionType: AvroSchema,
  spec: JsonObject,
  partitions: readonly Uint8Array[],
): Uint8Array | null {
  const { members, decode } = codecOf(partitionType)
  const places = objects(spec, 'fields').map((field) => members.findIndex(({ id }) => id === field['field-id']))
  if (places.includes(-1)) return null
  const decoded = partitions.map(decode)
  const out = new ByteWriter(256)
  encodeSummaries(
    out,
    places.map((place) =>
      summarize(
        members[place],
        decoded.map((values) => values[place]),
      ),
    ),
  )
  return out.take()
}

function summarize(member: Member, values: readonly (Uint8Array | null)[]): AvroRecord {
  let lowerBound: Uint8Array | null = null
  let upperBound: Uint8Array | null = null
  let containsNull = false
  let containsNan = false
  for (const value of values) {
    if (value === null) containsNull = true
    else if ((member.kind === 'float' || member.kind === 'double') && Number.isNaN(numberOf(member.kind, value)))
      containsNan = true
    else {
      if (lowerBound === null || compareValues(member, value, lowerBound) < 0) lowerBound = value
      if (upperBound === null || compareValues(member, value, upperBound) > 0) upperBound = value
    }
  }
  return { containsNull, containsNan, lowerBound, upperBound }
}

/** −0.0 comes before +0.0, so that neither is hidden by the other. */
function compareValues({ kind, isDecimal }: Member, a: Uint8Array, b: Uint8Array): number {
  if (isDecimal) {
    const [x, y] = [signed(a), signed(b)]
    return x < y ? -1 : x > y ? 1 : 0
  }
  if (kind === 'int' || kind === 'long' || kind === 'float' || kind === 'double') {
    const [x, y] = [numberOf(kind, a), numberOf(kind, b)]
    if (x === y) return Number(Object.is(y, -0)) - Number(Object.is(x, -0))
    return x < y ? -1 : 1
  }
  return Buffer.compare(a, b)
}

function signed(bytes: Uint8Array): bigint {
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString('hex')}`))
}
