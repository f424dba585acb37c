import type { Field } from '../../data/index.ts'

/**
 * Column names for a file. Iceberg's readers go by field id, but several refuse names that Avro would not allow, so other
 * characters are written as `_x` and their UTF-16 code unit in hexadecimal, as the Java implementation does. Siblings that
 * become equal by this get their field id appended.
 */
export function compatibleNames(siblings: readonly Field[]): string[] {
  const taken = new Set<string>()
  return siblings.map((field) => {
    let name = compatibleName(field.name)
    while (taken.has(name)) name = `${name}_r${field.id}`
    taken.add(name)
    return name
  })
}

function compatibleName(name: string): string {
  if (name === '') return '_'
  let out = ''
  for (let i = 0; i < name.length; i++) {
    const unit = name[i]
    if (unit === '_' || /\p{L}/u.test(unit) || (i > 0 && /\p{Nd}/u.test(unit))) out += unit
    else if (/\p{Nd}/u.test(unit)) out += `_${unit}`
    else out += `_x${unit.charCodeAt(0).toString(16).toUpperCase()}`
  }
  return out
}
