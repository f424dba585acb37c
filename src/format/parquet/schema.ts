import { FrazilError } from '../../base/index.ts'
import type { Field, PrimitiveType, Type } from '../../data/index.ts'
import { compatibleNames } from './names.ts'

/** Parquet's physical types, by their numbers in the format. */
export const physical = { boolean: 0, int32: 1, int64: 2, int96: 3, float: 4, double: 5, byteArray: 6, fixed: 7 } as const
export type Physical = (typeof physical)[keyof typeof physical]

export const repetition = { required: 0, optional: 1, repeated: 2 } as const

/** A leaf column of a file that we write. */
export interface Leaf {
  readonly index: number
  readonly fieldId: number
  readonly path: readonly string[]
  readonly type: PrimitiveType
  readonly physical: Physical
  /** Bytes of a value of fixed length (1 for booleans, which are packed later), 0 for byte arrays. */
  readonly width: number
  readonly maxDefinition: number
  readonly maxRepetition: number
}

/**
 * A field of the schema as the shredder walks it. `definition` is the level of an entry whose value at this node is there;
 * leaves below are `leaves[firstLeaf..lastLeaf)`.
 */
interface NodeBase {
  readonly optional: boolean
  readonly definition: number
  readonly firstLeaf: number
  readonly lastLeaf: number
}
interface LeafNode extends NodeBase {
  readonly kind: 'leaf'
  readonly leaf: Leaf
}
interface StructNode extends NodeBase {
  readonly kind: 'struct'
  readonly children: readonly Node[]
}
/** A list has one item per entry, a map two: key and value. `repetition` is the level of a further entry. */
interface RepeatedNode extends NodeBase {
  readonly kind: 'repeated'
  readonly repetition: number
  readonly items: readonly Node[]
}
export type Node = LeafNode | StructNode | RepeatedNode

/** One element of the schema tree in the footer, depth first. */
export interface SchemaElement {
  readonly name: string
  readonly repetition: number
  readonly fieldId?: number
  /** Leaves. */
  readonly leaf?: Leaf
  /** Groups. */
  readonly children?: number
  readonly group?: 'list' | 'map'
}

export interface FileSchema {
  readonly nodes: readonly Node[]
  readonly leaves: readonly Leaf[]
  readonly elements: readonly SchemaElement[]
}

/** Levels are stored as bytes while a page is open; nesting deeper than this is refused. */
const maxLevel = 127

/** Lays out fields as Parquet columns (specification: Iceberg, Appendix A "Parquet"). */
export function layOut(fields: readonly Field[]): FileSchema {
  const leaves: Leaf[] = []
  const elements: SchemaElement[] = []

  const add = (
    name: string,
    id: number,
    type: Type,
    required: boolean,
    path: string[],
    definition: number,
    repeats: number,
  ): Node => {
    const optional = !required
    const here = [...path, name]
    const level = definition + (optional ? 1 : 0)
    if (level > maxLevel)
      throw new FrazilError('unsupported', 'nesting-too-deep', `column ${here[0]} is nested too deeply for Parquet`)
    const base = { name, repetition: optional ? repetition.optional : repetition.required, fieldId: id }
    const firstLeaf = leaves.length
    const node = (
      rest: { kind: 'struct'; children: Node[] } | { kind: 'repeated'; repetition: number; items: Node[] },
    ): Node => ({
      optional,
      definition: level,
      firstLeaf,
      lastLeaf: leaves.length,
      ...rest,
    })
    switch (type.kind) {
      case 'struct': {
        if (type.fields.length === 0)
          throw new FrazilError(
            'unsupported',
            'empty-struct',
            `column ${here[0]} has a struct without fields, which Parquet cannot store`,
          )
        elements.push({ ...base, children: type.fields.length })
        const names = compatibleNames(type.fields)
        const children = type.fields.map((f, i) => add(names[i], f.id, f.type, f.required, here, level, repeats))
        return node({ kind: 'struct', children })
      }
      case 'list': {
        elements.push({ ...base, children: 1, group: 'list' }, { name: 'list', repetition: repetition.repeated, children: 1 })
        const inner = [...here, 'list']
        const element = add('element', type.elementId, type.element, type.elementRequired, inner, level + 1, repeats + 1)
        return node({ kind: 'repeated', repetition: repeats + 1, items: [element] })
      }
      case 'map': {
        elements.push({ ...base, children: 1, group: 'map' }, { name: 'key_value', repetition: repetition.repeated, children: 2 })
        const inner = [...here, 'key_value']
        const key = add('key', type.keyId, type.key, true, inner, level + 1, repeats + 1)
        const value = add('value', type.valueId, type.value, type.valueRequired, inner, level + 1, repeats + 1)
        return node({ kind: 'repeated', repetition: repeats + 1, items: [key, value] })
      }
      default: {
        const leaf: Leaf = {
          index: leaves.length,
          fieldId: id,
          path: here,
          type,
          ...physicalOf(type),
          maxDefinition: level,
          maxRepetition: repeats,
        }
        leaves.push(leaf)
        elements.push({ ...base, leaf })
        return { kind: 'leaf', leaf, optional, definition: level, firstLeaf: leaf.index, lastLeaf: leaf.index + 1 }
      }
    }
  }

  elements.push({ name: 'table', repetition: repetition.required, children: fields.length })
  const names = compatibleNames(fields)
  const nodes = fields.map((field, i) => add(names[i], field.id, field.type, field.required, [], 0, 0))
  return { nodes, leaves, elements }
}

function physicalOf(type: PrimitiveType): { physical: Physical; width: number } {
  switch (type.kind) {
    case 'boolean':
      return { physical: physical.boolean, width: 1 }
    case 'int':
    case 'date':
      return { physical: physical.int32, width: 4 }
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return { physical: physical.int64, width: 8 }
    case 'float':
      return { physical: physical.float, width: 4 }
    case 'double':
      return { physical: physical.double, width: 8 }
    case 'decimal':
      if (type.precision <= 9) return { physical: physical.int32, width: 4 }
      if (type.precision <= 18) return { physical: physical.int64, width: 8 }
      return { physical: physical.fixed, width: decimalBytes(type.precision) }
    case 'string':
    case 'binary':
      return { physical: physical.byteArray, width: 0 }
    case 'uuid':
      return { physical: physical.fixed, width: 16 }
    case 'fixed':
      return { physical: physical.fixed, width: type.length }
  }
}

/** Fewest bytes whose two's complement holds every unscaled value of `precision` digits. */
function decimalBytes(precision: number): number {
  return Math.ceil((precision * Math.log2(10) + 1) / 8)
}
