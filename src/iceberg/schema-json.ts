import { FrazilError } from '../base/index.ts'
import type { Field, PrimitiveType, Schema, Type } from '../data/index.ts'
import { JsonText, encodeJson, isJsonArray } from '../format/json/index.ts'
import type { JsonObject, JsonValue } from '../format/json/index.ts'
import { badMetadata, flag, int, isAbsent, object, objects, text } from './json-fields.ts'

/** A schema as in table metadata (specification, Appendix C "Schemas"). */
export function schemaToJson(schema: Schema): JsonObject {
  const base = { type: 'struct', 'schema-id': schema.schemaId, fields: schema.fields.map(fieldToJson) }
  return schema.identifierFieldIds.length === 0 ? base : { ...base, 'identifier-field-ids': schema.identifierFieldIds }
}

/**
 * The schema in `json`. Types we cannot represent (variant, geometry, nanoseconds, …) are `unsupported` (code
 * `unsupported-type`), with the column named.
 */
export function schemaFromJson(json: JsonObject): Schema {
  const ids = json['identifier-field-ids'] ?? []
  if (!isJsonArray(ids)) throw badMetadata('"identifier-field-ids" is no array')
  return {
    schemaId: isAbsent(json, 'schema-id') ? 0 : int(json, 'schema-id'),
    fields: objects(json, 'fields').map(fieldFromJson),
    identifierFieldIds: ids.map((id) => {
      if (typeof id !== 'number') throw badMetadata('an identifier field id is no integer')
      return id
    }),
  }
}

function fieldToJson(field: Field): JsonObject {
  const json: Record<string, JsonValue> = {
    id: field.id,
    name: field.name,
    required: field.required,
    type: typeToJson(field.type),
  }
  if (field.doc !== undefined) json.doc = field.doc
  if (field.initialDefault !== undefined) json['initial-default'] = new JsonText(field.initialDefault)
  if (field.writeDefault !== undefined) json['write-default'] = new JsonText(field.writeDefault)
  return json
}

function fieldFromJson(json: JsonObject): Field {
  const name = text(json, 'name')
  return {
    id: int(json, 'id'),
    name,
    required: flag(json, 'required'),
    type: typeFromJson(json.type, name),
    ...(isAbsent(json, 'doc') ? {} : { doc: text(json, 'doc') }),
    ...(isAbsent(json, 'initial-default') ? {} : { initialDefault: encodeJson(json['initial-default']) }),
    ...(isAbsent(json, 'write-default') ? {} : { writeDefault: encodeJson(json['write-default']) }),
  }
}

function typeToJson(type: Type): JsonValue {
  switch (type.kind) {
    case 'list':
      return {
        type: 'list',
        'element-id': type.elementId,
        element: typeToJson(type.element),
        'element-required': type.elementRequired,
      }
    case 'map':
      return {
        type: 'map',
        'key-id': type.keyId,
        key: typeToJson(type.key),
        'value-id': type.valueId,
        value: typeToJson(type.value),
        'value-required': type.valueRequired,
      }
    case 'struct':
      return { type: 'struct', fields: type.fields.map(fieldToJson) }
    case 'decimal':
      return `decimal(${type.precision}, ${type.scale})`
    case 'fixed':
      return `fixed[${type.length}]`
    default:
      return type.kind
  }
}

function typeFromJson(json: JsonValue | undefined, column: string): Type {
  if (typeof json === 'string') return primitiveFromText(json, column)
  const nested = object(json, `the type of column "${column}"`)
  switch (nested.type) {
    case 'list':
      return {
        kind: 'list',
        elementId: int(nested, 'element-id'),
        element: typeFromJson(nested.element, column),
        elementRequired: flag(nested, 'element-required'),
      }
    case 'map':
      return {
        kind: 'map',
        keyId: int(nested, 'key-id'),
        key: typeFromJson(nested.key, column),
        valueId: int(nested, 'value-id'),
        value: typeFromJson(nested.value, column),
        valueRequired: flag(nested, 'value-required'),
      }
    case 'struct':
      return { kind: 'struct', fields: objects(nested, 'fields').map(fieldFromJson) }
    default:
      throw badMetadata(`column "${column}" has an unknown nested type`)
  }
}

const simple: ReadonlyMap<string, PrimitiveType> = new Map(
  (
    ['boolean', 'int', 'long', 'float', 'double', 'date', 'time', 'timestamp', 'timestamptz', 'string', 'uuid', 'binary'] as const
  ).map((kind) => [kind, { kind }]),
)

function primitiveFromText(name: string, column: string): PrimitiveType {
  const known = simple.get(name)
  if (known !== undefined) return known
  const decimal = /^decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)$/.exec(name)
  if (decimal !== null) return { kind: 'decimal', precision: Number(decimal[1]), scale: Number(decimal[2]) }
  const fixed = /^fixed\[\s*(\d+)\s*\]$/.exec(name)
  if (fixed !== null) return { kind: 'fixed', length: Number(fixed[1]) }
  throw new FrazilError(
    'unsupported',
    'unsupported-type',
    `column "${column}" has the type ${name.slice(0, 40)}, which is not supported`,
  )
}
