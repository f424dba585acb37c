import { z } from 'zod'
import { FrazilError } from '../base/index.ts'
import type { Field, Type } from '../data/index.ts'

/** A column as clients write it. */
export interface FieldSchema {
  readonly name: string
  readonly data_type: string
  readonly nullable?: boolean
  /** Of a struct; of a map: `key` and `value`. */
  readonly fields?: readonly FieldSchema[]
  /** Of a list. */
  readonly item?: FieldSchema
}

/** Columns of a table, nested ones counted. */
const mostFields = 2000
const deepest = 16
const longestName = 255

/** What a namespace or a table that programs make may be called. */
export const tableNamePattern =
  // oxlint-disable-next-line no-control-regex -- they are what a name may not have
  /^[^\s./\\"'`\x00-\x1f\x7f-\x9f](?:[^./\\"'`\x00-\x1f\x7f-\x9f]{0,253}[^\s./\\"'`\x00-\x1f\x7f-\x9f])?$/u

const name = z
  .string({ error: 'must be text' })
  .min(1, 'must not be empty')
  .max(longestName, `must have at most ${longestName} characters`)
  .refine((text) => !/\p{Cc}/u.test(text) && text.isWellFormed(), 'must have no control characters')

/** `name` may be left out for the item of a list. */
const own = {
  name: name.prefault('item'),
  data_type: z.string({ error: 'must be the name of a type' }),
  nullable: z.boolean({ error: 'must be true or false' }).optional(),
}

export const fieldSchema: z.ZodType<FieldSchema> = z.lazy(() =>
  z.strictObject({ ...own, fields: z.array(fieldSchema).optional(), item: fieldSchema.optional() }),
)

/** One without those within it: a program in the same process may have put a column into itself. */
const oneField = z.strictObject({ ...own, fields: z.unknown().optional(), item: z.unknown().optional() })
type OneField = z.output<typeof oneField>

const plainTypes: Readonly<Record<string, Type>> = {
  int8: { kind: 'int' },
  int16: { kind: 'int' },
  int32: { kind: 'int' },
  int64: { kind: 'long' },
  float32: { kind: 'float' },
  float64: { kind: 'double' },
  boolean: { kind: 'boolean' },
  bool: { kind: 'boolean' },
  string: { kind: 'string' },
  text: { kind: 'string' },
  date32: { kind: 'date' },
  date: { kind: 'date' },
  time: { kind: 'time' },
  timestamp: { kind: 'timestamp' },
  timestamptz: { kind: 'timestamptz' },
  binary: { kind: 'binary' },
  uuid: { kind: 'uuid' },
}

/** Columns from their descriptions ({@link FieldSchema}); ids are 0. Throws `request` (`bad-schema`), naming the column. */
export function fieldsOf(schema: unknown): Field[] {
  let count = 0
  const fields = (given: unknown, path: string, depth: number): Field[] => {
    const siblings = listOf(given, path)
    const names = new Set<string>()
    for (const { name } of siblings) {
      const folded = name.toLowerCase()
      if (names.has(folded)) throw bad(`${path}${name}`, 'is there twice (SQL does not tell letters of different case apart)')
      names.add(folded)
    }
    if (siblings.length === 0) throw bad(path === '' ? 'the table' : path.slice(0, -1), 'needs at least one field')
    return siblings.map((field) => {
      if (++count > mostFields) throw tooManyFields()
      return { id: 0, name: field.name, type: type(field, `${path}${field.name}`, depth), required: field.nullable === false }
    })
  }
  const type = (field: OneField, path: string, depth: number): Type => {
    if (depth > deepest) throw bad(path, `is nested more than ${deepest} levels deep`)
    const spelling = field.data_type.trim().toLowerCase()
    const isStruct = spelling === 'struct'
    const isList = spelling === 'list' || spelling === 'array'
    const isMap = spelling === 'map'
    if (field.fields !== undefined && !isStruct && !isMap) throw bad(path, 'has fields but is no struct')
    if (field.item !== undefined && !isList) throw bad(path, 'has an item but is no list')
    if (isStruct) return { kind: 'struct', fields: fields(field.fields ?? [], `${path}.`, depth + 1) }
    if (isMap) {
      const parts = listOf(field.fields ?? [], `${path}.`)
      const [key, value] = parts
      if (parts.length !== 2 || key.name !== 'key' || value.name !== 'value') {
        throw bad(path, 'is a map and needs the fields key and value')
      }
      if (type(key, `${path}.key`, depth + 1).kind !== 'string') throw bad(`${path}.key`, 'must be a string')
      const of = type(value, `${path}.value`, depth + 1)
      return { kind: 'map', keyId: 0, key: { kind: 'string' }, valueId: 0, value: of, valueRequired: value.nullable === false }
    }
    if (isList) {
      if (field.item === undefined) throw bad(path, 'is a list and needs an item')
      const item = fieldOf(field.item, `${path}[]`)
      return { kind: 'list', elementId: 0, element: type(item, `${path}[]`, depth + 1), elementRequired: item.nullable === false }
    }
    if (Object.hasOwn(plainTypes, spelling)) return plainTypes[spelling]
    const decimal = /^decimal\(\s*(\d{1,2})\s*(?:,\s*(\d{1,2})\s*)?\)$/.exec(spelling)
    if (decimal) {
      const [precision, scale] = [Number(decimal[1]), Number(decimal[2] ?? 0)]
      if (precision >= 1 && precision <= 38 && scale <= precision) return { kind: 'decimal', precision, scale }
    }
    throw bad(
      path,
      `has a data_type that is none: ${[...Object.keys(plainTypes), 'decimal(precision, scale)', 'struct', 'list', 'map'].join(', ')}`,
    )
  }
  return fields(schema, '', 0)
}

/** @param path of what has the columns, with a dot behind it; empty: the table */
function listOf(given: unknown, path: string): OneField[] {
  if (!Array.isArray(given)) {
    throw bad(path === '' ? 'the schema' : `${path}fields`, 'must be a list of columns: [{name, data_type}, …]')
  }
  if (given.length > mostFields) throw tooManyFields()
  return Array.from(given, (one: unknown, i) => fieldOf(one, `${path}column ${i + 1}`))
}

function fieldOf(given: unknown, path: string): OneField {
  const { success, data, error } = oneField.safeParse(given)
  if (success) return data
  const sentences = error.issues.map(({ path: [key], message }) => (key === undefined ? message : `${String(key)} ${message}`))
  throw bad(`${path}:`, sentences.join('; '))
}

function tooManyFields(): FrazilError {
  return bad('the table', `has more than ${mostFields} columns`)
}

function bad(path: string, what: string): FrazilError {
  return new FrazilError('request', 'bad-schema', `${path} ${what}`)
}

/** The inverse of {@link fieldsOf}, which also names types that only other sources give. */
export function schemaOf(fields: readonly Field[]): FieldSchema[] {
  return fields.map(({ name, type, required }) => describe(name, type, required))
}

function describe(name: string, type: Type, required: boolean): FieldSchema {
  const nullable = !required
  switch (type.kind) {
    case 'struct':
      return { name, data_type: 'struct', nullable, fields: schemaOf(type.fields) }
    case 'list':
      return { name, data_type: 'list', nullable, item: describe('item', type.element, type.elementRequired) }
    case 'map': {
      const fields = [describe('key', type.key, true), describe('value', type.value, type.valueRequired)]
      return { name, data_type: 'map', nullable, fields }
    }
    case 'decimal':
      return { name, data_type: `decimal(${type.precision},${type.scale})`, nullable }
    case 'fixed':
      return { name, data_type: `fixed(${type.length})`, nullable }
    default:
      return { name, data_type: typeNames[type.kind], nullable }
  }
}

const typeNames = {
  boolean: 'boolean',
  int: 'int32',
  long: 'int64',
  float: 'float32',
  double: 'float64',
  date: 'date32',
  time: 'time',
  timestamp: 'timestamp',
  timestamptz: 'timestamptz',
  string: 'string',
  uuid: 'uuid',
  binary: 'binary',
} as const

/** Moonlink's `table_config`: how rows are told apart. What it says of files and merging has no meaning here. */
export const tableConfig = z
  .strictObject({
    mooncake: z
      .strictObject({
        append_only: z.boolean().optional(),
        row_identity: z
          .union([
            z.enum(['None', 'FullRow']),
            z.strictObject({ SinglePrimitiveKey: z.int().min(0) }),
            z.strictObject({ Keys: z.array(z.int().min(0)).min(1) }),
          ])
          .optional(),
        skip_index_merge: z.boolean().optional(),
        skip_data_compaction: z.boolean().optional(),
      })
      .optional(),
    key: z.array(z.string(), { error: 'must be names of columns' }).min(1).optional(),
    on_schema_change: z.enum(['evolve', 'refuse'], { error: 'must be evolve or refuse' }).optional(),
  })
  .optional()

const keyTypes = new Set(['int', 'long', 'string', 'uuid', 'date', 'timestamp', 'timestamptz', 'decimal', 'boolean', 'binary'])

/** Positions of the key columns, empty for tables that rows are only appended to. Throws `request`. */
export function keyOf(config: z.infer<typeof tableConfig>, fields: readonly Field[]): number[] {
  const identity = config?.mooncake?.row_identity
  const appendOnly = config?.mooncake?.append_only
  if (identity === 'FullRow')
    throw new FrazilError('request', 'bad-key-columns', 'row_identity "FullRow" is not supported', {
      hint: 'Name key columns, or leave it out.',
    })
  const given =
    config?.key?.map((name) => fields.findIndex((field) => field.name === name)) ??
    (typeof identity !== 'object' ? [] : 'Keys' in identity ? identity.Keys : [identity.SinglePrimitiveKey])
  if (appendOnly !== undefined && appendOnly !== (given.length === 0)) {
    throw new FrazilError('request', 'bad-key-columns', 'append_only has to be true without a key and false with one')
  }
  const missing = config?.key?.find((name) => !fields.some((field) => field.name === name))
  if (missing !== undefined) throw noColumn(missing)
  if (new Set(given).size !== given.length) throw new FrazilError('request', 'bad-key-columns', 'a key column is named twice')
  for (const column of given) {
    const field = fields.at(column)
    if (!field) throw noColumn(`number ${column}`)
    if (!field.required || !keyTypes.has(field.type.kind)) {
      throw new FrazilError('request', 'bad-key-columns', `the column ${field.name} cannot be in the key`, {
        hint: 'A key column is not nullable, and no float, time, list or struct.',
      })
    }
  }
  return given
}

function noColumn(column: string): FrazilError {
  return new FrazilError('request', 'bad-key-columns', `the key names a column that is not there: ${column}`)
}
