import { FrazilError } from '../../base/index.ts'
import { encodeJson, isJsonArray, isJsonObject } from '../json/index.ts'
import type { JsonObject, JsonValue } from '../json/index.ts'

/** An Avro schema as JSON (Avro specification, "Schema Declaration"); attributes such as `field-id` are kept. */
export type AvroSchema = JsonValue

/** A schema with its named references resolved. */
export type AvroType =
  | { readonly kind: 'null' | 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string' }
  | { readonly kind: 'fixed'; readonly size: number }
  | { readonly kind: 'enum' }
  | { readonly kind: 'array'; readonly items: AvroType }
  | { readonly kind: 'map'; readonly values: AvroType }
  | { readonly kind: 'union'; readonly branches: readonly AvroType[] }
  | { readonly kind: 'record'; readonly fields: readonly AvroFieldType[] }

interface AvroFieldType {
  readonly name: string
  /** Iceberg's `field-id`, null where the writer gave none. */
  readonly id: number | null
  readonly type: AvroType
  /** The field's type as it stands in the schema. */
  readonly schema: AvroSchema
}

const maxDepth = 64

/** Resolves a schema. Throws `corrupt` (code `bad-avro`) for what is no valid schema. */
export function resolveSchema(schema: AvroSchema): AvroType {
  return resolve(schema, new Map(), 0)
}

function resolve(schema: AvroSchema, named: Map<string, AvroType>, depth: number): AvroType {
  if (depth > maxDepth) throw badSchema('it is nested too deeply')
  if (typeof schema === 'string') return named.get(schema) ?? primitive(schema)
  if (isJsonArray(schema)) return { kind: 'union', branches: schema.map((branch) => resolve(branch, named, depth + 1)) }
  if (!isJsonObject(schema)) throw badSchema('a type is neither name, object nor union')
  switch (schema.type) {
    case 'record':
      return resolveRecord(schema, named, depth)
    case 'array':
      return { kind: 'array', items: resolve(schema.items ?? null, named, depth + 1) }
    case 'map':
      return { kind: 'map', values: resolve(schema.values ?? null, named, depth + 1) }
    case 'fixed': {
      if (typeof schema.size !== 'number' || schema.size < 0) throw badSchema('a fixed type has no size')
      return name(schema, named, { kind: 'fixed', size: schema.size })
    }
    case 'enum':
      return name(schema, named, { kind: 'enum' })
    default:
      return resolve(schema.type ?? null, named, depth + 1)
  }
}

function resolveRecord(schema: JsonObject, named: Map<string, AvroType>, depth: number): AvroType {
  if (!isJsonArray(schema.fields)) throw badSchema('a record has no fields')
  const fields: AvroFieldType[] = []
  for (const field of schema.fields) {
    if (!isJsonObject(field) || typeof field.name !== 'string') throw badSchema('a field has no name')
    const id = field['field-id']
    const type = field.type ?? null
    fields.push({ name: field.name, id: typeof id === 'number' ? id : null, type: resolve(type, named, depth + 1), schema: type })
  }
  // Named only now: a type that contains itself is refused.
  return name(schema, named, { kind: 'record', fields })
}

function name(schema: JsonObject, named: Map<string, AvroType>, type: AvroType): AvroType {
  if (typeof schema.name !== 'string') throw badSchema('a named type has no name')
  named.set(schema.name, type)
  if (typeof schema.namespace === 'string') named.set(`${schema.namespace}.${schema.name}`, type)
  return type
}

function primitive(name: string): AvroType {
  switch (name) {
    case 'null':
    case 'boolean':
    case 'int':
    case 'long':
    case 'float':
    case 'double':
    case 'bytes':
    case 'string':
      return { kind: name }
    default:
      throw badSchema('it names an unknown type')
  }
}

/** True when both types have the same bytes for the same value, whatever their names and attributes are. */
export function sameEncoding(a: AvroType, b: AvroType): boolean {
  return a === b || encodeJson(shape(a, 0)) === encodeJson(shape(b, 0))
}

function shape(type: AvroType, depth: number): JsonValue {
  if (depth > maxDepth) throw badSchema('it is nested too deeply')
  switch (type.kind) {
    case 'record':
      return type.fields.map((field) => shape(field.type, depth + 1))
    case 'union':
      return ['union', ...type.branches.map((branch) => shape(branch, depth + 1))]
    case 'array':
      return ['array', shape(type.items, depth + 1)]
    case 'map':
      return ['map', shape(type.values, depth + 1)]
    case 'fixed':
      return ['fixed', type.size]
    case 'int':
    case 'long':
    case 'enum':
      return 'varint'
    case 'bytes':
    case 'string':
      return 'bytes'
    default:
      return type.kind
  }
}

function badSchema(why: string): FrazilError {
  return new FrazilError('corrupt', 'bad-avro', `malformed Avro schema: ${why}`)
}
