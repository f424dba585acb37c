import { isPromotion, sameType, typeText } from '../data/index.ts'
import type { Field, Type } from '../data/index.ts'

/** How columns of a file are told from each other: by field id, or by name in a file that has no ids. */
type Identity = 'id' | 'name'

/**
 * Why a file with these columns cannot be read as a table's; none when it can. Types have to be the table's, or ones that Iceberg
 * promotes to them (specification: "Schema Evolution"); with `converts` also those that become them without loss. Columns of the table
 * that are not required may be missing; columns that the table does not have would be lost.
 */
export function schemaProblems(
  file: readonly Field[],
  table: readonly Field[],
  by: Identity,
  converts: boolean,
  path: readonly string[] = [],
): string[] {
  const problems: string[] = []
  const seen = new Set<number | string>()
  const quoted = (name: string): string => JSON.stringify([...path, name].join('.'))
  for (const field of file) {
    const mark = by === 'id' ? field.id : field.name
    const known = table.find((each) => (by === 'id' ? each.id === field.id : each.name === field.name))
    if (!known) {
      const unmarked = by === 'id' && field.id === 0
      problems.push(`column ${quoted(field.name)} ${unmarked ? 'has no field id, and others have' : 'is none of the table'}`)
    } else if (seen.has(mark)) problems.push(`column ${quoted(field.name)} is there twice`)
    else problems.push(...typeProblems(field.type, known.type, by, converts, [...path, known.name]))
    seen.add(mark)
  }
  for (const { id, name, required, initialDefault } of table) {
    if (required && initialDefault === undefined && !seen.has(by === 'id' ? id : name)) {
      problems.push(`column ${quoted(name)} is required and missing`)
    }
  }
  return problems
}

function typeProblems(from: Type, to: Type, by: Identity, converts: boolean, path: readonly string[]): string[] {
  if (from.kind === 'struct' && to.kind === 'struct') return schemaProblems(from.fields, to.fields, by, converts, path)
  const inside = (of: Type, as: Type, ofId: number, asId: number, name: string): string[] => {
    if (by === 'id' && ofId !== asId) return [`column ${JSON.stringify([...path, name].join('.'))} has the field id of another`]
    return typeProblems(of, as, by, converts, [...path, name])
  }
  if (from.kind === 'list' && to.kind === 'list') {
    return inside(from.element, to.element, from.elementId, to.elementId, 'element')
  }
  if (from.kind === 'map' && to.kind === 'map') {
    return [
      ...inside(from.key, to.key, from.keyId, to.keyId, 'key'),
      ...inside(from.value, to.value, from.valueId, to.valueId, 'value'),
    ]
  }
  if (sameType(from, to) || isPromotion(from, to) || (converts && isConvertible(from, to))) return []
  return [`column ${JSON.stringify(path.join('.'))} is ${typeText(from)}, and of the table ${typeText(to)}`]
}

/** What our reader converts without loss, beyond Iceberg's promotions. */
function isConvertible(from: Type, to: Type): boolean {
  switch (to.kind) {
    case 'decimal':
      return to.scale === 0 && ((from.kind === 'int' && to.precision >= 10) || (from.kind === 'long' && to.precision >= 19))
    case 'timestamp':
      return from.kind === 'date'
    case 'uuid':
      return from.kind === 'fixed' && from.length === 16
    case 'binary':
      return from.kind === 'fixed'
    default:
      return false
  }
}
