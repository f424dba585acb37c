import type { Field, Type } from '../data/index.ts'
import { encodeJson, isJsonArray, isJsonObject, parseJson } from '../format/json/index.ts'
import type { JsonObject, JsonValue } from '../format/json/index.ts'

/** The property of a table that says which fields the columns of data files without field ids are. */
export const nameMappingProperty = 'schema.name-mapping.default'

/**
 * The mapping of the names that the fields have now (specification: "Column Projection", Appendix C "Name Mapping Serialization"). Other
 * names that `before`, the mapping so far, has for them are kept.
 */
export function nameMapping(fields: readonly Field[], before: string | undefined): string {
  const known = new Map<number, readonly string[]>()
  if (before !== undefined) collectNames(parsed(before), known)
  const mapped = (id: number, name: string, type: Type): JsonObject => {
    const names = [...new Set([name, ...(known.get(id) ?? [])])]
    const children = childrenOf(type)
    return { 'field-id': id, names, ...(children.length > 0 ? { fields: children } : {}) }
  }
  const childrenOf = (type: Type): JsonObject[] => {
    switch (type.kind) {
      case 'struct':
        return type.fields.map((field) => mapped(field.id, field.name, field.type))
      case 'list':
        return [mapped(type.elementId, 'element', type.element)]
      case 'map':
        return [mapped(type.keyId, 'key', type.key), mapped(type.valueId, 'value', type.value)]
      default:
        return []
    }
  }
  return encodeJson(fields.map((field) => mapped(field.id, field.name, field.type)))
}

/** A mapping that cannot be read has said nothing to anybody. */
function parsed(text: string): JsonValue {
  try {
    return parseJson(text)
  } catch {
    return null
  }
}

function collectNames(mapping: JsonValue, known: Map<number, readonly string[]>): void {
  if (!isJsonArray(mapping)) return
  for (const entry of mapping) {
    if (!isJsonObject(entry)) continue
    const { 'field-id': id, names, fields } = entry
    if (typeof id === 'number' && isJsonArray(names)) {
      known.set(
        id,
        names.filter((name) => typeof name === 'string'),
      )
    }
    collectNames(fields ?? null, known)
  }
}
