import * as fc from 'fast-check'
import type { Field, PrimitiveType, Type, Value } from '../../src/data/index.ts'

const primitives: fc.Arbitrary<PrimitiveType> = fc.oneof(
  fc.constantFrom<PrimitiveType>(
    { kind: 'boolean' },
    { kind: 'int' },
    { kind: 'long' },
    { kind: 'float' },
    { kind: 'double' },
    { kind: 'date' },
    { kind: 'time' },
    { kind: 'timestamp' },
    { kind: 'timestamptz' },
    { kind: 'string' },
    { kind: 'uuid' },
    { kind: 'binary' },
  ),
  fc.integer({ min: 1, max: 20 }).map((length): PrimitiveType => ({ kind: 'fixed', length })),
  fc
    .integer({ min: 1, max: 38 })
    .chain((precision) =>
      fc.integer({ min: 0, max: precision }).map((scale): PrimitiveType => ({ kind: 'decimal', precision, scale })),
    ),
)

function nested(element: fc.Arbitrary<Type>): fc.Arbitrary<Type> {
  return fc.oneof(
    fc
      .tuple(element, fc.boolean())
      .map(([item, elementRequired]): Type => ({ kind: 'list', elementId: 0, element: item, elementRequired })),
    fc
      .tuple(primitives, element, fc.boolean())
      .map(([key, value, valueRequired]): Type => ({ kind: 'map', keyId: 0, key, valueId: 0, value, valueRequired })),
    fc.array(fc.tuple(element, fc.boolean()), { minLength: 1, maxLength: 3 }).map((items): Type => ({
      kind: 'struct',
      fields: items.map(([type, required], i) => ({ id: 0, name: `f${i}`, type, required })),
    })),
  )
}

export const anyPrimitive = primitives
const shallow = fc.oneof({ weight: 3, arbitrary: primitives }, { weight: 1, arbitrary: nested(primitives) })
export const anyType: fc.Arbitrary<Type> = fc.oneof(
  { weight: 3, arbitrary: primitives },
  { weight: 1, arbitrary: nested(primitives) },
  { weight: 1, arbitrary: nested(shallow) },
)

/** A value that the type can hold, never null at the top. */
export function valueOf(type: Type): fc.Arbitrary<Exclude<Value, null>> {
  switch (type.kind) {
    case 'boolean':
      return fc.boolean()
    case 'int':
    case 'date':
      return fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.constantFrom(0, -1, -(2 ** 31), 2 ** 31 - 1))
    case 'long':
    case 'timestamp':
    case 'timestamptz':
      return fc.oneof(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), fc.constantFrom(0n, -1n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 32n))
    case 'time':
      return fc.bigInt(0n, 86_399_999_999n)
    case 'float':
      return fc.float()
    case 'double':
      return fc.double()
    case 'decimal': {
      const limit = 10n ** BigInt(type.precision) - 1n
      return fc.oneof(fc.bigInt(-limit, limit), fc.constantFrom(limit, -limit, 0n, -1n))
    }
    case 'string':
      return fc.oneof(fc.string({ unit: 'binary', maxLength: 12 }), fc.constantFrom('', '\u0000', '\uFEFFa', 'é', '😀'))
    case 'uuid':
      return fc.uint8Array({ minLength: 16, maxLength: 16 })
    case 'binary':
      return fc.uint8Array({ maxLength: 12 })
    case 'fixed':
      return fc.uint8Array({ minLength: type.length, maxLength: type.length })
    case 'list':
      return fc.array(itemOf(type.element, type.elementRequired), { maxLength: 4 })
    case 'map':
      return fc.array(fc.tuple(valueOf(type.key), itemOf(type.value, type.valueRequired)), { maxLength: 3 })
    case 'struct':
      return fc.tuple(...type.fields.map((field) => itemOf(field.type, field.required)))
  }
}

function itemOf(type: Type, required: boolean): fc.Arbitrary<Value> {
  return required ? valueOf(type) : fc.option<Value>(valueOf(type), { nil: null })
}

export function cellOf(field: Field): fc.Arbitrary<Value> {
  return itemOf(field.type, field.required)
}

export const anyFields: fc.Arbitrary<Field[]> = fc
  .array(fc.tuple(anyType, fc.boolean()), { minLength: 1, maxLength: 6 })
  .map((columns) => columns.map(([type, required], i) => ({ id: 0, name: `c${i}`, type, required })))
