import { FrazilError } from '../base/index.ts'
import { assignFieldIds, isPromotion, sameType, typeText } from '../data/index.ts'
import type { Field, SourceTable } from '../data/index.ts'

/** What a table looks like from one source commit on. */
export interface TableShape {
  /** As the source describes it. */
  readonly source: SourceTable
  /** The same columns, in the same order, as the lake has them: with their ids, and required only where that can be promised. */
  readonly fields: readonly Field[]
  /** The highest field id ever given in this table. */
  readonly lastFieldId: number
}

/** Ids of the key columns as the lake knows them; none unless all of them are required (specification: "Identifier Field IDs"). */
export function identifierFieldIds({ source, fields }: TableShape): number[] {
  const columns = source.key.kind === 'columns' ? source.key.columns.map((i) => fields[i]) : []
  return columns.every(({ required }) => required) ? columns.map(({ id }) => id) : []
}

/**
 * The shape that a table has after its source has described it anew. Columns are the same when their `columnIds` are (without
 * them: when their names are), and keep their field ids; new ones get new ids. Throws `unsupported`, code `schema-changed`, when the
 * rows that are in the lake cannot be read with the new columns.
 */
export function reshape(shape: TableShape, next: SourceTable): TableShape {
  const { source } = shape
  const identify = (table: SourceTable): readonly (string | number)[] =>
    source.columnIds && next.columnIds && table.columnIds ? table.columnIds : table.fields.map(({ name }) => name)
  const before = identify(source)
  const after = identify(next)
  const drafts = next.fields.map((field, i): Field => {
    const place = before.indexOf(after[i])
    if (place < 0) return { ...field, id: 0, required: false }
    const known = shape.fields[place]
    const { name } = field
    // Nobody can promise for the rows that are there that a column was never empty; dropping the promise is always possible.
    const required = known.required && field.required
    if (sameType(known.type, field.type)) return { ...known, name, required }
    if (isPromotion(known.type, field.type)) return { ...known, name, required, type: field.type }
    throw new FrazilError(
      'unsupported',
      'schema-changed',
      `table ${next.sourceName}: column "${name}" changed from ${typeText(known.type)} to ${typeText(field.type)}, which the rows in the lake cannot follow`,
      { hint: 'frazil resync the table: it is copied anew in its new shape', table: `${source.namespace}.${source.name}` },
    )
  })
  const { fields, last } = assignFieldIds(drafts, shape.lastFieldId)
  return { source: next, fields, lastFieldId: last }
}

/**
 * Ids that are left to a table while it is copied beside its rows: it takes new columns meanwhile, and so does the copy, which may hear of
 * them in another order. Ids of the copy's are in its files, so they have to be its own from the start.
 */
const idsBeside = 1000

/**
 * The shape of a table whose rows are all new, copied beside those of `shape`; `lastColumnId` is what the lake has. Columns keep the ids of
 * those with the same name if the lake has them and old rows could be read with them; any other is a new column.
 */
export function shapeBeside(shape: TableShape, lastColumnId: number, next: SourceTable): TableShape {
  const lastFieldId = Math.max(shape.lastFieldId, lastColumnId) + idsBeside
  const drafts = next.fields.map((field): Field => {
    const known = shape.fields.find(({ name }) => name === field.name)
    if (!known || known.id > lastColumnId || !(sameType(known.type, field.type) || isPromotion(known.type, field.type))) {
      return { ...field, id: 0, required: false }
    }
    const type = sameType(known.type, field.type) ? known.type : field.type
    return { ...known, type, required: known.required && field.required }
  })
  const { fields, last } = assignFieldIds(drafts, lastFieldId)
  return { source: next, fields, lastFieldId: last }
}
