import { isPromotion } from '../../data/index.ts'
import type { Field } from '../../data/index.ts'
import { fieldOfArrow, isOpenType, readArrowFields } from '../../format/arrow/index.ts'
import { isColumnName } from '../../format/json/index.ts'

/**
 * The columns that rows of Arrow need, where those that there are do not do; null when they do. Only the columns of a table that is
 * made of them are required where they say so. Throws `request`.
 */
export function grownByArrow(body: Uint8Array, fields: readonly Field[], fixed: readonly string[]): Field[] | null {
  const isNew = fields.length === 0
  const grown = [...fields]
  let changed = false
  for (const arrow of readArrowFields(body)) {
    const given = fieldOfArrow(arrow)
    if (isOpenType(arrow) || !given) continue
    const place = grown.findIndex(({ name }) => name === given.name)
    if (place < 0) {
      const isTaken = grown.some(({ name }) => name.toLowerCase() === given.name.toLowerCase())
      if (isTaken || !isColumnName(given.name)) continue
      grown.push({ ...given, required: isNew && given.required })
    } else if (!fixed.includes(given.name) && isPromotion(grown[place].type, given.type)) {
      grown[place] = { ...grown[place], type: given.type }
    } else continue
    changed = true
  }
  return changed ? grown : null
}
