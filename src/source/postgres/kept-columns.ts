import { typeText } from '../../data/index.ts'
import type { Field, SourceTable } from '../../data/index.ts'

/** What a table's fields are but for what its key makes required. */
export type Draft = Omit<Field, 'required'>

/**
 * A column that took a type which its values could not follow keeps them, and they get no more: one field for each type that it had
 * before. The field lies behind those of the columns, has the column's identity of then, and goes with the column.
 *
 * Identities (`SourceTable.columnIds`) are attribute numbers, which are below 2^16; above them is counted how often the column has
 * left its values behind.
 */
const nextIdentity = 1 << 16

/** The attribute number of a column by its identity. */
export function attributeOf(identity: number): number {
  return identity % nextIdentity
}

interface Kept {
  readonly identity: number
  readonly field: Draft
}

/** Fields without a column, and the identities of columns, from one shape of a table to the next. */
export class KeptColumns {
  readonly #identities = new Map<number, number>()
  readonly #kept: Kept[]

  /** @param columns how many fields of the table have a column: the first ones. */
  constructor({ fields, columnIds = [] }: SourceTable, columns: number) {
    for (const identity of columnIds.slice(0, columns)) this.#identities.set(attributeOf(identity), identity)
    this.#kept = fields.slice(columns).map((field, i) => ({ identity: columnIds[columns + i], field }))
  }

  get any(): boolean {
    return this.#kept.length > 0
  }

  /** The identity of a column by its attribute number. */
  identityOf(id: number): number {
    return this.#identities.get(id) ?? id
  }

  /** The column's values up to here stay under another name: what comes is another field. */
  leaveBehind(id: number, field: Field): void {
    const identity = this.identityOf(id)
    this.#kept.push({ identity, field: { id: 0, type: field.type, name: `${field.name}__${suffix(field)}` } })
    this.#identities.set(id, identity + nextIdentity)
  }

  /** Columns (by attribute number) that rows of before do not have as they are now. */
  isRetyped(id: number): boolean {
    return this.identityOf(id) !== id
  }

  /** The fields, beside those of columns with these numbers and names. A name that a column has now is given up for another. */
  beside(columns: readonly { readonly id: number; readonly name: string }[]): Kept[] {
    const ids = new Set(columns.map(({ id }) => id))
    const taken = new Set(columns.map(({ name }) => fold(name)))
    return this.#kept
      .filter(({ identity }) => ids.has(attributeOf(identity)))
      .map(({ identity, field }) => {
        const name = freeName(field.name, taken)
        taken.add(fold(name))
        return { identity, field: { ...field, name } }
      })
  }
}

function suffix({ type }: Field): string {
  return typeText(type)
    .replaceAll(/[^a-z0-9]+/gi, '_')
    .replace(/_$/, '')
}

// SQL does not tell letters of different case apart.
function fold(name: string): string {
  return name.toLowerCase()
}

function freeName(name: string, taken: ReadonlySet<string>): string {
  if (!taken.has(fold(name))) return name
  for (let i = 2; ; i++) if (!taken.has(fold(`${name}_${i}`))) return `${name}_${i}`
}
