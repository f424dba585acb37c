import type { Look } from './rewrites.ts'

/** What is remembered of a table's shape beside its columns, to understand the next one. */
export interface ShapeMemo {
  /** The files that held its rows, see `TableDescription.storage`. */
  readonly storage: string
  /** Highest attribute number that had been given. */
  readonly highest: number
  /** Attribute numbers of columns that are sent and not wanted. */
  readonly ignored: readonly number[]
  /**
   * Oid of the index of the primary key that its rows had when they were copied, while it is the same one: they are unique by it. Absent:
   * nobody knows.
   */
  readonly primary?: number
  /** The last look that found no rewriting with other values. Absent where an older version has written this: nobody looked. */
  readonly look?: Look
  /**
   * What a publication of somebody else sends of the table: all columns, or those of a list, beside which the table may have others. Absent: the
   * publication is ours, or knows no lists.
   */
  readonly sent?: 'all' | 'listed'
  /** How it was published when it was copied, see `readMemberships`. Absent where an older version has written this. */
  readonly member?: string
}

interface TypedColumn {
  readonly typeOid: number
  readonly modifier: number
}

/** As kept in the state record, with the types of the columns. */
export function writeShapeMemo(memo: ShapeMemo, columns: readonly TypedColumn[]): string {
  const { storage, highest, ignored, primary, look, sent, member } = memo
  return JSON.stringify({
    storage,
    highest,
    ignored,
    primary,
    look,
    sent,
    member,
    types: columns.map(({ typeOid, modifier }) => [typeOid, modifier]),
  })
}

export function readShapeMemo(text: string): { readonly memo: ShapeMemo; readonly types: readonly TypedColumn[] } {
  // Ours: kept in the state record, whose format version was checked.
  const { types, ...memo } = JSON.parse(text) as ShapeMemo & { types: [number, number][] }
  return { memo, types: types.map(([typeOid, modifier]) => ({ typeOid, modifier })) }
}

/** The types that a table's columns had, as far as they were remembered. */
export function typesOf({ memo }: { readonly memo?: string }): number[] {
  return memo === undefined ? [] : readShapeMemo(memo).types.map(({ typeOid }) => typeOid)
}

/** The text without what changes with each look, and what is known only once the table is published. */
export function withoutLook(memo: string): string {
  const { look: _, member: __, ...rest } = JSON.parse(memo) as ShapeMemo
  return JSON.stringify(rest)
}
