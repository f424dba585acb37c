import { FrazilError } from '../../base/index.ts'
import type { Field, Type } from '../../data/index.ts'
import type { FlatTable } from './flatbuffer.ts'
import { badArrow } from './malformed.ts'

export type TimeUnit = 's' | 'ms' | 'us' | 'ns'

/** Types of Arrow's columns (format/Schema.fbs) that can be read. */
export type ArrowType =
  | { readonly kind: 'null' | 'bool' | 'struct' | 'map' }
  | { readonly kind: 'int'; readonly bits: number; readonly signed: boolean }
  | { readonly kind: 'float'; readonly bits: number }
  | { readonly kind: 'utf8' | 'binary' | 'list'; readonly large: boolean }
  | { readonly kind: 'fixed'; readonly width: number }
  | { readonly kind: 'fixed-list'; readonly size: number }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number; readonly bits: number }
  | { readonly kind: 'date'; readonly unit: 'day' | 'ms' }
  | { readonly kind: 'time'; readonly unit: TimeUnit; readonly bits: number }
  | { readonly kind: 'timestamp'; readonly unit: TimeUnit; readonly zoned: boolean }

export interface ArrowField {
  readonly name: string
  readonly nullable: boolean
  readonly type: ArrowType
  readonly children: readonly ArrowField[]
  /** Values are in a dictionary: its id, and the type of the indexes. */
  readonly dictionary: { readonly id: number; readonly index: ArrowType & { kind: 'int' } } | null
}

const mostFields = 2000
const deepest = 16
const units: readonly TimeUnit[] = ['s', 'ms', 'us', 'ns']

const otherTypes: Readonly<Record<number, string>> = {
  11: 'interval',
  14: 'union',
  18: 'duration',
  22: 'run-end encoded',
  23: 'binary view',
  24: 'string view',
  25: 'list view',
  26: 'large list view',
}

/** The columns of a Schema message. Throws `request`: `bad-arrow`, or `unsupported-arrow` for types that cannot be read. */
export function readSchema(schema: FlatTable): ArrowField[] {
  if (schema.short(0) !== 0) throw unsupported('the stream', 'big-endian numbers')
  let count = 0
  const fields = (tables: readonly FlatTable[], path: string, depth: number): ArrowField[] => {
    if (depth > deepest) throw unsupported(path, `more than ${deepest} levels of nesting`)
    count += tables.length
    if (count > mostFields) throw unsupported('the stream', `more than ${mostFields} fields`)
    return tables.map((table) => {
      const name = table.text(0) ?? ''
      const own = path === '' ? name : `${path}.${name}`
      const type = readType(table, own)
      const children = fields(table.tables(5), own, depth + 1)
      const encoding = table.table(4)
      const wanted = type.kind === 'list' || type.kind === 'fixed-list' || type.kind === 'map' ? 1 : null
      if (type.kind !== 'struct' && children.length !== (wanted ?? 0)) throw badArrow(`a wrong number of children of ${own}`)
      if (type.kind === 'map' && (children[0].type.kind !== 'struct' || children[0].children.length !== 2)) {
        throw badArrow(`a map without keys and values, ${own}`)
      }
      if (encoding && children.length > 0) throw unsupported(own, 'a dictionary of nested values')
      return { name, nullable: table.byte(1) !== 0, type, children, dictionary: encoding && readEncoding(encoding) }
    })
  }
  return fields(schema.tables(1), '', 1)
}

function readEncoding(encoding: FlatTable): NonNullable<ArrowField['dictionary']> {
  const index = encoding.table(1)
  const type = index ? intType(index) : ({ kind: 'int', bits: 32, signed: true } as const)
  return { id: encoding.long(0), index: type }
}

function intType(table: FlatTable): ArrowType & { kind: 'int' } {
  const bits = table.int(0)
  if (![8, 16, 32, 64].includes(bits)) throw badArrow('integers of an odd size')
  return { kind: 'int', bits, signed: table.byte(1) !== 0 }
}

function unitOf(number: number): TimeUnit {
  const unit = units.at(number)
  if (unit === undefined || number < 0) throw badArrow('an unknown unit of time')
  return unit
}

function readType(field: FlatTable, path: string): ArrowType {
  const table = field.table(3)
  if (!table) throw badArrow('a field without a type')
  const kind = field.byte(2)
  switch (kind) {
    case 1:
      return { kind: 'null' }
    case 2:
      return intType(table)
    case 3: {
      const bits = [16, 32, 64].at(table.short(0))
      if (bits === undefined) throw badArrow('floats of an unknown size')
      return { kind: 'float', bits }
    }
    case 4:
    case 19:
      return { kind: 'binary', large: kind === 19 }
    case 5:
    case 20:
      return { kind: 'utf8', large: kind === 20 }
    case 6:
      return { kind: 'bool' }
    case 7: {
      const [precision, scale, bits] = [table.int(0), table.int(1), table.int(2, 128)]
      if (![32, 64, 128, 256].includes(bits)) throw badArrow('decimals of an odd size')
      if (scale < 0 || precision < 1 || precision > 38 || scale > precision) {
        throw unsupported(path, `decimal(${precision}, ${scale})`)
      }
      return { kind: 'decimal', precision, scale, bits }
    }
    case 8:
      return { kind: 'date', unit: table.short(0, 1) === 0 ? 'day' : 'ms' }
    case 9: {
      const [unit, bits] = [unitOf(table.short(0, 1)), table.int(1, 32)]
      if (bits !== (unit === 's' || unit === 'ms' ? 32 : 64)) throw badArrow('times of an odd size')
      return { kind: 'time', unit, bits }
    }
    case 10:
      return { kind: 'timestamp', unit: unitOf(table.short(0)), zoned: (table.text(1) ?? '') !== '' }
    case 12:
    case 21:
      return { kind: 'list', large: kind === 21 }
    case 13:
      return { kind: 'struct' }
    case 15: {
      const width = table.int(0)
      if (width < 1 || width > 65_536) throw unsupported(path, `fixed-size binary of ${width} bytes`)
      return { kind: 'fixed', width }
    }
    case 16: {
      const size = table.int(0)
      if (size < 0) throw badArrow('lists of a negative size')
      return { kind: 'fixed-list', size }
    }
    case 17:
      return { kind: 'map' }
    default:
      if (Object.hasOwn(otherTypes, kind)) throw unsupported(path, otherTypes[kind])
      throw badArrow('a type that is none')
  }
}

/** The column of a table that has all values of an Arrow column; null when none does. */
export function fieldOf({ name, nullable, type, children }: ArrowField): Field | null {
  const found = typeOf(type, children)
  return found && { id: 0, name, type: found, required: !nullable }
}

/** Whether a column says nothing of its type: it is of type null, or a list of that. */
export function isOpenType({ type, children }: ArrowField): boolean {
  return type.kind === 'null' || ((type.kind === 'list' || type.kind === 'fixed-list') && isOpenType(children[0]))
}

function typeOf(type: ArrowType, children: readonly ArrowField[]): Type | null {
  switch (type.kind) {
    case 'null':
      return null
    case 'bool':
      return { kind: 'boolean' }
    case 'int':
      return { kind: type.bits < 32 || (type.bits === 32 && type.signed) ? 'int' : 'long' }
    case 'float':
      return { kind: type.bits === 64 ? 'double' : 'float' }
    case 'utf8':
      return { kind: 'string' }
    case 'binary':
      return { kind: 'binary' }
    case 'fixed':
      return { kind: 'fixed', length: type.width }
    case 'decimal':
      return { kind: 'decimal', precision: type.precision, scale: type.scale }
    case 'date':
      return { kind: 'date' }
    case 'time':
      return { kind: 'time' }
    case 'timestamp':
      return { kind: type.zoned ? 'timestamptz' : 'timestamp' }
    case 'list':
    case 'fixed-list': {
      const item = fieldOf(children[0])
      return item && { kind: 'list', elementId: 0, element: item.type, elementRequired: item.required }
    }
    case 'map': {
      const [key, value] = children[0].children.map(fieldOf)
      if (!key || !value || key.type.kind === 'list' || key.type.kind === 'map' || key.type.kind === 'struct') return null
      return { kind: 'map', keyId: 0, key: key.type, valueId: 0, value: value.type, valueRequired: value.required }
    }
    case 'struct': {
      const fields = children.map(fieldOf)
      const known = fields.filter((field) => field !== null)
      return known.length === fields.length && known.length > 0 ? { kind: 'struct', fields: known } : null
    }
  }
}

function unsupported(path: string, what: string): FrazilError {
  return new FrazilError('request', 'unsupported-arrow', `${path} has ${what}, which cannot be read`, {
    hint: 'Cast the column to another type before it is sent.',
  })
}
