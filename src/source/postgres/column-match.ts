/** A column by its attribute number, as it was when the table was last looked at. */
export interface KnownColumn {
  readonly id: number
  readonly name: string
  readonly typeOid: number
  readonly modifier: number
}

/** A column that a message tells of: in the order of attribute numbers, but without them. `length` as in `pg_type`. */
export type SeenColumn = Omit<KnownColumn, 'id'> & { readonly length: number | null }

/** An attribute as the catalogue has it now: a column, or the trace of one that was dropped, of which little is left. */
export type Attribute =
  | (KnownColumn & { readonly dropped: false; readonly generated: boolean })
  | { readonly id: number; readonly dropped: true; readonly modifier: number; readonly length: number }

/**
 * Attribute numbers of the columns of a message that is older than the catalogue and younger than what is known. Numbers grow with
 * time, are never given twice, and columns come in their order; so a column that is known and still there was there all the
 * time, and one that came after it came with a higher number. What is left open is decided by the fewest renames and changes of
 * type. Null when that leaves two meanings: a dropped column and another one of its name and type cannot be told apart. Columns
 * that came and went are all alike.
 *
 * @param known columns at the last look, the highest attribute number then, and which were passed over on purpose
 * @param attributes all attributes of now, dropped ones too, ascending; generated ones count where they are known
 */
export function matchColumns(
  known: { readonly columns: readonly KnownColumn[]; readonly highest: number; readonly ignored: readonly number[] },
  seen: readonly SeenColumn[],
  attributes: readonly Attribute[],
): number[] | null {
  const before = new Map(known.columns.map((column) => [column.id, column]))
  // Attributes that can be among the columns: known ones, and those that came since.
  const mayBeSent = (attribute: Attribute): boolean =>
    (attribute.dropped || !attribute.generated) && (attribute.id > known.highest || known.ignored.includes(attribute.id))
  const places = attributes.filter((attribute) => before.has(attribute.id) || mayBeSent(attribute))
  // Nothing was dropped: the columns are the first ones.
  if (places.every((place) => !place.dropped)) {
    const isThere = seen.length <= places.length && places.slice(seen.length).every(({ id }) => !before.has(id))
    return isThere ? places.slice(0, seen.length).map(({ id }) => id) : null
  }
  const step = (i: number, j: number): number => changes(before.get(places[j].id), seen[i], places[j])
  const mayPass = (i: number, j: number): boolean => places[j].dropped || (i === seen.length && !before.has(places[j].id))
  const costs = align(seen.length, places.length, step, mayPass)
  const [[least]] = costs.behind
  if (least === Number.POSITIVE_INFINITY) return null
  const ids: number[] = []
  for (const i of seen.keys()) {
    const best = places.filter((_, j) => costs.before[i][j] + step(i, j) + costs.behind[i + 1][j + 1] === least)
    const isGone = ({ id, dropped }: Attribute): boolean => dropped && !before.has(id)
    if (best.length !== 1 && !best.every(isGone)) return null
    ids.push(best[0].id)
  }
  return ids
}

/**
 * Least costs of laying columns upon attributes in order: `before[i][j]` of the first i columns among the first j attributes,
 * `behind[i][j]` of the others among the others.
 */
function align(
  columns: number,
  attributes: number,
  step: (column: number, attribute: number) => number,
  mayPass: (column: number, attribute: number) => boolean,
): { before: number[][]; behind: number[][] } {
  const table = (): number[][] =>
    Array.from({ length: columns + 1 }, () => Array.from({ length: attributes + 1 }, () => Number.POSITIVE_INFINITY))
  const before = table()
  const behind = table()
  before[0][0] = 0
  behind[columns][attributes] = 0
  for (let i = 0; i <= columns; i++) {
    for (let j = 0; j < attributes; j++) {
      if (mayPass(i, j)) before[i][j + 1] = Math.min(before[i][j + 1], before[i][j])
      if (i < columns) before[i + 1][j + 1] = Math.min(before[i + 1][j + 1], before[i][j] + step(i, j))
    }
  }
  for (let i = columns; i >= 0; i--) {
    for (let j = attributes - 1; j >= 0; j--) {
      if (mayPass(i, j)) behind[i][j] = Math.min(behind[i][j], behind[i][j + 1])
      if (i < columns) behind[i][j] = Math.min(behind[i][j], behind[i + 1][j + 1] + step(i, j))
    }
  }
  return { before, behind }
}

/** How many renames and changes of type lie between the three sights of a column. */
function changes(known: KnownColumn | undefined, seen: SeenColumn, now: Attribute): number {
  const since = known ? apart(known, seen) : 0
  if (!now.dropped) return since + apart(seen, now)
  return since + Number(seen.modifier !== now.modifier || (seen.length !== null && seen.length !== now.length))
}

function apart(a: Omit<KnownColumn, 'id'>, b: Omit<KnownColumn, 'id'>): number {
  return Number(a.name !== b.name) + Number(a.typeOid !== b.typeOid || a.modifier !== b.modifier)
}
