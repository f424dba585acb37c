import { FrazilError } from '../../base/index.ts'
import type { Field, Type } from '../../data/index.ts'
import { typeText } from '../../data/index.ts'
import { malformed } from './read-metadata.ts'
import type { ElementInfo } from './read-metadata.ts'
import { physical, repetition } from './schema.ts'

/** A leaf column of a file that we read. */
export interface FileLeaf {
  readonly index: number
  readonly path: readonly string[]
  readonly element: ElementInfo
  readonly maxDefinition: number
  readonly maxRepetition: number
}

/** A node of the file's schema. `definition` is the level of an entry whose value at this node is there. */
interface FileNodeBase {
  readonly name: string
  readonly fieldId: number | null
  readonly optional: boolean
  readonly definition: number
  /** Some leaf below, to see by its levels whether a value is there. */
  readonly probe: FileLeaf
}
interface FileLeafNode extends FileNodeBase {
  readonly kind: 'leaf'
  readonly leaf: FileLeaf
}
interface FileStructNode extends FileNodeBase {
  readonly kind: 'struct'
  readonly children: readonly FileNode[]
}
/** `repetition` is the level of a further entry; entries are at definition `definition + 1`. */
interface FileRepeatedNode extends FileNodeBase {
  readonly kind: 'list' | 'map'
  readonly repetition: number
  readonly items: readonly FileNode[]
}
export type FileNode = FileLeafNode | FileStructNode | FileRepeatedNode

const maxDepth = 100

/**
 * The tree of a footer's schema elements, lists and maps resolved by the format's rules, those for files of older writers
 * included (specification: Parquet "Logical types", Lists and Maps). `idOf` gives ids to columns that have none.
 */
export function fileTree(
  elements: readonly ElementInfo[],
  idOf: (path: readonly string[]) => number | undefined,
): { nodes: FileNode[]; leaves: FileLeaf[] } {
  const leaves: FileLeaf[] = []
  let next = 0
  const take = (): ElementInfo => {
    if (next >= elements.length) throw malformed('its schema ends too early')
    return elements[next++]
  }

  const node = (
    path: readonly string[],
    outerDefinition: number,
    outerRepetition: number,
    named: readonly string[],
    alias?: 'element' | 'key' | 'value',
  ): FileNode => {
    if (path.length > maxDepth) throw malformed('its schema is nested too deeply')
    const element = take()
    const optional = element.repetition === repetition.optional
    const repeated = element.repetition === repetition.repeated
    const names = [...named, alias ?? element.name]
    const fieldId = element.fieldId ?? idOf(names) ?? null
    if (repeated) {
      // A repeated field outside of LIST and MAP: a required list of required elements.
      const item = body(element, path, outerDefinition + 1, outerRepetition + 1, names, false, null)
      return {
        kind: 'list',
        name: element.name,
        fieldId,
        optional: false,
        definition: outerDefinition,
        repetition: outerRepetition + 1,
        items: [item],
        probe: item.probe,
      }
    }
    return body(element, path, outerDefinition + (optional ? 1 : 0), outerRepetition, names, optional, fieldId)
  }

  const body = (
    element: ElementInfo,
    path: readonly string[],
    definition: number,
    repeats: number,
    names: readonly string[],
    optional: boolean,
    fieldId: number | null,
  ): FileNode => {
    const { name } = element
    const here = [...path, name]
    if (definition > 255) throw malformed('its schema is nested too deeply')
    if (element.children === 0) {
      const leaf: FileLeaf = { index: leaves.length, path: here, element, maxDefinition: definition, maxRepetition: repeats }
      leaves.push(leaf)
      return { kind: 'leaf', name, fieldId, optional, definition, leaf, probe: leaf }
    }
    const kind = element.annotation?.kind
    if ((kind === 'list' || kind === 'map') && element.children === 1 && elements[next]?.repetition === repetition.repeated) {
      const group = take()
      const inner = [...here, group.name]
      const entry = { name, fieldId, optional, definition, repetition: repeats + 1 }
      const items: FileNode[] = []
      if (kind === 'map') {
        if (group.children < 1 || group.children > 2) throw malformed('a map does not have keys and values')
        items.push(node(inner, definition + 1, repeats + 1, names, 'key'))
        if (group.children === 2) items.push(node(inner, definition + 1, repeats + 1, names, 'value'))
      } else if (group.children === 1 && group.name !== 'array' && group.name !== `${name}_tuple`) {
        items.push(node(inner, definition + 1, repeats + 1, names, 'element'))
      } else {
        // Two levels only: the repeated field is itself the element.
        items.push(body(group, here, definition + 1, repeats + 1, [...names, 'element'], false, group.fieldId))
      }
      return { kind, ...entry, items, probe: items[0].probe }
    }
    const children: FileNode[] = []
    for (let i = 0; i < element.children; i++) children.push(node(here, definition, repeats, names))
    return { kind: 'struct', name, fieldId, optional, definition, children, probe: children[0].probe }
  }

  const root = take()
  const nodes: FileNode[] = []
  for (let i = 0; i < root.children; i++) nodes.push(node([], 0, 0, []))
  if (next !== elements.length) throw malformed('its schema has elements outside of its columns')
  return { nodes, leaves }
}

/** The type that a column of a file has, in our types. Throws `unsupported` for those we have no equal for. */
function typeOf(node: FileNode): Type {
  switch (node.kind) {
    case 'struct':
      return { kind: 'struct', fields: node.children.map(fieldOf) }
    case 'list': {
      const [element] = node.items
      return { kind: 'list', elementId: element.fieldId ?? 0, element: typeOf(element), elementRequired: !element.optional }
    }
    case 'map': {
      const [key, value] = node.items
      if (value === undefined) throw noType(node.name)
      return {
        kind: 'map',
        keyId: key.fieldId ?? 0,
        key: typeOf(key),
        valueId: value.fieldId ?? 0,
        value: typeOf(value),
        valueRequired: !value.optional,
      }
    }
    case 'leaf':
      return leafType(node.leaf)
  }
}

export function fieldOf(node: FileNode): Field {
  return { id: node.fieldId ?? 0, name: node.name, type: typeOf(node), required: !node.optional }
}

function leafType({ element, path }: FileLeaf): Type {
  const { annotation, typeLength } = element
  if (annotation?.kind === 'decimal') {
    if (annotation.precision < 1 || annotation.precision > 38 || annotation.scale > annotation.precision)
      throw noType(path.join('.'))
    return { kind: 'decimal', precision: annotation.precision, scale: annotation.scale }
  }
  switch (element.physical) {
    case physical.boolean:
      return { kind: 'boolean' }
    case physical.int32:
      if (annotation?.kind === 'date') return { kind: 'date' }
      if (annotation?.kind === 'time') return { kind: 'time' }
      return annotation?.kind === 'integer' && !annotation.signed && annotation.bits === 32 ? { kind: 'long' } : { kind: 'int' }
    case physical.int64:
      if (annotation?.kind === 'time') return { kind: 'time' }
      if (annotation?.kind === 'timestamp') return { kind: annotation.utc ? 'timestamptz' : 'timestamp' }
      if (annotation?.kind === 'integer' && !annotation.signed) return { kind: 'decimal', precision: 20, scale: 0 }
      return { kind: 'long' }
    case physical.float:
      return { kind: 'float' }
    case physical.double:
      return { kind: 'double' }
    case physical.byteArray:
      return annotation?.kind === 'string' ? { kind: 'string' } : { kind: 'binary' }
    case physical.fixed:
      return annotation?.kind === 'uuid' && typeLength === 16 ? { kind: 'uuid' } : { kind: 'fixed', length: typeLength }
    case physical.int96:
    case null:
      throw noType(path.join('.'))
    default:
      throw noType(path.join('.'))
  }
}

function noType(column: string): FrazilError {
  return new FrazilError(
    'unsupported',
    'parquet-type',
    `column ${column} of the Parquet file has a type that Iceberg has no equal for`,
  )
}

/** The error for a column whose type in the file does not become the type asked for. */
export function notConvertible(column: string, target: Type): FrazilError {
  return new FrazilError(
    'unsupported',
    'parquet-conversion',
    `column ${column} of the Parquet file has a type that does not convert to ${typeText(target)} without loss`,
  )
}

/** Ids for the columns of a file that has none, by their names: what Iceberg's name mapping says of a table with these fields. */
export function idsByName(fields: readonly Field[]): (path: readonly string[]) => number | undefined {
  const ids = new Map<string, number>()
  const add = (path: readonly string[], id: number, type: Type): void => {
    ids.set(JSON.stringify(path), id)
    if (type.kind === 'struct') for (const field of type.fields) add([...path, field.name], field.id, field.type)
    if (type.kind === 'list') add([...path, 'element'], type.elementId, type.element)
    if (type.kind === 'map') {
      add([...path, 'key'], type.keyId, type.key)
      add([...path, 'value'], type.valueId, type.value)
    }
  }
  for (const { name, id, type } of fields) add([name], id, type)
  return (path) => ids.get(JSON.stringify(path))
}

/** Leaf columns with their ids. */
export function* leavesOf(nodes: readonly FileNode[]): Generator<{ readonly id: number | null; readonly leaf: FileLeaf }, void> {
  for (const node of nodes) {
    if (node.kind === 'leaf') yield { id: node.fieldId, leaf: node.leaf }
    else yield* leavesOf(node.kind === 'struct' ? node.children : node.items)
  }
}

/**
 * What is not as Iceberg has it (specification: Appendix A "Parquet"), and converted by our reader only: one sentence for each column.
 */
export function unusualForms(nodes: readonly FileNode[]): string[] {
  return Array.from(leavesOf(nodes), ({ leaf: { element, path } }) => {
    const { annotation, physical: stored } = element
    const name = JSON.stringify(path.join('.'))
    switch (annotation?.kind) {
      case 'time':
      case 'timestamp':
        return annotation.unit === 'us'
          ? []
          : [`column ${name} is in ${annotation.unit === 'ms' ? 'milliseconds' : 'nanoseconds'}`]
      case 'integer':
        return annotation.signed || annotation.bits < 32 ? [] : [`column ${name} is unsigned`]
      case 'decimal':
        return stored === physical.byteArray ? [`column ${name} has decimals of different lengths`] : []
      default:
        return []
    }
  }).flat()
}
