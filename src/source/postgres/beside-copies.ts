import { FrazilError } from '../../base/index.ts'
import type { SourceTable } from '../../data/index.ts'
import type { Lsn } from './lsn.ts'

/**
 * Copies of a table whose changes go on to be given out meanwhile. Each has the table's shape of the moment when it was planned, which the
 * stream may not know: what was changed and changed back between two changes of rows is no news to it, and the copy has to be told all the same.
 */
export class BesideCopies {
  #copies: { readonly look: string; floor: Lsn }[] = []
  /** Where the last transaction ended that told of the shape. */
  #told: Lsn = 0

  get any(): boolean {
    return this.#copies.length > 0
  }

  /** Behind this the rows of all of them are told by the stream; infinite while that is not known. */
  get floor(): Lsn {
    return Math.max(0, ...this.#copies.map(({ floor }) => floor))
  }

  /** A copy in this shape begins, or begins again. */
  begin(table: SourceTable): void {
    const look = lookOf(table)
    const others = this.#copies.filter((copy) => copy.look !== look && Number.isFinite(copy.floor))
    this.#copies = [...others, { look, floor: Number.POSITIVE_INFINITY }]
  }

  /** The last one has what was committed before `floor`. */
  setFloor(floor: Lsn): void {
    const last = this.#copies.at(-1)
    if (last) last.floor = floor
    this.told(this.#told)
  }

  /** The last one has failed. */
  giveUp(): void {
    this.#copies.pop()
  }

  /** Whether one of them has another shape. */
  differ(table: SourceTable): boolean {
    if (!this.any) return false
    const look = lookOf(table)
    return this.#copies.some((copy) => copy.look !== look)
  }

  /** Whoever takes the events knows the shape of now, from a transaction that ended at `position` on. */
  told(position: Lsn): void {
    this.#told = position
    this.#copies = this.#copies.filter(({ floor }) => floor > position)
  }
}

/** What rows and keys are laid out by. */
function lookOf({ fields, key, columnIds, incomplete = [] }: SourceTable): string {
  return JSON.stringify([fields.map(({ name, type }) => [name, type]), key, columnIds, incomplete])
}

/** Whoever asked for the copy asks for it again. */
export function beginsAnew({ namespace, name, sourceName }: SourceTable): FrazilError {
  const message = `table ${sourceName} is copied without the columns that hold values of former types; until then it stays as it is in the lake`
  return new FrazilError('unsupported', 'schema-changed', message, { table: `${namespace}.${name}` })
}
