import { FrazilError } from '../../base/index.ts'
import type { Field, Type } from '../../data/index.ts'

const deepest = 16

const plainTypes: Readonly<Record<string, Type>> = {
  boolean: { kind: 'boolean' },
  int: { kind: 'int' },
  long: { kind: 'long' },
  float: { kind: 'float' },
  double: { kind: 'double' },
  bytes: { kind: 'binary' },
  string: { kind: 'string' },
}

const logicalTypes: Readonly<Record<string, Type>> = {
  'int date': { kind: 'date' },
  'int time-millis': { kind: 'time' },
  'long time-micros': { kind: 'time' },
  'long timestamp-millis': { kind: 'timestamptz' },
  'long timestamp-micros': { kind: 'timestamptz' },
  'long local-timestamp-millis': { kind: 'timestamp' },
  'long local-timestamp-micros': { kind: 'timestamp' },
  'string uuid': { kind: 'uuid' },
  'fixed uuid': { kind: 'uuid' },
}

/**
 * Columns of a table from the Avro schema of its rows, a record (Avro 1.11, "Schema Declaration"); ids are 0. What is a union with null
 * may be null, all else is required; named types may be referred to behind where they are defined. Throws `request` for what no column can
 * be: unions of several types, recursion.
 */
export function avroColumns(schema: unknown): Field[] {
  const [type, isOptional] = columnType(schema, 'the schema', 0, new Map())
  if (type.kind !== 'struct' || isOptional) throw bad('the schema', 'is not a record')
  return [...type.fields]
}

/** The type, and whether it may be null. */
function columnType(schema: unknown, path: string, depth: number, named: Map<string, Type>): [Type, boolean] {
  const found = ownType(schema, path, depth, named)
  const { name, namespace } = (typeof schema === 'object' && schema !== null ? schema : {}) as {
    name?: unknown
    namespace?: unknown
  }
  if (typeof name !== 'string') return found
  // Known from here on: a type that contains itself is refused.
  named.set(name, found[0]).set(name.slice(name.lastIndexOf('.') + 1), found[0])
  if (typeof namespace === 'string') named.set(`${namespace}.${name}`, found[0])
  return found
}

function ownType(schema: unknown, path: string, depth: number, named: Map<string, Type>): [Type, boolean] {
  if (depth > deepest) throw bad(path, `is nested more than ${deepest} levels deep`)
  if (typeof schema === 'string') {
    if (Object.hasOwn(plainTypes, schema)) return [plainTypes[schema], false]
    const known = named.get(schema)
    if (known) return [known, false]
    throw bad(path, 'has a type that is not supported, or that is not defined before')
  }
  if (Array.isArray(schema)) {
    const others = schema.filter((branch) => branch !== 'null')
    if (others.length !== 1 || schema.length > 2) throw bad(path, 'is a union of other than null and one type')
    const [type] = columnType(others[0], path, depth, named)
    return [type, others.length < schema.length]
  }
  if (typeof schema !== 'object' || schema === null) throw bad(path, 'is no Avro schema')
  const { type, logicalType, fields, items, values, symbols, size, precision, scale } = schema as Record<string, unknown>
  if (logicalType === 'decimal' && (type === 'bytes' || type === 'fixed')) {
    const [digits, behind] = [Number(precision), Number(scale ?? 0)]
    const isDecimal = Number.isInteger(digits) && Number.isInteger(behind) && digits >= 1 && digits <= 38 && behind >= 0
    if (!isDecimal || behind > digits) throw bad(path, 'is a decimal that no column can be')
    return [{ kind: 'decimal', precision: digits, scale: behind }, false]
  }
  const logical = `${String(type)} ${String(logicalType)}`
  if (Object.hasOwn(logicalTypes, logical)) return [logicalTypes[logical], false]
  switch (type) {
    case 'record':
      return [{ kind: 'struct', fields: members(fields, path, depth, named) }, false]
    case 'array': {
      const [element, isOptional] = columnType(items, `${path}[]`, depth + 1, named)
      return [{ kind: 'list', elementId: 0, element, elementRequired: !isOptional }, false]
    }
    case 'map': {
      const [value, isOptional] = columnType(values, `${path}{}`, depth + 1, named)
      return [{ kind: 'map', keyId: 0, key: { kind: 'string' }, valueId: 0, value, valueRequired: !isOptional }, false]
    }
    case 'enum':
      if (Array.isArray(symbols)) return [{ kind: 'string' }, false]
      throw bad(path, 'is an enum without symbols')
    case 'fixed':
      if (typeof size === 'number' && Number.isInteger(size) && size >= 1 && size <= 65_536) {
        return [{ kind: 'fixed', length: size }, false]
      }
      throw bad(path, 'is fixed without a size')
    default:
      return columnType(type, path, depth + 1, named)
  }
}

function members(fields: unknown, path: string, depth: number, named: Map<string, Type>): Field[] {
  if (!Array.isArray(fields) || fields.length === 0) throw bad(path, 'is a record without fields')
  const names = new Set<string>()
  return fields.map((field: unknown): Field => {
    const { name, type } = (typeof field === 'object' && field !== null ? field : {}) as { name?: unknown; type?: unknown }
    if (typeof name !== 'string' || !/^[A-Za-z_][A-Za-z0-9_]{0,254}$/.test(name))
      throw bad(path, 'has a field without a good name')
    if (names.has(name.toLowerCase()))
      throw bad(`${path}.${name}`, 'is there twice (SQL does not tell letters of different case apart)')
    names.add(name.toLowerCase())
    const [found, isOptional] = columnType(type, `${path}.${name}`, depth + 1, named)
    return { id: 0, name, type: found, required: !isOptional }
  })
}

function bad(path: string, what: string): FrazilError {
  return new FrazilError('request', 'bad-schema', `${path} ${what}`)
}
