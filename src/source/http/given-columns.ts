import { isPromotion } from '../../data/index.ts'
import type { Field } from '../../data/index.ts'
import { fieldOfArrow, isOpenType, readArrowFields } from '../../format/arrow/index.ts'
import { isColumnName } from '../../format/json/index.ts'

/** The columns that an Arrow stream says its rows have, without those of a type that no column has. Throws `request`. */
export function arrowColumns(body: Uint8Array): Field[] {
  return readArrowFields(body).flatMap((field) => (isOpenType(field) ? [] : (fieldOfArrow(field) ?? [])))
}

/**
 * The columns of a table with those that a body says its rows have, where those that there are do not do; null when they do. Only the
 * columns of a table that is made of them are required where they say so.
 */
export function grownBy(given: readonly Field[], fields: readonly Field[], fixed: readonly string[]): Field[] | null {
  const isNew = fields.length === 0
  const grown = [...fields]
  let changed = false
  for (const field of given) {
    const { name, type } = field
    const place = grown.findIndex((own) => own.name === name)
    if (place < 0) {
      const isTaken = grown.some((own) => own.name.toLowerCase() === name.toLowerCase())
      if (isTaken || !isColumnName(name)) continue
      grown.push({ ...field, required: isNew && field.required })
    } else if (!fixed.includes(name) && isPromotion(grown[place].type, type)) {
      grown[place] = { ...grown[place], type }
    } else continue
    changed = true
  }
  return changed ? grown : null
}
