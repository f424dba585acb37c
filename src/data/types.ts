/**
 * The types that flow: Iceberg's, because that is what every row becomes. Sources map theirs to these (a published table per
 * source), codecs map these to bytes. Specification: Iceberg "Schemas and Data Types".
 */
export type PrimitiveType =
  | { readonly kind: 'boolean' }
  | { readonly kind: 'int' }
  | { readonly kind: 'long' }
  | { readonly kind: 'float' }
  | { readonly kind: 'double' }
  /** 1 ≤ precision ≤ 38, 0 ≤ scale ≤ precision. */
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  /** Days since 1970-01-01. */
  | { readonly kind: 'date' }
  /** Microseconds since midnight, below 86,400,000,000. */
  | { readonly kind: 'time' }
  /** Microseconds since 1970-01-01T00:00:00, no zone. */
  | { readonly kind: 'timestamp' }
  /** Microseconds since 1970-01-01T00:00:00Z. */
  | { readonly kind: 'timestamptz' }
  | { readonly kind: 'string' }
  | { readonly kind: 'uuid' }
  | { readonly kind: 'binary' }
  | { readonly kind: 'fixed'; readonly length: number }

export interface ListType {
  readonly kind: 'list'
  readonly elementId: number
  readonly element: Type
  readonly elementRequired: boolean
}

export interface MapType {
  readonly kind: 'map'
  readonly keyId: number
  readonly key: Type
  readonly valueId: number
  readonly value: Type
  readonly valueRequired: boolean
}

export interface StructType {
  readonly kind: 'struct'
  readonly fields: readonly Field[]
}

export type NestedType = ListType | MapType | StructType
export type Type = PrimitiveType | NestedType

export interface Field {
  /** Iceberg field id: given once in a table's life, 0 while not yet assigned. */
  readonly id: number
  readonly name: string
  readonly type: Type
  readonly required: boolean
  readonly doc?: string
  /**
   * What rows of data files from before this field have: JSON text in Iceberg's single-value form (see `defaults.ts`). Given with the
   * field and never changed. Absent: null.
   */
  readonly initialDefault?: string
  /** What writers put where they are given no value, in the same form. Absent: null. */
  readonly writeDefault?: string
}

export interface Schema {
  readonly schemaId: number
  readonly fields: readonly Field[]
  /** Field ids of the key columns, empty for tables without a key. */
  readonly identifierFieldIds: readonly number[]
}

export function isNested(type: Type): type is NestedType {
  return type.kind === 'list' || type.kind === 'map' || type.kind === 'struct'
}

/** Text of a type as in Iceberg's schema JSON, nested ones in angle brackets (for messages only). */
export function typeText(type: Type): string {
  switch (type.kind) {
    case 'decimal':
      return `decimal(${type.precision}, ${type.scale})`
    case 'fixed':
      return `fixed[${type.length}]`
    case 'list':
      return `list<${typeText(type.element)}>`
    case 'map':
      return `map<${typeText(type.key)}, ${typeText(type.value)}>`
    case 'struct':
      return `struct<${type.fields.map((field) => `${field.name}: ${typeText(field.type)}`).join(', ')}>`
    default:
      return type.kind
  }
}

/** True when two types are the same apart from field ids, docs and which parts are required. */
export function sameType(a: Type, b: Type): boolean {
  switch (a.kind) {
    case 'list':
      return b.kind === 'list' && sameType(a.element, b.element)
    case 'map':
      return b.kind === 'map' && sameType(a.key, b.key) && sameType(a.value, b.value)
    case 'struct':
      return (
        b.kind === 'struct' &&
        a.fields.length === b.fields.length &&
        a.fields.every((field, i) => field.name === b.fields[i].name && sameType(field.type, b.fields[i].type))
      )
    default:
      return typeText(a) === typeText(b)
  }
}

/** Whether rows written as `from` can be read as `to` (specification: Iceberg "Schema Evolution"; what all its readers implement). */
export function isPromotion(from: Type, to: Type): boolean {
  switch (from.kind) {
    case 'int':
      return to.kind === 'long'
    case 'float':
      return to.kind === 'double'
    case 'decimal':
      return to.kind === 'decimal' && to.scale === from.scale && to.precision > from.precision
    default:
      return false
  }
}

/**
 * Gives every field an id as Iceberg's catalogs do on create: level by level, the top fields first, then the children of each
 * nested field in order. Ids that are set already are kept; `last` is the highest id in use.
 */
export function assignFieldIds(fields: readonly Field[], last = 0): { fields: Field[]; last: number } {
  let next = last
  const take = (id: number): number => (id > 0 ? id : ++next)
  const nested = (type: Type): Type => {
    switch (type.kind) {
      case 'list': {
        const elementId = take(type.elementId)
        return { ...type, elementId, element: nested(type.element) }
      }
      case 'map': {
        const keyId = take(type.keyId)
        const valueId = take(type.valueId)
        return { ...type, keyId, valueId, key: nested(type.key), value: nested(type.value) }
      }
      case 'struct':
        return { ...type, fields: level(type.fields) }
      default:
        return type
    }
  }
  const level = (siblings: readonly Field[]): Field[] => {
    const withIds = siblings.map((field) => ({ ...field, id: take(field.id) }))
    return withIds.map((field) => ({ ...field, type: nested(field.type) }))
  }
  return { fields: level(fields), last: next }
}
